//! A new job of boot.

use super::jobs::{View, shown};
use crate::app::App;
use crate::boot::{JobState, catalogue, text};
use crate::clock;
use crate::limits::{
    BATCH_HOSTS, BOOT_TTL_SECONDS, DEFAULT_BOOT_TTL_SECONDS, MAX_BOOT_JOB_BYTES, MAX_ERRORS_HOSTS,
    MAX_HOSTS_PER_REQUEST, MAX_OPEN_BOOT_JOBS,
};
use crate::openapi::shapes::NewBootJob;
use crate::people::Principal;
use crate::people::note::Note;
use crate::problem::Problem;
use crate::requests::login::hide_of_url;
use crate::requests::{Target, hex};
use crate::routes::body::Object;
use crate::routes::guard::may_send;
use crate::routes::json::{blame, typed};
use crate::routes::requests::checked_id;
use crate::routes::resolve::{Resolved, resolve};
use crate::routes::rollout::{Share, check_confirmed, check_share};
use crate::routes::sight;
use crate::store::boot_jobs::{BootJobRow, JobRefused, Summary};
use crate::unbroken::to_the_end;
use aspire_wire::boot::{Action, BOOT_NAMES, BootJob};
use aspire_wire::server_list::Server;
use aspire_wire::session::DEFAULT_PORT;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// What the body says to the server; the rest of it is for the hosts.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    hosts: Vec<String>,
    /// An expression that selects hosts.
    #[serde(default)]
    target: Option<String>,
    /// The most hosts that have it at once.
    #[serde(default)]
    batch: Option<Share>,
    /// The most that may fail.
    #[serde(default)]
    max_errors: Option<Share>,
    /// Seconds until which a host must have fetched it.
    #[serde(default)]
    ttl: Option<u64>,
    /// How many hosts the caller says it is for.
    #[serde(default)]
    confirm: Option<u64>,
}

const ENVELOPE: [&str; 7] = ["id", "hosts", "target", "batch", "max_errors", "ttl", "confirm"];
/// What the catalogue knows, where nobody says where the package is.
const OF_PACKAGES: [&str; 2] = ["install", "upgrade"];

/// A job that was made.
#[derive(Serialize, ToSchema)]
#[schema(as = BootJobCreated)]
pub struct Created {
    #[serde(flatten)]
    job: View,
    /// How many hosts it is for.
    #[schema(minimum = 0)]
    count: i64,
}

/// Has boot do something on hosts, as soon as each reports.
///
/// A package that the body does not say the URL of is the catalogue's: the newest of the agent's name, or the
/// `version` that is asked for, as it is now; of its files each host gets one that it takes.
#[utoipa::path(post, path = "/boot/jobs", tag = "boot", operation_id = "create_job",
    request_body = NewBootJob,
    responses((status = 202, description = "It is on disk. Sent again with the same id, it is the same job.",
               body = Created),
              (status = 409, description = "The id belongs to another job, or too many are open.")))]
pub async fn create(
    State(app): State<Arc<App>>,
    who: Principal,
    note: Note,
    Object(mut body): Object,
) -> Result<(StatusCode, Json<Created>), Problem> {
    let mut envelope = Map::new();
    for key in ENVELOPE {
        envelope.extend(body.remove_entry(key));
    }
    let mut envelope: Envelope = typed(envelope)?;
    let chosen = envelope.id.is_some();
    let id = checked_id(envelope.id.take())?;
    let asked = noted(&note, &body, &envelope, &id);
    check_envelope(&envelope)?;
    may_send(&who, &asked)?;
    let digest = digest(&body, &envelope);
    if chosen && let Some(known) = app.store.find_boot_job(&id).await? {
        return same(&app, &who, known, &digest).await;
    }
    body.insert("id".into(), id.as_str().into());
    let (job, version) = job(&app, &who, body, digest).await?;
    let Resolved { targets, hosts } =
        resolve(&app, &who.scope, &envelope.hosts, envelope.target.as_deref()).await?;
    if let Some(n) = hosts.iter().position(Option::is_none) {
        let field = format!("hosts[{n}]");
        let reason = format!("{field}: there is no host {}", targets[n].host);
        return Err(Problem::field(field, reason));
    }
    note.hosts(&targets);
    Resolved::check(&targets)?;
    check_confirmed(&app, envelope.confirm, targets.len())?;
    let job = for_hosts(job, version, &envelope, targets.len());
    insert(app, who, job, targets).await
}

