//! From a bare host to a working one: with nothing but boot, a server and a token. And what boot does
//! to its agents and to itself from then on, on a host that has no other supervisor.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]
#![allow(clippy::print_stderr, reason = "a test that fails shows the host's logs")]

mod bare;
mod fleet;

use bare::Bare;
use bare::packages::{Packages, What};
use fleet::{Polaris, eventually, server_program};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// For a job, whose package is installed and whose agent is to come up, or not to.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server with a catalogue, and a host with boot alone. Fields end in this order.
struct World {
    bare: Bare,
    polaris: Polaris,
    packages: Packages,
    _data: TempDir,
}

impl World {
    /// `None` where this machine lets us make no bare host.
    fn new() -> Option<World> {
        let bare = Bare::start()?;
        let data = tempfile::tempdir().unwrap();
        let polaris = Polaris::start(&data.path().join("polaris"), "dev", "127.0.0.1:0");
        let world = World { bare, polaris, packages: Packages::new(), _data: data };
        let boot = world.boot("1.0");
        world.bare.bring(&boot, "/boot.deb");
        world.bare.says("dpkg --install /boot.deb && rm /boot.deb");
        Some(world)
    }

    fn boot(&self, version: &str) -> PathBuf {
        self.packages.deb("boot", version, &[("/usr/bin/boot", What::Built(env!("CARGO_BIN_EXE_boot")))])
    }

    fn gearman(&self, version: &str) -> PathBuf {
        let files = [
            ("/usr/bin/gearman", What::Built(env!("CARGO_BIN_EXE_gearman"))),
            ("/usr/bin/gearctl", What::Built(env!("CARGO_BIN_EXE_gearctl"))),
            ("/etc/cargo/gearman.conf", What::Config("packaging/etc/gearman.conf")),
        ];
        self.packages.deb("gearman", version, &files)
    }

    fn polarisctl(&self, words: &[&str]) -> String {
        let mut command = Command::new(server_program("polarisctl", "dev"));
        command.args(["--data", self.polaris.data.to_str().unwrap(), "--url", &self.polaris.url]);
        let output = command.args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Stores a package and has the catalogue name it.
    fn publish(&self, name: &str, version: &str, deb: &Path) {
        self.polarisctl(&["packages", "put", deb.to_str().unwrap(), "pool/"]);
        let file = format!("pool/{}", deb.file_name().unwrap().to_str().unwrap());
        self.polarisctl(&["plugins", "add", name, version, &file]);
    }

    /// The one command.
    fn enroll(&self, install: &[&str]) {
        let token = self.polaris.post("/api/v1/tokens", &json!({}))["token"].as_str().unwrap().to_owned();
        let mut boot = self.bare.command("/usr/bin/boot");
        boot.args(["--enroll", &self.polaris.agents, "--token", &token]);
        let output = boot.args(install.iter().flat_map(|name| ["--install", name])).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("This host is "), "{output:?}");
    }

    fn host(&self) -> Value {
        self.polaris.get("/api/v1/hosts")["hosts"][0].clone()
    }

    /// Waits until the server knows an agent to be so.
    fn agent(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        wait(what, || {
            let agents = self.polaris.get("/api/v1/boot/agents?name=gearman");
            Some(agents["agents"][0].clone()).filter(&is_it).ok_or(agents)
        })
    }

    /// Has the host do a job; the host's entry of what became of it.
    fn job(&self, job: Value) -> Value {
        let Value::Object(mut body) = job else { panic!("{job}") };
        body.insert("hosts".into(), json!([self.host()["id"]]));
        let job = self.polaris.post("/api/v1/boot/jobs", &body.into());
        // It need not wait for its step.
        self.bare.says("kill -HUP $(cat /run/cargo/boot.pid)");
        let path = format!("/api/v1/boot/jobs/{}", job["id"].as_str().unwrap());
        wait(&format!("the end of {job}"), || {
            let host = self.polaris.get(&path)["hosts"][0].clone();
            Some(host.clone())
                .filter(|host| ["done", "failed"].iter().any(|end| host["state"] == *end))
                .ok_or(host)
        })
    }

