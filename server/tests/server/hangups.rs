//! A caller that hangs up, at whatever moment, leaves nothing half-done.

use crate::agent::enrolled;
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
use std::pin::pin;
use std::task::Poll;

/// Calls, and hangs up once the call has waited so many times. Whether it had ended before.
async fn hang_up_after(waits: usize, router: &axum::Router, request: Request<Full<Bytes>>) -> bool {
    let service = web::service(router);
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
