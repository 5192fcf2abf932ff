//! Hosts' boots, over the fleet.

use crate::app::App;
use crate::clock;
use crate::openapi::schema::page_limit;
use crate::people::Principal;
use crate::problem::Problem;
use crate::routes::body::Query;
use crate::routes::jobs::page;
use crate::routes::resolve::listed;
use crate::store::boot_reports::{FleetFilter, ReportRow};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use utoipa::ToSchema;
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
    /// Whether they have not reported for two and a half of their steps.
    #[serde(default)]
    silent: Option<bool>,
    /// How many.
    #[serde(default)]
    #[param(schema_with = page_limit)]
    limit: Option<u64>,
    /// The id of the host that the page before ended with.
    #[serde(default)]
    after: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = BootHostList)]
pub struct List {
    hosts: Vec<View>,
    /// All there are, on whatever page.
    count: i64,
}

/// A host's boot, as it told last.
#[derive(Serialize, ToSchema)]
#[schema(as = BootHost)]
struct View {
    /// The host's id.
    host: String,
    /// The host's name.
    hostname: String,
    /// Boot's own, as `bootagent-1.2.4-x86_64`.
    version: String,
    /// Seconds from one report to the next.
    #[schema(minimum = 0)]
    step: i64,
    /// Seconds that boot has run.
    #[schema(minimum = 0)]
    uptime: i64,
    /// When it reported last.
    #[schema(format = DateTime)]
    reported: String,
    /// When the next report is due; absent where the host is silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    next: Option<String>,
    /// Whether it has not reported for two and a half of its steps.
    silent: bool,
    /// The names of the agents that it looks after.
    agents: Vec<String>,
    /// The kinds of packages that the host takes.
    packages: Vec<String>,
}

/// Hosts whose boot has reported, by id.
#[utoipa::path(get, path = "/boot/hosts", tag = "boot", operation_id = "hosts", params(Filter),
    responses((status = 200, description = "A page of them.", body = List),
              (status = 409, description = "Several hosts have this name.")))]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Principal,
    Query(filter): Query<Filter>,
) -> Result<Json<List>, Problem> {
    let limit = page(filter.limit)?;
    let after = filter.after.as_deref().map(host_id).transpose()?.map(|host| ("", host));
    let hosts = listed(&app, &who, filter.host.as_deref(), filter.target.as_deref()).await?;
    let now = clock::now();
    let (silent, heard_since) = (filter.silent, app.heard_since());
    let wanted = FleetFilter { hosts, silent, after, limit, now, heard_since, ..FleetFilter::default() };
    let rows = app.store.list_boot_hosts(&wanted).await?;
    let count = app.store.count_boot_hosts(&wanted).await?;
    let ids: Vec<_> = rows.iter().map(|row| row.host).collect();
    let mut agents = HashMap::<Uuid, Vec<String>>::new();
    for (host, name) in app.store.boot_agents_of(&ids).await? {
        agents.entry(host).or_default().push(name);
    }
    let view = |row: ReportRow| {
        let agents = agents.remove(&row.host).unwrap_or_default();
        view(&app, row, agents, now)
    };
    Ok(Json(List { hosts: rows.into_iter().map(view).collect(), count }))
}

fn host_id(text: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text).map_err(|_| Problem::field("after", "after: must be the id of a host"))
}

fn view(app: &App, row: ReportRow, agents: Vec<String>, now: clock::EpochMs) -> View {
    let silent = row.is_silent(now, app.heard_since());
    let name = app.directory.by_id(row.host).and_then(|host| host.name());
    View {
        host: row.host.to_string(),
        hostname: name.unwrap_or(row.hostname),
        version: row.version,
        step: row.step,
        uptime: row.uptime,
        reported: clock::rfc3339(row.reported),
        next: (!silent).then(|| clock::rfc3339(row.reported + row.step * 1000)),
        silent,
        agents,
        packages: row.packages,
    }
}
