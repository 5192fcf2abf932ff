//! `DELETE` of a request ends what it began, and says what is known of each host.

use crate::agent::{Agent, linked};
use crate::common::{Answer, PATIENCE, Rest, Server, eventually};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::service::Service as _;
use polaris::agents::link::Link;
use polaris::hosts::Found;
use polaris::{routes, web};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATH: &str = "/api/v1/requests/r";

fn body(hosts: &[&str]) -> Value {
    json!({"id": "r", "hosts": hosts, "method": "sync.bash", "cmd": "x"})
}

async fn delete(rest: &Rest) -> Answer {
    rest.call("DELETE", PATH, None).await
}

fn deleting(server: &Server) -> JoinHandle<Answer> {
    let rest = server.rest.clone();
    tokio::spawn(async move { delete(&rest).await })
}

impl Agent {
    /// Takes the wish to cancel.
    async fn is_asked_to_cancel(&mut self) -> Value {
        let call = self.expect().await;
        assert_eq!((&call["method"], &call["job"]), (&json!("job.cancel"), &json!("r")));
        assert_ne!(call["id"], "r");
        assert_eq!(call.as_object().unwrap().len(), 3);
        call
    }

    /// Answers as one that has ended the command.
    async fn confirm(&mut self, call: &Value) {
        let reply = json!({"id": "r", "resp": "failed", "retcode": 3108, "message": "Cancelled",
                           "data": "so far", "stderr": "", "signal": 15});
        self.send(&reply).await;
        let confirmation = json!({"id": call["id"], "resp": "success", "retcode": 2,
                                  "message": "Normal termination", "data": {"job": "r", "retcode": 3108}});
        self.send(&confirmation).await;
    }
}

#[tokio::test]
async fn a_command_that_runs_is_cancelled_and_everybody_hears_of_it() {
    let server = Server::start().await;
    let (mut agent, mut quick) = (linked(&server, "a").await, linked(&server, "quick").await);
    let mut lines = server.rest.stream(body(&["a", "quick", "nobody"])).await;
    agent.expect().await;
    quick.serve_one("done").await;
    let told = [lines.next().await.unwrap(), lines.next().await.unwrap()];
    assert_eq!(told.map(|entry| entry["retcode"].clone()), [json!(203), json!(2)]);
    let deleting = deleting(&server);
    let call = agent.is_asked_to_cancel().await;
    agent.confirm(&call).await;
    let answer = deleting.await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let retcodes: Vec<u64> = answer.retcodes().into_iter().map(|(_, retcode)| retcode).collect();
    assert_eq!(retcodes, [3108, 2, 203]);
    let entry = &answer.body["response"][0];
    assert_eq!((&entry["signal"], &entry["data"]), (&json!(15), &json!("so far")));
    assert_eq!(lines.next().await.unwrap(), *entry);
    assert_eq!(lines.next().await, None);
    assert_eq!(server.rest.get(PATH).await.body, answer.body);
    assert_eq!((&answer.body["failed"], &answer.body["pending"]), (&json!(2), &json!(0)));
    assert!(answer.body["finished"].is_string());
    quick.send(&json!({"method": "ping"})).await;
    assert_eq!(quick.expect().await["method"], "pong", "the host that had answered heard nothing of it");
}

#[tokio::test]
async fn what_is_not_known_or_has_ended_cannot_be_cancelled() {
    let server = Server::start().await;
    let answer = delete(&server.rest).await;
    assert_eq!((answer.status, &*answer.text("detail")), (404, "there is no request r"));
    server.rest.run(body(&["nobody"])).await;
    // Finished, and sooner or later in the database alone.
    for _ in 0..2 {
        let answer = delete(&server.rest).await;
        assert_eq!(answer.status, 409);
        assert!(answer.text("detail").contains("nothing is left to cancel"), "{answer:?}");
        eventually("recorded", async || server.running.app.requests.find("r").is_none().then_some(())).await;
    }
}

