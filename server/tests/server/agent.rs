//! An agent as small as can be, over real TLS.

use crate::common::{PATIENCE, Server};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::CertificateDer;

pub use simulator::{Identity, builder, config, connect, exchange, secure};

/// Enrols a host of this name.
pub async fn enrolled(server: &Server, name: &str) -> Identity {
    let token = server.token().await;
    enroll(server.agents(), &token, name).await.unwrap_or_else(|(status, body)| panic!("{status} {body}"))
}

/// Enrols as an agent does. Where the server refuses: status and problem document.
pub async fn enroll(agents: SocketAddr, token: &str, name: &str) -> Result<Identity, (u16, Value)> {
    timeout(PATIENCE, simulator::enroll(agents, token, name)).await.expect("an answer").unwrap()
}

/// A certificate of this server's CA for the host, which began and ends so many days from now.
pub fn issue(server: &Server, host: &str, begins: i64, ends: i64) -> Identity {
    let ca_key = std::fs::read_to_string(server.dir.path().join("data/pki/ca.key")).unwrap();
    issue_by(server.running.app.authority.der(), &ca_key, host, begins, ends)
}

/// The same, by the key of any CA, PEM.
pub fn issue_by(ca: &CertificateDer<'static>, ca_key: &str, host: &str, begins: i64, ends: i64) -> Identity {
    let issuer = Issuer::from_ca_cert_der(ca, KeyPair::from_pem(ca_key).unwrap()).unwrap();
    let day = |days: i64| {
        let now = SystemTime::now();
        let distance = Duration::from_hours(24 * days.unsigned_abs());
        if days < 0 { now - distance } else { now + distance }
    };
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, host);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (day(begins).into(), day(ends).into());
    let cert = params.signed_by(&key, &issuer).unwrap().der().clone();
    let key = key.serialize_der();
    Identity { id: host.into(), config: config(ca, &cert, &key), ca: ca.clone(), cert, key }
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
        timeout(PATIENCE, self.next_of_many()).await.expect("the next frame")
    }

    /// As [`Agent::next`], however long it takes.
    pub async fn next_of_many(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).await {
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
