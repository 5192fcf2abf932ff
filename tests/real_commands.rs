//! Commands by the real link: how a command is started, and as whom.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod rig;

use nix::sys::signal::Signal;
use rig::agent::{Agent, Host};
use rig::pki::Ca;
use rig::polaris::Polaris;
use rig::{aloud, connected, is_root, process, until};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

/// What the shell itself has at its start, before it adds to it.
const OWN_ENVIRONMENT: &str = "tr '\\0' '\\n' < /proc/$$/environ";

fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// What `id` says of a user to this test itself.
fn id(arguments: &[&str]) -> String {
    String::from_utf8(Command::new("id").args(arguments).output().unwrap().stdout).unwrap()
}

#[test]
fn every_way_to_end_has_its_reply() {
    let mut session = connected("");
    for (cmd, retcode, message, exitcode, signal) in [
        ("true", 2, "Normal termination", Some(0), None),
        ("exit 3", 3101, "Exited with an error", Some(3), None),
        ("no-such-command-anywhere", 3101, "Exited with an error", Some(127), None),
        ("kill -9 $$", 3102, "Killed by a signal", None, Some(9)),
        ("kill -TERM $$", 3102, "Killed by a signal", None, Some(15)),
        // A real-time signal has no name.
        ("kill -34 $$", 3102, "Killed by a signal", None, Some(34)),
        // It says nothing more, but it has not ended.
        ("exec >&- 2>&-; sleep 0.3; exit 4", 3101, "Exited with an error", Some(4), None),
    ] {
        let reply = session.link.run(cmd);
        let resp = if retcode == 2 { "success" } else { "failed" };
        assert_eq!((&reply["resp"], &reply["retcode"]), (&json!(resp), &json!(retcode)), "{cmd}: {reply}");
        assert_eq!(reply["message"], message, "{cmd}");
        assert_eq!((reply["exitcode"].as_i64(), reply["signal"].as_i64()), (exitcode, signal), "{cmd}");
        assert_eq!(reply["dropped"], 0, "{cmd}");
        let elapsed = reply["elapsed"].as_f64().unwrap();
        assert!(
            (0.0..10.0).contains(&elapsed) && (exitcode != Some(4) || elapsed >= 0.3),
            "{cmd}: {elapsed}"
        );
    }
    let reply = session.link.run("echo out; echo err >&2; exit 1");
    assert_eq!((&reply["data"], &reply["stderr"]), (&json!("out\n"), &json!("err\n")));
    assert_eq!(reply.get("encoding"), None);
    let reply = session.link.run("no-such-command-anywhere");
    assert!(reply["stderr"].as_str().unwrap().contains("no-such-command-anywhere: command not found"));
}

#[test]
fn the_environment_is_the_documented_one_and_what_the_request_adds() {
    let mut session = connected("");
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().expect("this user");
    let documented = [
        format!("HOME={}", user.dir.display()),
        "LANG=C".into(),
        format!("LOGNAME={}", user.name),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
        "SHELL=/bin/bash".into(),
        format!("USER={}", user.name),
    ];
    assert_eq!(lines(&session.link.output_of(OWN_ENVIRONMENT)), documented);
    let env = json!({"LANG": "de_DE.UTF-8", "GREETING": "hello = world\n!", "EMPTY": ""});
    let reply = session
        .link
        .run_with(json!({"cmd": "printf %s. \"$GREETING\" \"$EMPTY\" \"$LANG\" \"$USER\"", "env": env}));
    assert_eq!(reply["data"], format!("hello = world\n!..de_DE.UTF-8.{}.", user.name));
}

#[test]
fn a_command_inherits_nothing_of_the_agents() {
    let mut session = connected("");
    assert_eq!(session.link.output_of("readlink /proc/$$/fd/0; cat"), "/dev/null\n", "and it is at its end");
    // Looked at by a child, so that the shell has no descriptor of the looking.
    assert_eq!(session.link.output_of("ls /proc/$$/fd; true"), "0\n1\n2\n");
    assert_eq!(session.link.output_of("umask"), "0022\n");
    // Fields 5 and 6 of stat are the process group and the session.
    let led = session.link.output_of("echo $$ $$; cut -d' ' -f5,6 /proc/$$/stat");
    let led: Vec<&str> = led.lines().collect();
    assert_eq!(led[0], led[1], "the leader of its own group and session");
    let status = session.link.output_of("exec cat /proc/self/status");
    for mask in ["SigBlk", "SigIgn", "SigCgt"] {
        let line = status.lines().find(|line| line.starts_with(mask)).expect(mask);
        assert!(line.ends_with("\t0000000000000000"), "blocked, ignored or caught signals: {line}");
    }
}

