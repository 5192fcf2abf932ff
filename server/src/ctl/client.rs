//! Calls of the REST API, and what their failure means to the operator.

use super::endpoint::Endpoint;
use super::error::{Error, Problem};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use std::fs;
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Duration;
use ureq::http::{Request, Response};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, BodyReader, SendBody};

/// Seconds for the connection, TLS included.
const CONNECT_SECONDS: u64 = 10;
const NDJSON: &str = "application/x-ndjson";
/// The time for a whole call, unless it takes as long as the hosts do.
pub const LIMIT: Option<Duration> = Some(Duration::from_mins(1));
/// How long a large file may stand still. Polaris may have to read all of it first.
const SILENCE: Option<Duration> = Some(Duration::from_mins(5));

pub struct Client {
    agent: Agent,
    url: String,
    token: String,
}

/// The answers to a request, a JSON object a line, as they arrive.
pub struct Stream {
    pub id: Option<String>,
    /// How many hosts the request is for, where the server says so.
    pub hosts: Option<u64>,
    pub lines: BufReader<BodyReader<'static>>,
}

impl Client {
    pub fn new(endpoint: &Endpoint, ca: Option<&Path>) -> Result<Client, Error> {
        let roots = match ca {
            Some(path) => authorities(path)?,
            None => RootCerts::PlatformVerifier,
        };
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(CONNECT_SECONDS)))
            .user_agent(concat!("polarisctl/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build());
        if endpoint.local {
            config = config.proxy(None);
        }
        Ok(Client { agent: config.build().into(), url: endpoint.url.clone(), token: endpoint.token.clone() })
    }

    pub fn get(&self, path: &[&str]) -> Result<Vec<u8>, Error> {
        self.call("GET", path, String::new(), LIMIT)
    }

    /// As [`Client::get`], with those of the parameters that have values.
    pub fn get_with(&self, path: &[&str], query: &[(&str, &Option<String>)]) -> Result<Vec<u8>, Error> {
        let pairs = query.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        let pairs =
            pairs.map(|(key, value)| format!("{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        let uri = format!("{}?{}", self.uri(path), pairs.collect::<Vec<_>>().join("&"));
        let response = self.send("GET", &uri, String::new(), "application/json", LIMIT);
        let target = query.iter().find(|(key, _)| *key == "target").and_then(|(_, target)| target.as_deref());
        self.read(response.map_err(|error| error.about(target))?)
    }

    /// Lines that come as they are.
    pub fn get_stream(&self, path: &[&str]) -> Result<Stream, Error> {
        let response = self.send("GET", &self.uri(path), String::new(), NDJSON, None)?;
        Ok(Stream { id: None, hosts: None, lines: BufReader::new(response.into_body().into_reader()) })
    }

    pub fn delete(&self, path: &[&str]) -> Result<(), Error> {
        self.call("DELETE", path, String::new(), LIMIT).map(|_| ())
    }

    /// The answer comes when the hosts have done it.
    pub fn delete_on_hosts(&self, path: &[&str]) -> Result<Vec<u8>, Error> {
        self.call("DELETE", path, String::new(), None)
    }

    pub fn post(&self, path: &[&str], body: &impl Serialize) -> Result<Vec<u8>, Error> {
        self.call("POST", path, json(body)?, LIMIT)
    }

    /// As [`Client::post`], where polaris may have to read a large file first.
    pub fn post_at_leisure(&self, path: &[&str], body: &impl Serialize) -> Result<Vec<u8>, Error> {
        let kind = "application/json".to_owned();
        let headers = [("accept", kind.clone()), ("content-type", kind)];
        let body = json(body)?;
        let response =
            self.file("POST", &place(path), &headers, SendBody::from_reader(&mut body.as_bytes()), None)?;
        self.read(response)
    }

    pub fn patch(&self, path: &[&str], body: &impl Serialize) -> Result<Vec<u8>, Error> {
        self.call("PATCH", path, json(body)?, LIMIT)
    }

    pub fn post_for_stream(&self, path: &[&str], body: &impl Serialize) -> Result<Stream, Error> {
        let response = self.send("POST", &self.uri(path), json(body)?, NDJSON, None)?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let id = header("request-id").map(str::to_owned);
        let hosts = header("request-hosts").and_then(|count| count.parse().ok());
        Ok(Stream { id, hosts, lines: BufReader::new(response.into_body().into_reader()) })
    }

    /// A call of the document server, or one that takes as long, `path` being what stands in a URL. Without
    /// a limit it takes as long as it takes, and is given up when nothing moves.
    pub fn file(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: SendBody<'_>,
        limit: Option<Duration>,
    ) -> Result<Response<Body>, Error> {
        self.accepted(self.raw(method, path, headers, body, limit)?)
    }

    /// The same, whatever the answer is.
    pub fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: SendBody<'_>,
        limit: Option<Duration>,
    ) -> Result<Response<Body>, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(body).map_err(|error| Error::Usage(error.to_string()))?;
        let request = self.agent.configure_request(request).timeout_global(limit);
        let request = request.timeout_per_read(limit.or(SILENCE)).timeout_per_write(limit.or(SILENCE));
        self.agent.run(request.build()).map_err(|error| self.unreachable(&error))
    }

    /// The answer, or why there is none.
    pub fn accepted(&self, response: Response<Body>) -> Result<Response<Body>, Error> {
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response)) }
    }

    /// What came is not what this version understands.
    pub fn not_polaris(&self, reason: &impl ToString) -> Error {
        Error::NotPolaris { url: self.url.clone(), reason: reason.to_string() }
    }

    fn call(
        &self,
        method: &str,
        path: &[&str],
        body: String,
        limit: Option<Duration>,
    ) -> Result<Vec<u8>, Error> {
        let response = self.send(method, &self.uri(path), body, "application/json", limit)?;
        self.read(response)
    }

    fn uri(&self, path: &[&str]) -> String {
        format!("{}{}", self.url, place(path))
    }

    fn send(
        &self,
        method: &str,
        uri: &str,
        body: String,
        accept: &str,
        limit: Option<Duration>,
    ) -> Result<Response<Body>, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", format!("Bearer {}", self.token))
            .header("accept", accept);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(body).map_err(|error| Error::Usage(error.to_string()))?;
        let request = self.agent.configure_request(request).timeout_global(limit).build();
        let response = self.agent.run(request).map_err(|error| self.unreachable(&error))?;
        self.accepted(response)
    }

    fn refusal(&self, response: Response<Body>) -> Error {
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        let is_problem = kind.is_some_and(|kind| kind.starts_with("application/problem+json"));
        let body = match self.read(response) {
            Ok(body) => body,
            Err(error) => return error,
        };
        let problem = Box::new(Problem::parse(status, &body));
        match status {
            401 => Error::Unauthorised { url: self.url.clone(), problem },
            _ if is_problem => Error::Refused(problem),
            _ => self.not_polaris(&format_args!("HTTP status {status}")),
        }
    }

    pub fn read(&self, response: Response<Body>) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        let result = response.into_body().into_reader().read_to_end(&mut body);
        result.map(|_| body).map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, reason: &impl ToString) -> Error {
        Error::Unreachable { url: self.url.clone(), reason: reason.to_string() }
    }
}

/// Where in the API, as it stands in a URL.
fn place(path: &[&str]) -> String {
    let segments = path.iter().map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string());
    format!("/api/v1/{}", segments.collect::<Vec<_>>().join("/"))
}

fn json(body: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(body).map_err(|error| Error::Usage(error.to_string()))
}

fn authorities(path: &Path) -> Result<RootCerts, Error> {
    let wrong = |reason: String| Error::Usage(format!("--ca {}: {reason}", path.display()));
    let pem = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(error.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(wrong("there is no PEM certificate in it".into()));
    }
    Ok(RootCerts::from(certificates))
}
