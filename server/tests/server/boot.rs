//! Hosts' boots: what they tell, and what they are to do.

mod batches;
mod catalogue;
mod ctl;
mod hostile;
mod jobs;
mod kept;
mod views;

use crate::agent::{self, Identity, enrolled};
use crate::common::{Answer, PATIENCE, Rest, Server};
use crate::documented;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::timeout;

const STATUS: &str = "/agent/status";
const RESULT: &str = "/agent/job/result";

/// A host's boot, as small as can be.
struct Boot {
    identity: Identity,
    agents: SocketAddr,
    /// What it tells.
    report: Value,
}

impl Boot {
    /// Of a new host, for which it takes Debian's packages.
    async fn of(server: &Server, name: &str) -> Boot {
        let identity = enrolled(server, name).await;
        let report = json!({"hostname": name, "version": "bootagent-0.1.0-x86_64", "uptime": 5,
            "timestamp": 1_795_305_600, "step": 600, "agents": [], "packages": ["deb"]});
        Boot { identity, agents: server.agents(), report }
    }

    fn id(&self) -> &str {
        &self.identity.id
    }

    /// Sends these bytes, and reads an answer that is as documented.
    async fn send(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        let mut config = (*self.identity.config).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let stream = agent::connect(self.agents, Arc::new(config)).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request =
            Request::post(path).header("host", "polaris").header("content-type", "application/json");
        let request = request.body(Full::<Bytes>::from(body.into())).unwrap();
        let response = timeout(PATIENCE, sender.send_request(request)).await.expect("an answer").unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body };
        documented::check("POST", path, &answer);
        answer
    }

    async fn tell(&self, report: &Value) -> Answer {
        self.send(STATUS, report.to_string()).await
    }

    /// Reports, and is let: the answer.
    async fn reports(&self) -> Value {
        let answer = self.tell(&self.report).await;
        assert_eq!((answer.status, &answer.body["errcode"]), (200, &json!(0)), "{answer:?}");
        answer.body
    }

    /// Reports: the jobs that it is given.
    async fn jobs(&self) -> Vec<Value> {
        self.reports().await["jobs"].as_array().unwrap().clone()
    }

    /// The ids of these.
    async fn ids(&self) -> Vec<String> {
        self.jobs().await.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Says what became of a job.
    async fn ends(&self, job: &str, errcode: u32, message: &str) {
        let body = json!([{"id": job, "errcode": errcode, "message": message}]);
        let answer = self.send(RESULT, body.to_string()).await;
        assert_eq!((answer.status, &answer.body), (200, &json!({"errcode": 0})), "{answer:?}");
    }
}

/// Makes a job, which is taken.
async fn make(rest: &Rest, body: Value) -> Answer {
    let answer = rest.post("/api/v1/boot/jobs", &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer
}

/// The job as it is now.
async fn job(server: &Server, id: &str) -> Value {
    let answer = server.rest.get(&format!("/api/v1/boot/jobs/{id}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// What the hosts of a job are at, as `state errcode`.
async fn states(server: &Server, id: &str) -> Vec<String> {
    let hosts = job(server, id).await["hosts"].as_array().unwrap().clone();
    let state = |host: &Value| match &host["errcode"] {
        Value::Null => host["state"].as_str().unwrap().to_owned(),
        errcode => format!("{} {errcode}", host["state"].as_str().unwrap()),
    };
    hosts.iter().map(state).collect()
}

fn restart(id: &str, hosts: &Value) -> Value {
    json!({"id": id, "hosts": hosts, "action": "restart", "name": "gearman"})
}

/// Puts a package into the catalogue.
async fn plugin(server: &Server, name: &str, version: &str, file: &str, arch: &str) -> Answer {
    let path = server.dir.path().join("data/packages").join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, file).unwrap();
    let body = json!({"name": name, "version": version, "file": file, "arch": arch});
    let answer = server.rest.post("/api/v1/plugins", &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer
}

/// Of a file of [`plugin`].
fn sum(file: &str) -> String {
    format!("SHA256:{}", polaris::requests::hex(&Sha256::digest(file)))
}
