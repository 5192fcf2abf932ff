//! The catalogue of types: types.db(5), in collectd's own grammar.

use crate::Kind;
use std::collections::HashMap;

/// The longest line, in bytes: collectd leaves out longer ones, too.
pub const MAX_LINE_BYTES: usize = 4094;
/// The most data sources that a type may have.
pub const MAX_SOURCES: usize = 63;

/// One of a type's values.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSource {
    pub name: String,
    pub kind: Kind,
    /// Of the value, or of the rate where the kind is not a gauge. `None` is `U`: no bound.
    pub min: Option<f64>,
    pub max: Option<f64>,
}

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSet {
    pub name: String,
    /// At least one.
    pub sources: Vec<DataSource>,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Types {
    by_name: HashMap<String, DataSet>,
}

/// A line of a file that is left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {reason}")]
pub struct TypesError {
    /// From 1.
    pub line: usize,
    pub reason: String,
}

impl Types {
    /// Adds the types of a file. One that is known already is replaced, so that of several files the
    /// last one wins. What is wrong costs its own line.
    pub fn add(&mut self, text: &str) -> Vec<TypesError> {
        let mut errors = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            match data_set(text) {
                Ok(None) => {}
                Ok(Some(set)) => {
                    self.by_name.insert(set.name.clone(), set);
                }
                Err(reason) => errors.push(TypesError { line, reason }),
            }
        }
        errors
    }

    /// The type of this name.
    pub fn find(&self, name: &str) -> Option<&DataSet> {
        self.by_name.get(name)
    }

    /// How many types there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// One line. `None` where there is no type in it: a comment, or fewer than two fields.
fn data_set(line: &str) -> Result<Option<DataSet>, String> {
    if line.len() > MAX_LINE_BYTES {
        return Err(format!("must be at most {MAX_LINE_BYTES} bytes, got {}", line.len()));
    }
    if line.starts_with('#') {
        return Ok(None);
    }
    let mut fields = line.split_ascii_whitespace();
    let Some(name) = fields.next() else { return Ok(None) };
    let fields: Vec<&str> = fields.collect();
    match fields.len() {
        0 => return Ok(None),
        count if count > MAX_SOURCES => {
            return Err(format!("{name}: must have at most {MAX_SOURCES} data sources, got {count}"));
        }
        _ => {}
    }
    let sources = fields.into_iter().map(data_source).collect::<Result<_, _>>();
    let sources = sources.map_err(|reason| format!("{name}: {reason}"))?;
    Ok(Some(DataSet { name: name.to_owned(), sources }))
}

/// `NAME:KIND:MIN:MAX`, with or without a comma behind it.
fn data_source(field: &str) -> Result<DataSource, String> {
    let field = field.strip_suffix(',').unwrap_or(field);
    let parts: Vec<&str> = field.split(':').collect();
    let [name, kind, min, max] = parts[..] else {
        return Err(format!("{field:?} is not NAME:KIND:MIN:MAX"));
    };
    if name.is_empty() {
        return Err(format!("{field:?} has no name"));
    }
    let kind = match kind.to_ascii_uppercase().as_str() {
        "GAUGE" => Kind::Gauge,
        "DERIVE" => Kind::Derive,
        "COUNTER" => Kind::Counter,
        "ABSOLUTE" => Kind::Absolute,
        _ => return Err(format!("{name}: {kind:?} is not GAUGE, DERIVE, COUNTER or ABSOLUTE")),
    };
    let bound = |which: &str, text: &str| match text {
        "U" => Ok(None),
        text => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(format!("{name}: {which}: {text:?} is neither a number nor U")),
        },
    };
    Ok(DataSource { name: name.to_owned(), kind, min: bound("min", min)?, max: bound("max", max)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn types(text: &str) -> (Types, Vec<TypesError>) {
        let mut types = Types::default();
        let errors = types.add(text);
        (types, errors)
    }

    #[test]
    fn the_catalogue_is_read_in_the_grammar_of_collectd() {
        let (types, errors) = types(
            "# cpu is a comment\n\
             load\t\tshortterm:GAUGE:0:5000, midterm:GAUGE:0:5000, longterm:gauge:0:5000\n\
             ib_octets  rx:DERIVE:0:U  tx:Derive:0:18446744073709551615\n\
             \n\
             alone\n",
        );
        assert_eq!((types.len(), errors), (2, vec![]));
        let load = types.find("load").unwrap();
        let names: Vec<&str> = load.sources.iter().map(|source| source.name.as_str()).collect();
        assert_eq!(names, ["shortterm", "midterm", "longterm"]);
        assert_eq!(load.sources[2].kind, Kind::Gauge);
        let octets = &types.find("ib_octets").unwrap().sources;
        assert_eq!((octets[0].min, octets[0].max), (Some(0.0), None));
        assert_eq!(octets[1].max, Some(18_446_744_073_709_551_615.0));
        assert_eq!((types.find("alone"), types.find("cpu")), (None, None));
    }

    #[test]
    fn what_is_wrong_costs_its_own_line_and_is_named() {
        for (line, word) in [
            ("a value:GAUGE:0", "NAME:KIND:MIN:MAX"),
            ("a value:GAUGE:0:1:2", "NAME:KIND:MIN:MAX"),
            ("a value:METER:0:U", "METER"),
            ("a value:GAUGE:low:U", "min: \"low\""),
            ("a value:GAUGE:0:nan", "max: \"nan\""),
            ("a :GAUGE:0:U", "no name"),
            ("a ok:GAUGE:0:U, bad", "bad"),
            (&"x".repeat(MAX_LINE_BYTES + 1), "4094 bytes"),
            (&format!("a {}", "v:GAUGE:U:U ".repeat(64)), "63 data sources"),
        ] {
            let (types, errors) = types(&format!("# first\n{line}\nb value:GAUGE:U:U\n"));
            assert_eq!((types.len(), errors.len()), (1, 1), "{line}");
            assert!(errors[0].to_string().starts_with("2: "), "{}", errors[0]);
            assert!(errors[0].reason.contains(word), "{}", errors[0]);
        }
    }

    #[test]
    fn of_two_that_have_one_name_the_last_one_wins() {
        let (types, _) = types("a value:GAUGE:0:U\na value:DERIVE:0:U\n");
        assert_eq!(types.len(), 1);
        assert_eq!(types.find("a").unwrap().sources[0].kind, Kind::Derive);
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_file_each_line_is_a_type_or_an_error_or_nothing(
            text in "([a-z#:,UGAE0-9. \t-]|GAUGE|DERIVE|\n|\\PC){0,200}"
        ) {
            let (types, errors) = types(&text);
            prop_assert!(types.len() + errors.len() <= text.lines().count());
        }
    }
}
