//! The catalogue of types: types.db(5), in collectd's own grammar.

use crate::Kind;
use std::collections::HashMap;

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
