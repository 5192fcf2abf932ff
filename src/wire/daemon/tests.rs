use super::*;
use crate::frame::encode;
use crate::session::{Frame, FromAgent};
use crate::{Call, Outcome, Request, Retcode};
use serde_json::{Value, json};

/// The seed's example, with what its comments say.
fn seed() -> Value {
    json!({
        "id": "xxxxx",
        "method": "daemon.init",
        "name": "plugin_name",
        "version": "1.0.1",
        "url": "http://your/monitor.rpm",
        "precheck": "/your/program/path/check",
        "precheck_retries": 3,
        "start": "/your/program/path/start",
        "start_delay": 10,
        "stop": "/your/program/path/stop",
        "stop_timeout": 10,
        "check": "process",
        "check_interval": 10,
        "user": "user name",
        "group": "group name",
        "pidfile": "/var/run/program.pid",
        "socket": "/var/run/program.sock",
        "env": {"PATH": "/usr/bin:/usr/sbin"},
        "limits": {"hits": 5, "cpu": "5%", "memory": "100M"}
    })
}

fn with(changes: &Value) -> Value {
    let mut request = seed();
    for (field, value) in changes.as_object().unwrap() {
        match value {
            Value::String(text) if text == "absent" => request.as_object_mut().unwrap().remove(field),
            value => request.as_object_mut().unwrap().insert(field.clone(), value.clone()),
        };
    }
    request
}

fn parse(request: &Value) -> Result<DaemonInit, String> {
    match Request::parse(request.to_string().as_bytes()).unwrap() {
        Ok(Request { call: Call::DaemonInit(init), .. }) => Ok(*init),
        Ok(other) => panic!("{other:?}"),
        Err(rejected) => Err(rejected.error.to_string()),
    }
}

#[test]
fn the_seeds_example_is_understood_whole() {
    let init = parse(&seed()).unwrap();
    assert_eq!((init.name.as_str(), init.version.as_str()), ("plugin_name", "1.0.1"));
    assert_eq!(init.stop, Stop::Process("/your/program/path/stop".into()));
    assert_eq!((init.check.clone(), init.check_interval), (Check::Process, 10));
    assert_eq!((init.limits.hits, init.limits.cpu, init.limits.memory), (5, Some(5), Some(100 << 20)));
    assert_eq!((init.start_delay, init.stop_timeout, init.precheck_retries), (10, 10, 3));
    assert_eq!(init.user, Some(Account::Name("user name".into())));
}

#[test]
fn what_is_not_said_has_the_documented_value() {
    let init = parse(&json!({
        "id": "a", "method": "daemon.init", "name": "web", "version": "1", "url": "file:///web.tar.gz",
        "start": "web", "stop": "kill:TERM"
    }))
    .unwrap();
    assert_eq!((init.precheck, init.precheck_retries, init.start_delay), (None, 3, 1));
    assert_eq!((init.stop_timeout, init.check, init.check_interval), (10, Check::Process, 10));
    assert_eq!((init.check_timeout, init.check_failures, init.heartbeat), (5, 3, 0));
    assert_eq!((init.limits, init.max_restarts, init.restart_window), (DaemonLimits::default(), 10, 600));
}

#[test]
fn a_definition_is_read_as_it_was_written() {
    for changes in [
        json!({}),
        json!({"stop": "kill:15", "check": "socket", "socket": "tcp:[::1]:80", "limits": {}}),
        json!({"check": "http:http://127.0.0.1/health", "checksum": format!("SHA256:{}", "Ab".repeat(32))}),
        json!({"stop": "s".repeat(512), "start": "s".repeat(512), "precheck": "s".repeat(512)}),
        json!({"check": "script:test -e /tmp/ok", "heartbeat": 5, "limits": {"cpu_max": 50, "memory_max": 1 << 20}}),
    ] {
        let init = parse(&with(&changes)).unwrap();
        let written = serde_json::to_string(&init).unwrap();
        assert_eq!(serde_json::from_str::<DaemonInit>(&written).unwrap(), init, "{written}");
    }
}

