//! The inventory.

use super::body::{Path, Query, Typed};
use super::resolve::{all, selected};
use super::tokens::check_settings;
use crate::app::App;
use crate::clock;
use crate::hosts::{Conflict, Facts, Found, Host, Status, Tags};
use crate::jobs::removal::host_removed;
use crate::openapi::schema::{optional_tags, optional_word};
use crate::openapi::shapes::HostFacts;
use crate::people::Principal;
use crate::people::note::Note;
use crate::pki::Certificate;
use crate::problem::Problem;
use crate::requests::Target;
use crate::unbroken::to_the_end;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

/// One host, with the values that count.
#[derive(Serialize, ToSchema)]
#[schema(as = Host)]
pub struct View {
    /// A UUID, which the server chose at the enrolment.
    id: String,
    /// What the agent calls itself; empty where it said nothing.
    name: String,
    /// `unknown` where nobody said.
    region: String,
    /// Those of the operator and those of the agent.
    #[schema(value_type = BTreeMap<String, String>)]
    tags: Tags,
    status: Status,
    /// The agent's.
    version: String,
    /// The one that it was last seen at.
    address: String,
    /// The last sign of life.
    #[schema(format = DateTime)]
    last_seen: Option<String>,
    /// When it was enrolled.
    #[schema(format = DateTime)]
    created: String,
    /// The kernel's boot id.
    #[serde(skip_serializing_if = "String::is_empty")]
    boot: String,
    /// What the host showed last, or was given since.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateView>,
    /// Two machines share the identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<ConflictView>,
    /// What the host tells of itself, by section.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<HostFacts>)]
    facts: Option<Facts>,
}

/// A host's certificate.
#[derive(Serialize, ToSchema)]
#[schema(as = Certificate)]
struct CertificateView {
    /// When it ends, RFC 3339. It is renewed before that, while the host is online.
    #[schema(format = DateTime)]
    expires: String,
    /// Its number, in hexadecimal.
    serial: String,
}

/// Two machines that share an identity.
#[derive(Serialize, ToSchema)]
#[schema(as = Conflict)]
struct ConflictView {
    /// When it was found out.
    #[schema(format = DateTime)]
    since: String,
    /// Their addresses.
    peers: [String; 2],
}

/// The host of a path.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes what is read as a string")]
pub(super) struct HostPath {
    /// A host's id, or its name where no other host has it.
    id: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = HostList)]
pub struct List {
    hosts: Vec<View>,
    /// How many.
    count: usize,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// An expression: only the hosts that it selects.
    #[serde(default)]
    target: Option<String>,
    /// Whether each host's facts are shown, too.
    #[serde(default)]
    facts: bool,
}

/// What is to be settled of a host; what is absent stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = HostChange, examples(json!({"region": "cn-1", "tags": {"svc": "ecs"}})))]
pub struct Change {
    #[serde(default)]
    #[schema(schema_with = region)]
    region: Setting<String>,
    #[serde(default)]
    #[schema(schema_with = tags)]
    tags: Setting<Tags>,
}

fn region() -> RefOr<Schema> {
    optional_word("Wins over the agent's own; `null` lets that count again.")
}

fn tags() -> RefOr<Schema> {
    optional_tags("Each wins over the agent's own of the same name; `null` lets those alone count again.")
}

/// What a change says of one value.
#[derive(Default)]
pub(super) enum Setting<T> {
    /// The key is absent.
    #[default]
    Keep,
    /// `null`: as if it had never been set.
    Clear,
    Set(T),
}

/// The inventory: every host, or those that an expression selects.
#[utoipa::path(get, path = "/hosts", tag = "hosts", params(Filter),
    responses((status = 200, description = "The hosts, by name.", body = List)))]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Principal,
    Query(filter): Query<Filter>,
) -> Result<Json<List>, Problem> {
    let hosts = match &filter.target {
        Some(target) => selected(&app, &who.scope, target).await?,
        None => all(&app, &who.scope).await,
    };
    let view = if filter.facts { full_view } else { view };
    let hosts: Vec<_> = hosts.iter().map(|host| view(host)).collect();
    Ok(Json(List { count: hosts.len(), hosts }))
}

/// One host with what it tells of itself.
#[utoipa::path(get, path = "/hosts/{id}", tag = "hosts", params(HostPath),
    responses((status = 200, description = "The host.", body = View),
              (status = 409, description = "Several hosts have this name.")))]
pub async fn show(
    State(app): State<Arc<App>>,
    who: Principal,
    Path(id): Path,
) -> Result<Json<View>, Problem> {
    Ok(Json(full_view(&*find(&app, &who, &id)?)))
}

/// Settles a host's region and tags.
#[utoipa::path(patch, path = "/hosts/{id}", tag = "hosts", params(HostPath), request_body = Change,
    responses((status = 200, description = "The host as it is now.", body = View),
              (status = 409, description = "Several hosts have this name.")))]
