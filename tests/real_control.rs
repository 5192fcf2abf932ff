//! The control socket of the real agent, and gearctl's client.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![expect(clippy::disallowed_methods, reason = "what the contract says in seconds is measured in seconds")]

mod rig;

use aspire::gearctl::client::{AskError, ask};
use aspire::machine::limits::{ACCEPT_AGAIN, LOCAL_CONNECTIONS};
use nix::sys::signal::Signal;
use rig::agent::{Agent, Host, gearman, signal};
use rig::pki::{Ca, HOST_ID};
use rig::polaris::Polaris;
use rig::{PATIENCE, connected, process, until};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// A host whose server answers nobody: the address is one where nobody listens.
fn alone() -> Host {
    let ca = Ca::new();
    let nobody = Polaris::at("127.0.72.2:0".parse().unwrap(), &ca).unwrap().address;
    let host = Host::enrolled(&ca);
    host.configure(&nobody.to_string(), "");
    host
}

/// The agent in the foreground, once it listens.
fn listening(host: &Host) -> Agent {
    let agent = host.start();
    host.logged(&["control=listening"]);
    agent
}

fn asked(host: &Host, method: &str, args: &Value) -> Result<Value, AskError> {
    ask(&host.socket(), method, args.as_object().unwrap().clone())
}

fn output_of(host: &Host, cmd: &str) -> String {
    asked(host, "sync.bash", &json!({"cmd": cmd})).unwrap().as_str().unwrap().to_owned()
}

/// One who speaks for himself.
struct Peer(BufReader<UnixStream>);

impl Peer {
    fn of(socket: &Path) -> Peer {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Peer(BufReader::new(stream))
    }

    fn says(&mut self, bytes: &[u8]) {
        // The agent may have hung up by now.
        let _ = self.0.get_mut().write_all(bytes);
    }

    fn asks(&mut self, frame: &Value) {
        self.says(format!("{frame}\n").as_bytes());
    }

