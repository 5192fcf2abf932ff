//! The kernel's lists of processors and nodes: `0-3,8`.

use aspire_plugin::Root;
use std::path::Path;

/// More than any kernel is built for.
const MOST: u32 = 65_536;

/// The list in a file; `None` where it is not there or is none.
pub fn in_file(root: &Root, file: impl AsRef<Path>) -> Option<Vec<u32>> {
    parse(root.value(file)?.as_str()?)
}

/// A list's numbers.
pub fn parse(text: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        numbers.extend(first..=Some(last).filter(|&last| last < MOST)?);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_listed() {
        assert_eq!(parse("0"), Some(vec![0]));
        assert_eq!(parse("0-2,8,10-11"), Some(vec![0, 1, 2, 8, 10, 11]));
        for none in ["", "x", "0-", "-1", "1,", "0-4294967295"] {
            assert_eq!(parse(none), None, "{none}");
        }
    }
}
