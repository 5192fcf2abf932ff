//! `polarisctl boot` against a stub of its routes, of the packages and of the catalogue.

use super::{command, data_of, end, interrupt, on_a_terminal, problem, told};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// What the stub heard, and what it answers.
#[derive(Default)]
struct Heard {
    orders: Vec<Value>,
    /// Of every list that was asked for, with its path.
    queries: Vec<String>,
    /// What a job is found to be, look after look; the last one stays. Null is an answer that breaks off.
    looks: VecDeque<Value>,
    /// Their checksums, by their paths.
    files: BTreeMap<String, String>,
    plugins: Vec<Value>,
}

type Stub = Arc<Mutex<Heard>>;

struct Rig {
    data: TempDir,
    stub: Stub,
}

impl Rig {
    async fn start() -> Rig {
        let stub = Stub::default();
        let app = Router::new()
            .route("/api/v1/boot/jobs", post(order).get(jobs))
            .route("/api/v1/boot/jobs/{id}", get(job).delete(cancelled))
            .route("/api/v1/boot/agents", get(agents))
            .route("/api/v1/boot/agents/summary", get(summary))
            .route("/api/v1/boot/hosts", get(hosts))
            .route("/api/v1/plugins", post(add_plugin).get(plugins))
            .route("/packages/{*path}", put(store).get(stored))
            .with_state(stub.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let data = data_of(&format!("http://{}", listener.local_addr().unwrap()));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Rig { data, stub }
    }

    fn output(&self, words: &[&str]) -> (Option<i32>, String, String) {
        told(&command(&self.data, &[&["boot"], words].concat()).output().unwrap())
    }

    fn start_child(&self, words: &[&str]) -> Child {
        let mut command = command(&self.data, &[&["boot"], words].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn orders(&self) -> Vec<Value> {
        std::mem::take(&mut self.stub.lock().unwrap().orders)
    }

    fn queries(&self) -> Vec<String> {
        std::mem::take(&mut self.stub.lock().unwrap().queries)
    }

    fn looks(&self, looks: &[Value]) {
        self.stub.lock().unwrap().looks = looks.iter().cloned().collect();
    }

    /// A file on the operator's disk.
    fn package(&self, name: &str, content: &str) -> String {
        let file = self.data.path().join(name);
        fs::write(&file, content).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

async fn order(State(stub): State<Stub>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    if body["target"] == "many" && body["confirm"] != 4312 {
        let detail = "confirm: this is for 4312 hosts: say \"confirm\": 4312";
        let document =
            json!({"title": "Unprocessable Entity", "detail": detail, "field": "confirm", "hosts": 4312});
        return problem(StatusCode::UNPROCESSABLE_ENTITY, &document);
    }
    let answer = json!({"id": "j-1", "action": body["action"], "name": body["name"], "count": 2});
    stub.lock().unwrap().orders.push(body);
    (StatusCode::ACCEPTED, axum::Json(answer)).into_response()
}

async fn job(State(stub): State<Stub>, Path(id): Path<String>) -> Response {
    if id != "j-1" {
        let detail = format!("there is no job {id}");
        return problem(StatusCode::NOT_FOUND, &json!({"title": "Not Found", "detail": detail}));
    }
    let mut heard = stub.lock().unwrap();
    let look = if heard.looks.len() > 1 { heard.looks.pop_front() } else { heard.looks.front().cloned() };
    match look.expect("a test says what becomes of the job") {
        Value::Null => {
            let broken = Err::<Bytes, _>(std::io::Error::other("gone"));
            Body::from_stream(futures_util::stream::iter([broken])).into_response()
        }
        look => axum::Json(look).into_response(),
    }
}

async fn cancelled(State(stub): State<Stub>) -> impl IntoResponse {
    axum::Json(stub.lock().unwrap().looks.front().cloned())
}

async fn jobs(State(stub): State<Stub>, RawQuery(query): RawQuery) -> impl IntoResponse {
    stub.lock().unwrap().queries.push(query.unwrap_or_default());
    let counts = json!({"waiting": 0, "sent": 1, "done": 2, "failed": 0, "expired": 0, "cancelled": 0});
    let job = json!({"id": "j-1", "action": "upgrade", "name": "gearman", "version": "0.2.0",
        "created": past(), "by": "ann\u{1b}", "batch": "10%", "state": "open", "counts": counts});
    axum::Json(json!({"jobs": [job], "count": 1}))
}

async fn agents(State(stub): State<Stub>, RawQuery(query): RawQuery) -> impl IntoResponse {
    let query = query.unwrap_or_default();
    let agent = |host: usize, silent: bool| {
        json!({"host": host.to_string(), "hostname": format!("web-{host}"), "host_status": "online",
            "agent": "gearman", "version": "0.1.0", "status": "fatal", "state": "backoff", "uptime": 0,
            "reason": "exit status 3\u{1b}", "reported": past(), "silent": silent, "latest": "0.2.0",
            "outdated": silent})
    };
    let agents = match query.as_str() {
        all if all.starts_with("limit=") && !all.contains("after=") => {
            (1..=1000).map(|n| agent(n, false)).collect()
        }
        one if one.contains("host=") => vec![agent(1, false)],
        selected if selected.contains("target=") => vec![agent(1, false), agent(2, true)],
        _ => vec![agent(1001, false)],
    };
    stub.lock().unwrap().queries.push(query);
    axum::Json(json!({"count": agents.len(), "agents": agents}))
}

async fn summary(State(stub): State<Stub>, RawQuery(query): RawQuery) -> impl IntoResponse {
    stub.lock().unwrap().queries.push(query.unwrap_or_default());
    let count = json!({"agent": "gearman", "version": "0.1.0", "status": "running", "hosts": 3, "silent": 1,
        "outdated": true});
    axum::Json(json!({"summary": [count], "count": 1}))
}

async fn hosts(State(stub): State<Stub>, RawQuery(query): RawQuery) -> impl IntoResponse {
    stub.lock().unwrap().queries.push(query.unwrap_or_default());
    let host = json!({"host": "1", "hostname": "web-1", "version": "bootagent-0.1.0-x86_64", "step": 600,
        "uptime": 93784, "reported": past(), "silent": true, "agents": ["gearman", "nodus"], "packages": []});
    axum::Json(json!({"hosts": [host], "count": 1}))
}

async fn store(
    State(stub): State<Stub>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut heard = stub.lock().unwrap();
    if headers[header::IF_NONE_MATCH] == "*" && heard.files.contains_key(&path) {
        return problem(StatusCode::PRECONDITION_FAILED, &json!({"title": "Precondition Failed"}));
    }
    let mut sum = String::new();
    Sha256::digest(&body).iter().for_each(|byte| write!(sum, "{byte:02x}").unwrap());
    heard.files.insert(path.clone(), sum.clone());
    (StatusCode::CREATED, axum::Json(json!({"path": path, "size": body.len(), "sha256": sum})))
        .into_response()
}

async fn stored(State(stub): State<Stub>, Path(path): Path<String>) -> impl IntoResponse {
    axum::Json(json!({"path": path, "size": 1, "sha256": stub.lock().unwrap().files[&path]}))
}

async fn add_plugin(State(stub): State<Stub>, body: Bytes) -> Response {
    let mut plugin: Value = serde_json::from_slice(&body).unwrap();
    for place in ["arch", "os"] {
        if plugin[place].is_null() {
            plugin[place] = json!("");
        }
    }
    let mut heard = stub.lock().unwrap();
    let told = |plugin: &Value| [&plugin["name"], &plugin["version"], &plugin["arch"]].map(Value::to_string);
    if heard.plugins.iter().any(|known| told(known) == told(&plugin)) {
        let detail = "there is a plugin of it already: remove it first";
        return problem(StatusCode::CONFLICT, &json!({"title": "Conflict", "detail": detail}));
    }
    heard.plugins.push(plugin);
    (StatusCode::CREATED, axum::Json(json!({"id": "p-1"}))).into_response()
}

async fn plugins(State(stub): State<Stub>) -> impl IntoResponse {
    let plugins = stub.lock().unwrap().plugins.clone();
    axum::Json(json!({"count": plugins.len(), "plugins": plugins}))
}

/// Three days and two and a half hours ago.
fn past() -> String {
    humantime::format_rfc3339_millis(SystemTime::now() - Duration::from_mins(3 * 1440 + 150)).to_string()
}

/// A job of two hosts.
fn look(state: &str, hosts: &[(&str, &str)]) -> Value {
    let mut counts =
        BTreeMap::from(["waiting", "sent", "done", "failed", "expired", "cancelled"].map(|s| (s, 0)));
    let entry = |(name, state): &(&str, &str)| match *state {
        "failed" => json!({"host": name, "name": format!("web-{name}"), "state": state, "errcode": 3020,
            "message": "checksum mismatch\u{1b}", "sent": past(), "ended": past()}),
        _ => json!({"host": name, "name": format!("web-{name}"), "state": state}),
    };
    for (_, state) in hosts {
        *counts.get_mut(state).unwrap() += 1;
    }
    let hosts: Vec<Value> = hosts.iter().map(entry).collect();
    json!({"id": "j-1", "action": "install", "name": "gearman", "created": past(), "by": "ann", "state": state,
        "counts": counts, "job": {"action": "install", "name": "gearman", "env": {"A": "1"}}, "hosts": hosts})
}

const HINT: &str =
    "for 2 hosts, when they report; see what becomes of it with: polarisctl boot job j-1 --follow\n";

#[tokio::test(flavor = "multi_thread")]
async fn orders_go_out_as_they_are_meant() {
    let rig = Rig::start().await;
    let sum = format!("SHA256:{}", "0".repeat(64));
    let package = ["--from", "/packages/g-2.deb", "--checksum", &sum, "--version", "2", "--env", "A=b=c"];
    let rest = ["--cpu", "10%", "--memory", "20M", "--start", "/usr/bin/gearman -f", "--timeout", "1h"];
    let course = ["--batch", "25%", "--max-errors", "0", "--ttl", "7d", "--confirm", "2"];
    let words = [&["upgrade", "gearman", "-H", "web-1", "-t", "has(name)"][..], &package, &rest, &course];
    assert_eq!(rig.output(&words.concat()), (Some(0), "j-1\n".into(), HINT.into()));
    let expected = json!({"hosts": ["web-1"], "target": "has(name)", "action": "upgrade", "name": "gearman",
        "url": "/packages/g-2.deb", "checksum": sum, "version": "2", "env": {"A": "b=c"},
        "limits": {"CPU": "10%", "memory": "20M"}, "start": "/usr/bin/gearman -f", "timeout": 3600,
        "batch": "25%", "max_errors": 0, "ttl": 604_800, "confirm": 2});
    assert_eq!(rig.orders(), [expected]);
    for verb in ["install", "uninstall", "start", "stop", "restart"] {
        assert_eq!(rig.output(&[verb, "gearman", "-H", "web-1"]).0, Some(0));
        assert_eq!(rig.orders(), [json!({"hosts": ["web-1"], "action": verb, "name": "gearman"})]);
    }
    let config = ["config", "-t", "has(name)", "--svrlist", "127.0.0.1:8181,", "--step", "20m"];
    let (status, stdout, _) = rig.output(&[&["-o", "json"], &config[..]].concat());
    let answer = json!({"id": "j-1", "action": "config", "name": null, "count": 2});
    assert_eq!((status, serde_json::from_str::<Value>(&stdout).unwrap()), (Some(0), answer));
    let expected =
        json!({"target": "has(name)", "action": "config", "svrlist": "127.0.0.1:8181,", "step": 1200});
    assert_eq!(rig.orders(), [expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_be_asked_how_many_hosts_it_is_for_the_number_is_told() {
    let rig = Rig::start().await;
    let sentence = "polarisctl: polaris refused: confirm: this is for 4312 hosts: say \"confirm\": 4312 \
                    (Unprocessable Entity)\n";
    let refused = rig.output(&["restart", "gearman", "-t", "many"]);
    assert_eq!(refused, (Some(1), String::new(), sentence.into()));
    assert_eq!(rig.output(&["restart", "gearman", "-t", "many", "--confirm", "4312"]).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_until_its_last_host_has_ended() {
    let rig = Rig::start().await;
    let looks = [
        look("open", &[("1", "sent"), ("2", "waiting")]),
        Value::Null,
        look("open", &[("1", "done"), ("2", "sent")]),
        look("ended", &[("1", "done"), ("2", "failed")]),
    ];
    rig.looks(&looks);
    let told = rig.output(&["install", "gearman", "-H", "1", "-H", "2", "--follow"]);
    let lines = "web-1  done\nweb-2  failed 3020 checksum mismatch\\u{1b}\n";
    assert_eq!(told, (Some(1), lines.into(), "2 hosts: 1 done, 1 failed\n".into()));
    rig.looks(&looks);
    let (status, stdout, stderr) = rig.output(&["-o", "ndjson", "job", "j-1", "--follow"]);
    let hosts: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((status, json!(hosts), &*stderr), (Some(1), looks[3]["hosts"].clone(), ""));
    rig.looks(&[look("ended", &[("1", "done"), ("2", "done")])]);
    let (status, stdout, _) = rig.output(&["-o", "json", "job", "j-1", "--follow"]);
    assert_eq!(status, Some(0));
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["counts"]["done"], 2);
    rig.looks(&[look("stopped", &[("1", "failed"), ("2", "waiting")])]);
    let (status, _, stderr) = rig.output(&["job", "j-1", "--follow"]);
    let end = "2 hosts: 1 waiting, 1 failed; it was stopped, for more hosts failed than may\n";
    assert_eq!((status, &*stderr), (Some(1), end));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_it_asks_how_many_hosts_it_is_for_and_shows_how_far_they_are() {
    let rig = Rig::start().await;
    rig.looks(&[
        look("open", &[("1", "done"), ("2", "sent"), ("3", "waiting")]),
        look("ended", &[("1", "done"), ("2", "done"), ("3", "done")]),
    ]);
    let words = "boot restart gearman -t many --follow";
    let (status, shown) = on_a_terminal(&rig.data, words, "yes\n");
    assert!(shown.contains("that is not how many hosts there are: nothing was begun"), "{shown}");
    assert_eq!((status, rig.orders().len()), (Some(1), 0));
    let (status, shown) = on_a_terminal(&rig.data, words, "4312\n");
    assert!(shown.contains(" 1/3 hosts: 1 waiting, 1 sent, 1 done"), "{shown}");
    assert!(shown.contains("web-3  done") && shown.contains("3 hosts: 3 done"), "{shown}");
    assert_eq!((status, &rig.orders()[0]["confirm"]), (Some(0), &json!(4312)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_says_that_the_job_goes_on() {
    let rig = Rig::start().await;
    rig.looks(&[look("open", &[("1", "done"), ("2", "sent")])]);
    let mut child = rig.start_child(&["job", "j-1", "--follow"]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "web-1  done\n");
    interrupt(&child);
    let (status, stderr) = end(child);
    assert_eq!(status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("the job goes on") && stderr.contains("polarisctl boot cancel j-1"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_shown_with_its_hosts_and_taken_back() {
    let rig = Rig::start().await;
    rig.looks(&[look("ended", &[("1", "done"), ("2", "failed")])]);
    let (status, stdout, stderr) = rig.output(&["job", "j-1"]);
    let hosts = "
\nHOST   STATE   SENT          ENDED         ERRCODE  MESSAGE
web-1  done    -             -             -        -
web-2  failed  3days 2h ago  3days 2h ago  3020     checksum mismatch\\u{1b}
";
    assert!(stdout.ends_with(hosts), "{stdout}");
    assert!(stdout.contains("job.env  A=1\n") && stdout.contains("hosts    1 done, 1 failed\n"), "{stdout}");
    assert_eq!((status, &*stderr), (Some(1), ""), "one has not done it");
    rig.looks(&[look("cancelled", &[("1", "sent"), ("2", "cancelled")])]);
    let (status, stdout, _) = rig.output(&["cancel", "j-1"]);
    assert!(stdout.contains("state    cancelled\n") && stdout.contains("1 sent, 1 cancelled\n"), "{stdout}");
    assert_eq!(status, Some(0));
    let (status, _, stderr) = rig.output(&["job", "j-2", "--follow"]);
    assert_eq!(
        (status, &*stderr),
        (Some(1), "polarisctl: polaris refused: there is no job j-2 (Not Found)\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleets_agents_are_listed_whole_whoever_has_them() {
    let rig = Rig::start().await;
    let filter = ["--name", "gearman", "--status", "fatal", "--outdated", "--silent"];
    let (status, stdout, _) =
        rig.output(&[&["agents", "-H", "web-1", "-t", "has(name)"], &filter[..]].concat());
    let rows = "\
HOST            AGENT    VERSION           LATEST  STATUS           UPTIME  REPORTED      REASON
web-1           gearman  0.1.0             0.2.0   fatal (backoff)  0       3days 2h ago  exit status 3\\u{1b}
web-2 (silent)  gearman  0.1.0 (outdated)  0.2.0   fatal (backoff)  0       3days 2h ago  exit status 3\\u{1b}
";
    assert_eq!((status, &*stdout), (Some(0), rows));
    let narrowed = "name=gearman&status=fatal&outdated=true&silent=true&limit=1000";
    let queries = [format!("host=web%2D1&{narrowed}"), format!("target=has%28name%29&{narrowed}")];
    assert_eq!(rig.queries(), queries);
    let (_, stdout, _) = rig.output(&["-o", "ndjson"]);
    assert_eq!(stdout.lines().count(), 1001);
    assert_eq!(rig.queries(), ["limit=1000", "limit=1000&after=gearman%2F1000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_is_counted_and_its_hosts_and_jobs_are_listed() {
    let rig = Rig::start().await;
    let (_, stdout, _) = rig.output(&["summary", "-t", "has(name)", "--outdated"]);
    let rows = "AGENT    VERSION           STATUS   HOSTS  SILENT\n\
                gearman  0.1.0 (outdated)  running  3      1\n";
    assert_eq!(stdout, rows);
    let (_, stdout, _) = rig.output(&["hosts", "--silent"]);
    let row =
        "web-1 (silent)  bootagent-0.1.0-x86_64  1day 2h  10m   3days 2h ago  -     gearman, nodus  -\n";
    assert!(stdout.ends_with(row), "{stdout}");
    let (_, stdout, _) = rig.output(&["jobs", "--open", "--limit", "3", "--after", "j/0"]);
    let row = "j-1  upgrade  gearman  0.2.0    3days 2h ago  ann\\u{1b}  open   1 sent, 2 done\n";
    assert!(stdout.ends_with(row), "{stdout}");
    rig.output(&["jobs", "--ended"]);
    let queries = [
        "target=has%28name%29&outdated=true",
        "silent=true&limit=1000",
        "state=open&limit=3&after=j%2F0",
        "state=ended",
    ];
    assert_eq!(rig.queries(), queries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_goes_from_the_operator_s_disk_to_the_fleet() {
    let rig = Rig::start().await;
    let file = rig.package("gearman_0.2.0_amd64.deb", "a package");
    let words = ["install", "gearman", "-H", "web-1", "--file", &file];
    for again in ["", "what is there already is taken as it is"] {
        let (status, stdout, stderr) = rig.output(&words);
        let told = "gearman/gearman_0.2.0_amd64.deb is in the catalogue as gearman 0.2.0\n";
        assert_eq!((status, &*stdout, stderr), (Some(0), "j-1\n", format!("{told}{HINT}")), "{again}");
        let expected =
            json!({"hosts": ["web-1"], "action": "install", "name": "gearman", "version": "0.2.0"});
        assert_eq!(rig.orders(), [expected]);
    }
    let heard = rig.stub.lock().unwrap();
    let sum = &heard.files["gearman/gearman_0.2.0_amd64.deb"];
    let expected = json!({"name": "gearman", "version": "0.2.0", "file": "gearman/gearman_0.2.0_amd64.deb",
        "arch": "x86_64", "os": "", "checksum": format!("SHA256:{sum}")});
    assert_eq!(heard.plugins, [expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_would_not_do_orders_nothing() {
    let rig = Rig::start().await;
    let unnumbered = rig.package("boot.deb", "a package");
    let refused = |words: &[&str], status: i32, reason: &str| {
        let (found, stdout, stderr) = rig.output(&[words, &["-H", "web-1"]].concat());
        assert_eq!((found, &*stdout), (Some(status), ""), "{words:?}: {stderr}");
        assert!(stderr.starts_with("polarisctl: ") && stderr.contains(reason), "{words:?}: {stderr}");
    };
    refused(&["upgrade", "boot", "--file", &unnumbered], 2, "has no version in it");
    refused(&["upgrade", "boot", "--file", &unnumbered, "--version", "1", "--env", "A=1"], 2, "env: ");
    refused(&["install", "gearman", "--file", "/no/such_1_all.deb"], 1, "/no/such_1_all.deb: No such file");
    assert!(rig.stub.lock().unwrap().files.is_empty(), "nothing travelled");
    assert_eq!(
        rig.output(&["upgrade", "boot", "-H", "web-1", "--file", &unnumbered, "--version", "1"]).0,
        Some(0)
    );
    assert_eq!(rig.orders().len(), 1);
    rig.package("boot.deb", "another package");
    refused(
        &["upgrade", "boot", "--file", &unnumbered, "--version", "2"],
        1,
        "boot/boot.deb is there already",
    );
    let renamed = rig.package("boot2.deb", "another package");
    refused(&["upgrade", "boot", "--file", &renamed, "--version", "1"], 1, "a plugin of it already");
    assert_eq!(rig.orders(), Vec::<Value>::new());
}
