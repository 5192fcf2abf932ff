//! What comes with a call, checked on its way in: bodies, paths, queries. Each
//! refusal is a problem document.

use super::json;
use crate::problem::Problem;
use crate::web::TooSlow;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A JSON object.
pub struct Object(pub Map<String, Value>);

/// A JSON object that is a `T`.
pub struct Typed<T>(pub T);

/// A JSON list of `T`s.
pub struct Listed<T>(pub Vec<T>);

/// The query, each key known and there once.
pub struct Query<T>(pub T);

/// The path's variable, or a tuple of them.
pub struct Path<T = String>(pub T);

impl<S: Send + Sync> FromRequest<S> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        json::object(&bytes(request, state).await?).map(Object)
    }
}

/// The body, which says that it is JSON.
async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the body as Content-Type: application/json",
        ));
    }
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than this call takes")
        }
        other if TooSlow::caused(&other) => Problem::new(StatusCode::REQUEST_TIMEOUT, TooSlow.to_string()),
        other => Problem::new(StatusCode::BAD_REQUEST, other.body_text()),
    })
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Typed<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Object(object) = Object::from_request(request, state).await?;
        json::typed(object).map(Typed)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Listed<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        json::list(&bytes(request, state).await?).map(Listed)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Query(query)),
            Err(rejection) => {
                let text = rejection.body_text();
                let reason = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                Err(json::blame(reason))
            }
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(variables)) => Ok(Path(variables)),
            Err(rejection) => Err(Problem::new(StatusCode::BAD_REQUEST, rejection.body_text())),
        }
    }
}
