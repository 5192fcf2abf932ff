//! The jobs of boot: a list of them, each of them, and its end before its time.

use crate::app::App;
use crate::boot::{HostState, JobState};
use crate::clock;
use crate::limits::OWN_REQUESTS_READ;
use crate::openapi::schema::{gathered, one_of, page_limit};
use crate::people::Principal;
use crate::people::note::Note;
use crate::problem::Problem;
use crate::requests::Target;
use crate::routes::body::{Path, Query};
use crate::routes::guard::may_send;
use crate::routes::jobs::page;
use crate::routes::json::damaged;
use crate::routes::sight;
use crate::store::boot_job_hosts::JobHostRow;
use crate::store::boot_jobs::{BootJobRow, Counts, JobFilter, Summary};
use crate::store::own_requests::Own;
use crate::unbroken::to_the_end;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use uuid::Uuid;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Where they are.
    #[serde(default)]
    #[param(schema_with = states)]
    state: Option<String>,
    /// How many.
    #[serde(default)]
    #[param(schema_with = page_limit)]
    limit: Option<u64>,
    /// The id that the page before ended with.
    #[serde(default)]
    after: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = BootJobList)]
pub struct List {
    jobs: Vec<View>,
    /// All there are, on whatever page. Of whoever is limited to some hosts all that he made, those for
    /// other hosts too.
    count: i64,
}

/// A job of boot.
#[derive(Serialize, ToSchema)]
#[schema(as = BootJob)]
pub struct View {
    /// The caller's choice, or one that was made for it.
    id: String,
    /// `install`, `upgrade`, `uninstall`, `start`, `stop`, `restart` or `config`.
    action: String,
    /// The agent's; `boot` where it is about boot itself.
    name: String,
    /// That the agent is to have; of the catalogue's the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    created: String,
    /// Until when hosts may fetch it.
    #[schema(format = DateTime)]
    expires: String,
    /// Whose it is; `boot --install` where its host asked for it.
    by: String,
    /// The expression that selected hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// The most hosts that have it at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<i64>,
    /// The most hosts that may fail for others to get it.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_errors: Option<i64>,
    state: JobState,
    counts: CountsView,
}

/// How many hosts are at each state.
#[derive(Serialize, ToSchema)]
#[schema(as = BootJobCounts)]
struct CountsView {
    /// They have not fetched it.
    waiting: i64,
    /// They have it.
    sent: i64,
    /// They did it.
    done: i64,
    /// They did not.
    failed: i64,
    /// They did not fetch it in time.
    expired: i64,
    /// They do not get it any more.
    cancelled: i64,
}

/// A job of boot and what became of it.
#[derive(Serialize, ToSchema)]
#[schema(as = BootJobWithHosts)]
pub struct Full {
    #[serde(flatten)]
    summary: View,
    /// As hosts get it, without a login; a package of the catalogue is put in for each.
    #[schema(value_type = Object)]
    job: Box<RawValue>,
    /// In the order asked.
    hosts: Vec<HostView>,
}

/// A job of boot on one of its hosts.
#[derive(Serialize, ToSchema)]
#[schema(as = BootJobHost)]
struct HostView {
    /// The host's id.
    host: String,
    /// The host's name; empty where it has none, or is there no more.
    name: String,
    state: HostState,
    /// 0, 1 where it goes on, or the retcode of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    errcode: Option<i64>,
    /// `success`, or what is the matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// When the host got it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    sent: Option<String>,
    /// When it was heard how it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    ended: Option<String>,
}

fn states() -> RefOr<Schema> {
    gathered(one_of(&["open", "ended"], "`ended`: all that are not open."))
}

/// The jobs of boot, the newest first.
#[utoipa::path(get, path = "/boot/jobs", tag = "boot", operation_id = "jobs", params(Filter),
    responses((status = 200, description = "A page of them.", body = List)))]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Principal,
    Query(filter): Query<Filter>,
) -> Result<Json<List>, Problem> {
    let limit = page(filter.limit)?;
    let open = filter.state.as_deref().map(is_open).transpose()?;
    let own = (!who.scope.is_whole()).then(|| Own { who: &who.name, since: who.since });
    let wanted = JobFilter { open, own, after: filter.after.as_deref(), limit };
    let count = app.store.count_boot_jobs(&wanted).await?;
    let summaries = if who.scope.is_whole() {
        app.store.list_boot_jobs(&wanted).await?
    } else {
        seen(&app, &who, &wanted).await?
    };
    let after = filter.after.as_deref().unwrap_or_default();
    let summaries =
        summaries.ok_or_else(|| Problem::field("after", format!("after: there is no job {after}")))?;
    Ok(Json(List { jobs: shown(&app, summaries).await?, count }))
}

/// Those of his own whose hosts are all among the ones that he sees; `None` where there is no job `after`.
async fn seen(
    app: &Arc<App>,
    who: &Principal,
    wanted: &JobFilter<'_>,
) -> Result<Option<Vec<Summary>>, Problem> {
    let most = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    let (mut found, mut after) = (Vec::new(), wanted.after.map(str::to_owned));
    loop {
        let some = JobFilter { after: after.as_deref(), limit: OWN_REQUESTS_READ, ..*wanted };
        let Some(rows) = app.store.list_boot_jobs(&some).await? else { return Ok(None) };
        after = rows.last().map(|row| row.id.clone());
        for row in rows {
            let targets = targets(app, &row.id).await?;
            if sight::sees(app, who, (Some(&row.who), row.created), &targets).await {
                found.push(row);
            }
        }
        if after.is_none() || found.len() >= most {
            found.truncate(most);
            return Ok(Some(found));
        }
    }
}

