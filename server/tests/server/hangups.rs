//! A caller that hangs up, at whatever moment, leaves nothing half-done.

use crate::agent::{enrolled, linked};
use crate::common::{Server, eventually};
use aspire_wire::enroll::Token;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::service::Service as _;
use polaris::app::App;
use polaris::{routes, web};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;

/// Calls, and hangs up once the call has waited so many times. Whether it had ended before.
async fn hang_up_after(waits: usize, router: &axum::Router, request: Request<Full<Bytes>>) -> bool {
    let service = web::service(router, SocketAddr::from(([127, 0, 0, 1], 9)));
    let mut call = pin!(service.call(request));
    let mut left = waits;
    poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(_) => Poll::Ready(true),
        Poll::Pending if left == 0 => Poll::Ready(false),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Hosts and what the operator settled, in memory and in the database.
async fn both(app: &App) -> [BTreeMap<String, Option<String>>; 2] {
    let memory = app.directory.list();
    let memory = memory.iter().map(|host| (host.id.to_string(), host.state().settings.region.clone()));
    let rows = app.store.load_hosts().await.unwrap();
    let database = rows.into_iter().map(|row| (row.id.to_string(), row.settings.region));
    [memory.collect(), database.collect()]
}

#[tokio::test]
async fn memory_and_database_agree_whenever_a_caller_hangs_up() {
    let server = Server::start().await;
    let app = &server.running.app;
    let (web, agents) = (routes::web(app), routes::agents(app));
    let token: Token = server.token().await.parse().unwrap();
    let call = |method: &str, path: &str, body: String| {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {}", server.rest.token));
        request.body(Full::from(body)).unwrap()
    };
    for waits in 0.. {
        let (gone, changed) = (enrolled(&server, "gone").await, enrolled(&server, "changed").await);
        let revoke = call("DELETE", &format!("/api/v1/hosts/{}", gone.id), String::new());
        let change = json!({"region": "new"}).to_string();
        let change = call("PATCH", &format!("/api/v1/hosts/{}", changed.id), change);
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let body = json!({"token": token.secret_text(), "csr": csr, "name": "new"}).to_string();
        let enroll = call("POST", "/agent/enroll", body);
        let ended = [
            hang_up_after(waits, &web, revoke).await,
            hang_up_after(waits, &web, change).await,
            hang_up_after(waits, &agents, enroll).await,
        ];
        if ended == [true; 3] {
            break;
        }
    }
    eventually("memory and database agree", async || {
        let [memory, database] = both(app).await;
        (memory == database).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_is_cancelled_to_its_end_whoever_hangs_up() {
    let server = Server::start().await;
    let (mut agent, _offline) = (linked(&server, "on").await, enrolled(&server, "off").await);
    let asked = json!({"id": "r", "hosts": ["on", "off"], "method": "sync.bash", "cmd": "x", "queue": true});
    let rest = server.rest.clone();
    let asking = tokio::spawn(async move { rest.run(asked).await });
    assert_eq!(agent.expect().await["id"], "r");
    eventually("it waits", async || {
        let shown = server.rest.get("/api/v1/requests/r").await.body;
        (!shown["waiting"].is_null()).then_some(())
    })
    .await;
    let cancel = Request::builder().method("DELETE").uri("/api/v1/requests/r");
    let cancel = cancel.header("authorization", format!("Bearer {}", server.rest.token));
    let cancel = cancel.body(Full::from(String::new())).unwrap();
    assert!(!hang_up_after(1, &routes::web(&server.running.app), cancel).await);
    let call = agent.expect().await;
    agent.send(&json!({"id": "r", "resp": "failed", "retcode": 3108, "message": "Cancelled"})).await;
    agent.answer(&call, "").await;
    asking.await.unwrap();
    let shown = eventually("its end", async || {
        let shown = server.rest.get("/api/v1/requests/r").await.body;
        shown["finished"].is_string().then_some(shown)
    })
    .await;
    let codes = [0, 1].map(|n| shown["response"][n]["retcode"].as_u64());
    assert_eq!(codes, [Some(3108), Some(207)]);
}
