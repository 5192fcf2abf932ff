//! The hosts that somebody is limited to.

use crate::hosts::{Directory, Found, Host};
use crate::targets::{Misread, Target};
use std::sync::Arc;

/// An expression that limits somebody to the hosts that it selects.
#[derive(Debug, Clone)]
pub struct Limit {
    text: Arc<str>,
    /// `None` where the expression makes no sense, or no more: then it selects nothing.
    target: Option<Arc<Target>>,
}

impl Limit {
    /// Reads the expression, or says what is wrong with it and where.
    pub fn parse(text: &str) -> Result<Limit, Misread> {
        Ok(Limit { text: text.into(), target: Some(Arc::new(Target::parse(text)?)) })
    }

    /// As it was kept. Another version may have known more than this one: whoever is limited by what
    /// cannot be read reaches nothing.
    pub fn kept(text: &str) -> Limit {
        Limit::parse(text).unwrap_or_else(|reason| {
            tracing::error!(target = text, %reason, "a limit of somebody's hosts is damaged: it selects \
                none");
            Limit { text: text.into(), target: None }
        })
    }

    /// The expression.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn covers(&self, host: &Host) -> bool {
        self.target.as_ref().is_some_and(|target| target.matches(host))
    }
}

/// All that limits somebody: a host has to pass each.
#[derive(Debug, Clone, Default)]
pub struct Scope(Vec<Limit>);

impl Scope {
    /// All of these hold.
    pub fn of(limits: impl IntoIterator<Item = Option<Limit>>) -> Scope {
        Scope(limits.into_iter().flatten().collect())
    }

    /// Whether nothing limits.
    pub fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    /// The expressions.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Limit::text)
    }

    /// Whether the host is within it.
    pub fn covers(&self, host: &Host) -> bool {
        self.0.iter().all(|limit| limit.covers(host))
    }

    /// What a text that should be an id or a name stands for among the hosts within it.
    pub fn find(&self, directory: &Directory, text: &str) -> Found {
        match directory.find(text) {
            Found::One(host) if self.covers(&host) => Found::One(host),
            Found::Several(ids) if self.is_whole() => Found::Several(ids),
            Found::Several(ids) => {
                let mut hosts: Vec<_> = ids.iter().filter_map(|id| directory.by_id(*id)).collect();
                hosts.retain(|host| self.covers(host));
                match hosts.as_slice() {
                    [] => Found::Nothing,
                    [host] => Found::One(host.clone()),
                    several => Found::Several(several.iter().map(|host| host.id).collect()),
                }
            }
            Found::One(_) | Found::Nothing => Found::Nothing,
        }
    }
}
