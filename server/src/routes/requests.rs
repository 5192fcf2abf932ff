//! Requests to hosts as they are made, and their answers.

use super::answer::{Answer, NDJSON, given, streamed};
use super::body::Object;
use super::guard::may_send;
use super::json::{blame, typed};
use super::resolve::{Resolved, resolve};
use super::rollout::{Asked, check_confirmed};
use super::sight;
use crate::agents::dispatch::{Watch, dispatch};
use crate::agents::rollout::{self, Sending};
use crate::app::{App, STOPPING};
use crate::clock;
use crate::hosts::{Host, Term, check_word};
use crate::jobs::Follow;
use crate::limits::{DEADLINE_SECONDS, MAX_HOSTS_PER_REQUEST};
use crate::openapi::shapes::NewRequest;
use crate::people::{Principal, note::Note};
use crate::problem::Problem;
use crate::queue::courier;
use crate::requests::rollout::Plan;
use crate::requests::{Head, Live, Settled, Target, call, hex, login};
use aspire_wire::job::{DEFAULT_TTL_SECONDS, TTL_SECONDS};
use aspire_wire::request::MAX_ID_BYTES;
use aspire_wire::{CallError, MAX_FRAME_BYTES, Request};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// What the body says to the server; the rest of it is for the agents.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    hosts: Vec<String>,
    /// An expression that selects hosts.
    #[serde(default)]
    target: Option<String>,
    /// Seconds.
    #[serde(default)]
    deadline: Option<u64>,
    /// Whether it waits for hosts that are offline.
    #[serde(default)]
    queue: bool,
}

/// Methods whose `ttl` is the job's and goes to the hosts.
const WITH_OWN_TTL: [&str; 2] = ["async.bash", "cron.set"];

/// What hosts take note of, and get to later.
const DAEMON_METHODS: &str = "daemon.";

/// A call that was checked, and not begun.
pub(super) struct Checked {
    pub head: Head,
    /// The caller chose the id: it may be known.
    pub chosen: bool,
    pub frame: Bytes,
    pub targets: Vec<Target>,
    pub hosts: Vec<Option<Arc<Host>>>,
    /// How long each host has for its answer.
    pub term: Term,
}

/// Asks hosts to do something, and answers with what became of it.
///
/// Answers when every host has its final state or, with `Accept: application/x-ndjson`, with an `Entry` a
/// line as they come; where the command was asked to `stream` also with pieces of its output, which have
/// `"method": "output"`, `stream`, `data` and, where they are not UTF-8, `encoding`. Of a rollout a line with
/// `"method": "begun"` tells of each host that is begun, and if it ends before all of them are, one with
/// `"method": "stopped"` says why.
#[utoipa::path(post, path = "/requests", tag = "requests", request_body = NewRequest,
    responses(
        (status = 200, description = "Every host has its final state.",
         content((Answer = "application/json"), (String = "application/x-ndjson")),
         headers(("request-id" = String, description = "The request's id."),
                 ("request-hosts" = u64, description = "How many hosts it is for."))),
        (status = 409, description = "The id belongs to another request.")))]
