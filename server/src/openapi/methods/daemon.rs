//! `daemon.*`: how daemons are defined, and what is done about them.

use super::{Method, account, environment, name, size};
use crate::openapi::schema::{closed, fields, formed, number, or, text};
use aspire_wire::daemon::{
    CHECK_FAILURES, CHECK_INTERVAL_SECONDS, CHECK_TIMEOUT_SECONDS, DAEMON_HEARTBEAT_SECONDS, HITS,
    LONG_BYTES, MAX_RESTARTS, PACKAGES, PERCENT, PRECHECK_RETRIES, RESTART_WINDOW_SECONDS, SHORT_BYTES,
    START_DELAY_SECONDS, STOP_TIMEOUT_SECONDS,
};
use serde_json::{Map, Value, json};

/// What hosts are to do about their daemons.
pub fn methods() -> Vec<Method> {
    let verbs = [
        ("daemon.start", "The daemon is to run."),
        ("daemon.stop", "The daemon is not to run."),
        ("daemon.restart", "The daemon is to be ended, and to run again."),
        ("daemon.remove", "The daemon is to be ended, uninstalled and forgotten."),
    ];
    let example = |method: &str| json!({"hosts": ["web-1"], "method": method, "name": "web"});
    let mut methods: Vec<_> = verbs
        .into_iter()
        .map(|(method, what)| Method {
            name: method,
            what,
            required: &["name"],
            own: fields(json!({"name": name("The daemon's.")})),
            example: example(method),
        })
        .collect();
    methods.push(Method {
        name: "daemon.list",
        what: "The daemons of a host and what they are at.",
        required: &[],
        own: fields(json!({"name": name("Only this daemon.")})),
        example: json!({"hosts": ["web-1"], "method": "daemon.list"}),
    });
    methods.push(Method {
        name: "daemon.init",
        what: "Makes or changes a daemon: 1 Accepted once that is on disk; the host then comes to that \
            state.",
        required: &["name", "version", "url", "start", "stop"],
        own: definition(),
        example: json!({"hosts": ["web-1"], "method": "daemon.init", "name": "web", "version": "1.2-1",
                        "url": "https://packages.example/web_1.2-1_amd64.deb",
                        "checksum": format!("SHA256:{}", "0".repeat(64)),
                        "start": "web --serve", "stop": "kill:TERM"}),
    });
    methods
}

/// A daemon, as an operator defines it.
pub fn definition() -> Map<String, Value> {
    let url =
        format!("Where its package is: http, https, ftp or file; it ends in one of {}.", PACKAGES.join(", "));
    let mut all = fields(json!({
        "name": name("1 to 64 characters."),
        "version": formed("^[A-Za-z0-9][A-Za-z0-9._+~:-]*$", SHORT_BYTES, "That of the package."),
        "url": formed("^(https?|ftp)://[!-~]+$|^file:///[!-~]+$", LONG_BYTES, &url),
        "checksum": formed("^SHA256:[0-9A-Fa-f]{64}$", 71, "Of the package. Of one from polaris itself it \
                           may be absent."),
        "start": text(1..=LONG_BYTES, "The command that starts it."),
        "stop": text(1..=LONG_BYTES + "process:".len(), "How it is ended: `process:COMMAND`, `kill:SIGNAL`, \
                     or a command alone."),
        "precheck": text(1..=LONG_BYTES, "A command that must succeed before each start."),
        "pidfile": {"type": "string", "pattern": "^/", "maxLength": LONG_BYTES,
                    "description": "Where a daemon that leaves its starter says which process it is."},
        "user": account("The user that it runs as."),
        "group": account("The same of the group."),
        "env": environment(),
    }));
    all.extend(health());
    all
}

/// How it is watched, and what it may use.
fn health() -> Map<String, Value> {
    let restarts = "Restarts within `restart_window` beyond which it is given up.";
    let limits = closed(
        "What all its processes may use together.",
        &[],
        json!({
            "hits": or(number(&HITS, "Samples in a row beyond `cpu` or `memory` before it is ended."), 5),
            "cpu": percent("Processor time"),
            "memory": size("Bytes in memory"),
            "cpu_max": percent("What the kernel gives it at most"),
            "memory_max": size("What the kernel gives it at most"),
        }),
    );
    fields(json!({
        "check": or(text(1..=SHORT_BYTES, "How it is found out whether it is well: `process`, `socket`, \
                    `http:URL` or `script:COMMAND`."), "process"),
        "check_interval": or(number(&CHECK_INTERVAL_SECONDS, "Seconds from one check to the next."), 10),
        "check_timeout": or(number(&CHECK_TIMEOUT_SECONDS, "Seconds that a check may take."), 5),
        "check_failures": or(number(&CHECK_FAILURES, "Failures in a row before it is started anew."), 3),
        "socket": text(1..=LONG_BYTES, "What `check` `socket` connects to: an absolute path, or \
                       `tcp:HOST:PORT`."),
        "heartbeat": or(number(&DAEMON_HEARTBEAT_SECONDS, "Seconds within which it says that it lives; 0 \
                        expects nothing."), 0),
        "precheck_retries": or(number(&PRECHECK_RETRIES, "How often a `precheck` that fails is run \
            again."), 3),
        "start_delay": or(number(&START_DELAY_SECONDS, "Seconds until it is looked at whether it came \
            up."), 1),
        "stop_timeout": or(number(&STOP_TIMEOUT_SECONDS, "Seconds until what has not ended is killed."), 10),
        "max_restarts": or(number(&MAX_RESTARTS, restarts), 10),
        "restart_window": or(number(&RESTART_WINDOW_SECONDS, "Seconds."), 600),
        "limits": limits,
    }))
}

fn percent(what: &str) -> Value {
    json!({"type": ["integer", "string"], "minimum": PERCENT.start(), "maximum": PERCENT.end(),
           "pattern": "^[0-9]+%?$", "description": format!("{what}, in percent of one processor, such as \
               `5%`.")})
}
