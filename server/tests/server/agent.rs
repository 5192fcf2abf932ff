//! An agent as small as can be, over real TLS.

use crate::common::{PATIENCE, Server};
use aspire_wire::enroll::Token;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsConnector, rustls};

/// What an agent has after enrolment.
pub struct Identity {
    pub id: String,
    pub config: Arc<ClientConfig>,
    pub cert: CertificateDer<'static>,
    /// PKCS#8, DER.
    pub key: Vec<u8>,
}

/// Enrols a host of this name.
pub async fn enrolled(server: &Server, name: &str) -> Identity {
    let token = server.token().await;
    enroll(server.agents(), &token, name).await.unwrap_or_else(|(status, body)| panic!("{status} {body}"))
}

/// Enrols as an agent does: it trusts the fingerprint in the token and nothing else.
pub async fn enroll(agents: SocketAddr, token: &str, name: &str) -> Result<Identity, (u16, Value)> {
    let token: Token = token.parse().unwrap();
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let body = json!({"token": token.secret_text(), "csr": csr, "name": name});
    let (status, reply) = exchange(agents, token.fingerprint, "/agent/enroll", &body).await.unwrap();
    if status != 200 {
        return Err((status, reply));
    }
    let ca = CertificateDer::from_pem_slice(reply["ca"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(Sha256::digest(&ca)[..], token.fingerprint, "the CA is the pinned one");
    let cert = CertificateDer::from_pem_slice(reply["cert"].as_str().unwrap().as_bytes()).unwrap();
    let id = reply["hostname"].as_str().unwrap().to_owned();
    Ok(Identity { id, config: config(&ca, &cert, &key.serialize_der()), cert, key: key.serialize_der() })
}

/// Trusts the CA, and shows the certificate.
pub fn config(ca: &CertificateDer<'_>, cert: &CertificateDer<'static>, key: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone().into_owned()).unwrap();
    let key = PrivateKeyDer::try_from(key.to_vec()).unwrap();
    let mut config =
        builder().with_root_certificates(roots).with_client_auth_cert(vec![cert.clone()], key).unwrap();
    config.alpn_protocols = vec![b"cargo/1".to_vec()];
    Arc::new(config)
}

/// One short exchange with the agents' port; an error where its CA is not the pinned one.
pub async fn exchange(
    agents: SocketAddr,
    fingerprint: [u8; 32],
    path: &str,
    body: &Value,
) -> io::Result<(u16, Value)> {
    let mut config = builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { fingerprint, provider: provider() }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = connect(agents, Arc::new(config)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(path).header("host", "polaris").header("content-type", "application/json");
    let request = request.body(Full::<Bytes>::from(body.to_string())).unwrap();
    let response = timeout(PATIENCE, sender.send_request(request)).await.expect("an answer").unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    Ok((status, serde_json::from_slice(&bytes).unwrap()))
}

/// TLS to the server under the name that every one has.
pub async fn connect(agents: SocketAddr, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(agents).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("config.cargo.com").unwrap();
    TlsConnector::from(config).connect(name, tcp).await
}

pub fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A live link.
pub struct Agent {
    pub id: String,
    stream: BufReader<TlsStream<TcpStream>>,
}

/// What an agent says first; `boot` is the kernel's boot id.
pub fn init(id: &str, name: &str, boot: &str) -> Value {
    json!({"method": "init", "hostname": id, "name": name, "version": "gearman-0.0.0-test",
           "region": "r-own", "tags": {"own": "1"}, "uptime": 1, "boot": boot})
}

impl Agent {
    /// Connects and says nothing yet.
    pub async fn dial(agents: SocketAddr, identity: &Identity) -> Agent {
        let stream = connect(agents, identity.config.clone()).await.unwrap();
        Agent { id: identity.id.clone(), stream: BufReader::new(stream) }
    }

    /// Connects, says `init` and waits for `ready`.
    pub async fn link(agents: SocketAddr, identity: &Identity, name: &str, boot: &str) -> Agent {
        let mut agent = Agent::dial(agents, identity).await;
        agent.send(&init(&identity.id, name, boot)).await;
        assert_eq!(agent.expect().await["method"], "ready");
        agent
    }

    pub async fn send(&mut self, frame: &Value) {
        self.send_bytes(format!("{frame}\n").as_bytes()).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        // A server that has said bye may be gone; what it said is what counts.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// Sends without an end and reads nothing, until the server has gone.
    pub async fn flood(mut self) {
        let pings = "{\"method\":\"of no meaning\"}\n".repeat(1000);
        let flood = async { while self.stream.write_all(pings.as_bytes()).await.is_ok() {} };
        timeout(PATIENCE, flood).await.expect("the server closes the connection");
    }

    /// The next frame, or `None` at the end of the link.
    pub async fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        match timeout(PATIENCE, self.stream.read_line(&mut line)).await.expect("the next frame") {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
        }
    }

    pub async fn expect(&mut self) -> Value {
        self.next().await.expect("a frame before the link ends")
    }

    /// Reads on to the server's farewell and answers its reason.
    pub async fn bye(mut self) -> String {
        loop {
            let frame = self.expect().await;
            if frame["method"] == "bye" {
                assert_eq!(self.next().await, None, "nothing comes after bye");
                return frame["reason"].as_str().unwrap().to_owned();
            }
        }
    }

    /// Answers the request as a command that went well and wrote `data`.
    pub async fn answer(&mut self, request: &Value, data: &str) {
        let reply = json!({"id": request["id"], "resp": "success", "retcode": 2,
                           "message": "Normal termination", "data": data, "stderr": "", "exitcode": 0});
        self.send(&reply).await;
    }

    /// Sends a piece of output for the request or the job of this id.
    pub async fn output(&mut self, id: &str, stream: &str, data: &str) {
        self.send(&json!({"method": "output", "id": id, "stream": stream, "data": data})).await;
    }

    /// Returns when the server has read all that was sent. Nothing else may come meanwhile.
    pub async fn is_heard(&mut self) {
        self.send(&json!({"method": "ping"})).await;
        assert_eq!(self.expect().await["method"], "pong");
    }

    /// Answers the request as one that takes note of it and gets to it later.
    pub async fn accept(&mut self, request: &Value) {
        let reply = json!({"id": request["id"], "resp": "success", "retcode": 1, "message": "Accepted",
                           "data": {"job": request["id"]}});
        self.send(&reply).await;
    }

    /// Says where a job is.
    pub async fn notice(&mut self, job: &str, state: &str, attempts: u32) {
        self.send(&json!({"method": "job", "id": job, "state": state, "attempts": attempts})).await;
    }

    /// Sends a job's result.
    pub async fn result(&mut self, seq: u64, job: &str, data: &str) {
        self.send(&result(seq, job, data)).await;
    }

    /// Waits for the acknowledgement of this number, which is the next frame.
    pub async fn is_acked(&mut self, seq: u64) {
        assert_eq!(self.expect().await, json!({"method": "ack", "seq": seq}));
    }

    /// Takes the next request and answers it.
    pub async fn serve_one(&mut self, data: &str) -> Value {
        let request = self.expect().await;
        self.answer(&request, data).await;
        request
    }
}

/// The result of a job that went well and wrote `data`.
pub fn result(seq: u64, job: &str, data: &str) -> Value {
    json!({"method": "result", "seq": seq, "id": job, "attempts": 1, "accepted": 1_795_305_600_000_u64,
           "started": 1_795_305_600_001_u64, "ended": 1_795_305_600_123_u64, "resp": "success", "retcode": 2,
           "message": "Normal termination", "data": data, "stderr": "", "exitcode": 0})
}

/// A host that is enrolled and linked.
pub async fn linked(server: &Server, name: &str) -> Agent {
    let identity = enrolled(server, name).await;
    Agent::link(server.agents(), &identity, name, &format!("boot-{name}")).await
}

/// Trusts a chain that ends in the CA of this fingerprint.
#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = intermediates.iter().find(|ca| Sha256::digest(ca)[..] == self.fingerprint);
        let ca = pinned.ok_or_else(|| rustls::Error::General("not the pinned CA".into()))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?;
        verifier.verify_server_cert(leaf, &[], name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 alone".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
