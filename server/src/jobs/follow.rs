//! Requests whose answers mean more than that they are answered: one begins a
//! job, or changes or tells what is in a host's cron table.

use super::inbox::What;
use crate::limits::{JOB_CMD_CHARS, KEPT_CRON_TIMES, MAX_CRON_PER_HOST};
use aspire_wire::cron::MAX_CRON_NAME_BYTES;
use aspire_wire::{Outcome, Retcode};
use serde_json::{Map, Value};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub enum Follow {
    Job {
        /// The command's beginning.
        cmd: String,
        /// Whether its output comes while it runs.
        stream: bool,
    },
    /// The entry as the request has it.
    CronSet(Map<String, Value>),
    /// The entry's name.
    CronRemove(String),
    /// The only entry that was asked for.
    CronList(Option<String>),
}

impl Follow {
    /// `None` for a method whose answer is just that.
    pub fn of(method: &str, params: &Map<String, Value>) -> Option<Arc<Follow>> {
        let name = || params.get("name").and_then(Value::as_str).map(str::to_owned);
        let follow = match method {
            "async.bash" => {
                let cmd = params.get("cmd").and_then(Value::as_str).unwrap_or_default();
                let cmd = cmd.chars().take(JOB_CMD_CHARS).collect();
                Follow::Job { cmd, stream: params.get("stream") == Some(&Value::Bool(true)) }
            }
            "cron.set" => Follow::CronSet(params.clone()),
            "cron.remove" => Follow::CronRemove(name()?),
            "cron.list" => Follow::CronList(name()),
            _ => return None,
        };
        Some(Arc::new(follow))
    }

    /// Bytes of memory, where it is kept with the answer.
    pub fn cost(&self) -> usize {
        match self {
            Follow::Job { cmd, .. } => cmd.len(),
            Follow::CronSet(_) | Follow::CronRemove(_) | Follow::CronList(_) => 0,
        }
    }

    /// What the host's answer to the request of this id says beside being one.
    pub fn meaning(self: &Arc<Self>, request: &Arc<str>, outcome: &Outcome) -> Option<What> {
        let is = |code: Retcode| outcome.retcode == code.code();
        let data = || serde_json::from_str::<Value>(outcome.data.as_ref()?.get()).ok();
        match &**self {
            Follow::Job { .. } if is(Retcode::Accepted) => {
                Some(What::Accepted { job: request.clone(), follow: self.clone() })
            }
            Follow::CronSet(params) if is(Retcode::Accepted) => {
                let mut entry = params.clone();
                // What the host made of it wins.
                if let Some(Value::Object(told)) = data() {
                    entry.extend(told);
                }
                let (name, entry) = kept(entry)?;
                Some(What::CronSet { name, entry })
            }
            Follow::CronRemove(name) if is(Retcode::NormalTermination) || is(Retcode::NotFound) => {
                Some(What::CronRemoved { name: name.clone() })
            }
            Follow::CronList(only) if is(Retcode::NormalTermination) => {
                let Some(Value::Object(data)) = data() else { return None };
                listed(only.as_deref(), data)
            }
            Follow::CronList(Some(name)) if is(Retcode::NotFound) => {
                Some(What::CronRemoved { name: name.clone() })
            }
            _ => None,
        }
    }
}

/// A host may show fewer entries than it has, and then it says how many those are.
fn listed(only: Option<&str>, mut data: Map<String, Value>) -> Option<What> {
    let Some(Value::Array(shown)) = data.remove("entries") else { return None };
    let count = data.get("count").and_then(Value::as_u64);
    let all = only.is_none() && count == u64::try_from(shown.len()).ok() && shown.len() <= MAX_CRON_PER_HOST;
    let entries = shown.into_iter().filter_map(|entry| match entry {
        Value::Object(entry) => kept(entry),
        _ => None,
    });
    let entries = entries.filter(|(name, _)| only.is_none_or(|only| only == name));
    Some(What::CronListed { entries: entries.take(MAX_CRON_PER_HOST).collect(), all })
}

