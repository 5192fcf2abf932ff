//! The host's facts: what of it seldom changes, in sections. They are taken when
//! the link is up and daily, and the server is told what it does not hold yet.

use super::{Progress, Query};
use crate::machine::limits::{FACTS_EVERY, FACTS_RETRY};
use crate::machine::{Effects, Event, Instant, Now, earliest};
use crate::wire::facts::{self, MAX_FACTS_SECTIONS, Section};
use crate::wire::{Facts, GetInfo, GetInfoParams, Outcome};
use ring::digest::{SHA256, digest};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::Path;

/// The query that answers with all sections in one object.
const QUERY: &str = "facts";

/// As the query answers them; `None` where the host does not tell one.
type Sections = BTreeMap<String, Option<Box<RawValue>>>;

/// What the server knows of the host, and when it is looked at again.
#[derive(Debug, Default)]
pub struct HostFacts {
    /// The digest of each section that the server holds; `None` where there is no
    /// server, or one that keeps no facts.
    held: Option<BTreeMap<String, String>>,
    taking: Option<Query>,
    again: Option<Instant>,
    /// Why they could not be taken last time: said once, however often it is tried.
    trouble: Option<String>,
}

/// What the server is to be told, and what it cannot be told.
#[derive(Debug, Default)]
pub struct Changes {
    /// In the order in which they are to be sent.
    pub frames: Vec<Facts>,
    /// Names and reasons.
    pub untold: Vec<String>,
}

impl HostFacts {
    /// The link is up, and the server holds this.
    pub fn link_up(
        &mut self,
        now: Now,
        held: Option<BTreeMap<String, String>>,
        dir: &Path,
        fx: &mut Effects,
    ) {
        self.link_down(fx);
        self.held = held;
        if self.held.is_some() {
            self.take(now, dir, fx);
        }
    }

    pub fn link_down(&mut self, fx: &mut Effects) {
        if let Some(query) = self.taking.take() {
            query.cancel(fx);
        }
        (self.held, self.again) = (None, None);
    }

    /// Takes them now, where the server keeps any: the plugins may be others.
    pub fn look_again(&mut self, now: Now, dir: &Path, fx: &mut Effects) {
        if self.held.is_some() && self.taking.is_none() {
            self.take(now, dir, fx);
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        earliest([self.again, self.taking.as_ref().map(Query::deadline)])
    }

    /// Takes in an event. `Some` once the facts are there, or why they are not where that is news.
    pub fn handle(
        &mut self,
        now: Now,
        event: &Event<'_>,
        dir: &Path,
        fx: &mut Effects,
    ) -> Option<Result<Changes, String>> {
        if self.again.is_some_and(|again| now.mono >= again) {
            self.take(now, dir, fx);
        }
        let Progress { outcome, over } = self.taking.as_mut()?.handle(now, event, fx);
        if over {
            self.taking = None;
        }
        match sections(outcome?) {
            Ok(sections) => {
                self.trouble = None;
                Some(Ok(self.changes(sections)))
            }
            Err(reason) => {
                self.again = Some(now.mono + FACTS_RETRY);
                let is_known = self.trouble.replace(reason.clone()) == Some(reason.clone());
                (!is_known).then_some(Err(reason))
            }
        }
    }

    fn take(&mut self, now: Now, dir: &Path, fx: &mut Effects) {
        let question = GetInfo { query: QUERY.into(), params: GetInfoParams::default() };
        self.taking = Some(Query::start(now, dir, question, fx));
        self.again = Some(now.mono + FACTS_EVERY);
    }

    /// What is not as the server holds it. From now on it does.
    fn changes(&mut self, sections: Sections) -> Changes {
        let mut changes = Changes::default();
        let held = self.held.get_or_insert_default();
        let mut told = BTreeMap::new();
        let mut news = BTreeMap::new();
        for (name, value) in sections {
            let Some(value) = value else { continue };
            let section = Section { digest: digest_of(&value), value };
            if let Err(reason) = fit(&name, &section, told.len()) {
                changes.untold.push(reason);
                continue;
            }
            told.insert(name.clone(), section.digest.clone());
            if held.get(&name) != Some(&section.digest) {
                news.insert(name, Some(section));
            }
        }
        let gone: BTreeMap<_, _> =
            held.keys().filter(|name| !told.contains_key(*name)).map(|name| (name.clone(), None)).collect();
        // Those that are gone go first: there may be as many as there is room for.
        changes.frames = [gone, news].map(|sections| Facts { sections }).into();
        changes.frames.retain(|facts| !facts.sections.is_empty());
        *held = told;
        changes
    }
}

fn sections(outcome: Outcome) -> Result<Sections, String> {
    let Some(data) = outcome.data else { return Err(outcome.detail.unwrap_or(outcome.message)) };
    serde_json::from_str(data.get())
        .map_err(|error| format!("getinfo.{QUERY}: no object of sections: {error}"))
}

/// Whether the server can keep it beside so many others.
fn fit(name: &str, section: &Section, others: usize) -> Result<(), String> {
    facts::check(name, Some(section))?;
    if others >= MAX_FACTS_SECTIONS {
        return Err(format!("sections: {name} is one more than {MAX_FACTS_SECTIONS}"));
    }
    // It must be more than text that looks like JSON: numbers may be too large, lists too deep.
    serde_json::from_str::<serde_json::Value>(section.value.get())
        .map(drop)
        .map_err(|error| format!("sections.{name}: {error}"))
}

/// 128 bits, enough for a value never to be taken for another of the same host.
fn digest_of(value: &RawValue) -> String {
    let digest = digest(&SHA256, value.get().as_bytes());
    let (first, _) = digest.as_ref().split_first_chunk().expect("SHA-256 is longer");
    format!("{:032x}", u128::from_be_bytes(*first))
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
