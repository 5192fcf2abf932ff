//! The built boot on this host: agents from archives, installed, upgraded, rolled back, kept running
//! and found again; and servers that mean it no good.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

mod rig;

use nix::sys::signal::Signal;
use rig::agent::{Agent, Host};
use rig::boot::{Reports, lying_ftp, redirecting_for_ever, until, until_within};
use rig::daemons::{STAYS, packed};
use rig::pki::Ca;
use rig::polaris::{Link, Polaris};
use rig::process;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
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

/// What boot has in memory, in KiB, at moments of three seconds at which it sleeps and has nobody at
/// work, but for this agent.
fn resting_kib(boot: u32, agent: i32) -> Vec<u64> {
    let is_alone = || process::children(boot).iter().all(|child| *child == agent.cast_unsigned());
    let sample = || {
        let was_alone = is_alone();
        let status = fs::read_to_string(format!("/proc/{boot}/status")).unwrap();
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        let kib = field("VmRSS:").trim_end_matches(" kB").parse().unwrap();
        (was_alone && is_alone() && field("State:").starts_with('S')).then_some(kib)
    };
    let pause = || std::thread::sleep(Duration::from_millis(100));
    (0..30).map(|_| until("boot to rest", sample)).inspect(|_| pause()).collect()
}

#[test]
fn an_agent_is_installed_upgraded_rolled_back_and_taken_away() {
    let (host, reports, _ca) = host();
    reports.send(&[job(&host, "1", "install", "1", STAYS)]);
    let mut boot = host.start_boot();
    assert_eq!(reports.end_of("1"), (0, "success".into()));
    let before = pid(&host);
    reports.report("that it runs", |report| report["agents"][0]["status"] == "running");
    let kib = resting_kib(boot.pid(), before);
    assert!(kib.iter().all(|kib| *kib <= 4 * 1024), "at most 4 MiB: {kib:?}");

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

/// Whoever calls this server, which may have its turn after all the others.
fn caller(polaris: &Polaris, what: &str) -> TcpStream {
    until_within(Duration::from_mins(3), &format!("boot to ask {what}"), || polaris.has_caller())
}

/// A server that hears one request, does this, and is gone: its address, and whether it was as it should
/// be.
fn called_once(
    polaris: Polaris,
    what: &'static str,
    does: impl FnOnce(&mut Link) -> bool + Send + 'static,
) -> (String, JoinHandle<bool>) {
    let server = polaris.server();
    let thread = std::thread::spawn(move || {
        let mut link = polaris.shake_hands(caller(&polaris, what)).unwrap();
        // Nobody is to wait in vain to be accepted.
        drop(polaris);
        let is_good = link.try_http_request().is_some() && does(&mut link);
        link.hang_up();
        is_good
    });
    (server, thread)
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
    let mut reached = Vec::new();
    for (what, answer) in answers {
        let (server, thread) = called_once(Polaris::exchanges(&ca), what, move |link| {
            link.send_what_goes(&answer);
            true
        });
        servers.push(server);
        reached.push((what, thread));
    }
    // One that is of another CA, and one that says its answer a byte at a time.
    let stranger = Polaris::exchanges(&Ca::new());
    servers.push(stranger.server());
    let is_refused = move || stranger.shake_hands(caller(&stranger, "stranger")).is_err();
    reached.push(("stranger", std::thread::spawn(is_refused)));
    let (server, thread) = called_once(Polaris::exchanges(&ca), "slow", |link| {
        let answer = b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat(&b'x')).take(2000);
        let mut bytes = answer.map(|byte| {
            std::thread::sleep(Duration::from_millis(100));
            link.send_what_goes(&[*byte])
        });
        bytes.any(|is_there| !is_there)
    });
    servers.push(server);
    reached.push(("slow", thread));
    servers.push(reports.server.clone());
    host.configure_boot(&servers.join(","));
    reports.send(&[job(&host, "1", "install", "1", STAYS)]);
    let mut boot = host.start_boot();
    for (what, thread) in reached {
        assert!(thread.join().unwrap(), "{what}: was asked, and left");
    }
    assert_eq!(reports.end_of("1"), (0, "success".into()), "the last of the list is asked");
    assert!(boot.is_alive());
    pid(&host);
}

#[test]
fn killed_at_any_moment_of_its_jobs_it_leaves_one_version_that_works() {
    let (host, reports, _ca) = host();
    let mut random = fastrand::Rng::with_seed(8);
    // All, those after a job was begun, and those before it had ended.
    let (mut kills, mut late, mut amid) = (0, 0, 0);
    let mut working = String::new();
    for round in 1..=10 {
        let version = round.to_string();
        let is_good = round % 3 != 0;
        let script = if is_good { STAYS } else { "#!/bin/sh\necho broken\nexit 7\n" };
        let action = if round == 1 { "install" } else { "upgrade" };
        let mut change = job(&host, &version, action, &version, script);
        // One that ends is seen to end before it counts as up, and what is undone takes longer.
        let (delay, most) = if is_good { (0, 600) } else { (1, 2000) };
        change["start_delay"] = json!(delay);
        reports.send(&[change]);
        let is_logged = |what: &str| host.boot_log().contains(&format!("job={what} id={version:?}"));
        for kill in 0..5 {
            let mut boot = host.start_boot();
            let wait = if kill == 0 {
                until("the job to begin", || is_logged("begun").then_some(()));
                random.u64(0..50)
            } else {
                random.u64(0..most)
            };
            std::thread::sleep(Duration::from_millis(wait));
            boot.signal(Signal::SIGKILL);
            boot.ended();
            kills += 1;
            late += usize::from(is_logged("begun"));
            amid += usize::from(is_logged("begun") && !is_logged("ended"));
        }
        let mut boot = host.start_boot();
        let (errcode, message) = reports.end_of(&version);
        assert_eq!(errcode, if is_good { 0 } else { 3303 }, "after {kills} kills: {message}");
        if is_good {
            working = version;
        }
        pid(&host);
        let installed = fs::read_link(host.path("agents/web/current")).unwrap();
        assert_eq!(installed.file_name().unwrap().to_str(), Some(working.as_str()));
        boot.signal(Signal::SIGKILL);
        boot.ended();
    }
    for round in 1..=10 {
        let ends = reports.errcodes_of(&round.to_string());
        let errcode = if round % 3 == 0 { 3303 } else { 0 };
        assert!(ends.iter().all(|end| *end == errcode), "{round}: {ends:?}");
    }
    // At least each round's first. How many of them a job outlived is the machine's to say.
    let counts = format!("{kills} kills, {late} of them late, {amid} amid");
    assert!(kills == 50 && late >= 10 && amid > 0, "{counts}");
}

#[test]
fn whatever_runs_of_a_host_ends_with_it() {
    let host = Host::new();
    let plan = host.path("plan.json");
    let script = "trap '' TERM; while :; do sleep 0.05; done";
    let mut helper = Agent::of(Command::new("sh").args(["-c", script]).arg(&plan).spawn().unwrap());
    let pid = helper.pid().cast_signed();
    until("it to run", || process::with_words(plan.to_str().unwrap()).contains(&pid).then_some(()));
    drop(host);
    assert_eq!(helper.ended().signal(), Some(Signal::SIGKILL as i32));
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
