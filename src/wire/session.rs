//! Frames of the link itself, and what else may arrive on it.

use crate::command::{DEFAULT_GRACE_SECONDS, DEFAULT_TIMEOUT_SECONDS};
use crate::daemon::{DaemonEvent, Daemons};
use crate::facts::Facts;
use crate::head::Head;
use crate::job::{JobNotice, JobResult};
use crate::renewal::{self, Renew, Renewed};
use crate::request::{Rejected, Request};
use crate::{Encoding, FrameError, Reply};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The port of a server that is named without one.
pub const DEFAULT_PORT: u16 = 8181;
/// `heartbeat`, in seconds.
pub const HEARTBEAT_SECONDS: std::ops::RangeInclusive<u64> = 1..=3600;
/// Redirects in a row that an agent follows.
pub const MAX_REDIRECTS: u32 = 3;
/// ALPN name of the link.
pub const ALPN_LINK: &[u8] = b"cargo/1";
/// ALPN name of the short exchanges.
pub const ALPN_HTTP: &[u8] = b"http/1.1";

/// The agent's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// The host id, as in the certificate.
    pub hostname: String,
    /// The display name.
    #[serde(default)]
    pub name: String,
    /// Program, version and architecture: `gearman-0.1.0-x86_64`.
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub region: String,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Seconds since the agent's start.
    #[serde(default)]
    pub uptime: u64,
    /// The kernel's boot id.
    #[serde(default)]
    pub boot: String,
    /// What a command may take here where its request does not say, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout: u64,
    /// From one time-out of a command to the next, in seconds.
    #[serde(default = "default_grace")]
    pub grace: u64,
}

fn default_timeout() -> u64 {
    DEFAULT_TIMEOUT_SECONDS
}

fn default_grace() -> u64 {
    DEFAULT_GRACE_SECONDS
}

/// What the server receives.
#[derive(Debug)]
pub enum FromAgent {
    Init(Init),
    Ping,
    Reply(Reply),
    Output(Output),
    /// To be acknowledged once it is on disk.
    Result(Box<JobResult>),
    /// To be acknowledged once it is on disk.
    Event(Box<DaemonEvent>),
    Job(JobNotice),
    Daemons(Daemons),
    Facts(Facts),
    /// A signing request, PEM, or why there is none.
    Renew(Result<String, String>),
    /// Whether the certificate that was signed is in use from the next link on, or why it is not.
    Renewed(Result<(), String>),
    /// A method that this version does not know: logged and passed over.
    Unknown(String),
}

/// A piece of what a command writes, sent while it runs.
///
/// The pieces of one stream make, one after the other, the beginning of what the
/// reply will have of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The request's.
    pub id: String,
    pub stream: StreamName,
    /// Text; a piece ends with a whole character.
    pub data: String,
    /// How `data` is written; plain text where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
}

impl Output {
    /// Text where the piece is UTF-8, else base64.
    #[must_use]
    pub fn new(id: impl Into<String>, stream: StreamName, piece: &[u8]) -> Self {
        let (data, encoding) = match std::str::from_utf8(piece) {
            Ok(text) => (text.to_owned(), None),
            Err(_) => (STANDARD.encode(piece), Some(Encoding::Base64)),
        };
        Output { id: id.into(), stream, data, encoding }
    }
}

/// Where a command wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamName {
    Stdout,
    Stderr,
}

/// What an agent receives.
#[derive(Debug)]
pub enum FromServer {
    /// A server list, as [`crate::server_list::parse`] takes it.
    Redirect(String),
    Ready {
        /// Seconds between pings; `None` keeps the agent's own.
        heartbeat: Option<u64>,
        /// The digest that the server holds of each section; `None` where it keeps no facts.
        facts: Option<BTreeMap<String, String>>,
    },
    Pong,
    /// The result with this number is on the server's disk.
    Ack(u64),
    /// The server is about to close the link, and why.
    Bye(String),
    /// The host's certificate ends soon: a signing request is wanted.
    Renew,
    /// The new certificate, PEM, or why there is none.
    Renewed(Result<String, String>),
    Request(Request),
    Rejected(Rejected),
}

