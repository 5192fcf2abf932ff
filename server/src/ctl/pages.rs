//! Lists that come page by page, of hosts that are named, selected, or both.

use super::client::Client;
use super::error::Error;
use super::output::List;
use crate::limits::PAGE_ENTRIES;
use serde_json::Value;
use std::collections::HashSet;

/// Which list, and which of its entries.
pub struct Pages<'a> {
    /// Where it is in the API.
    pub path: &'a [&'a str],
    /// What the list is called in the answer.
    pub key: &'a str,
    /// Of these hosts, by name or id.
    pub hosts: &'a [String],
    /// Of the hosts that this expression selects, beside them. Without either: of all.
    pub target: &'a Option<String>,
    /// What else is asked of the entries.
    pub narrowed: &'a [(&'a str, &'a Option<String>)],
    /// What tells an entry from all others, and the next page where to begin.
    pub mark: fn(&Value) -> Option<String>,
}

impl Pages<'_> {
    /// All of it, each entry once.
    pub fn fetch(&self, client: &Client) -> Result<List, Error> {
        let mut all = List::empty(self.key);
        for host in self.hosts {
            all.extend(self.of(client, ("host", &Some(host.clone())))?);
        }
        if self.hosts.is_empty() || self.target.is_some() {
            all.extend(self.of(client, ("target", self.target))?);
        }
        // A host may be named, and selected too.
        let mut seen = HashSet::new();
        all.retain(|entry| (self.mark)(entry).is_none_or(|mark| seen.insert(mark)));
        Ok(all)
    }

    fn of(&self, client: &Client, whom: (&str, &Option<String>)) -> Result<List, Error> {
        let most = *PAGE_ENTRIES.end();
        let (limit, mut after, mut all) = (Some(most.to_string()), None, List::empty(self.key));
        loop {
            let query = [&[whom][..], self.narrowed, &[("limit", &limit), ("after", &after)]].concat();
            let page = List::parse(&client.get_with(self.path, &query)?, self.key);
            let page = page.map_err(|reason| client.not_polaris(&reason))?;
            let last = page.last().filter(|_| page.len() as u64 >= most);
            all.extend(page);
            let Some(last) = last else { return Ok(all) };
            let before = std::mem::replace(&mut after, (self.mark)(&last));
            if after == before {
                return Err(client.not_polaris(&"its pages have no end"));
            }
        }
    }
}
