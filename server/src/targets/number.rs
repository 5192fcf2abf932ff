//! Numbers as expressions and facts have them: whole ones are compared as such, however large.

use std::cmp::Ordering;

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Whole(i128),
    Float(f64),
}

impl Number {
    /// Digits, with a sign and a dot where there are some, and a unit of 1024. `None` where it is too large.
    pub fn new(digits: &str, unit: Option<char>) -> Option<Number> {
        let factor = 1_i128 << unit.map_or(0, |unit| 10 * "_KMGT".find(unit).unwrap_or_default());
        if digits.contains('.') {
            return digits.parse::<f64>().ok().map(|float| Number::Float(float * approximate(factor)));
        }
        digits.parse::<i128>().ok()?.checked_mul(factor).map(Number::Whole)
    }

    /// What a text says, if it is a number and nothing else.
    pub fn of_text(text: &str) -> Option<Number> {
        let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        if text.is_empty() || !text.bytes().all(plain) {
            return None;
        }
        Number::new(text, None)
    }

    pub fn of_json(number: &serde_json::Number) -> Option<Number> {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        whole.map(Number::Whole).or_else(|| number.as_f64().map(Number::Float))
    }

    pub fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Whole(one), Number::Whole(other)) => Some(one.cmp(&other)),
            _ => self.float().partial_cmp(&other.float()),
        }
    }

    fn float(self) -> f64 {
        match self {
            Number::Whole(whole) => approximate(whole),
            Number::Float(float) => float,
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "beside a fraction, the nearest one will do")]
fn approximate(whole: i128) -> f64 {
    whole as f64
}