#[tokio::test]
async fn a_request_that_has_not_left_never_does() {
    let server = Server::start().await;
    let agent = linked(&server, "a").await;
    // A link that nobody reads: what it is sent stays in its outbox.
    let app = &server.running.app;
    let Found::One(host) = app.directory.find(&agent.id) else { panic!("the host is gone") };
    let link = Arc::new(Link::new(host, SocketAddr::from(([127, 0, 0, 1], 1))));
    app.hub.register(&link, None, || {});
    let mut lines = server.rest.stream(body(&["a"])).await;
    let answer = delete(&server.rest).await;
    assert_eq!((answer.status, answer.retcodes()[0].1), (200, 207));
    assert_eq!(link.pop(), None::<Bytes>);
    assert_eq!(lines.next().await.unwrap()["message"], "Cancelled before delivery");
}

#[tokio::test]
async fn two_who_cancel_get_the_same_answer_and_the_command_is_cancelled_once() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let _lines = server.rest.stream(body(&["a"])).await;
    agent.expect().await;
    let router = routes::web(&server.running.app);
    let delete = async || {
        let request = Request::delete(PATH).header("authorization", format!("Bearer {}", server.rest.token));
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let response = web::service(&router, server.rest.web).call(request).await.unwrap();
        (response.status(), response.into_body().collect().await.unwrap().to_bytes())
    };
    let host = async {
        let call = agent.is_asked_to_cancel().await;
        agent.confirm(&call).await;
        agent.send(&json!({"method": "ping"})).await;
        assert_eq!(agent.expect().await["method"], "pong", "it was asked once");
    };
    // Both wait before the host hears of it: they are begun in this order.
    let (first, second, ()) = tokio::join!(delete(), delete(), host);
    let body: Value = serde_json::from_slice(&first.1).unwrap();
    assert_eq!((first.0.as_u16(), &body["response"][0]["retcode"]), (200, &json!(3108)));
    assert_eq!(first, second);
}

#[tokio::test]
async fn the_one_who_cancels_may_hang_up() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let mut lines = server.rest.stream(body(&["a"])).await;
    agent.expect().await;
    let deleting = deleting(&server);
    let call = agent.is_asked_to_cancel().await;
    deleting.abort();
    assert!(deleting.await.unwrap_err().is_cancelled());
    agent.confirm(&call).await;
    assert_eq!(lines.next().await.unwrap()["retcode"], 3108);
}

#[tokio::test]
async fn a_result_that_came_first_is_the_result() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let _lines = server.rest.stream(body(&["a"])).await;
    let request = agent.expect().await;
    let deleting = deleting(&server);
    let call = agent.is_asked_to_cancel().await;
    agent.answer(&request, "done").await;
    agent.send(&json!({"id": call["id"], "resp": "failed", "retcode": 3024, "message": "Not found"})).await;
    assert_eq!(deleting.await.unwrap().retcodes()[0].1, 2);
}

#[tokio::test]
async fn a_host_that_does_not_run_it_is_not_waited_for() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let _lines = server.rest.stream(body(&["a"])).await;
    agent.expect().await;
    let deleting = deleting(&server);
    let call = agent.is_asked_to_cancel().await;
    agent.send(&json!({"id": call["id"], "resp": "failed", "retcode": 3024, "message": "Not found"})).await;
    let answer = deleting.await.unwrap();
    assert_eq!(answer.retcodes()[0].1, 205);
    let detail = &answer.body["response"][0]["detail"];
    assert!(
        detail.as_str().unwrap().starts_with("the host says that it does not run this request"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_link_that_is_lost_meanwhile_is_told_as_that() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let _lines = server.rest.stream(body(&["a"])).await;
    agent.expect().await;
    let deleting = deleting(&server);
    agent.is_asked_to_cancel().await;
    drop(agent);
    let answer = deleting.await.unwrap();
    assert_eq!((answer.status, answer.retcodes()[0].1), (200, 206));
}

#[tokio::test]
async fn a_server_that_stops_leaves_nobody_who_cancels_waiting() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let _lines = server.rest.stream(body(&["a"])).await;
    agent.expect().await;
    let deleting = deleting(&server);
    agent.is_asked_to_cancel().await;
    let Server { running, dir, .. } = server;
    let bye = tokio::spawn(agent.bye());
    timeout(PATIENCE, running.stop()).await.expect("it stops");
    let answer = deleting.await.unwrap();
    assert_eq!((answer.status, answer.retcodes()[0].1), (200, 206));
    bye.await.unwrap();
    drop(dir);
}
