//! The real thing: both programs, as an operator starts them, on loopback.

#![allow(dead_code, reason = "each binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "what is unexpected ends the run")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// For what must happen sooner or later, on however loaded a machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A Polaris and one enrolled host.
pub struct Fleet {
    pub polaris: Polaris,
    pub gearman: Running,
    pub host_id: String,
    program: String,
    dir: TempDir,
}

pub struct Polaris {
    pub process: Running,
    pub url: String,
    pub agents: String,
    pub token: String,
    pub data: PathBuf,
}

/// A process that ends with its owner.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::options().append(true).create(true).open(log).unwrap();
        let both = log.try_clone().unwrap();
        let spawned = command.stdin(Stdio::null()).stdout(both).stderr(log).spawn();
        Running(spawned.unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.pid().cast_signed());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// kill -9, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks until the answer is there.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The server's programs, built as the tests are.
pub fn server_program(name: &str, profile: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("server");
    BUILT.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--bins", "--profile", profile]);
        build.arg("--manifest-path").arg(server.join("Cargo.toml"));
        assert!(build.status().unwrap().success(), "the server does not build");
    });
    let folder = if profile == "dev" { "debug" } else { profile };
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| server.join("target"), PathBuf::from);
    target.join(folder).join(name)
}

impl Polaris {
    /// Starts it on the data folder with free ports, or with the ones it had.
    pub fn start(data: &Path, profile: &str, agents: &str) -> Self {
        let listen = data.join("listen.json");
        let _ = fs::remove_file(&listen);
        fs::create_dir_all(data).unwrap();
        let mut command = Command::new(server_program("polaris", profile));
        command.args(["serve", "--web", "127.0.0.1:0", "--agents", agents, "--data"]).arg(data);
        let process = Running::start(&mut command, &data.join("polaris.log"));
        let listen: Value =
            eventually("polaris listens", || serde_json::from_slice(&fs::read(&listen).ok()?).ok());
        Polaris {
            process,
            url: listen["web"].as_str().unwrap().to_owned(),
            agents: listen["agents"].as_str().unwrap().to_owned(),
            token: fs::read_to_string(data.join("admin.token")).unwrap().trim().to_owned(),
            data: data.to_owned(),
        }
    }

    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Content-Type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())
            .unwrap();
        let mut response = client().run(request).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let json = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect(&text) };
        (response.status().as_u16(), json)
    }

    pub fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call("POST", path, Some(body));
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    pub fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call("GET", path, None);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }
}

fn client() -> &'static ureq::Agent {
    static CLIENT: OnceLock<ureq::Agent> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(32)
            .max_idle_connections_per_host(32);
        config.build().into()
    })
}

fn agent(program: &str, dir: &Path) -> Running {
    let mut agent = Command::new(program);
    agent.arg("-f").arg("-C").arg(dir.join("gearman.conf"));
    agent.arg("-L").arg(dir.join("gearman.log")).arg("-P").arg(dir.join("gearman.pid"));
    Running::start(&mut agent, &dir.join("gearman.out"))
}

impl Fleet {
    /// Starts Polaris, enrols this machine, and waits until it is online.
    pub fn start(gearman: &str, profile: &str, exec: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let polaris = Polaris::start(&dir.path().join("polaris"), profile, "127.0.0.1:0");
        let place = dir.path().display();
        let config = format!(
            "hostname = \"web-1\"\n[link]\nserver = \"{}\"\n[tls]\ndir = \"{place}/pki\"\n\
             [store]\npath = \"{place}/gearman.db\"\n[control]\nsocket = \"{place}/gearman.sock\"\n\
             [daemon]\ndir = \"{place}/daemon\"\nlog = \"{place}/log\"\nrun = \"{place}/run\"\n\
             [plugins]\ndir = \"{place}/plugins\"\n[exec]\n{exec}\n",
            polaris.agents
        );
        fs::write(dir.path().join("gearman.conf"), config).unwrap();
        let token = polaris.post("/api/v1/tokens", &json!({}))["token"].as_str().unwrap().to_owned();
        let mut enroll = Command::new(gearman);
        enroll
            .args(["--enroll", &polaris.agents, "--token", &token, "-C"])
            .arg(dir.path().join("gearman.conf"));
        let output = enroll.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let program = gearman.to_owned();
        let gearman = agent(&program, dir.path());
        let host_id = polaris.get("/api/v1/hosts")["hosts"][0]["id"].as_str().unwrap().to_owned();
        let fleet = Fleet { polaris, gearman, host_id, program, dir };
        fleet.wait_online();
        fleet
    }

    pub fn wait_online(&self) {
        eventually("the host is online", || {
            let host = self.polaris.get(&format!("/api/v1/hosts/{}", self.host_id));
            (host["status"] == "online").then_some(())
        });
    }

    /// kill -9 of the server, and a new one on the same data and port.
    pub fn restart_polaris(&mut self, profile: &str) {
        self.polaris.process.kill();
        let (data, agents) = (self.polaris.data.clone(), self.polaris.agents.clone());
        self.polaris = Polaris::start(&data, profile, &agents);
    }

    /// A new agent, after the one before was ended.
    pub fn start_gearman(&mut self) {
        self.gearman = agent(&self.program, self.dir.path());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a command on the host; the host's entry of the answer.
    pub fn run(&self, more: &Value) -> Value {
        self.ask("sync.bash", more)
    }

    /// Sends a request to the host; the host's entry of the answer.
    pub fn ask(&self, method: &str, more: &Value) -> Value {
        let mut body = json!({"hosts": [self.host_id], "method": method});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.polaris.post("/api/v1/requests", &body)["response"][0].clone()
    }

    pub fn agent_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("gearman.log")).unwrap_or_default()
    }
}
