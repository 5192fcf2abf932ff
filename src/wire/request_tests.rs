use super::*;
use crate::Overlap;
use crate::command::{Account, Limits, MAX_ENV_ENTRIES};
use proptest::prelude::*;

fn parse(json: &str) -> Result<Request, Rejected> {
    Request::parse(json.as_bytes()).expect("a frame")
}

fn refusal(json: &str) -> (u16, String) {
    let rejected = parse(json).expect_err(json);
    (rejected.error.retcode().code(), rejected.error.to_string())
}

#[test]
fn the_seeds_request_is_understood() {
    let request =
        parse(r#"{"id":"xxxxxx","method":"sync.bash","cmd":"ls","timeout":10,"user":"root","group":"root"}"#)
            .unwrap();
    let mut command = Command::new("ls");
    command.timeout = Some(10);
    command.user = Some(Account::Name("root".into()));
    command.group = Some(Account::Name("root".into()));
    assert_eq!(request, Request { id: "xxxxxx".into(), call: Call::SyncBash(command) });
}

#[test]
fn ids_may_be_numbers_or_digits() {
    for user in ["1000", "\"1000\""] {
        let json = format!(r#"{{"id":"1","method":"sync.bash","cmd":"id","user":{user}}}"#);
        let Call::SyncBash(command) = parse(&json).unwrap().call else { panic!("{json}") };
        assert_eq!(command.user, Some(Account::Id(1000)));
    }
}

#[test]
fn limits_are_numbers_and_memory_may_have_a_unit() {
    let limits = |json: &str| {
        let json = format!(r#"{{"id":"1","method":"sync.bash","cmd":"ls","limits":{json}}}"#);
        let Call::SyncBash(command) = parse(&json).unwrap().call else { panic!("{json}") };
        command.limits
    };
    assert_eq!(limits("{}"), Limits::default());
    let all = limits(r#"{"cpu":10,"memory":104857600,"files":64,"processes":7}"#);
    let expected = Limits { cpu: Some(10), memory: Some(100 << 20), files: Some(64), processes: Some(7) };
    assert_eq!(all, expected);
    for (text, bytes) in [("2048K", 2 << 20), ("100M", 100 << 20), ("3G", 3 << 30), ("1048576", 1 << 20)] {
        assert_eq!(limits(&format!(r#"{{"memory":"{text}"}}"#)).memory, Some(bytes), "{text}");
    }
}

#[test]
fn a_query_has_a_name_and_perhaps_arguments() {
    let query = |json: &str| {
        let Call::GetInfo(GetInfo { query, params }) = parse(json).unwrap().call else { panic!("{json}") };
        (query, params.args, params.timeout)
    };
    let plain = query(r#"{"id":"1","method":"getinfo.users"}"#);
    assert_eq!(plain, ("users".into(), String::new(), getinfo::DEFAULT_TIMEOUT_SECONDS));
    let full = query(r#"{"id":"1","method":"getinfo.x-1","args":"-U root","timeout":3}"#);
    assert_eq!(full, ("x-1".into(), "-U root".into(), 3));
    for (json, retcode, reason) in [
        (r#"{"id":"1","method":"getinfo.users","args":7}"#, 3021, "args: invalid type: integer `7`"),
        (r#"{"id":"1","method":"getinfo.users","args":"\u0000"}"#, 3021, "args: "),
        (r#"{"id":"1","method":"getinfo.users","timeout":0}"#, 3021, "timeout: must be at least 1 second"),
        (r#"{"id":"1","method":"getinfo.users","cmd":"ls"}"#, 3021, "cmd: unknown field `cmd`"),
        (r#"{"id":"1","method":"getinfo."}"#, 3022, "method: "),
        (r#"{"id":"1","method":"getinfo.../../etc/passwd"}"#, 3022, "method: "),
        (r#"{"id":"1","method":"getinfo.Users"}"#, 3022, "method: "),
    ] {
        let (found, text) = refusal(json);
        assert!(found == retcode && text.starts_with(reason), "{json}: {found} {text}");
    }
    let long = "x".repeat(getinfo::MAX_ARGS_BYTES + 1);
    let (found, text) = refusal(&format!(r#"{{"id":"1","method":"getinfo.users","args":"{long}"}}"#));
    assert!(found == 3021 && text.starts_with("args: "), "{text}");
}

#[test]
fn what_is_cancelled_is_named() {
    let request = parse(r#"{"id":"c","method":"job.cancel","job":"r-1"}"#).unwrap();
    let Call::JobCancel(cancel) = request.call else { panic!("not a cancel") };
    assert_eq!(cancel.job, "r-1");
    for (json, reason) in [
        (r#"{"id":"c","method":"job.cancel"}"#, "missing field `job`"),
        (r#"{"id":"c","method":"job.cancel","job":""}"#, "job: must not be empty"),
        (r#"{"id":"c","method":"job.cancel","job":7}"#, "job: invalid type: integer `7`, expected a string"),
    ] {
        assert_eq!(refusal(json), (3021, reason.to_owned()));
    }
}

#[test]
fn every_bad_field_is_named_with_the_reason() {
    let sync = |rest: &str| format!(r#"{{"id":"1","method":"sync.bash",{rest}}}"#);
    let cases = [
        (sync(r#""cmd":"ls","timeout":0"#), "timeout: must be at least 1 second, got 0"),
        (sync(r#""cmd":"ls","timeout":-3"#), "timeout: must be at least 1 second, got -3"),
        (sync(r#""cmd":"ls","timeout":86401"#), "timeout: must be at most 86400 seconds, got 86401"),
        (
            sync(r#""cmd":"ls","timeout":"10""#),
            "timeout: invalid type: string \"10\", expected a whole number of seconds",
        ),
        (
            sync(r#""cmd":"ls","timeout":1.5"#),
            "timeout: invalid type: floating point `1.5`, expected a whole number of seconds",
        ),
        (sync(r#""timeout":1"#), "missing field `cmd`"),
        (sync(r#""cmd":"""#), "cmd: must not be empty"),
        (sync(r#""cmd":7"#), "cmd: invalid type: integer `7`, expected a string"),
        (sync(r#""cmd":"a\u0000b""#), "cmd: must not contain a NUL"),
        (sync(r#""cmd":"ls","cwd":"tmp""#), "cwd: must be an absolute path, got \"tmp\""),
        (sync(r#""cmd":"ls","user":"""#), "user: must not be empty"),
        (sync(r#""cmd":"ls","user":4294967296"#), "user: no id is as large as 4294967296"),
        (
            sync(r#""cmd":"ls","user":true"#),
            "user: invalid type: boolean `true`, expected a name or a numeric id",
        ),
        (sync(r#""cmd":"ls","env":{"A=B":"c"}"#), "env: a name must not contain '=', got \"A=B\""),
        (sync(r#""cmd":"ls","env":{"A":1}"#), "env.A: invalid type: integer `1`, expected a string"),
        (sync(r#""cmd":"ls","stream":1"#), "stream: invalid type: integer `1`, expected a boolean"),
        (sync(r#""cmd":"ls","limits":{"cpu":0}"#), "limits.cpu: must be at least 1 second, got 0"),
        (
            sync(r#""cmd":"ls","limits":{"memory":1000}"#),
            "limits.memory: must be at least 1048576 bytes, got 1000",
        ),
        (
            sync(r#""cmd":"ls","limits":{"memory":"1MB"}"#),
            "limits.memory: invalid type: string \"1MB\", expected a whole number of bytes, or a string such as \"100M\"",
        ),
        (
            sync(r#""cmd":"ls","limits":{"memory":"99999999999999999999"}"#),
            "limits.memory: must be at most 1125899906842624 bytes, got 99999999999999999999",
        ),
        (
            sync(r#""cmd":"ls","limits":{"files":"10"}"#),
            "limits.files: invalid type: string \"10\", expected a whole number of descriptors",
        ),
        (
            sync(r#""cmd":"ls","limits":{"processes":-1}"#),
            "limits.processes: must be at least 1 process, got -1",
        ),
        (sync(r#""cmd":"ls","env":["A"]"#), "env: invalid type: sequence, expected an object of strings"),
    ];
    for (json, reason) in &cases {
        assert_eq!(refusal(json), (3021, (*reason).to_owned()), "{json}");
    }
    let (code, text) = refusal(&sync(r#""cmd":"ls","tiemout":1"#));
    assert_eq!(code, 3021);
    assert!(text.contains("tiemout"), "{text}");
}

#[test]
fn a_refusal_is_short_however_long_what_is_wrong() {
    let long = "\\\"".repeat(300_000);
    for field in [
        format!(r#""timeout":"{long}""#),
        format!(r#""{long}":1"#),
        format!(r#""env":{{"A":1,"{long}":""}}"#),
        format!(r#""cwd":"{}""#, "x".repeat(4000)),
    ] {
        let json = format!(r#"{{"id":"1","method":"sync.bash","cmd":"ls",{field}}}"#);
        let reply = crate::frame::encode(&crate::Reply::from(parse(&json).unwrap_err()));
        assert!(reply.len() < 4096, "{} bytes answer {}…", reply.len(), &json[..80]);
    }
}

#[test]
fn a_message_without_id_or_method_is_malformed() {
    assert_eq!(refusal(r#"{"method":"sync.bash","cmd":"ls"}"#), (3020, "id: missing".into()));
    assert_eq!(refusal(r#"{"id":7,"method":"sync.bash"}"#), (3020, "id: must be a string".into()));
    assert_eq!(refusal(r#"{"id":""}"#), (3020, "id: must not be empty".into()));
    assert_eq!(refusal(r#"{"id":"1"}"#), (3020, "method: missing".into()));
    assert_eq!(refusal(r#"{"id":"1","method":[]}"#), (3020, "method: must be a string".into()));
    assert_eq!(
        refusal(r#"{"id":"1","method":"rm"}"#),
        (3022, "method: this version does not know \"rm\"".into())
    );
}

#[test]
fn however_deep_the_nesting_it_is_skipped_and_the_frame_is_one() {
    let (deep, end) = ("[".repeat(100_000), "]".repeat(100_000));
    let method = r#""method":"sync.bash","cmd":"ls""#;
    for (json, code) in [
        (format!(r#"{{"id":{deep}{end},{method}}}"#), 3020),
        (format!(r#"{{"id":"1","method":{deep}{end}}}"#), 3020),
        (format!(r#"{{"id":"1",{method},"timeout":{deep}{end}}}"#), 3021),
        (format!(r#"{{"id":"1",{method},"other":{deep}{end}}}"#), 3021),
    ] {
        assert_eq!(refusal(&json).0, code, "{}…", &json[..60]);
    }
}

#[test]
fn what_is_no_json_object_is_no_frame() {
    for line in ["", "  ", "[]", "7", "{", "{\"id\":}", "null", "{}x"] {
        assert!(Request::parse(line.as_bytes()).is_err(), "{line:?}");
    }
    assert!(Request::parse(b"{\"id\":\"\xff\"}").is_err());
}

#[test]
fn the_environment_is_bounded_in_number() {
    let env: Vec<String> = (0..=MAX_ENV_ENTRIES).map(|n| format!("\"V{n}\":\"\"")).collect();
    let json = format!(r#"{{"id":"1","method":"sync.bash","cmd":"ls","env":{{{}}}}}"#, env.join(","));
    assert_eq!(refusal(&json), (3021, format!("env: at most {MAX_ENV_ENTRIES} variables")));
}

fn json_value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| n.to_string()),
        "[a-z0-9/=]{0,12}".prop_map(|text| format!("{text:?}")),
        Just("{\"A\":\"b\"}".to_owned()),
        Just("[1,[2]]".to_owned()),
    ]
}

proptest! {
    /// Neither bytes nor odd values ever panic, and a refusal always says why.
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Request::parse(&bytes);
    }

    #[test]
    fn any_values_are_survived(
        method in prop_oneof![Just("sync.bash".to_owned()), "[a-z.]{0,10}"],
        fields in prop::collection::btree_map(
            prop_oneof![
                Just("cmd"), Just("timeout"), Just("user"), Just("group"), Just("env"), Just("cwd"), Just("limits"), Just("other")
            ],
            json_value(),
            0..6,
        ),
    ) {
        let fields: Vec<String> = fields.iter().map(|(k, v)| format!(",{k:?}:{v}")).collect();
        let json = format!("{{\"id\":\"1\",\"method\":{method:?}{}}}", fields.concat());
        if let Err(rejected) = parse(&json) {
            prop_assert!(!rejected.error.to_string().is_empty());
        }
    }
}

fn job_of(json: &str) -> Job {
    let Call::AsyncBash(job) = parse(json).expect(json).call else { panic!("{json}") };
    job
}

#[test]
fn a_job_is_a_command_with_terms() {
    let job = job_of(r#"{"id":"1","method":"async.bash","cmd":"ls"}"#);
    assert_eq!(job, Job { command: Command::new("ls"), terms: Terms::default() });
    let job = job_of(
        r#"{"id":"1","ttl":60,"method":"async.bash","retries":3,"cmd":"ls","stream":true,"retry_delay":0}"#,
    );
    assert_eq!(job.terms, Terms { ttl: 60, retries: 3, retry_delay: 0 });
    assert_eq!(job.command, Command { stream: true, ..Command::new("ls") });
    let sync = |field: &str| format!(r#"{{"id":"1","method":"async.bash","cmd":"ls",{field}}}"#);
    for (field, reason) in [
        (r#""ttl":0"#, "ttl: must be at least 1 second, got 0"),
        (r#""ttl":2592001"#, "ttl: must be at most 2592000 seconds, got 2592001"),
        (r#""retries":101"#, "retries: must be at most 100 retries, got 101"),
        (r#""retry_delay":-1"#, "retry_delay: must be at least 0 seconds, got -1"),
        (r#""retries":"3""#, "retries: invalid type: string \"3\", expected a whole number of retries"),
        (r#""timeout":0"#, "timeout: must be at least 1 second, got 0"),
    ] {
        assert_eq!(refusal(&sync(field)), (3021, reason.to_owned()));
    }
    let (code, reason) = refusal(r#"{"id":"1","method":"async.bash","cmd":"ls","splay":1}"#);
    assert_eq!(code, 3021);
    assert!(reason.starts_with("splay: unknown field `splay`"), "{reason}");
    let (_, reason) = refusal(r#"{"id":"1","method":"sync.bash","cmd":"ls","ttl":1}"#);
    assert!(reason.starts_with("ttl: unknown field `ttl`"), "{reason}");
}

#[test]
fn an_entry_has_a_schedule_or_a_line() {
    let set = |rest: &str| parse(&format!(r#"{{"id":"1","method":"cron.set","name":"tidy",{rest}}}"#));
    let Ok(Request { call: Call::CronSet(entry), .. }) = set(
        r#""schedule":"0 0 8-10 * * *","cmd":"ls","timezone":"Europe/Berlin","overlap":"queue","splay":30"#,
    ) else {
        panic!("refused")
    };
    assert_eq!(entry.timing.schedule.as_deref(), Some("0 0 8-10 * * *"));
    assert_eq!((entry.timing.overlap, entry.timing.splay, entry.timing.catchup), (Overlap::Queue, 30, false));
    assert_eq!(entry.job.command, Command::new("ls"));
    let Ok(Request { call: Call::CronSet(entry), .. }) =
        set(r#""line":"0 0/30 8-10 * * * root echo hi","retries":1"#)
    else {
        panic!("refused")
    };
    assert_eq!((entry.timing.schedule, entry.job.terms.retries), (None, 1));
    assert_eq!(entry.job.command.cmd, "0 0/30 8-10 * * * root echo hi");
    for (rest, reason) in [
        (r#""cmd":"ls""#, "schedule: missing, and there is no line in its place"),
        (r#""schedule":"* * * * *""#, "missing field `cmd`"),
        (r#""schedule":"* * * * *","line":"x""#, "schedule: the line says it already"),
        (r#""line":"x","cmd":"x""#, "cmd: the line says it already"),
        (r#""line":"x","user":"x""#, "user: the line says it already"),
        (r#""line":"""#, "line: must not be empty"),
        (r#""schedule":"* * * * *","cmd":"x","splay":3601"#, "splay: must be at most 3600 seconds, got 3601"),
        (
            r#""schedule":"* * * * *","cmd":"x","overlap":"both""#,
            "overlap: unknown variant `both`, expected one of `skip`, `queue`, `parallel`",
        ),
    ] {
        let rejected = set(rest).expect_err(rest);
        assert_eq!(rejected.error.to_string(), reason, "{rest}");
    }
    for name in ["", "a b", "../x", ".x", "é", "a/b"] {
        let json =
            format!(r#"{{"id":"1","method":"cron.set","name":"{name}","schedule":"* * * * *","cmd":"x"}}"#);
        assert!(refusal(&json).1.starts_with("name: must "), "{name}");
    }
}

#[test]
fn what_is_kept_of_a_job_is_read_again_as_it_was() {
    let json = r#"{"id":"1","method":"async.bash","cmd":"ls","timeout":9,"user":"7","group":"wheel","cwd":"/",
        "env":{"A":"b"},"stream":true,"limits":{"cpu":1,"memory":"2G"},"ttl":5,"retries":2,"retry_delay":1}"#;
    for job in [job_of(json), job_of(r#"{"id":"1","method":"async.bash","cmd":"ls"}"#)] {
        let kept = serde_json::to_string(&job).unwrap();
        assert_eq!(serde_json::from_str::<Job>(&kept).unwrap(), job, "{kept}");
    }
}