pub async fn create(
    State(app): State<Arc<App>>,
    who: Principal,
    note: Note,
    headers: HeaderMap,
    Object(mut body): Object,
) -> Result<Response, Problem> {
    let stream = headers.get_all(header::ACCEPT).iter().any(|accept| {
        let media = accept.to_str().unwrap_or_default().split(',');
        media.map(|media| media.split(';').next().unwrap_or_default().trim()).any(|media| media == NDJSON)
    });
    let asked = Asked::take(&mut body)?;
    let checked = check(&app, &who, &note, body, &asked).await?;
    note.request(&checked.head);
    note.hosts(&checked.targets);
    let first = |checked: Checked| {
        Resolved::check(&checked.targets)?;
        check_confirmed(&app, asked.confirm(), checked.targets.len())?;
        begin(&app, checked)
    };
    let (request, watch) = if checked.chosen {
        let _alone = app.requests.choosing.lock().await;
        if let Some(live) = app.requests.find(&checked.head.id) {
            let by = (Some(&*live.head.who), live.head.created);
            let seen = sight::sees(&app, &who, by, &live.targets).await;
            same(&checked.head, &live.head.digest, seen)?;
            (live, None)
        } else if let Some(stored) = app.store.find_request(&checked.head.id).await? {
            let by = (stored.summary.who.as_deref(), stored.summary.created);
            let seen = sight::sees(&app, &who, by, &stored.targets).await;
            same(&checked.head, &stored.digest, seen)?;
            let stopped = stored.summary.stopped.clone();
            let entries = stored.all_entries();
            return Ok(given(&checked.head.id, &entries, stopped.as_ref(), stream));
        } else {
            first(checked)?
        }
    } else {
        first(checked)?
    };
    // It is on its way: whoever asked for it may hang up long before the last host has answered.
    note.end(StatusCode::OK.as_u16());
    if stream && !request.is_finished() {
        return Ok(streamed(request));
    }
    match watch {
        Some(watch) => watch.end().await,
        None => request.ended().await,
    }
    let (settled, _) = request.results();
    let entries: Vec<_> = settled.iter().map(Settled::json).collect();
    Ok(given(&request.head.id, &entries, request.stopped().as_ref(), stream))
}

/// 409 unless the known request of this id is the same one, and he may see it.
fn same(asked: &Head, known_digest: &str, seen: bool) -> Result<(), Problem> {
    if asked.digest == known_digest && seen {
        return Ok(());
    }
    let reason = format!("the id {} belongs to another request; choose another or none", asked.id);
    Err(Problem::new(StatusCode::CONFLICT, reason))
}

pub(super) fn begin(app: &Arc<App>, checked: Checked) -> Result<(Arc<Live>, Option<Watch>), Problem> {
    let Checked { head, frame, targets, hosts, term, .. } = checked;
    let (waits, plan) = (head.waits, head.rollout);
    let request = app.requests.start(head, targets)?;
    // Asked now that the request is known, or whoever stops the server might not see it.
    if app.is_stopping() {
        request.shut_down(STOPPING);
        return Ok((request, None));
    }
    if let Some(plan) = plan {
        rollout::begin(app, &request, plan, Sending { frame, hosts, term });
        return Ok((request, None));
    }
    let (watch, offline) = dispatch(app, &request, &frame, hosts);
    if let Some(until) = waits.filter(|_| !offline.is_empty()) {
        // Whoever called may leave; what waits must not be half in the database.
        tokio::spawn(courier::queue_up(app.clone(), request.clone(), offline, until));
    }
    Ok((request, Some(watch)))
}

/// Sends the hosts the wish that they cancel what they have begun of the request `id`. Each has its
/// own time for that, and the whole ends by itself.
pub(super) fn to_cancel(
    app: &Arc<App>,
    who: &Principal,
    id: &str,
    asked: &[Uuid],
) -> Result<Arc<Live>, Problem> {
    let body: Map<_, _> = [("job".to_owned(), Value::from(id))].into_iter().collect();
    let own = Uuid::new_v4().to_string();
    let params = serde_json::to_string(&body).expect("JSON values always serialise");
    let mut call = body;
    call.insert("method".into(), "job.cancel".into());
    let frame = call::frame(&own, &call);
    let hosts: Vec<_> = asked.iter().map(|host| app.directory.by_id(*host)).collect();
    let target = |(id, host): (&Uuid, &Option<Arc<Host>>)| Target {
        host: id.to_string(),
        name: host.as_ref().and_then(|host| host.name()),
    };
    let targets: Vec<Target> = asked.iter().zip(&hosts).map(target).collect();
    let names: Vec<String> = asked.iter().map(Uuid::to_string).collect();
    let patience = hosts.iter().flatten().map(|host| host.state().greeting.patience.until_cancelled()).max();
    let created = clock::now();
    let head = Head {
        digest: digest("job.cancel", &params, &names, None, None, None),
        id: own.into(),
        who: who.name.clone(),
        method: "job.cancel".into(),
        cmd: None,
        target: None,
        rollout: None,
        params,
        url: None,
        stream: false,
        follow: None,
        waits: None,
        created,
        deadline: created + clock::ms(patience.unwrap_or_default()),
    };
    let term = Term::AtOnce;
    let (request, watch) = begin(app, Checked { head, chosen: false, frame, targets, hosts, term })?;
    // Whoever asked may leave.
    drop(watch);
    Ok(request)
}

