//! The audit log: who did what, from where, to which hosts, and how it ended.

use super::body::Query;
use super::hosts::{Wanted, wanted};
use super::jobs::page;
use super::json::damaged;
use crate::app::App;
use crate::clock;
use crate::openapi::schema::page_limit;
use crate::openapi::shapes::AuditedHost;
use crate::people::Principal;
use crate::people::audit::Entry;
use crate::problem::Problem;
use crate::store::audit::AuditFilter;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;

/// Which entries are wanted: those of which all that is said is so.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// A user, or `admin.token`.
    #[serde(default)]
    who: Option<String>,
    /// A host's id or name.
    #[serde(default)]
    host: Option<String>,
    /// RFC 3339: nothing that is older.
    #[serde(default)]
    since: Option<String>,
    /// How many.
    #[serde(default)]
    #[param(schema_with = page_limit)]
    limit: Option<u64>,
    /// The id that the page before ended with.
    #[serde(default)]
    before: Option<i64>,
}

/// The newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditList)]
pub struct List {
    entries: Vec<View>,
    /// On this page.
    count: usize,
}

/// One call that was to change something, or somebody who was not let in.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct View {
    /// Grows from one to the next.
    id: i64,
    /// When the call came.
    #[schema(format = DateTime)]
    at: String,
    /// The user, or who was claimed to be; empty: nobody.
    who: String,
    /// The access token that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// The address that the call came from.
    from: String,
    /// The call's HTTP method.
    method: String,
    /// The call's path.
    path: String,
    /// The method of a request to hosts; of other calls what changed, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<String>,
    /// The beginning of the request's parameters, without a login.
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<String>,
    /// The expression that selected the hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// How many hosts it was about.
    host_count: i64,
    /// The first of them: id and name.
    #[schema(value_type = Vec<AuditedHost>)]
    hosts: Box<RawValue>,
    /// The request's id: what became of it on each host is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    /// The answer's HTTP status; null: the caller left before it.
    status: Option<u16>,
}

/// Lists what was done, the newest first.
#[utoipa::path(get, path = "/audit", tag = "people", operation_id = "audit", params(Filter),
    responses((status = 200, description = "A page of the log.", body = List),
              (status = 409, description = "Several hosts have this name.")))]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Principal,
    Query(filter): Query<Filter>,
) -> Result<Json<List>, Problem> {
    let limit = page(filter.limit)?;
    let host = filter.host.as_deref().map(|text| wanted(&app, &who, text, Wanted::Field)).transpose()?;
    let since = filter.since.as_deref().map(since).transpose()?;
    // So that the list knows what its caller knows.
    app.audit.flush().await?;
    let wanted = AuditFilter { who: filter.who.as_deref(), host, since, before: filter.before, limit };
    let entries = app.store.list_audit(&wanted).await?;
    let entries = entries.into_iter().map(view).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(List { count: entries.len(), entries }))
}

fn since(text: &str) -> Result<clock::EpochMs, Problem> {
    let wrong = || Problem::field("since", format!("since: must be a time as RFC 3339 has it, got {text:?}"));
    clock::of_rfc3339(text).ok_or_else(wrong)
}

fn view(entry: Entry) -> Result<View, Problem> {
    Ok(View {
        hosts: RawValue::from_string(entry.named).map_err(|error| damaged(&entry.id.to_string(), &error))?,
        id: entry.id,
        at: clock::rfc3339(entry.at),
        who: entry.who,
        token: entry.token,
        from: entry.peer,
        method: entry.method,
        path: entry.path,
        what: entry.what,
        params: entry.detail,
        target: entry.target,
        host_count: entry.hosts,
        request: entry.request,
        status: entry.status,
    })
}
