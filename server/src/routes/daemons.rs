//! Supervised daemons, as their hosts tell of them.

use super::body::{Path, Query};
use super::cron::after;
use super::hosts::{HostPath, find};
use super::jobs::page;
use super::json::damaged;
use super::resolve::listed;
use crate::app::App;
use crate::clock;
use crate::hosts::{Host, Status};
use crate::jobs::book;
use crate::openapi::schema::{gathered, one_of, page_limit};
use crate::openapi::shapes::DaemonWithEvents;
use crate::people::Principal;
use crate::problem::Problem;
use crate::store::daemons::{DaemonCount, DaemonFilter, DaemonRow};
use aspire_wire::daemon::{DaemonStatus, MAX_DAEMONS};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use uuid::Uuid;

/// Which are wanted: those of which all that is said is so.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// A host's id or name.
    #[serde(default)]
    host: Option<String>,
    /// An expression that selects hosts.
    #[serde(default)]
    target: Option<String>,
    /// The daemon's.
    #[serde(default)]
    name: Option<String>,
    /// What they are at.
    #[serde(default)]
    #[param(schema_with = statuses)]
    status: Option<String>,
}

/// As [`Filter`], page by page.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paged {
    /// A host's id or name.
    #[serde(default)]
    host: Option<String>,
    /// An expression that selects hosts.
    #[serde(default)]
    target: Option<String>,
    /// The daemon's.
    #[serde(default)]
    name: Option<String>,
    /// What they are at.
    #[serde(default)]
    #[param(schema_with = statuses)]
    status: Option<String>,
    /// How many.
    #[serde(default)]
    #[param(schema_with = page_limit)]
    limit: Option<u64>,
    /// `NAME/HOST` of the one that the page before ended with.
    #[serde(default)]
    after: Option<String>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Latest {
    /// How many.
    #[serde(default)]
    #[param(schema_with = page_limit)]
    limit: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DaemonList)]
pub struct List {
    daemons: Vec<View>,
    /// All there are, on whatever page.
    count: i64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DaemonSummary)]
pub struct Summary {
    summary: Vec<Count>,
    /// Of these numbers.
    count: usize,
}

/// How many hosts have a daemon of this version at this status.
#[derive(Serialize, ToSchema)]
#[schema(as = DaemonCount)]
struct Count {
    /// The daemon's name.
    daemon: String,
    /// The one that runs or is to run.
    version: String,
    #[schema(schema_with = statuses)]
    status: String,
    /// Hosts that have it.
    #[schema(minimum = 0)]
    hosts: i64,
    /// Of these: what they told last may not be so any more.
    offline: i64,
}

/// One daemon of a host.
#[derive(Serialize, ToSchema)]
#[schema(as = Daemon)]
struct View {
    #[serde(flatten)]
    whose: Whose,
    #[serde(flatten)]
    state: Known,
}

/// Whose daemon it is.
#[derive(Serialize, ToSchema)]
#[schema(as = DaemonOf)]
struct Whose {
    /// The host's id.
    host: String,
    /// The host's name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Of a host that is not online the rest is what it told last.
    host_status: Status,
    /// The daemon's name.
    daemon: String,
}

/// What a daemon is at.
#[derive(Serialize, ToSchema)]
#[schema(as = DaemonState)]
struct Known {
    /// The one that runs or, where nothing runs, that is to run.
    version: String,
    #[schema(schema_with = statuses)]
    status: String,
    /// What operators want of it: `running`, `stoped` or `removed`.
    wanted: String,
    /// Its main process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i64>,
    /// When it came to this status, by the host's clock.
    #[schema(format = DateTime)]
    since: String,
    /// Restarts since it was last wanted anew.
    restarts: i64,
    /// Of its latest event.
    #[serde(skip_serializing_if = "Option::is_none")]
    retcode: Option<i64>,
    /// Why, of its latest event.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// When the host said so.
    #[schema(format = DateTime)]
    told: String,
}

/// One daemon and what it came to.
#[derive(Serialize)]
pub struct Full {
    #[serde(flatten)]
    whose: Whose,
    /// Absent where there is no such daemon any more.
    #[serde(flatten)]
    state: Option<Known>,
    /// The latest first.
    events: Vec<Box<RawValue>>,
    /// Of the events that are shown.
    count: usize,
}

fn statuses() -> RefOr<Schema> {
    gathered(one_of(&DaemonStatus::ALL.map(DaemonStatus::name), "What it is at; spelt as hosts do."))
}

/// Daemons, by name and then by host.
#[utoipa::path(get, path = "/daemons", tag = "daemons", params(Paged),
    responses((status = 200, description = "A page of them.", body = List),
              (status = 409, description = "Several hosts have this name.")))]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Principal,
    Query(paged): Query<Paged>,
) -> Result<Json<List>, Problem> {
    let Paged { host, target, name, status, limit, after: last } = paged;
    let limit = page(limit)?;
    let after = last.as_deref().map(after).transpose()?;
    let filter = Filter { host, target, name, status };
    shown(&app, &DaemonFilter { after, limit, ..filter.narrow(&app, &who).await? }).await
}