#[test]
fn what_the_agents_starter_ignored_is_no_matter() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = Host::enrolled(&ca);
    host.configure(&polaris.server(), "");
    let gearman = host.command();
    let mut starter = Command::new("bash");
    starter.args(["-c", "trap '' HUP INT TERM USR1 CHLD PIPE; exec \"$0\" \"$@\" -f"]);
    let mut agent = Agent::of(starter.arg(gearman.get_program()).args(gearman.get_args()).spawn().unwrap());
    let mut link = polaris.ready();
    assert_eq!(link.output_of("grep SigIgn /proc/$$/status"), "SigIgn:\t0000000000000000\n");
    assert_eq!(link.run("kill -INT $$")["signal"], 2);
    agent.signal(Signal::SIGUSR1);
    host.logged(&["agent=status"]);
    agent.signal(Signal::SIGHUP);
    host.logged(&["config=reloaded"]);
    agent.signal(Signal::SIGTERM);
    assert!(agent.ended().success());
}

#[test]
fn the_working_directory_is_the_root_or_the_one_asked_for() {
    let mut session = connected("");
    assert_eq!(session.link.output_of("pwd"), "/\n");
    let folder = session.host.folder().to_str().unwrap().to_owned();
    assert_eq!(session.link.run_with(json!({"cmd": "pwd", "cwd": folder}))["data"], format!("{folder}\n"));
    for cwd in ["/no/such/folder".to_owned(), format!("{folder}/gearman.conf")] {
        let reply = session.link.run_with(json!({"cmd": "pwd", "cwd": cwd}));
        assert_eq!((&reply["retcode"], &reply["message"]), (&json!(3107), &json!("Could not start")));
        assert!(reply["detail"].as_str().unwrap().contains(&cwd), "{reply}");
        assert_eq!(reply.get("data"), None, "what did not run wrote nothing");
    }
}

#[test]
fn a_shell_that_is_not_there_is_named() {
    let mut session = connected("shell = \"/no/such/shell\"");
    let reply = session.link.run("true");
    assert_eq!(reply["retcode"], 3107, "{reply}");
    assert!(reply["detail"].as_str().unwrap().contains("/no/such/shell"), "{reply}");
}

