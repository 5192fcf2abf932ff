//! One field of a schedule as the set of its values.
//!
//! The grammar is crontab(5)'s: items with commas between them, each `*`, a
//! value or a range of values, all with an optional `/step`. Names are values
//! in any case. A range whose end comes before its beginning goes over the
//! edge, as Quartz has it: `23-7/2` is 23, 1, 3, 5, 7.

use super::CronError;
use std::fmt;

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Second,
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
}

impl Field {
    /// In the order in which they are written.
    pub const ALL: [Field; 6] =
        [Field::Second, Field::Minute, Field::Hour, Field::DayOfMonth, Field::Month, Field::DayOfWeek];

    /// What may be written as a number.
    fn range(self) -> (u32, u32) {
        match self {
            Field::Second | Field::Minute => (0, 59),
            Field::Hour => (0, 23),
            Field::DayOfMonth => (1, 31),
            Field::Month => (1, 12),
            Field::DayOfWeek => (0, 7),
        }
    }

    /// The greatest value once Sunday is 0 and not 7.
    fn last(self) -> u32 {
        if self == Field::DayOfWeek { 6 } else { self.range().1 }
    }

    /// After how many values they begin anew.
    fn cycle(self) -> u32 {
        self.last() - self.range().0 + 1
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Field::Month => MONTHS,
            Field::DayOfWeek => DAYS,
            _ => &[],
        }
    }

    /// For whoever wrote something else.
    fn allowed(self) -> &'static str {
        match self {
            Field::Second | Field::Minute => "0-59 and * , - /",
            Field::Hour => "0-23 and * , - /",
            Field::DayOfMonth => "1-31 and * , - / ? L W C",
            Field::Month => "1-12, jan-dec and * , - /",
            Field::DayOfWeek => "0-7, sun-sat and * , - / ? L C",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Field::Second => "second",
            Field::Minute => "minute",
            Field::Hour => "hour",
            Field::DayOfMonth => "day of month",
            Field::Month => "month",
            Field::DayOfWeek => "day of week",
        })
    }
}

/// A piece of the text and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Word<'a> {
    pub text: &'a str,
    /// Of its first character, from 1.
    pub column: usize,
}

impl<'a> Word<'a> {
    /// The words between blanks.
    pub fn all(text: &'a str) -> impl Iterator<Item = Word<'a>> {
        Word { text, column: 1 }.split(&[' ', '\t']).filter(|word| !word.text.is_empty())
    }

    /// The items of a list.
    pub fn items(self) -> impl Iterator<Item = Word<'a>> {
        self.split(&[','])
    }

    fn split(self, marks: &'static [char]) -> impl Iterator<Item = Word<'a>> {
        let mut column = self.column;
        self.text.split(marks).map(move |text| {
            let word = Word { text, column };
            column = word.end() + 1;
            word
        })
    }

    /// What stands before and after the mark, where there is one.
    fn cut(self, mark: char) -> (Word<'a>, Option<Word<'a>>) {
        match self.text.split_once(mark) {
            None => (self, None),
            Some((before, after)) => {
                let before = Word { text: before, ..self };
                (before, Some(Word { text: after, column: before.end() + 1 }))
            }
        }
    }

    /// The column behind it.
    pub fn end(self) -> usize {
        self.column + self.text.chars().count()
    }

    pub fn wrong(self, field: Field, reason: impl Into<String>) -> CronError {
        CronError::Field { field, column: self.column, reason: reason.into() }
    }
}

/// The values of a field, each a bit.
///
/// # Errors
/// The first item that is none.
pub fn values(field: Field, word: Word<'_>) -> Result<u64, CronError> {
    word.items().try_fold(0, |set, item| Ok(set | item_values(field, item)?))
}

/// The values of one item of a list.
pub fn item_values(field: Field, item: Word<'_>) -> Result<u64, CronError> {
    let (base, step) = item.cut('/');
    let stepped = step.is_some();
    let step = step.map_or(Ok(1), |step| step_of(field, step))?;
    if base.text == "*" {
        return Ok(set(field, field.range().0, field.last(), step));
    }
    let (from, to) = base.cut('-');
    let from = value(field, from)?;
    let to = match to {
        Some(to) => value(field, to)?,
        None if stepped => field.last(),
        None => from,
    };
    Ok(set(field, from, to, step))
}

/// Every `step`th value of a range, over the edge where its end is the lesser one.
fn set(field: Field, from: u32, to: u32, step: u32) -> u64 {
    let (least, cycle) = (field.range().0, field.cycle());
    let to = if to < from { to + cycle } else { to };
    let folded = |value| (value - least) % cycle + least;
    (from..=to).step_by(step as usize).fold(0, |set, value| set | 1 << folded(value))
}

/// A number or a name. Sunday may be 0 or 7.
pub fn value(field: Field, word: Word<'_>) -> Result<u32, CronError> {
    let (least, most) = field.range();
    if let Some(index) = field.names().iter().position(|name| name.eq_ignore_ascii_case(word.text)) {
        // Names count as their numbers do, from `least`.
        return Ok(u32::try_from(index).expect("twelve names at most") + least);
    }
    let number = number(word).ok_or_else(|| not_a_value(field, word))?;
    if !(least..=most).contains(&number) {
        let names = match field {
            Field::Month => " or jan-dec",
            Field::DayOfWeek => " or sun-sat",
            _ => "",
        };
        return Err(word.wrong(field, format!("{} is out of range {least}-{most}{names}", word.text)));
    }
    Ok(number)
}

fn step_of(field: Field, word: Word<'_>) -> Result<u32, CronError> {
    match number(word) {
        Some(0) => Err(word.wrong(field, "a step of 0 goes nowhere: it is 1 or more")),
        Some(step) => Ok(step),
        None => Err(word.wrong(field, format!("{:?} is no step: it is a number from 1", word.text))),
    }
}

/// Digits alone. One too large for the type is too large for every field, too.
fn number(word: Word<'_>) -> Option<u32> {
    let digits = !word.text.is_empty() && word.text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| word.text.parse().unwrap_or(u32::MAX))
}

