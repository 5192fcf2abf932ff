//! Whoever gives an order to many hosts says how many they are.

use crate::agent::{enrolled, linked};
use crate::common::Server;
use serde_json::{Value, json};

const MANY: &str = "[requests]\nconfirm_above = 2\n";

fn body(hosts: &[&str], more: Value) -> Value {
    let mut body = json!({"hosts": hosts, "method": "sync.bash", "cmd": "x"});
    let Value::Object(more) = more else { panic!("no object") };
    body.as_object_mut().unwrap().extend(more);
    body
}

#[tokio::test]
async fn a_request_for_many_needs_their_number_however_they_are_meant() {
    let server = Server::with(MANY).await;
    for name in ["a", "b", "c"] {
        enrolled(&server, name).await;
    }
    let by_target = json!({"target": r#"name in ("a", "b", "c")"#, "method": "sync.bash", "cmd": "x"});
    let rollout = body(&["a", "b", "c"], json!({"batch": 1}));
    for asked in [by_target, body(&["a", "b", "nobody"], json!({})), rollout] {
        let answer = server.rest.post("/api/v1/requests", &asked).await;
        assert_eq!((answer.status, &*answer.text("field")), (422, "confirm"), "{answer:?}");
        assert_eq!(answer.text("detail"), r#"confirm: this is for 3 hosts: say "confirm": 3"#);
        assert_eq!(answer.body["hosts"], 3);
        let mut asked = asked;
        asked["confirm"] = json!(3);
        assert_eq!(server.rest.run(asked).await.retcodes().len(), 3);
    }
    server.rest.run(body(&["a", "b", "a"], json!({}))).await;
    let list = server.rest.get("/api/v1/requests").await.body;
    assert_eq!(list["count"], 4, "what was refused was not begun");
    let targets: Vec<_> = list["requests"].as_array().unwrap().iter().map(|one| &one["target"]).collect();
    assert_eq!(targets.iter().filter(|target| target.is_string()).count(), 1, "{list}");
    assert!(targets.contains(&&json!(r#"name in ("a", "b", "c")"#)), "{list}");
}

#[tokio::test]
async fn a_wrong_number_is_refused_however_few_they_are() {
    let server = Server::with(MANY).await;
    for confirm in [0, 2, 1000] {
        let answer = server.rest.post("/api/v1/requests", &body(&["a"], json!({"confirm": confirm}))).await;
        assert_eq!((answer.status, &*answer.text("field")), (422, "confirm"));
        let reason = format!(r#"confirm: this is for 1 hosts, not for {confirm}: say "confirm": 1"#);
        assert_eq!(answer.text("detail"), reason);
    }
    server.rest.run(body(&["a"], json!({"confirm": 1}))).await;
}

#[tokio::test]
async fn what_was_confirmed_once_is_known_by_its_id() {
    let server = Server::with(MANY).await;
    let asked = body(&["a", "b", "c"], json!({"id": "r", "confirm": 3}));
    let first = server.rest.run(asked).await;
    let again = server.rest.run(body(&["a", "b", "c"], json!({"id": "r"}))).await;
    assert_eq!(again.body, first.body);
}

#[tokio::test]
async fn to_cancel_needs_no_number() {
    let server = Server::with("[requests]\nconfirm_above = 1\n").await;
    let (mut one, mut other) = (linked(&server, "a").await, linked(&server, "b").await);
    let mut asked = body(&["a", "b"], json!({"id": "r", "confirm": 2}));
    asked["method"] = json!("async.bash");
    let accept = async |agent: &mut crate::agent::Agent| {
        let request = agent.expect().await;
        agent.accept(&request).await;
    };
    tokio::join!(server.rest.run(asked), accept(&mut one), accept(&mut other));
    let confirm = async |agent: &mut crate::agent::Agent| {
        let request = agent.expect().await;
        assert_eq!(request["method"], "job.cancel");
        agent.answer(&request, "").await;
    };
    let delete = server.rest.call("DELETE", "/api/v1/requests/r", None);
    let (answer, (), ()) = tokio::join!(delete, confirm(&mut one), confirm(&mut other));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn what_is_wrong_with_an_expression_is_told_with_its_column() {
    let server = Server::start().await;
    let asked = json!({"target": "region = \"a\"", "method": "agent.info"});
    let answer = server.rest.post("/api/v1/requests", &asked).await;
    assert_eq!((answer.status, &*answer.text("field"), &answer.body["column"]), (422, "target", &json!(8)));
    let answer = server.rest.get("/api/v1/hosts?target=has(name").await;
    assert_eq!((answer.status, &answer.body["column"]), (422, &json!(9)));
}