#[test]
fn a_command_runs_as_the_user_and_group_asked_for() {
    let mut session = connected("");
    let mut as_whom = |who: Value| {
        let mut arguments = json!({"cmd": "id; echo $HOME $USER $LOGNAME"});
        arguments.as_object_mut().unwrap().extend(who.as_object().unwrap().clone());
        session.link.run_with(arguments)
    };
    // By any of its names the agent's own user is permitted to everybody.
    let (own, number) = (id(&["-un"]), id(&["-u"]));
    for user in [json!(own.trim()), json!(number.trim()), json!(number.trim().parse::<u32>().unwrap())] {
        let reply = as_whom(json!({"user": user}));
        assert!(reply["data"].as_str().unwrap().starts_with(&id(&[])), "{user}: {reply}");
    }
    if !is_root() {
        aloud("that commands run as others, which needs root; that nobody else may was seen");
        let other = if own.trim() == "nobody" { "daemon" } else { "nobody" };
        for (who, field) in [(json!({"user": other}), "user"), (json!({"group": "sys"}), "group")] {
            let reply = as_whom(who);
            assert_eq!(reply["retcode"], 3025, "{reply}");
            assert!(reply["detail"].as_str().unwrap().starts_with(&format!("{field}: ")), "{reply}");
        }
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("nobody");
    let home = format!("{} nobody nobody\n", nobody.dir.display());
    for user in [json!("nobody"), json!(nobody.uid.as_raw()), json!(nobody.uid.as_raw().to_string())] {
        let reply = as_whom(json!({"user": user}));
        assert_eq!(reply["data"], id(&["nobody"]) + &home, "{user}: primary and supplementary groups");
    }
    // The group takes the place of the user's own; the supplementary ones are the user's.
    let group = nix::unistd::Group::from_name("daemon").unwrap().expect("daemon").gid;
    for group in [json!("daemon"), json!(group.as_raw())] {
        let reply = as_whom(json!({"user": "nobody", "group": group}));
        let seen = reply["data"].as_str().unwrap();
        assert!(seen.contains("uid=65534(nobody)") && seen.contains("gid=1(daemon)"), "{seen}");
        assert!(!seen.contains("root"), "{seen}");
    }
    for who in [
        json!({"user": "no-such-user"}),
        json!({"user": "nobody", "group": "no-such-group"}),
        json!({"user": 4_000_000_000_u32}),
    ] {
        let reply = as_whom(who);
        assert_eq!((&reply["retcode"], &reply["message"]), (&json!(3023), &json!("No such user or group")));
        let detail = reply["detail"].as_str().unwrap();
        assert!(detail.contains("no-such-") || detail.contains("4000000000"), "{reply}");
    }
    session.agent.alone();
}

#[test]
fn what_is_wrong_with_a_request_is_said_with_its_field() {
    let mut session = connected("");
    let long = "x".repeat(128 * 1024);
    for (request, retcode, detail) in [
        (json!({"id": "a", "cmd": "true"}), 3020, "method: missing"),
        (json!({"id": "a", "method": 7}), 3020, "method: must be a string"),
        (json!({"id": "a", "method": "sync.zsh"}), 3022, "sync.zsh"),
        (json!({"id": "a", "method": "sync.bash"}), 3021, "cmd"),
        (json!({"id": "a", "method": "sync.bash", "cmd": ""}), 3021, "cmd: must not be empty"),
        (json!({"id": "a", "method": "sync.bash", "cmd": 1}), 3021, "cmd: "),
        (json!({"id": "a", "method": "sync.bash", "cmd": "a\0b"}), 3021, "cmd: must not contain a NUL"),
        (json!({"id": "a", "method": "sync.bash", "cmd": long}), 3021, "cmd: must be at most 131071 bytes"),
        (
            json!({"id": "a", "method": "sync.bash", "cmd": "true", "timeout": 0}),
            3021,
            "timeout: must be at least 1 second, got 0",
        ),
        (json!({"id": "a", "method": "sync.bash", "cmd": "true", "timeout": 86401}), 3021, "timeout: "),
        (json!({"id": "a", "method": "sync.bash", "cmd": "true", "timeout": "1"}), 3021, "timeout: "),
        (json!({"id": "a", "method": "sync.bash", "cmd": "true", "user": ""}), 3021, "user: "),
        (
            json!({"id": "a", "method": "sync.bash", "cmd": "true", "group": 4_294_967_296_u64}),
            3021,
            "group: ",
        ),
        (json!({"id": "a", "method": "sync.bash", "cmd": "true", "cwd": "tmp"}), 3021, "cwd: "),
        (json!({"id": "a", "method": "sync.bash", "cmd": "true", "env": {"A=B": ""}}), 3021, "env"),
        (json!({"id": "a", "method": "sync.bash", "cmd": "true", "env": {"A": 1}}), 3021, "env"),
        (json!({"id": "a", "method": "sync.bash", "cmd": "true", "tiemout": 1}), 3021, "tiemout"),
    ] {
        let reply = session.link.ask(&request);
        assert_eq!(
            (&reply["resp"], &reply["retcode"]),
            (&json!("failed"), &json!(retcode)),
            "{request}: {reply}"
        );
        assert!(reply["detail"].as_str().unwrap().contains(detail), "{request}: {reply}");
    }
    for id in [json!(null), json!(7), json!(""), json!("x".repeat(129))] {
        session.link.send(&json!({"id": id, "method": "agent.info"}));
        let reply = session.link.receive();
        assert_eq!((&reply["id"], &reply["retcode"]), (&json!(""), &json!(3020)), "{reply}");
        assert!(reply["detail"].as_str().unwrap().starts_with("id: "), "{reply}");
    }
    assert_eq!(session.link.output_of("echo still there"), "still there\n");
}

#[test]
fn only_what_the_configuration_allows_is_run() {
    let mut session = connected("allow = [\"echo [a-z]+\", \"uptime\"]");
    assert_eq!(session.link.output_of("echo hello"), "hello\n");
    let trace = session.host.path("trace");
    for cmd in [format!("echo hi; touch {trace:?}"), format!("echo hi\ntouch {trace:?}"), "ECHO hi".into()] {
        let reply = session.link.run(&cmd);
        assert_eq!((&reply["retcode"], &reply["message"]), (&json!(3025), &json!("Not permitted")), "{cmd}");
        assert!(reply["detail"].as_str().unwrap().starts_with("cmd: exec.allow"), "{reply}");
    }
    assert!(!trace.exists());
}

#[test]
fn two_hundred_at_once_have_each_their_own_output_and_no_more_than_the_limit_run() {
    const COMMANDS: usize = 200;
    const LIMIT: usize = 8;
    let mut session = connected(&format!("max_children = {LIMIT}"));
    let folder = session.host.path("running");
    fs::create_dir(&folder).unwrap();
    for n in 0..COMMANDS {
        // Each says how many it found running, itself among them.
        let cmd = format!("cd {folder:?}; : > {n}; set -- *; echo {n} $#; sleep 0.02; rm {n}");
        session.link.bash(&format!("id-{n}"), &cmd);
    }
    let mut answered = [false; COMMANDS];
    let mut most = 0;
    for _ in 0..COMMANDS {
        let reply = session.link.receive();
        let data = reply["data"].as_str().unwrap_or_else(|| panic!("{reply}"));
        let (n, running) = data.trim().split_once(' ').unwrap();
        assert_eq!(reply["id"], format!("id-{n}"));
        assert!(!std::mem::replace(&mut answered[n.parse::<usize>().unwrap()], true), "{n} twice");
        most = most.max(running.parse().unwrap());
    }
    assert!((2..=LIMIT).contains(&most), "{most} ran at once");
    session.agent.alone();
}

#[test]
fn beyond_the_queue_the_answer_is_busy() {
    let mut session = connected("max_children = 1");
    session.link.bash("first", "sleep 60");
    for n in 0..1024 {
        session.link.bash(&format!("waits-{n}"), "true");
    }
    session.link.bash("last", "true");
    let reply = session.link.receive();
    assert_eq!((&reply["id"], &reply["retcode"]), (&json!("last"), &json!(3026)), "{reply}");
    assert!(reply["detail"].as_str().unwrap().contains("1024 wait"), "{reply}");
    let info = session.link.ask(&json!({"id": "info", "method": "agent.info"}));
    assert_eq!((&info["data"]["running"], &info["data"]["waiting"]), (&json!(1), &json!(1024)), "{info}");
}

#[test]
fn without_descriptors_commands_are_refused_and_later_ones_run() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = Host::enrolled(&ca);
    host.configure(&polaris.server(), "");
    let gearman = host.command();
    let mut starter = Command::new("bash");
    starter.args(["-c", "ulimit -n 24; exec \"$0\" \"$@\" -f"]);
    let agent = Agent::of(starter.arg(gearman.get_program()).args(gearman.get_args()).spawn().unwrap());
    let mut link = polaris.ready();
    link.output_of("true");
    let before = process::descriptors(agent.pid());
    let go = host.path("go");
    let cmd = format!("until [ -e {go:?} ]; do sleep 0.05; done");
    for n in 0..30 {
        link.bash(&format!("{n}"), &cmd);
    }
    let first = link.receive();
    fs::write(&go, "").unwrap();
    let replies: Vec<Value> = std::iter::once(first).chain((1..30).map(|_| link.receive())).collect();
    let (ran, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply["retcode"] == 2);
    assert!(!ran.is_empty() && !refused.is_empty(), "{replies:?}");
    for reply in refused {
        assert_eq!(reply["retcode"], 3107, "{reply}");
        assert!(reply["detail"].as_str().unwrap().contains("Too many open files"), "{reply}");
    }
    assert_eq!(link.output_of("echo hi"), "hi\n");
    agent.alone();
    until("the descriptors to be as before", || (process::descriptors(agent.pid()) == before).then_some(()));
}

