//! What the agent does with requests: simulated children, stepped time.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

mod sim;

use aspire::gearman::{Config, ConfigSource, Gearman};
use aspire::machine::{
    Credentials, Effect, Event, Exit, Identity, Machine as _, Program, Signal, StartError, Stream, Task,
};
use aspire::wire::Account;
use aspire::wire::frame::encode;
use aspire::wire::session::Frame;
use serde_json::json;
use sim::agent::{Agent, reply, started, text};
use sim::{Rig, root};
use std::path::Path;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_command_is_bash_with_a_documented_environment() {
    let mut agent = Agent::new("");
    let (_, launch) = agent.starts("a", &json!({"env": {"LANG": "C.UTF-8", "X": "y"}}));
    assert_eq!(launch.argv, ["/bin/bash", "-c", "cmd"]);
    let env: Vec<String> = launch.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        env,
        [
            "HOME=/root",
            "LANG=C.UTF-8",
            "LOGNAME=root",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "SHELL=/bin/bash",
            "USER=root",
            "X=y",
        ]
    );
    assert_eq!(launch.cwd, "/");
    assert_eq!(launch.credentials, Some(Credentials { uid: 0, gid: 0, groups: vec![0] }));
}

#[test]
fn a_directory_is_looked_at_by_a_child_before_the_command_starts_there() {
    let mut agent = Agent::new("");
    let frame = |id: &str| json!({"id": id, "method": "sync.bash", "cmd": "cmd", "cwd": "/srv"});
    let effects = agent.asks(&frame("a"));
    let [Effect::Spawn { child, program: Program::Task(Task::Reach(path)) }] = &effects[..] else {
        panic!("no look at it: {effects:?}")
    };
    assert_eq!(path, "/srv");
    agent.rig.event(Event::Output(*child, Stream::Out, b"null"));
    let (_, launch) = started(&agent.ends(*child, Exit::Code(0)));
    assert_eq!(launch.cwd, "/srv");

    // On a dead mount the look never ends; it costs its own reply and nothing else.
    let [Effect::Spawn { child, .. }] = agent.asks(&frame("b"))[..] else { panic!("no look at it") };
    let effects = agent.rig.tick();
    assert_eq!(effects[..2], [Effect::Signal { child, signal: libc::SIGKILL }, Effect::Release { child }]);
    let (_, outcome) = reply(&effects);
    assert_eq!(outcome.retcode, 3107);
    assert!(outcome.detail.is_some_and(|detail| detail.starts_with("cwd: ")));
}

#[test]
fn the_reply_says_how_the_command_ended() {
    for (exit, retcode, exitcode, signal) in [
        (Exit::Code(0), 2, Some(0), None),
        (Exit::Code(7), 3101, Some(7), None),
        (Exit::Signal(11), 3102, None, Some(11)),
    ] {
        let mut agent = Agent::new("");
        let (child, _) = agent.starts("a", &json!({}));
        agent.rig.pass(SECOND / 4);
        agent.rig.event(Event::Output(child, Stream::Out, b"out"));
        agent.rig.event(Event::Output(child, Stream::Err, b"err"));
        let (id, outcome) = reply(&agent.ends(child, exit));
        assert_eq!((id.as_str(), outcome.retcode), ("a", retcode));
        assert_eq!((outcome.exitcode, outcome.signal), (exitcode, signal));
        assert_eq!((text(&outcome).as_str(), outcome.stderr.as_deref()), ("out", Some("err")));
        assert_eq!((outcome.elapsed, outcome.dropped), (Some(0.25), Some(0)));
    }
}

#[test]
fn end_of_process_and_end_of_pipes_come_in_either_order() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({}));
    agent.rig.event(Event::Exited(child, Exit::Code(0)));
    agent.rig.event(Event::Output(child, Stream::Out, b"late"));
    agent.rig.event(Event::OutputEnded(child, Stream::Err));
    let (_, outcome) = reply(&agent.rig.event(Event::OutputEnded(child, Stream::Out)));
    assert_eq!((outcome.retcode, text(&outcome).as_str()), (2, "late"));
}

