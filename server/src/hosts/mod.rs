//! Every host that may link, in memory, so that neither a link nor a request
//! waits for the database, which is the backing of this.

mod boots;
mod directory;
mod facts;
mod writer;

pub use boots::{Boots, Conflict};
pub use directory::{Directory, Found, Untaken};
pub use facts::{Fact, Facts, Section};
pub use writer::{keep_written, write_rest};

use crate::clock::{self, EpochMs};
use crate::limits::{CANCEL_MARGIN_SECONDS, DEADLINE_MARGIN_SECONDS, MAX_TAGS, MAX_WORD_BYTES};
use crate::pki::Certificate;
use crate::store::hosts::HostRow;
use aspire_wire::command::{DEFAULT_GRACE_SECONDS, DEFAULT_TIMEOUT_SECONDS, GRACE_SECONDS, TIMEOUT_SECONDS};
use aspire_wire::session::Init;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use uuid::Uuid;

pub type Tags = BTreeMap<String, String>;

/// `last_seen` of a host that was never seen.
const NEVER: EpochMs = 0;

/// What the operator, or the token, settled. It wins over [`Greeting`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    pub region: Option<String>,
    /// Each tag wins over the agent's of the same name.
    pub tags: Option<Tags>,
}

/// What the agent said of itself in its first frame, last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Greeting {
    pub name: String,
    pub region: String,
    pub tags: Tags,
    pub version: String,
    pub address: String,
    pub boot: String,
    pub patience: Patience,
}

/// How long commands may take on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Where the request does not say, in seconds.
    pub timeout: u64,
    /// From one time-out to the next, in seconds.
    pub grace: u64,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { timeout: DEFAULT_TIMEOUT_SECONDS, grace: DEFAULT_GRACE_SECONDS }
    }
}

/// What a host's answer to a request depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// It takes note of it, which is soon done.
    AtOnce,
    /// The end of a command, which may take so many seconds; what is the host's own where it is not said.
    Command { timeout: Option<u64> },
}

impl Patience {
    /// Seconds until the host's answer, with some to spare.
    pub fn answer(self, term: Term) -> u64 {
        match term {
            Term::AtOnce => DEADLINE_MARGIN_SECONDS,
            Term::Command { timeout } => self.last_word(timeout),
        }
    }

    /// Seconds until the host's last word on a command, with some to spare.
    pub fn last_word(self, timeout: Option<u64>) -> u64 {
        // The third time-out comes two graces after the first.
        timeout.unwrap_or(self.timeout).saturating_add(2 * self.grace + DEADLINE_MARGIN_SECONDS)
    }

    /// Until the host's last word on a command that it was told to cancel, with some to spare.
    pub fn until_cancelled(self) -> Duration {
        Duration::from_secs(self.grace + CANCEL_MARGIN_SECONDS)
    }
}

/// Whether a host has a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = HostStatus)]
pub enum Status {
    /// Enrolled, never linked.
    Unknown,
    Online,
    Offline,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Unknown => "unknown",
            Status::Online => "online",
            Status::Offline => "offline",
        }
    }

    pub fn from_text(text: &str) -> Status {
        match text {
            "online" => Status::Online,
            "offline" => Status::Offline,
            _ => Status::Unknown,
        }
    }
}

/// One host.
#[derive(Debug)]
pub struct Host {
    pub id: Uuid,
    pub created: EpochMs,
    last_seen: AtomicI64,
    revoked: AtomicBool,
    state: Mutex<State>,
}

/// What of a host changes.
#[derive(Debug)]
pub struct State {
    pub settings: Settings,
    pub greeting: Greeting,
    pub facts: Facts,
    pub status: Status,
    /// What it showed last, or was given since.
    pub certificate: Option<Certificate>,
    pub boots: Boots,
    /// What of `last_seen` is in the database.
    written: EpochMs,
}