#[test]
fn every_field_that_is_wrong_is_named_with_the_reason() {
    let long = "x".repeat(513);
    for (changes, reason) in [
        (json!({"name": "absent"}), "missing field `name`"),
        (json!({"name": ""}), "name: must not be empty"),
        (json!({"name": "x".repeat(65)}), "name: must be at most 64 bytes, got 65"),
        (json!({"name": "../x"}), "name: must be of letters"),
        (json!({"version": "absent"}), "missing field `version`"),
        (json!({"version": "x".repeat(65)}), "version: must be at most 64 bytes, got 65"),
        (json!({"version": ".."}), "version: must be of letters"),
        (json!({"version": "current"}), "version: \"current\" is what an archive's folder is called by"),
        (json!({"version": 1}), "version: invalid type"),
        (json!({"url": "absent"}), "missing field `url`"),
        (json!({"url": "gopher://x/a.deb"}), "url: must begin with http://, https://, ftp:// or file:///"),
        (json!({"url": "http://x/a.zip"}), "url: must end in one of .deb, .rpm, .tar.gz, .tgz"),
        (json!({"url": "http://x/a b.deb"}), "url: must not contain spaces"),
        (json!({"url": format!("http://{long}.deb")}), "url: must be at most 512 bytes"),
        (json!({"checksum": "SHA256:12"}), "checksum: must be SHA256: and 64 hexadecimal digits"),
        (json!({"checksum": format!("MD5:{}", "a".repeat(64))}), "checksum: must be SHA256:"),
        (json!({"precheck": long}), "precheck: must be at most 512 bytes, got 513"),
        (json!({"precheck_retries": -1}), "precheck_retries: must be at least 0 retries, got -1"),
        (json!({"precheck_retries": 101}), "precheck_retries: must be at most 100 retries, got 101"),
        (json!({"start": "absent"}), "missing field `start`"),
        (json!({"start": " "}), "start: must not be blank"),
        (json!({"start": "a\u{0}b"}), "start: must not contain a NUL"),
        (json!({"start_delay": 3601}), "start_delay: must be at most 3600 seconds"),
        (json!({"start_delay": "10"}), "start_delay: invalid type: string \"10\""),
        (json!({"stop": "absent"}), "missing field `stop`"),
        (
            json!({"stop": "kill:TREM"}),
            "stop: kill: must be followed by a signal's name or number, got \"TREM\"",
        ),
        (json!({"stop": "kill:0"}), "stop: kill: must be followed by a signal's name or number"),
        (json!({"stop": "process: "}), "stop: process: must be followed by a command"),
        (json!({"stop_timeout": 0}), "stop_timeout: must be at least 1 second, got 0"),
        (
            json!({"check": "ping"}),
            "check: must be process, socket, http:URL or script:COMMAND, got \"ping\"",
        ),
        (json!({"check": "http:ftp://x"}), "check: http: must be followed by a URL of http or https"),
        (json!({"check": "script:"}), "check: script: must be followed by a command"),
        (json!({"check": format!("script:{}", "x".repeat(64))}), "check: must be at most 64 bytes, got 71"),
        (json!({"check": "socket", "socket": "absent"}), "socket: missing, and check is \"socket\""),
        (json!({"socket": "tcp:host"}), "socket: tcp: must be followed by HOST:PORT, got \"host\""),
        (json!({"socket": "tcp:::1:80"}), "socket: tcp: must be followed by HOST:PORT"),
        (json!({"socket": "tcp:a:0"}), "socket: tcp: must be followed by HOST:PORT"),
        (json!({"socket": "run/x.sock"}), "socket: must be an absolute path or tcp:HOST:PORT"),
        (json!({"pidfile": "x.pid"}), "pidfile: must be an absolute path, got \"x.pid\""),
        (json!({"check_interval": 0}), "check_interval: must be at least 1 second, got 0"),
        (json!({"check_failures": 0}), "check_failures: must be at least 1 failure, got 0"),
        (json!({"env": {"A=B": "x"}}), "env: a name must not contain '='"),
        (json!({"env": {"A": "x".repeat(33_000)}}), "env: must be at most 32768 bytes in all"),
        (json!({"limits": {"cpu": "5"}}), ""),
        (json!({"limits": {"cpu": "0%"}}), "limits.cpu: must be 1% to 100000%, got 0%"),
        (json!({"limits": {"cpu": "5.5%"}}), "limits.cpu: invalid type: string \"5.5%\""),
        (json!({"limits": {"cpu": "-5%"}}), "limits.cpu: invalid type"),
        (json!({"limits": {"memory": "100MB"}}), "limits.memory: invalid type: string \"100MB\""),
        (json!({"limits": {"memory": "1K"}}), "limits.memory: must be at least 1048576 bytes, got 1024"),
        (json!({"limits": {"hits": 0}}), "limits.hits: must be at least 1 sample, got 0"),
        (json!({"limits": {"CPU": "5%"}}), "limits.CPU: unknown field `CPU`"),
        (json!({"max_restarts": 100_001}), "max_restarts: must be at most 100000 restarts"),
        (json!({"restart_window": 0}), "restart_window: must be at least 1 second"),
        (json!({"later": 1}), "later: unknown field `later`"),
    ] {
        match parse(&with(&changes)) {
            Ok(_) => assert_eq!(reason, "", "{changes}"),
            Err(error) => assert!(!reason.is_empty() && error.starts_with(reason), "{changes}: {error}"),
        }
    }
}