    /// The next frame; `None` where the agent has hung up.
    fn hears(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(length) if length > 0 => Some(serde_json::from_str(&line).unwrap()),
            _ => None,
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn it_answers_while_no_server_can_be_reached() {
    let host = alone();
    let _agent = listening(&host);
    host.logged(&["link=down"]);
    let info = asked(&host, "agent.info", &json!({})).unwrap();
    assert_eq!((&info["hostname"], &info["running"]), (&json!(HOST_ID), &json!(0)));
    assert_eq!(output_of(&host, "echo hi; echo $((6 * 7))"), "hi\n42\n");
    let failed = asked(&host, "sync.bash", &json!({"cmd": "exit 7"})).unwrap_err();
    assert_eq!(failed.to_string(), "Exited with an error (3101)");
    let failed = asked(&host, "sync.bash", &json!({"cmd": "x", "timeout": 0})).unwrap_err().to_string();
    assert!(failed.starts_with("Invalid params (3021): timeout: "), "{failed}");
    let failed = asked(&host, "no.such", &json!({})).unwrap_err().to_string();
    assert!(failed.starts_with("Unknown method (3022): "), "{failed}");
}

#[test]
fn whoever_was_told_that_the_daemon_is_ready_can_ask_it() {
    let host = alone();
    let pid = host.daemonize();
    assert_eq!(mode(&host.socket()), 0o600);
    assert_eq!(output_of(&host, "echo $PPID"), format!("{pid}\n"));
    signal(pid, Signal::SIGTERM);
    until("the daemon to end", || (!process::is_alive(pid)).then_some(()));
    assert!(!host.socket().exists());
    let nobody = asked(&host, "agent.info", &json!({})).unwrap_err().to_string();
    assert!(nobody.contains("gearman does not run"), "{nobody}");
}

#[test]
fn only_the_agents_own_user_may_ask() {
    if !rig::is_root() {
        rig::aloud("that others are refused: only root can become somebody else");
        return;
    }
    let host = alone();
    let _agent = listening(&host);
    // Everybody may enter the folder: it is the file that keeps them out.
    fs::set_permissions(host.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    // What connect(2) asks for.
    let cmd = format!("test -w {:?}", host.socket());
    let as_nobody = json!({"cmd": cmd, "user": "nobody"});
    let refused = asked(&host, "sync.bash", &as_nobody).unwrap_err().to_string();
    assert_eq!(refused, "Exited with an error (3101)");
    asked(&host, "sync.bash", &json!({"cmd": cmd})).unwrap();
}

#[test]
fn a_stale_file_is_replaced_and_a_living_agents_is_not() {
    let host = alone();
    let pid = host.daemonize();
    signal(pid, Signal::SIGKILL);
    until("the daemon to end", || (!process::is_alive(pid)).then_some(()));
    assert!(
        fs::symlink_metadata(host.socket()).unwrap().file_type().is_socket(),
        "it had no time to remove it"
    );
    let first = host.daemonize();
    assert_eq!(output_of(&host, "echo $PPID"), format!("{first}\n"));
    // Another one with a pid file of its own, and the same socket.
    let mut second = gearman();
    second.arg("-f").arg("-C").arg(host.path("gearman.conf"));
    second.arg("-P").arg(host.path("second.pid")).arg("-L").arg(host.path("second.log"));
    let mut second = Agent::of(second.spawn().unwrap());
    let log = || fs::read_to_string(host.path("second.log")).unwrap_or_default();
    let said = until("it to say why", || {
        log().lines().find(|line| line.contains("control=unreachable")).map(str::to_owned)
    });
    assert!(said.contains(host.socket().to_str().unwrap()), "{said}");
    assert!(said.contains("another program listens there") && said.contains("control.socket"), "{said}");
    until("it to go on without", || log().contains("link=down").then_some(()));
    assert_eq!(output_of(&host, "echo $PPID"), format!("{first}\n"));
    second.signal(Signal::SIGTERM);
    assert!(second.ended().success());
    assert_eq!(output_of(&host, "echo $PPID"), format!("{first}\n"), "what is another's is not removed");
}

#[test]
fn a_socket_that_cannot_be_made_is_said_once_and_the_agent_does_its_work() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = Host::enrolled(&ca);
    host.configure(&polaris.server(), "");
    // A file in the place of the folder stops root, too.
    let below_a_file = host.path("gearman.conf").join("gearman.sock");
    let config = fs::read_to_string(host.path("gearman.conf")).unwrap();
    let here = host.socket();
    let bad = config.replace(here.to_str().unwrap(), below_a_file.to_str().unwrap());
    fs::write(host.path("gearman.conf"), bad).unwrap();
    let agent = host.start();
    let mut link = polaris.ready();
    assert_eq!(link.output_of("echo hi"), "hi\n");
    let said = host.logged(&["control=unreachable"]);
    assert!(said.contains("WARN") && said.contains(below_a_file.to_str().unwrap()), "{said}");
    assert_eq!(host.log().matches("control=").count(), 1);

    // A place where it can, and then another.
    for name in ["gearman.sock", "new/folder/a.sock"] {
        let config = config.replace(here.to_str().unwrap(), host.path(name).to_str().unwrap());
        fs::write(host.path("gearman.conf"), config).unwrap();
        agent.signal(Signal::SIGHUP);
        host.logged(&["control=listening", &format!("{}\"", host.path(name).display())]);
        let info = ask(&host.path(name), "agent.info", Map::new()).unwrap();
        assert_eq!(info["hostname"], HOST_ID);
        assert_eq!(mode(&host.path(name)), 0o600);
    }
    assert!(!host.socket().exists(), "it has moved");
    // What somebody has removed comes back.
    fs::remove_file(host.path("new/folder/a.sock")).unwrap();
    agent.signal(Signal::SIGHUP);
    until("the socket to be back", || ask(&host.path("new/folder/a.sock"), "agent.info", Map::new()).ok());
    assert_eq!(link.output_of("echo hi"), "hi\n", "none of this touches the link");
}

#[test]
fn many_connections_one_after_the_other_leave_nothing_behind() {
    let mut session = connected("");
    assert_eq!(session.link.output_of("echo hi"), "hi\n");
    let before = process::descriptors(session.agent.pid());
    for n in 0..100 {
        let mut peer = Peer::of(&session.host.socket());
        match n % 4 {
            // Nothing said, half a frame, an answer that nobody takes, a command that nobody waits for.
            0 => {}
            1 => peer.says(b"{\"id\":\"1\",\"meth"),
            2 => peer.asks(&json!({"id": "1", "method": "agent.info"})),
            _ => peer.asks(&json!({"id": "1", "method": "sync.bash", "cmd": "true"})),
        }
        drop(peer);
        // Behind it in the same queue.
        asked(&session.host, "agent.info", &json!({})).unwrap();
    }
    session.agent.alone();
    until("the descriptors to be as before", || {
        (process::descriptors(session.agent.pid()) == before).then_some(())
    });
    assert_eq!(session.link.output_of("echo hi"), "hi\n");
}

#[test]
fn garbage_ends_its_own_connection_and_nothing_else() {
    let mut session = connected("");
    let mut waiting = Peer::of(&session.host.socket());
    let go_on = session.host.path("go-on");
    waiting.asks(&json!({"id": "w", "method": "sync.bash", "cmd": format!("until [ -e {go_on:?} ]; do sleep 0.01; done")}));
    let too_long = vec![b'x'; 3 * 1024 * 1024];
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\n", b"\0\xff\xfe\n", b"{\"id\":\"1\"}\n", &too_long] {
        let mut peer = Peer::of(&session.host.socket());
        peer.says(garbage);
        let reply = peer.hears().expect("a word before the end");
        assert_eq!(reply["retcode"], 3020, "{reply}");
        assert_eq!(peer.hears(), None);
    }
    assert_eq!(session.link.output_of("echo hi"), "hi\n");
    assert_eq!(output_of(&session.host, "echo hi"), "hi\n");
    fs::write(go_on, "").unwrap();
    assert_eq!(waiting.hears().expect("its answer")["retcode"], 2);
}

#[test]
fn who_waits_is_answered_at_the_end_of_the_agent() {
    let mut session = connected("");
    let mut peer = Peer::of(&session.host.socket());
    let begun = session.host.path("begun");
    peer.asks(&json!({"id": "1", "method": "sync.bash", "cmd": format!("touch {begun:?}; exec sleep 600")}));
    until("the command to begin", || begun.exists().then_some(()));
    let mut idle = Peer::of(&session.host.socket());
    idle.asks(&json!({"id": "2", "method": "agent.info"}));
    assert_eq!(idle.hears().unwrap()["data"]["running"], 1);
    session.agent.signal(Signal::SIGTERM);
    let reply = peer.hears().expect("its answer");
    assert_eq!((&reply["id"], &reply["retcode"]), (&json!("1"), &json!(3108)), "{reply}");
    assert_eq!((peer.hears(), idle.hears()), (None, None));
    assert!(session.agent.ended().success());
    assert!(!session.host.socket().exists());
}

#[test]
fn no_more_than_so_many_are_connected() {
    let host = alone();
    let agent = listening(&host);
    let before = process::descriptors(agent.pid()).len();
    let info = json!({"id": "1", "method": "agent.info"});
    let mut peers: Vec<Peer> = (0..LOCAL_CONNECTIONS).map(|_| Peer::of(&host.socket())).collect();
    for peer in &mut peers {
        peer.asks(&info);
        assert!(peer.hears().is_some());
    }
    assert_eq!(process::descriptors(agent.pid()).len(), before + LOCAL_CONNECTIONS);
    let refused = asked(&host, "agent.info", &json!({})).unwrap_err();
    assert!(matches!(refused, AskError::HungUp), "{refused}");
    peers.clear();
    until("a place", || asked(&host, "agent.info", &json!({})).ok());
}

/// Processor time in ticks, as proc_pid_stat(5) has it.
fn ticks(agent: &Agent) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", agent.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn an_agent_without_a_free_descriptor_answers_when_it_has_one_again_and_does_not_spin() {
    let host = alone();
    let full = process::descriptors(listening(&host).pid()).len();
    fs::remove_file(host.path("gearman.log")).unwrap();
    // Room for two more; the link's next try may take one of them.
    let gearman = host.command();
    let mut starter = Command::new("bash");
    starter.args(["-c", &format!("ulimit -n {}; exec \"$0\" \"$@\" -f", full + 2)]);
    let agent = Agent::of(starter.arg(gearman.get_program()).args(gearman.get_args()).spawn().unwrap());
    host.logged(&["control=listening"]);
    let info = json!({"id": "1", "method": "agent.info"});
    let mut peers: Vec<Peer> = (0..8).map(|_| Peer::of(&host.socket())).collect();
    for peer in &mut peers {
        peer.asks(&info);
    }
    host.logged(&["control=busy", "Too many open files"]);
    // It tries again each second, and does nothing in between.
    let (begun, before) = (Instant::now(), ticks(&agent));
    until("some seconds to pass", || (begun.elapsed() > 2 * ACCEPT_AGAIN).then_some(()));
    assert!(ticks(&agent) - before < 20, "of 100 a second");
    // Each goes when it was answered, which makes room for the next: nobody new has to come.
    for mut peer in peers {
        assert_eq!(peer.hears().expect("an answer")["data"]["hostname"], HOST_ID);
    }
}

#[test]
fn nobody_who_listens_elsewhere_is_touched() {
    let host = alone();
    // A program of another kind.
    let other = UnixListener::bind(host.socket()).unwrap();
    let agent = host.start();
    host.logged(&["control=unreachable", "another program listens there"]);
    drop(other);
    // It is dead now; what it left is replaced at the next look.
    agent.signal(Signal::SIGHUP);
    host.logged(&["control=listening"]);
    assert_eq!(output_of(&host, "echo hi"), "hi\n");
}
