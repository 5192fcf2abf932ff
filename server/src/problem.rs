//! What went wrong, for whoever called: RFC 9457 problem documents.

use crate::requests::Full;
use crate::store::StoreError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use std::time::Duration;

/// One problem document. `detail` says what to do about it where that is known.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    /// The field of the body or the query that is to blame.
    field: Option<String>,
    /// The character of the field where it goes wrong, from 1.
    column: Option<usize>,
    /// How many hosts the request is for.
    hosts: Option<usize>,
    /// A header that goes with the status, and its value; few have one.
    header: Option<Box<(&'static str, HeaderValue)>>,
}

/// The document itself.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<usize>,
    /// The call, as polaris' log names it (`id=`).
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Problem {
    /// A problem of the given status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem { status, detail: detail.into(), field: None, column: None, hosts: None, header: None }
    }

    /// 422: the body or the query was understood, and a value in it cannot be.
    pub fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Problem { field: Some(field.into()), ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// 503, to be tried again in some seconds.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header("retry-after", HeaderValue::from_static("5"))
    }

    /// 401.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::UNAUTHORIZED, detail)
            .with_header("www-authenticate", HeaderValue::from_static("Bearer realm=\"polaris\""))
    }

    /// The same, with the character of the field where it goes wrong, from 1.
    #[must_use]
    pub fn at_column(self, column: usize) -> Self {
        Problem { column: Some(column), ..self }
    }

    /// The same, with how many hosts the request is for.
    #[must_use]
    pub fn with_hosts(self, hosts: usize) -> Self {
        Problem { hosts: Some(hosts), ..self }
    }

    /// 429, to be tried again after so long.
    pub fn too_many(detail: impl Into<String>, retry_after: Duration) -> Self {
        let seconds = retry_after.as_millis().div_ceil(1000).max(1);
        let seconds = HeaderValue::from(u32::try_from(seconds).unwrap_or(u32::MAX));
        Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).with_header("retry-after", seconds)
    }

    /// The answer, with the id of the call in its document where somebody knows it.
    pub fn answer(self, request_id: Option<&str>) -> Response {
        let mut response = (self.status, Json(self.document(request_id))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = self.header.as_deref() {
            headers.insert(*name, value.clone());
        }
        // For whoever knows the call's id.
        response.extensions_mut().insert(self);
        response
    }

    fn document<'a>(&'a self, request_id: Option<&'a str>) -> Document<'a> {
        Document {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            field: self.field.as_deref(),
            column: self.column,
            hosts: self.hosts,
            request_id,
        }
    }

    fn with_header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.document(None).serialize(serializer)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.answer(None)
    }
}

/// The database's own words are for the log, not for the caller.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "database call failed");
        Problem::unavailable("the database did not answer; polaris' log says why")
    }
}

impl From<Full> for Problem {
    fn from(full: Full) -> Self {
        Problem::unavailable(full.to_string())
    }
}