#[test]
fn a_descendant_that_holds_the_pipes_delays_the_reply_a_bounded_moment() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({}));
    let exited = agent.rig.now.mono;
    agent.rig.event(Event::Exited(child, Exit::Code(0)));
    agent.rig.event(Event::Output(child, Stream::Out, b"so far"));
    let effects = agent.rig.tick();
    assert_eq!(effects[0], Effect::Release { child });
    let (_, outcome) = reply(&effects);
    assert_eq!((outcome.retcode, text(&outcome).as_str()), (2, "so far"));
    assert!(agent.rig.now.mono.since(exited) <= SECOND / 2);
}

#[test]
fn a_command_that_shrugs_is_killed_at_the_third_time_out() {
    let mut agent = Agent::new("[exec]\ngrace = 2");
    let (child, _) = agent.starts("a", &json!({"timeout": 5}));
    agent.rig.event(Event::Output(child, Stream::Out, b"so far"));
    assert_eq!(agent.next_signal(), (libc::SIGINT, 5 * SECOND));
    assert_eq!(agent.next_signal(), (libc::SIGINT, 2 * SECOND));
    assert_eq!(agent.next_signal(), (libc::SIGKILL, 2 * SECOND));
    let (_, outcome) = reply(&agent.ends(child, Exit::Signal(9)));
    assert_eq!((outcome.retcode, outcome.signal, text(&outcome).as_str()), (3104, Some(9), "so far"));
    assert_eq!(outcome.elapsed, Some(9.0));
}

#[test]
fn the_time_of_a_command_begins_with_its_process() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({"timeout": 5}));
    agent.rig.pass(2 * SECOND);
    agent.rig.event(Event::Started(child, None));
    assert_eq!(agent.next_signal(), (libc::SIGINT, 5 * SECOND));
    assert_eq!(reply(&agent.ends(child, Exit::Signal(2))).1.elapsed, Some(5.0));
}

#[test]
fn a_command_that_obeys_has_timed_out_whatever_it_says_then() {
    for (interrupts, exit) in [(1, Exit::Signal(2)), (1, Exit::Code(0)), (2, Exit::Code(130))] {
        let mut agent = Agent::new("");
        let (child, _) = agent.starts("a", &json!({"timeout": 5}));
        for _ in 0..interrupts {
            assert_eq!(agent.next_signal().0, libc::SIGINT);
        }
        assert_eq!(reply(&agent.ends(child, exit)).1.retcode, 3103);
    }
}

#[test]
fn a_process_that_sigkill_cannot_end_does_not_block_the_answer() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({"timeout": 5}));
    for expected in [libc::SIGINT, libc::SIGINT, libc::SIGKILL] {
        assert_eq!(agent.next_signal().0, expected);
    }
    let effects = agent.rig.tick();
    assert_eq!(effects[0], Effect::Release { child });
    let (_, outcome) = reply(&effects);
    assert_eq!(outcome.retcode, 3104);
    assert!(outcome.detail.is_some_and(|detail| detail.contains("not ended")));
}

#[test]
fn a_read_that_fails_kills_at_once() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({}));
    let effects = agent.rig.event(Event::OutputFailed(child, Stream::Out, "I/O error".into()));
    assert_eq!(effects, [Effect::Signal { child, signal: libc::SIGKILL }]);
    agent.rig.event(Event::OutputEnded(child, Stream::Err));
    let (_, outcome) = reply(&agent.rig.event(Event::Exited(child, Exit::Signal(9))));
    assert_eq!((outcome.retcode, outcome.signal), (3106, Some(9)));
}

#[test]
fn a_read_that_fails_after_the_end_is_no_success() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({}));
    assert_eq!(agent.rig.event(Event::Exited(child, Exit::Code(0))), []);
    assert_eq!(agent.rig.event(Event::OutputFailed(child, Stream::Out, "I/O error".into())), []);
    let (_, outcome) = reply(&agent.rig.event(Event::OutputEnded(child, Stream::Err)));
    assert_eq!((outcome.retcode, outcome.exitcode), (3106, Some(0)));
}

#[test]
fn an_agent_that_was_held_up_gives_the_whole_grace_all_the_same() {
    let mut agent = Agent::new("[exec]\ngrace = 2");
    agent.starts("a", &json!({"timeout": 5}));
    agent.rig.pass(60 * SECOND);
    assert_eq!(agent.next_signal(), (libc::SIGINT, Duration::ZERO));
    assert_eq!(agent.next_signal(), (libc::SIGINT, 2 * SECOND));
    assert_eq!(agent.next_signal(), (libc::SIGKILL, 2 * SECOND));
}

