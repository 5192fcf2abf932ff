//! Somebody who calls.

use crate::common::{Answer, Rest, Server};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};

/// Everybody's here.
pub const PASSWORD: &str = "correct horse battery";

/// Makes a user.
pub async fn user(server: &Server, name: &str, role: &str, target: Option<&str>) {
    let body = json!({"name": name, "role": role, "password": PASSWORD, "target": target});
    let answer = server.rest.post("/api/v1/users", &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// Makes an access token of the user, and answers with whoever shows it.
pub async fn token(server: &Server, user: &str, body: &Value) -> Rest {
    let answer = server.rest.post(&format!("/api/v1/users/{user}/tokens"), body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    Rest { web: server.rest.web, token: answer.text("token") }
}

/// A user of this role with an access token.
pub async fn somebody(server: &Server, name: &str, role: &str, target: Option<&str>) -> Rest {
    user(server, name, role, target).await;
    token(server, name, &json!({"name": "t"})).await
}

/// Calls with a name and a password, or what stands in its place.
pub async fn basic(
    rest: &Rest,
    (name, password): (&str, &str),
    method: &str,
    path: &str,
    body: &Value,
) -> Answer {
    let login = STANDARD.encode(format!("{name}:{password}"));
    call(rest, &[("authorization", &format!("Basic {login}"))], method, path, body).await
}

/// Calls with these headers; a body of null is none.
pub async fn call(rest: &Rest, headers: &[(&str, &str)], method: &str, path: &str, body: &Value) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let bytes = if body.is_null() { String::new() } else { body.to_string() };
    if !body.is_null() {
        request = request.header("content-type", "application/json");
    }
    rest.send(request.body(Full::from(bytes)).unwrap()).await
}

/// A session: its cookie, as it is to be sent, and what belongs to it.
pub struct Session {
    pub cookie: String,
    pub csrf: String,
}

pub async fn login(rest: &Rest, name: &str, password: &str) -> Session {
    let answer = call(rest, &[], "POST", "/api/v1/login", &json!({"name": name, "password": password})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    Session { cookie, csrf: answer.text("csrf") }
}

impl Session {
    pub async fn call(&self, rest: &Rest, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("cookie", &*self.cookie), ("x-csrf-token", &self.csrf)];
        call(rest, &headers, method, path, body).await
    }
}
