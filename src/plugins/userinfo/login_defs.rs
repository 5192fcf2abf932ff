//! Which uids are people's, as login.defs(5) says it.

use aspire_plugin::Root;
use std::ops::RangeInclusive;

/// The uids of ordinary users: `UID_MIN` to `UID_MAX` of /etc/login.defs, 1000 to
/// 60000 where it does not say so, or says it in a way that useradd cannot read.
pub fn ordinary(root: &Root) -> RangeInclusive<u32> {
    let text = root.read("etc/login.defs").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    value(&text, "UID_MIN").unwrap_or(1000)..=value(&text, "UID_MAX").unwrap_or(60000)
}

/// The last line with this key counts.
fn value(text: &str, key: &str) -> Option<u32> {
    let value = text.lines().rev().find_map(|line| {
        let (name, value) = line.trim().split_once([' ', '\t'])?;
        (name == key).then_some(value.trim_start_matches([' ', '\t', '"']))
    });
    number(value?.split('"').next().unwrap_or_default())
}

/// In decimal, octal or hexadecimal, as in C.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix('0') {
        None | Some("") => (text, 10),
        Some(rest) => rest.strip_prefix(['x', 'X']).map_or((rest, 8), |digits| (digits, 16)),
    };
    u32::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &[u8]) -> RangeInclusive<u32> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/login.defs"), text).unwrap();
        ordinary(&Root::at(folder.path()))
    }

    #[test]
    fn the_range_is_read_as_useradd_reads_it() {
        assert_eq!(range(b"# UID_MIN 1\nUID_MIN\t\t  500\nUID_MAX 999  \n"), 500..=999);
        assert_eq!(range(b"UID_MIN 500\nUID_MIN 600\nXUID_MAX 1\n"), 600..=60000);
        assert_eq!(range(b"UID_MIN \"700\"\nUID_MAX 0x10000\n"), 700..=65536);
        assert_eq!(range(b"\xff\xfe\n  UID_MIN 01750\nUID_MAX 0\n"), RangeInclusive::new(1000, 0));
    }

    #[test]
    fn what_cannot_be_read_leaves_the_default() {
        assert_eq!(ordinary(&Root::at("/nowhere")), 1000..=60000);
        assert_eq!(range(b"UID_MIN\nUID_MAX many\n"), 1000..=60000);
        assert_eq!(range(b"UID_MIN 500 # people\nUID_MAX 99999999999\n"), 1000..=60000);
    }
}
