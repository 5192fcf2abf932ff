//! One agent's life from its start to its end, with everything in it that
//! allocates, opens or forks. What it answers is tested for more closely
//! elsewhere; here `valgrind/run` looks for what it loses on the way.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod rig;

use aspire::gearctl::client::ask;
use aspire::wire::enroll::Token;
use nix::sys::signal::{Signal, kill};
use rig::agent::{Agent, Host, gearman, is_watched};
use rig::daemons::{STAYS, pid};
use rig::pki::{Ca, HOST_ID};
use rig::plugins::Folder;
use rig::polaris::{Link, Polaris};
use rig::{is_root, process, until};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

/// Commands that run at the same time.
const PLACES: usize = 4;
/// Commands that wait for a place, at most.
const QUEUE: usize = 1024;

#[test]
fn a_life() {
    let ca = Ca::new();
    let (first, polaris) = (Polaris::start(&ca), Polaris::start(&ca));
    let host = enrolled(&ca);
    // By name, which a forked child of the agent looks up.
    let server = format!("localhost:{}", first.address.port());
    host.configure(&server, &format!("max_children = {PLACES}"));
    let mut agent = host.start();
    let (mut link, _) = first.greeted();
    link.send(&json!({"method": "redirect", "server": polaris.server()}));
    assert_eq!(link.next(), None);
    let mut link = polaris.ready();
    // From here on without redirects.
    host.configure(&polaris.server(), &format!("max_children = {PLACES}"));
    let mut link = reloaded(&host, &agent, &polaris, &mut link);
    link.output_of("true");
    let before = descriptors(&agent);

    commands_of_every_shape(&mut link, &host);
    agent.alone();
    time_outs(&mut link);
    agent.alone();
    live(&mut link);
    agent.alone();
    let mut link = kept(&polaris, link);
    agent.alone();
    refusals(&mut link);
    queries(&mut link, &host);
    agent.alone();
    local(&host);
    daemons(&mut link, &host);
    agent.alone();
    let mut link = reconnects(&host, &polaris, link);
    signals(&host, &agent, &mut link);
    agent.alone();
    assert_eq!(descriptors(&agent), before);
    stop(&host, &mut agent, &mut link);
}

/// A host that came by its identity as hosts do.
fn enrolled(ca: &Ca) -> Host {
    let (host, polaris) = (Host::new(), Polaris::http(ca));
    host.configure(&polaris.server(), "");
    let fingerprint = ring::digest::digest(&ring::digest::SHA256, &ca.der());
    let token = Token { secret: [7; 32], fingerprint: fingerprint.as_ref().try_into().unwrap() };
    let mut enroll = gearman();
    enroll.args(["--enroll", &polaris.server(), "--token", &token.to_string(), "-C"]);
    enroll.arg(host.path("gearman.conf")).stdout(Stdio::null());
    let mut enroll = Agent::of(enroll.spawn().unwrap());
    let mut link = polaris.accept();
    let (_, body) = link.http_request();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let cert = ca.sign(body["csr"].as_str().unwrap(), HOST_ID);
    let reply = json!({"hostname": HOST_ID, "ca": ca.pem, "cert": cert}).to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        reply.len()
    );
    link.send_bytes((head + &reply).as_bytes());
    assert!(enroll.ended().success());
    host
}

/// One that is installed, checked, heard of, killed, restarted, stopped and removed.
fn daemons(link: &mut Link, host: &Host) {
    let more = json!({
        "precheck": "./check", "check": "script:./check", "check_interval": 1, "heartbeat": 600,
        "limits": {"hits": 3, "cpu": "5000%", "memory": "1024M"}
    });
    host.init("web", &[("run", STAYS), ("check", "#!/bin/sh\necho well\n")], &more);
    let first = host.comes_to("web", "running");
    kill(pid(&first), Signal::SIGKILL).unwrap();
    let second = host.comes_back("web", &first);
    host.wants("restart", "web");
    host.comes_back("web", &second);
    host.wants("stop", "web");
    host.comes_to("web", "stoped");
    host.wants("remove", "web");
    loop {
        let event = link.receive();
        assert_eq!(event["daemon"]["name"], "web", "{event}");
        link.send(&json!({"method": "ack", "seq": event["seq"]}));
        if event["daemon"]["removed"] == true {
            return;
        }
    }
}

