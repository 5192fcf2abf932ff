//! The built boot, and a server of the test's own that it reports to.

use super::agent::{Agent, Host, watched};
use super::pki::Ca;
use super::polaris::Polaris;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long boot may take over something on a loaded machine: it reports no sooner than ten seconds
/// after its last report.
const PATIENCE: Duration = Duration::from_secs(90);

impl Host {
    /// Writes boot.conf: this server list.
    pub fn configure_boot(&self, servers: &str) {
        let at = |name: &str| self.path(name).display().to_string();
        let text = format!(
            "hostname = \"web-1\"\n[report]\nserver = \"{servers}\"\nstep = 60\n[tls]\ndir = \"{}\"\n\
             [store]\npath = \"{}\"\n[agents]\ndir = \"{}\"\nlog = \"{}\"\nrun = \"{}\"\n",
            at("pki"),
            at("boot.db"),
            at("agents"),
            at("log"),
            at("run")
        );
        fs::write(self.path("boot.conf"), text).unwrap();
    }

    /// `boot` with this host's files: the built one, or what BOOT names, as GEARMAN does of gearman.
    pub fn boot_command(&self) -> Command {
        self.boot_with(watched("BOOT", env!("CARGO_BIN_EXE_boot")))
    }

    /// The same of a copy of it.
    pub fn boot_command_of(&self, program: &Path) -> Command {
        self.boot_with(Command::new(program))
    }

    fn boot_with(&self, mut command: Command) -> Command {
        command.arg("-C").arg(self.path("boot.conf"));
        command.arg("-L").arg(self.path("boot.log"));
        command.arg("-P").arg(self.path("boot.pid"));
        command
    }

    /// Starts boot in the foreground.
    pub fn start_boot(&self) -> Agent {
        let mut command = self.boot_command();
        Agent::of(command.args(["-f", "-l", "debug"]).stdin(Stdio::null()).spawn().unwrap())
    }

    /// Who says in the pid file that it is boot.
    pub fn boot_pid(&self) -> Option<u32> {
        fs::read_to_string(self.path("boot.pid")).ok()?.trim().parse().ok()
    }

    pub fn boot_log(&self) -> String {
        fs::read_to_string(self.path("boot.log")).unwrap_or_default()
    }
}

/// Looks again and again until there is something.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look)
}

/// The same, of what may take longer.
pub fn until_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < patience, "waited {} s in vain for {what}", patience.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a server of reports has heard, and is to say.
#[derive(Debug, Default)]
pub struct Heard {
    /// Jobs that have not ended.
    pub jobs: Vec<Value>,
    pub reports: Vec<Value>,
    pub results: Vec<Value>,
}

/// A server of reports and results that answers until it is dropped.
pub struct Reports {
    pub heard: Arc<Mutex<Heard>>,
    /// As a server list names it.
    pub server: String,
    over: Arc<AtomicBool>,
}

