//! Jobs, as their hosts tell of them.

use super::body::{Path, Query};
use super::hosts::{Wanted, wanted};
use super::json::damaged;
use super::requests::NDJSON;
use super::resolve::visible;
use crate::app::App;
use crate::clock::{self, EpochMs};
use crate::jobs::book;
use crate::jobs::logs::Watch;
use crate::limits::{DEFAULT_PAGE_ENTRIES, PAGE_ENTRIES};
use crate::people::Principal;
use crate::problem::Problem;
use crate::store::jobs::{JobFilter, JobRow};
use aspire_wire::JobState;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::convert::Infallible;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Id or name.
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    state: Option<String>,
    /// The entry's name.
    #[serde(default)]
    cron: Option<String>,
    /// The id of the request that began it.
    #[serde(default)]
    request: Option<String>,
    #[serde(default)]
    limit: Option<u64>,
    /// `HOST/JOB` of the one that the page before ended with.
    #[serde(default)]
    before: Option<String>,
}

#[derive(Serialize)]
pub struct List {
    jobs: Vec<View>,
    /// On this page.
    count: usize,
}

/// One job without its output.
#[derive(Serialize)]
pub struct View {
    host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    job: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmd: Option<String>,
    state: JobState,
    attempts: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    retcode: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    missed: i64,
    created: String,
}

#[derive(Serialize)]
pub struct Full {
    #[serde(flatten)]
    job: View,
    /// What the host answered with, output included; absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(count: &i64) -> bool {
    *count == 0
}

pub async fn list(
    State(app): State<Arc<App>>,
    who: Principal,
    Query(filter): Query<Filter>,
) -> Result<Json<List>, Problem> {
    let limit = page(filter.limit)?;
    let host = filter.host.as_deref().map(|text| wanted(&app, &who, text, Wanted::Field)).transpose()?;
    let hosts = if host.is_some() { None } else { visible(&app, &who.scope).await? };
    let state = filter.state.as_deref().map(state).transpose()?;
    let before = filter.before.as_deref().map(before).transpose()?;
    // So that the list knows what its caller knows.
    book::store_all(&app.jobs, &app.store).await?;
    let (cron, request) = (filter.cron.as_deref(), filter.request.as_deref());
    let rows = app.store.list_jobs(&JobFilter { host, hosts, state, cron, request, before, limit }).await?;
    let rows = rows.ok_or_else(|| Problem::field("before", "before: there is no such job"))?;
    Ok(Json(List { count: rows.len(), jobs: rows.into_iter().map(|row| view(&app, row)).collect() }))
}

pub async fn show(
    State(app): State<Arc<App>>,
    who: Principal,
    Path((host, job)): Path<(String, String)>,
) -> Result<Json<Full>, Problem> {
    let (row, result) = find(&app, &who, &host, &job).await?;
    let result = result.map(|text| RawValue::from_string(text).map_err(|error| damaged(&job, &error)));
    Ok(Json(Full { job: view(&app, row), result: result.transpose()? }))
}

/// What the command writes, as it comes, and the result at the end, a JSON object a line.
pub async fn output(
    State(app): State<Arc<App>>,
    who: Principal,
    Path((host, job)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let id = wanted(&app, &who, &host, Wanted::Path)?;
    // Before the question whether it has ended: what ends from here on is heard of.
    let watch = app.jobs.logs.watch(id, &job);
    let (row, result) = find(&app, &who, &host, &job).await?;
    let kind = [(header::CONTENT_TYPE, NDJSON)];
    if row.state.is_final() {
        return Ok((kind, result.unwrap_or_default() + "\n").into_response());
    }
    let lines =
        futures_util::stream::unfold(Some(Reader { app, watch, id, job, cursor: 0 }), async |reader| {
            let mut reader = reader?;
            let next = reader.next().await?;
            let more = (!next.1).then_some(reader);
            Some((Ok::<_, Infallible>(next.0), more))
        });
    Ok((kind, Body::from_stream(lines)).into_response())
}

/// Somebody who follows a job.
struct Reader {
    app: Arc<App>,
    watch: Watch,
    id: Uuid,
    job: String,
    cursor: usize,
}

impl Reader {
    /// What comes next, and whether it was the last.
    async fn next(&mut self) -> Option<(Bytes, bool)> {
        if let Some(lines) = self.watch.since(self.cursor).await {
            self.cursor += lines.len();
            return Some((lines.concat().into(), false));
        }
        match self.app.store.find_job(self.id, &self.job).await {
            Ok(found) => found.and_then(|(_, result)| Some(((result? + "\n").into(), true))),
            Err(error) => {
                tracing::error!(%error, "a follower's result not read");
                None
            }
        }
    }
}

/// The jobs that a request began.
pub(super) async fn of_request(app: &App, request: &str) -> Result<Vec<View>, Problem> {
    Ok(rows_of_request(app, request).await?.into_iter().map(|row| view(app, row)).collect())
}

/// The rows of the jobs that a request began, all of them.
pub(super) async fn rows_of_request(app: &App, request: &str) -> Result<Vec<JobRow>, Problem> {
    book::store_all(&app.jobs, &app.store).await?;
    let all = JobFilter { request: Some(request), limit: u64::MAX, ..JobFilter::default() };
    Ok(app.store.list_jobs(&all).await?.unwrap_or_default())
}

async fn find(
    app: &App,
    who: &Principal,
    host: &str,
    job: &str,
) -> Result<(JobRow, Option<String>), Problem> {
    let id = wanted(app, who, host, Wanted::Path)?;
    book::store_all(&app.jobs, &app.store).await?;
    let found = app.store.find_job(id, job).await?;
    found.ok_or_else(|| Problem::not_found(format!("there is no job {job} of the host {host}")))
}

/// How many entries a page has.
pub(super) fn page(limit: Option<u64>) -> Result<u64, Problem> {
    let limit = limit.unwrap_or(DEFAULT_PAGE_ENTRIES);
    if PAGE_ENTRIES.contains(&limit) {
        return Ok(limit);
    }
    let (least, most) = (PAGE_ENTRIES.start(), PAGE_ENTRIES.end());
    Err(Problem::field("limit", format!("limit: must be {least} to {most}, got {limit}")))
}

fn state(text: &str) -> Result<JobState, Problem> {
    let known = JobState::ALL.into_iter().find(|state| state.name() == text);
    known.ok_or_else(|| {
        let names = JobState::ALL.map(JobState::name).join(", ");
        Problem::field("state", format!("state: must be one of {names}, got {text:?}"))
    })
}

fn before(text: &str) -> Result<(Uuid, &str), Problem> {
    let pair = text.split_once('/').and_then(|(host, job)| Some((Uuid::parse_str(host).ok()?, job)));
    pair.ok_or_else(|| Problem::field("before", "before: must be HOST/JOB of a job, with the host's id"))
}

fn view(app: &App, row: JobRow) -> View {
    let time = |at: Option<EpochMs>| at.map(clock::rfc3339);
    View {
        host: row.host.to_string(),
        name: app.directory.by_id(row.host).and_then(|host| host.name()),
        job: row.job,
        request: row.request,
        cron: row.cron,
        cmd: row.cmd,
        state: row.state,
        attempts: row.attempts,
        retcode: row.retcode,
        accepted: time(row.accepted),
        scheduled: time(row.scheduled),
        started: time(row.started),
        ended: time(row.ended),
        missed: row.missed,
        created: clock::rfc3339(row.created),
    }
}