/// Reads the body into what is sent, or says which field is to blame.
async fn check(
    app: &Arc<App>,
    who: &Principal,
    note: &Note,
    mut body: Map<String, Value>,
    asked: &Asked,
) -> Result<Checked, Problem> {
    let mut envelope = Map::new();
    for key in ["id", "hosts", "target", "deadline", "queue"] {
        envelope.extend(body.remove_entry(key));
    }
    let Envelope { id, hosts: named, target, deadline, queue } = typed(envelope)?;
    note.asked(&body, &named, target.as_deref());
    if named.len() > MAX_HOSTS_PER_REQUEST {
        let reason = format!("hosts: must be at most {MAX_HOSTS_PER_REQUEST} hosts, got {}", named.len());
        return Err(Problem::field("hosts", reason));
    }
    let ttl = seconds_to_wait(queue, asked.is_rollout(), &mut body)?;
    let waits = ttl.filter(|_| queue);
    let chosen = id.is_some();
    let id = checked_id(id)?;
    let frame = call::frame(&id, &body);
    if frame.len() > MAX_FRAME_BYTES {
        let reason = format!("the request is {} bytes for the hosts, at most {MAX_FRAME_BYTES}", frame.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
    }
    check_call(&frame)?;
    let Some(Value::String(method)) = body.remove("method") else {
        return Err(Problem::field("method", "method: must be a string"));
    };
    check_word(&method).map_err(|reason| Problem::field("method", format!("method: {reason}")))?;
    may_send(who, &method)?;
    let params = serde_json::to_string(&body).expect("JSON values always serialise");
    let digest = digest(&method, &params, &named, target.as_deref(), ttl, asked.digested());
    let (params, url) = match login::hide(&method, &mut body) {
        Some(url) => (serde_json::to_string(&body).expect("JSON values always serialise"), Some(url)),
        None => (params, None),
    };
    let created = clock::now();
    let after = |seconds| created + clock::ms(Duration::from_secs(seconds));
    let Resolved { targets, hosts } = resolve(app, &who.scope, &named, target.as_deref()).await?;
    let follow = Follow::of(&method, &body);
    let term = term(&method, follow.is_some(), &body);
    let rollout = asked.plan(hosts.len(), ttl);
    let deadline = after(deadline_seconds(deadline, term, rollout, &hosts)?);
    let cmd = body.get("cmd").and_then(Value::as_str).map(str::to_owned);
    let stream = body.get("stream") == Some(&Value::Bool(true));
    let waits = waits.map(after);
    let url = url.filter(|_| waits.is_some());
    let head = Head {
        id: id.into(),
        who: who.name.clone(),
        method,
        cmd,
        target,
        rollout,
        params,
        url,
        stream,
        follow,
        waits,
        digest,
        created,
        deadline,
    };
    Ok(Checked { head, chosen, frame, targets, hosts, term })
}

/// What hosts only take note of they answer at once.
fn term(method: &str, is_followed: bool, body: &Map<String, Value>) -> Term {
    if is_followed || method.starts_with(DAEMON_METHODS) {
        return Term::AtOnce;
    }
    Term::Command { timeout: body.get("timeout").and_then(Value::as_u64) }
}

/// The caller's id, or one that is made for it.
pub(super) fn checked_id(id: Option<String>) -> Result<String, Problem> {
    let id = id.unwrap_or_else(|| Uuid::new_v4().to_string());
    if id.len() > MAX_ID_BYTES || !id.bytes().all(|b| b.is_ascii_graphic()) || id.is_empty() {
        let reason = format!("id: must be 1 to {MAX_ID_BYTES} printable ASCII characters without spaces");
        return Err(Problem::field("id", reason));
    }
    Ok(id)
}

/// How long the request waits for each host, if it does: for its link, or for its turn. A `ttl` that
/// is not the job's own is for the server alone.
fn seconds_to_wait(
    queue: bool,
    rollout: bool,
    body: &mut Map<String, Value>,
) -> Result<Option<u64>, Problem> {
    if queue && rollout {
        let reason =
            "queue: a rollout does not wait for hosts that are offline: they would not keep to its batch";
        return Err(Problem::field("queue", reason));
    }
    let default = queue.then_some(DEFAULT_TTL_SECONDS);
    let method = body.get("method").and_then(Value::as_str).unwrap_or_default();
    let ttl = match method {
        own if WITH_OWN_TTL.contains(&own) => {
            // The entry's runs have it, not its way to the host. A wrong one the wire will find.
            let told = body.get("ttl").and_then(Value::as_u64).filter(|_| own == "async.bash");
            return Ok(default.map(|default| told.unwrap_or(default)));
        }
        _ => body.remove("ttl"),
    };
    let Some(ttl) = ttl else { return Ok(default) };
    let (least, most) = (*TTL_SECONDS.start(), *TTL_SECONDS.end());
    let reason = match ttl.as_u64() {
        _ if !queue && !rollout => {
            "ttl: is for a job, for a request with \"queue\": true or for one with a batch".to_owned()
        }
        Some(seconds) if TTL_SECONDS.contains(&seconds) => return Ok(Some(seconds)),
        _ => format!("ttl: must be {least} to {most} seconds, got {ttl}"),
    };
    Err(Problem::field("ttl", reason))
}

/// Reads the frame as the agents of this version will. They may be newer than
/// the server, so a method that is not known passes.
fn check_call(frame: &Bytes) -> Result<(), Problem> {
    let line = &frame[..frame.len() - 1];
    match Request::parse(line).map_err(|error| blame(&error.to_string()))? {
        Ok(_) => Ok(()),
        Err(rejected) => match rejected.error {
            CallError::UnknownMethod(_) => Ok(()),
            CallError::Malformed(reason) | CallError::InvalidParams(reason) => Err(blame(&reason)),
        },
    }
}

/// What was asked for, or what suits the most patient of the hosts: of a rollout, as often as there are
/// hosts one after the other.
fn deadline_seconds(
    asked: Option<u64>,
    term: Term,
    rollout: Option<Plan>,
    hosts: &[Option<Arc<Host>>],
) -> Result<u64, Problem> {
    let (least, most) = (*DEADLINE_SECONDS.start(), *DEADLINE_SECONDS.end());
    let Some(seconds) = asked else {
        let answers = hosts.iter().flatten().map(|host| host.state().greeting.patience.answer(term));
        let answer = answers.max().unwrap_or(least);
        let Some(plan) = rollout else { return Ok(answer.clamp(least, most)) };
        let whole = plan.rounds(hosts.len()).saturating_mul(answer.saturating_add(plan.pause.into()));
        if whole > most {
            let reason = format!(
                "deadline: this rollout may need {whole} seconds, more than the {most} that a request has at \
                 most: choose a larger batch, a shorter pause or a shorter timeout, or say by which deadline \
                 it ends, done or not"
            );
            return Err(Problem::field("deadline", reason));
        }
        return Ok(whole.max(least));
    };
    if DEADLINE_SECONDS.contains(&seconds) {
        return Ok(seconds);
    }
    let reason = format!("deadline: must be {least} to {most} seconds, got {seconds}");
    Err(Problem::field("deadline", reason))
}

/// The same again is the same request, in whatever order its keys stand.
fn digest(
    method: &str,
    params: &str,
    hosts: &[String],
    target: Option<&str>,
    ttl: Option<u64>,
    rollout: Option<String>,
) -> String {
    let parts = match (target, ttl, rollout) {
        (None, None, None) => serde_json::to_vec(&(method, params, hosts)),
        (None, Some(seconds), None) => serde_json::to_vec(&(method, params, hosts, seconds)),
        (Some(target), ttl, None) => serde_json::to_vec(&(method, params, hosts, ttl, target)),
        (target, ttl, Some(rollout)) => serde_json::to_vec(&(method, params, hosts, ttl, target, rollout)),
    };
    hex(&Sha256::digest(parts.expect("strings always serialise")))
}
