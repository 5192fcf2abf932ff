//! The requests that were made: a list of them, each of them, and its end before its time.

use super::body::{Path, Query};
use super::guard::may_send;
use super::json::damaged;
use super::{jobs, requests, sight};
use crate::app::App;
use crate::clock::{self, EpochMs};
use crate::openapi::schema::page_limit;
use crate::openapi::shapes::{Entry, Rollout};
use crate::people::Principal;
use crate::people::note::Note;
use crate::problem::Problem;
use crate::queue::courier;
use crate::requests::rollout::{Plan, Stopped};
use crate::requests::{Target, record};
use crate::store::requests::{Stored, Summary};
use crate::unbroken::to_the_end;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// The method whose requests begin jobs.
const JOBS_METHOD: &str = "async.bash";

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// How many.
    #[serde(default)]
    #[param(schema_with = page_limit)]
    limit: Option<u64>,
    /// The id that the page before ended with.
    #[serde(default)]
    before: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RequestList)]
pub struct List {
    requests: Vec<View>,
    /// All there are, on whatever page. Of whoever is limited to some hosts all that he made, those for
    /// other hosts too.
    count: i64,
}

/// One request without its results.
#[derive(Serialize, ToSchema)]
#[schema(as = RequestSummary)]
struct View {
    /// The caller's choice, or one that was made for it.
    id: String,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    method: String,
    /// The command, where the method has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cmd: Option<String>,
    /// The expression that selected hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(flatten)]
    #[schema(value_type = Rollout)]
    rollout: Option<Plan>,
    /// Of a rollout that ended before all of its hosts were begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<Stopped>,
    /// When it was made.
    #[schema(format = DateTime)]
    created: String,
    /// When the last host had its final state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    finished: Option<String>,
    /// Until when hosts that have not answered are waited for.
    #[schema(format = DateTime)]
    deadline: String,
    /// All that were asked.
    hosts: i64,
    /// Those whose final state is 1 or 2.
    succeeded: i64,
    /// Those with any other final state.
    failed: i64,
    /// Those without a final state.
    pending: i64,
}

/// One request and what became of it.
#[derive(Serialize, ToSchema)]
#[schema(as = RequestWithResults)]
pub struct Full {
    #[serde(flatten)]
    summary: View,
    /// The method's parameters as they were asked, without a login.
    #[schema(value_type = Object)]
    params: Box<RawValue>,
    /// The final states.
    #[schema(value_type = Vec<Entry>)]
    response: Vec<Box<RawValue>>,
    /// The hosts that it waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<Waiting>,
    /// Of `async.bash`: the jobs that it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs: Option<Vec<jobs::View>>,
    /// What the hosts said that were asked to cancel what they had begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancellation: Option<Cancellation>,
}

/// A host that a request waits for.
#[derive(Serialize, ToSchema)]
#[schema(as = WaitingHost)]
struct Waiting {
    #[serde(flatten)]
    target: Target,
    /// How long the host may take to come.
    #[schema(format = DateTime)]
    until: String,
    /// When it was first sent, if it was: then its reply is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    sent: Option<String>,
}

/// A request of its own, which asks hosts to cancel another.
#[derive(Serialize, ToSchema)]
struct Cancellation {
    /// The other request's.
    #[schema(value_type = String)]
    id: Arc<str>,
    /// What each of the hosts said.
    #[schema(value_type = Vec<Entry>)]
    response: Vec<Box<RawValue>>,
}

/// The requests that were made, the newest first.
#[utoipa::path(get, path = "/requests", tag = "requests", params(Page),
    responses((status = 200, description = "A page of them.", body = List)))]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Principal,
    Query(page): Query<Page>,
) -> Result<Json<List>, Problem> {
    let limit = jobs::page(page.limit)?;
    // So that the list knows what its caller knows.
    record::record_all(&app.requests, &app.store).await?;
    let requests = sight::page(&app, &who, limit, page.before.as_deref()).await?;
    let requests =
        requests.ok_or_else(|| Problem::field("before", "before: there is no request of this id"))?;
    let count = sight::count(&app, &who).await?;
    Ok(Json(List { requests: requests.into_iter().map(view).collect(), count }))
}

/// One request with the final states of its hosts.
#[utoipa::path(get, path = "/requests/{id}", tag = "requests",
    params(("id" = String, Path, description = "The request's id.")),
    responses((status = 200, description = "The request.", body = Full)))]
pub async fn show(
    State(app): State<Arc<App>>,
    who: Principal,
    Path(id): Path,
) -> Result<Json<Full>, Problem> {
    if app.requests.find(&id).is_some() {
        record::record_all(&app.requests, &app.store).await?;
    }
    full(&app, &who, &id).await.map(Json)
}

/// Ends what of the request has not ended: what runs, what waits for hosts, and the jobs that it began.
///
/// Answers when all that can be known of it is. A caller that hangs up changes nothing any more. A request
/// of somebody else asks for a role that sends `job.cancel`.
#[utoipa::path(delete, path = "/requests/{id}", tag = "requests",
    params(("id" = String, Path, description = "The request's id.")),
    responses((status = 200, description = "The request as it is now.", body = Full),
              (status = 409, description = "Every host has its final state: nothing is left to cancel.")))]
