//! Cron entries over the fleet: what hosts accepted. What a host really has it says itself.

use super::body::Query;
use super::hosts::{Wanted, wanted};
use super::jobs::page;
use super::json::damaged;
use super::resolve::visible;
use crate::app::App;
use crate::clock;
use crate::jobs::book;
use crate::openapi::schema::page_limit;
use crate::openapi::shapes::CronEntry;
use crate::people::Principal;
use crate::problem::Problem;
use crate::store::cron::{CronFilter, CronRow, LastRun};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// A host's id or name.
    #[serde(default)]
    host: Option<String>,
    /// The entry's.
    #[serde(default)]
    name: Option<String>,
    /// How many.
    #[serde(default)]
    #[param(schema_with = page_limit)]
    limit: Option<u64>,
    /// `NAME/HOST` of the one that the page before ended with.
    #[serde(default)]
    after: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CronList)]
pub struct List {
    entries: Vec<View>,
    /// All there are, on whatever page.
    count: i64,
}

/// A cron entry of a host.
#[derive(Serialize, ToSchema)]
#[schema(as = CronOfHost)]
struct View {
    /// The host's id.
    host: String,
    /// The host's name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    /// As the host accepted or listed it: name, schedule, cmd, timezone and so on; of the times
    /// that it told (`next`) those that are still to come.
    #[serde(flatten)]
    #[schema(value_type = CronEntry)]
    entry: Map<String, Value>,
    /// The latest run that has ended.
    last: Option<LastView>,
    /// When the host accepted or listed it.
    #[schema(format = DateTime)]
    told: String,
}

/// A run that has ended.
#[derive(Serialize, ToSchema)]
#[schema(as = LastRun)]
struct LastView {
    /// Its job.
    job: String,
    /// What became of the job.
    state: String,
    /// The same as a number.
    retcode: i64,
    /// When the entry was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    scheduled: Option<String>,
    /// When it began, by the host's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    started: Option<String>,
    /// When it ended, by the host's clock.
    #[schema(format = DateTime)]
    ended: String,
}

/// What hosts accepted into their cron tables, by name and then by host.
#[utoipa::path(get, path = "/cron", tag = "cron", params(Filter),
    responses((status = 200, description = "A page of the entries.", body = List),
              (status = 409, description = "Several hosts have this name.")))]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Principal,
    Query(filter): Query<Filter>,
) -> Result<Json<List>, Problem> {
    let limit = page(filter.limit)?;
    let host = filter.host.as_deref().map(|text| wanted(&app, &who, text, Wanted::Field)).transpose()?;
    let hosts = if host.is_some() { None } else { visible(&app, &who.scope).await? };
    let after = filter.after.as_deref().map(after).transpose()?;
    book::store_all(&app.jobs, &app.store).await?;
    let wanted = CronFilter { host, hosts, name: filter.name.as_deref(), after, limit };
    let rows = app.store.list_cron(&wanted).await?;
    let count = app.store.count_cron(&wanted).await?;
    let entries = rows.into_iter().map(|row| view(&app, row)).collect::<Result<_, _>>()?;
    Ok(Json(List { entries, count }))
}

/// The place in a list by name and then by host.
pub(super) fn after(text: &str) -> Result<(&str, Uuid), Problem> {
    let pair = text.split_once('/').and_then(|(name, host)| Some((name, Uuid::parse_str(host).ok()?)));
    pair.ok_or_else(|| Problem::field("after", "after: must be NAME/HOST, with the host's id"))
}

fn view(app: &App, row: CronRow) -> Result<View, Problem> {
    let mut entry: Map<String, Value> =
        serde_json::from_str(&row.entry).map_err(|error| damaged(&row.name, &error))?;
    // The host's own word on it, from the time when it was asked, is older than what came since.
    entry.remove("last");
    if let Some(Value::Array(next)) = entry.get_mut("next") {
        let now = clock::now();
        next.retain(|time| {
            time.as_str().is_none_or(|text| clock::of_rfc3339(text).is_none_or(|at| at > now))
        });
    }
    let id = Uuid::parse_str(&row.host).ok();
    let last = row.last.map(|last: LastRun| LastView {
        job: last.job,
        state: last.state,
        retcode: last.retcode,
        scheduled: last.scheduled.map(clock::rfc3339),
        started: last.started.map(clock::rfc3339),
        ended: clock::rfc3339(last.ended),
    });
    Ok(View {
        hostname: id.and_then(|id| app.directory.by_id(id)).and_then(|host| host.name()),
        host: row.host,
        entry,
        last,
        told: clock::rfc3339(row.told),
    })
}
