//! Expressions that select hosts: `region == "cn-1" and facts.cpu.count >= 8`.
//! Text becomes [`token`]s, these become a tree ([`grammar`]), and the tree says
//! yes or no to a host ([`test`]). What is not there satisfies no comparison,
//! `!=` included; of a list it is enough that one element does.

mod glob;
mod grammar;
mod number;
mod test;
mod token;

#[cfg(test)]
mod tests;

pub use glob::Glob;

use crate::hosts::Host;
use test::Node;
use token::Malformed;

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (column {column})")]
pub struct Misread {
    pub reason: String,
    /// The character, from 1; one more than there are where the end is to blame.
    pub column: usize,
}

/// An expression that makes sense.
#[derive(Debug)]
pub struct Target(Node);

impl Target {
    /// Reads it, or says what is wrong with it and where.
    pub fn parse(text: &str) -> Result<Target, Misread> {
        let told = |Malformed { reason, at }| Misread { reason, column: text[..at].chars().count() + 1 };
        grammar::parse(text).map(Target).map_err(told)
    }

    pub fn matches(&self, host: &Host) -> bool {
        self.0.holds(host.id, &host.state())
    }
}