/// What a sender writes; the receivers' types above hold more than that.
#[derive(Debug, Serialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub enum Frame<'a> {
    Init(&'a Init),
    Redirect {
        server: &'a str,
    },
    Ready {
        heartbeat: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        facts: Option<&'a BTreeMap<String, String>>,
    },
    Ping,
    Pong,
    Bye {
        reason: &'a str,
    },
    Output(&'a Output),
    Result(&'a JobResult),
    #[serde(rename = "result")]
    Event(&'a DaemonEvent),
    Job(&'a JobNotice),
    Daemons(&'a Daemons),
    Facts(&'a Facts),
    Renew(Renew<'a>),
    Renewed(Renewed<'a>),
    Ack {
        seq: u64,
    },
}

impl FromAgent {
    /// Reads one line from an agent.
    ///
    /// # Errors
    /// [`FrameError::NotAnObject`] where the line breaks the protocol.
    pub fn parse(line: &[u8]) -> Result<FromAgent, FrameError> {
        let head = Head::parse(line)?;
        match head.method() {
            None => Reply::from_head(&head, line).map(FromAgent::Reply),
            Some("init") => typed(line).map(FromAgent::Init),
            Some("ping") => Ok(FromAgent::Ping),
            Some("output") => typed(line).map(FromAgent::Output),
            Some("result") => match DaemonEvent::from_head(&head, line)? {
                Some(event) => Ok(FromAgent::Event(Box::new(event))),
                None => JobResult::from_head(&head, line).map(|r| FromAgent::Result(Box::new(r))),
            },
            Some("job") => typed(line).map(FromAgent::Job),
            Some("daemons") => typed(line).map(FromAgent::Daemons),
            Some("facts") => typed(line).map(FromAgent::Facts),
            Some("renew") => renewal::csr(line).map(FromAgent::Renew),
            Some("renewed") => renewal::done(line).map(FromAgent::Renewed),
            Some(other) => Ok(FromAgent::Unknown(other.chars().take(64).collect())),
        }
    }
}

impl FromServer {
    /// Reads one line from the server.
    ///
    /// # Errors
    /// [`FrameError::NotAnObject`] where the line breaks the protocol.
    pub fn parse(line: &[u8]) -> Result<FromServer, FrameError> {
        #[derive(Deserialize)]
        struct Redirect {
            server: String,
        }
        #[derive(Deserialize)]
        struct Ready {
            #[serde(default)]
            heartbeat: Option<u64>,
            #[serde(default)]
            facts: Option<BTreeMap<String, String>>,
        }
        #[derive(Deserialize)]
        struct Ack {
            seq: u64,
        }
        #[derive(Deserialize)]
        struct Bye {
            reason: String,
        }
        let head = Head::parse(line)?;
        match (head.method(), &head.id) {
            (Some("redirect"), None) => typed::<Redirect>(line).map(|r| FromServer::Redirect(r.server)),
            (Some("ready"), None) => {
                typed(line).map(|Ready { heartbeat, facts }| FromServer::Ready { heartbeat, facts })
            }
            (Some("pong"), None) => Ok(FromServer::Pong),
            (Some("ack"), None) => typed::<Ack>(line).map(|ack| FromServer::Ack(ack.seq)),
            (Some("bye"), None) => typed::<Bye>(line).map(|b| FromServer::Bye(b.reason)),
            (Some("renew"), None) => Ok(FromServer::Renew),
            (Some("renewed"), None) => renewal::cert(line).map(FromServer::Renewed),
            _ => Ok(match Request::from_head(&head, line) {
                Ok(request) => FromServer::Request(request),
                Err(rejected) => FromServer::Rejected(rejected),
            }),
        }
    }
}

fn typed<T: serde::de::DeserializeOwned>(line: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(line).map_err(|e| FrameError::NotAnObject(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::encode;

    #[test]
    fn the_links_frames_look_as_documented() {
        let text = |frame: Frame<'_>| String::from_utf8(encode(&frame)).unwrap();
        assert_eq!(text(Frame::Ping), "{\"method\":\"ping\"}\n");
        assert_eq!(text(Frame::Pong), "{\"method\":\"pong\"}\n");
        let ready = |facts| text(Frame::Ready { heartbeat: 60, facts });
        assert_eq!(ready(None), "{\"method\":\"ready\",\"heartbeat\":60}\n");
        let held = [("os".to_owned(), "ab12".to_owned())].into();
        let told = ready(Some(&held));
        assert_eq!(told, "{\"method\":\"ready\",\"heartbeat\":60,\"facts\":{\"os\":\"ab12\"}}\n");
        assert_eq!(
            text(Frame::Redirect { server: "127.0.10.1,10.92.1.130:8181" }),
            "{\"method\":\"redirect\",\"server\":\"127.0.10.1,10.92.1.130:8181\"}\n"
        );
    }

    #[test]
    fn a_piece_of_output_goes_to_and_fro() {
        let output =
            Output { id: "a".into(), stream: StreamName::Stdout, data: "so far\n".into(), encoding: None };
        let frame = encode(&Frame::Output(&output));
        let text = String::from_utf8(frame.clone()).unwrap();
        let expected = r#"{"method":"output","id":"a","stream":"stdout","data":"so far\n"}"#;
        assert_eq!(text.trim_end(), expected);
        let Ok(FromAgent::Output(read)) = FromAgent::parse(frame.trim_ascii_end()) else { panic!("{text}") };
        assert_eq!(read, output);
        let output = Output::new("a", StreamName::Stderr, b"\xff");
        assert_eq!((output.data.as_str(), output.encoding), ("/w==", Some(Encoding::Base64)));
        assert!(FromAgent::parse(br#"{"method":"output","id":"a","stream":"stdin","data":""}"#).is_err());
    }

    #[test]
    fn init_needs_nothing_but_the_host_id_and_survives_news() {
        let line = br#"{"method":"init","hostname":"edd6c192-52cb-4133-a17a-e7d8aec03de7","later":[1]}"#;
        let Ok(FromAgent::Init(init)) = FromAgent::parse(line) else { panic!("not an init") };
        assert_eq!(init.hostname, "edd6c192-52cb-4133-a17a-e7d8aec03de7");
        assert_eq!((init.timeout, init.grace), (120, 3));
        assert!(FromAgent::parse(br#"{"method":"init"}"#).is_err());
    }

    #[test]
    fn a_reply_is_told_by_having_no_method() {
        let line =
            br#"{"id":"a","resp":"success","retcode":2,"message":"Normal termination","data":{"x":1}}"#;
        let Ok(FromAgent::Reply(reply)) = FromAgent::parse(line) else { panic!("not a reply") };
        assert_eq!((reply.id.as_str(), reply.outcome.retcode), ("a", 2));
        assert_eq!(reply.outcome.data.unwrap().get(), r#"{"x":1}"#);
        assert!(FromAgent::parse(br#"{"resp":"success","retcode":2,"message":""}"#).is_err());
    }

    #[test]
    fn ready_says_what_the_server_holds_or_that_it_keeps_no_facts() {
        for (line, expected) in [
            (r#"{"method":"ready","heartbeat":60}"#, None),
            (r#"{"method":"ready","heartbeat":60,"facts":{}}"#, Some([].into())),
            (
                r#"{"method":"ready","facts":{"os":"ab12"},"later":1}"#,
                Some([("os".to_owned(), "ab12".to_owned())].into()),
            ),
        ] {
            let Ok(FromServer::Ready { facts, .. }) = FromServer::parse(line.as_bytes()) else {
                panic!("{line}")
            };
            assert_eq!(facts, expected, "{line}");
        }
    }

    #[test]
    fn a_request_may_not_pose_as_the_links_own_frame() {
        let Ok(FromServer::Rejected(rejected)) = FromServer::parse(br#"{"id":"a","method":"pong"}"#) else {
            panic!("not refused")
        };
        assert_eq!(rejected.error.retcode(), crate::Retcode::UnknownMethod);
    }
}
