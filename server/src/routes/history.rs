//! The requests that were made: a list of them, each of them, and its end before its time.

use super::body::{Path, Query};
use crate::app::App;
use crate::clock::{self, EpochMs};
use crate::limits::{DEFAULT_PAGE_ENTRIES, PAGE_ENTRIES};
use crate::problem::Problem;
use crate::requests::record;
use crate::store::requests::Summary;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    #[serde(default)]
    limit: Option<u64>,
    /// The id that the page before ended with.
    #[serde(default)]
    before: Option<String>,
}

#[derive(Serialize)]
pub struct List {
    requests: Vec<View>,
    /// All there are, on whatever page.
    count: i64,
}

/// One request without its results.
#[derive(Serialize)]
struct View {
    id: String,
    method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmd: Option<String>,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<String>,
    deadline: String,
    hosts: i64,
    succeeded: i64,
    failed: i64,
    pending: i64,
}

#[derive(Serialize)]
pub struct Full {
    #[serde(flatten)]
    summary: View,
    params: Box<RawValue>,
    response: Vec<Box<RawValue>>,
}

pub async fn list(State(app): State<Arc<App>>, Query(page): Query<Page>) -> Result<Json<List>, Problem> {
    let limit = page.limit.unwrap_or(DEFAULT_PAGE_ENTRIES);
    if !PAGE_ENTRIES.contains(&limit) {
        let (least, most) = (PAGE_ENTRIES.start(), PAGE_ENTRIES.end());
        return Err(Problem::field("limit", format!("limit: must be {least} to {most}, got {limit}")));
    }
    // So that the list knows what its caller knows.
    record::record_all(&app.requests, &app.store).await?;
    let requests = app.store.list_requests(limit, page.before.as_deref()).await?;
    let requests =
        requests.ok_or_else(|| Problem::field("before", "before: there is no request of this id"))?;
    let count = app.store.count_requests().await?;
    Ok(Json(List { requests: requests.into_iter().map(view).collect(), count }))
}

pub async fn show(State(app): State<Arc<App>>, Path(id): Path) -> Result<Json<Full>, Problem> {
    if app.requests.find(&id).is_some() {
        record::record_all(&app.requests, &app.store).await?;
    }
    full(&app, &id).await.map(Json)
}

/// Answers when every host has its final state. A caller that hangs up changes nothing any more.
pub async fn cancel(State(app): State<Arc<App>>, Path(id): Path) -> Result<Json<Full>, Problem> {
    let Some(request) = app.requests.find(&id) else {
        let stored = app.store.find_request(&id).await?;
        return Err(stored.map_or_else(|| unknown(&id), |_| nothing_left(&id)));
    };
    if request.is_finished() {
        return Err(nothing_left(&id));
    }
    request.cancel();
    request.ended().await;
    record::record_all(&app.requests, &app.store).await?;
    full(&app, &id).await.map(Json)
}

fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("there is no request {id}"))
}

fn nothing_left(id: &str) -> Problem {
    let reason = format!("every host of the request {id} has its final state: nothing is left to cancel");
    Problem::new(StatusCode::CONFLICT, reason)
}

/// What the database has of one request.
async fn full(app: &App, id: &str) -> Result<Full, Problem> {
    let stored = app.store.find_request(id).await?;
    let stored = stored.ok_or_else(|| unknown(id))?;
    let raw = |text: String| {
        RawValue::from_string(text).map_err(|error| {
            tracing::error!(%error, id, "the database holds a result that is not JSON");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the database is damaged; polaris' log says more")
        })
    };
    Ok(Full {
        summary: view(stored.summary),
        params: raw(stored.params)?,
        response: stored.entries.into_iter().map(raw).collect::<Result<_, _>>()?,
    })
}

fn view(summary: Summary) -> View {
    let time = |at: EpochMs| clock::rfc3339(at);
    View {
        id: summary.id,
        method: summary.method,
        cmd: summary.cmd,
        created: time(summary.created),
        finished: summary.finished.map(time),
        deadline: time(summary.deadline),
        hosts: summary.hosts,
        succeeded: summary.succeeded,
        failed: summary.failed,
        pending: summary.hosts - summary.succeeded - summary.failed,
    }
}
