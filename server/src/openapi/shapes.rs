//! What answers are made of where it is not the server's own: a host's final state, a job's result, an
//! event of a daemon, as the wire has them. And the problem document.

use super::methods::REQUEST;
use super::schema::{closed, fields, number, of, or, text};
use crate::limits::{MAX_WORD_BYTES, PAUSE_SECONDS};
use aspire_wire::Retcode;
use aspire_wire::daemon::DaemonStatus;
use aspire_wire::job::TTL_SECONDS;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use utoipa::openapi::{Object, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Names for schemas that are written here, for the routes to speak of.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $title:expr;)*) => { $(
        $(#[$doc])*
        pub enum $name {}

        impl PartialSchema for $name {
            /// [`schemas`] has it.
            fn schema() -> RefOr<Schema> {
                Object::new().into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($title)
            }
        }
    )* };
}

names! {
    /// See [`super::methods`].
    NewRequest = REQUEST;
    /// One host's final state.
    Entry = "Entry";
    /// A job's result.
    JobResult = "JobResult";
    /// What a daemon came to.
    DaemonEvent = "DaemonEvent";
    /// A daemon with its events.
    DaemonWithEvents = "DaemonWithEvents";
    /// A cron entry.
    CronEntry = "CronEntry";
    /// What a file holds.
    FileBytes = "FileBytes";
    /// What a file holds, or what is told of it or of a folder.
    AnyJson = "AnyJson";
    /// How a request's hosts are begun.
    Rollout = "Rollout";
    /// A host in the audit log.
    AuditedHost = "AuditedHost";
    /// What a host tells of itself.
    HostFacts = "Facts";
    /// What a host asks for at its enrolment.
    NewHost = "NewHost";
    /// What it gets.
    HostIdentity = "HostIdentity";
    /// See [`super::boot`], as the next four.
    NewBootJob = "NewBootJob";
    /// What a host's boot tells.
    BootReport = "BootReport";
    /// What it is to do.
    BootAnswer = "BootAnswer";
    /// What became of that.
    BootResults = "BootResults";
    /// Whether that is on disk.
    BootResultAnswer = "BootResultAnswer";
}

/// The name of the schema of problem documents.
pub const PROBLEM: &str = "Problem";

