//! Slow callers are cut; patient ones are not.

use crate::common::{PATIENCE, Server, eventually};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use polaris::config::Pace;
use polaris::metrics::Metrics;
use polaris::web::Web;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// What is short for a test and long for the machine's loopback.
const SHORT: Duration = Duration::from_millis(200);

/// What the server says until it closes the connection.
async fn until_closed(mut tcp: TcpStream) -> String {
    let mut said = Vec::new();
    // A reset is an end as well.
    let _ = timeout(PATIENCE, tcp.read_to_end(&mut said)).await.expect("the connection is ended");
    String::from_utf8_lossy(&said).into_owned()
}

/// A web listener of its own, for these routes.
struct Listener {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    _stop: watch::Sender<bool>,
}

impl Listener {
    async fn start(router: Router, pace: Pace) -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let metrics = Arc::new(Metrics::default());
        let address = listener.local_addr().unwrap();
        let web = Web::new(None, router, pace, 100, metrics.clone());
        tokio::spawn(web.serve(listener, stopped));
        Listener { address, metrics, _stop: stop }
    }

    async fn call(&self) -> TcpStream {
        let mut tcp = TcpStream::connect(self.address).await.unwrap();
        tcp.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        tcp
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let server = Server::paced(Pace { head: SHORT, ..Pace::default() }).await;
    let mut tcp = TcpStream::connect(server.rest.web).await.unwrap();
    tcp.write_all(b"GET /healthz HTTP/1.1\r\nhost: loc").await.unwrap();
    until_closed(tcp).await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_and_the_connection_ended() {
    let server = Server::paced(Pace { body: SHORT, ..Pace::default() }).await;
    let mut tcp = TcpStream::connect(server.rest.web).await.unwrap();
    let head = format!(
        "POST /api/v1/tokens HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        server.rest.token
    );
    tcp.write_all(head.as_bytes()).await.unwrap();
    let said = until_closed(tcp).await;
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    assert!(said.contains("application/problem+json") && said.contains("too slowly"), "{said}");
    assert_eq!(server.rest.get("/api/v1/tokens").await.body["count"], 0, "nothing came of it");
}

#[tokio::test]
async fn who_reads_nothing_of_an_answer_is_cut() {
    let endless = get(async || {
        let piece = Bytes::from(vec![b'x'; 64 * 1024]);
        Body::from_stream(stream::repeat(Ok::<_, Infallible>(piece)))
    });
    let pace = Pace { write: SHORT, ..Pace::default() };
    let listener = Listener::start(Router::new().route("/", endless), pace).await;
    let tcp = listener.call().await;
    eventually("a connection", async || (listener.metrics.http.connections.get() == 1).then_some(())).await;
    eventually("its end", async || (listener.metrics.http.connections.get() == 0).then_some(())).await;
    drop(tcp);
}
