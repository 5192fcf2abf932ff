//! The agents that hosts' boots look after, over the fleet.

use crate::app::App;
use crate::boot::{catalogue, version};
use crate::clock;
use crate::hosts::Status;
use crate::limits::MAX_OUTDATED_VERSIONS;
use crate::openapi::schema::{gathered, one_of, page_limit};
use crate::people::Principal;
use crate::problem::Problem;
use crate::routes::body::Query;
use crate::routes::cron::after;
use crate::routes::jobs::page;
use crate::routes::resolve::listed;
use crate::store::boot_reports::{AgentCount, AgentRow, FleetFilter};
use aspire_wire::boot::AgentStatus;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

/// The newest version of each agent in the catalogue, by the one of its names.
type Latest = BTreeMap<String, String>;

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
    /// The agent's, or its other name.
    #[serde(default)]
    name: Option<String>,
    /// What they are at.
    #[serde(default)]
    #[param(schema_with = statuses)]
    status: Option<String>,
    /// Whether the catalogue has a newer version.
    #[serde(default)]
    outdated: Option<bool>,
    /// Whether their host has not reported for two and a half of its steps.
    #[serde(default)]
    silent: Option<bool>,
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
    /// The agent's, or its other name.
    #[serde(default)]
    name: Option<String>,
    /// What they are at.
    #[serde(default)]
    #[param(schema_with = statuses)]
    status: Option<String>,
    /// Whether the catalogue has a newer version.
    #[serde(default)]
    outdated: Option<bool>,
    /// Whether their host has not reported for two and a half of its steps.
    #[serde(default)]
    silent: Option<bool>,
    /// How many.
    #[serde(default)]
    #[param(schema_with = page_limit)]
    limit: Option<u64>,
    /// `AGENT/HOST` of the one that the page before ended with.
    #[serde(default)]
    after: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = BootAgentList)]
pub struct List {
    agents: Vec<View>,
    /// All there are, on whatever page.
    count: i64,
}

/// An agent of a host, as its boot told last.
#[derive(Serialize, ToSchema)]
#[schema(as = BootAgent)]
struct View {
    /// The host's id.
    host: String,
    /// The host's name.
    hostname: String,
    /// Whether the host has a link.
    host_status: Status,
    /// The agent's name.
    agent: String,
    /// Which one is there.
    version: String,
    #[schema(schema_with = statuses)]
    status: String,
    /// The same exactly, as of a daemon.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// Seconds that it has run.
    #[schema(minimum = 0)]
    uptime: i64,
    /// Why it is not as it is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When boot said so.
    #[schema(format = DateTime)]
    reported: String,
    /// Whether boot has not reported for two and a half of its steps.
    silent: bool,
    /// The newest version in the catalogue, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    latest: Option<String>,
    /// Whether that is newer.
    outdated: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = BootAgentSummary)]
pub struct Summary {
    summary: Vec<Count>,
    /// Of these numbers.
    count: usize,
}

/// How many hosts have an agent of this version at this status.
#[derive(Serialize, ToSchema)]
#[schema(as = BootAgentCount)]
struct Count {
    /// The agent's name.
    agent: String,
    /// Which one is there.
    version: String,
    #[schema(schema_with = statuses)]
    status: String,
    /// Hosts that have it.
    #[schema(minimum = 0)]
    hosts: i64,
    /// Of these, those whose boot is silent: it may not be so any more.
    #[schema(minimum = 0)]
    silent: i64,
    /// Whether the catalogue has a newer version.
    outdated: bool,
}

fn statuses() -> RefOr<Schema> {
    gathered(one_of(&AgentStatus::ALL.map(AgentStatus::name), "What it is at; spelt as hosts do."))
}

/// Agents that hosts' boots look after, by name and then by host.
#[utoipa::path(get, path = "/boot/agents", tag = "boot", operation_id = "agents", params(Paged),
    responses((status = 200, description = "A page of them.", body = List),
              (status = 409, description = "Several hosts have this name.")))]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Principal,
    Query(paged): Query<Paged>,
) -> Result<Json<List>, Problem> {
    let Paged { host, target, name, status, outdated, silent, limit, after: last } = paged;
    let limit = page(limit)?;
    let after = last.as_deref().map(after).transpose()?;
    let filter = Filter { host, target, name, status, outdated, silent };
    let latest = catalogue::latest(&app.store).await?;
    let wanted = FleetFilter { after, limit, ..filter.narrow(&app, &who, &latest).await? };
    let rows = app.store.list_boot_agents(&wanted).await?;
    let count = app.store.count_boot_agents(&wanted).await?.iter().map(|count| count.hosts).sum();
    let agents = rows.into_iter().map(|row| view(&app, row, &latest)).collect();
    Ok(Json(List { agents, count }))
}

