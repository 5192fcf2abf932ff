//! Packages of scripts, and the daemons that they bring.

use super::agent::{Agent, Host};
use super::pki::Ca;
use super::polaris::{Link, Polaris};
use super::until;
use aspire::gearctl::client::{AskError, ask};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One that waits to be ended.
pub const STAYS: &str = "#!/bin/sh\necho begun\nexec sleep 1000000\n";

/// A host whose server answers nobody, and its agent, with these lines in `[daemon]`.
pub fn alone(daemon: &str) -> (Host, Agent) {
    let ca = Ca::new();
    let nobody = Polaris::at("127.0.72.2:0".parse().unwrap(), &ca).unwrap().address;
    let host = Host::enrolled(&ca);
    // Whoever a daemon runs as may enter.
    fs::set_permissions(host.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    host.configure_daemons(&nobody.to_string(), "", daemon);
    let agent = host.start();
    host.logged(&["control=listening"]);
    (host, agent)
}

/// The main process of one that is said to be this.
pub fn pid(daemon: &Value) -> Pid {
    Pid::from_raw(i32::try_from(daemon["pid"].as_i64().unwrap()).unwrap())
}

/// Packs scripts, each a name with its text, and returns `file:` and the checksum.
pub fn packed(host: &Host, name: &str, scripts: &[(&str, &str)]) -> (String, String) {
    let folder = host.path(&format!("{name}.files"));
    fs::create_dir_all(&folder).unwrap();
    for (script, text) in scripts {
        let path = folder.join(script);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let archive = host.path(&format!("{name}.tar.gz"));
    let done = Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(&folder).arg(".").status();
    assert!(done.unwrap().success());
    (format!("file://{}", archive.display()), checksum(&archive))
}

pub fn checksum(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    format!("SHA256:{}", text.split(' ').next().unwrap())
}

/// A definition of a packed daemon, with these fields beside or instead of the usual ones.
pub fn definition(name: &str, package: &(String, String), more: &Value) -> Value {
    let mut init = json!({
        "name": name, "version": "1", "url": package.0, "checksum": package.1, "start": "./run",
        "stop": "kill:TERM", "start_delay": 0
    });
    init.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    init
}

impl Host {
    /// Asks the agent by its control socket.
    pub fn asks(&self, method: &str, args: &Value) -> Result<Value, AskError> {
        ask(&self.socket(), method, args.as_object().unwrap().clone())
    }

    /// What the agent says of a daemon; `null` where there is none.
    pub fn daemon(&self, name: &str) -> Value {
        self.asks("daemon.list", &json!({"name": name}))
            .map_or(Value::Null, |list| list["daemons"][0].clone())
    }

    /// Waits until a daemon is at this, and returns what is said of it.
    pub fn comes_to(&self, name: &str, status: &str) -> Value {
        until(&format!("{name} to be {status}, not {}", self.daemon(name)), || {
            Some(self.daemon(name)).filter(|daemon| daemon["status"] == status)
        })
    }

    pub fn wants(&self, what: &str, name: &str) {
        self.asks(&format!("daemon.{what}"), &json!({"name": name})).unwrap();
    }

    /// Packs these scripts, and has a daemon of them.
    pub fn init(&self, name: &str, scripts: &[(&str, &str)], more: &Value) {
        let package = packed(self, name, scripts);
        self.asks("daemon.init", &definition(name, &package, more)).unwrap();
    }

    /// Waits until it runs in another process than this one.
    pub fn comes_back(&self, name: &str, before: &Value) -> Value {
        until(&format!("{name} in another process"), || {
            Some(self.daemon(name)).filter(|now| now["status"] == "running" && now["pid"] != before["pid"])
        })
    }

    /// Waits until a daemon's reason has these words.
    pub fn complains(&self, name: &str, words: &str) -> Value {
        until(&format!("{name} to complain of {words:?}"), || {
            let is_it =
                |daemon: &Value| daemon["reason"].as_str().is_some_and(|reason| reason.contains(words));
            Some(self.daemon(name)).filter(is_it)
        })
    }

    /// What a daemon wrote.
    pub fn written(&self, name: &str) -> String {
        fs::read_to_string(self.path("log").join(format!("{name}.out"))).unwrap_or_default()
    }

    /// Processes whose working directory is in this host's folder: its daemons, which outlive
    /// the agent.
    pub fn processes(&self) -> Vec<i32> {
        let pids =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let of_it = |pid: &i32| {
            let cwd: PathBuf = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            cwd.starts_with(self.folder())
        };
        pids.filter(of_it).collect()
    }
}

/// A server that acknowledges whatever agents tell, and keeps what they tell of their daemons.
pub struct Told {
    /// As a server list names it.
    pub server: String,
    events: Arc<Mutex<Vec<Value>>>,
    over: Arc<AtomicBool>,
}

impl Told {
    pub fn start(ca: &Ca) -> Told {
        let polaris = Polaris::start(ca);
        let (events, over) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::<AtomicBool>::default());
        let told = Told { server: polaris.server(), events: events.clone(), over: over.clone() };
        std::thread::spawn(move || {
            // One agent after the other.
            while !over.load(Ordering::Relaxed) {
                let link = polaris.has_caller().and_then(|socket| polaris.shake_hands(socket).ok());
                match link {
                    None => std::thread::sleep(Duration::from_millis(5)),
                    Some(link) => hear(link, &events),
                }
            }
        });
        told
    }

    /// Waits for an event of which this is so.
    pub fn of(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        until(what, || self.events.lock().unwrap().iter().find(|event| is_it(event)).cloned())
    }

    /// Waits for one of this retcode.
    pub fn with(&self, retcode: u64) -> Value {
        self.of(&format!("an event with {retcode}"), |event| event["retcode"] == retcode)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Until the agent hangs up: that it says nothing for a while is no end.
fn hear(mut link: Link, events: &Mutex<Vec<Value>>) {
    loop {
        let frame = match link.try_next() {
            Ok(Some(frame)) => frame,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Ok(None) | Err(_) => return,
        };
        let answer = match frame["seq"].as_u64() {
            Some(seq) => json!({"method": "ack", "seq": seq}),
            None if frame["method"] == "init" => json!({"method": "ready", "heartbeat": 3600}),
            None => continue,
        };
        if frame["daemon"].is_object() {
            events.lock().unwrap().push(frame);
        }
        link.send_what_goes(format!("{answer}\n").as_bytes());
    }
}
