//! Both real programs: the host's certificate is renewed before it ends, whatever becomes of the agent
//! meanwhile.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

mod fleet;

use fleet::{Fleet, eventually};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

fn fleet() -> Fleet {
    Fleet::start(env!("CARGO_BIN_EXE_gearman"), "dev", "")
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn pki(fleet: &Fleet, name: &str) -> String {
    fs::read_to_string(fleet.path("pki").join(name)).unwrap()
}

/// Ends the agent and gives it a certificate, signed with the server's own key, that began and ends so
/// many days from now.
fn age(fleet: &mut Fleet, begins: i64, ends: i64) {
    kill(fleet);
    let ca_key = KeyPair::from_pem(&fs::read_to_string(fleet.polaris.data.join("pki/ca.key")).unwrap());
    let ca = Issuer::new(named("Polaris CA"), ca_key.unwrap());
    let day = |days: i64| {
        let distance = Duration::from_hours(24 * days.unsigned_abs());
        if days < 0 { SystemTime::now() - distance } else { SystemTime::now() + distance }
    };
    let mut params = named(&fleet.host_id);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (day(begins).into(), day(ends).into());
    let key = KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, &ca).unwrap().pem();
    for (name, content) in [("cert.pem", cert), ("key.pem", key.serialize_pem())] {
        fs::write(fleet.path("pki").join(name), content).unwrap();
    }
}

/// How often the agent's log has this.
fn logged(fleet: &Fleet, what: &str) -> usize {
    fleet.agent_log().matches(what).count()
}

/// Starts the agent and waits for its link.
fn start(fleet: &mut Fleet) {
    let before = logged(fleet, "link=ready");
    fleet.start_gearman();
    eventually("a link", || (logged(fleet, "link=ready") > before).then_some(()));
}

/// kill -9, and waits until a child that it had just forked is gone as well: that holds the pid file's
/// lock until it has closed what it inherited.
fn kill(fleet: &mut Fleet) {
    fleet.gearman.kill();
    let pid_file = fs::File::open(fleet.path("gearman.pid")).unwrap();
    eventually("the pid file's lock is free", || pid_file.try_lock().ok());
}

fn host(fleet: &Fleet) -> Value {
    fleet.polaris.get(&format!("/api/v1/hosts/{}", fleet.host_id))
}

/// Open descriptors, and children.
fn holds(pid: u32) -> (usize, String) {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    (descriptors, fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap())
}

#[test]
fn a_certificate_that_ends_soon_is_renewed_by_the_link_and_shown_by_the_next_one() {
    let mut fleet = fleet();
    let enrolled = host(&fleet)["certificate"].clone();
    age(&mut fleet, -300, 60);
    let aged = ["cert.pem", "key.pem"].map(|name| pki(&fleet, name));
    start(&mut fleet);
    let pid = fleet.gearman.pid();
    eventually("the agent has the new certificate", || {
        (logged(&fleet, "certificate=renewed expires=20") == 1).then_some(())
    });
    for (name, old) in ["cert.pem", "key.pem"].iter().zip(aged) {
        assert_ne!(pki(&fleet, name), old);
        let mode = fs::metadata(fleet.path("pki").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
    assert_eq!(fs::read_dir(fleet.path("pki")).unwrap().count(), 3, "nothing is left over");
    // Within a second or so of what enrolment gave, and not in sixty days.
    let renewed = eventually("the server knows", || {
        let certificate = host(&fleet)["certificate"].clone();
        (certificate["expires"].as_str() >= enrolled["expires"].as_str()).then_some(certificate)
    });
    assert_ne!(renewed["serial"], enrolled["serial"]);
    assert_eq!(fleet.run(&serde_json::json!({"cmd": "echo still here"}))["data"], "still here\n");
    assert_eq!(logged(&fleet, "link=down"), 0, "the link went on");
    let before = eventually("no child is left", || Some(holds(pid)).filter(|holds| holds.1.is_empty()));

    let links = logged(&fleet, "link=ready");
    fleet.restart_polaris("dev");
    eventually("another link", || (logged(&fleet, "link=ready") > links).then_some(()));
    fleet.wait_online();
    let shown = host(&fleet);
    assert_eq!(shown["certificate"], renewed, "the next link shows it");
    assert_eq!(shown["conflict"], Value::Null, "{shown}");
    assert_eq!(fleet.gearman.pid(), pid);
    assert_eq!(logged(&fleet, "certificate="), 1, "once: {}", fleet.agent_log());
    eventually("no descriptor is left open", || (holds(pid) == before).then_some(()));
}

#[test]
fn whenever_the_agent_is_killed_while_it_renews_it_comes_back() {
    let mut fleet = fleet();
    for round in 0..16 {
        age(&mut fleet, -300, 60);
        start(&mut fleet);
        // Somewhere between the new key and both files in their places, which takes so long or longer.
        std::thread::sleep(Duration::from_millis(4 * round));
        kill(&mut fleet);
        start(&mut fleet);
    }
    eventually("the last one is renewed", || {
        let expires = host(&fleet)["certificate"]["expires"].as_str().unwrap().to_owned();
        let soon = humantime::format_rfc3339_millis(SystemTime::now() + Duration::from_hours(24 * 100));
        (expires > soon.to_string()).then_some(())
    });
    assert_eq!(fs::read_dir(fleet.path("pki")).unwrap().count(), 3, "nothing is left over");
}

#[test]
fn an_expired_certificate_is_named_as_such_on_both_sides() {
    let mut fleet = fleet();
    age(&mut fleet, -300, -1);
    fleet.start_gearman();
    let line = eventually("the agent says so", || {
        let log = fleet.agent_log();
        log.lines().find(|line| line.contains("certificate expired on")).map(str::to_owned)
    });
    assert!(line.contains("pki/cert.pem: certificate expired on 20"), "{line}");
    assert!(line.contains(": enrol anew (gearman --enroll)"), "{line}");
    let log = fs::read_to_string(fleet.polaris.data.join("polaris.log")).unwrap();
    assert!(log.contains("the host's certificate expired on 20"), "{log}");
}
