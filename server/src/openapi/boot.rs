//! What boot is told and tells, as the wire has it.

use super::methods::{addressed, definition, rollout};
use super::schema::{closed, fields, formed, number, of, one_of, or, or_null, text};
use crate::limits::{
    BOOT_TTL_SECONDS, DEFAULT_BOOT_TTL_SECONDS, MAX_HOSTS_PER_REQUEST, MAX_PACKAGE_KINDS, MAX_TARGET_BYTES,
    MAX_WORD_BYTES,
};
use aspire_wire::boot::{AgentStatus, DEFAULT_JOB_TIMEOUT_SECONDS, MAX_AGENTS, MAX_BOOT_JOBS, STEP_SECONDS};
use aspire_wire::daemon::{DaemonStatus, LONG_BYTES, SHORT_BYTES};
use aspire_wire::request::MAX_ID_BYTES;
use serde_json::{Value, json};

/// All of them by their names.
pub fn schemas() -> Vec<(String, Value)> {
    let named = [
        ("NewBootJob", new_job()),
        ("BootReport", report()),
        ("BootReportedAgent", agent()),
        ("BootAnswer", answer()),
        ("BootResults", results()),
        ("BootResult", result()),
        ("BootResultAnswer", result_answer()),
    ];
    named.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn new_job() -> Value {
    let host = text(1..=MAX_WORD_BYTES, "The id of a host, or its name where no other host has it.");
    let actions = ["install", "upgrade", "uninstall", "start", "stop", "restart", "config"];
    let mut all = definition();
    all.extend(rollout());
    let ttl = number(&BOOT_TTL_SECONDS, "Seconds in which a host must have fetched it.");
    all.extend(fields(json!({
        "id": or_null(formed("^[!-~]+$", MAX_ID_BYTES, "Chosen by the caller, so that the same job sent \
            again is not made again: printable ASCII without spaces. One is made where it is absent.")),
        "hosts": {"type": "array", "items": host, "maxItems": MAX_HOSTS_PER_REQUEST,
                  "description": "Hosts by id or name."},
        "target": or_null(text(1..=MAX_TARGET_BYTES, "An expression that selects hosts.")),
        "ttl": or(or_null(ttl), DEFAULT_BOOT_TTL_SECONDS),
        "action": one_of(&actions, "What is to be done. Of boot itself: `upgrade`, and `config`, which has \
            no `name`."),
        "url": text(1..=LONG_BYTES, "Where the package is: http, https, ftp or file, or a path of polaris \
            itself such as `/packages/web_1.2_amd64.deb`. The catalogue of plugins knows it where it is \
            absent."),
        "svrlist": {"type": "string", "description": "`config`: servers that come before those of the \
            configuration, `HOST:PORT` and commas; empty for none."},
        "step": number(&STEP_SECONDS, "`config`: seconds from one report to the next."),
        "timeout": or(json!({"type": "integer", "description": "Seconds that a host may take for it, 10 to \
            86400."}), DEFAULT_JOB_TIMEOUT_SECONDS),
    })));
    all["limits"]["properties"]["CPU"] = all["limits"]["properties"]["cpu"].clone();
    let mut schema = closed(
        "What boot is to do, with the fields of the action: those of a daemon for \
        `install` and `upgrade`, of which all but `name` may be absent.",
        &["action"],
        all,
    );
    schema["anyOf"] = addressed();
    schema["examples"] = json!([{"target": "region == \"cn-1\"", "action": "upgrade", "name": "gearman",
                                 "batch": "10%", "max_errors": 2}]);
    schema
}

fn seconds(what: &str) -> Value {
    json!({"type": "integer", "minimum": 0, "description": what})
}

fn report() -> Value {
    let kind = text(1..=SHORT_BYTES, "`deb`, `rpm` or `tar.gz`.");
    json!({
        "type": "object", "required": ["hostname", "version", "uptime", "timestamp", "step", "agents"],
        "description": "What a host's boot tells.",
        "properties": {
            "hostname": text(0..=MAX_WORD_BYTES, "The display name."),
            "version": text(0..=MAX_WORD_BYTES, "Boot's own, as `bootagent-1.2.4-x86_64`."),
            "uptime": seconds("Seconds that boot has run."),
            "timestamp": seconds("Seconds since 1970, by the host's clock."),
            "step": number(&STEP_SECONDS, "Seconds until the next report."),
            "agents": {"type": "array", "items": of("BootReportedAgent"), "maxItems": MAX_AGENTS,
                       "description": "The agents that boot looks after."},
            "packages": {"type": "array", "items": kind, "maxItems": MAX_PACKAGE_KINDS,
                         "description": "Kinds of packages that the host takes, the best first."},
            "wanted": {"type": "array", "items": text(1..=SHORT_BYTES, "An agent's name."),
                       "maxItems": MAX_AGENTS,
                       "description": "Agents that somebody on the host asks for and that are not there."},
        },
    })
}

fn agent() -> Value {
    json!({
        "type": "object", "required": ["name", "version", "status", "uptime"],
        "description": "One agent of a host.",
        "properties": {
            "name": text(1..=SHORT_BYTES, "What it is called."),
            "version": text(0..=SHORT_BYTES, "Which one is there."),
            "status": one_of(&AgentStatus::ALL.map(AgentStatus::name), "What it is at."),
            "uptime": seconds("Seconds that it has run."),
            "state": one_of(&DaemonStatus::ALL.map(DaemonStatus::name), "The same exactly."),
            "reason": {"type": "string", "description": "Why it is not as it is wanted."},
        },
    })
}

fn message() -> Value {
    json!({"type": "string", "description": "In words, where there is something to say."})
}

fn errcode(what: &str) -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": u32::MAX, "description": what})
}

fn answer() -> Value {
    json!({
        "type": "object", "required": ["errcode", "jobs"], "description": "What boot is to do.",
        "properties": {
            "errcode": errcode("0, or why the report was not taken in."),
            "message": message(),
            "jobs": {"type": "array", "maxItems": MAX_BOOT_JOBS,
                     "items": {"type": "object", "additionalProperties": true},
                     "description": "Each with `id`, `action`, and what the action asks for."},
        },
    })
}

fn results() -> Value {
    json!({"type": "array", "items": of("BootResult"), "maxItems": MAX_BOOT_JOBS,
           "description": "What became of jobs."})
}

fn result() -> Value {
    json!({
        "type": "object", "required": ["id", "errcode", "message"], "description": "What became of a job.",
        "properties": {
            "id": text(1..=MAX_ID_BYTES, "The job's."),
            "errcode": errcode("0; 1 where it goes on, and another result follows; else the retcode."),
            "message": {"type": "string", "description": "`success`, or what is the matter."},
        },
    })
}

fn result_answer() -> Value {
    json!({
        "type": "object", "required": ["errcode"], "description": "Whether results are on disk.",
        "properties": {
            "errcode": errcode("0; with any other all of them are to be sent again."),
            "message": message(),
        },
    })
}
