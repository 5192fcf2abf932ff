//! A line of a crontab.

use super::field::Word;
use super::{CronError, Schedule};

/// Schedule, user and command, as they stand in a system crontab:
/// `0 0/30 8-10 * * * root echo hi`.
///
/// The schedule has six fields, or the classic five without the second. What
/// the sixth word is decides: one that begins with a letter or `_`, is no day
/// of the week and has no mark of a list, a range of steps or a pattern
/// (`,/*?#`) is a user, and the schedule has five fields; any other is the day
/// of the week, right or wrong. So a mistake in it is never taken for a user,
/// and a user whose name reads like a day of the week (`mon`, `1`, `L`) can
/// only be written after six fields.
///
/// The command is the rest of the line as it is. It goes to the shell whole:
/// `%`, which ends it in a crontab, is a character as any other here.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<'a> {
    pub schedule: Schedule,
    /// A name or a number, as it was written.
    pub user: &'a str,
    pub command: &'a str,
}

impl<'a> Line<'a> {
    /// # Errors
    /// What is wrong with the schedule; that there is no user or no command;
    /// and why a line is none, such as a comment or a variable.
    pub fn parse(text: &'a str) -> Result<Self, CronError> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let words: Vec<Word<'a>> = Word::all(text).take(8).collect();
        let Some(first) = words.first() else {
            return Err(refusal(1, "the line is empty"));
        };
        if let Some(reason) = no_entry(text, first.text) {
            return Err(refusal(first.column, reason));
        }
        let fields = if words.get(5).is_none_or(|word| is_user(word.text)) { 5 } else { 6 };
        let end = words.get(fields - 1).map_or(text.len(), |last| behind(text, *last));
        let schedule = Schedule::parse(&text[..end])?;
        let missing = |what: &str| {
            refusal(
                text.chars().count() + 1,
                format!("{what} is missing after a schedule of {fields} fields"),
            )
        };
        let user = words.get(fields).ok_or_else(|| missing("the user"))?;
        let command = text[behind(text, *user)..].trim_start_matches([' ', '\t']);
        if command.is_empty() {
            return Err(missing(&format!("the command of user {:?}", user.text)));
        }
        Ok(Line { schedule, user: user.text, command })
    }
}

/// Why this is no line of its own kind, where it is another.
fn no_entry(text: &str, first: &str) -> Option<&'static str> {
    let is_name = |name: &str| {
        let mut name = name.trim_matches(['"', '\'']).bytes();
        name.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
            && name.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if first.starts_with('#') {
        Some("this is a comment")
    } else if text.split_once('=').is_some_and(|(name, _)| is_name(name.trim())) {
        Some("this sets a variable, which only a command's own environment can")
    } else if text.contains(['\n', '\r']) {
        Some("one line is expected, without a line break")
    } else {
        None
    }
}

fn is_user(word: &str) -> bool {
    let begins = word.starts_with(|first: char| first.is_alphabetic() || first == '_');
    let is_day = || Schedule::parse(&format!("* * * * {word}")).is_ok();
    begins && !word.contains([',', '/', '*', '?', '#']) && !is_day()
}

/// The place behind the word in the text that it is a part of.
fn behind(text: &str, word: Word<'_>) -> usize {
    let begin = text.char_indices().nth(word.column - 1).map_or(text.len(), |(place, _)| place);
    begin + word.text.len()
}

fn refusal(column: usize, reason: impl Into<String>) -> CronError {
    CronError::Text { column, reason: reason.into() }
}
