//! What is handed on: values lists, and notifications.

use crate::{DataSet, Identifier, Kind, Value};

/// Values that were read at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueList {
    pub id: Identifier,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// Milliseconds from one reading to the next.
    pub interval_ms: u64,
    /// As many as the type has data sources, in their order and of their kinds.
    pub values: Vec<Value>,
}

/// A values list does not fit its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("type {type_name}: it has {wanted} values, got {got}")]
    Count { type_name: String, wanted: usize, got: usize },
    #[error("type {type_name}: {source_name} is a {wanted:?}, got a {got:?}")]
    Kind { type_name: String, source_name: String, wanted: Kind, got: Kind },
}

impl ValueList {
    /// Whether the values are as the type has them.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self, set: &DataSet) -> Result<(), Mismatch> {
        if self.values.len() != set.sources.len() {
            let (wanted, got) = (set.sources.len(), self.values.len());
            return Err(Mismatch::Count { type_name: set.name.clone(), wanted, got });
        }
        match set.sources.iter().zip(&self.values).find(|(source, value)| source.kind != value.kind()) {
            None => Ok(()),
            Some((source, value)) => Err(Mismatch::Kind {
                type_name: set.name.clone(),
                source_name: source.name.clone(),
                wanted: source.kind,
                got: value.kind(),
            }),
        }
    }
}

/// How bad it is, in collectd's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Okay,
    Warning,
    Failure,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub severity: Severity,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    pub message: String,
    /// Each may be empty.
    pub host: String,
    pub plugin: String,
    pub plugin_instance: String,
    pub type_name: String,
    pub type_instance: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Types;

    fn list(values: &[Value]) -> ValueList {
        let id = "h/interface-eth0/if_octets".parse().unwrap();
        ValueList { id, time_ms: 0, interval_ms: 10_000, values: values.to_vec() }
    }

    #[test]
    fn a_list_has_as_many_values_as_its_type_and_of_its_kinds() {
        let mut types = Types::default();
        assert_eq!(types.add("if_octets rx:DERIVE:0:U, tx:DERIVE:0:U"), []);
        let set = types.find("if_octets").unwrap();
        assert_eq!(list(&[Value::Derive(1), Value::Derive(2)]).check(set), Ok(()));
        let short = list(&[Value::Derive(1)]).check(set).unwrap_err();
        assert_eq!(short.to_string(), "type if_octets: it has 2 values, got 1");
        let other = list(&[Value::Derive(1), Value::Gauge(2.0)]).check(set).unwrap_err();
        assert_eq!(other.to_string(), "type if_octets: tx is a Derive, got a Gauge");
    }
}
