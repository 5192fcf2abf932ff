//! Which of two versions is newer, as Debian has it: `EPOCH:VERSION-REVISION`, of which each part is compared
//! by turns as text and as a number. Letters come before other signs, and `~` before everything, the end
//! included: `1.0~rc1` is older than `1.0`, which is older than `1.0.1` and `1.10`.

use std::cmp::Ordering;

/// The order of two versions.
pub fn compare(one: &str, other: &str) -> Ordering {
    let ((one_epoch, one, one_revision), (epoch, other, revision)) = (parts(one), parts(other));
    let parts = [(one_epoch, epoch), (one, other), (one_revision, revision)];
    let mut orders = parts.into_iter().map(|(one, other)| compare_parts(one.as_bytes(), other.as_bytes()));
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn parts(version: &str) -> (&str, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

fn compare_parts(mut one: &[u8], mut other: &[u8]) -> Ordering {
    while !(one.is_empty() && other.is_empty()) {
        let (one_text, other_text) = (take(&mut one, false), take(&mut other, false));
        let (one_number, other_number) = (take(&mut one, true), take(&mut other, true));
        let order =
            compare_texts(one_text, other_text).then_with(|| compare_numbers(one_number, other_number));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// The digits that it begins with, or what stands before the first.
fn take<'a>(rest: &mut &'a [u8], digits: bool) -> &'a [u8] {
    let end = rest.iter().position(|byte| byte.is_ascii_digit() != digits).unwrap_or(rest.len());
    let (taken, left) = rest.split_at(end);
    *rest = left;
    taken
}

fn compare_texts(one: &[u8], other: &[u8]) -> Ordering {
    let rank = |byte: Option<&u8>| match byte {
        Some(b'~') => (0, 0),
        None => (1, 0),
        Some(letter) if letter.is_ascii_alphabetic() => (2, *letter),
        Some(sign) => (3, *sign),
    };
    let ranks = (0..one.len().max(other.len())).map(|n| rank(one.get(n)).cmp(&rank(other.get(n))));
    ranks.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// However many digits they have.
fn compare_numbers(one: &[u8], other: &[u8]) -> Ordering {
    let significant = |number: &[u8]| -> usize { number.iter().skip_while(|digit| **digit == b'0').count() };
    let (one, other) = (&one[one.len() - significant(one)..], &other[other.len() - significant(other)..]);
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_older_than_the_next() {
        let versions = [
            "",
            "0.9",
            "1.0~~",
            "1.0~rc1",
            "1.0~rc2",
            "1.0",
            "1.0-1",
            "1.0-2",
            "1.0-10",
            "1.0a",
            "1.0b",
            "1.0+git1",
            "1.0.1",
            "1.2",
            "1.10",
            "2.0-1~bpo1",
            "2.0-1",
            "99999999999999999999999999",
            "1:0.1",
        ];
        for (n, one) in versions.iter().enumerate() {
            for (m, other) in versions.iter().enumerate() {
                assert_eq!(compare(one, other), n.cmp(&m), "{one} {other}");
            }
        }
    }

    #[test]
    fn what_is_written_otherwise_may_be_the_same() {
        for (one, other) in [("1.01", "1.1"), ("0:1.0", "1.0"), ("1.0-0", "1.0"), ("1.0-", "1.0")] {
            assert_eq!(compare(one, other), Ordering::Equal, "{one} {other}");
        }
    }
}
