//! The arguments of a query, in the manner of a command line: `-U root -n 10`.

use crate::Failure;
use getopts::{Matches, Options};
use std::str::FromStr;

/// Reads the arguments. Words are parted as a shell does it.
///
/// # Errors
/// 3021: a quote that does not end, an option that is not known or lacks its
/// value, a word that belongs to no option.
pub fn matches(options: &Options, args: &str) -> Result<Matches, Failure> {
    let words = shlex::split(args).ok_or_else(|| Failure::invalid("args: a quote is not closed"))?;
    let matches = options.parse(words).map_err(|error| Failure::invalid(format!("args: {error}")))?;
    match matches.free.first() {
        Some(stray) => Err(Failure::invalid(format!("args: unexpected argument {stray:?}"))),
        None => Ok(matches),
    }
}

/// Of a query that takes none.
///
/// # Errors
/// 3021: there are some.
pub fn none(args: &str) -> Result<(), Failure> {
    matches(&Options::new(), args).map(drop)
}

/// An option's value as a number.
///
/// # Errors
/// 3021: it is none.
pub fn number<T: FromStr>(matches: &Matches, option: &str) -> Result<Option<T>, Failure> {
    let parse = |text: String| {
        text.parse()
            .map_err(|_| Failure::invalid(format!("args: -{option}: {text:?} is not a number in range")))
    };
    matches.opt_str(option).map(parse).transpose()
}

/// A part of a long list: `-n COUNT` entries after the first `-o OFFSET`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    pub offset: usize,
    pub count: Option<usize>,
}

impl Part {
    /// Adds the two options.
    pub fn options(options: &mut Options) {
        options.optopt("n", "", "at most so many entries", "COUNT");
        options.optopt("o", "", "without the first so many", "OFFSET");
    }

    /// # Errors
    /// 3021: one of them is no number.
    pub fn of(matches: &Matches) -> Result<Part, Failure> {
        Ok(Part { offset: number(matches, "o")?.unwrap_or(0), count: number(matches, "n")? })
    }

    pub fn take<T>(self, entries: Vec<T>) -> Vec<T> {
        entries.into_iter().skip(self.offset).take(self.count.unwrap_or(usize::MAX)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        let mut options = Options::new();
        options.optopt("U", "", "one user", "NAME");
        options.optflag("A", "", "all");
        Part::options(&mut options);
        options
    }

    #[test]
    fn words_are_parted_as_a_shell_does_it() {
        let read = matches(&options(), " -U 'a b' -n 3 ").unwrap();
        assert_eq!(read.opt_str("U").as_deref(), Some("a b"));
        assert_eq!(Part::of(&read), Ok(Part { offset: 0, count: Some(3) }));
        assert!(none("").is_ok() && none("  ").is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (args, word) in [
            ("-x", "x"),
            ("-U", "U"),
            ("root", "\"root\""),
            ("-U 'root", "quote"),
            ("-n -1", "-n: \"-1\""),
            ("-o many", "-o: \"many\""),
        ] {
            let refused = matches(&options(), args).and_then(|read| Part::of(&read)).unwrap_err();
            assert_eq!(refused.retcode.code(), 3021, "{args}");
            assert!(
                refused.reason.starts_with("args: ") && refused.reason.contains(word),
                "{args}: {refused}"
            );
        }
        assert!(none("-A").is_err());
    }

    #[test]
    fn a_part_of_a_list_is_taken_where_it_is_asked_for() {
        let part = |offset, count| Part { offset, count }.take(vec![1, 2, 3, 4]);
        assert_eq!(part(0, None), [1, 2, 3, 4]);
        assert_eq!(part(1, Some(2)), [2, 3]);
        assert!(part(9, Some(2)).is_empty() && part(0, Some(0)).is_empty());
    }
}