/// How many hosts have which agent, of which version, at which status.
#[utoipa::path(get, path = "/boot/agents/summary", tag = "boot", operation_id = "agents_summary",
    params(Filter),
    responses((status = 200, description = "The numbers, by agent.", body = Summary),
              (status = 409, description = "Several hosts have this name.")))]
pub async fn summary(
    State(app): State<Arc<App>>,
    who: Principal,
    Query(filter): Query<Filter>,
) -> Result<Json<Summary>, Problem> {
    let latest = catalogue::latest(&app.store).await?;
    let wanted = filter.narrow(&app, &who, &latest).await?;
    let counts = app.store.count_boot_agents(&wanted).await?;
    let count = |count: AgentCount| {
        let AgentCount { name, version, status, hosts, silent } = count;
        let outdated = is_outdated(&latest, &name, &version);
        Count { agent: name, version, status, hosts, silent, outdated }
    };
    let summary: Vec<_> = counts.into_iter().map(count).collect();
    Ok(Json(Summary { count: summary.len(), summary }))
}

impl Filter {
    async fn narrow(
        &self,
        app: &Arc<App>,
        who: &Principal,
        latest: &Latest,
    ) -> Result<FleetFilter<'_>, Problem> {
        let hosts = listed(app, who, self.host.as_deref(), self.target.as_deref()).await?;
        let status = self.status.as_deref().map(known_status).transpose()?;
        let versions = match self.outdated {
            Some(are) => Some((are, outdated(app, latest).await?)),
            None => None,
        };
        Ok(FleetFilter {
            hosts,
            names: self.name.as_deref().map(catalogue::names),
            status,
            silent: self.silent,
            versions,
            now: clock::now(),
            heard_since: app.heard_since(),
            ..FleetFilter::default()
        })
    }
}

/// The versions that hosts have and that are out of date, by the agents' names.
async fn outdated(app: &App, latest: &Latest) -> Result<BTreeMap<String, Vec<String>>, Problem> {
    let most = 10 * MAX_OUTDATED_VERSIONS;
    let known = app.store.boot_versions(most).await?;
    let whole = known.len() < most;
    let mut outdated = BTreeMap::<String, Vec<String>>::new();
    let mut count = 0;
    for (name, version) in known {
        if is_outdated(latest, &name, &version) {
            count += 1;
            outdated.entry(name).or_default().push(version);
        }
    }
    if whole && count <= MAX_OUTDATED_VERSIONS {
        return Ok(outdated);
    }
    let reason = format!("outdated: hosts have more than {MAX_OUTDATED_VERSIONS} versions that are");
    Err(Problem::field("outdated", format!("{reason}: ask without it")))
}

fn is_outdated(latest: &Latest, name: &str, version: &str) -> bool {
    let newest = latest.get(catalogue::title(name));
    newest.is_some_and(|newest| version::compare(version, newest).is_lt())
}

fn known_status(text: &str) -> Result<AgentStatus, Problem> {
    AgentStatus::named(text).ok_or_else(|| {
        let names = AgentStatus::ALL.map(AgentStatus::name).join(", ");
        Problem::field("status", format!("status: must be one of {names}, got {text:?}"))
    })
}

fn view(app: &App, row: AgentRow, latest: &Latest) -> View {
    let known = app.directory.by_id(row.host);
    View {
        host: row.host.to_string(),
        hostname: known.as_ref().and_then(|host| host.name()).unwrap_or(row.hostname),
        host_status: known.map_or(Status::Unknown, |host| host.state().status),
        outdated: is_outdated(latest, &row.name, &row.version),
        latest: latest.get(catalogue::title(&row.name)).cloned(),
        agent: row.name,
        version: row.version,
        status: row.status,
        state: row.state,
        uptime: row.uptime,
        reason: row.reason,
        reported: clock::rfc3339(row.reported),
        silent: row.silent,
    }
}
