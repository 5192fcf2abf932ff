//! The link of the real agent: real TLS over loopback to a Polaris that the
//! test leads by the hand.

#![expect(clippy::disallowed_methods, reason = "what the contract says in seconds is measured in seconds")]

mod rig;

use rig::agent::Host;
use rig::pki::{Ca, HOST_ID, Role};
use rig::polaris::Polaris;
use rig::{aloud, connected, process, until};
use rustls::ProtocolVersion;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

#[test]
fn init_says_who_it_is_and_ready_is_understood() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = Host::enrolled(&ca);
    host.configure(&polaris.server(), "");
    let _agent = host.start();
    let (mut link, init) = polaris.greeted();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let expected = json!({
        "method": "init", "hostname": HOST_ID, "name": "web-1", "region": "cn-1",
        "version": format!("gearman-{}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH),
        "tags": {"svc": "ecs", "cmpt": "db"}, "uptime": init["uptime"], "boot": boot.trim(),
        "timeout": 120, "grace": 1,
    });
    assert_eq!(init, expected);
    assert!(init["uptime"].as_u64().is_some_and(|seconds| seconds < 20), "{init}");
    let session = link.session();
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(session.alpn_protocol(), Some(b"cargo/1".as_slice()));
    assert_eq!(session.peer_certificates().map(<[_]>::len), Some(1), "the host's own, and no more");
    link.send(&json!({"method": "ready", "heartbeat": 60}));
    host.logged(&["link=ready", &polaris.server(), "heartbeat=60s"]);
    let info = link.ask(&json!({"id": "who", "method": "agent.info"}));
    assert_eq!((&info["retcode"], &info["data"]["hostname"]), (&json!(2), &json!(HOST_ID)), "{info}");
}

#[test]
fn a_server_of_another_ca_or_without_the_servers_role_is_refused_and_tried_again() {
    // The other CA goes by the same name: its key is what tells it from ours.
    let (ours, other) = (Ca::new(), Ca::new());
    for (ca, role, reason) in [(&other, Role::Server, "BadSignature"), (&ours, Role::Host, "server auth")] {
        let mut polaris = Polaris::start(&ours);
        polaris.show(&ours, &ca.issue(role, "polaris"));
        let host = Host::enrolled(&ours);
        host.configure(&polaris.server(), "");
        let mut agent = host.start();
        for _ in 0..2 {
            // TLS 1.3 lets the server be done before the agent has judged it.
            let heard = polaris.try_accept().ok().and_then(|mut link| link.next());
            assert_eq!(heard, None, "{reason}: nothing may be said to such a server");
        }
        host.logged(&["link=tried", &polaris.server(), reason]);
        assert!(agent.is_alive());
        polaris.show(&ours, &ours.issue(Role::Server, "polaris"));
        assert_eq!(polaris.ready().output_of("echo hi"), "hi\n");
    }
}

#[test]
fn a_redirect_is_followed_and_a_circle_is_left() {
    let ca = Ca::new();
    let (first, second) = (Polaris::start(&ca), Polaris::start(&ca));
    let host = Host::enrolled(&ca);
    host.configure(&first.server(), "");
    let _agent = host.start();
    let redirect = |from: &Polaris, to: &Polaris| {
        let (mut link, _) = from.greeted();
        link.send(&json!({"method": "redirect", "server": to.server()}));
        assert_eq!(link.next(), None, "the agent leaves the one that sends it away");
    };
    redirect(&first, &second);
    let link = second.ready();
    host.logged(&["link=redirected", &second.server()]);
    host.logged(&["link=ready", &second.server()]);
    link.hang_up();
    // From the start again, which is the configured server.
    redirect(&first, &second);
    redirect(&second, &first);
    redirect(&first, &second);
    redirect(&second, &first);
    host.logged(&["link=down", "more than 3 redirects in a row"]);
    assert_eq!(first.ready().output_of("echo hi"), "hi\n");
}

#[test]
fn every_server_of_a_list_is_tried_and_one_that_comes_late_is_found() {
    let ca = Ca::new();
    // Addresses that no other test binds, so that the ports stay free.
    let gone = |address: &str| Polaris::at(address.parse().unwrap(), &ca).unwrap().address;
    let (never, late) = (gone("127.0.71.1:0"), gone("127.0.71.2:0"));
    let host = Host::enrolled(&ca);
    host.configure(&format!("{never},{late}"), "");
    let mut agent = host.start();
    host.logged(&["link=tried", &never.to_string(), "refused"]);
    host.logged(&["link=tried", &late.to_string(), "refused"]);
    host.logged(&["link=down", "next_try=1.0s"]);
    assert!(agent.is_alive());
    let polaris = Polaris::at(late, &ca).unwrap();
    assert_eq!(polaris.ready().output_of("echo hi"), "hi\n");
}

#[test]
fn a_link_that_ends_in_whatever_way_is_made_again() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = Host::enrolled(&ca);
    host.configure(&polaris.server(), "");
    let agent = host.start();
    // At first in order, then from under it, then with a reset, then with a word.
    polaris.ready().hang_up();
    drop(polaris.ready());
    let (mut link, _) = polaris.greeted();
    link.send(&json!({"method": "ready", "heartbeat": 1}));
    link.reset();
    host.logged(&["link=down", "reset by peer"]);
    let mut link = polaris.ready();
    link.send(&json!({"method": "bye", "reason": "this host was removed"}));
    assert_eq!(link.next(), None);
    host.logged(&["link=down", "this host was removed"]);
    let mut link = polaris.ready();
    assert_eq!(link.output_of("echo hi"), "hi\n");
    agent.alone();
}

