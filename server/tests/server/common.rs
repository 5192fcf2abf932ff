//! A server of one's own, and a REST client.

use crate::database::{self, Database};
use crate::documented;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use polaris::config::{Config, Flags, Pace, Room};
use polaris::serve::Running;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What anything may take on a machine that is busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A server on ports of its own.
pub struct Server {
    pub running: Running,
    pub dir: TempDir,
    pub rest: Rest,
}

impl Server {
    pub async fn start() -> Server {
        Server::with("").await
    }

    /// `toml` is the configuration file.
    pub async fn with(toml: &str) -> Server {
        Server::on(TempDir::new().unwrap(), toml).await
    }

    pub async fn on(dir: TempDir, toml: &str) -> Server {
        let config = config(dir.path(), toml);
        Server::of(dir, config).await
    }

    /// In a new folder, with this database.
    pub async fn on_database(url: &str) -> Server {
        let dir = TempDir::new().unwrap();
        let config = config_on(dir.path(), "", Some(url));
        Server::of(dir, config).await
    }

    /// One that has less patience with slow callers.
    pub async fn paced(pace: Pace) -> Server {
        let dir = TempDir::new().unwrap();
        let mut config = config(dir.path(), "");
        config.web.pace = pace;
        Server::of(dir, config).await
    }

    /// One whose agents' port has less room.
    pub async fn narrow(room: Room) -> Server {
        let dir = TempDir::new().unwrap();
        let mut config = config(dir.path(), "");
        config.agents.room = room;
        Server::of(dir, config).await
    }

    pub async fn of(dir: TempDir, config: Config) -> Server {
        let running = Running::start(config).await.unwrap();
        let token = std::fs::read_to_string(dir.path().join("data/admin.token")).unwrap();
        let rest = Rest { web: running.web, token: token.trim().to_owned() };
        Server { running, dir, rest }
    }

    /// Stops it and starts another on the same folder.
    pub async fn restart(self) -> Server {
        let Server { running, dir, .. } = self;
        running.stop().await;
        Server::on(dir, "").await
    }

    pub fn agents(&self) -> SocketAddr {
        self.running.agents
    }

    /// An enrolment token, as it is printed.
    pub async fn token(&self) -> String {
        self.rest.post("/api/v1/tokens", &json!({"uses": 1000})).await.text("token")
    }

    /// The database, as another program sees it.
    pub async fn database(&self) -> Database {
        Database::of(self.dir.path()).await
    }

    /// One job, as the interface shows it.
    pub async fn job(&self, host: &str, job: &str) -> Value {
        let answer = self.rest.get(&format!("/api/v1/jobs/{host}/{job}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// The ids of the jobs of a list, in its order.
    pub async fn jobs(&self, query: &str) -> Vec<String> {
        let answer = self.rest.get(&format!("/api/v1/jobs{query}")).await;
        let jobs = answer.body["jobs"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
        jobs.iter().map(|job| job["job"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the host looks like this.
    pub async fn host_where(&self, id: &str, what: &str, test: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || {
            let host = self.rest.get(&format!("/api/v1/hosts/{id}")).await.body;
            test(&host).then_some(host)
        })
        .await
    }
}

/// `toml` is the configuration file, but for the database that the tests are run with.
/// The configuration file's name in a test's folder.
pub const CONFIG: &str = "polaris.conf";

pub fn config(dir: &Path, toml: &str) -> Config {
    config_on(dir, toml, database::url(dir).as_deref())
}

/// On this database; `None` is the embedded one.
pub fn config_on(dir: &Path, toml: &str, database: Option<&str>) -> Config {
    let file = dir.join(CONFIG);
    let database = database.map(|url| format!("\n[database]\nurl = {url:?}\n"));
    std::fs::write(&file, toml.to_owned() + &database.unwrap_or_default()).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let local = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let flags = Flags {
        config: Some(file),
        data: Some(dir.join("data")),
        web: local,
        agents: local,
        ..Flags::default()
    };
    Config::load(flags).unwrap()
}

/// Asks again and again until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Calls the REST interface.
#[derive(Clone)]
pub struct Rest {
    pub web: SocketAddr,
    pub token: String,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: hyper::HeaderMap,
    /// Null where it is empty or no JSON.
    pub body: Value,
}

impl Answer {
    pub fn text(&self, key: &str) -> String {
        self.body[key].as_str().unwrap_or_else(|| panic!("no {key} in {self:?}")).to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The entries of a request's answer, as (host, retcode).
    pub fn retcodes(&self) -> Vec<(String, u64)> {
        let entries = self.body["response"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        let pair = |e: &Value| (e["host"].as_str().unwrap().to_owned(), e["retcode"].as_u64().unwrap());
        entries.iter().map(pair).collect()
    }
}

impl Rest {
    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, Some(body)).await
    }

    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        request = request.header("authorization", format!("Bearer {}", self.token));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let bytes = body.map(Value::to_string).unwrap_or_default();
        self.send(request.body(Full::from(bytes)).unwrap()).await
    }

    /// Sends, reads the answer whole, and holds it against the document.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let response = self.open(request).await;
        let (parts, body) = response.into_parts();
        let bytes = timeout(PATIENCE, body.collect()).await.expect("a whole body").unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body };
        documented::check(&method, &path, &answer);
        answer
    }

    /// Sends, and answers when the head has come.
    pub async fn open(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let tcp = TcpStream::connect(self.web).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        timeout(PATIENCE, sender.send_request(request)).await.expect("an answer").unwrap()
    }

    /// A request to hosts.
    pub async fn run(&self, body: Value) -> Answer {
        let answer = self.post("/api/v1/requests", &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    /// A request to hosts whose results come one by one.
    pub async fn stream(&self, body: Value) -> Lines {
        self.lines(
            Request::post("/api/v1/requests").header("content-type", "application/json"),
            &body.to_string(),
        )
        .await
    }

    /// Follows a job.
    pub async fn follow(&self, host: &str, job: &str) -> Lines {
        self.lines(Request::get(format!("/api/v1/jobs/{host}/{job}/output")), "").await
    }

    async fn lines(&self, request: hyper::http::request::Builder, body: &str) -> Lines {
        let request = request
            .header("authorization", format!("Bearer {}", self.token))
            .header("accept", "application/x-ndjson");
        let response = self.open(request.body(Full::from(body.to_owned())).unwrap()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        let id = response.headers().get("request-id").map_or("", |id| id.to_str().unwrap()).to_owned();
        Lines { id, body: response.into_body(), rest: Vec::new() }
    }
}

/// A body that comes line by line.
pub struct Lines {
    pub id: String,
    body: Incoming,
    rest: Vec<u8>,
}

impl Lines {
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("the next line")?;
            self.rest.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }
}