#[test]
fn signals_are_known_by_name_and_number() {
    for (text, signal, shown) in [
        ("kill:TERM", 15, "kill:TERM"),
        ("kill:SIGHUP", 1, "kill:HUP"),
        ("kill:9", 9, "kill:KILL"),
        ("kill:64", 64, "kill:64"),
    ] {
        let stop: Stop = serde_json::from_value(json!(text)).unwrap();
        assert_eq!((&stop, stop.to_string().as_str()), (&Stop::Kill(signal), shown));
    }
    assert_eq!((signal_name(31), signal_name(15)), ("SIGSYS".into(), "SIGTERM".into()));
}

#[test]
fn what_changes_the_processes_is_told_from_what_does_not() {
    let init = parse(&seed()).unwrap();
    for (changes, same_package, same_processes) in [
        (json!({"check": "script:true", "stop_timeout": 3, "limits": {"cpu": "9%"}}), true, true),
        (json!({"start": "other"}), true, false),
        (json!({"env": {}}), true, false),
        (json!({"limits": {"memory_max": "1G"}}), true, false),
        (json!({"version": "1.0.2"}), false, false),
        (json!({"url": "http://your/other.rpm"}), false, false),
    ] {
        let other = parse(&with(&changes)).unwrap();
        assert_eq!(
            (other.has_package_of(&init), other.runs_as(&init)),
            (same_package, same_processes),
            "{changes}"
        );
    }
}

fn told(name: &str) -> DaemonTold {
    DaemonTold {
        name: name.into(),
        version: "1.0.1".into(),
        status: DaemonStatus::Fatal,
        wanted: Wanted::Running,
        pid: None,
        since: 100,
        restarts: 11,
        removed: false,
    }
}

#[test]
fn an_event_is_a_result_that_names_its_daemon() {
    let outcome = Outcome::with_detail(Retcode::DownloadFailed, "404").with_data(&"last words");
    let event = DaemonEvent { seq: 7, id: "web@100-1".into(), daemon: told("web"), outcome };
    let frame = encode(&Frame::Event(&event));
    let text = std::str::from_utf8(&frame).unwrap();
    assert_eq!(
        text,
        "{\"method\":\"result\",\"seq\":7,\"id\":\"web@100-1\",\"daemon\":{\"name\":\"web\",\
         \"version\":\"1.0.1\",\"status\":\"fatal\",\"wanted\":\"running\",\"since\":100,\"restarts\":11},\
         \"resp\":\"failed\",\"retcode\":3301,\"message\":\"Download failed\",\"detail\":\"404\",\
         \"data\":\"last words\"}\n"
    );
    let Ok(FromAgent::Event(read)) = FromAgent::parse(frame.trim_ascii_end()) else { panic!("{text}") };
    assert_eq!((read.seq, &read.id, &read.daemon), (7, &event.id, &event.daemon));
    assert_eq!(read.outcome.data.unwrap().get(), "\"last words\"");
    for bad in [
        text.replace("\"web\",", "\"../web\","),
        text.replace("\"fatal\"", "\"dead\""),
        text.replace("\"web@100-1\"", "\"\""),
    ] {
        assert!(FromAgent::parse(bad.trim_end().as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn a_host_tells_of_no_more_daemons_than_it_may_have() {
    let daemons =
        |count: usize| Daemons { seq: 7, daemons: (0..count).map(|n| told(&format!("d{n}"))).collect() };
    let frame = encode(&Frame::Daemons(&daemons(MAX_DAEMONS)));
    let Ok(FromAgent::Daemons(read)) = FromAgent::parse(frame.trim_ascii_end()) else { panic!("refused") };
    assert_eq!(read, daemons(MAX_DAEMONS));
    let frame = encode(&Frame::Daemons(&daemons(MAX_DAEMONS + 1)));
    assert!(FromAgent::parse(frame.trim_ascii_end()).is_err());
}

#[test]
fn what_a_host_has_takes_account_of_no_result_where_it_says_of_none() {
    let read = |line: &str| match FromAgent::parse(line.as_bytes()) {
        Ok(FromAgent::Daemons(read)) => read,
        other => panic!("{other:?}"),
    };
    assert_eq!(read(r#"{"method":"daemons","daemons":[]}"#), Daemons { seq: 0, daemons: Vec::new() });
    assert_eq!(read(r#"{"method":"daemons","seq":9,"daemons":[]}"#).seq, 9);
    assert!(FromAgent::parse(br#"{"method":"daemons","seq":-1,"daemons":[]}"#).is_err());
}

#[test]
fn names_of_states_are_those_on_the_wire() {
    for status in DaemonStatus::ALL {
        assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
        assert_eq!(DaemonStatus::named(status.name()), Some(status));
    }
    for wanted in Wanted::ALL {
        assert_eq!(serde_json::to_string(&wanted).unwrap(), format!("{:?}", wanted.name()));
        assert_eq!(Wanted::named(wanted.name()), Some(wanted));
    }
}
