//! The answer to a request: the final states of its hosts, all at once or as they come.

use crate::openapi::shapes::Entry;
use crate::requests::Live;
use crate::requests::rollout::Stopped;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use std::convert::Infallible;
use std::sync::Arc;
use utoipa::ToSchema;

/// Response headers with the request's id, whatever form the body has, and with how many hosts it is for.
const REQUEST_ID: &str = "request-id";
const REQUEST_HOSTS: &str = "request-hosts";
pub const NDJSON: &str = "application/x-ndjson";

/// The final states of a request's hosts.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what is put together as text")]
pub struct Answer {
    /// The request's.
    id: String,
    /// One entry for every host, in the order asked.
    response: Vec<Entry>,
    /// Of a rollout that ended before all of its hosts were begun.
    #[schema(required = false)]
    stopped: Stopped,
}

/// Answers with live output and each host's final state as they come.
pub fn streamed(request: Arc<Live>) -> Response {
    let (id, hosts) = (request.head.id.clone(), request.targets.len());
    let lines = futures_util::stream::unfold((request, 0), |(request, cursor)| async move {
        let lines = request.since(cursor).await?;
        let cursor = cursor + lines.len();
        Some((Ok::<_, Infallible>(Bytes::from(lines.concat())), (request, cursor)))
    });
    answer(&id, hosts, NDJSON, Body::from_stream(lines))
}

/// Answers with the final states, which are all there and JSON already.
pub fn given(id: &str, entries: &[impl AsRef<str>], stopped: Option<&Stopped>, stream: bool) -> Response {
    if stream {
        let lines = entries.iter().flat_map(|entry| [entry.as_ref(), "\n"]).collect::<String>();
        let mut body = stopped.map_or_else(Vec::new, |stopped| stopped.line().into());
        body.extend_from_slice(lines.as_bytes());
        return answer(id, entries.len(), NDJSON, Body::from(body));
    }
    let quoted = serde_json::to_string(id).expect("strings always serialise");
    let joined = entries.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(",");
    let stopped = stopped.map(|stopped| serde_json::to_string(stopped).expect("a sentence serialises"));
    let stopped = stopped.map_or_else(String::new, |stopped| format!(",\"stopped\":{stopped}"));
    let body = format!("{{\"id\":{quoted},\"response\":[{joined}]{stopped}}}");
    answer(id, entries.len(), "application/json", Body::from(body))
}

fn answer(id: &str, hosts: usize, kind: &'static str, body: Body) -> Response {
    let hosts = hosts.to_string();
    ([(header::CONTENT_TYPE.as_str(), kind), (REQUEST_ID, id), (REQUEST_HOSTS, &*hosts)], body)
        .into_response()
}