pub async fn cancel(
    State(app): State<Arc<App>>,
    who: Principal,
    note: Note,
    Path(id): Path,
) -> Result<Json<Full>, Problem> {
    note.what(format!("cancel the request {id}"));
    to_the_end(async move { end(&app, &who, &note, &id).await }).await.map(Json)
}

async fn end(app: &Arc<App>, who: &Principal, note: &Note, id: &str) -> Result<Full, Problem> {
    let running = app.requests.find(id).filter(|request| !request.is_finished());
    let mut any = false;
    if let Some(request) = running
        && let by = (Some(&*request.head.who), request.head.created)
        && sight::sees(app, who, by, &request.targets).await
    {
        may_cancel(who, by)?;
        any = true;
        note.hosts(&request.targets);
        request.cancel();
        request.ended().await;
    }
    record::record_all(&app.requests, &app.store).await?;
    let stored = find(app, who, id).await?;
    may_cancel(who, (stored.summary.who.as_deref(), stored.summary.created))?;
    if !stored.waiting.is_empty() {
        any |= courier::withdraw(app, id).await? > 0;
    }
    let hosts = on_hosts(app, &stored).await?;
    if !any && hosts.is_empty() {
        return Err(nothing_left(id));
    }
    let cancellation =
        if hosts.is_empty() { None } else { Some(cancel_on(app, who, note, id, &hosts).await?) };
    Ok(Full { cancellation, ..full(app, who, id).await? })
}

/// The hosts that have begun something of the request which has not ended: a job, or what was
/// delivered late and is not answered.
async fn on_hosts(app: &App, stored: &Stored) -> Result<Vec<Uuid>, Problem> {
    let id = &stored.summary.id;
    let mut hosts: BTreeSet<Uuid> = BTreeSet::new();
    if stored.summary.method == JOBS_METHOD {
        let rows = jobs::rows_of_request(app, id).await?;
        hosts.extend(rows.iter().filter(|row| !row.state.is_final()).map(|row| row.host));
    }
    if !stored.waiting.is_empty() {
        hosts.extend(app.store.waiting_of(id).await?.iter().map(|row| row.host));
    }
    Ok(hosts.into_iter().collect())
}

/// Asks the hosts to cancel the request, by a request of its own.
async fn cancel_on(
    app: &Arc<App>,
    who: &Principal,
    note: &Note,
    id: &str,
    hosts: &[Uuid],
) -> Result<Cancellation, Problem> {
    let request = requests::to_cancel(app, who, id, hosts)?;
    note.request(&request.head);
    note.hosts(&request.targets);
    request.ended().await;
    let (settled, _) = request.results();
    let response = settled.iter().map(|settled| raw(id, settled.json().to_owned()));
    Ok(Cancellation { id: request.head.id.clone(), response: response.collect::<Result<_, _>>()? })
}

fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("there is no request {id}"))
}

fn nothing_left(id: &str) -> Problem {
    let reason = format!("every host of the request {id} has its final state: nothing is left to cancel");
    Problem::new(StatusCode::CONFLICT, reason)
}

/// The request, if he may see it.
async fn find(app: &Arc<App>, who: &Principal, id: &str) -> Result<Stored, Problem> {
    let stored = app.store.find_request(id).await?.ok_or_else(|| unknown(id))?;
    let by = (stored.summary.who.as_deref(), stored.summary.created);
    if sight::sees(app, who, by, &stored.targets).await { Ok(stored) } else { Err(unknown(id)) }
}

/// 403 unless it is his own, or his role sends hosts such orders.
fn may_cancel(who: &Principal, (by, created): (Option<&str>, EpochMs)) -> Result<(), Problem> {
    if who.is_own(by, created) { Ok(()) } else { may_send(who, "job.cancel") }
}

/// What the database has of one request.
async fn full(app: &Arc<App>, who: &Principal, id: &str) -> Result<Full, Problem> {
    let stored = find(app, who, id).await?;
    let jobs = match stored.summary.method.as_str() {
        JOBS_METHOD => Some(jobs::of_request(app, id).await?),
        _ => None,
    };
    let waiting = stored.waiting.into_iter().map(|row| Waiting {
        target: row.target,
        until: clock::rfc3339(row.expires),
        sent: row.sent.map(clock::rfc3339),
    });
    Ok(Full {
        params: raw(id, stored.params)?,
        response: stored.entries.into_iter().map(|(_, entry)| raw(id, entry)).collect::<Result<_, _>>()?,
        waiting: waiting.collect(),
        jobs,
        cancellation: None,
        summary: view(stored.summary),
    })
}

fn raw(id: &str, text: String) -> Result<Box<RawValue>, Problem> {
    RawValue::from_string(text).map_err(|error| damaged(id, &error))
}

fn view(summary: Summary) -> View {
    let time = |at: EpochMs| clock::rfc3339(at);
    View {
        id: summary.id,
        by: summary.who,
        method: summary.method,
        cmd: summary.cmd,
        target: summary.target,
        rollout: summary.rollout,
        stopped: summary.stopped,
        created: time(summary.created),
        finished: summary.finished.map(time),
        deadline: time(summary.deadline),
        hosts: summary.hosts,
        succeeded: summary.succeeded,
        failed: summary.failed,
        pending: summary.hosts - summary.succeeded - summary.failed,
    }
}
