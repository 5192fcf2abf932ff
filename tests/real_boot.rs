//! The built boot on this host: agents from archives, installed, upgraded, rolled back, kept running
//! and found again; and servers that mean it no good.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

mod rig;

use nix::sys::signal::Signal;
use rig::agent::{Agent, Host};
use rig::boot::{Reports, lying_ftp, redirecting_for_ever, until};
use rig::daemons::{STAYS, packed};
use rig::pki::Ca;
use rig::polaris::Polaris;
use serde_json::{Value, json};
use std::fs;
use std::process::Stdio;
use std::time::Duration;

/// A host and its server.
fn host() -> (Host, Reports, Ca) {
    let ca = Ca::new();
    let reports = Reports::start(&ca);
    let host = Host::enrolled(&ca);
    host.configure_boot(&reports.server);
    (host, reports, ca)
}

/// A job for a package of this script.
fn job(host: &Host, id: &str, action: &str, version: &str, script: &str) -> Value {
    let (url, checksum) = packed(host, &format!("web-{version}"), &[("run", script)]);
    json!({"id": id, "action": action, "name": "web", "url": url, "checksum": checksum, "start": "./run",
        "start_delay": 1})
}

fn simple(id: &str, action: &str) -> Value {
    json!({"id": id, "action": action, "name": "web"})
}

/// The one process of the agent.
fn pid(host: &Host) -> i32 {
    until("one process of the agent", || <[i32; 1]>::try_from(host.processes()).ok())[0]
}

fn rss_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

#[test]
fn an_agent_is_installed_upgraded_rolled_back_and_taken_away() {
    let (host, reports, _ca) = host();
    reports.send(&[job(&host, "1", "install", "1", STAYS)]);
    let mut boot = host.start_boot();
    assert_eq!(reports.end_of("1"), (0, "success".into()));
    let before = pid(&host);
    until("a boot of at most 4 MiB", || (rss_kib(boot.pid()) <= 4 * 1024).then_some(()));

    // It goes on without boot, and is found again.
    boot.signal(Signal::SIGTERM);
    assert!(boot.ended().success());
    assert_eq!(pid(&host), before);
    reports.forget_reports();
    reports.send(&[
        job(&host, "2", "upgrade", "2", STAYS),
        job(&host, "3", "upgrade", "3", "#!/bin/sh\necho broken\nexit 7\n"),
    ]);
    let mut boot = host.start_boot();
    let report = reports.report("a report of the next boot", |_| true);
    let agent = &report["agents"][0];
    assert_eq!((&agent["name"], &agent["version"]), (&json!("web"), &json!("1")), "{report}");
    assert_eq!(agent["status"], "running", "{report}");
    assert_eq!(reports.end_of("2"), (0, "success".into()));
    let (errcode, message) = reports.end_of("3");
    assert_eq!(errcode, 3303, "{message}");
    assert!(message.contains("exit status 7") && message.ends_with("version 2 is as it was"), "{message}");
    let report = reports.report("version 2", |report| report["agents"][0]["version"] == "2");
    assert_eq!(report["agents"][0]["status"], "running");
    let after = pid(&host);
    assert_ne!(after, before);

    // However boot ends.
    boot.signal(Signal::SIGKILL);
    boot.ended();
    assert_eq!(pid(&host), after);
    reports.send(&[simple("4", "restart"), simple("5", "stop"), simple("6", "uninstall")]);
    let _boot = host.start_boot();
    for id in ["4", "5", "6"] {
        assert_eq!(reports.end_of(id), (0, "success".into()), "{id}");
    }
    assert_eq!(host.processes(), [] as [i32; 0]);
    assert!(!host.path("agents/web").exists());
    reports.report("no agent", |report| report["agents"] == json!([]));
    for id in ["1", "2", "3", "4", "5", "6"] {
        assert_eq!(reports.ends_of(id), 1, "{id}");
    }
}