pub async fn change(
    State(app): State<Arc<App>>,
    who: Principal,
    note: Note,
    Path(id): Path,
    Typed(change): Typed<Change>,
) -> Result<Json<View>, Problem> {
    let host = find(&app, &who, &id)?;
    note.hosts(&[of(&host)]);
    note.what(change.words());
    to_the_end(async move {
        let _alone = app.directory.settling.lock().await;
        let mut settings = host.state().settings.clone();
        change.region.apply(&mut settings.region);
        change.tags.apply(&mut settings.tags);
        check_settings(&settings)?;
        app.store.write_host_settings(host.id, &settings, clock::now()).await?;
        app.directory.settle(&host, settings);
        Ok(Json(full_view(&host)))
    })
    .await
}

/// Revokes a host: it is refused from now on, whatever certificate it shows.
#[utoipa::path(delete, path = "/hosts/{id}", tag = "hosts", params(HostPath),
    responses((status = 204, description = "It is gone."),
              (status = 409, description = "Several hosts have this name.")))]
pub async fn revoke(
    State(app): State<Arc<App>>,
    who: Principal,
    note: Note,
    Path(id): Path,
) -> Result<StatusCode, Problem> {
    let host = find(&app, &who, &id)?;
    note.hosts(&[of(&host)]);
    note.what("the host is revoked");
    to_the_end(async move {
        app.store.revoke_host(host.id, clock::now()).await?;
        // In this order: a link that begins meanwhile sees the one or the other.
        app.directory.remove(&host);
        app.hub.end(host.id, "this host was revoked");
        host_removed(&app.jobs, &app.store, &host).await?;
        app.store.forget_boot_jobs_of(host.id, clock::now()).await?;
        tracing::info!(host = %host.id, "host revoked");
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// The host that the path names.
pub(super) fn find(app: &App, who: &Principal, text: &str) -> Result<Arc<Host>, Problem> {
    match who.scope.find(&app.directory, text) {
        Found::One(host) => Ok(host),
        Found::Nothing => Err(Problem::not_found(format!("there is no host {text}"))),
        Found::Several(ids) => Err(Problem::new(StatusCode::CONFLICT, several(text, &ids))),
    }
}

/// Where a call names a host, for what is wrong with it to be said there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// In the field `host` of its query.
    Field,
    Path,
}

/// The id of a host whose past is asked for: it may have been revoked, and then only its id is known,
/// by which nobody who is limited to some hosts can be let at it.
pub(super) fn wanted(app: &App, who: &Principal, text: &str, place: Wanted) -> Result<uuid::Uuid, Problem> {
    let unknown = format!("there is no host {text}");
    match (who.scope.find(&app.directory, text), uuid::Uuid::parse_str(text), place) {
        (Found::One(host), ..) => Ok(host.id),
        (Found::Nothing, Ok(id), _) if who.scope.is_whole() => Ok(id),
        (Found::Nothing, _, Wanted::Field) => Err(Problem::field("host", format!("host: {unknown}"))),
        (Found::Nothing, _, Wanted::Path) => Err(Problem::not_found(unknown)),
        (Found::Several(ids), ..) => Err(Problem::new(StatusCode::CONFLICT, several(text, &ids))),
    }
}

/// What to say of a name that is not one host's alone.
pub(super) fn several(name: &str, ids: &[uuid::Uuid]) -> String {
    let ids: Vec<_> = ids.iter().map(uuid::Uuid::to_string).collect();
    format!("{} hosts are called {name}: {}; use the id", ids.len(), ids.join(", "))
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Setting<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(|value| value.map_or(Setting::Clear, Setting::Set))
    }
}

impl<T> Setting<T> {
    pub fn apply(self, to: &mut Option<T>) {
        match self {
            Setting::Keep => {}
            Setting::Clear => *to = None,
            Setting::Set(value) => *to = Some(value),
        }
    }
}

impl Change {
    /// For the audit log.
    fn words(&self) -> String {
        let region = match &self.region {
            Setting::Keep => None,
            Setting::Clear => Some("the region is the agent's own".to_owned()),
            Setting::Set(region) => Some(format!("region {region:?}")),
        };
        let tags = match &self.tags {
            Setting::Keep => None,
            Setting::Clear => Some("the tags are the agent's own".to_owned()),
            Setting::Set(tags) => Some(format!("tags {tags:?}")),
        };
        region.into_iter().chain(tags).collect::<Vec<_>>().join(", ")
    }
}

fn of(host: &Host) -> Target {
    Target { host: host.id.to_string(), name: host.name() }
}

fn full_view(host: &Host) -> View {
    let facts = host.state().facts.clone();
    View { facts: Some(facts), ..view(host) }
}

fn view(host: &Host) -> View {
    let state = host.state();
    let conflict = state.boots.conflict(clock::now()).map(|Conflict { since, peers, .. }| ConflictView {
        since: clock::rfc3339(*since),
        peers: peers.map(|peer| peer.to_string()),
    });
    let certificate = state.certificate.as_ref().map(|Certificate { expires, serial }| CertificateView {
        expires: clock::rfc3339(*expires),
        serial: serial.clone(),
    });
    View {
        id: host.id.to_string(),
        name: state.greeting.name.clone(),
        region: state.region().to_owned(),
        tags: state.tags(),
        status: state.status,
        version: state.greeting.version.clone(),
        address: state.greeting.address.clone(),
        last_seen: host.last_seen().map(clock::rfc3339),
        created: clock::rfc3339(host.created),
        boot: state.greeting.boot.clone(),
        certificate,
        conflict,
        facts: None,
    }
}
