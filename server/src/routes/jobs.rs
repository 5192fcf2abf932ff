//! Jobs, as their hosts tell of them.

use super::answer::NDJSON;
use super::body::{Path, Query};
use super::hosts::{Wanted, wanted};
use super::json::damaged;
use super::resolve::visible;
use crate::app::App;
use crate::clock::{self, EpochMs};
use crate::jobs::book;
use crate::jobs::logs::Watch;
use crate::limits::{DEFAULT_PAGE_ENTRIES, PAGE_ENTRIES};
use crate::openapi::schema::{gathered, one_of, page_limit};
use crate::openapi::shapes::JobResult;
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
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use uuid::Uuid;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// A host's id or name.
    #[serde(default)]
    host: Option<String>,
    /// Where they are in their lives.
    #[serde(default)]
    #[param(schema_with = states)]
    state: Option<String>,
    /// The name of the cron entry that they are runs of.
    #[serde(default)]
    cron: Option<String>,
    /// The id of the request that began it.
    #[serde(default)]
    request: Option<String>,
    /// How many.
    #[serde(default)]
    #[param(schema_with = page_limit)]
    limit: Option<u64>,
    /// `HOST/JOB` of the one that the page before ended with.
    #[serde(default)]
    before: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = JobList)]
pub struct List {
    jobs: Vec<View>,
    /// On this page.
    count: usize,
}

/// One job without its output.
#[derive(Serialize, ToSchema)]
#[schema(as = Job)]
pub struct View {
    /// The id of its host.
    host: String,
    /// The name of its host, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Its name on its host: the id of its request, or the entry's name and its time.
    job: String,
    /// The request that began it.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    /// The cron entry that it is a run of.
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    /// The beginning of its command.
    #[serde(skip_serializing_if = "Option::is_none")]
    cmd: Option<String>,
    #[schema(schema_with = states)]
    state: JobState,
    /// Attempts begun.
    #[schema(minimum = 0)]
    attempts: i64,
    /// Of its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    retcode: Option<i64>,
    /// By the host's clock, as the next three.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    accepted: Option<String>,
    /// When the entry was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    scheduled: Option<String>,
    /// When its last attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    started: Option<String>,
    /// When its last attempt ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    ended: Option<String>,
    /// Earlier times of the entry that this run stands for, too.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(minimum = 0)]
    missed: i64,
    /// When the server heard of it.
    #[schema(format = DateTime)]
    created: String,
}

fn states() -> RefOr<Schema> {
    gathered(one_of(&JobState::ALL.map(JobState::name), "Where it is in its life; the last five are final."))
}

#[derive(Serialize, ToSchema)]
#[schema(as = JobWithResult)]
pub struct Full {
    #[serde(flatten)]
    job: View,
    /// What the host answered with, output included; absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<JobResult>)]
    result: Option<Box<RawValue>>,
}

/// The job of a path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes what is read as strings")]
struct JobPath {
    /// A host's id, or its name where no other host has it.
    host: String,
    /// The job's name on the host.
    job: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(count: &i64) -> bool {
    *count == 0
}

/// Jobs, the newest first.
#[utoipa::path(get, path = "/jobs", tag = "jobs", params(Filter),
    responses((status = 200, description = "A page of them.", body = List),
              (status = 409, description = "Several hosts have this name.")))]
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

/// One job with its result.
#[utoipa::path(get, path = "/jobs/{host}/{job}", tag = "jobs", params(JobPath),
    responses((status = 200, description = "The job.", body = Full),
              (status = 409, description = "Several hosts have this name.")))]
pub async fn show(
    State(app): State<Arc<App>>,
    who: Principal,
    Path((host, job)): Path<(String, String)>,
) -> Result<Json<Full>, Problem> {
    let (row, result) = find(&app, &who, &host, &job).await?;
    let result = result.map(|text| RawValue::from_string(text).map_err(|error| damaged(&job, &error)));
    Ok(Json(Full { job: view(&app, row), result: result.transpose()? }))
}

/// What a job's command writes, as it comes, and its result at the end.
///
/// A JSON object a line: pieces of output have `"method": "output"`, `stream`, `data` and, where they are
/// not UTF-8, `encoding`; the last line is a `JobResult`. Of a job that has ended there is that line alone.
#[utoipa::path(get, path = "/jobs/{host}/{job}/output", tag = "jobs", params(JobPath),
    responses((status = 200, description = "The lines.", body = String,
               content_type = "application/x-ndjson"),
              (status = 409, description = "Several hosts have this name.")))]
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