    /// What the host answers to a command.
    fn run(&self, cmd: &str) -> Value {
        let body = json!({"hosts": [self.host()["id"]], "method": "sync.bash", "cmd": cmd});
        self.polaris.post("/api/v1/requests", &body)["response"][0].clone()
    }

    /// A program of the host, as the host numbers it.
    fn pid(&self, program: &str) -> String {
        self.bare.says(&format!("cat /run/cargo/{program}.pid"))
    }

    fn installed(&self, package: &str) -> String {
        self.bare
            .says(&format!("dpkg-query --show --showformat='${{db:Status-Status}} ${{Version}}' {package}"))
    }

    fn online(&self) {
        wait("the host is online", || {
            let host = self.host();
            if host["status"] == "online" { Ok(()) } else { Err(host) }
        });
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["boot", "boot-upgrade", "gearman"] {
                let log = self.bare.read(&format!("/var/log/cargo/{name}.log"));
                eprintln!("the host's {name}.log:\n{}", log.unwrap_or_default());
            }
        }
    }
}

/// Until there is what is looked for; what is there meanwhile is told where it never comes.
fn wait<T>(what: &str, look: impl Fn() -> Result<T, Value>) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}, but {seen}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn running(version: &'static str) -> impl Fn(&Value) -> bool {
    move |agent| agent["status"] == "running" && agent["version"] == version
}

/// One command later: gearman is installed, runs, is linked, and answers.
fn one_command(world: &World) {
    world.publish("gearman", "1.0", &world.gearman("1.0"));
    world.enroll(&["gearman"]);
    world.online();
    assert_eq!(world.run("echo hi")["data"], "hi\n");
    assert_eq!(world.installed("gearman"), "installed 1.0");
    world.agent("gearman runs as 1.0", running("1.0"));
    let config = world.bare.read("/etc/cargo/gearman.conf").unwrap();
    assert!(config.contains(&format!("[link]\nserver = \"{}\"", world.polaris.agents)), "{config}");
    let config = world.bare.read("/etc/cargo/boot.conf").unwrap();
    assert!(config.contains(&format!("[report]\nserver = \"{}\"", world.polaris.agents)), "{config}");
}

/// Boot goes and comes; its agent stays.
fn restarted(world: &World) {
    let (boot, gearman) = (world.pid("boot"), world.pid("gearman"));
    world.bare.says(&format!("kill -TERM {boot}; while [ -e /proc/{boot} ]; do sleep 0.05; done"));
    assert_eq!(world.run("echo alone")["data"], "alone\n");
    // Of the boot that is gone: nothing more comes of it.
    let before = world.agent("what was told of gearman", |agent| agent["reported"] != Value::Null);
    world.bare.says("boot");
    assert_ne!(world.pid("boot"), boot);
    // It reports at its start, and what it reports is that very process.
    let uptime = |agent: &Value| agent["uptime"].as_u64().unwrap();
    let now = world.agent("gearman in a report of the next boot", |agent| {
        agent["status"] == "running" && agent["reported"] != before["reported"]
    });
    assert!(uptime(&now) >= uptime(&before), "{now}, and before {before}");
    assert_eq!(world.pid("gearman"), gearman);
}

/// To a better version, and from one that does not come up back to that.
fn upgraded(world: &World) {
    let before = world.pid("gearman");
    world.publish("gearman", "2.0", &world.gearman("2.0"));
    let end = world.job(json!({"action": "upgrade", "name": "gearman", "version": "2.0"}));
    assert_eq!((&end["state"], &end["errcode"]), (&json!("done"), &json!(0)), "{end}");
    assert_eq!(world.installed("gearman"), "installed 2.0");
    assert_ne!(world.pid("gearman"), before);
    world.online();
    assert_eq!(world.run("echo two")["data"], "two\n");

    let files = [
        ("/usr/bin/gearman", What::Script("echo no such luck; exit 1")),
        ("/usr/bin/gearctl", What::Script("exit 1")),
    ];
    world.publish("gearman", "3.0", &world.packages.deb("gearman", "3.0", &files));
    let end = world.job(json!({"action": "upgrade", "name": "gearman", "version": "3.0"}));
    assert_eq!(end["state"], "failed", "{end}");
    assert_eq!(world.installed("gearman"), "installed 2.0");
    world.agent("gearman runs as 2.0 again", running("2.0"));
    world.online();
    assert_eq!(world.run("echo still")["data"], "still\n");
}

