//! What the configuration allows a role beside what its users and tokens say.

use super::{Limit, Role};
use crate::limits::{MAX_POLICY_METHODS, MAX_WORD_BYTES};
use crate::targets::Glob;
use serde::de::{Deserialize, Deserializer, Error as _};
use std::sync::Arc;

/// `[roles]`.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    operator: OperatorPolicy,
    readonly: ReadonlyPolicy,
}

#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OperatorPolicy {
    #[serde(deserialize_with = "target")]
    target: Option<Limit>,
    methods: Methods,
}

#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReadonlyPolicy {
    #[serde(deserialize_with = "target")]
    target: Option<Limit>,
}

/// The methods that somebody may send to hosts, as patterns.
#[derive(Debug, Clone, Default)]
pub struct Methods(Option<Arc<[Pattern]>>);

#[derive(Debug)]
struct Pattern {
    text: String,
    glob: Glob,
}

impl Policy {
    /// The hosts that the role is limited to.
    pub fn limit(&self, role: Role) -> Option<Limit> {
        match role {
            Role::Readonly => self.readonly.target.clone(),
            Role::Operator => self.operator.target.clone(),
            Role::Admin => None,
        }
    }

    /// What the role may send. Those who may send nothing at all the table of calls knows.
    pub fn methods(&self, role: Role) -> Methods {
        if role == Role::Operator { self.operator.methods.clone() } else { Methods::default() }
    }
}

impl Methods {
    /// Whether this one may be sent.
    pub fn allow(&self, method: &str) -> bool {
        self.0.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.glob.matches(method)))
    }
}

impl std::fmt::Display for Methods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_deref() {
            None => f.write_str("*"),
            Some([]) => f.write_str("none"),
            Some(patterns) => {
                let patterns: Vec<_> = patterns.iter().map(|pattern| &*pattern.text).collect();
                f.write_str(&patterns.join(", "))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Methods {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Methods, D::Error> {
        let patterns = Vec::<String>::deserialize(deserializer)?;
        if patterns.len() > MAX_POLICY_METHODS {
            let n = patterns.len();
            return Err(D::Error::custom(format!("at most {MAX_POLICY_METHODS} patterns, got {n}")));
        }
        if let Some(wrong) = patterns.iter().find(|text| text.is_empty() || text.len() > MAX_WORD_BYTES) {
            let reason = format!("{wrong:?} is no pattern of a method: 1 to {MAX_WORD_BYTES} bytes");
            return Err(D::Error::custom(reason));
        }
        let read = |text: String| Glob::new(&text).map(|glob| Pattern { text, glob });
        let patterns = patterns.into_iter().map(read).collect::<Result<Arc<[Pattern]>, _>>();
        patterns.map(|patterns| Methods(Some(patterns))).map_err(D::Error::custom)
    }
}

/// An expression; empty: no limit.
fn target<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Limit>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { Limit::parse(&text).map(Some).map_err(D::Error::custom) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_patterns() {
        let policy: Policy =
            toml::from_str("[operator]\nmethods = ['getinfo.*', 'sync.bash']\n[readonly]\n").unwrap();
        let methods = policy.methods(Role::Operator);
        for (method, allowed) in
            [("getinfo.os", true), ("sync.bash", true), ("sync.bashx", false), ("async.bash", false)]
        {
            assert_eq!(methods.allow(method), allowed, "{method}");
            assert!(policy.methods(Role::Admin).allow(method));
            assert!(Policy::default().methods(Role::Operator).allow(method));
        }
        assert_eq!(methods.to_string(), "getinfo.*, sync.bash");
        let none: Policy = toml::from_str("[operator]\nmethods = []\n").unwrap();
        assert!(!none.methods(Role::Operator).allow("sync.bash"));
        assert_eq!(none.methods(Role::Operator).to_string(), "none");
    }
}
