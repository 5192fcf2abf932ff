//! What a request says, method by method: the fields that are the server's, those of the method, and
//! their bounds, which are the wire's.

mod daemon;

pub(super) use daemon::definition;

use crate::limits::{
    BATCH_HOSTS, DEADLINE_SECONDS, MAX_ERRORS_HOSTS, MAX_HOSTS_PER_REQUEST, MAX_TARGET_BYTES, MAX_WORD_BYTES,
    PAUSE_SECONDS,
};
use crate::openapi::schema::{closed, fields, flag, formed, number, of, one_of, or, or_null, text};
use aspire_wire::command::{
    CPU_SECONDS, DEFAULT_TIMEOUT_SECONDS, MAX_CMD_BYTES, MAX_ENV_ENTRIES, MAX_NAME_BYTES, MEMORY_BYTES,
    OPEN_FILES, PROCESSES, TIMEOUT_SECONDS,
};
use aspire_wire::cron::{MAX_CRON_NAME_BYTES, MAX_SCHEDULE_BYTES, MAX_ZONE_BYTES, SPLAY_SECONDS};
use aspire_wire::job::{
    DEFAULT_RETRY_DELAY_SECONDS, DEFAULT_TTL_SECONDS, RETRIES, RETRY_DELAY_SECONDS, TTL_SECONDS,
};
use aspire_wire::request::MAX_ID_BYTES;
use aspire_wire::{JobState, getinfo};
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;

/// What a name of an entry or a daemon looks like.
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]*$";
/// A method that asks hosts about themselves.
const GETINFO: &str = r"^getinfo\.[a-z0-9_.-]+$";
/// A number of bytes as text.
const SIZE: &str = "^[0-9]+[KMG]?$";

/// The name of the schema of a request, which is one of the others.
pub const REQUEST: &str = "Request";

/// A method of the hosts.
struct Method {
    name: &'static str,
    what: &'static str,
    required: &'static [&'static str],
    own: Map<String, Value>,
    example: Value,
}

/// The schemas of requests by their names.
pub fn schemas() -> Vec<(String, Value)> {
    let methods = [commands(), jobs(), cron(), daemon::methods()].into_iter().flatten();
    let mut schemas: Vec<_> = methods.map(|method| (title(method.name), schema(method))).collect();
    let method = |schema: &Value| schema["properties"]["method"]["const"].clone();
    let names: Vec<_> = schemas.iter().map(|(_, schema)| method(schema)).collect();
    schemas.push((title("getinfo"), getinfo()));
    schemas.push((title("other"), other(&names)));
    let all: Vec<_> = schemas.iter().map(|(name, _)| of(name)).collect();
    let request = json!({
        "oneOf": all,
        "description": "What hosts are to do, by its method. Hosts are named, selected by a target, or \
                        both: each is asked once.",
    });
    schemas.push((REQUEST.to_owned(), request));
    schemas
}

/// `sync.bash` is described by `Request.sync.bash`.
fn title(method: &str) -> String {
    format!("{REQUEST}.{method}")
}

fn schema(method: Method) -> Value {
    let Method { name, what, required, own, example } = method;
    let mut all = fields(json!({"method": {"type": "string", "const": name}}));
    all.extend(envelope());
    all.extend(own);
    let required: Vec<_> = ["method"].iter().chain(required).copied().collect();
    let mut schema = closed(what, &required, all);
    schema["anyOf"] = addressed();
    schema["examples"] = json!([example]);
    schema
}

/// A request is for somebody.
pub(super) fn addressed() -> Value {
    json!([{"required": ["hosts"]}, {"required": ["target"]}])
}

/// What is said to the server.
fn envelope() -> Map<String, Value> {
    let host = text(1..=MAX_WORD_BYTES, "The id of a host, or its name where no other host has it.");
    let id = "Chosen by the caller, so that the same request sent again is not carried out again: printable \
              ASCII without spaces. One is made where it is absent.";
    let target = "An expression that selects hosts, such as `region == \"cn-1\" and tags.svc in (\"ecs\", \
                  \"rds\")`.";
    let deadline = "Seconds until every host has its final state. Where it is absent, what the most patient \
                    host needs for the command, or 30 where hosts only take note; with `batch` as often as \
                    hosts come one after the other, which must not be more than the most.";
    let mut all = fields(json!({
        "id": or_null(formed("^[!-~]+$", MAX_ID_BYTES, id)),
        "hosts": {"type": "array", "items": host, "maxItems": MAX_HOSTS_PER_REQUEST,
                  "description": "Hosts by id or name."},
        "target": or_null(text(1..=MAX_TARGET_BYTES, target)),
        "deadline": or_null(number(&DEADLINE_SECONDS, deadline)),
        "queue": flag("Whether the request waits for hosts that are offline."),
        "ttl": number(&TTL_SECONDS, "With `queue`: seconds that it waits for them, a day where it is absent. \
                      With `batch`: seconds after which no host is begun any more."),
        "ramp": flag("With `batch`: whether it begins with one host, then two at once, then four, as they \
                     succeed."),
        "pause": or_null(number(&PAUSE_SECONDS, "With `batch`: seconds from the end of one host to the \
            begin of \
                                the next in its place.")),
    }));
    all.extend(rollout());
    all
}