/// All of them by their names.
pub fn schemas() -> Vec<(String, Value)> {
    let named = [
        (PROBLEM, problem()),
        ("Entry", entry()),
        ("JobResult", job_result()),
        ("DaemonEvent", daemon_event()),
        ("DaemonWithEvents", daemon_with_events()),
        ("CronEntry", cron_entry()),
        ("FileBytes", json!({"type": "string", "format": "binary", "description": "A file as it is."})),
        (
            "AnyJson",
            json!({"description": "A file of JSON; or a `PackageFolder`, where a folder is asked for as \
                                   application/json; or a `PackageSum`, where a checksum is."}),
        ),
        ("Rollout", rollout()),
        (
            "AuditedHost",
            json!({"type": "object", "required": ["host"], "properties": target(),
                               "description": "A host that a call was about."}),
        ),
        ("Facts", facts()),
        ("NewHost", new_host()),
        ("HostIdentity", host_identity()),
    ];
    named.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn problem() -> Value {
    json!({
        "type": "object", "required": ["type", "title", "status", "detail"],
        "description": "What went wrong (RFC 9457).",
        "properties": {
            "type": {"type": "string", "const": "about:blank"},
            "title": {"type": "string", "description": "The status in words."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599, "description": "The status again."},
            "detail": {"type": "string", "description": "The reason, and what to do about it."},
            "field": {"type": "string",
                      "description": "The field of the body or the parameter that is to blame, such as \
                                      `limits.cpu` or `hosts[1]`."},
            "column": {"type": "integer", "minimum": 1,
                       "description": "The character of the field where it goes wrong."},
            "hosts": {"type": "integer", "minimum": 0, "description": "How many hosts the request is for."},
            "request_id": {"type": "string", "description": "The call's id, as in the header X-Request-Id \
                and \
                           in the server's log."},
        },
        "examples": [{"type": "about:blank", "title": "Unprocessable Entity", "status": 422,
                      "detail": "timeout: must be at least 1 second, got 0", "field": "timeout"}],
    })
}

/// Whose something is.
fn target() -> Map<String, Value> {
    fields(json!({
        "host": {"type": "string", "description": "The host's id; what was asked for where there is no such \
                                                   host."},
        "name": {"type": "string", "description": "The host's name, where it has one."},
    }))
}

fn outcome() -> Map<String, Value> {
    let codes: Vec<_> =
        Retcode::ALL.iter().map(|code| format!("{} {}", code.code(), code.message())).collect();
    let codes = format!("What became of it: {}.", codes.join(", "));
    fields(json!({
        "resp": {"type": "string", "enum": ["success", "failed"],
                 "description": "`success` where the retcode is 1 or 2."},
        "retcode": {"type": "integer", "minimum": 0, "maximum": u16::MAX, "description": codes},
        "message": {"type": "string", "description": "The retcode in words."},
        "detail": {"type": "string", "description": "Why, in words for the operator."},
        "data": {"description": "The command's standard output as a string, or the value that the method \
                                 answers with."},
        "stderr": {"type": "string", "description": "The command's standard error."},
        "encoding": {"type": "string", "const": "base64",
                     "description": "How `data` and `stderr` are written where they are not UTF-8."},
        "exitcode": {"type": "integer", "description": "The exit status of its process."},
        "signal": {"type": "integer", "description": "The signal that killed its process."},
        "dropped": {"type": "integer", "minimum": 0,
                    "description": "Bytes of output beyond what the host keeps, thrown away."},
        "elapsed": {"type": "number", "minimum": 0, "description": "Seconds that it ran."},
    }))
}

fn entry() -> Value {
    let properties: Map<_, _> = target().into_iter().chain(outcome()).collect();
    json!({
        "type": "object", "required": ["host", "resp", "retcode", "message"], "properties": properties,
        "description": "The final state of one host, or 1 with a detail that begins with `queued` where the \
                        request waits for it.",
        "examples": [{"host": "edd6c192-5a6c-4f1e-9d43-5d7a0d0f3b52", "name": "web-1", "resp": "success",
                      "retcode": 2, "message": "Normal termination", "data": " 12:00:00 up 3 days\n",
                      "stderr": "", "exitcode": 0, "elapsed": 0.01}],
    })
}

fn job_result() -> Value {
    let mut schema = entry();
    schema["required"] = json!(["host", "job", "resp", "retcode", "message"]);
    schema["properties"]["job"] = json!({"type": "string", "description": "The job's name on its host."});
    schema["description"] = "How a job ended, and what its last attempt wrote.".into();
    schema["examples"][0]["job"] = "backup-1".into();
    schema
}

fn daemon_event() -> Value {
    let mut properties = outcome();
    properties.extend(fields(json!({
        "id": {"type": "string", "description": "The daemon's name, a time and a number."},
        "version": {"type": "string", "description": "The daemon's."},
        "status": {"type": "string", "enum": DaemonStatus::ALL.map(DaemonStatus::name),
                   "description": "What it came to."},
        "wanted": {"type": "string", "enum": ["running", "stoped", "removed"],
                   "description": "What operators want of it."},
        "pid": {"type": "integer", "description": "Its main process."},
        "since": {"type": "string", "format": "date-time", "description": "By the host's clock."},
        "restarts": {"type": "integer", "minimum": 0, "description": "Restarts since it was wanted anew."},
        "told": {"type": "string", "format": "date-time", "description": "When the host said so."},
        "removed": {"type": "boolean", "description": "There is no such daemon any more."},
    })));
    json!({"type": "object", "required": ["resp", "retcode", "message"], "properties": properties,
           "description": "What a daemon came to, and why."})
}

fn daemon_with_events() -> Value {
    json!({
        "description": "One daemon and what it came to. Of one that was removed there are the events alone.",
        "allOf": [of("DaemonOf"), {
            "type": "object", "required": ["events", "count"],
            "properties": {
                "events": {"type": "array", "items": of("DaemonEvent"), "description": "The latest first."},
                "count": {"type": "integer", "minimum": 0, "description": "Of the events that are shown."},
            },
        }],
        "anyOf": [of("DaemonState"), {"not": {"required": ["status"]}}],
    })
}

fn cron_entry() -> Value {
    json!({
        "type": "object", "additionalProperties": true,
        "description": "An entry as its host accepted or listed it, with the fields of `cron.set`.",
        "properties": {
            "name": {"type": "string", "description": "What it is called on its host."},
            "schedule": {"type": "string", "description": "Five or six fields."},
            "cmd": {"type": "string", "description": "The command, or its beginning."},
            "timezone": {"type": "string", "description": "Absent where it is the host's own."},
            "next": {"type": "array", "items": {"type": "string"},
                     "description": "The next times that the host told, those that are still to come."},
        },
    })
}

/// As `requests::rollout::Plan`, absent where it is none.
fn rollout() -> Value {
    json!({
        "type": "object", "description": "How the hosts of a rollout are begun; nothing where it is none.",
        "properties": {
            "batch": {"type": "integer", "minimum": 1, "description": "The most hosts that are under way at \
                      once."},
            "ramp": {"type": "boolean", "description": "Whether it begins with one host, then two at \
                once, then \
                     four, up to the batch."},
            "max_errors": {"type": "integer", "minimum": 0, "description": "The most hosts that may fail for \
                           others to be begun."},
            "pause": number(&PAUSE_SECONDS, "Seconds from the end of one host to the begin of the next in \
                its \
                            place."),
            "ttl": number(&TTL_SECONDS, "Seconds after which no host is begun any more."),
        },
    })
}

fn facts() -> Value {
    json!({"type": "object", "additionalProperties": true,
           "description": "What the host tells of itself, by section: whatever its plugins find."})
}

fn new_host() -> Value {
    closed(
        "A host that asks to be let in.",
        &["token", "csr"],
        json!({
            "token": {"type": "string", "description": "The secret of the token: what stands before its \
                dot."},
            "csr": {"type": "string", "description": "A signing request: PKCS#10, PEM. The server names \
                the host."},
            "name": or(text(0..=MAX_WORD_BYTES, "The display name."), ""),
        }),
    )
}

fn host_identity() -> Value {
    json!({"type": "object", "required": ["hostname", "ca", "cert"], "description": "A host's identity.",
    "properties": {
        "hostname": {"type": "string", "description": "The host's id, also its certificate's name."},
        "ca": {"type": "string", "description": "The authority's certificate, PEM."},
        "cert": {"type": "string", "description": "The host's certificate, PEM."},
    }})
}
