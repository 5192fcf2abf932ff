//! Which part of a file is wanted (RFC 9110, section 14).

use std::ops::Range;

/// What is to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of it: nothing was said, or nothing that has a meaning, or several parts at once.
    Whole,
    /// These bytes of it, which are there.
    Part(Range<u64>),
    /// Nothing of what is wanted is there.
    Unsatisfiable,
}

/// What a value of `Range` means for a file of so many bytes.
pub fn wanted(value: &str, size: u64) -> Wanted {
    let Some((unit, range)) = value.split_once('=') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    match range.trim().split_once('-').map(|(first, last)| (number(first), number(last))) {
        Some((Number::None, Number::Some(0))) => Wanted::Unsatisfiable,
        Some((Number::None, Number::Some(_))) if size == 0 => Wanted::Whole,
        Some((Number::None, Number::Some(count))) => Wanted::Part(size.saturating_sub(count)..size),
        Some((Number::Some(first), Number::Some(last))) if last < first => Wanted::Whole,
        Some((Number::Some(first), Number::None | Number::Some(_))) if first >= size => Wanted::Unsatisfiable,
        Some((Number::Some(first), Number::None)) => Wanted::Part(first..size),
        Some((Number::Some(first), Number::Some(last))) => {
            Wanted::Part(first..last.saturating_add(1).min(size))
        }
        _ => Wanted::Whole,
    }
}

enum Number {
    None,
    Some(u64),
    Wrong,
}

/// One that is too large for any file is as good as the largest.
fn number(text: &str) -> Number {
    match text {
        "" => Number::None,
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Number::Some(text.parse().unwrap_or(u64::MAX))
        }
        _ => Number::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_mean_what_the_rfc_says() {
        for (value, expected) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=0-9", Wanted::Part(0..10)),
            ("Bytes = 3-", Wanted::Part(3..10)),
            ("bytes=3-99", Wanted::Part(3..10)),
            ("bytes=3-99999999999999999999999", Wanted::Part(3..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=4-3", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
            ("0-1", Wanted::Whole),
        ] {
            assert_eq!(wanted(value, 10), expected, "{value}");
        }
        assert_eq!((wanted("bytes=0-", 0), wanted("bytes=-1", 0)), (Wanted::Unsatisfiable, Wanted::Whole));
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_nor_outside(value in "(bytes=)?[0-9]{0,3}-?[0-9]{0,3}(,[0-9]-)?", size in 0..500u64) {
            if let Wanted::Part(range) = wanted(&value, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