/// Boot becomes another, and refuses to become a broken one. Its agent runs on.
fn boot_upgraded(world: &World) {
    let gearman = world.pid("gearman");
    let before = world.pid("boot");
    world.publish("boot", "2.0", &world.boot("2.0"));
    let end = world.job(json!({"action": "upgrade", "name": "boot", "version": "2.0"}));
    assert_eq!((&end["state"], &end["errcode"]), (&json!("done"), &json!(0)), "{end}");
    assert_eq!(world.installed("boot"), "installed 2.0");
    let second = world.pid("boot");
    assert_ne!(second, before);

    // One that cannot run at all disturbs nobody.
    let version = world.bare.says("boot -V");
    refused(world, "3.0", "echo no such luck >&2; exit 1");
    assert_eq!((world.pid("boot"), world.bare.says("boot -V")), (second, version));
    // One that is found wanting only when it runs has the one before started again.
    refused(world, "4.0", "case $* in *-t) exit 0 ;; esac; exit 1");
    assert_eq!(world.bare.says("readlink /proc/$(cat /run/cargo/boot.pid)/exe"), "/usr/bin/boot");
    assert_eq!(world.pid("gearman"), gearman);
    assert_eq!(world.run("echo on")["data"], "on\n");
}

/// A boot that does not work is asked for, and the version before is there in the end.
fn refused(world: &World, version: &str, script: &str) {
    let broken = [("/usr/bin/boot", What::Script(script))];
    world.publish("boot", version, &world.packages.deb("boot", version, &broken));
    let end = world.job(json!({"action": "upgrade", "name": "boot", "version": version}));
    assert_eq!(end["state"], "failed", "{end}");
    assert_eq!(world.installed("boot"), "installed 2.0");
}

fn uninstalled(world: &World) {
    let end = world.job(json!({"action": "uninstall", "name": "gearman"}));
    assert_eq!(end["state"], "done", "{end}");
    assert_eq!(world.bare.read("/usr/bin/gearman"), None);
    assert!(!world.installed("gearman").starts_with("installed"));
    wait("no agent is left", || {
        let agents = world.polaris.get("/api/v1/boot/agents");
        if agents["count"] == 0 { Ok(()) } else { Err(agents) }
    });
}

#[test]
fn one_command_makes_a_bare_host_a_working_one_that_boot_looks_after() {
    let Some(world) = World::new() else { return };
    one_command(&world);
    restarted(&world);
    upgraded(&world);
    boot_upgraded(&world);
    uninstalled(&world);
}

#[test]
fn a_bare_host_s_files_packages_and_processes_are_its_own() {
    let Some(bare) = Bare::start() else { return };
    let packages = Packages::new();
    let deb = packages.deb("aspire-sample", "1.0", &[("/usr/bin/gearman", What::Script("exec sleep 1000"))]);
    bare.bring(&deb, "/sample.deb");
    assert_eq!(bare.says("ls /etc | grep cargo; ls /usr/bin | grep gear; true"), "");
    bare.says("dpkg --install /sample.deb");
    assert!(bare.says("dpkg --status aspire-sample").contains("install ok installed"));
    bare.says("(setsid gearman >/dev/null 2>&1 &)");
    eventually("the sample runs", || {
        bare.says("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").contains("sleep 1000").then_some(())
    });
    assert!(bare.read("/usr/bin/gearman").unwrap().contains("sleep"));
    let another = Bare::start().unwrap();
    assert_eq!(another.read("/usr/bin/gearman"), None);
    assert!(!another.shell("dpkg --status aspire-sample").status.success());
}