fn not_a_value(field: Field, word: Word<'_>) -> CronError {
    let (text, allowed) = (word.text, field.allowed());
    let reason = match text {
        "" => format!("a value is missing: allowed are {allowed}"),
        "?" if field != Field::DayOfMonth && field != Field::DayOfWeek => {
            "? is only for the day of month and the day of week".into()
        }
        "?" | "*" => format!("{text} stands for the whole field and cannot be part of anything here"),
        _ if text.contains('#') => format!("{text:?}: # is not supported, allowed are {allowed}"),
        _ => format!("{text:?} is not understood, allowed are {allowed}"),
    };
    word.wrong(field, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(field: Field, text: &str) -> Vec<u32> {
        let set = values(field, Word { text, column: 1 }).expect(text);
        (0..64).filter(|value| set >> value & 1 == 1).collect()
    }

    #[test]
    fn a_range_goes_over_the_edge() {
        for (field, text, expected) in [
            (Field::Hour, "23-7/2", &[1, 3, 5, 7, 23][..]),
            (Field::Hour, "0-23/12", &[0, 12]),
            (Field::Minute, "50-10/5", &[0, 5, 10, 50, 55]),
            (Field::Month, "nov-feb", &[1, 2, 11, 12]),
            (Field::Month, "12-1", &[1, 12]),
            (Field::DayOfMonth, "28-3", &[1, 2, 3, 28, 29, 30, 31]),
            (Field::DayOfMonth, "25-5/5", &[4, 25, 30]),
            (Field::DayOfWeek, "fri-mon", &[0, 1, 5, 6]),
            (Field::DayOfWeek, "7-2", &[0, 1, 2]),
            (Field::DayOfWeek, "5-7", &[0, 5, 6]),
            (Field::DayOfWeek, "1-7/2", &[0, 1, 3, 5]),
            (Field::DayOfWeek, "0-7/7", &[0]),
            (Field::DayOfWeek, "7-7", &[0]),
        ] {
            assert_eq!(numbers(field, text), expected, "{text}");
        }
    }

    #[test]
    fn a_step_from_a_value_ends_with_the_field() {
        assert_eq!(numbers(Field::DayOfWeek, "1/2"), [1, 3, 5]);
        assert_eq!(numbers(Field::DayOfWeek, "7/2"), [0, 2, 4, 6]);
        assert_eq!(numbers(Field::Month, "FEB/3"), [2, 5, 8, 11]);
        assert_eq!(numbers(Field::Minute, "58/1"), [58, 59]);
        assert_eq!(numbers(Field::Minute, "*/99999999999999"), [0]);
    }

    #[test]
    fn columns_count_characters() {
        let words: Vec<(&str, usize)> = Word::all(" ü\tb  c").map(|word| (word.text, word.column)).collect();
        assert_eq!(words, [("ü", 2), ("b", 4), ("c", 7)]);
        let items: Vec<usize> = Word { text: "é,,1", column: 5 }.items().map(|item| item.column).collect();
        assert_eq!(items, [5, 7, 8]);
    }
}