/// To how many hosts at once.
pub(super) fn rollout() -> Map<String, Value> {
    fields(json!({
        "batch": or_null(share(&BATCH_HOSTS, 1, "A rollout: the most hosts that are under way at once.")),
        "max_errors": or_null(share(&MAX_ERRORS_HOSTS, 0, "The most hosts that may fail for others to be \
                              begun; any number where it is absent. Of a request: with `batch`.")),
        "confirm": or_null(number(&(0..=u64::MAX), "How many hosts it is for: needed where they are more \
            than \
                                  the configuration says.")),
    }))
}

/// A number of hosts, or a percentage of the request's.
fn share(hosts: &RangeInclusive<u64>, least_percent: u8, what: &str) -> Value {
    json!({"type": ["integer", "string"], "minimum": hosts.start(), "maximum": hosts.end(),
           "pattern": "^[0-9]+%$",
           "description": format!("{what} A number, or {least_percent}% to 100% of the request's hosts, \
               such as `25%`.")})
}

/// What all commands have in common.
fn command() -> Map<String, Value> {
    let timeout = "Seconds after which the command is ended; what the host's configuration says where it is \
                   absent, which is 120 unless somebody changed it.";
    let (user, group) = ("The user that it runs as; root where it is absent.", "The same of the group.");
    let limits = closed(
        "What each process of the command may use at most; see setrlimit(2).",
        &[],
        json!({
            "cpu": number(&CPU_SECONDS, "Seconds of processor time."),
            "memory": size("Bytes of address space"),
            "files": number(&OPEN_FILES, "Open descriptors."),
            "processes": number(&PROCESSES, "Processes of its user."),
        }),
    );
    fields(json!({
        "cmd": text(1..=MAX_CMD_BYTES, "The line for `bash -c`."),
        "timeout": number(&TIMEOUT_SECONDS, timeout),
        "user": account(user),
        "group": account(group),
        "env": environment(),
        "cwd": {"type": "string", "pattern": "^/", "maxLength": MAX_NAME_BYTES,
                "description": "The folder that it runs in, an absolute path."},
        "stream": flag("Whether output is passed on while the command runs."),
        "limits": limits,
    }))
}

fn environment() -> Value {
    json!({"type": "object", "maxProperties": MAX_ENV_ENTRIES, "additionalProperties": {"type": "string"},
           "propertyNames": {"minLength": 1, "maxLength": MAX_NAME_BYTES, "pattern": "^[^=]*$"},
           "description": "Variables, beside or in the place of those that every command has."})
}

fn account(what: &str) -> Value {
    json!({"type": ["string", "integer", "null"], "minLength": 1, "maxLength": MAX_NAME_BYTES,
           "minimum": 0, "maximum": u32::MAX, "description": format!("{what} A name or a numeric id.")})
}

/// Bytes, as a number or as text.
fn size(what: &str) -> Value {
    json!({"type": ["integer", "string"], "minimum": MEMORY_BYTES.start(), "maximum": MEMORY_BYTES.end(),
           "pattern": SIZE, "description": format!("{what}; as text with K, M or G, units of 1024.")})
}

fn commands() -> Vec<Method> {
    let job = fields(json!({
        "ttl": or(
            number(&TTL_SECONDS, "Seconds in which it must have begun, on its way to the host included."),
            DEFAULT_TTL_SECONDS,
        ),
        "retries": or(number(&RETRIES, "How often it is run again where it fails."), 0),
        "retry_delay": or(
            number(&RETRY_DELAY_SECONDS, "Seconds from a failure to the next attempt."),
            DEFAULT_RETRY_DELAY_SECONDS,
        ),
    }));
    let sync = Method {
        name: "sync.bash",
        what: "Runs a command and answers when it has ended.",
        required: &["cmd"],
        own: command(),
        example: json!({"hosts": ["web-1"], "method": "sync.bash", "cmd": "uptime", "timeout": 10}),
    };
    let asynchronous = Method {
        name: "async.bash",
        what: "Takes a command on as a job: 1 Accepted at once, the result under `/api/v1/jobs`.",
        required: &["cmd"],
        own: command().into_iter().chain(job).collect(),
        example: json!({"target": "tags.svc == \"db\"", "method": "async.bash", "cmd": "backup",
                        "retries": 2}),
    };
    vec![sync, asynchronous]
}