#[test]
fn packages_that_are_not_what_they_should_be_leave_the_host_as_it_was() {
    let (host, reports, _ca) = host();
    let good = job(&host, "1", "install", "1", STAYS);
    reports.send(std::slice::from_ref(&good));
    let mut boot = host.start_boot();
    assert_eq!(reports.end_of("1").0, 0);
    let before = pid(&host);
    boot.signal(Signal::SIGKILL);
    boot.ended();
    let from = |id: &str, url: String| {
        let mut job = good.clone();
        (job["id"], job["action"], job["url"]) = (json!(id), json!("upgrade"), json!(url));
        job["timeout"] = json!(10);
        job
    };
    let other = packed(&host, "other-2", &[("run", "#!/bin/sh\nexit 1\n")]).0;
    reports.send(&[
        from("wrong", other.clone()),
        from("loop", format!("http://{}/web-2.tar.gz", redirecting_for_ever())),
        from("ftp", format!("ftp://{}/web-2.tar.gz", lying_ftp())),
    ]);
    let mut boot = host.start_boot();
    for (id, errcodes) in [("wrong", [3302, 3302]), ("loop", [3301, 3301]), ("ftp", [3301, 3302])] {
        let (errcode, message) = reports.end_of(id);
        assert!(errcodes.contains(&errcode), "{id}: {errcode} {message}");
        assert!(message.ends_with("version 1 is as it was"), "{id}: {message}");
        assert_eq!(pid(&host), before, "{id}");
    }
    assert!(boot.is_alive());
    let installed = fs::read_link(host.path("agents/web/current")).unwrap();
    assert_eq!(installed.file_name().unwrap(), "1");
}