#[test]
fn the_step_that_failed_at_the_start_is_named() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({}));
    let error = StartError { step: "cwd: chdir to /nowhere".into(), reason: "No such file".into() };
    let (_, outcome) = reply(&agent.rig.event(Event::NotStarted(child, error)));
    assert_eq!(outcome.retcode, 3107);
    assert_eq!(outcome.detail.as_deref(), Some("cwd: chdir to /nowhere: No such file"));
}

#[test]
fn places_are_limited_the_queue_keeps_its_order_and_has_an_end() {
    let mut agent = Agent::new("[exec]\nmax_children = 2");
    let frame = |n: usize| json!({"id": n.to_string(), "method": "sync.bash", "cmd": n.to_string()});
    let mut running = vec![started(&agent.asks(&frame(0))).0, started(&agent.asks(&frame(1))).0];
    for n in 2..1026 {
        assert_eq!(agent.asks(&frame(n)), [], "{n} waits");
    }
    let (id, outcome) = reply(&agent.asks(&frame(1026)));
    assert_eq!((id.as_str(), outcome.retcode), ("1026", 3026));
    for next in 2..1026 {
        let ended = running.remove(0);
        let effects = agent.ends(ended, Exit::Code(0));
        let (child, launch) = started(&effects[..1]);
        assert_eq!(launch.argv[2], next.to_string());
        assert_eq!(reply(&effects[1..]).0, (next - 2).to_string());
        running.push(child);
    }
}

#[test]
fn the_queue_has_an_end_in_bytes_too() {
    let mut agent = Agent::new("[exec]\nmax_children = 1");
    agent.starts("first", &json!({}));
    let large = "x".repeat(131_000);
    let frame =
        |n: usize| json!({"id": n.to_string(), "method": "sync.bash", "cmd": large, "env": {"A": large}});
    let refused = (0..1024).map(|n| (n, agent.asks(&frame(n)))).find(|(_, effects)| !effects.is_empty());
    let (n, effects) = refused.expect("1024 of them are 256 MiB");
    assert!((16..200).contains(&n), "{n}");
    assert_eq!(reply(&effects).1.retcode, 3026);
    assert_eq!(agent.asks(&json!({"id": "small", "method": "sync.bash", "cmd": "true"})), [], "it waits");
}

#[test]
fn other_users_are_looked_up_in_a_child() {
    let mut agent = Agent::new("");
    let frame = json!({"id": "a", "method": "sync.bash", "cmd": "id", "user": "www", "group": 33});
    let effects = agent.asks(&frame);
    let [Effect::Spawn { child, program: Program::Task(task) }] = &effects[..] else {
        panic!("no look-up: {effects:?}")
    };
    let (user, group) = (Account::Name("www".into()), Some(Account::Id(33)));
    assert_eq!(task, &Task::Identify { user, group });
    let www = Identity {
        uid: 80,
        gid: 33,
        groups: vec![33, 44],
        name: "www".into(),
        home: "/srv".into(),
        ..root()
    };
    let answer = serde_json::to_vec(&Some(www)).unwrap();
    agent.rig.event(Event::Output(*child, Stream::Out, &answer));
    let (_, launch) = started(&agent.ends(*child, Exit::Code(0)));
    assert_eq!(launch.credentials, Some(Credentials { uid: 80, gid: 33, groups: vec![33, 44] }));
    assert!(launch.env.contains(&("HOME".into(), "/srv".into())));
    assert!(launch.env.contains(&("USER".into(), "www".into())));
}

#[test]
fn an_unknown_user_is_3023_and_a_look_up_that_hangs_is_given_up() {
    let mut agent = Agent::new("");
    let frame = |id: &str| json!({"id": id, "method": "sync.bash", "cmd": "id", "user": "ghost"});
    let [Effect::Spawn { child, .. }] = agent.asks(&frame("a"))[..] else { panic!("no look-up") };
    agent.rig.event(Event::Output(child, Stream::Out, b"null"));
    let (_, outcome) = reply(&agent.ends(child, Exit::Code(0)));
    assert_eq!(outcome.retcode, 3023);
    assert!(outcome.detail.is_some_and(|detail| detail.contains("ghost")));

    let [Effect::Spawn { child, .. }] = agent.asks(&frame("b"))[..] else { panic!("no look-up") };
    let effects = agent.rig.tick();
    assert_eq!(effects[0], Effect::Signal { child, signal: libc::SIGKILL });
    assert_eq!(reply(&effects).1.retcode, 3107);
}