fn jobs() -> Vec<Method> {
    let job = || fields(json!({"job": text(1..=MAX_ID_BYTES, "The id of the request that began it.")}));
    let state = or_null(one_of(&JobState::ALL.map(JobState::name), "Only the jobs in this state."));
    let (list, example) =
        (fields(json!({"state": state})), json!({"hosts": ["web-1"], "method": "job.list"}));
    let on = |method: &str| json!({"hosts": ["web-1"], "method": method, "job": "backup-1"});
    vec![
        Method { name: "job.list", what: "The jobs of a host.", required: &[], own: list, example },
        Method {
            name: "job.status",
            what: "One job.",
            required: &["job"],
            own: job(),
            example: on("job.status"),
        },
        Method {
            name: "job.cancel",
            what: "Ends a command or a job that runs or waits, and answers when it has ended.",
            required: &["job"],
            own: job(),
            example: on("job.cancel"),
        },
        Method {
            name: "agent.info",
            what: "What the agent is and does.",
            required: &[],
            own: Map::new(),
            example: json!({"hosts": ["web-1"], "method": "agent.info"}),
        },
    ]
}

fn cron() -> Vec<Method> {
    let schedule = "Six fields, from seconds to the day of the week, or five without the seconds; absent \
                    where there is a `line`.";
    let line = "In the place of `schedule`, `cmd` and `user`: a line of a crontab, the user before the \
                command.";
    let mut set = command();
    set.remove("cmd");
    set.extend(fields(json!({
        "name": name("The entry's: one of the same name is replaced."),
        "schedule": text(1..=MAX_SCHEDULE_BYTES, schedule),
        "cmd": text(1..=MAX_CMD_BYTES, "The line for `bash -c`; absent where there is a `line`."),
        "line": text(1..=MAX_CMD_BYTES, line),
        "timezone": text(1..=MAX_ZONE_BYTES, "Such as `Europe/Berlin`; the host's own where it is absent."),
        "overlap": or(
            one_of(&["skip", "queue", "parallel"], "What is done where the last run has not ended."),
            "skip",
        ),
        "catchup": flag("Whether what was due while the agent was down is made up for, by one run."),
        "splay": or(number(&SPLAY_SECONDS, "Seconds over which hosts spread their runs."), 0),
        "ttl": or(number(&TTL_SECONDS, "Seconds in which a run must have begun."), DEFAULT_TTL_SECONDS),
        "retries": or(number(&RETRIES, "How often a run that fails is run again."), 0),
        "retry_delay": or(
            number(&RETRY_DELAY_SECONDS, "Seconds from a failure to the next attempt."),
            DEFAULT_RETRY_DELAY_SECONDS,
        ),
    })));
    let own = |what: &str| fields(json!({"name": name(what)}));
    vec![
        Method {
            name: "cron.set",
            what: "Makes or changes an entry of the hosts' cron tables: 1 Accepted once that is on disk.",
            required: &["name"],
            own: set,
            example: json!({"hosts": ["web-1"], "method": "cron.set", "name": "nightly",
                            "schedule": "0 30 3 * * *", "cmd": "backup", "timezone": "Europe/Berlin"}),
        },
        Method {
            name: "cron.remove",
            what: "Forgets an entry. Runs under way go on.",
            required: &["name"],
            own: own("The entry's."),
            example: json!({"hosts": ["web-1"], "method": "cron.remove", "name": "nightly"}),
        },
        Method {
            name: "cron.list",
            what: "The entries of a host with their next times.",
            required: &[],
            own: own("Only this entry."),
            example: json!({"hosts": ["web-1"], "method": "cron.list"}),
        },
    ]
}

fn name(what: &str) -> Value {
    formed(NAME, MAX_CRON_NAME_BYTES, what)
}

fn getinfo() -> Value {
    let mut all = fields(json!({
        "method": formed(GETINFO, getinfo::PREFIX.len() + getinfo::MAX_QUERY_BYTES,
                         "`getinfo.` and the name of a query."),
        "args": or(text(0..=getinfo::MAX_ARGS_BYTES, "As on a command line; the query says what it \
            means."), ""),
        "timeout": or(
            number(&getinfo::TIMEOUT_SECONDS, "Seconds that the answer may take."),
            getinfo::DEFAULT_TIMEOUT_SECONDS,
        ),
    }));
    all.extend(envelope());
    let mut schema = closed("Asks hosts about themselves; `data` is a JSON value.", &["method"], all);
    schema["anyOf"] = addressed();
    schema["examples"] = json!([{"hosts": ["web-1"], "method": "getinfo.users", "args": "-A"}]);
    schema
}

/// What the server passes on as it is.
fn other(known: &[Value]) -> Value {
    let mut all = envelope();
    all.remove("ttl");
    all.insert(
        "method".into(),
        json!({"type": "string", "maxLength": MAX_WORD_BYTES,
               "not": {"anyOf": [{"enum": known}, {"pattern": GETINFO}]}}),
    );
    json!({
        "type": "object", "required": ["method"], "properties": all, "anyOf": addressed(),
        "description": "Any other method: hosts may be newer than the server, which passes on what it \
            does not \
                        know. A host that does not know it either answers 3022.",
    })
}

/// The timeout that hosts have where nobody says otherwise is the one that the text tells.
const _: () = assert!(DEFAULT_TIMEOUT_SECONDS == 120);
