//! `gearman --enroll` against a Polaris that answers in every way there is.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod rig;

use aspire::boot::Kept;
use aspire::store::Store;
use aspire::wire::enroll::Token;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rig::agent::{Host, gearman, parts};
use rig::pki::{Ca, HOST_ID};
use rig::polaris::{Link, Polaris};
use rig::{process, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::SystemTime;

/// A token of this CA's Polaris.
fn token(ca: &Ca) -> Token {
    let fingerprint = ring::digest::digest(&ring::digest::SHA256, &ca.der());
    Token { secret: [7; 32], fingerprint: fingerprint.as_ref().try_into().unwrap() }
}

/// Exit code, standard output and standard error of `gearman --enroll`.
fn enroll(host: &Host, server: &str, token: &str) -> (Option<i32>, String, String) {
    let mut command = gearman();
    command.args(["--enroll", server, "--token", token, "-C"]).arg(host.path("gearman.conf"));
    parts(&command.output().unwrap())
}

fn answer(status: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// What a folder holds: names, modes and contents.
fn content(host: &Host) -> BTreeMap<String, (u32, String)> {
    let files = fs::read_dir(host.path("pki")).into_iter().flatten().map(|entry| {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        (path.file_name().unwrap().to_string_lossy().into_owned(), (mode, fs::read_to_string(&path).unwrap()))
    });
    files.collect()
}

/// Enrols against a server that does this with its one caller. Returns the
/// agent's words and the server's.
fn exchange<T: Send>(
    ca: &Ca,
    host: &Host,
    serve: impl FnOnce(Link) -> T + Send,
) -> ((Option<i32>, String, String), T) {
    let polaris = Polaris::http(ca);
    host.configure("127.0.0.1", "");
    let server = polaris.server();
    thread::scope(|scope| {
        let serving = scope.spawn(|| serve(polaris.accept()));
        let said = enroll(host, &server, &token(ca).to_string());
        (said, serving.join().unwrap())
    })
}

#[test]
fn a_host_is_enrolled_and_its_identity_works() {
    let ca = Ca::new();
    // At first there is no identity, then there is an earlier one to be replaced.
    let host = Host::new();
    for _ in 0..2 {
        let before = content(&host);
        let ((code, out, err), (head, body)) = exchange(&ca, &host, |mut link| {
            let (head, body) = link.http_request();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let cert = ca.sign(body["csr"].as_str().unwrap(), HOST_ID);
            let reply = json!({"hostname": HOST_ID, "ca": ca.pem, "cert": cert});
            link.send_bytes(answer("200 OK", "application/json", &reply.to_string()).as_bytes());
            assert_eq!(link.session().alpn_protocol(), Some(b"http/1.1".as_slice()));
            assert!(link.session().peer_certificates().is_none());
            (head, body)
        });
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(out.contains(HOST_ID) && out.lines().count() == 1, "{out}");
        assert!(head.starts_with("POST /agent/enroll HTTP/1.1\r\nHost: 127.0.0.1:"), "{head}");
        assert_eq!(body["token"], token(&ca).secret_text());
        assert_eq!(body["name"], "web-1", "as the configuration has it");
        let files = content(&host);
        assert_eq!(files.keys().collect::<Vec<_>>(), ["ca.pem", "cert.pem", "key.pem"]);
        assert!(files.values().all(|(mode, _)| *mode == 0o600), "{files:?}");
        assert_eq!(files["ca.pem"].1, ca.pem);
        assert_ne!(files.get("key.pem"), before.get("key.pem"));
        assert_eq!(fs::metadata(host.path("pki")).unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(fs::read_dir(host.folder()).unwrap().count(), 2, "the folder and gearman.conf");
        assert!(!body.to_string().contains("PRIVATE"), "the key never leaves the host");
    }
    let polaris = Polaris::start(&ca);
    host.configure(&polaris.server(), "");
    let _agent = host.start();
    assert_eq!(polaris.ready().output_of("echo hi"), "hi\n");
}

/// Hosts without an identity, and with one that must stay as it is.
fn hosts(ca: &Ca) -> [Host; 2] {
    [Host::new(), Host::enrolled(ca)]
}

#[test]
fn what_the_server_refuses_or_garbles_is_said_and_changes_nothing() {
    let (ca, other) = (Ca::new(), Ca::new());
    let problem = json!({"title": "Forbidden", "status": 403, "detail": "the token was used already"});
    let reply = |ca: &str, cert: &str| json!({"hostname": HOST_ID, "ca": ca, "cert": cert}).to_string();
    let foreign = ca.issue(rig::pki::Role::Host, HOST_ID).cert;
    let json = "application/json";
    let whole = answer("200 OK", json, &reply(&ca.pem, &foreign));
    let cases = [
        (
            answer("403 Forbidden", "application/problem+json", &problem.to_string()),
            "the token was used already",
        ),
        (answer("500 Internal Server Error", "text/plain", "oops"), "HTTP status 500"),
        (answer("200 OK", json, "{\"hostname\":1}"), "not understood"),
        (answer("200 OK", json, "<html>"), "not understood"),
        (answer("200 OK", json, &reply(&other.pem, &foreign)), "another CA"),
        (answer("200 OK", json, &reply("no PEM", &foreign)), "another CA"),
        (answer("200 OK", json, &reply(&ca.pem, "no PEM")), "certificate"),
        // A certificate, and for the right host, but of a key that the agent has not.
        (whole.clone(), "certificate"),
        (whole[..whole.len() / 2].to_owned(), "in the middle of its answer"),
        (String::new(), "in the middle of its answer"),
        ("SSH-2.0-OpenSSH_9.2\r\n".into(), "not HTTP"),
        ("HTTP/1.1 200 OK\r\n\r\n".into(), "Content-Length"),
        (format!("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{whole}"), "too long"),
    ];
    for (bytes, reason) in cases {
        for host in hosts(&ca) {
            let before = content(&host);
            let ((code, out, err), ()) = exchange(&ca, &host, |mut link| {
                link.http_request();
                link.send_what_goes(bytes.as_bytes());
                link.hang_up();
            });
            assert_eq!((code, out.as_str()), (Some(1), ""), "{reason}: {err}");
            assert!(
                err.starts_with("gearman: ") && err.contains(reason) && err.lines().count() == 1,
                "{reason}: {err}"
            );
            assert_eq!(content(&host), before, "{reason}");
            assert!(fs::read_dir(host.folder()).unwrap().count() <= 2, "{reason}: nothing is left beside");
        }
    }
}

#[test]
fn a_server_with_another_fingerprint_learns_nothing() {
    let (ca, other) = (Ca::new(), Ca::new());
    for host in hosts(&ca) {
        let before = content(&host);
        let polaris = Polaris::http(&other);
        host.configure("127.0.0.1", "");
        let server = polaris.server();
        let (said, heard) = thread::scope(|scope| {
            let hearing = scope.spawn(|| polaris.try_accept().ok().and_then(|mut link| link.next()));
            (enroll(&host, &server, &token(&ca).to_string()), hearing.join().unwrap())
        });
        assert_eq!((said.0, heard), (Some(1), None));
        assert!(said.2.contains("is not the Polaris that printed the token"), "{}", said.2);
        assert_eq!(content(&host), before);
    }
}

#[test]
fn a_server_that_is_not_there_or_no_server_is_said() {
    let ca = Ca::new();
    let host = Host::new();
    host.configure("127.0.0.1", "");
    let good = token(&ca).to_string();
    // An address that no other test binds, so that the port stays free.
    let nobody = TcpListener::bind("127.0.73.1:0").unwrap().local_addr().unwrap().to_string();
    let (code, _, err) = enroll(&host, &nobody, &good);
    assert!(code == Some(1) && err.contains(&nobody) && err.contains("refused"), "{err}");

    // One that hangs up at once, and one that speaks something else.
    for greeting in ["", "220 mail.example ESMTP\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap().to_string();
        listener.set_nonblocking(true).unwrap();
        let (code, _, err) = thread::scope(|scope| {
            scope.spawn(|| {
                let (mut socket, _) = until("a call", || listener.accept().ok());
                let _ = std::io::Write::write_all(&mut socket, greeting.as_bytes());
            });
            enroll(&host, &server, &good)
        });
        assert_eq!(code, Some(1), "{err}");
        assert!(err.starts_with("gearman: ") && err.lines().count() == 1, "{err}");
    }
    assert!(!host.path("pki").exists());
}

#[test]
fn a_damaged_token_or_server_is_refused_before_anything_is_sent() {
    let ca = Ca::new();
    let polaris = Polaris::http(&ca);
    let host = Host::new();
    host.configure("127.0.0.1", "");
    let good = token(&ca).to_string();
    for damaged in ["", "x", &good[1..], &good[..good.len() - 1], &good.replace('.', "")] {
        let (code, _, err) = enroll(&host, &polaris.server(), damaged);
        assert!(code == Some(2) && err.contains("token is damaged"), "{damaged}: {err}");
    }
    for server in ["127.0.0.1:0", "a b", "http://polaris.example"] {
        let (code, _, err) = enroll(&host, server, &good);
        assert!(code == Some(2) && err.contains("--enroll") && err.contains(server), "{err}");
    }
    assert!(polaris.has_caller().is_none());
    assert!(!host.path("pki").exists());
}

#[test]
fn a_folder_with_files_of_others_is_left_alone_and_the_token_unused() {
    let ca = Ca::new();
    let polaris = Polaris::http(&ca);
    let host = Host::new();
    host.configure("127.0.0.1", "");
    fs::create_dir(host.path("pki")).unwrap();
    fs::write(host.path("pki/shadow"), "x").unwrap();
    let before = content(&host);
    let (code, _, err) = enroll(&host, &polaris.server(), &token(&ca).to_string());
    assert!(code == Some(1) && err.contains("shadow"), "{err}");
    assert_eq!(content(&host), before);
    assert!(polaris.has_caller().is_none(), "what cannot be kept is not asked for");
}

/// `boot --enroll` on this host, which is to have one more agent, and goes to the background.
fn enroll_boot(host: &Host, server: &str, token: &str) -> (Option<i32>, String, String) {
    let mut command = host.boot_command();
    parts(&command.args(["--enroll", server, "--token", token, "--install", "web"]).output().unwrap())
}

#[test]
fn boot_tries_what_can_fail_before_its_token_is_used_and_shows_it_to_nobody_afterwards() {
    let (ca, host) = (Ca::new(), Host::new());
    let (polaris, token) = (Polaris::http(&ca), token(&ca).to_string());
    let server = polaris.server();
    host.configure_boot("127.0.0.1:1");
    for name in ["boot.log", "boot.db", "boot.pid"] {
        fs::create_dir(host.path(name)).unwrap();
        let (code, _, err) = enroll_boot(&host, &server, &token);
        assert!(code == Some(1) && err.contains(name), "{name}: {err}");
        fs::remove_dir(host.path(name)).unwrap();
    }
    assert!(polaris.has_caller().is_none(), "the token can still be used");
    let kept = || Kept::load(&Store::open(&host.path("boot.db"), SystemTime::UNIX_EPOCH).unwrap()).unwrap();
    for is_refused in [true, false] {
        let (code, out, err) = thread::scope(|scope| {
            scope.spawn(|| {
                let mut link = polaris.accept();
                let (_, body) = link.http_request();
                let body: Value = serde_json::from_slice(&body).unwrap();
                let cert = ca.sign(body["csr"].as_str().unwrap(), HOST_ID);
                let reply = json!({"hostname": HOST_ID, "ca": ca.pem, "cert": cert}).to_string();
                let status = if is_refused { "403 Forbidden" } else { "200 OK" };
                link.send_bytes(answer(status, "application/json", &reply).as_bytes());
            });
            enroll_boot(&host, &server, &token)
        });
        assert_eq!(code, Some(i32::from(is_refused)), "{err}");
        assert_eq!(out.contains(HOST_ID), !is_refused, "{out}");
        if is_refused {
            assert_eq!(kept(), Kept::default(), "of a host that is not enrolled nothing is kept");
        }
    }
    // It is ready by the time that its starter has ended.
    let pid = host.boot_pid().expect("it runs");
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(line.contains("boot.conf") && !line.contains("token") && !line.contains(&token), "{line}");
    assert!(!line.contains(&token[..8]) && !line.contains("--enroll"), "{line}");
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM).unwrap();
    until("its end", || (!process::is_alive(pid)).then_some(()));
    let kept = kept();
    assert_eq!((kept.enrolled[0].to_string(), kept.wanted), (server, vec!["web".to_owned()]));
}