/// How many it has, once the connections that are closing are closed: a link and the control socket stay.
fn descriptors(agent: &Agent) -> usize {
    until("one link to be left", || {
        let open = process::descriptors(agent.pid());
        (open.iter().filter(|target| target.starts_with("socket:")).count() == 2).then_some(open.len())
    })
}

/// SIGHUP with another server in the configuration.
fn reloaded(host: &Host, agent: &Agent, polaris: &Polaris, link: &mut Link) -> Link {
    agent.signal(Signal::SIGHUP);
    host.logged(&["config=reloaded"]);
    assert_eq!(link.next(), None, "the link is made anew");
    polaris.ready()
}

fn commands_of_every_shape(link: &mut Link, host: &Host) {
    for (cmd, retcode) in [
        ("true", 2),
        ("echo out; echo err >&2; exit 3", 3101),
        ("no-such-command-anywhere", 3101),
        ("kill -9 $$", 3102),
        ("kill -34 $$", 3102),
        ("head -c 1000000 /dev/zero | tee /dev/stderr", 2),
        ("head -c 100000 /dev/zero | tr '\\0' '\\377'", 2),
        ("printf '\\xff\\x00\\x01'; printf warn >&2", 2),
        ("exec >&- 2>&-", 2),
        ("cat", 2),
        ("(setsid sleep 0.1 &); sleep 0.1 & true", 2),
        ("for i in 1 2 3 4 5 6 7 8; do (exit $i) & done", 2),
    ] {
        assert_eq!(link.run(cmd)["retcode"], retcode, "{cmd}");
    }
    let env = json!({"GREETING": "hello = world\n!", "EMPTY": ""});
    let arguments = json!({"cmd": "pwd; echo $GREETING", "env": env, "cwd": host.folder(), "timeout": 30});
    assert_eq!(link.run_with(arguments)["retcode"], 2);
    // valgrind makes a fork of what shares our memory until it executes, so that
    // the agent does not see why it could not, but only exit code 127.
    let not_started = if is_watched() { 3101 } else { 3107 };
    assert_eq!(link.run_with(json!({"cmd": "true", "cwd": "/no/such/folder"}))["retcode"], not_started);
    // Each is looked up by a forked child, unless it is not permitted at all.
    let (somebody, known, unknown) = if is_root() { ("nobody", 2, 3023) } else { ("root", 3025, 3025) };
    let others = [
        (json!(somebody), json!(null), known),
        (json!(somebody), json!("daemon"), known),
        (json!(if is_root() { 65534 } else { 0 }), json!(null), known),
        (json!("no-such-user"), json!(null), unknown),
        (json!(somebody), json!("no-such-group"), unknown),
    ];
    for (user, group, retcode) in others {
        let mut arguments = json!({"cmd": "id", "user": user});
        if !group.is_null() {
            arguments["group"] = group;
        }
        let reply = link.run_with(arguments);
        assert_eq!(reply["retcode"], retcode, "{reply}");
    }
    // Many more than there are places.
    for n in 0..40 {
        link.bash(&format!("many-{n}"), "head -c 30000 /dev/zero; sleep 0.01");
    }
    for _ in 0..40 {
        assert_eq!(link.receive()["retcode"], 2);
    }
}

/// All three of them, and whoever tries to get away.
fn time_outs(link: &mut Link) {
    let commands = [
        ("sleep 60", 3103),
        ("trap 'trap \"exit 7\" INT' INT; while :; do sleep 0.1; done", 3103),
        ("trap '' INT; yes | head -c 200000; while :; do sleep 0.1; done", 3104),
        ("trap '' INT; (setsid sleep 60 &); setsid sleep 60 & sleep 60 & kill -STOP $$", 3104),
        ("setsid bash -c 'setsid sleep 60 & wait' & wait", 3103),
    ];
    for (cmd, _) in commands {
        link.send(&json!({"id": cmd, "method": "sync.bash", "cmd": cmd, "timeout": 1}));
    }
    for _ in commands {
        let reply = link.receive();
        let (cmd, retcode) = commands.iter().find(|(cmd, _)| reply["id"] == *cmd).unwrap();
        assert_eq!(reply["retcode"], *retcode, "{cmd}: {reply}");
    }
}

