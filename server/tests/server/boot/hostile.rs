//! What no boot should send, and what goes wrong here.

use super::{Boot, RESULT, STATUS, job, make, restart, states};
use crate::agent::exchange;
use crate::common::Server;
use aspire_wire::enroll::Token;
use polaris::limits::MAX_BOOT_REASON_CHARS;
use serde_json::{Value, json};

#[tokio::test]
async fn the_seed_s_own_words_are_understood() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    let sample = r#"{"hostname": "127.0.0.1", "version": "bootagent-1.2.4-x86_64", "uptime": 1234,
        "timestamp": 1232, "step": 600, "agents": [{"name": "BasicAgent", "version": "1.2.3",
        "status": "stoped", "uptime": 123}]}"#;
    assert_eq!(web.send(STATUS, sample).await.body, json!({"errcode": 0, "jobs": []}));
    make(&server.rest, restart("ddc8a9b9-55bd-4ddd-b53d-47095ee19466", &json!(["web-1"]))).await;
    let results = r#"[{"id": "ddc8a9b9-55bd-4ddd-b53d-47095ee19466", "errcode": 0, "message": "success"}]"#;
    assert_eq!(web.send(RESULT, results).await.body, json!({"errcode": 0}));
    assert_eq!(states(&server, "ddc8a9b9-55bd-4ddd-b53d-47095ee19466").await, ["done 0"]);
}

#[tokio::test]
async fn a_report_that_is_wrong_is_refused_with_the_field() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    let agent = |name: &str| json!({"name": name, "version": "1", "status": "running", "uptime": 1});
    let many: Vec<Value> = (0..65).map(|n| agent(&format!("a{n}"))).collect();
    for (more, field) in [
        (json!({"step": "x"}), "step"),
        (json!({"step": 59}), "step"),
        (json!({"uptime": -1}), "uptime"),
        (json!({"hostname": "x".repeat(256)}), "hostname"),
        (json!({"agents": {}}), "agents"),
        (json!({"agents": many}), "agents"),
        (json!({"agents": [agent("a"), agent("a")]}), "agents[1].name"),
        (
            json!({"agents": [{"name": "a", "version": "1", "status": "odd", "uptime": 1}]}),
            "agents[0].status",
        ),
        (json!({"wanted": [1]}), "wanted[0]"),
    ] {
        let mut report = web.report.clone();
        report.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = web.tell(&report).await;
        assert_eq!((answer.status, answer.text("field")), (422, field.to_owned()), "{more}: {answer:?}");
    }
    assert_eq!(web.send(STATUS, "{").await.status, 400);
    assert_eq!(web.send(STATUS, "[]").await.status, 422);
    assert_eq!(web.send(STATUS, vec![b' '; (1 << 20) + 1]).await.status, 413);
    assert_eq!(server.rest.get("/api/v1/boot/hosts").await.body["count"], 0);
}

#[tokio::test]
async fn results_of_jobs_that_there_are_not_are_passed_over() {
    let server = Server::start().await;
    let (web, db) = (Boot::of(&server, "web-1").await, Boot::of(&server, "db-1").await);
    make(&server.rest, restart("r", &json!(["web-1"]))).await;
    assert_eq!(web.ids().await, ["r"]);
    db.ends("r", 0, "success").await;
    db.ends("none", 3021, "Invalid params").await;
    assert_eq!(states(&server, "r").await, ["sent"]);
    let long = "x".repeat(MAX_BOOT_REASON_CHARS + 1);
    web.ends("r", u32::MAX, &long).await;
    let host = job(&server, "r").await["hosts"][0].clone();
    assert_eq!((&host["errcode"], &host["state"]), (&json!(u32::MAX), &json!("failed")));
    assert_eq!(host["message"].as_str().unwrap().len(), MAX_BOOT_REASON_CHARS);
}