#[test]
fn servers_that_mean_no_good_are_passed_over() {
    let ca = Ca::new();
    let reports = Reports::start(&ca);
    let host = Host::enrolled(&ca);
    let big = format!("HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n{}", "x".repeat(2_000_000));
    let answers: Vec<(&str, Vec<u8>)> = vec![
        ("no HTTP", b"SSH-2.0-OpenSSH_9\r\n".to_vec()),
        ("huge", big.into_bytes()),
        ("half", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec()),
        ("no length", b"HTTP/1.1 200 OK\r\n\r\n{\"errcode\":0}".to_vec()),
        ("in pieces", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_vec()),
        ("types", b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"errcode\":\"x\"}".to_vec()),
        ("elsewhere", b"HTTP/1.1 301 Moved\r\nLocation: https://x/\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("nothing", b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        ("at once", Vec::new()),
    ];
    let mut servers = Vec::new();
    for (_, answer) in answers {
        let polaris = Polaris::exchanges(&ca);
        servers.push(polaris.server());
        std::thread::spawn(move || {
            let mut link = polaris.accept();
            link.try_http_request();
            link.send_what_goes(&answer);
            link.hang_up();
        });
    }
    // One that is of another CA, and one that says its answer a byte at a time.
    let stranger = Polaris::exchanges(&Ca::new());
    servers.push(stranger.server());
    std::thread::spawn(move || while stranger.try_accept().is_err() {});
    let slow = Polaris::exchanges(&ca);
    servers.push(slow.server());
    std::thread::spawn(move || {
        let mut link = slow.accept();
        link.try_http_request();
        for byte in b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat(&b'x')).take(1000) {
            link.send_what_goes(&[*byte]);
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    servers.push(reports.server.clone());
    host.configure_boot(&servers.join(","));
    reports.send(&[job(&host, "1", "install", "1", STAYS)]);
    let mut boot = host.start_boot();
    assert_eq!(reports.end_of("1"), (0, "success".into()), "the last of the list is asked");
    assert!(boot.is_alive());
    pid(&host);
}

#[test]
fn killed_at_any_moment_of_its_jobs_it_leaves_one_version_that_works() {
    let (host, reports, _ca) = host();
    let mut random = fastrand::Rng::with_seed(8);
    let mut kills = 0;
    for round in 1..=10 {
        let version = round.to_string();
        let mut change =
            job(&host, &version, if round == 1 { "install" } else { "upgrade" }, &version, STAYS);
        change["start_delay"] = json!(0);
        reports.send(&[change]);
        for _ in 0..5 {
            let mut boot = host.start_boot();
            std::thread::sleep(Duration::from_millis(random.u64(0..600)));
            boot.signal(Signal::SIGKILL);
            boot.ended();
            kills += 1;
        }
        let mut boot = host.start_boot();
        assert_eq!(reports.end_of(&version), (0, "success".into()), "after {kills} kills");
        pid(&host);
        let installed = fs::read_link(host.path("agents/web/current")).unwrap();
        assert_eq!(installed.file_name().unwrap().to_str(), Some(version.as_str()));
        boot.signal(Signal::SIGKILL);
        boot.ended();
    }
    let ends: Vec<u64> = (1..=10).flat_map(|round| reports.errcodes_of(&round.to_string())).collect();
    assert!(ends.iter().all(|errcode| *errcode == 0), "{ends:?}");
}

/// Of a process: whether it runs.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn boot_is_replaced_and_a_version_that_does_not_work_is_not_kept() {
    let (host, reports, _ca) = host();
    reports.send(&[job(&host, "1", "install", "1", STAYS)]);
    // A copy, as it is going to be replaced.
    let installed = host.path("installed");
    fs::create_dir(&installed).unwrap();
    let program = installed.join("boot");
    fs::copy(env!("CARGO_BIN_EXE_boot"), &program).unwrap();
    let mut old = Agent::of(host.boot_command_of(&program).arg("-f").stdin(Stdio::null()).spawn().unwrap());
    assert_eq!(reports.end_of("1").0, 0);
    let agent = pid(&host);
    let upgrade = |id: &str, version: &str, script: Option<&str>| {
        let name = format!("boot-{version}");
        let mut package = packed(&host, &name, &[("boot", script.unwrap_or("x"))]);
        if script.is_none() {
            fs::copy(env!("CARGO_BIN_EXE_boot"), host.path(&format!("{name}.files/boot"))).unwrap();
            package = packed(&host, &name, &[]);
        }
        json!({"id": id, "action": "upgrade", "name": "BootAgent", "url": package.0, "checksum": package.1})
    };
    reports.send(&[upgrade("2", "2.0", None)]);
    let first = old.pid();
    assert_eq!(reports.end_with("2", |errcode| errcode != 1), (0, "success".into()));
    assert!(old.ended().success());
    let second = until("another boot", || host.boot_pid().filter(|pid| *pid != first && runs(*pid)));
    // Both results are told: that it goes on, and how it ended.
    assert_eq!(reports.errcodes_of("2"), [1, 0]);
    assert_eq!(pid(&host), agent, "agents go on");
    reports.send(&[upgrade("3", "3.0", Some("#!/bin/sh\necho no good >&2\nexit 3\n"))]);
    let (errcode, message) = reports.end_with("3", |errcode| errcode != 1);
    assert_eq!(errcode, 3303, "{message}");
    assert!(message.contains("no good"), "{message}");
    assert!(host.boot_pid() == Some(second) && runs(second), "{second}");
    assert_eq!(fs::read(&program).unwrap(), fs::read(env!("CARGO_BIN_EXE_boot")).unwrap());
    assert_eq!(pid(&host), agent);
}

#[test]
fn the_program_says_what_it_is_and_what_is_wrong() {
    let (host, _reports, _ca) = host();
    let run = |arguments: &[&str]| host.boot_command().args(arguments).output().unwrap();
    let (code, out, _) = rig::agent::parts(&run(&["-V"]));
    assert_eq!((code, out.starts_with("bootagent-")), (Some(0), true), "{out}");
    let (code, out, _) = rig::agent::parts(&run(&["-h"]));
    assert_eq!((code, out.contains("Usage: boot")), (Some(0), true), "{out}");
    let (code, out, _) = rig::agent::parts(&run(&["-t"]));
    assert_eq!((code, out.as_str()), (Some(0), "Success\n"));
    fs::write(host.path("boot.conf"), "[report]\nstep = 5\n").unwrap();
    let (code, out, why) = rig::agent::parts(&run(&["-t"]));
    assert_eq!((code, out.as_str()), (Some(1), "Failed!!!\n"));
    assert!(why.contains("report.step: must be from 60 to 3600"), "{why}");
}