/// An entry's name and the entry as it is kept, where it has a name that can be.
fn kept(mut entry: Map<String, Value>) -> Option<(String, String)> {
    let name = entry.get("name")?.as_str()?.to_owned();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !(1..=MAX_CRON_NAME_BYTES).contains(&name.len()) || !name.bytes().all(plain) {
        return None;
    }
    if let Some(Value::Array(next)) = entry.get_mut("next") {
        next.truncate(KEPT_CRON_TIMES);
    }
    // Whose it is, the server says.
    entry.retain(|key, _| !["host", "hostname", "told"].contains(&&**key));
    Some((name, Value::Object(entry).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn meaning(method: &str, params: &Value, code: Retcode, data: &Value) -> Option<What> {
        let follow = Follow::of(method, params.as_object().unwrap())?;
        follow.meaning(&"r".into(), &Outcome::new(code).with_data(data))
    }

    #[test]
    fn only_what_a_host_accepted_counts() {
        let null = json!(null);
        assert!(meaning("sync.bash", &json!({"cmd": "x"}), Retcode::Accepted, &null).is_none());
        assert!(meaning("async.bash", &json!({"cmd": "x"}), Retcode::Busy, &null).is_none());
        let begun = meaning("async.bash", &json!({"cmd": "x"}), Retcode::Accepted, &null);
        assert!(matches!(begun, Some(What::Accepted { job, .. }) if &*job == "r"));
        let entry = json!({"name": "n", "schedule": "* * * * *", "cmd": "x"});
        assert!(meaning("cron.set", &entry, Retcode::InvalidParams, &null).is_none());
        let name = json!({"name": "n"});
        assert!(meaning("cron.remove", &name, Retcode::Busy, &null).is_none());
        for gone in [Retcode::NormalTermination, Retcode::NotFound] {
            let removed = meaning("cron.remove", &name, gone, &null);
            assert!(matches!(removed, Some(What::CronRemoved { name }) if name == "n"));
        }
    }

    #[test]
    fn an_entry_is_what_was_asked_for_and_what_the_host_made_of_it() {
        let asked = json!({"name": "n", "schedule": "* * * * *", "cmd": "x"});
        let told =
            json!({"name": "n", "schedule": "0 * * * * *", "next": [1, 2, 3, 4, 5, 6], "host": "mine"});
        let Some(What::CronSet { name, entry }) = meaning("cron.set", &asked, Retcode::Accepted, &told)
        else {
            panic!("not kept")
        };
        let entry: Value = serde_json::from_str(&entry).unwrap();
        let kept = json!({"name": "n", "schedule": "0 * * * * *", "cmd": "x", "next": [1, 2, 3, 4, 5]});
        assert_eq!((name.as_str(), entry), ("n", kept));
    }

    #[test]
    fn a_list_is_taken_as_far_as_it_can_be_kept() {
        let many: Vec<Value> = (0..5000).map(|n| json!({"name": n.to_string()})).collect();
        let data = json!({"entries": [{"name": "a b"}, {"cmd": "x"}, 7, {"name": "good"}, {"name": "x".repeat(65)}]});
        for (params, data, count) in [
            (json!({}), data.clone(), 1),
            (json!({"name": "other"}), data, 0),
            (json!({}), json!({ "entries": many }), MAX_CRON_PER_HOST),
        ] {
            let listed = meaning("cron.list", &params, Retcode::NormalTermination, &data);
            assert!(matches!(listed, Some(What::CronListed { entries, .. }) if entries.len() == count));
        }
        assert!(meaning("cron.list", &json!({}), Retcode::NormalTermination, &json!([])).is_none());
    }

    #[test]
    fn a_list_that_is_not_whole_says_nothing_of_what_it_leaves_out() {
        let of = |count: usize| (0..count).map(|n| json!({"name": n.to_string()})).collect::<Vec<_>>();
        for (params, data, whole) in [
            (json!({}), json!({"entries": of(3), "count": 3}), true),
            (json!({}), json!({"entries": [], "count": 0}), true),
            (json!({}), json!({"entries": of(4096), "count": 4096}), true),
            (json!({}), json!({"entries": of(3), "count": 4}), false),
            (json!({}), json!({ "entries": of(3) }), false),
            (json!({}), json!({"entries": of(4097), "count": 4097}), false),
            (json!({"name": "1"}), json!({"entries": of(3), "count": 3}), false),
        ] {
            let listed = meaning("cron.list", &params, Retcode::NormalTermination, &data);
            assert!(matches!(listed, Some(What::CronListed { all, .. }) if all == whole), "{params}");
        }
        let gone = meaning("cron.list", &json!({"name": "n"}), Retcode::NotFound, &json!(null));
        assert!(matches!(gone, Some(What::CronRemoved { name }) if name == "n"));
        assert!(meaning("cron.list", &json!({}), Retcode::NotFound, &json!(null)).is_none());
    }
}
