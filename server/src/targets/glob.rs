//! Patterns of names: `*` is any characters, `?` one of them. What is matched
//! comes from hosts, which may be hostile: it is read once, whatever the
//! pattern is.

use crate::limits::MAX_SOUGHT_CHARS;
use std::collections::HashMap;

/// A pattern, parted at its `*`.
#[derive(Debug)]
pub struct Glob {
    /// What a text begins with; all of it where there is no `*`.
    head: String,
    rest: Option<Rest>,
}

/// What comes after the first `*`.
#[derive(Debug)]
struct Rest {
    /// What has to come one after the other, with anything between.
    middle: Vec<Sought>,
    /// What the text ends with.
    tail: String,
}

/// What is looked for in a text.
#[derive(Debug)]
enum Sought {
    Plain(String),
    /// With a `?`: of each character the places that it may stand at, a bit each.
    Jokers {
        length: usize,
        places: HashMap<char, u128>,
        anywhere: u128,
    },
}

impl Glob {
    /// Reads it, or says why it cannot be used.
    pub fn new(pattern: &str) -> Result<Glob, String> {
        let Some((head, rest)) = pattern.split_once('*') else {
            return Ok(Glob { head: pattern.to_owned(), rest: None });
        };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        let middle = middle.split('*').filter(|part| !part.is_empty());
        let rest = Rest { middle: middle.map(Sought::new).collect::<Result<_, _>>()?, tail: tail.to_owned() };
        Ok(Glob { head: head.to_owned(), rest: Some(rest) })
    }

    /// Whether the whole text is like that.
    pub fn matches(&self, text: &str) -> bool {
        let Some(mut text) = without_head(text, &self.head) else { return false };
        let Some(rest) = &self.rest else { return text.is_empty() };
        for sought in &rest.middle {
            let Some(end) = sought.end_in(text) else { return false };
            text = &text[end..];
        }
        is_tail(text, &rest.tail)
    }
}

impl Sought {
    fn new(part: &str) -> Result<Sought, String> {
        if !part.contains('?') {
            return Ok(Sought::Plain(part.to_owned()));
        }
        let length = part.chars().count();
        if length > MAX_SOUGHT_CHARS {
            let most = format!("at most {MAX_SOUGHT_CHARS} characters where a \"?\" is among them");
            return Err(format!("between two \"*\" there may be {most}, got {length}"));
        }
        let (mut places, mut anywhere) = (HashMap::new(), 0);
        for (place, wanted) in part.chars().enumerate() {
            let bit = 1 << place;
            if wanted == '?' { anywhere |= bit } else { *places.entry(wanted).or_default() |= bit }
        }
        Ok(Sought::Jokers { length, places, anywhere })
    }

    /// Where it ends first, in bytes.
    fn end_in(&self, text: &str) -> Option<usize> {
        match self {
            Sought::Plain(part) => text.find(part.as_str()).map(|begin| begin + part.len()),
            Sought::Jokers { length, places, anywhere } => {
                let last: u128 = 1 << (length - 1);
                // A bit for each place up to which it stands right before the character.
                let mut right: u128 = 0;
                let mut chars = text.char_indices();
                chars.find_map(|(begin, c)| {
                    right = (right << 1 | 1) & (places.get(&c).unwrap_or(&0) | anywhere);
                    (right & last != 0).then(|| begin + c.len_utf8())
                })
            }
        }
    }
}

/// What comes after a beginning that is like `head`.
fn without_head<'t>(text: &'t str, head: &str) -> Option<&'t str> {
    let mut text = text.chars();
    head.chars()
        .all(|wanted| text.next().is_some_and(|c| wanted == '?' || wanted == c))
        .then_some(text.as_str())
}

fn is_tail(text: &str, tail: &str) -> bool {
    let mut text = text.chars().rev();
    tail.chars().rev().all(|wanted| text.next().is_some_and(|c| wanted == '?' || wanted == c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, as it is defined.
    fn plainly(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], text) => text.is_empty(),
            (['*', rest @ ..], text) => (0..=text.len()).any(|skipped| plainly(rest, &text[skipped..])),
            ([wanted, pattern @ ..], [c, text @ ..]) => {
                (*wanted == '?' || wanted == c) && plainly(pattern, text)
            }
            ([_, ..], []) => false,
        }
    }

    proptest! {
        #[test]
        fn it_matches_what_it_is_defined_to(pattern in "[ab?*\u{fc}]{0,8}", text in "[ab\u{fc}]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = plainly(&chars(&pattern), &chars(&text));
            prop_assert_eq!(Glob::new(&pattern).unwrap().matches(&text), expected);
        }
    }

    #[test]
    fn what_is_looked_for_with_a_joker_has_its_length() {
        let long = |n: usize| format!("a*?{}*b", "x".repeat(n - 1));
        assert!(Glob::new(&long(128)).is_ok_and(|glob| glob.matches(&format!("a-{}b", "x".repeat(128)))));
        let reason = Glob::new(&long(129)).unwrap_err();
        assert_eq!(
            reason,
            "between two \"*\" there may be at most 128 characters where a \"?\" is among them, got 129"
        );
        // At the ends and without a joker there is nothing to look for, or nothing that takes long.
        for pattern in
            ["?".repeat(1000), format!("?{0}*{0}?", "x".repeat(1000)), format!("*{}*", "x".repeat(1000))]
        {
            assert!(Glob::new(&pattern).is_ok());
        }
    }

    #[test]
    fn a_hostile_text_is_read_once() {
        // What goes back to where it began would take this text some ten thousand times.
        let text = "a".repeat(32 * 1024);
        let joker = format!("*{}?b*", "a".repeat(120));
        for pattern in ["*a*b*c*".to_owned(), format!("*{}b*", "a".repeat(3000)), joker] {
            let glob = Glob::new(&pattern).unwrap();
            assert!((0..100).all(|_| !glob.matches(&text)), "{pattern}");
        }
    }
}