#[tokio::test]
async fn results_that_are_wrong_are_refused_with_the_field() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    let result = json!({"id": "r", "errcode": 0, "message": "success"});
    for (body, field) in [
        (json!([result, {"id": 1, "errcode": 0, "message": ""}]), "[1].id"),
        (json!([{"id": "", "errcode": 0, "message": ""}]), "[0].id"),
        (json!([{"id": "r", "errcode": -1, "message": ""}]), "[0].errcode"),
    ] {
        let answer = web.send(RESULT, body.to_string()).await;
        assert_eq!((answer.status, answer.text("field")), (422, field.to_owned()), "{body}: {answer:?}");
    }
    assert_eq!(web.send(RESULT, result.to_string()).await.status, 422);
    assert_eq!(web.send(RESULT, json!(vec![result; 65]).to_string()).await.status, 422);
    assert_eq!(web.send(RESULT, "[]").await.body, json!({"errcode": 0}));
}

#[tokio::test]
async fn nobody_without_a_certificate_reports() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    let token: Token = server.token().await.parse().unwrap();
    for (path, body) in [(STATUS, web.report.clone()), (RESULT, json!([]))] {
        let (status, problem) = exchange(server.agents(), token.fingerprint, path, &body).await.unwrap();
        assert_eq!(status, 403, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("certificate"), "{problem}");
    }
}

#[tokio::test]
async fn a_job_that_is_damaged_costs_the_others_nothing() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    for id in ["a", "b", "c", "d"] {
        make(&server.rest, restart(id, &json!(["web-1"]))).await;
    }
    let mut database = server.database().await;
    database.execute("UPDATE boot_jobs SET job = 'no JSON' WHERE id = 'b'").await;
    database.execute("UPDATE boot_jobs SET files = 'no JSON' WHERE id = 'c'").await;
    assert_eq!(web.ids().await, ["a", "d"]);
}

#[tokio::test]
async fn what_the_database_does_not_take_is_to_be_sent_again() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    make(&server.rest, restart("r", &json!(["web-1"]))).await;
    assert_eq!(web.ids().await, ["r"]);
    let mut database = server.database().await;
    database.execute("ALTER TABLE boot_jobs RENAME TO elsewhere").await;
    let answer = web.send(RESULT, json!([{"id": "r", "errcode": 0, "message": "success"}]).to_string()).await;
    assert_eq!((answer.status, &answer.body["errcode"]), (200, &json!(3201)));
    // The report is taken in all the same.
    assert_eq!(web.reports().await["jobs"], json!([]));
    database.execute("ALTER TABLE elsewhere RENAME TO boot_jobs").await;
    database.execute("ALTER TABLE boot_reports RENAME TO elsewhere").await;
    let answer = web.tell(&web.report).await;
    assert_eq!(
        (answer.status, &answer.body["errcode"], &answer.body["jobs"]),
        (200, &json!(3201), &json!([]))
    );
    database.execute("ALTER TABLE elsewhere RENAME TO boot_reports").await;
    web.ends("r", 0, "success").await;
    assert_eq!(states(&server, "r").await, ["done 0"]);
}

#[tokio::test]
async fn more_jobs_than_an_answer_has_room_for_come_with_the_next() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    let env = json!({"LONG": "x".repeat(30 * 1024)});
    for n in 0..35 {
        let body = json!({"id": format!("i{n}"), "hosts": ["web-1"], "action": "install", "name": format!("a{n}"),
            "url": "http://h/a-1.deb", "env": env});
        make(&server.rest, body).await;
    }
    for n in 0..40 {
        make(&server.rest, restart(&format!("r{n}"), &json!(["web-1"]))).await;
    }
    let first = web.ids().await;
    assert!((20..35).contains(&first.len()), "{}", first.len());
    for id in &first {
        web.ends(id, 0, "success").await;
    }
    let second = web.ids().await;
    assert_eq!(second.len(), 64.min(75 - first.len()));
    assert_eq!(second[0], format!("i{}", first.len()));
}
