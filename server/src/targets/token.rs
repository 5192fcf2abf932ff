//! Words of an expression, each with the place where it stands.

use super::number::Number;
use winnow::ascii::digit1;
use winnow::combinator::{opt, separated};
use winnow::error::ParserError;
use winnow::prelude::*;
use winnow::stream::{LocatingSlice, Location as _};
use winnow::token::{any, one_of, take_while};

/// What is wrong, and the byte where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    pub reason: String,
    pub at: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// `facts.os.id`, `tags."a b"`, and also `and`.
    Path(Vec<String>),
    Text(String),
    Number(Number),
    /// An operator, a parenthesis, a comma.
    Sign(&'static str),
}

/// A token, and the bytes that it is of.
#[derive(Debug)]
pub struct Placed {
    pub token: Token,
    pub begin: usize,
    pub end: usize,
}

/// The longer before those that they begin with.
const SIGNS: [&str; 10] = ["==", "!=", "<=", ">=", "<", ">", "~", "(", ")", ","];

type Input<'a> = LocatingSlice<&'a str>;
type Read<T> = Result<T, Malformed>;

/// All of the text.
pub fn tokens(text: &str) -> Read<Vec<Placed>> {
    let mut input = Input::new(text);
    let mut tokens = Vec::new();
    loop {
        take_while(0.., char::is_whitespace).parse_next(&mut input)?;
        let begin = input.current_token_start();
        let Some(first) = input.chars().next() else { return Ok(tokens) };
        let token = match first {
            '"' | '\'' => quoted.map(Token::Text).parse_next(&mut input)?,
            '-' | '0'..='9' => number.map(Token::Number).parse_next(&mut input)?,
            _ if begins_name(first) => path.map(Token::Path).parse_next(&mut input)?,
            _ => sign.map(Token::Sign).parse_next(&mut input)?,
        };
        tokens.push(Placed { token, begin, end: input.current_token_start() });
    }
}

fn path(input: &mut Input<'_>) -> Read<Vec<String>> {
    let path: Vec<String> = separated(1.., part, '.').parse_next(input)?;
    if input.starts_with('.') {
        any.parse_next(input)?;
        // Again for the sake of its reason: a name that is quoted may be at fault itself.
        return if input.starts_with(['"', '\'']) { quoted(input).map(|_| path) } else { Err(name(input)) };
    }
    Ok(path)
}

fn name(input: &Input<'_>) -> Malformed {
    wrong(input, "expected a name after the dot")
}

fn part(input: &mut Input<'_>) -> Read<String> {
    if input.starts_with(['"', '\'']) {
        return quoted(input);
    }
    take_while(1.., in_name).map(str::to_owned).parse_next(input)
}

fn quoted(input: &mut Input<'_>) -> Read<String> {
    let open = wrong(input, "the text that begins here has no end");
    let quote = any.parse_next(input)?;
    let mut text = String::new();
    loop {
        let here = wrong(input, "a backslash stands before a quote or another backslash only");
        match any(input).map_err(|_: Malformed| open.clone())? {
            c if c == quote => return Ok(text),
            '\\' => text.push(one_of(['"', '\'', '\\']).parse_next(input).map_err(|_: Malformed| here)?),
            c => text.push(c),
        }
    }
}

fn number(input: &mut Input<'_>) -> Read<Number> {
    let wrong = wrong(input, "a number is written as 8, -1, 0.5 or, with a unit of 1024, 8K, 8M, 8G or 8T");
    let digits = (opt('-'), digit1, opt(('.', digit1))).take();
    let read = (digits, opt(one_of(['K', 'M', 'G', 'T']))).parse_next(input);
    match read {
        Ok((digits, unit)) if !input.starts_with(|c| in_name(c) || c == '.') => {
            Number::new(digits, unit).ok_or(wrong)
        }
        Ok(_) | Err(Malformed { .. }) => Err(wrong),
    }
}

fn sign(input: &mut Input<'_>) -> Read<&'static str> {
    if let Some(sign) = SIGNS.into_iter().find(|sign| input.starts_with(sign)) {
        return sign.value(sign).parse_next(input);
    }
    let meant = [("=", "=="), ("&", "and"), ("|", "or"), ("!", "not")];
    let meant = meant.iter().find(|(sign, _)| input.starts_with(sign));
    let hint = meant.map_or_else(String::new, |(_, meant)| format!(": write {meant:?}"));
    let found = input.chars().next().unwrap_or_default();
    Err(wrong(input, &format!("{:?} means nothing here{hint}", found.to_string())))
}

fn begins_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn wrong(input: &Input<'_>, reason: &str) -> Malformed {
    Malformed { reason: reason.to_owned(), at: input.current_token_start() }
}

/// Of a combinator, which says nothing better.
impl<'a> ParserError<Input<'a>> for Malformed {
    type Inner = Malformed;

    fn from_input(input: &Input<'a>) -> Malformed {
        wrong(input, "this is not understood")
    }

    fn into_inner(self) -> Result<Malformed, Malformed> {
        Ok(self)
    }
}
