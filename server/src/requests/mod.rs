//! Requests that run: what was asked, of which hosts, and what came back.

pub mod call;
mod live;
pub mod login;
pub mod output;
pub mod record;
mod registry;
mod reply_to;
pub mod rollout;

pub use live::Live;
pub use registry::{Full, Registry};
pub use reply_to::{Asked, ReplyTo};

use crate::clock::EpochMs;
use crate::jobs::Follow;
use aspire_wire::Outcome;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// What was asked, without the hosts.
#[derive(Debug)]
pub struct Head {
    pub id: Arc<str>,
    /// Whose it is.
    pub who: Arc<str>,
    pub method: String,
    pub cmd: Option<String>,
    /// The expression that selected hosts.
    pub target: Option<String>,
    /// How the hosts are begun, where not all at once.
    pub rollout: Option<rollout::Plan>,
    /// The method's parameters, a JSON object, without a login.
    pub params: String,
    /// The URL with the login that `params` leave out: for hosts that it waits for.
    pub url: Option<String>,
    /// Whether output is passed on while commands run.
    pub stream: bool,
    /// What an answer means beside being one.
    pub follow: Option<Arc<Follow>>,
    /// Until when it waits for hosts that are offline.
    pub waits: Option<EpochMs>,
    /// SHA-256 over method, parameters and hosts, in hex: the same again is the same request.
    pub digest: String,
    pub created: EpochMs,
    pub deadline: EpochMs,
}

/// One host that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Target {
    /// The host's id, or what was asked for where there is no such host.
    pub host: String,
    /// The host's name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The final state of one host, or that a request waits for it: serialised once, for whoever reads it.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The entry of the response, a JSON object in one line with its `\n`.
    line: Bytes,
    pub retcode: u16,
    pub success: bool,
    pub at: EpochMs,
    /// It is not final: somebody else sees to that.
    pub waits: bool,
}

impl Settled {
    pub fn new(target: &Target, outcome: &Outcome, at: EpochMs) -> Settled {
        #[derive(Serialize)]
        struct Entry<'a> {
            #[serde(flatten)]
            target: &'a Target,
            #[serde(flatten)]
            outcome: &'a Outcome,
        }
        let line = aspire_wire::frame::encode(&Entry { target, outcome }).into();
        Settled { line, retcode: outcome.retcode, success: outcome.is_success(), at, waits: false }
    }

    /// What is said of a host for which the request waits.
    pub fn waiting(target: &Target, outcome: &Outcome, at: EpochMs) -> Settled {
        Settled { waits: true, ..Settled::new(target, outcome, at) }
    }

    /// With the `\n`.
    pub fn line(&self) -> &Bytes {
        &self.line
    }

    /// Without the `\n`.
    pub fn json(&self) -> &str {
        let json = &self.line[..self.line.len() - 1];
        std::str::from_utf8(json).expect("serde_json writes UTF-8")
    }
}

/// What became of it, without what it wrote, and why that is not there.
pub fn without_output(outcome: &Outcome, why: &str) -> Outcome {
    let dropped = format!("its output was not kept: {why}");
    let detail = outcome.detail.as_ref().map_or(dropped.clone(), |detail| format!("{detail}; {dropped}"));
    Outcome { detail: Some(detail), data: None, stderr: None, encoding: None, ..outcome.clone() }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}
