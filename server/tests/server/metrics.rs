//! What monitoring is told, as Prometheus' own tool sees it.

use crate::agent::{Agent, enrolled};
use crate::common::{Server, eventually};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use polaris::web::Peer;
use polaris::{limits, routes};
use serde_json::json;
use std::collections::HashMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

const PROMTOOL: &str = "promtool of Prometheus is needed; tests/run installs it (apt-get install prometheus)";

/// All samples by name and labels, as they are written.
struct Samples(HashMap<String, f64>);

impl Samples {
    fn of(text: &str) -> Samples {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        Samples(lines.map(sample).collect())
    }

    #[allow(clippy::cast_possible_truncation, reason = "counts are small here")]
    fn count(&self, name: &str) -> i64 {
        self.0.get(name).unwrap_or_else(|| panic!("no {name}")).round() as i64
    }
}

/// What an address without a token is told.
pub async fn scrape(server: &Server) -> String {
    let request = Request::get("/metrics").body(Full::default()).unwrap();
    let response = server.rest.open(request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

/// One of the counts now.
pub async fn count(server: &Server, name: &str) -> i64 {
    Samples::of(&scrape(server).await).count(name)
}

fn check_metrics(text: &str) {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(PROMTOOL);
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.trim().is_empty(), "{said}\n{text}");
}

#[tokio::test]
async fn what_happened_is_counted() {
    let server = Server::start().await;
    let identity = enrolled(&server, "web-1").await;
    let mut agent = Agent::link(server.agents(), &identity, "web-1", "b").await;
    server.host_where(&identity.id, "online", |host| host["status"] == "online").await;
    let body = json!({"hosts": [identity.id, "nobody"], "method": "sync.bash", "cmd": "true"});
    let running = tokio::spawn({
        let rest = server.rest.clone();
        async move { rest.run(body).await }
    });
    agent.serve_one("done").await;
    running.await.unwrap();
    server.rest.get("/api/v1/hosts/nobody").await;
    server.rest.get("/api/v1/nothing/here").await;

    let text = scrape(&server).await;
    check_metrics(&text);
    assert!(!text.contains(&identity.id) && !text.contains("nobody") && !text.contains("nothing"), "{text}");
    let samples = Samples::of(&text);
    for (name, count) in [
        ("polaris_build_info{version=\"0.1.0\"}", 1),
        ("polaris_links", 1),
        ("polaris_links_accepted_total", 1),
        ("polaris_links_ended_total{reason=\"closed\"}", 0),
        ("polaris_tls_handshakes_total{listener=\"agents\",result=\"ok\"}", 2),
        ("polaris_enrolments_total{result=\"ok\"}", 1),
        ("polaris_hosts{status=\"online\"}", 1),
        ("polaris_hosts{status=\"unknown\"}", 0),
        ("polaris_requests_begun_total", 1),
        ("polaris_requests_ended_total", 1),
        ("polaris_request_duration_seconds_count", 1),
        ("polaris_results_total{class=\"success\"}", 1),
        ("polaris_results_total{class=\"server\"}", 1),
        ("polaris_queue_length", 0),
        ("polaris_jobs_inbox_bytes", 0),
        ("polaris_database_errors_total", 0),
        ("polaris_http_streams", 0),
        ("polaris_http_requests_total{method=\"POST\",route=\"/api/v1/requests\",status=\"200\"}", 1),
        ("polaris_http_requests_total{method=\"GET\",route=\"/api/v1/hosts/{id}\",status=\"404\"}", 1),
        ("polaris_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"}", 1),
        ("polaris_http_requests_total{method=\"POST\",route=\"/agent/enroll\",status=\"200\"}", 1),
    ] {
        assert_eq!(samples.count(name), count, "{name}");
    }
    for name in [
        "polaris_database_query_duration_seconds_count",
        "polaris_database_transaction_duration_seconds_count",
        "polaris_last_database_success_timestamp_seconds",
        "polaris_last_host_heard_timestamp_seconds",
        "polaris_last_request_begun_timestamp_seconds",
        "polaris_last_enrolment_timestamp_seconds",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(samples.count(name) > 0, "{name}");
    }

    drop(agent);
    eventually("the link's end is counted", async || {
        let samples = Samples::of(&scrape(&server).await);
        let ended = samples.count("polaris_links_ended_total{reason=\"closed\"}")
            + samples.count("polaris_links_ended_total{reason=\"connection\"}");
        (ended == 1 && samples.count("polaris_links") == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stream_is_counted_while_it_lasts() {
    let server = Server::start().await;
    let identity = enrolled(&server, "web-1").await;
    let mut agent = Agent::link(server.agents(), &identity, "web-1", "b").await;
    let body = json!({"hosts": [identity.id], "method": "sync.bash", "cmd": "true"});
    let mut lines = server.rest.stream(body).await;
    let streams = async || Samples::of(&scrape(&server).await).count("polaris_http_streams");
    assert_eq!(streams().await, 1);
    agent.serve_one("done").await;
    while lines.next().await.is_some() {}
    eventually("the stream's end", async || (streams().await == 0).then_some(())).await;
}

#[tokio::test]
async fn who_asks_from_elsewhere_needs_a_token() {
    let server = Server::start().await;
    let ask = async |peer: &str, headers: &[(&str, &str)]| {
        let mut request = Request::get("/metrics");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Full::<Bytes>::default()).unwrap();
        request.extensions_mut().insert(Peer(peer.parse::<SocketAddr>().unwrap()));
        let service = TowerToHyperService::new(routes::web(&server.running.app));
        service.call(request).await.unwrap().status().as_u16()
    };
    let token = format!("Bearer {}", server.rest.token);
    assert_eq!(ask("127.0.0.1:9", &[]).await, 200);
    assert_eq!(ask("[::ffff:127.0.0.1]:9", &[]).await, 200);
    assert_eq!(ask("192.0.2.1:9", &[]).await, 401);
    assert_eq!(ask("192.0.2.1:9", &[("authorization", &token)]).await, 200);
    assert_eq!(ask("127.0.0.1:9", &[("authorization", "Bearer x")]).await, 401);
    assert_eq!(ask("127.0.0.1:9", &[("x-forwarded-for", "127.0.0.1")]).await, 401, "a proxy's caller");
}

#[test]
fn the_shipped_examples_are_sound() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/etc/prometheus");
    for (what, file) in [("config", "prometheus.yml"), ("rules", "polaris-rules.yml")] {
        let output = Command::new("promtool").args(["check", what]).arg(dir.join(file)).output();
        let output = output.expect(PROMTOOL);
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{file}: {said}");
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/alerts.yml");
    let output = Command::new("promtool").args(["test", "rules"]).arg(tests).output().expect(PROMTOOL);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // The numbers in it are ours.
    let rules = std::fs::read_to_string(dir.join("polaris-rules.yml")).unwrap();
    for (name, most) in [
        ("polaris_results_memory_bytes", limits::MAX_LIVE_RESULT_BYTES),
        ("polaris_jobs_inbox_bytes", limits::MAX_UNSTORED_BYTES),
        ("polaris_queue_unstored_bytes", limits::MAX_UNSTORED_ANSWER_BYTES),
        ("polaris_queue_length", limits::MAX_QUEUED),
    ] {
        let rule = format!("{name} > 0.8 * {most}");
        assert!(rules.contains(&rule), "no {rule}");
    }
}

#[tokio::test]
async fn alerts_ask_for_what_there_is() {
    let server = Server::start().await;
    server.rest.get("/healthz").await;
    let text = scrape(&server).await;
    let rules = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/etc/prometheus/polaris-rules.yml"),
    );
    let rules = rules.unwrap();
    let words = rules.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names: Vec<_> = words.filter(|w| w.starts_with("polaris_") || w.starts_with("process_")).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(text.contains(&format!("# TYPE {name} ")), "no {name}");
    }
}