#[test]
fn neither_zombies_nor_descriptors_are_left_by_commands_of_every_shape() {
    let mut session = connected("");
    session.link.output_of("true");
    let before = process::descriptors(session.agent.pid());
    let shapes = [
        "true",
        "exit 9",
        "kill -9 $$",
        "no-such-command",
        "yes | head -c 300000",
        "exec >&- 2>&-",
        "sleep 0.01 & sleep 0.02 & true",
        "(sleep 0.01 &)",
        "sleep 0.01 | cat",
        "(setsid sleep 0.01 &) ; true",
        "cat",
        "yes >&2 | true",
        "for i in 1 2 3 4 5 6 7 8; do (sleep 0.01; exit $i) & done",
    ];
    let mut sent = 0;
    for round in 0..5 {
        for (n, cmd) in shapes.iter().enumerate() {
            session.link.send(
                &json!({"id": format!("{round}-{n}"), "method": "sync.bash", "cmd": cmd, "timeout": 1}),
            );
            sent += 1;
        }
        for cwd in ["/no/such/folder", "/"] {
            let id = format!("{round}-in-{cwd}");
            session.link.send(
                &json!({"id": id, "method": "sync.bash", "cmd": "true", "cwd": cwd, "user": 12_345_678}),
            );
            sent += 1;
        }
    }
    for _ in 0..sent {
        session.link.receive();
    }
    session.agent.alone();
    until("the descriptors to be as before", || {
        (process::descriptors(session.agent.pid()) == before).then_some(())
    });
    assert_eq!(
        (process::zombies(session.agent.pid()), process::status(session.agent.pid(), "Threads")),
        (0, "1".into())
    );
}
