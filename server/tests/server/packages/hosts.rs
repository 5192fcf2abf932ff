//! What hosts fetch by the agents' port.

use super::{Reply, exchange, folder, put};
use crate::agent::{self, Identity, enrolled};
use crate::common::{Server, eventually};
use polaris::limits::MAX_DOWNLOADS_PER_HOST;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// A connection to the agents' port; without an identity no certificate is shown.
async fn agents_port(server: &Server, identity: Option<&Identity>) -> TlsStream<TcpStream> {
    let mut config = if let Some(identity) = identity {
        (*identity.config).clone()
    } else {
        let ca = server.running.app.authority.pem();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        agent::builder().with_root_certificates(roots).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    agent::connect(server.agents(), Arc::new(config)).await.unwrap()
}

async fn by_agents_port(server: &Server, identity: Option<&Identity>, first: &str, headers: &str) -> Reply {
    exchange(agents_port(server, identity).await, first, headers, b"").await
}

#[tokio::test]
async fn hosts_fetch_by_their_certificates_alone() {
    let server = Server::start().await;
    put(&server, "/packages/pool/a.deb", "", b"0123456789").await;
    let identity = enrolled(&server, "web-1").await;
    let host = Some(&identity);
    let whole = by_agents_port(&server, host, "GET /packages/pool/a.deb", "").await;
    assert_eq!((whole.status, &*whole.body), (200, &b"0123456789"[..]));
    let headers = format!("range: bytes=4-\r\nif-range: {}\r\n", whole.header("etag"));
    let part = by_agents_port(&server, host, "GET /packages/pool/a.deb", &headers).await;
    assert_eq!((part.status, &*part.body), (206, &b"456789"[..]));
    let head = by_agents_port(&server, host, "HEAD /packages/pool/a.deb", "").await;
    assert_eq!((head.status, head.header("content-length")), (200, "10"));
    assert_eq!(by_agents_port(&server, host, "GET /packages/../polaris.db", "").await.status, 400);
    let store = by_agents_port(&server, host, "PUT /packages/b", "content-length: 0\r\n").await;
    assert_eq!(store.status, 405);
    // What opens the web listener opens nothing here.
    let token = format!("authorization: Bearer {}\r\n", server.rest.token);
    let nobody = by_agents_port(&server, None, "GET /packages/pool/a.deb", &token).await;
    assert_eq!((nobody.status, nobody.header("www-authenticate")), (403, ""));
    server.rest.call("DELETE", &format!("/api/v1/hosts/{}", identity.id), None).await;
    assert_eq!(by_agents_port(&server, host, "GET /packages/pool/a.deb", "").await.status, 403);
}

#[tokio::test]
async fn no_host_keeps_the_others_from_fetching() {
    let server = Server::start().await;
    // Far more than lies between the two in buffers.
    std::fs::File::create(folder(&server).join("large")).unwrap().set_len(256 << 20).unwrap();
    put(&server, "/packages/small", "", b"x").await;
    let (greedy, other) = (enrolled(&server, "greedy").await, enrolled(&server, "other").await);
    let mut begun = Vec::new();
    for _ in 0..MAX_DOWNLOADS_PER_HOST {
        let mut stream = agents_port(&server, Some(&greedy)).await;
        stream.write_all(b"GET /packages/large HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        begun.push(stream);
    }
    let refused = by_agents_port(&server, Some(&greedy), "GET /packages/small", "").await;
    assert_eq!((refused.status, refused.text().contains("this host fetches")), (503, true));
    assert_eq!(by_agents_port(&server, Some(&other), "GET /packages/small", "").await.status, 200);
    begun.pop();
    eventually("the room of a download that was given up", async || {
        let status = by_agents_port(&server, Some(&greedy), "GET /packages/small", "").await.status;
        (status == 200).then_some(())
    })
    .await;
}
