//! The description of the interface, and that calls keep to it.

use super::description;
use crate::problem::Problem;
use axum::extract::{MatchedPath, Request};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

const CSS: &str = include_str!("../../templates/docs.css");
/// The page has no script, and everything that it needs comes from here.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// This document (OpenAPI 3.1), for programs.
///
/// For everybody: it holds nothing secret.
#[utoipa::path(get, path = "/api/openapi.json", tag = "description", operation_id = "document", security(()),
    responses((status = 200, description = "The document.", body = Object)))]
pub async fn document() -> Response {
    sent("application/json", description().json.clone())
}

/// The same document as a page for people.
///
/// It needs no script and nothing from elsewhere.
#[utoipa::path(get, path = "/api/docs", tag = "description", operation_id = "page", security(()),
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")))]
pub async fn page() -> Response {
    sent("text/html; charset=utf-8", description().page.clone())
}

/// How the page looks.
#[utoipa::path(get, path = "/api/docs.css", tag = "description", operation_id = "style", security(()),
    responses((status = 200, description = "The style sheet.", body = String, content_type = "text/css")))]
pub async fn style() -> Response {
    sent("text/css; charset=utf-8", CSS)
}

fn sent(kind: &'static str, body: impl IntoResponse) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, body).into_response()
}

/// The middleware that refuses what the query of a call does not have.
pub async fn known_parameters(path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let method = if request.method() == "HEAD" { "GET" } else { request.method().as_str() };
    let known = path.as_ref().and_then(|path| description().parameters(method, path.as_str()));
    let query = request.uri().query().unwrap_or_default();
    if let Some(known) = known {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split('=').next().unwrap_or_default().replace('+', " ");
            let name = percent_decode_str(&name).decode_utf8_lossy();
            if !known.contains(&*name) {
                return unknown(&name, known.iter()).into_response();
            }
        }
    }
    next.run(request).await
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Problem {
    let known: Vec<_> = known.map(String::as_str).collect();
    let has = match known.as_slice() {
        [] => "this call has no parameters".to_owned(),
        known => format!("this call has {}", known.join(", ")),
    };
    Problem::field(name, format!("{name}: unknown parameter; {has}"))
}