/// One job of boot, host by host.
#[utoipa::path(get, path = "/boot/jobs/{id}", tag = "boot", operation_id = "show_job",
    params(("id" = String, Path, description = "The job's id.")),
    responses((status = 200, description = "The job.", body = Full)))]
pub async fn show(
    State(app): State<Arc<App>>,
    who: Principal,
    Path(id): Path,
) -> Result<Json<Full>, Problem> {
    let (row, hosts) = find(&app, &who, &id).await?;
    full(&app, row, hosts).await
}

/// Cancels a job of boot: hosts that have not fetched it get it no more, those that have go on.
#[utoipa::path(delete, path = "/boot/jobs/{id}", tag = "boot", operation_id = "cancel_job",
    params(("id" = String, Path, description = "The job's id.")),
    responses((status = 200, description = "The job as it is now.", body = Full)))]
pub async fn cancel(
    State(app): State<Arc<App>>,
    who: Principal,
    note: Note,
    Path(id): Path,
) -> Result<Json<Full>, Problem> {
    let (row, hosts) = find(&app, &who, &id).await?;
    let Summary { action, name, .. } = &row.summary;
    note.what(format!("cancel the boot job {id}: {action} {name}"));
    note.hosts(&hosts.iter().map(|row| target(&app, row)).collect::<Vec<_>>());
    // Whoever may ask for it may take it back.
    may_send(&who, &format!("boot.{action}"))?;
    to_the_end(async move {
        app.store.cancel_boot_job(&id, clock::now()).await?;
        tracing::info!(job = id, who = &*who.name, "boot job cancelled");
        let row = app.store.find_boot_job(&id).await?.ok_or_else(|| no_such_job(&id))?;
        let hosts = app.store.boot_job_hosts(&id).await?;
        full(&app, row, hosts).await
    })
    .await
}

/// The job, if there is one that he sees, with its hosts.
async fn find(app: &Arc<App>, who: &Principal, id: &str) -> Result<(BootJobRow, Vec<JobHostRow>), Problem> {
    let row = app.store.find_boot_job(id).await?.ok_or_else(|| no_such_job(id))?;
    let hosts = app.store.boot_job_hosts(id).await?;
    let targets: Vec<_> = hosts.iter().map(|row| target(app, row)).collect();
    let by = (Some(&*row.summary.who), row.summary.created);
    if sight::sees(app, who, by, &targets).await { Ok((row, hosts)) } else { Err(no_such_job(id)) }
}

/// The hosts of a job.
pub(super) async fn targets(app: &App, id: &str) -> Result<Vec<Target>, Problem> {
    Ok(app.store.boot_job_hosts(id).await?.iter().map(|row| target(app, row)).collect())
}

fn target(app: &App, row: &JobHostRow) -> Target {
    let host = Uuid::parse_str(&row.host).ok().and_then(|id| app.directory.by_id(id));
    Target { host: row.host.clone(), name: host.and_then(|host| host.name()) }
}

/// The jobs, with what their hosts are at.
pub(super) async fn shown(app: &App, summaries: Vec<Summary>) -> Result<Vec<View>, Problem> {
    let ids: Vec<_> = summaries.iter().map(|summary| &*summary.id).collect();
    let mut counts = app.store.count_boot_job_hosts(&ids).await?;
    let view = |summary: Summary| {
        let counts = counts.remove(&summary.id).unwrap_or_default();
        view(summary, counts)
    };
    Ok(summaries.into_iter().map(view).collect())
}

async fn full(app: &App, row: BootJobRow, hosts: Vec<JobHostRow>) -> Result<Json<Full>, Problem> {
    let id = row.summary.id.clone();
    let job = RawValue::from_string(row.job).map_err(|error| damaged(&id, &error))?;
    let summary = shown(app, vec![row.summary]).await?.pop().expect("what is given is shown");
    let hosts = hosts.into_iter().map(|row| host(app, row)).collect();
    Ok(Json(Full { summary, job, hosts }))
}

fn view(summary: Summary, counts: Counts) -> View {
    let [waiting, sent, done, failed, expired, cancelled] = counts;
    View {
        id: summary.id,
        action: summary.action,
        name: summary.name,
        version: summary.version,
        created: clock::rfc3339(summary.created),
        expires: clock::rfc3339(summary.expires),
        by: summary.who,
        target: summary.target,
        batch: summary.batch,
        max_errors: summary.max_errors,
        state: summary.state,
        counts: CountsView { waiting, sent, done, failed, expired, cancelled },
    }
}

fn host(app: &App, row: JobHostRow) -> HostView {
    let Target { name, .. } = target(app, &row);
    HostView {
        host: row.host,
        name: name.unwrap_or_default(),
        state: row.state,
        errcode: row.errcode,
        message: row.message,
        sent: row.sent.map(clock::rfc3339),
        ended: row.ended.map(clock::rfc3339),
    }
}

fn is_open(state: &str) -> Result<bool, Problem> {
    match state {
        "open" => Ok(true),
        "ended" => Ok(false),
        _ => Err(Problem::field("state", format!("state: must be one of open, ended, got {state:?}"))),
    }
}

fn no_such_job(id: &str) -> Problem {
    Problem::not_found(format!("there is no job of boot {id}"))
}
