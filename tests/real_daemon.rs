//! The program as a daemon: its start and its end, its signals, its command line.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![expect(clippy::disallowed_methods, reason = "what the contract says in seconds is measured in seconds")]

mod rig;

use nix::sys::signal::Signal;
use rig::agent::{Host, gearman, parts, signal, text};
use rig::pki::Ca;
use rig::polaris::Polaris;
use rig::{connected, process, until};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

/// A host whose servers are this Polaris.
fn host_of(polaris: &Polaris, ca: &Ca) -> Host {
    let host = Host::enrolled(ca);
    host.configure(&polaris.server(), "");
    host
}

/// Runs it to its end, which must be with exit code 1, and returns what it says.
fn refusal(command: &mut Command) -> String {
    let (code, out, err) = parts(&command.output().unwrap());
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert_eq!(err.lines().count(), 1, "one sentence: {err}");
    err
}

fn ended(pid: u32) {
    until("the daemon to end", || (!process::is_alive(pid)).then_some(()));
}

#[test]
fn the_starter_returns_when_the_daemon_is_ready_and_the_daemon_is_one() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = host_of(&polaris, &ca);
    let output = host.command().output().unwrap();
    assert_eq!(parts(&output), (Some(0), String::new(), String::new()));
    // From here on nothing is waited for: it said that it is ready.
    let pid = host.pid().expect("the pid file");
    assert_eq!(fs::read_to_string(host.path("gearman.pid")).unwrap(), format!("{pid}\n"));
    assert!(process::is_alive(pid));
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/"));
    let session = |pid| nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(pid))).unwrap();
    assert_ne!(session(pid.cast_signed()), session(0), "a session of its own");
    assert_ne!(session(pid.cast_signed()).as_raw(), pid.cast_signed(), "which it does not lead");
    for fd in 0..3 {
        assert_eq!(fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap().to_str(), Some("/dev/null"));
    }
    host.logged(&["agent=started", &format!("pid={pid}")]);
    assert_eq!(polaris.ready().output_of("pwd"), "/\n");
    signal(pid, Signal::SIGTERM);
    ended(pid);
    assert!(!host.path("gearman.pid").exists());
    host.logged(&["agent=stopped"]);
}

#[test]
fn what_keeps_it_from_starting_is_said_by_the_starter() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    for foreground in [false, true] {
        let command = |host: &Host| {
            let mut command = host.command();
            command.args(foreground.then_some("-f"));
            command
        };
        let host = Host::new();
        host.configure(&polaris.server(), "");
        let said = refusal(&mut command(&host));
        assert!(
            said.contains("not enrolled") && said.contains("--enroll") && said.contains("cert.pem"),
            "{said}"
        );
        assert!(!host.path("gearman.pid").exists(), "no pid file of one that did not start");

        let host = host_of(&polaris, &ca);
        // A file in the place of the folder stops root, too.
        let below_a_file = host.path("gearman.conf").join("x");
        for (flag, what) in [("-L", "log file"), ("-P", "pid file")] {
            let place = |name, its| if flag == its { below_a_file.clone() } else { host.path(name) };
            let mut command = gearman();
            command.args(foreground.then_some("-f")).arg("-C").arg(host.path("gearman.conf"));
            command.arg("-L").arg(place("gearman.log", "-L")).arg("-P").arg(place("gearman.pid", "-P"));
            let said = refusal(&mut command);
            assert!(said.contains(what) && said.contains("gearman.conf/x"), "{said}");
            assert!(said.contains(flag), "which flag names another: {said}");
        }
        host.configure(&polaris.server(), "graze = 1");
        let said = refusal(&mut command(&host));
        assert!(said.contains(&format!("{}:13: ", host.path("gearman.conf").display())), "{said}");
        assert!(said.contains("graze"), "{said}");
        fs::remove_file(host.path("gearman.conf")).unwrap();
        let said = refusal(&mut command(&host));
        assert!(said.contains("gearman.conf: No such file"), "{said}");
    }
    assert!(polaris.has_caller().is_none());
}

#[test]
fn a_second_instance_is_refused_and_a_stale_pid_file_is_not_in_the_way() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = host_of(&polaris, &ca);
    // Of a process that is certainly alive, and is not ours.
    fs::write(host.path("gearman.pid"), "1\n").unwrap();
    let pid = host.daemonize();
    assert_ne!(pid, 1);
    let mut link = polaris.ready();
    for flags in [&[][..], &["-f"]] {
        let said = refusal(host.command().args(flags));
        assert!(said.contains(&format!("it runs already, as pid {pid}")), "{said}");
    }
    assert_eq!((host.pid(), link.output_of("echo hi").as_str()), (Some(pid), "hi\n"));
    signal(pid, Signal::SIGKILL);
    ended(pid);
    assert_eq!(host.pid(), Some(pid), "it had no time to remove it");
    let next = host.daemonize();
    assert_ne!(next, pid);
    assert_eq!(polaris.ready().output_of("echo hi"), "hi\n");
}