impl Host {
    pub fn new(row: HostRow) -> Host {
        let last_seen = row.last_seen.unwrap_or(NEVER);
        let boots = Boots::new(&row.greeting.boot);
        Host {
            id: row.id,
            created: row.created,
            last_seen: AtomicI64::new(last_seen),
            revoked: AtomicBool::new(false),
            state: Mutex::new(State {
                settings: row.settings,
                greeting: row.greeting,
                facts: Facts::default(),
                status: row.status,
                certificate: row.certificate,
                boots,
                written: last_seen,
            }),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds a host")
    }

    /// A sign of life has just come.
    pub fn seen(&self) {
        self.last_seen.store(clock::now(), Ordering::Relaxed);
    }

    pub fn last_seen(&self) -> Option<EpochMs> {
        Some(self.last_seen.load(Ordering::Relaxed)).filter(|&at| at != NEVER)
    }

    /// The display name; `None` where the agent has not said one.
    pub fn name(&self) -> Option<String> {
        Some(self.state().greeting.name.clone()).filter(|name| !name.is_empty())
    }

    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::SeqCst);
    }

    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::SeqCst)
    }

    /// The row as it should be now.
    fn row(&self) -> HostRow {
        let state = self.state();
        HostRow {
            id: self.id,
            settings: state.settings.clone(),
            greeting: state.greeting.clone(),
            status: state.status,
            certificate: state.certificate.clone(),
            last_seen: self.last_seen(),
            created: self.created,
        }
    }
}

impl Greeting {
    /// What an agent at `peer` says in its first frame, or what is too long in it.
    pub fn of(init: Init, peer: SocketAddr) -> Result<Greeting, String> {
        let words = [
            ("name", &init.name),
            ("region", &init.region),
            ("version", &init.version),
            ("boot", &init.boot),
        ];
        for (field, word) in words {
            check_word(word).map_err(|reason| format!("init: {field}: {reason}"))?;
        }
        check_tags(&init.tags).map_err(|reason| format!("init: tags: {reason}"))?;
        if !TIMEOUT_SECONDS.contains(&init.timeout) || !GRACE_SECONDS.contains(&init.grace) {
            return Err(format!("init: timeout {} or grace {} is out of range", init.timeout, init.grace));
        }
        Ok(Greeting {
            name: init.name,
            region: init.region,
            tags: init.tags,
            version: init.version,
            address: peer.ip().to_canonical().to_string(),
            boot: init.boot,
            patience: Patience { timeout: init.timeout, grace: init.grace },
        })
    }
}

/// Whether a name, a region, a tag or its value can be kept.
pub fn check_word(word: &str) -> Result<(), String> {
    match word.len() {
        n if n > MAX_WORD_BYTES => Err(format!("must be at most {MAX_WORD_BYTES} bytes, got {n}")),
        _ if word.chars().any(char::is_control) => Err("must not contain control characters".into()),
        _ => Ok(()),
    }
}

/// As [`check_word`], for each tag and its value.
pub fn check_tags(tags: &Tags) -> Result<(), String> {
    if tags.len() > MAX_TAGS {
        return Err(format!("at most {MAX_TAGS} tags, got {}", tags.len()));
    }
    for (key, value) in tags {
        if key.is_empty() {
            return Err("a tag's name must not be empty".into());
        }
        check_word(key).and_then(|()| check_word(value)).map_err(|reason| format!("{key:?} {reason}"))?;
    }
    Ok(())
}

impl State {
    /// The region that counts.
    pub fn region(&self) -> &str {
        match (&self.settings.region, self.greeting.region.as_str()) {
            (Some(region), _) => region,
            (None, "") => "unknown",
            (None, region) => region,
        }
    }

    /// The tag that counts.
    pub fn tag(&self, name: &str) -> Option<&str> {
        let own = || self.greeting.tags.get(name);
        self.settings.tags.as_ref().and_then(|tags| tags.get(name)).or_else(own).map(String::as_str)
    }

    /// The tags that count.
    pub fn tags(&self) -> Tags {
        let mut tags = self.greeting.tags.clone();
        tags.extend(self.settings.tags.clone().unwrap_or_default());
        tags
    }
}