/// How many hosts have which daemon, of which version, at which status.
#[utoipa::path(get, path = "/daemons/summary", tag = "daemons", params(Filter),
    responses((status = 200, description = "The numbers, by daemon.", body = Summary),
              (status = 409, description = "Several hosts have this name.")))]
pub async fn summary(
    State(app): State<Arc<App>>,
    who: Principal,
    Query(filter): Query<Filter>,
) -> Result<Json<Summary>, Problem> {
    let wanted = filter.narrow(&app, &who).await?;
    book::store_all(&app.jobs, &app.store).await?;
    let counts = app.store.count_daemons(&wanted).await?;
    let summary: Vec<_> = counts.into_iter().map(count).collect();
    Ok(Json(Summary { count: summary.len(), summary }))
}

/// The daemons of a host.
#[utoipa::path(get, path = "/hosts/{id}/daemons", tag = "daemons", params(HostPath),
    responses((status = 200, description = "All of them.", body = List),
              (status = 409, description = "Several hosts have this name.")))]
pub async fn of_host(
    State(app): State<Arc<App>>,
    who: Principal,
    Path(id): Path,
) -> Result<Json<List>, Problem> {
    let host = find(&app, &who, &id)?;
    shown(&app, &all_of(&host)).await
}

/// One daemon of a host with what it came to.
#[utoipa::path(get, path = "/hosts/{id}/daemons/{name}", tag = "daemons",
    params(HostPath, ("name" = String, Path, description = "The daemon's."), Latest),
    responses((status = 200, description = "The daemon.", body = DaemonWithEvents),
              (status = 409, description = "Several hosts have this name.")))]
pub async fn show(
    State(app): State<Arc<App>>,
    who: Principal,
    Path((id, name)): Path<(String, String)>,
    Query(latest): Query<Latest>,
) -> Result<Json<Full>, Problem> {
    let limit = page(latest.limit)?;
    let host = find(&app, &who, &id)?;
    book::store_all(&app.jobs, &app.store).await?;
    let row = app.store.list_daemons(&DaemonFilter { name: Some(&name), ..all_of(&host) }).await?.pop();
    let events = app.store.daemon_events(host.id, &name, limit).await?;
    if row.is_none() && events.is_empty() {
        return Err(Problem::not_found(format!("there is no daemon {name} of the host {id}")));
    }
    let events =
        events.into_iter().map(|text| RawValue::from_string(text).map_err(|error| damaged(&name, &error)));
    let events: Vec<_> = events.collect::<Result<_, _>>()?;
    let count = events.len();
    let host_id = host.id.to_string();
    Ok(Json(Full { whose: whose(&app, host_id, name), state: row.map(known), events, count }))
}

fn all_of(host: &Host) -> DaemonFilter<'static> {
    DaemonFilter { hosts: Some(vec![host.id]), limit: MAX_DAEMONS as u64, ..DaemonFilter::default() }
}

async fn shown(app: &App, wanted: &DaemonFilter<'_>) -> Result<Json<List>, Problem> {
    // So that the list knows what its caller knows.
    book::store_all(&app.jobs, &app.store).await?;
    let rows = app.store.list_daemons(wanted).await?;
    let count = app.store.count_daemons(wanted).await?.iter().map(|count| count.hosts).sum();
    let view = |mut row: DaemonRow| {
        let (host, name) = (std::mem::take(&mut row.host), std::mem::take(&mut row.name));
        View { whose: whose(app, host, name), state: known(row) }
    };
    Ok(Json(List { daemons: rows.into_iter().map(view).collect(), count }))
}

impl Filter {
    async fn narrow(&self, app: &Arc<App>, who: &Principal) -> Result<DaemonFilter<'_>, Problem> {
        let hosts = listed(app, who, self.host.as_deref(), self.target.as_deref()).await?;
        let status = self.status.as_deref().map(known_status).transpose()?;
        Ok(DaemonFilter { hosts, name: self.name.as_deref(), status, ..DaemonFilter::default() })
    }
}

fn known_status(text: &str) -> Result<DaemonStatus, Problem> {
    DaemonStatus::named(text).ok_or_else(|| {
        let names = DaemonStatus::ALL.map(DaemonStatus::name).join(", ");
        Problem::field("status", format!("status: must be one of {names}, got {text:?}"))
    })
}

fn whose(app: &App, host: String, daemon: String) -> Whose {
    let known = Uuid::parse_str(&host).ok().and_then(|id| app.directory.by_id(id));
    Whose {
        host,
        name: known.as_ref().and_then(|host| host.name()),
        host_status: known.map_or(Status::Unknown, |host| host.state().status),
        daemon,
    }
}

fn known(row: DaemonRow) -> Known {
    Known {
        version: row.version,
        status: row.status,
        wanted: row.wanted,
        pid: row.pid,
        since: clock::rfc3339(row.since),
        restarts: row.restarts,
        retcode: row.retcode,
        detail: row.detail,
        told: clock::rfc3339(row.told),
    }
}

fn count(count: DaemonCount) -> Count {
    let offline = count.hosts - count.online;
    Count { daemon: count.name, version: count.version, status: count.status, hosts: count.hosts, offline }
}