#[test]
fn sighup_reopens_the_log_and_reads_the_configuration_again() {
    let ca = Ca::new();
    let (first, second) = (Polaris::start(&ca), Polaris::start(&ca));
    let host = host_of(&first, &ca);
    let pid = host.daemonize();
    let mut link = first.ready();
    host.logged(&["link=ready"]);
    fs::rename(host.path("gearman.log"), host.path("gearman.log.1")).unwrap();
    signal(pid, Signal::SIGHUP);
    host.logged(&["config=reloaded"]);
    assert!(!host.log().contains("agent=started"), "a new file");
    assert_eq!(link.output_of("echo hi"), "hi\n", "what is as before does not touch the link");

    host.configure(&second.server(), "grace = 0");
    signal(pid, Signal::SIGHUP);
    let refused = host.logged(&["config=refused"]);
    assert!(refused.contains("gearman.conf:13: grace: duplicate key"), "{refused}");
    host.configure("no good", "");
    signal(pid, Signal::SIGHUP);
    host.logged(&["config=refused", "gearman.conf:5: link.server: "]);
    assert_eq!(link.output_of("echo hi"), "hi\n", "the old configuration is kept");

    host.configure(&second.server(), "allow = [\"echo .*\"]");
    signal(pid, Signal::SIGHUP);
    assert_eq!(link.next(), None, "other servers: the link is made anew");
    let mut link = second.ready();
    assert_eq!(link.output_of("echo hi"), "hi\n");
    assert_eq!(link.run("true")["retcode"], 3025, "the other settings are in force, too");
}

#[test]
fn sigusr1_logs_the_state() {
    let mut session = connected("");
    session.link.bash("long", "sleep 30");
    session.link.ask(&json!({"id": "info", "method": "agent.info"}));
    session.agent.signal(Signal::SIGUSR1);
    session.host.logged(&["agent=status", "link=ready", "running=1", "waiting=0", "answered=1"]);
}

#[test]
fn sigterm_and_sigint_end_commands_first_and_their_replies_are_sent() {
    for which in [Signal::SIGTERM, Signal::SIGINT] {
        let mut session = connected("max_children = 2");
        let trap = |what: &str, name: &str| {
            let marker = session.host.path(name);
            format!("trap '{what}' TERM; touch {marker:?}; while :; do sleep 0.1; done")
        };
        let obeys = trap("echo heard it; exit 5", "obeys");
        let ignores = trap("", "ignores") + " & echo $!; wait";
        session.link.bash("obeys", &obeys);
        session.link.bash("ignores", &format!("trap '' TERM; {ignores}"));
        session.link.bash("waits", "true");
        for marker in ["obeys", "ignores"] {
            until("the command to begin", || session.host.path(marker).exists().then_some(()));
        }
        let begun = Instant::now();
        session.agent.signal(which);
        let replies = session.link.rest();
        assert!(session.agent.ended().success());
        let took = begun.elapsed();
        // SIGTERM, the grace of a second, SIGKILL.
        assert!(
            (Duration::from_millis(950)..Duration::from_millis(3000)).contains(&took),
            "{which}: {took:?}"
        );
        let said: Vec<_> = replies.iter().map(|r| (r["id"].as_str().unwrap(), &r["retcode"])).collect();
        assert_eq!(said, [("waits", &json!(3108)), ("obeys", &json!(3108)), ("ignores", &json!(3108))]);
        assert_eq!((&replies[1]["data"], &replies[1]["exitcode"]), (&json!("heard it\n"), &json!(5)));
        assert_eq!(replies[2]["signal"], 9);
        assert!(replies.iter().all(|reply| reply["detail"] == "the agent is stopping"), "{replies:?}");
        assert!(!session.host.path("gearman.pid").exists());
        let left: u32 = replies[2]["data"].as_str().unwrap().trim().parse().unwrap();
        until("the command's group to end", || (!process::is_alive(left)).then_some(()));
    }
}

#[test]
fn asking_again_does_not_put_the_end_off() {
    let mut session = connected("");
    let begun = session.host.path("begun");
    session.link.bash("ignores", &format!("trap '' TERM; touch {begun:?}; while :; do sleep 0.1; done"));
    until("the command to begin", || begun.exists().then_some(()));
    until("the agent to end", || {
        session.agent.signal(Signal::SIGTERM);
        (!session.agent.is_alive()).then_some(())
    });
    let reply = session.link.receive();
    assert_eq!((&reply["retcode"], &reply["signal"]), (&json!(3108), &json!(9)), "{reply}");
}