/// What is seen while it runs, and cancelled: running, waiting, shrugging.
fn live(link: &mut Link) {
    let commands = [
        ("echo so far; sleep 60", 3108),
        ("trap '' TERM; printf '\\xff'; (setsid sleep 60 &); while :; do sleep 0.1; done", 3108),
        ("head -c 200000 /dev/zero | tee /dev/stderr", 2),
        ("for i in 1 2 3 4 5; do echo $i; echo $i >&2; sleep 0.05; done; exit 3", 3101),
    ];
    for (cmd, _) in commands {
        let limits = json!({"cpu": 50});
        link.send(&json!({"id": cmd, "method": "sync.bash", "cmd": cmd, "stream": true, "limits": limits}));
    }
    link.bash("never starts", "sleep 60");
    let cancel = |link: &mut Link, job: &str| {
        let id = format!("cancels {job}");
        link.send(&json!({"id": id, "method": "job.cancel", "job": job}));
    };
    cancel(link, "never starts");
    let (mut begun, mut replies) = (0, 0);
    // The commands with the one that never starts, and the three cancels.
    while replies < commands.len() + 1 + 3 {
        let frame = link.receive();
        let cancelled = commands.iter().find(|(cmd, retcode)| frame["id"] == *cmd && *retcode == 3108);
        if frame["method"] == "output" {
            if let Some((cmd, _)) = cancelled {
                begun += 1;
                cancel(link, cmd);
            }
            continue;
        }
        replies += 1;
        if let Some((cmd, retcode)) = commands.iter().find(|(cmd, _)| frame["id"] == *cmd) {
            assert_eq!(frame["retcode"], *retcode, "{cmd}: {frame}");
        }
    }
    assert_eq!(begun, 2, "each of the two wrote once");
}

/// A job of two attempts, an entry that fires, and results that wait for the next link.
fn kept(polaris: &Polaris, mut link: Link) -> Link {
    link.send(&json!({"id": "job", "method": "async.bash", "cmd": "false", "retries": 1, "retry_delay": 0}));
    link.send(&json!({"id": "n", "method": "cron.set", "name": "n", "schedule": "* * * * * *", "cmd": "id"}));
    while link.receive()["cron"] != "n" {}
    link.hang_up();
    let mut link = polaris.ready();
    link.send(&json!({"id": "n-", "method": "cron.remove", "name": "n"}));
    for turn in 0.. {
        link.send(&json!({"id": format!("look-{turn}"), "method": "agent.info"}));
        let look = loop {
            let frame = link.receive();
            if frame["method"] == "result" {
                link.send(&json!({"method": "ack", "seq": frame["seq"]}));
            } else if frame["id"] == format!("look-{turn}") {
                break frame;
            }
        };
        if look["data"]["jobs"] == 0 && look["data"]["results"] == 0 {
            break;
        }
    }
    link
}

/// What is not run, and what is not run again.
fn refusals(link: &mut Link) {
    for (request, retcode) in [
        (json!({"id": "a", "cmd": "true"}), 3020),
        (json!({"id": "a", "method": "sync.zsh"}), 3022),
        (json!({"id": "a", "method": "sync.bash", "cmd": ["true"]}), 3021),
        (json!({"id": "a", "method": "sync.bash", "cmd": "true", "timeout": 0}), 3021),
        (json!({"id": "a", "method": "sync.bash", "cmd": "true", "env": {"A=B": ""}}), 3021),
        (json!({"id": "a", "method": "sync.bash", "cmd": "x".repeat(128 * 1024)}), 3021),
        (json!({"id": "a", "method": "sync.bash", "cmd": "true", "tiemout": 1}), 3021),
    ] {
        assert_eq!(link.ask(&request)["retcode"], retcode);
    }
    let once = json!({"id": "once", "method": "sync.bash", "cmd": "echo $$"});
    let first = link.ask(&once);
    assert_eq!(link.ask(&once), first);
    assert_eq!(link.ask(&json!({"id": "info", "method": "agent.info"}))["retcode"], 2);
}

/// Plugins that answer, and those that do anything else; what each comes to is looked at more
/// closely in real_getinfo.
fn queries(link: &mut Link, host: &Host) {
    let folder = Folder::new(host.plugins());
    folder.sample();
    // Under valgrind, too, these come to the same end.
    let hostile = [
        ("segfault", 3102),
        ("aborts", 3102),
        ("loop", 3104),
        ("sleeps", 3104),
        ("leaks", 2),
        ("forks", 2),
        ("closes", 3101),
        ("exits", 3101),
        ("rubbish", 3101),
        ("prints", 2),
        ("ten_megabytes", 3101),
    ];
    for (act, retcode) in hostile {
        folder.hostile(act);
        let timeout = if retcode == 3104 { 1 } else { 60 };
        link.send(&json!({"id": act, "method": format!("getinfo.{act}"), "timeout": timeout}));
        link.send(&json!({"id": format!("beside-{act}"), "method": "getinfo.sample", "timeout": 60}));
    }
    for _ in 0..2 * hostile.len() {
        let reply = link.receive();
        let id = reply["id"].as_str().unwrap();
        let expected = hostile.iter().find(|(act, _)| *act == id).map_or(2, |(_, retcode)| *retcode);
        assert_eq!(reply["retcode"], json!(expected), "{reply}");
    }
    assert_eq!(link.ask(&json!({"id": "none", "method": "getinfo.none"}))["retcode"], 3022);
}