#[test]
fn an_agent_that_is_not_root_runs_as_itself_and_as_nobody_else() {
    let me = Identity { uid: 1000, gid: 1000, name: "me".into(), group_name: "us".into(), ..root() };
    let mut agent = Agent::running_as("", me);
    for own in [json!({}), json!({"user": "me"}), json!({"user": 1000, "group": "us"})] {
        let (_, launch) = agent.starts(&own.to_string(), &own);
        assert_eq!(launch.credentials, None);
    }
    for (n, other) in
        [json!({"user": "root"}), json!({"user": 0}), json!({"group": "wheel"})].iter().enumerate()
    {
        let mut frame = json!({"id": n.to_string(), "method": "sync.bash", "cmd": "id"});
        frame.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        assert_eq!(reply(&agent.asks(&frame)).1.retcode, 3025, "{other}");
    }
}

#[test]
fn a_command_that_the_host_does_not_allow_is_refused() {
    let mut agent = Agent::new("[exec]\nallow = [\"cmd\"]");
    agent.starts("a", &json!({}));
    let (_, outcome) = reply(&agent.asks(&json!({"id": "b", "method": "sync.bash", "cmd": "cmd; rm"})));
    assert_eq!(outcome.retcode, 3025);
}

#[test]
fn bad_requests_are_answered_and_the_link_goes_on() {
    let mut agent = Agent::new("");
    for (frame, retcode) in [
        (json!({"method": "sync.bash", "cmd": "x"}), 3020),
        (json!({"id": "a"}), 3020),
        (json!({"id": "a", "method": "sync.bash", "cmd": "x", "timeout": 0}), 3021),
        (json!({"id": "a", "method": "rm"}), 3022),
    ] {
        assert_eq!(reply(&agent.asks(&frame)).1.retcode, retcode, "{frame}");
    }
    agent.starts("a", &json!({}));
}

#[test]
fn a_repeated_id_is_not_run_again_not_even_over_another_link() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({}));
    let frame = json!({"id": "a", "method": "sync.bash", "cmd": "cmd"});
    assert_eq!(agent.asks(&frame), [], "it runs already");

    agent.rig.event(Event::Closed(agent.conn, aspire::machine::ConnectionEnd::ByPeer));
    let [Effect::Connect { conn, .. }] = agent.rig.tick()[..] else { panic!("no new dial") };
    agent.rig.event(Event::Connected(conn));
    agent.rig.event(Event::Received(conn, &encode(&Frame::Ready { heartbeat: 60, facts: None })));
    agent.conn = conn;
    assert_eq!(agent.asks(&frame), [], "it runs still, and the new link will have the answer");
    let effects = agent.ends(child, Exit::Code(0));
    assert!(matches!(effects[..], [Effect::Send { conn: to, .. }] if to == conn));
    assert_eq!(agent.asks(&frame), effects, "the stored reply, to the letter");
}

#[test]
fn agent_info_says_what_it_is_and_does() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({}));
    agent.rig.event(Event::Started(child, None));
    let (_, outcome) = reply(&agent.asks(&json!({"id": "b", "method": "agent.info"})));
    let info: serde_json::Value = serde_json::from_str(outcome.data.unwrap().get()).unwrap();
    assert_eq!((&info["hostname"], &info["running"]), (&json!(sim::HOST_ID), &json!(1)));
    assert_eq!((&info["link"]["state"], &info["link"]["server"]), (&json!("ready"), &json!("10.0.0.1:8181")));
    assert_eq!((&info["counters"]["commands"], &info["counters"]["links"]), (&json!(1), &json!(1)));
    assert!(info["memory"].as_u64() >= Some(1500 * 4096), "{info}");
}

