//! The whole interface under a fuzzer that knows the document: whatever it sends, polaris answers as
//! documented, and never with a status of 500 or more.

use crate::agent::{Agent, linked, result};
use crate::common::{Rest, Server};
use serde_json::json;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the programs; `tests/run` makes it.
const TOOLS: &str = "SCHEMA_TOOLS";
/// Cases for each call and each way to make them up. Failures are the same again with the same seed.
const CASES: &str = "8";
const SEED: &str = "7";
/// What must hold of every answer. That nobody is let in without credentials is tested elsewhere: here
/// whoever tries too many wrong ones is rightly answered with 429.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,negative_data_rejection,\
                      unsupported_method,use_after_free";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it needs schemathesis: run tests/run schema, which installs it"]
async fn whatever_is_sent_the_answer_is_a_documented_one() {
    let tools = PathBuf::from(env::var_os(TOOLS).expect("the environment names their folder"));
    let server = Server::start().await;
    let (dir, rest) = (server.dir.path().to_owned(), server.rest.clone());
    let fuzzing = async {
        begin_something(&server).await;
        tokio::task::spawn_blocking(move || (valid(&tools, &dir), fuzz(&tools, &dir, &rest))).await.unwrap()
    };
    let (valid, fuzzed) = tokio::select! {
        ended = fuzzing => ended,
        _ = async { tokio::join!(host(&server, "web-1"), host(&server, "web-2"), host(&server, "db-1")) } => {
            unreachable!("hosts come again")
        }
    };
    for (good, text) in [valid, fuzzed] {
        println!("{text}");
        assert!(good, "see above");
    }
    assert_eq!(server.rest.get("/readyz").await.status, 200);
}

/// A host that enrols again whenever it is revoked.
async fn host(server: &Server, name: &str) {
    loop {
        answers(linked(server, name).await).await;
    }
}

/// Does what it is told, as an agent would.
async fn answers(mut agent: Agent) {
    let mut seq = 0;
    while let Some(frame) = agent.next_of_many().await {
        match frame["method"].as_str() {
            Some("ack" | "pong") | None => {}
            Some("async.bash") => {
                agent.accept(&frame).await;
                seq += 1;
                agent.send(&result(seq, frame["id"].as_str().unwrap_or_default(), "done\n")).await;
            }
            Some(method) if method.starts_with("cron.") || method.starts_with("daemon.") => {
                agent.accept(&frame).await;
            }
            Some("bye") => return,
            Some(_) => agent.answer(&frame, "done\n").await,
        }
    }
}

/// So that there is something to be found.
async fn begin_something(server: &Server) {
    for name in ["web-1", "web-2", "db-1"] {
        server.host_where(name, "a link", |host| host["status"] == "online").await;
    }
    for body in [
        json!({"id": "r-1", "hosts": ["web-1", "db-1", "nobody"], "method": "sync.bash", "cmd": "true"}),
        json!({"id": "j-1", "hosts": ["web-1"], "method": "async.bash", "cmd": "true"}),
        json!({"hosts": ["web-2"], "method": "cron.set", "name": "c-1", "schedule": "0 0 3 * * *", "cmd": "true"}),
    ] {
        server.rest.run(body).await;
    }
    let job = json!({"id": "b-1", "hosts": ["web-1"], "action": "restart", "name": "gearman"});
    assert_eq!(server.rest.post("/api/v1/boot/jobs", &job).await.status, 202);
}

/// Whether the document is one of OpenAPI.
fn valid(tools: &Path, dir: &Path) -> (bool, String) {
    let file = dir.join("openapi.json");
    std::fs::write(&file, &polaris::routes::description().json).unwrap();
    run(Command::new(tools.join("openapi-spec-validator")).arg(file))
}

fn fuzz(tools: &Path, dir: &Path, rest: &Rest) -> (bool, String) {
    let url = format!("http://{}/api/openapi.json", rest.web);
    let mut fuzzer = Command::new(tools.join("schemathesis"));
    fuzzer.args(["run", &url, "--checks", CHECKS, "--max-examples", CASES, "--seed", SEED, "--workers", "2"]);
    fuzzer.args(["--header", &format!("Authorization: Bearer {}", rest.token), "--exclude-tag", "agents"]);
    fuzzer.args(["--suppress-health-check", "all", "--request-timeout", "30"]);
    run(fuzzer.current_dir(dir))
}

fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().expect("it can be started");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.success(), text.concat())
}