/// Says in the audit log what is asked for, and answers with the name by which somebody may ask for it.
fn noted(note: &Note, body: &Map<String, Value>, envelope: &Envelope, id: &str) -> String {
    let method = format!("boot.{}", body.get("action").and_then(Value::as_str).unwrap_or_default());
    let mut asked = body.clone();
    hide_of_url(&mut asked);
    asked.insert("method".into(), method.as_str().into());
    asked.insert("id".into(), id.into());
    note.asked(&asked, &envelope.hosts, envelope.target.as_deref());
    method
}

fn check_envelope(envelope: &Envelope) -> Result<(), Problem> {
    let Envelope { hosts, batch, max_errors, ttl, .. } = envelope;
    if hosts.len() > MAX_HOSTS_PER_REQUEST {
        let reason = format!("hosts: must be at most {MAX_HOSTS_PER_REQUEST} hosts, got {}", hosts.len());
        return Err(Problem::field("hosts", reason));
    }
    check_share("batch", *batch, &BATCH_HOSTS, 1)?;
    check_share("max_errors", *max_errors, &MAX_ERRORS_HOSTS, 0)?;
    match ttl {
        Some(seconds) if !BOOT_TTL_SECONDS.contains(seconds) => {
            let (least, most) = (BOOT_TTL_SECONDS.start(), BOOT_TTL_SECONDS.end());
            Err(Problem::field("ttl", format!("ttl: must be {least} to {most} seconds, got {seconds}")))
        }
        _ => Ok(()),
    }
}

/// The job as its hosts get it, checked as they will, with the files that the catalogue has for them; and
/// which version that is. What is not known yet is empty.
async fn job(
    app: &App,
    who: &Principal,
    mut body: Map<String, Value>,
    digest: String,
) -> Result<(BootJobRow, Option<String>), Problem> {
    let word = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (id, action, name) = (word("id"), word("action"), word("name"));
    let mut files = Vec::new();
    if OF_PACKAGES.contains(&&*action) && !body.contains_key("url") {
        if body.contains_key("checksum") {
            let reason = "checksum: is the catalogue's own where the body has no url";
            return Err(Problem::field("checksum", reason));
        }
        let version = body.get("version").and_then(Value::as_str);
        check_as_if_there_were_one(&body)?;
        files = catalogue::files(&app.store, &name, version).await?;
        if files.is_empty() {
            let version = version.map(|version| format!(" {version}")).unwrap_or_default();
            let reason = format!("name: the catalogue of plugins has no package of {name}{version}");
            return Err(Problem::field("name", format!("{reason}: add one, or say its url")));
        }
    }
    let url = hide_of_url(&mut body);
    let summary = Summary {
        id,
        action,
        name,
        version: None,
        who: who.name.to_string(),
        target: None,
        hosts: 0,
        batch: None,
        max_errors: None,
        expires: 0,
        state: JobState::Open,
        created: clock::now(),
    };
    let job = Value::Object(body).to_string();
    let row = BootJobRow { summary, digest, job, url, files, timeout: 0 };
    checked(row)
}

/// A job without a package would be told of that first.
fn check_as_if_there_were_one(body: &Map<String, Value>) -> Result<(), Problem> {
    let mut body = body.clone();
    body.insert("url".into(), "/packages/some.deb".into());
    body.entry("version").or_insert_with(|| "1".into());
    parse(&Value::Object(body).to_string()).map(drop)
}

/// As hosts will: with each of its files.
fn checked(mut row: BootJobRow) -> Result<(BootJobRow, Option<String>), Problem> {
    let ways: Vec<_> = match row.files.len() {
        0 => vec![None],
        files => (0..files).map(Some).collect(),
    };
    let mut first = None;
    for file in ways {
        let text = text(&row, file).ok_or_else(|| blame("the job is no JSON object"))?;
        if text.get().len() > MAX_BOOT_JOB_BYTES {
            let reason =
                format!("the job is {} bytes for the hosts, at most {MAX_BOOT_JOB_BYTES}", text.get().len());
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
        }
        let job = parse(text.get())?;
        first.get_or_insert(job);
    }
    let job = first.expect("there is one way at least");
    row.timeout = i64::try_from(job.timeout).unwrap_or(i64::MAX);
    // What is about boot is called by its name.
    if job.action.agent().is_none() {
        BOOT_NAMES[0].clone_into(&mut row.summary.name);
    }
    let version = version(&job.action);
    Ok((row, version))
}

