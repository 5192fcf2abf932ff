//! The tree of an expression, and whether it holds for a host.

use super::glob::Glob;
use super::number::Number;
use crate::hosts::{Fact, State, Status};
use std::cmp::Ordering;
use uuid::Uuid;

#[derive(Debug)]
pub enum Node {
    Any(Vec<Node>),
    All(Vec<Node>),
    Not(Box<Node>),
    Test(Field, Test),
}

/// What of a host is looked at.
#[derive(Debug, PartialEq, Eq)]
pub enum Field {
    Id,
    Name,
    Region,
    Status,
    Version,
    Address,
    Tag(String),
    Fact { section: String, path: Vec<String> },
}

/// What one value has to be.
#[derive(Debug)]
pub enum Test {
    Is(Literal),
    IsNot(Literal),
    In(Vec<Literal>),
    NotIn(Vec<Literal>),
    Like(Glob),
    /// How it has to stand to the number.
    Than(fn(Ordering) -> bool, Number),
    /// Anything at all.
    There,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    Text(String),
    Number(Number),
    Bool(bool),
}

/// A value that is there.
#[derive(Debug, Clone, Copy)]
enum Seen<'a> {
    Text(&'a str),
    Number(Number),
    Bool(bool),
    Object,
}

impl Node {
    pub fn holds(&self, id: Uuid, state: &State) -> bool {
        match self {
            Node::Any(nodes) => nodes.iter().any(|node| node.holds(id, state)),
            Node::All(nodes) => nodes.iter().all(|node| node.holds(id, state)),
            Node::Not(node) => !node.holds(id, state),
            Node::Test(field, test) => field.any(id, state, test),
        }
    }
}

impl Field {
    /// Whether a value that is there passes.
    fn any(&self, id: Uuid, state: &State, test: &Test) -> bool {
        let word = |word: &str| !word.is_empty() && test.passes(Seen::Text(word));
        match self {
            Field::Id => word(id.hyphenated().encode_lower(&mut Uuid::encode_buffer())),
            Field::Name => word(&state.greeting.name),
            Field::Region => word(state.region()),
            Field::Status => word(state.status.as_str()),
            Field::Version => word(&state.greeting.version),
            Field::Address => word(&state.greeting.address),
            // A tag may be empty and is there all the same.
            Field::Tag(name) => state.tag(name).is_some_and(|tag| test.passes(Seen::Text(tag))),
            Field::Fact { section, path } => {
                state.facts.get(section).is_some_and(|fact| any_fact(fact, path, test))
            }
        }
    }

    /// What a text must be for a comparison with it to make sense.
    pub fn values(&self) -> Option<&'static [Status]> {
        (*self == Field::Status).then_some(&[Status::Unknown, Status::Online, Status::Offline])
    }
}

/// Whether a value at the end of the path passes. Lists stand for their elements.
fn any_fact(fact: &Fact, path: &[String], test: &Test) -> bool {
    if let Fact::List(items) = fact {
        return items.iter().any(|item| any_fact(item, path, test));
    }
    if let [name, rest @ ..] = path {
        return fact.field(name).is_some_and(|fact| any_fact(fact, rest, test));
    }
    match fact {
        Fact::Null | Fact::List(_) => false,
        Fact::Bool(value) => test.passes(Seen::Bool(*value)),
        Fact::Number(number) => Number::of_json(number).is_some_and(|n| test.passes(Seen::Number(n))),
        Fact::Text(words) => test.passes(Seen::Text(words)),
        Fact::Object(_) => test.passes(Seen::Object),
    }
}

impl Test {
    fn passes(&self, seen: Seen<'_>) -> bool {
        match self {
            Test::There => true,
            _ if matches!(seen, Seen::Object) => false,
            Test::Is(literal) => literal.is(seen),
            Test::IsNot(literal) => !literal.is(seen),
            Test::In(literals) => literals.iter().any(|literal| literal.is(seen)),
            Test::NotIn(literals) => !literals.iter().any(|literal| literal.is(seen)),
            Test::Like(pattern) => matches!(seen, Seen::Text(text) if pattern.matches(text)),
            Test::Than(stands, number) => {
                seen.number().and_then(|seen| seen.compare(*number)).is_some_and(stands)
            }
        }
    }
}

impl Literal {
    fn is(&self, seen: Seen<'_>) -> bool {
        match (self, seen) {
            (Literal::Text(text), Seen::Text(seen)) => text == seen,
            (Literal::Bool(value), Seen::Bool(seen)) => *value == seen,
            (Literal::Number(number), _) => {
                seen.number().and_then(|seen| seen.compare(*number)) == Some(Ordering::Equal)
            }
            _ => false,
        }
    }
}

impl Seen<'_> {
    /// Tags are texts, and so are many facts: one that says a number is one beside a number.
    fn number(self) -> Option<Number> {
        match self {
            Seen::Number(number) => Some(number),
            Seen::Text(text) => Number::of_text(text),
            Seen::Bool(_) | Seen::Object => None,
        }
    }
}
