//! The real `polarisctl` against a stub of the REST API.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const TOKEN: &str = "a-token";
const DONE: &str = r#"{"host":"1","name":"web-1","resp":"success","retcode":2,"message":"Normal termination","data":"up\n","stderr":"","exitcode":0,"elapsed":0.01}"#;
const FAILED: &str = r#"{"host":"2","name":"web-2","resp":"failed","retcode":3101,"message":"Exited with an error","data":"","stderr":"no way\n","exitcode":3,"elapsed":0.5}"#;

#[path = "ctl/boot.rs"]
mod boot;
#[path = "ctl/rollouts.rs"]
mod rollouts;

type Line = Result<String, std::io::Error>;

/// What the stub heard, and what it streams as the answer to the next request.
#[derive(Default)]
struct Heard {
    requests: Vec<(HeaderMap, Value)>,
    answers: Option<mpsc::UnboundedReceiver<Line>>,
    /// Of the last list that was asked for.
    query: String,
    /// Of every list of daemons that was asked for.
    queries: Vec<String>,
}

type Stub = Arc<Mutex<Heard>>;

/// A data directory as polaris leaves it, with the stub behind it.
struct Rig {
    data: TempDir,
    stub: Stub,
}

impl Rig {
    async fn start() -> Rig {
        let stub = Stub::default();
        let app = Router::new()
            .route("/api/v1/requests", post(requests).get(history))
            .route("/api/v1/requests/{id}", get(one_request).delete(cancelled_request))
            .route("/api/v1/hosts", get(hosts))
            .route("/api/v1/hosts/{host}", get(host).delete(async |_: Path<String>| StatusCode::NO_CONTENT))
            .route("/api/v1/jobs", get(jobs))
            .route("/api/v1/jobs/{host}/{job}", get(one_job))
            .route("/api/v1/jobs/{host}/{job}/output", get(output))
            .route("/api/v1/cron", get(cron))
            .route("/api/v1/daemons", get(daemons))
            .route("/api/v1/daemons/summary", get(summary))
            .route("/api/v1/hosts/{host}/daemons/{name}", get(one_daemon))
            .route("/api/v1/tokens", post(tokens))
            .with_state(stub.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let web = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Rig { data: data_of(&web), stub }
    }

    /// What the stub streams; the stream ends when the sender is dropped.
    fn answers(&self, lines: &[&str]) -> mpsc::UnboundedSender<Line> {
        let (sender, receiver) = mpsc::unbounded_channel();
        for line in lines {
            sender.send(Ok(format!("{line}\n"))).unwrap();
        }
        self.stub.lock().unwrap().answers = Some(receiver);
        sender
    }

    fn command(&self, words: &[&str]) -> Command {
        command(&self.data, words)
    }

    fn output(&self, words: &[&str]) -> (Option<i32>, String, String) {
        told(&self.command(words).output().unwrap())
    }

    fn start_child(&self, words: &[&str]) -> Child {
        self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// What polaris leaves that listens there.
fn data_of(web: &str) -> TempDir {
    let data = tempfile::tempdir().unwrap();
    let listen = json!({ "web": web, "agents": "127.0.0.1:1", "pid": 1 });
    fs::write(data.path().join("listen.json"), listen.to_string()).unwrap();
    fs::write(data.path().join("admin.token"), format!("{TOKEN}\n")).unwrap();
    data
}

fn command(data: &TempDir, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polarisctl"));
    for name in ["POLARIS_URL", "POLARIS_TOKEN", "POLARIS_DATA"] {
        command.env_remove(name);
    }
    command.arg("--data").arg(data.path()).args(words).stdin(Stdio::null());
    command
}

/// On a terminal of its own, where this is typed: what it shows, and its status.
fn on_a_terminal(data: &TempDir, words: &str, typed: &str) -> (Option<i32>, String) {
    let program = env!("CARGO_BIN_EXE_polarisctl");
    let line = format!("{program} --data {} {words}", data.path().display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_remove("POLARIS_URL");
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = script.spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let (status, stdout, stderr) = told(&child.wait_with_output().unwrap());
    (status, stdout + &stderr)
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// How it ended, and the rest of what it said to standard error.
fn end(mut child: Child) -> (ExitStatus, String) {
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    (child.wait().unwrap(), stderr)
}

fn problem(status: StatusCode, document: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/problem+json")], document.to_string()).into_response()
}

async fn requests(State(stub): State<Stub>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    if headers[header::AUTHORIZATION] != format!("Bearer {TOKEN}") {
        return problem(
            StatusCode::UNAUTHORIZED,
            &json!({"title": "Unauthorized", "detail": "no such token"}),
        );
    }
    if body["cwd"] == "tmp" {
        let detail = "must be an absolute path, got \"tmp\"";
        let document = json!({"title": "Unprocessable Entity", "detail": detail, "field": "cwd"});
        return problem(StatusCode::UNPROCESSABLE_ENTITY, &document);
    }
    if let Some(problem) = rollouts::refused(&body) {
        return self::problem(StatusCode::UNPROCESSABLE_ENTITY, &problem);
    }
    let mut heard = stub.lock().unwrap();
    let hosts = if body["target"].is_null() { body["hosts"].as_array().unwrap().len() } else { 2 };
    heard.requests.push((headers, body));
    let mut answers = heard.answers.take().expect("a test that makes a request says what answers it");
    let stream = futures_util::stream::poll_fn(move |context| answers.poll_recv(context));
    let hosts = hosts.to_string();
    let headers =
        [("request-id", "r-1"), ("request-hosts", &*hosts), ("content-type", "application/x-ndjson")];
    (headers, Body::from_stream(stream)).into_response()
}

async fn history() -> impl IntoResponse {
    let request = json!({"id": "r-1", "method": "sync.bash", "cmd": "uptime", "created": "2026-11-22T00:00:00Z",
        "hosts": 2, "succeeded": 1, "failed": 1, "pending": 0});
    axum::Json(json!({"requests": [request], "count": 1}))
}

async fn one_request(Path(id): Path<String>) -> Response {
    if id != "r-1" {
        return problem(
            StatusCode::NOT_FOUND,
            &json!({"title": "Not Found", "detail": "there is no such request"}),
        );
    }
    let body = format!(r#"{{"id":"r-1","method":"sync.bash","cmd":"uptime","response":[{DONE},{FAILED}]}}"#);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn cancelled_request(Path(id): Path<String>) -> Response {
    let entry = |retcode: u16, message: &str| json!({"host": "1", "name": "web-1", "resp": "failed", "retcode": retcode, "message": message});
    if id == "r-job" {
        let confirmed = json!([entry(204, "Host offline"), serde_json::from_str::<Value>(DONE).unwrap()]);
        let jobs = json!([{"host": "1", "name": "web-1", "job": id, "state": "cancelled", "attempts": 1, "retcode": 3108}]);
        let waiting = json!([{"host": "2", "name": "web-2", "until": "2026-11-23T00:00:00Z"}]);
        let cancellation = json!({"id": "c-1", "response": confirmed});
        return axum::Json(json!({"id": id, "method": "async.bash", "response": [], "jobs": jobs,
            "waiting": waiting, "cancellation": cancellation}))
        .into_response();
    }
    let entries = match id.as_str() {
        "r-1" => json!([entry(3108, "Cancelled"), entry(207, "Cancelled before delivery")]),
        "r-2" => json!([entry(3108, "Cancelled"), entry(205, "No reply in time")]),
        _ => {
            let detail = "nothing is left to cancel";
            return problem(StatusCode::CONFLICT, &json!({"title": "Conflict", "detail": detail}));
        }
    };
    axum::Json(json!({"id": id, "method": "sync.bash", "response": entries})).into_response()
}

async fn jobs(State(stub): State<Stub>, RawQuery(query): RawQuery) -> impl IntoResponse {
    stub.lock().unwrap().query = query.unwrap_or_default();
    let job = json!({"host": "1", "name": "web-1", "job": "r-1", "request": "r-1", "cmd": "make",
        "state": "running", "attempts": 1, "created": "2026-11-22T00:00:00Z"});
    axum::Json(json!({"jobs": [job], "count": 1}))
}

async fn one_job(Path((host, job)): Path<(String, String)>) -> impl IntoResponse {
    let body = format!(r#"{{"host":"1","name":"{host}","job":"{job}","state":"done","result":{DONE}}}"#);
    ([(header::CONTENT_TYPE, "application/json")], body)
}

async fn output(State(stub): State<Stub>) -> impl IntoResponse {
    let mut answers = stub.lock().unwrap().answers.take().expect("a test says what the job writes");
    let stream = futures_util::stream::poll_fn(move |context| answers.poll_recv(context));
    ([("content-type", "application/x-ndjson")], Body::from_stream(stream))
}

async fn cron(State(stub): State<Stub>, RawQuery(query): RawQuery) -> impl IntoResponse {
    stub.lock().unwrap().query = query.unwrap_or_default();
    let entry = json!({"host": "1", "hostname": "web-1", "name": "nightly", "schedule": "0 0 3 * * *",
        "timezone": "UTC", "cmd": "backup", "next": ["2026-11-23T03:00:00Z"], "told": "x",
        "last": {"job": "nightly@x", "state": "done", "retcode": 2, "ended": "2026-11-22T03:00:01Z"}});
    axum::Json(json!({"entries": [entry], "count": 1}))
}

async fn daemons(State(stub): State<Stub>, RawQuery(query): RawQuery) -> impl IntoResponse {
    let query = query.unwrap_or_default();
    let daemon = |host: usize, status: &str| {
        json!({"host": host.to_string(), "name": format!("web-{host}"), "host_status": status,
            "daemon": "nginx", "version": "1.0.1", "status": "running", "wanted": "running", "pid": 7,
            "since": "2026-11-22T00:00:00Z", "restarts": 0, "told": "x"})
    };
    let daemons = match query.as_str() {
        all if all.starts_with("limit=") && !all.contains("after=") => {
            (1..=1000).map(|n| daemon(n, "online")).collect()
        }
        one if one.contains("host=web%2D1") => vec![daemon(1, "online")],
        selected if selected.contains("target=") => vec![daemon(1, "online"), daemon(2, "offline")],
        _ => vec![daemon(1001, "online")],
    };
    stub.lock().unwrap().queries.push(query);
    axum::Json(json!({"count": daemons.len(), "daemons": daemons}))
}

async fn summary(State(stub): State<Stub>, RawQuery(query): RawQuery) -> impl IntoResponse {
    stub.lock().unwrap().query = query.unwrap_or_default();
    let count = json!({"daemon": "nginx", "version": "1.0.1", "status": "running", "hosts": 3, "offline": 1});
    axum::Json(json!({"summary": [count], "count": 1}))
}

async fn one_daemon(State(stub): State<Stub>, RawQuery(query): RawQuery) -> impl IntoResponse {
    stub.lock().unwrap().query = query.unwrap_or_default();
    let body = format!(r#"{{"host":"1","daemon":"nginx","events":[{EVENT}],"count":1}}"#);
    ([(header::CONTENT_TYPE, "application/json")], body)
}

const EVENT: &str = r#"{"id":"nginx@1-2","status":"backoff","since":"2026-11-22T00:00:00Z","retcode":3101,"message":"Exited with an error","detail":"exit status 3","data":"no such file\n\u001b[2J"}"#;

async fn hosts(State(stub): State<Stub>, RawQuery(query): RawQuery) -> impl IntoResponse {
    stub.lock().unwrap().query = query.unwrap_or_default();
    let host = |name: &str, status: &str| {
        json!({"id": format!("id-{name}"), "name": name, "region": "cn-1", "tags": {"svc": "ecs"},
            "status": status, "version": "gearman-0.1.0-x86_64", "address": "127.0.0.1", "last_seen": null})
    };
    axum::Json(json!({"hosts": [host("web-1", "online"), host("web\u{1b}[2J", "offline")], "count": 2}))
}

async fn host(Path(host): Path<String>) -> impl IntoResponse {
    if host == "odd" {
        return axum::Json(json!(["no host"]));
    }
    if host == "telling" {
        let net =
            json!({"addresses": ["127.0.0.1", "10.0.0.7"], "interfaces": [{"name": "lo"}, {"name": "eth0"}]});
        return axum::Json(
            json!({"id": "1", "name": host, "facts": {"os": {"id": "debian\u{1b}"}, "net": net}}),
        );
    }
    axum::Json(json!({"id": "1", "name": host, "tags": {}}))
}

async fn tokens(State(stub): State<Stub>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let body = serde_json::from_slice(&body).unwrap();
    stub.lock().unwrap().requests.push((headers, body));
    (StatusCode::CREATED, axum::Json(json!({"id": "t-1", "token": "SECRET.FINGERPRINT"})))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_goes_out_and_its_answers_come_back() {
    let rig = Rig::start().await;
    rig.answers(&[DONE, FAILED]);
    let options =
        ["run", "-H", "web-1", "-H", "web-2", "--timeout", "5", "--user", "nobody", "--env", "A=b=c"];
    let (status, stdout, stderr) = rig.output(&[&options[..], &["--", "echo", "$HOME"]].concat());
    assert_eq!(
        stdout,
        "web-1  success 2 Normal termination  0.01s\nup\n\
         web-2  failed 3101 Exited with an error, exit status 3  0.50s\n"
    );
    assert_eq!(stderr, "web-2: no way\n2 hosts: 1 succeeded, 1 failed\n");
    assert_eq!(status, Some(1));
    let heard = rig.stub.lock().unwrap();
    let (headers, body) = &heard.requests[0];
    assert_eq!(headers[header::ACCEPT], "application/x-ndjson");
    let expected = json!({"hosts": ["web-1", "web-2"], "method": "sync.bash", "cmd": "echo '$HOME'",
        "timeout": 5, "user": "nobody", "env": {"A": "b=c"}});
    assert_eq!(*body, expected);
}

/// A line of live output.
fn piece(host: &str, stream: &str, data: &str) -> String {
    let name = format!("web-{host}");
    json!({"host": host, "name": name, "method": "output", "stream": stream, "data": data}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn live_output_of_many_hosts_comes_in_whole_lines_that_say_whose_they_are() {
    let rig = Rig::start().await;
    let sender = rig.answers(&[&piece("1", "stdout", "u"), &piece("2", "stdout", "first\nsec")]);
    let run = ["run", "--stream", "-H", "web-1", "-H", "web-2", "--", "uptime"];
    let mut child = rig.start_child(&run);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut shown = String::new();
    stdout.read_line(&mut shown).unwrap();
    assert_eq!(shown, "web-2: first\n", "it is shown while the commands run");
    let stopped = r#"{"host":"2","name":"web-2","resp":"failed","retcode":206,"message":"Link lost"}"#;
    for line in [&piece("2", "stderr", "no way\n"), DONE, stopped] {
        sender.send(Ok(format!("{line}\n"))).unwrap();
    }
    drop(sender);
    stdout.read_to_string(&mut shown).unwrap();
    assert_eq!(
        shown,
        "web-2: first\nweb-1: up\nweb-1  success 2 Normal termination  0.01s\n\
         web-2: sec\nweb-2  failed 206 Link lost\n"
    );
    let (status, stderr) = end(child);
    assert_eq!(stderr, "web-2: no way\n2 hosts: 1 succeeded, 1 failed\n");
    assert_eq!(status.code(), Some(1));
    assert_eq!(rig.stub.lock().unwrap().requests[0].1["stream"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn live_output_of_one_host_comes_as_it_is_and_once() {
    let rig = Rig::start().await;
    let sender = rig.answers(&[&piece("1", "stdout", "u")]);
    let mut child = rig.start_child(&["run", "--stream", "-H", "web-1", "--", "uptime"]);
    let mut stdout = child.stdout.take().unwrap();
    let mut begin = [0];
    stdout.read_exact(&mut begin).unwrap();
    assert_eq!(begin, *b"u");
    sender.send(Ok(format!("{DONE}\n"))).unwrap();
    drop(sender);
    let mut shown = String::new();
    stdout.read_to_string(&mut shown).unwrap();
    assert_eq!(shown, "p\nweb-1  success 2 Normal termination  0.01s\n");
    assert_eq!(end(child).0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_live_output_json_has_nothing_and_ndjson_all() {
    let rig = Rig::start().await;
    let piece = piece("1", "stdout", "u");
    let run = ["run", "--stream", "-H", "web-1", "--", "uptime"];
    rig.answers(&[&piece, DONE]);
    let ndjson = rig.output(&[&["-o", "ndjson"], &run[..]].concat());
    assert_eq!(ndjson, (Some(0), format!("{piece}\n{DONE}\n"), String::new()));
    rig.answers(&[&piece, DONE]);
    let json = rig.output(&[&["-o", "json"], &run[..]].concat());
    assert_eq!(json.1, format!("{{\"id\":\"r-1\",\"response\":[{DONE}]}}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_back_is_shown_when_the_connection_breaks() {
    let rig = Rig::start().await;
    let sender = rig.answers(&[&piece("1", "stdout", "ha"), &piece("2", "stdout", "whole\n")]);
    let mut child = rig.start_child(&["run", "--stream", "-H", "web-1", "-H", "web-2", "--", "uptime"]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut shown = String::new();
    stdout.read_line(&mut shown).unwrap();
    sender.send(Err(std::io::Error::other("gone"))).unwrap();
    stdout.read_to_string(&mut shown).unwrap();
    assert_eq!(shown, "web-2: whole\nweb-1: ha\n");
    assert_eq!(end(child).0.code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_go_out_as_they_are_meant() {
    let rig = Rig::start().await;
    rig.answers(&[DONE]);
    let limits = ["--limit", "cpu=10", "--limit", "memory=100M"];
    rig.output(&[&["run", "-H", "web-1"], &limits[..], &["--", "uptime"]].concat());
    assert_eq!(rig.stub.lock().unwrap().requests[0].1["limits"], json!({"cpu": 10, "memory": "100M"}));
    let (status, _, stderr) = rig.output(&["run", "-H", "a", "--limit", "files=3", "--", "ls"]);
    assert_eq!(status, Some(2));
    assert!(stderr.contains("files=3") && stderr.contains("must be at least 4"), "{stderr}");
    let twice = ["run", "-H", "a", "--limit", "cpu=1", "--limit", "cpu=2", "--", "ls"];
    assert_eq!(
        rig.output(&twice),
        (Some(2), String::new(), "polarisctl: --limit cpu was given twice\n".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_cancelled_is_shown_and_the_status_says_whether_all_is_known() {
    let rig = Rig::start().await;
    let (status, stdout, stderr) = rig.output(&["requests", "cancel", "r-1"]);
    assert!(
        stdout.ends_with("web-1  failed 3108 Cancelled\nweb-1  failed 207 Cancelled before delivery\n"),
        "{stdout}"
    );
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let (status, stdout, _) = rig.output(&["-o", "ndjson", "requests", "cancel", "r-2"]);
    assert_eq!((status, stdout.lines().count()), (Some(1), 2), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_get_json() {
    let rig = Rig::start().await;
    rig.answers(&[DONE]);
    let run = ["run", "-H", "web-1", "--", "uptime"];
    let ndjson = rig.output(&[&["-o", "ndjson"], &run[..]].concat());
    assert_eq!(ndjson, (Some(0), format!("{DONE}\n"), String::new()));
    rig.answers(&[DONE, FAILED]);
    let json = rig.output(&[&["-o", "json"], &run[..]].concat());
    let document = format!("{{\"id\":\"r-1\",\"response\":[{DONE},{FAILED}]}}\n");
    assert_eq!(json, (Some(1), document, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_shown_as_they_arrive_and_a_reader_may_leave() {
    let rig = Rig::start().await;
    let sender = rig.answers(&[DONE]);
    let mut child = rig.start_child(&["run", "-H", "web-1", "-H", "web-2", "--", "uptime"]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "web-1  success 2 Normal termination  0.01s\n");
    drop(stdout);
    // Another test's child that is just being started may hold the pipe open for a moment yet.
    while child.try_wait().unwrap().is_none() {
        let _ = sender.send(Ok(format!("{DONE}\n")));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (status, stderr) = end(child);
    assert_eq!((status.code(), stderr.as_str()), (Some(141), ""));
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_says_that_the_request_goes_on() {
    let rig = Rig::start().await;
    let _open = rig.answers(&[DONE]);
    let mut child = rig.start_child(&["run", "-H", "web-1", "-H", "web-2", "--", "uptime"]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    interrupt(&child);
    let (status, stderr) = end(child);
    assert_eq!(status.code(), Some(130));
    assert!(stderr.contains("the request goes on"), "{stderr}");
    assert!(stderr.contains("polarisctl requests show r-1"), "{stderr}");
    assert!(stderr.contains("polarisctl requests cancel r-1"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_before_the_first_word_of_polaris_promises_nothing() {
    let rig = Rig::start().await;
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", mute.local_addr().unwrap());
    let child = rig.start_child(&["--url", &url, "run", "-H", "a", "--", "uptime"]);
    let _connection = mute.accept().await.unwrap();
    interrupt(&child);
    let (status, stderr) = end(child);
    assert_eq!(status.code(), Some(130));
    assert!(stderr.contains("it is not known whether polaris has the request"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_no_answer() {
    let rig = Rig::start().await;
    let sender = rig.answers(&[DONE]);
    let mut child = rig.start_child(&["run", "-H", "web-1", "-H", "web-2", "--", "uptime"]);
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
    sender.send(Err(std::io::Error::other("gone"))).unwrap();
    let (status, stderr) = end(child);
    assert_eq!(status.code(), Some(3));
    assert!(stderr.contains("before every host had answered"), "{stderr}");
    assert!(stderr.contains("polarisctl requests show r-1"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_has_its_sentence_and_its_status() {
    let rig = Rig::start().await;
    let cases: [(&[&str], i32, &str); 7] = [
        (&["--token", "wrong", "run", "-H", "a", "--", "ls"], 3, "does not accept the token: no such token"),
        (
            &["run", "-H", "a", "--cwd", "tmp", "--", "ls"],
            1,
            "polaris refused: cwd: must be an absolute path",
        ),
        (&["requests", "show", "r-2"], 1, "polaris refused: there is no such request"),
        (&["requests", "cancel", "r-3"], 1, "polaris refused: nothing is left to cancel (Conflict)"),
        (&["token", "list"], 3, "is not what polaris would say (HTTP status 405)"),
        (&["--url", "http://127.0.0.1:1", "hosts"], 3, "polaris at http://127.0.0.1:1 cannot be reached"),
        (&["--url", "http://polaris.example.com", "hosts"], 3, "in clear text: use https://"),
    ];
    for (words, expected, sentence) in cases {
        let (status, stdout, stderr) = rig.output(words);
        assert!(stderr.starts_with("polarisctl: ") && stderr.contains(sentence), "{words:?}: {stderr}");
        assert_eq!((status, stdout.as_str(), stderr.lines().count()), (Some(expected), "", 1), "{words:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_polaris_would_not_say_is_told_as_that() {
    let rig = Rig::start().await;
    rig.answers(&[r#"{"host":"1","resp":"odd\u001b[2J","retcode":2,"message":""}"#]);
    let run: &[&str] = &["run", "-H", "a", "--", "ls"];
    for (words, reason) in [(run, "odd\\u{1b}[2J"), (&["hosts", "show", "odd"], "invalid type: sequence")] {
        let (status, stdout, stderr) = rig.output(words);
        assert!(stderr.contains("is not what polaris would say") && stderr.contains(reason), "{stderr:?}");
        assert_eq!((status, stdout.as_str()), (Some(3), ""), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_tables_for_people() {
    let rig = Rig::start().await;
    let (status, stdout, _) = rig.output(&["hosts", "--status", "online"]);
    assert_eq!(status, Some(0));
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{stdout}");
    assert!(lines[0].starts_with("NAME   STATUS  REGION  TAGS     VERSION"), "{stdout}");
    assert!(lines[1].starts_with("web-1  online  cn-1    svc=ecs  gearman-0.1.0-x86_64"), "{stdout}");
    let (_, stdout, _) = rig.output(&["hosts"]);
    assert!(stdout.contains("web\\u{1b}[2J"), "{stdout}");
    let (_, stdout, _) = rig.output(&["requests"]);
    assert!(stdout.contains("sync.bash  uptime"), "{stdout}");
    let (_, stdout, stderr) = rig.output(&["requests", "show", "r-1"]);
    assert!(stdout.contains("web-1  success 2 Normal termination  0.01s\nup\n"), "{stdout}");
    assert_eq!(stderr, "web-2: no way\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_travel_whole_in_paths() {
    let rig = Rig::start().await;
    let (status, stdout, _) = rig.output(&["-o", "json", "hosts", "show", "a/../b c?#%"]);
    assert_eq!((status, stdout.as_str()), (Some(0), "{\"id\":\"1\",\"name\":\"a/../b c?#%\",\"tags\":{}}\n"));
    let (status, stdout, stderr) = rig.output(&["hosts", "remove", "web-1"]);
    assert_eq!((status, stdout.as_str()), (Some(0), ""));
    assert_eq!(stderr, "web-1 is removed: it is refused from now on\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_stands_alone_on_standard_output() {
    let rig = Rig::start().await;
    let options = ["token", "create", "--ttl", "90m", "--uses", "3", "--region", "cn-1", "--tag", "svc=ecs"];
    assert_eq!(rig.output(&options), (Some(0), "SECRET.FINGERPRINT\n".into(), String::new()));
    let heard = rig.stub.lock().unwrap();
    let expected = json!({"ttl": 5400, "uses": 3, "region": "cn-1", "tags": {"svc": "ecs"}});
    assert_eq!(heard.requests[0].1, expected);
}

const ACCEPTED: &str =
    r#"{"host":"1","name":"web-1","resp":"success","retcode":1,"message":"Accepted","data":{"job":"r-1"}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_begun_with_what_it_needs_and_the_way_to_see_it_is_told() {
    let rig = Rig::start().await;
    rig.answers(&[ACCEPTED]);
    let options = ["--async", "--ttl", "1h", "--retries", "2", "--retry-delay", "5", "--queue", "--stream"];
    let told = rig.output(&[&["run", "-H", "web-1"], &options[..], &["--", "make"]].concat());
    let hint = "1 host: 1 accepted\nsee what becomes of it with: polarisctl jobs --request r-1\n";
    assert_eq!(told, (Some(0), "web-1  success 1 Accepted\n".into(), hint.into()));
    let expected = json!({"hosts": ["web-1"], "method": "async.bash", "cmd": "make", "stream": true,
        "ttl": 3600, "retries": 2, "retry_delay": 5, "queue": true});
    assert_eq!(rig.stub.lock().unwrap().requests[0].1, expected);
    let (status, _, stderr) = rig.output(&["run", "-H", "a", "--retries", "1", "--", "ls"]);
    assert_eq!((status, stderr.contains("add --async")), (Some(2), true), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_shown_and_cancelled() {
    let rig = Rig::start().await;
    let (status, stdout, _) = rig.output(&["jobs", "-H", "web 1", "--state", "running", "--request", "r/1"]);
    assert!(stdout.contains("r-1  web-1  running  1") && stdout.ends_with("make\n"), "{stdout}");
    assert_eq!(
        (status, &*rig.stub.lock().unwrap().query),
        (Some(0), "host=web%201&state=running&request=r%2F1")
    );
    let (_, stdout, _) = rig.output(&["jobs", "show", "web-1", "a/b@2026:x"]);
    assert!(stdout.contains("a/b@2026:x") && stdout.ends_with("Normal termination  0.01s\nup\n"), "{stdout}");
    rig.answers(&[DONE]);
    assert_eq!(rig.output(&["jobs", "cancel", "web-1", "r-1"]).0, Some(0));
    let expected = json!({"hosts": ["web-1"], "method": "job.cancel", "job": "r-1"});
    assert_eq!(rig.stub.lock().unwrap().requests[0].1, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_through_its_attempts_to_its_result() {
    let rig = Rig::start().await;
    let moved = |state: &str, attempts: u32| {
        json!({"host": "1", "job": "j", "method": "job", "state": state, "attempts": attempts}).to_string()
    };
    let lines = [
        moved("running", 1),
        piece("1", "stdout", "half"),
        moved("queued", 1),
        moved("running", 2),
        piece("1", "stdout", "u"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).chain([DONE]).collect();
    rig.answers(&lines);
    let (status, stdout, stderr) = rig.output(&["jobs", "follow", "web-1", "j"]);
    assert_eq!(stdout, "half\nup\nweb-1  success 2 Normal termination  0.01s\n");
    assert_eq!((status, &*stderr), (Some(0), "attempt 2\n"));
    rig.answers(&lines);
    let (_, stdout, _) = rig.output(&["-o", "ndjson", "jobs", "follow", "web-1", "j"]);
    assert_eq!(stdout, lines.join("\n") + "\n");
    rig.answers(&lines);
    let (_, stdout, _) = rig.output(&["-o", "json", "jobs", "follow", "web-1", "j"]);
    assert_eq!(stdout, format!("{DONE}\n"));
    rig.answers(&lines[..2]);
    let (status, stdout, stderr) = rig.output(&["jobs", "follow", "web-1", "j"]);
    assert_eq!((status, &*stdout), (Some(3), "half\n"));
    assert!(stderr.contains("lost before the job had ended"), "{stderr}");
    rig.answers(&[FAILED]);
    assert_eq!(rig.output(&["jobs", "follow", "web-1", "j"]).0, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn cron_entries_are_set_listed_and_removed() {
    let rig = Rig::start().await;
    rig.answers(&[ACCEPTED]);
    let options = ["--timezone", "UTC", "--overlap", "queue", "--catchup", "--splay", "60", "--user", "root"];
    let set = ["cron", "set", "-H", "web-1", "nightly", "0 3 * * *"];
    assert_eq!(rig.output(&[&set[..], &options, &["--", "backup", "all of it"]].concat()).0, Some(0));
    let expected = json!({"hosts": ["web-1"], "method": "cron.set", "name": "nightly", "schedule": "0 3 * * *",
        "timezone": "UTC", "overlap": "queue", "catchup": true, "splay": 60, "user": "root",
        "cmd": "backup 'all of it'"});
    assert_eq!(rig.stub.lock().unwrap().requests[0].1, expected);
    let (_, stdout, _) = rig.output(&["cron", "--name", "nightly"]);
    let row = "nightly  web-1  0 0 3 * * *  UTC       2026-11-23T03:00:00Z  2026-11-22T03:00:01Z  2        backup\n";
    assert!(stdout.ends_with(row), "{stdout}");
    assert_eq!(rig.stub.lock().unwrap().query, "name=nightly");
    rig.answers(&[DONE]);
    assert_eq!(rig.output(&["cron", "remove", "-H", "web-1", "--queue", "nightly"]).0, Some(0));
    let expected = json!({"hosts": ["web-1"], "method": "cron.remove", "name": "nightly", "queue": true});
    assert_eq!(rig.stub.lock().unwrap().requests[1].1, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_cancelled_job_it_is_shown_what_each_host_said() {
    let rig = Rig::start().await;
    let (status, stdout, _) = rig.output(&["requests", "cancel", "r-job"]);
    let rest = "web-2  waits until 2026-11-23T00:00:00Z\nweb-1  job cancelled, attempt 1, retcode 3108\n\
                web-1  failed 204 Host offline (asked to cancel)\n\
                web-1  success 2 Normal termination  0.01s (asked to cancel)\n";
    assert!(stdout.ends_with(rest), "{stdout}");
    assert_eq!(status, Some(1), "one did not say so");
}

const TOLD: &str = r#"{"host":"1","name":"web-1","resp":"success","retcode":2,"message":"Normal termination","data":{"users":[{"name":"root","uid":0}],"count":1}}"#;
const REFUSED: &str = r#"{"host":"2","name":"web-2","resp":"failed","retcode":3022,"message":"Unknown method","detail":"getinfo.users: there is no such query"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_asked_about_themselves_and_their_json_is_laid_out() {
    let rig = Rig::start().await;
    rig.answers(&[TOLD, REFUSED]);
    let (status, stdout, stderr) =
        rig.output(&["info", "users", "-H", "web-1", "-t", "has(name)", "--timeout", "5", "--", "-U", "a b"]);
    assert_eq!(
        stdout,
        "web-1  success 2 Normal termination\n{\n  \"users\": [\n    {\n      \"name\": \"root\",\n      \
         \"uid\": 0\n    }\n  ],\n  \"count\": 1\n}\n\
         web-2  failed 3022 Unknown method: getinfo.users: there is no such query\n"
    );
    assert_eq!((status, &*stderr), (Some(1), "2 hosts: 1 succeeded, 1 failed\n"));
    let expected = json!({"hosts": ["web-1"], "target": "has(name)", "method": "getinfo.users",
        "args": "-U 'a b'", "timeout": 5});
    assert_eq!(rig.stub.lock().unwrap().requests[0].1, expected);
    rig.answers(&[TOLD]);
    let ndjson = rig.output(&["-o", "ndjson", "info", "-t", "has(name)", "getinfo.users"]);
    assert_eq!(ndjson, (Some(0), format!("{TOLD}\n"), String::new()));
    let expected = json!({"target": "has(name)", "method": "getinfo.users"});
    assert_eq!(rig.stub.lock().unwrap().requests[1].1, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_go_to_the_server_as_they_are() {
    let rig = Rig::start().await;
    let target = "region == \"cn-1\" and name ~ 'web-*'";
    rig.answers(&[DONE, FAILED]);
    let (_, stdout, stderr) = rig.output(&["run", "-t", target, "--", "uptime"]);
    assert!(stdout.starts_with("web-1  success 2"), "{stdout}");
    assert_eq!(stderr, "web-2: no way\n2 hosts: 1 succeeded, 1 failed\n", "they are many");
    rig.answers(&[ACCEPTED]);
    assert_eq!(rig.output(&["cron", "set", "-t", target, "nightly", "0 3 * * *", "--", "backup"]).0, Some(0));
    rig.answers(&[DONE]);
    assert_eq!(rig.output(&["cron", "remove", "-t", target, "nightly"]).0, Some(0));
    for (_, body) in &rig.stub.lock().unwrap().requests {
        assert_eq!((&body["target"], &body["hosts"]), (&json!(target), &Value::Null));
    }
    assert_eq!(rig.output(&["hosts", "-t", "name == \"ü\"", "--status", "online"]).0, Some(0));
    assert_eq!(rig.stub.lock().unwrap().query, "target=name%20%3D%3D%20%22%C3%BC%22");
    for words in [&["run", "--", "ls"][..], &["info", "os"], &["cron", "set", "a", "0 3 * * *", "--", "ls"]] {
        let (status, _, stderr) = rig.output(words);
        assert_eq!((status, stderr.contains("--target <TARGET>")), (Some(2), true), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_tells_is_shown_by_the_paths_that_find_it() {
    let rig = Rig::start().await;
    let (status, stdout, _) = rig.output(&["hosts", "show", "telling"]);
    let rest = "facts.net.addresses        127.0.0.1, 10.0.0.7\nfacts.net.interfaces.name  lo\n\
                facts.net.interfaces.name  eth0\nfacts.os.id                debian\\u{1b}\n";
    assert!(stdout.ends_with(rest), "{stdout}");
    assert_eq!(status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn daemons_are_listed_whole_whoever_has_them() {
    let rig = Rig::start().await;
    let (status, stdout, _) =
        rig.output(&["daemon", "list", "-H", "web-1", "-t", "has(name)", "--status", "running", "nginx"]);
    assert_eq!(
        stdout,
        "HOST             DAEMON  VERSION  STATUS   WANTED   PID  SINCE                 RESTARTS\n\
         web-1            nginx   1.0.1    running  running  7    2026-11-22T00:00:00Z  0\n\
         web-2 (offline)  nginx   1.0.1    running  running  7    2026-11-22T00:00:00Z  0\n"
    );
    assert_eq!(status, Some(0));
    let queries = std::mem::take(&mut rig.stub.lock().unwrap().queries);
    let narrowed = "name=nginx&status=running&limit=1000";
    assert_eq!(queries, [format!("host=web%2D1&{narrowed}"), format!("target=has%28name%29&{narrowed}")]);
    let (_, stdout, _) = rig.output(&["-o", "ndjson", "daemon"]);
    assert_eq!(stdout.lines().count(), 1001);
    let queries = std::mem::take(&mut rig.stub.lock().unwrap().queries);
    assert_eq!(queries, ["limit=1000", "limit=1000&after=nginx%2F1000"]);
    let (_, stdout, _) = rig.output(&["-o", "json", "daemon", "list", "-H", "web-1"]);
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&document["count"], &document["daemons"][0]["daemon"]), (&json!(1), &json!("nginx")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleets_daemons_are_counted_and_one_tells_what_it_came_to() {
    let rig = Rig::start().await;
    let (status, stdout, _) = rig.output(&["daemon", "summary", "-t", "has(name)", "nginx"]);
    let rows = "DAEMON  VERSION  STATUS   HOSTS  OFFLINE\nnginx   1.0.1    running  3      1\n";
    assert_eq!((status, &*stdout), (Some(0), rows));
    assert_eq!(rig.stub.lock().unwrap().query, "target=has%28name%29&name=nginx");
    let (status, stdout, _) = rig.output(&["daemon", "events", "web-1", "nginx", "--limit", "3"]);
    let lines = "2026-11-22T00:00:00Z  backoff  3101 Exited with an error: exit status 3\n    \
                 no such file\n    \\u{1b}[2J\n";
    assert_eq!((status, &*stdout), (Some(0), lines));
    assert_eq!(rig.stub.lock().unwrap().query, "limit=3");
    let (_, stdout, _) = rig.output(&["-o", "ndjson", "daemon", "events", "web-1", "nginx"]);
    assert_eq!(stdout, format!("{EVENT}\n"));
    let (_, stdout, _) = rig.output(&["-o", "json", "daemon", "events", "web-1", "nginx"]);
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["count"], 1);
}

const NOTED: &str = r#"{"host":"1","name":"web-1","resp":"success","retcode":1,"message":"Accepted"}"#;
const UNKNOWN: &str = r#"{"host":"2","name":"web-2","resp":"failed","retcode":3024,"message":"Not found","detail":"there is no daemon web"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_sent_as_it_stands_in_its_file() {
    let rig = Rig::start().await;
    let definition = json!({"name": "web", "version": "1.0.1", "url": "http://127.0.0.1/web.deb", "start": "web",
        "stop": "kill:TERM", "limits": {"hits": 5, "cpu": "5%"}, "later": [1]});
    let file = rig.data.path().join("web.json");
    fs::write(&file, definition.to_string()).unwrap();
    rig.answers(&[NOTED]);
    let told = rig.output(&["daemon", "init", file.to_str().unwrap(), "-H", "web-1"]);
    let hint = "1 host: 1 accepted\nsee what becomes of it with: polarisctl daemon list web\n";
    assert_eq!(told, (Some(0), "web-1  success 1 Accepted\n".into(), hint.into()));
    rig.answers(&[NOTED]);
    let mut child = rig.command(&["daemon", "init", "-", "-t", "has(name)", "--queue"]);
    child.stdin(fs::File::open(&file).unwrap());
    let (status, _, stderr) = crate::told(&child.output().unwrap());
    assert_eq!((status, stderr.contains("requests show r-1")), (Some(0), true), "{stderr}");
    let heard = rig.stub.lock().unwrap();
    let mut expected = definition;
    expected["method"] = json!("daemon.init");
    expected["hosts"] = json!(["web-1"]);
    assert_eq!(heard.requests[0].1, expected);
    expected.as_object_mut().unwrap().remove("hosts");
    expected["target"] = json!("has(name)");
    expected["queue"] = json!(true);
    assert_eq!(heard.requests[1].1, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_definition_is_refused_with_the_reason() {
    let rig = Rig::start().await;
    let file = rig.data.path().join("web.json");
    let path = file.to_str().unwrap();
    for (text, reason) in [
        ("{", "it is not JSON: EOF"),
        ("[]", "a definition is a JSON object"),
        (r#"{"name": "a", "name": "b"}"#, "it is not JSON: the key \"name\" stands twice"),
        (r#"{"name": "a", "method": "daemon.init"}"#, "method: is of a request"),
        (&" ".repeat(1024 * 1024 + 1), "a definition is at most 1048576 bytes"),
    ] {
        fs::write(&file, text).unwrap();
        let (status, stdout, stderr) = rig.output(&["daemon", "init", path, "-H", "web-1"]);
        assert!(stderr.starts_with(&format!("polarisctl: {path}: {reason}")), "{stderr}");
        assert_eq!((status, &*stdout), (Some(2), ""));
    }
    let (status, _, stderr) = rig.output(&["daemon", "init", "/no/such/file", "-H", "web-1"]);
    assert_eq!(status, Some(2));
    assert!(stderr.contains("/no/such/file: No such file"), "{stderr}");
    assert!(rig.stub.lock().unwrap().requests.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_is_ordered_about_and_the_status_says_whether_every_host_accepted() {
    let rig = Rig::start().await;
    for verb in ["start", "stop", "restart", "remove"] {
        rig.answers(&[NOTED, UNKNOWN]);
        let (status, stdout, stderr) = rig.output(&["daemon", verb, "web", "-H", "web-1", "-H", "web-2"]);
        let lines = "web-1  success 1 Accepted\nweb-2  failed 3024 Not found: there is no daemon web\n";
        assert_eq!((status, &*stdout), (Some(1), lines));
        assert!(stderr.starts_with("2 hosts: 1 accepted, 1 failed\n"), "{stderr}");
        let (_, body) = rig.stub.lock().unwrap().requests.pop().unwrap();
        let method = format!("daemon.{verb}");
        assert_eq!(body, json!({"hosts": ["web-1", "web-2"], "method": method, "name": "web"}));
    }
    rig.answers(&[NOTED]);
    assert_eq!(rig.output(&["daemon", "stop", "web", "-t", "has(name)", "--queue"]).0, Some(0));
    let (_, body) = rig.stub.lock().unwrap().requests.pop().unwrap();
    assert_eq!(body, json!({"target": "has(name)", "method": "daemon.stop", "name": "web", "queue": true}));
}