fn parse(text: &str) -> Result<BootJob, Problem> {
    BootJob::parse(text).map_err(|bad| blame(&bad.reason))
}

fn version(action: &Action) -> Option<String> {
    let (Action::Install(wish) | Action::Upgrade(wish) | Action::UpgradeBoot(wish)) = action else {
        return None;
    };
    let somewhere = Server { host: "localhost".into(), port: DEFAULT_PORT };
    wish.definition(None, &somewhere).ok().map(|init| init.version)
}

fn for_hosts(mut row: BootJobRow, version: Option<String>, envelope: &Envelope, hosts: usize) -> BootJobRow {
    let ttl = Duration::from_secs(envelope.ttl.unwrap_or(DEFAULT_BOOT_TTL_SECONDS));
    let summary = &mut row.summary;
    summary.version = version;
    summary.target.clone_from(&envelope.target);
    summary.hosts = i64::try_from(hosts).unwrap_or(i64::MAX);
    summary.batch = envelope.batch.map(|share| share.of(hosts).max(1).into());
    summary.max_errors = envelope.max_errors.map(|share| share.of(hosts).into());
    summary.expires = summary.created + clock::ms(ttl);
    row
}

async fn insert(
    app: Arc<App>,
    who: Principal,
    row: BootJobRow,
    targets: Vec<Target>,
) -> Result<(StatusCode, Json<Created>), Problem> {
    to_the_end(async move {
        let hosts: Vec<_> = targets.into_iter().map(|target| target.host).collect();
        match app.store.insert_boot_job(&row, &hosts).await? {
            Ok(()) => {}
            Err(JobRefused::IsThere) => {
                let known = app.store.find_boot_job(&row.summary.id).await?;
                let known = known.ok_or_else(|| Problem::unavailable("the job was just forgotten"))?;
                return same(&app, &who, known, &row.digest).await;
            }
            Err(JobRefused::Full) => {
                let reason = format!("{MAX_OPEN_BOOT_JOBS} jobs of boot are open: cancel some first");
                return Err(Problem::new(StatusCode::CONFLICT, reason));
            }
        }
        let Summary { id, action, name, version, .. } = &row.summary;
        let count = hosts.len();
        tracing::info!(job = id, who = &*who.name, action, name, version, hosts = count, "boot job");
        created(&app, row.summary).await
    })
    .await
}

/// The same again is the same job; 409 where it is another, or one that he may not see.
async fn same(
    app: &Arc<App>,
    who: &Principal,
    known: BootJobRow,
    digest: &str,
) -> Result<(StatusCode, Json<Created>), Problem> {
    let summary = known.summary;
    let seen = known.digest == digest && {
        let targets = super::jobs::targets(app, &summary.id).await?;
        sight::sees(app, who, (Some(&summary.who), summary.created), &targets).await
    };
    if !seen {
        let reason = format!("the id {} belongs to another job; choose another or none", summary.id);
        return Err(Problem::new(StatusCode::CONFLICT, reason));
    }
    created(app, summary).await
}

async fn created(app: &App, summary: Summary) -> Result<(StatusCode, Json<Created>), Problem> {
    let count = summary.hosts;
    let job = shown(app, vec![summary]).await?.pop().expect("what is given is shown");
    Ok((StatusCode::ACCEPTED, Json(Created { job, count })))
}

fn digest(body: &Map<String, Value>, envelope: &Envelope) -> String {
    let Envelope { hosts, target, batch, max_errors, ttl, .. } = envelope;
    let [batch, max_errors] = [batch, max_errors].map(|share| share.map(|share| share.to_string()));
    let parts = serde_json::to_vec(&(body, hosts, target, batch, max_errors, ttl));
    hex(&Sha256::digest(parts.expect("JSON values always serialise")))
}
