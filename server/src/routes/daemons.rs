//! Supervised daemons, as their hosts tell of them.

use super::body::{Path, Query};
use super::cron::after;
use super::hosts::{Wanted, find, wanted};
use super::jobs::page;
use super::json::damaged;
use super::resolve::{selected, visible};
use crate::app::App;
use crate::clock;
use crate::hosts::{Host, Status};
use crate::jobs::book;
use crate::limits::MAX_LISTED_HOSTS;
use crate::people::Principal;
use crate::problem::Problem;
use crate::store::daemons::{DaemonCount, DaemonFilter, DaemonRow};
use aspire_wire::daemon::{DaemonStatus, MAX_DAEMONS};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use uuid::Uuid;

/// Which are wanted: those of which all that is said is so.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Id or name.
    #[serde(default)]
    host: Option<String>,
    /// An expression.
    #[serde(default)]
    target: Option<String>,
    /// The daemon's.
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    status: Option<String>,
}

/// As [`Filter`], page by page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paged {
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    limit: Option<u64>,
    /// `NAME/HOST` of the one that the page before ended with.
    #[serde(default)]
    after: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latest {
    #[serde(default)]
    limit: Option<u64>,
}

#[derive(Serialize)]
pub struct List {
    daemons: Vec<View>,
    /// All there are, on whatever page.
    count: i64,
}

#[derive(Serialize)]
pub struct Summary {
    summary: Vec<Count>,
    count: usize,
}

#[derive(Serialize)]
struct Count {
    daemon: String,
    version: String,
    status: String,
    hosts: i64,
    /// Of these: what they told last may not be so any more.
    offline: i64,
}

/// One daemon of a host.
#[derive(Serialize)]
struct View {
    #[serde(flatten)]
    whose: Whose,
    #[serde(flatten)]
    state: Known,
}

#[derive(Serialize)]
struct Whose {
    host: String,
    /// The host's name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Of a host that is not online the rest is what it told last.
    host_status: Status,
    daemon: String,
}

/// What a daemon is at.
#[derive(Serialize)]
struct Known {
    version: String,
    status: String,
    wanted: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i64>,
    since: String,
    restarts: i64,
    /// Of its latest event.
    #[serde(skip_serializing_if = "Option::is_none")]
    retcode: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// When the host said so.
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

pub async fn of_host(
    State(app): State<Arc<App>>,
    who: Principal,
    Path(id): Path,
) -> Result<Json<List>, Problem> {
    let host = find(&app, &who, &id)?;
    shown(&app, &all_of(&host)).await
}

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
        let host = self.host.as_deref().map(|text| wanted(app, who, text, Wanted::Field)).transpose()?;
        let target = match &self.target {
            Some(target) => Some(selected(app, &who.scope, target).await?),
            None => None,
        };
        let target = target.map(|hosts| hosts.iter().map(|host| host.id).collect::<Vec<_>>());
        let hosts = match (host, target) {
            (None, None) => visible(app, &who.scope).await?,
            (None, target) => target,
            (Some(host), None) => Some(vec![host]),
            (Some(host), Some(target)) => Some(target.into_iter().filter(|id| *id == host).collect()),
        };
        if let Some(n) = hosts.as_ref().map(Vec::len).filter(|n| *n > MAX_LISTED_HOSTS) {
            let reason = format!("target: must select at most {MAX_LISTED_HOSTS} hosts here, got {n}");
            return Err(Problem::field("target", reason));
        }
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