/// The configuration, as it is read again.
fn reread(answer: Result<Option<&[u8]>, String>) -> Event<'_> {
    Event::FileRead(Path::new("/etc/cargo/gearman.conf"), answer)
}

/// What every configuration that is taken asks for; it changes nothing where it is as before.
fn listen() -> Effect {
    Effect::Listen { path: "/var/run/cargo/gearman.sock".into() }
}

#[test]
fn a_hangup_reads_the_configuration_again_and_keeps_the_old_one_where_the_new_is_wrong() {
    let mut agent = Agent::new("");
    let effects = agent.rig.event(Event::Signal(Signal::Reload));
    let path = "/etc/cargo/gearman.conf".into();
    assert_eq!(effects, [Effect::ReopenLog, Effect::ReadFile { path }]);
    for bad in [Ok(Some(&b"[exec]\ngrace = 0"[..])), Ok(Some(b"\xff")), Ok(None), Err("denied".into())] {
        assert_eq!(agent.rig.event(reread(bad)), []);
        assert_eq!(agent.starts(&format!("{:?}", agent.rig.now), &json!({})).1.argv[0], "/bin/bash");
        agent.rig.pass(SECOND);
    }
    // The same link settings: the link stays; the new shell is used from now on.
    let same =
        b"[link]\nserver = \"10.0.0.1\"\n[exec]\nshell = \"/bin/dash\"\n[store]\npath = \"/dev/null/x\"";
    assert_eq!(agent.rig.event(reread(Ok(Some(same)))), [listen()]);
    assert_eq!(agent.starts("dash", &json!({})).1.argv[0], "/bin/dash");
    // Another server: the link is made anew, at once.
    let effects =
        agent.rig.event(reread(Ok(Some(b"[link]\nserver = \"10.0.0.2\"\n[store]\npath = \"/dev/null/x\""))));
    assert_eq!(effects, [Effect::Close { conn: agent.conn }, listen()]);
    assert_eq!(agent.rig.machine.deadline(), Some(agent.rig.now.mono));
    assert!(
        matches!(agent.rig.tick()[..], [Effect::Connect { to, .. }] if to.ip().to_string() == "10.0.0.2")
    );
}

#[test]
fn a_default_configuration_that_is_not_there_is_an_empty_one_as_at_the_start() {
    let config = Config::parse("[link]\nserver = \"10.0.0.1\"", None).unwrap();
    let source = ConfigSource { path: "/etc/cargo/gearman.conf".into(), was_named: false, servers: None };
    let mut rig = Rig::new(|now| Gearman::new(now, sim::host(root()), source, config, Err(String::new()), 1));
    let [Effect::Connect { conn, .. }] = rig.tick()[..] else { panic!("no connect") };
    assert_eq!(rig.event(reread(Ok(None))), [Effect::Close { conn }, listen()]);
    let effects = rig.tick();
    let [Effect::Spawn { program: Program::Task(Task::Resolve(server)), .. }] = &effects[..] else {
        panic!("no look-up: {effects:?}")
    };
    assert_eq!(server.host, "config.cargo.com");
}

#[test]
fn more_places_are_filled_at_once_from_the_queue() {
    let mut agent = Agent::new("[exec]\nmax_children = 1");
    agent.starts("first", &json!({}));
    for n in 0..3 {
        agent.asks(&json!({"id": n.to_string(), "method": "sync.bash", "cmd": "cmd"}));
    }
    let more = b"[link]\nserver = \"10.0.0.1\"\n[exec]\nmax_children = 3\n[store]\npath = \"/dev/null/x\"";
    let effects = agent.rig.event(reread(Ok(Some(more))));
    assert!(matches!(effects[..], [Effect::Spawn { .. }, Effect::Spawn { .. }, _]), "{effects:?}");
}

#[test]
fn a_hangup_during_a_stop_leaves_the_link_for_the_last_answers() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({}));
    agent.rig.event(Event::Signal(Signal::Stop));
    assert_eq!(agent.rig.event(Event::Signal(Signal::Reload)), [Effect::ReopenLog]);
    let effects = agent.ends(child, Exit::Signal(15));
    assert_eq!(reply(&effects).1.retcode, 3108);
    assert_eq!(effects[1..], [Effect::Close { conn: agent.conn }, Effect::Stop]);
}