/// Every way in which a link ends, a command running each time.
fn reconnects(host: &Host, polaris: &Polaris, mut link: Link) -> Link {
    let begin = |link: &mut Link, id: &str| link.bash(id, "sleep 0.1; echo late");
    begin(&mut link, "ordered");
    link.hang_up();
    let mut link = polaris.ready();
    begin(&mut link, "dropped");
    drop(link);
    let mut link = polaris.ready();
    link.send_bytes(b"{\"id\":\"cut\",\"method\":\"sync.b");
    link.hang_up();
    let (mut link, _) = polaris.greeted();
    link.send(&json!({"method": "ready", "heartbeat": 1}));
    link.send_bytes(b"{\"id\":\"cut\",\"method\":\"sync.b");
    link.reset();
    host.logged(&["link=down", "reset by peer"]);
    let too_long = [b"{\"id\":\"".as_slice(), &vec![b'x'; 1024 * 1024]].concat();
    for frame in [b"SSH-2.0-OpenSSH\r\n".as_slice(), b"{\"id\":\"\xff\"}\n", &too_long] {
        let mut link = polaris.ready();
        link.send_what_goes(frame);
        assert_eq!(link.next(), None);
    }
    // One that says no word of TLS, and one that ends in the midst of it.
    drop(until("an agent to call", || polaris.has_caller()));
    let mut link = polaris.ready();
    link.send(&json!({"method": "bye", "reason": "see you"}));
    assert_eq!(link.next(), None);
    polaris.ready()
}

/// Programs of its own host, those that misbehave included.
fn local(host: &Host) {
    let args = |args: Value| args.as_object().unwrap().clone();
    let socket = host.socket();
    ask(&socket, "agent.info", args(json!({}))).unwrap();
    assert_eq!(ask(&socket, "sync.bash", args(json!({"cmd": "echo hi"}))).unwrap(), "hi\n");
    for bytes in [&b"no frame\n"[..], b"{\"half\""] {
        let mut peer = UnixStream::connect(&socket).unwrap();
        peer.write_all(bytes).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        peer.read_to_end(&mut Vec::new()).unwrap();
    }
}

fn signals(host: &Host, agent: &Agent, link: &mut Link) {
    agent.signal(Signal::SIGUSR1);
    host.logged(&["agent=status", "link=ready"]);
    // The same, to a log of a new name; then one that is refused.
    std::fs::rename(host.path("gearman.log"), host.path("gearman.log.1")).unwrap();
    agent.signal(Signal::SIGHUP);
    host.logged(&["config=reloaded"]);
    let good = std::fs::read(host.path("gearman.conf")).unwrap();
    std::fs::write(host.path("gearman.conf"), "graze = 1\n").unwrap();
    agent.signal(Signal::SIGHUP);
    host.logged(&["config=refused"]);
    std::fs::write(host.path("gearman.conf"), good).unwrap();
    link.output_of("true");
}

/// SIGTERM with commands running, waiting and turned away.
fn stop(host: &Host, agent: &mut Agent, link: &mut Link) {
    for n in 0..PLACES {
        let begun = host.path(&format!("begun-{n}"));
        let cmd = format!("setsid sleep 60 & trap '' TERM; : > '{}'; wait", begun.display());
        link.bash(&format!("runs-{n}"), &cmd);
        until("the command to begin", || begun.exists().then_some(()));
    }
    for n in 0..=QUEUE {
        link.bash(&format!("waits-{n}"), "true");
    }
    assert_eq!(link.receive()["retcode"], 3026, "no room for the last one");
    agent.signal(Signal::SIGTERM);
    let replies = link.rest();
    assert_eq!(replies.len(), PLACES + QUEUE);
    assert!(replies.iter().all(|reply: &Value| reply["retcode"] == 3108), "{replies:?}");
    let status = agent.ended();
    assert!(status.success(), "{status}");
}