impl Reports {
    pub fn start(ca: &Ca) -> Reports {
        let polaris = Polaris::exchanges(ca);
        let (heard, over) = (Arc::<Mutex<Heard>>::default(), Arc::<AtomicBool>::default());
        let reports = Reports { heard: heard.clone(), server: polaris.server(), over: over.clone() };
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let Some(socket) = polaris.has_caller() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                // One that hangs up is killed, and calls again.
                if let Ok(mut link) = polaris.shake_hands(socket)
                    && let Some((asked, body)) = link.try_http_request()
                {
                    let answer = heard.lock().unwrap().answer(&asked, &body).to_string();
                    let length = answer.len();
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{answer}");
                    link.send_what_goes(answer.as_bytes());
                }
            }
        });
        reports
    }

    /// Jobs for the next answers.
    pub fn send(&self, jobs: &[Value]) {
        self.heard.lock().unwrap().jobs.extend_from_slice(jobs);
    }

    /// The last result of this job.
    pub fn end_of(&self, id: &str) -> (u64, String) {
        self.end_with(id, |_| true)
    }

    /// Its result with such an errcode.
    pub fn end_with(&self, id: &str, is_it: impl Fn(u64) -> bool) -> (u64, String) {
        until(&format!("the end of {id}"), || {
            let heard = self.heard.lock().unwrap();
            let of_it = heard.results.iter().rev().filter(|result| result["id"] == id);
            let results = of_it.map(|result| (result["errcode"].as_u64().unwrap(), &result["message"]));
            let (errcode, message) = results.into_iter().find(|(errcode, _)| is_it(*errcode))?;
            Some((errcode, message.as_str().unwrap().to_owned()))
        })
    }

    /// Of all of its results.
    pub fn errcodes_of(&self, id: &str) -> Vec<u64> {
        let heard = self.heard.lock().unwrap();
        let of_it = heard.results.iter().filter(|result| result["id"] == id);
        of_it.map(|result| result["errcode"].as_u64().unwrap()).collect()
    }

    /// How many results of this job have come.
    pub fn ends_of(&self, id: &str) -> usize {
        self.heard.lock().unwrap().results.iter().filter(|result| result["id"] == id).count()
    }

    /// Waits for a report of which this is so.
    pub fn report(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        until(what, || self.heard.lock().unwrap().reports.iter().rev().find(|report| is_it(report)).cloned())
    }

    pub fn forget_reports(&self) {
        self.heard.lock().unwrap().reports.clear();
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Heard {
    fn answer(&mut self, asked: &str, body: &[u8]) -> Value {
        let body: Value = serde_json::from_slice(body).unwrap();
        if asked.starts_with("POST /agent/status ") {
            self.reports.push(body);
            return json!({"errcode": 0, "jobs": self.jobs});
        }
        assert!(asked.starts_with("POST /agent/job/result "), "{asked}");
        for result in body.as_array().unwrap() {
            if result["errcode"] != 1 {
                self.jobs.retain(|job| job["id"] != result["id"]);
            }
            self.results.push(result.clone());
        }
        json!({"errcode": 0})
    }
}

/// A server that does this with each caller, until the test ends. Its address.
pub fn serving(what: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for caller in listener.incoming().flatten() {
            what(caller);
        }
    });
    address
}

/// A server whose files are everywhere else.
pub fn redirecting_for_ever() -> String {
    serving(|mut caller| {
        let _ = caller.read(&mut [0; 4096]);
        let local = caller.local_addr().unwrap();
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{local}/again-1.tar.gz\r\nContent-Length: 0\r\n\r\n"
        );
        let _ = caller.write_all(answer.as_bytes());
    })
}

/// An FTP server that says that a file is there, and sends another.
pub fn lying_ftp() -> String {
    serving(|mut caller| {
        let say = |caller: &mut TcpStream, text: &str| {
            let _ = caller.write_all(text.as_bytes());
        };
        say(&mut caller, "220 ready\r\n");
        let mut data: Option<TcpListener> = None;
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = caller.read(&mut buffer) {
            let line = String::from_utf8_lossy(&buffer[..length]).to_uppercase();
            match line.split_whitespace().next().unwrap_or_default() {
                "USER" => say(&mut caller, "331 password\r\n"),
                "PASS" => say(&mut caller, "230 welcome\r\n"),
                "SIZE" => say(&mut caller, "213 99999999\r\n"),
                "EPSV" => {
                    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                    let port = listener.local_addr().unwrap().port();
                    say(&mut caller, &format!("229 here (|||{port}|)\r\n"));
                    data = Some(listener);
                }
                "RETR" => {
                    say(&mut caller, "150 here it comes\r\n");
                    if let Some((mut socket, _)) = data.take().and_then(|listener| listener.accept().ok()) {
                        let _ = socket.write_all(b"this is no package");
                    }
                    say(&mut caller, "226 all of it\r\n");
                }
                "QUIT" => return say(&mut caller, "221 bye\r\n"),
                _ => say(&mut caller, "200 so be it\r\n"),
            }
        }
    })
}