#[test]
fn a_silent_server_is_left_after_two_and_a_half_heartbeats() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = Host::enrolled(&ca);
    host.configure(&polaris.server(), "");
    let _agent = host.start();
    let (mut link, _) = polaris.greeted();
    link.send(&json!({"method": "ready", "heartbeat": 1}));
    // As long as pings are answered the link stays, also beyond the time of silence.
    for _ in 0..3 {
        assert_eq!(link.receive(), json!({"method": "ping"}));
        link.send(&json!({"method": "pong"}));
    }
    let answered = Instant::now();
    let pings = link.rest();
    let silence = answered.elapsed();
    assert!(pings.len() >= 2 && pings.iter().all(|ping| *ping == json!({"method": "ping"})), "{pings:?}");
    let window = Duration::from_millis(2400)..Duration::from_millis(4500);
    assert!(window.contains(&silence), "ended after {silence:?}");
    host.logged(&["link=down", "no sign of the server for 2 s"]);
    assert_eq!(polaris.ready().output_of("echo hi"), "hi\n");
}

#[test]
fn a_frame_that_is_none_ends_the_link_with_the_reason_logged() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = Host::enrolled(&ca);
    host.configure(&polaris.server(), "");
    let _agent = host.start();
    let too_long = [b"{\"id\":\"".as_slice(), &vec![b'x'; 1024 * 1024]].concat();
    for (frame, reason) in [
        (b"SSH-2.0-OpenSSH\r\n".as_slice(), "does not begin with a brace"),
        (b"{\"method\":\"pong\"\n", "EOF while parsing"),
        (b"{\"id\":\"\xff\"}\n", "invalid utf-8"),
        (&too_long, "more than 1048576 bytes"),
    ] {
        let mut link = polaris.ready();
        link.send_what_goes(frame);
        assert_eq!(link.next(), None, "{reason}");
        host.logged(&["link=down", reason]);
    }
    let mut link = polaris.ready();
    // Byte by byte, and two in one, are frames like any other.
    for byte in b"{\"id\":\"slow\",\"method\":\"agent.info\"}\n" {
        link.send_bytes(&[*byte]);
    }
    assert_eq!(link.receive()["id"], "slow");
    let (a, b) = (json!({"id": "a", "method": "agent.info"}), json!({"id": "b", "method": "agent.info"}));
    link.send_bytes(format!("{a}\n{b}\n").as_bytes());
    assert_eq!((link.receive()["id"].clone(), link.receive()["id"].clone()), (json!("a"), json!("b")));
}

#[test]
fn a_repeated_request_is_run_once_and_answered_again() {
    let mut session = connected("");
    let (runs, go) = (session.host.path("runs"), session.host.path("go"));
    let cmd = format!("echo x >> {runs:?}; echo $$");
    let request = json!({"id": "once", "method": "sync.bash", "cmd": cmd});
    let first = session.link.ask(&request);
    assert_eq!(session.link.ask(&request), first);
    session.link.hang_up();
    let mut link = session.polaris.ready();
    assert_eq!(link.ask(&request), first, "the stored reply, on a new link too");
    assert_eq!(fs::read_to_string(&runs).unwrap(), "x\n");

    // One that is under way when the link ends is answered where it is asked for again.
    let cmd = format!("echo x >> {runs:?}; until [ -e {go:?} ]; do sleep 0.05; done; echo done");
    let request = json!({"id": "slow", "method": "sync.bash", "cmd": cmd});
    link.send(&request);
    link.send(&request);
    until("the command to begin", || (fs::read_to_string(&runs).unwrap() == "x\nx\n").then_some(()));
    link.hang_up();
    let mut link = session.polaris.ready();
    link.send(&request);
    session.host.logged(&["request=repeated", "slow", "state=running"]);
    fs::write(&go, "").unwrap();
    assert_eq!(link.receive()["data"], "done\n");
    assert_eq!(link.ask(&json!({"id": "next", "method": "agent.info"}))["id"], "next", "one reply only");
    assert_eq!(fs::read_to_string(&runs).unwrap(), "x\nx\n");
}

#[test]
fn a_key_that_others_may_read_is_refused_until_it_is_mended() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = Host::enrolled(&ca);
    host.configure(&polaris.server(), "");
    let key = host.path("pki/key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let mut agent = host.start();
    host.logged(&["link=tried", "key.pem: others may read it (mode 0644): chmod 600 it"]);
    assert!(agent.is_alive() && polaris.has_caller().is_none());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(polaris.ready().output_of("echo hi"), "hi\n");
}

#[test]
fn names_are_resolved_by_a_child_and_every_address_is_tried() {
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = Host::enrolled(&ca);
    host.configure(&format!("localhost:{}", polaris.address.port()), "");
    let agent = host.start();
    let mut link = polaris.ready();
    host.logged(&["link=ready", &polaris.server()]);
    assert_eq!(link.output_of("echo hi"), "hi\n");
    assert_eq!(process::status(agent.pid(), "Threads"), "1", "a look-up takes no thread of the agent's");
    agent.alone();
}

#[test]
fn ipv6_works_where_the_machine_has_it() {
    let ca = Ca::new();
    let polaris = match Polaris::at("[::1]:0".parse().unwrap(), &ca) {
        Ok(polaris) => polaris,
        Err(error) => {
            aloud(&format!("the link over IPv6, which this machine lacks ({error})"));
            let absent = [Some(libc::EADDRNOTAVAIL), Some(libc::EAFNOSUPPORT)];
            assert!(absent.contains(&error.raw_os_error()), "{error}");
            return;
        }
    };
    let host = Host::enrolled(&ca);
    host.configure(&polaris.server(), "");
    let _agent = host.start();
    assert_eq!(polaris.ready().output_of("echo hi"), "hi\n");
    host.logged(&["link=ready", "[::1]"]);
}
