//! From the words of an expression to its tree:
//!
//! ```text
//! any     = all { "or" all }
//! all     = not { "and" not }
//! not     = "not" not | "(" any ")" | "has" "(" field ")" | field test
//! test    = ("==" | "!=") value | ("<" | "<=" | ">" | ">=") number | "~" text
//!         | [ "not" ] "in" "(" value { "," value } ")"
//! value   = text | number | "true" | "false"
//! ```

use super::glob::Glob;
use super::number::Number;
use super::test::{Field, Literal, Node, Test};
use super::token::{Malformed, Placed, Token, tokens};
use crate::limits::{MAX_TARGET_BYTES, MAX_TARGET_DEPTH};
use std::cmp::Ordering;

const FIELDS: &str = "id, name, region, status, version, address, tags.NAME and facts.SECTION.NAME";
const OPERATORS: &str = r#""==", "!=", "<", "<=", ">", ">=", "~" or "in""#;
/// Characters that are shown of what an expression has.
const SHOWN_CHARS: usize = 40;

type Read<T> = Result<T, Malformed>;

pub fn parse(text: &str) -> Read<Node> {
    if text.len() > MAX_TARGET_BYTES {
        let reason = format!("it must be at most {MAX_TARGET_BYTES} bytes, got {}", text.len());
        return Err(Malformed { reason, at: 0 });
    }
    let tokens = tokens(text)?;
    let mut reader = Reader { text, tokens: &tokens, depth: 0, last: None };
    let node = reader.any()?;
    if reader.tokens.is_empty() { Ok(node) } else { Err(reader.expected(r#""and", "or" or the end"#)) }
}

struct Reader<'t> {
    text: &'t str,
    /// Those that are left.
    tokens: &'t [Placed],
    depth: usize,
    /// The one before them.
    last: Option<&'t Placed>,
}

impl Reader<'_> {
    fn any(&mut self) -> Read<Node> {
        let mut nodes = vec![self.all()?];
        while self.word("or") {
            nodes.push(self.all()?);
        }
        Ok(one_or(nodes, Node::Any))
    }

    fn all(&mut self) -> Read<Node> {
        let mut nodes = vec![self.not()?];
        while self.word("and") {
            nodes.push(self.not()?);
        }
        Ok(one_or(nodes, Node::All))
    }

    fn not(&mut self) -> Read<Node> {
        if self.word("not") {
            return self.deeper(Self::not).map(|node| Node::Not(Box::new(node)));
        }
        if self.sign(&["("]).is_some() {
            let node = self.deeper(Self::any)?;
            return self.closed(r#""and", "or" or ")""#).map(|()| node);
        }
        if self.word("has") {
            self.opened()?;
            let field = self.field("a field")?;
            return self.closed(r#"")""#).map(|()| Node::Test(field, Test::There));
        }
        let field = self.field(r#"a field, "not", "has" or "(""#)?;
        let test = self.test(&field)?;
        Ok(Node::Test(field, test))
    }

    fn deeper(&mut self, inner: fn(&mut Self) -> Read<Node>) -> Read<Node> {
        if self.depth == MAX_TARGET_DEPTH {
            let why = format!("this is more than {MAX_TARGET_DEPTH} levels deep");
            return Err(Malformed { reason: why, at: self.last.map_or(0, |last| last.begin) });
        }
        self.depth += 1;
        let node = inner(self)?;
        self.depth -= 1;
        Ok(node)
    }

    fn test(&mut self, field: &Field) -> Read<Test> {
        if self.word("in") {
            return self.list(field).map(Test::In);
        }
        if self.word("not") {
            return if self.word("in") {
                self.list(field).map(Test::NotIn)
            } else {
                Err(self.expected(r#""in""#))
            };
        }
        match self.sign(&["==", "!=", "<", "<=", ">", ">=", "~"]) {
            Some("==") => self.value(field).map(Test::Is),
            Some("!=") => self.value(field).map(Test::IsNot),
            Some("<") => self.number().map(|number| Test::Than(Ordering::is_lt, number)),
            Some("<=") => self.number().map(|number| Test::Than(Ordering::is_le, number)),
            Some(">") => self.number().map(|number| Test::Than(Ordering::is_gt, number)),
            Some(">=") => self.number().map(|number| Test::Than(Ordering::is_ge, number)),
            Some(_) => self.pattern().map(Test::Like),
            None => Err(self.expected(OPERATORS)),
        }
    }

    fn list(&mut self, field: &Field) -> Read<Vec<Literal>> {
        self.opened()?;
        let mut values = vec![self.value(field)?];
        while self.sign(&[","]).is_some() {
            values.push(self.value(field)?);
        }
        self.closed(r#""," or ")""#).map(|()| values)
    }

    fn field(&mut self, what: &str) -> Read<Field> {
        let Some(Placed { token: Token::Path(path), begin, .. }) = self.tokens.first() else {
            return Err(self.expected(what));
        };
        let wrong = |reason: String| Err(Malformed { reason, at: *begin });
        let (first, rest) = path.split_first().expect("a path has a first part");
        let field = match (first.as_str(), rest) {
            ("tags", [_, ..]) => Field::Tag(rest.join(".")),
            ("facts", [section, path @ ..]) => Field::Fact { section: section.clone(), path: path.to_vec() },
            ("tags", []) => return wrong("tags needs a name, such as tags.svc".into()),
            ("facts", []) => return wrong("facts needs a name, such as facts.os.id".into()),
            ("id", []) => Field::Id,
            ("name", []) => Field::Name,
            ("region", []) => Field::Region,
            ("status", []) => Field::Status,
            ("version", []) => Field::Version,
            ("address", []) => Field::Address,
            _ if ["and", "or", "in"].contains(&first.as_str()) => return Err(self.expected(what)),
            _ => return wrong(format!("there is no field {}: there are {FIELDS}", shown(&path.join(".")))),
        };
        self.advance();
        Ok(field)
    }

    fn value(&mut self, field: &Field) -> Read<Literal> {
        let Some(placed) = self.tokens.first() else { return Err(self.expected("a value")) };
        let literal = match &placed.token {
            Token::Text(text) => Literal::Text(text.clone()),
            Token::Number(number) => Literal::Number(*number),
            Token::Path(path) if *path == ["true"] => Literal::Bool(true),
            Token::Path(path) if *path == ["false"] => Literal::Bool(false),
            Token::Path(_) => {
                let Malformed { reason, at } = self.expected("a value");
                return Err(Malformed { reason: format!("{reason}: text stands in quotes"), at });
            }
            Token::Sign(_) => return Err(self.expected("a value")),
        };
        if let Some(values) = field.values() {
            let known = values.iter().map(|value| value.as_str());
            if !known.clone().any(|known| literal == Literal::Text(known.to_owned())) {
                let known: Vec<_> = known.map(|known| format!("{known:?}")).collect();
                return Err(self.expected(&format!("one of {}", known.join(", "))));
            }
        }
        self.advance();
        Ok(literal)
    }

    fn number(&mut self) -> Read<Number> {
        let Some(Placed { token: Token::Number(number), .. }) = self.tokens.first() else {
            return Err(self.expected("a number"));
        };
        self.advance();
        Ok(*number)
    }

    fn pattern(&mut self) -> Read<Glob> {
        let Some(Placed { token: Token::Text(text), begin, .. }) = self.tokens.first() else {
            return Err(self.expected("a pattern in quotes"));
        };
        let glob = Glob::new(text).map_err(|reason| Malformed { reason, at: *begin })?;
        self.advance();
        Ok(glob)
    }

    fn opened(&mut self) -> Read<()> {
        self.sign(&["("]).map(drop).ok_or_else(|| self.expected(r#""(""#))
    }

    fn closed(&mut self, what: &str) -> Read<()> {
        self.sign(&[")"]).map(drop).ok_or_else(|| self.expected(what))
    }

    /// Whether the next token is this word; it is taken.
    fn word(&mut self, word: &str) -> bool {
        let found =
            matches!(self.tokens.first(), Some(Placed { token: Token::Path(path), .. }) if *path == [word]);
        if found {
            self.advance();
        }
        found
    }

    /// The next token if it is one of these; it is taken.
    fn sign(&mut self, signs: &[&str]) -> Option<&'static str> {
        let Some(Placed { token: Token::Sign(sign), .. }) = self.tokens.first() else { return None };
        if !signs.contains(sign) {
            return None;
        }
        self.advance();
        Some(sign)
    }

    fn advance(&mut self) {
        if let Some((first, rest)) = self.tokens.split_first() {
            (self.last, self.tokens) = (Some(first), rest);
        }
    }

    /// What should stand here.
    fn expected(&self, what: &str) -> Malformed {
        let at = self.tokens.first().map_or(self.text.len(), |next| next.begin);
        let after = self.last.map(|last| shown(&self.text[last.begin..last.end]));
        let after = after.map_or_else(String::new, |last| format!(" after {last}"));
        Malformed { reason: format!("expected {what}{after}"), at }
    }
}

/// The beginning of what an expression has, in quotes.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(SHOWN_CHARS).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    if text.starts_with(['"', '\'']) { format!("{short}{more}") } else { format!("\"{short}{more}\"") }
}

fn one_or(mut nodes: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    if nodes.len() > 1 {
        return many(nodes);
    }
    nodes.pop().expect("there is one at least")
}
