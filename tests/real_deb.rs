//! A daemon's package from end to end: a .deb that is built here, served by the
//! real nginx and the real vsftpd, installed by the real dpkg, supervised,
//! upgraded, rolled back and removed by the real agent. That takes root on Debian
//! with nginx and vsftpd, as `tests/run` installs them.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![expect(clippy::disallowed_methods, reason = "real programs take real time")]

#[path = "../src/package/tests/system/build.rs"]
mod build;
mod rig;
#[path = "../src/package/tests/system/served.rs"]
mod served;

use build::Deb;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rig::agent::{Agent, Host};
use rig::daemons::{Told, checksum, definition};
use rig::pki::Ca;
use rig::until;
use serde_json::{Value, json};
use served::{Server, ready};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// It tells its version and waits to be ended.
const STAYS: &str = "echo \"version $(cat \"$(dirname \"$0\")/version\")\"\nexec sleep 1000000";

/// Two tests' dpkg would finish each other's work.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Everything that a package's way takes. Fields end in this order.
struct Way {
    agent: Agent,
    host: Host,
    told: Told,
    deb: Deb,
    nginx: Server,
    vsftpd: Server,
    _one: MutexGuard<'static, ()>,
}

impl Way {
    /// `None`, and said aloud, where this machine cannot show it.
    fn new(tag: &str) -> Option<Way> {
        if !(ready("nginx") && ready("vsftpd")) {
            return None;
        }
        let one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let ca = Ca::new();
        let (told, host) = (Told::start(&ca), Host::enrolled(&ca));
        host.configure(&told.server, "");
        let agent = host.start();
        host.logged(&["link=ready"]);
        let mut deb = Deb::new(tag);
        (deb.script, deb.has_config) = (STAYS, false);
        let [mut nginx, mut vsftpd] = [Server::new("nginx"), Server::new("vsftpd")];
        nginx.start(false);
        vsftpd.start(false);
        Some(Way { agent, host, told, deb, nginx, vsftpd, _one: one })
    }

    /// Defines the daemon as of this version.
    fn define(&self, version: &str, url: &str, checksum: &str) {
        let package = (url.to_owned(), checksum.to_owned());
        // One that ends at once does so before this is over, on however loaded a machine.
        let start_delay = if self.deb.script == STAYS { 0 } else { 60 };
        let more = json!({"version": version, "start": self.deb.program(), "start_delay": start_delay});
        self.host.asks("daemon.init", &definition("monitor", &package, &more)).unwrap();
    }

    /// Builds a version, has it served, and defines the daemon so.
    fn publish(&self, version: &str, server: &Server, scripts: &[(&str, &str)]) {
        let file = self.deb.build(version, "", scripts);
        server.publish(&file);
        self.define(version, &server.url("pub/monitor.deb"), &checksum(&file));
    }

    /// Waits until it runs from this version's package, and returns what is said of it.
    fn runs(&self, version: &str) -> Value {
        let running = until(&format!("version {version}, not {}", self.host.daemon("monitor")), || {
            let daemon = self.host.daemon("monitor");
            let is_it = daemon["status"] == "running" && daemon["installed"] == version;
            is_it.then_some(daemon)
        });
        assert_eq!((self.deb.version().as_deref(), &*self.deb.state()), (Some(version), "installed ok"));
        running
    }

    /// Waits until its processes have written this, and nothing else.
    fn has_written(&self, words: &str) {
        until(&format!("{words:?}, not {:?}", self.host.written("monitor")), || {
            (self.host.written("monitor") == words).then_some(())
        });
    }
}

fn pid(daemon: &Value) -> i32 {
    i32::try_from(daemon["pid"].as_i64().unwrap()).unwrap()
}

#[test]
fn a_real_package_is_installed_supervised_upgraded_rolled_back_and_removed() {
    let Some(mut way) = Way::new("way") else { return };
    way.publish("1.0", &way.nginx, &[]);
    let first = way.runs("1.0");
    way.has_written("version 1.0\n");

    kill(Pid::from_raw(pid(&first)), Signal::SIGKILL).unwrap();
    until("another process", || (way.runs("1.0")["pid"] != first["pid"]).then_some(()));
    way.has_written("version 1.0\nversion 1.0\n");
    assert_eq!(way.told.with(3102)["signal"], 9);

    way.publish("2.0", &way.vsftpd, &[]);
    way.runs("2.0");
    way.has_written("version 1.0\nversion 1.0\nversion 2.0\n");

    // Without the server that the good version came from.
    way.vsftpd.stop();
    way.deb.script = "echo no such database >&2; exit 3";
    way.publish("3.0", &way.nginx, &[]);
    let event = way.told.with(3303);
    let reason = event["detail"].as_str().unwrap();
    assert!(reason.starts_with("version 3.0 did not come up, and version 2.0 is brought back"), "{reason}");
    let event = way.told.with(3101);
    assert!(event["data"].as_str().unwrap().ends_with("no such database"), "{event}");
    way.runs("2.0");

    way.host.wants("remove", "monitor");
    let gone = way.told.of("the daemon's end", |event| event["daemon"]["removed"] == true);
    assert_eq!((gone["retcode"].as_u64(), &gone["daemon"]["name"]), (Some(2), &json!("monitor")));
    assert_eq!(way.host.daemon("monitor"), Value::Null);
    assert!(["none", "not-installed ok"].contains(&&*way.deb.state()), "{}", way.deb.state());
    assert!(!Path::new(&way.deb.program()).exists() && !way.host.path("daemon/monitor").exists());
    assert!(way.host.processes().is_empty());
}

#[test]
fn what_an_agent_did_not_install_to_its_end_the_next_one_does() {
    let Some(mut way) = Way::new("midst") else { return };
    way.publish("1.0", &way.nginx, &[("postinst", &way.deb.waiting())]);
    until("the package's script", || way.deb.pids());
    way.agent.signal(Signal::SIGKILL);
    way.agent.ended();
    assert_eq!(way.deb.state(), "half-configured ok");
    way.agent = way.host.start();
    // The dpkg of the one before still waits for its script, and is waited for.
    way.host.comes_to("monitor", "installing");
    way.deb.go();
    way.runs("1.0");
}

#[test]
fn what_cannot_be_had_is_told_and_what_runs_is_left_alone() {
    let Some(way) = Way::new("refused") else { return };
    way.publish("1.0", &way.nginx, &[]);
    let running = way.runs("1.0");
    let (url, wrong) = (way.vsftpd.url("pub/monitor.deb"), format!("SHA256:{:064x}", 7));
    way.vsftpd.publish(&way.deb.build("2.0", "", &[]));
    way.define("2.0", &url, &wrong);
    let event = way.told.with(3302);
    assert!(event["detail"].as_str().unwrap().contains(&wrong[7..]), "{event}");
    way.define("2.0", &way.nginx.url("pub/missing.deb"), &wrong);
    let event = way.told.with(3301);
    assert!(event["detail"].as_str().unwrap().contains("404"), "{event}");
    // It is asked for again and again; meanwhile the version that is there goes on.
    let left_alone = way.runs("1.0");
    assert_eq!((&left_alone["pid"], &left_alone["restarts"]), (&running["pid"], &json!(0)));
    way.has_written("version 1.0\n");
}