#[test]
fn it_ends_at_once_where_there_is_nothing_to_end_whatever_the_links_state() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    // Waiting for the next try, in the midst of a handshake, waiting for ready.
    let nobody = Polaris::at("127.0.72.1:0".parse().unwrap(), &ca).unwrap().address;
    let mut waiting = Host::enrolled(&ca);
    waiting.configure(&nobody.to_string(), "");
    let mut agent = waiting.start();
    waiting.logged(&["link=down"]);
    agent.signal(Signal::SIGTERM);
    assert!(agent.ended().success());

    waiting = host_of(&polaris, &ca);
    let mut agent = waiting.start();
    let _caller = until("a call", || polaris.has_caller());
    agent.signal(Signal::SIGTERM);
    assert!(agent.ended().success());

    let mut agent = waiting.start();
    let (_link, _) = polaris.greeted();
    agent.signal(Signal::SIGTERM);
    assert!(agent.ended().success());
}

#[test]
fn relative_paths_are_those_of_the_starter() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = host_of(&polaris, &ca);
    let mut command = gearman();
    command.current_dir(host.folder());
    command.args(["-C", "gearman.conf", "-L", "./gearman.log", "-P", "new/../gearman.pid"]);
    fs::create_dir(host.path("new")).unwrap();
    let (code, _, err) = parts(&command.output().unwrap());
    assert_eq!(code, Some(0), "{err}");
    let pid = host.pid().expect("the pid file, where the starter was");
    assert!(process::is_alive(pid));
    signal(pid, Signal::SIGHUP);
    // Both are found again from the daemon's own folder.
    host.logged(&["config=reloaded"]);
    signal(pid, Signal::SIGTERM);
    ended(pid);
    assert!(!host.path("gearman.pid").exists());
}

#[test]
fn nobody_else_may_write_its_files_however_careless_the_starter() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = host_of(&polaris, &ca);
    let command = host.command();
    let mut careless = Command::new("bash");
    careless.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    let (code, _, err) = parts(&careless.output().unwrap());
    assert_eq!(code, Some(0), "{err}");
    for name in ["gearman.log", "gearman.pid"] {
        let mode = fs::metadata(host.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644, "{name}: {mode:o}");
    }
}

#[test]
fn servers_of_the_command_line_win_and_stay() {
    let ca = Ca::new();
    let (named, configured) = (Polaris::start(&ca), Polaris::start(&ca));
    let host = host_of(&configured, &ca);
    let output = host.command().arg("-S").arg(named.server()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut link = named.ready();
    signal(host.pid().unwrap(), Signal::SIGHUP);
    host.logged(&["config=reloaded"]);
    assert_eq!(link.output_of("echo hi"), "hi\n");
    assert!(configured.has_caller().is_none());
}

#[test]
fn the_configuration_is_checked_without_a_start() {
    let host = Host::new();
    let check = || parts(&host.command().arg("-t").output().unwrap());
    host.configure("polaris.example,127.0.0.1:99", "");
    assert_eq!(check(), (Some(0), "Success\n".into(), String::new()));
    for (exec, place) in [
        ("max_children = 0", "13: exec.max_children: must be from 1 to 4096, got 0"),
        ("max_children = \"many\"", "13: exec.max_children: "),
        ("maxchildren = 4", "13: "),
        ("timeout = ", "13: "),
    ] {
        host.configure("polaris.example", exec);
        let (code, out, err) = check();
        assert_eq!((code, out.as_str()), (Some(1), "Failed!!!\n"), "{exec}");
        assert!(
            err.starts_with(&format!("{}:{place}", host.path("gearman.conf").display())),
            "{exec}: {err}"
        );
    }
    fs::remove_file(host.path("gearman.conf")).unwrap();
    let (code, out, err) = check();
    assert_eq!((code, out.as_str()), (Some(1), "Failed!!!\n"));
    assert!(err.contains("gearman.conf"), "{err}");
    for left in ["gearman.log", "gearman.pid"] {
        assert!(!host.path(left).exists(), "{left}");
    }
}

#[test]
fn the_command_line_answers_or_refuses() {
    let run = |arguments: &[&str]| parts(&gearman().args(arguments).output().unwrap());
    let version = format!("gearman-{}-{}\n", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    assert_eq!(run(&["-V"]), (Some(0), version, String::new()));
    let (code, help, err) = run(&["-h"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for word in ["Usage: gearman", "-f", "-C", "-L", "-P", "-l", "-S", "-t", "-h", "-V", "--enroll", "SIGHUP"]
    {
        assert!(help.contains(word), "{word}: {help}");
    }
    for arguments in [&["-x"][..], &["-C"], &["stray"], &["-L", "-"], &["-l", "loud"], &["--enroll", "h:1"]] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        assert!(err.starts_with("gearman: ") && err.contains("gearman -h"), "{arguments:?}: {err}");
    }
}

#[test]
fn the_log_of_the_foreground_may_be_standard_error() {
    let host = Host::new();
    host.configure("127.0.0.1:9", "");
    let output = gearman()
        .args(["-f", "-L", "-", "-C"])
        .arg(host.path("gearman.conf"))
        .arg("-P")
        .arg(host.path("gearman.pid"))
        .output()
        .unwrap();
    let (code, out, err) = parts(&output);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("not enrolled"), "{err}");
}
