//! What a host is told for its report: the jobs that it is to do. It is told of each again and again until it
//! says what became of it, so that an answer which is lost costs nothing.

use super::catalogue::{self, Takes};
use super::{HostState, JobState, WANTED, text};
use crate::app::App;
use crate::clock::{self, EpochMs};
use crate::hosts::Host;
use crate::limits::{
    BOOT_JOBS_LOOKED_THROUGH, BOOT_RESULT_LIMIT, BOOT_RESULT_SLACK, DEFAULT_BOOT_TTL_SECONDS,
    MAX_ANSWERED_JOBS_BYTES, WANTED_REASON_CHARS, WANTED_RETRY,
};
use crate::store::StoreError;
use crate::store::boot_job_hosts::{OpenRow, Place};
use crate::store::boot_jobs::{BootJobRow, Summary, Tried};
use aspire_wire::Retcode;
use aspire_wire::boot::{BootJob, DEFAULT_JOB_TIMEOUT_SECONDS, MAX_BOOT_JOBS, Status};
use serde_json::json;
use serde_json::value::RawValue;
use std::time::Duration;
use uuid::Uuid;

/// What the host asks for itself and is not under way becomes a job; where it cannot, the answer says why.
pub async fn want(app: &App, host: &Host, report: &Status, now: EpochMs) -> Result<Vec<String>, StoreError> {
    let mut refusals = Vec::new();
    if report.wanted.is_empty() {
        return Ok(refusals);
    }
    let takes = Takes::of(&report.version, &report.packages);
    let open = app.store.open_boot_jobs(host.id, BOOT_JOBS_LOOKED_THROUGH).await?;
    for (n, name) in report.wanted.iter().enumerate() {
        let names = catalogue::names(name);
        // Who takes it away does not want it.
        let is_open =
            |row: &OpenRow| ["install", "uninstall"].contains(&&*row.action) && names.contains(&&*row.name);
        // By whichever of its names, once is enough.
        let again = report.wanted[..n].iter().any(|before| names.contains(&&**before));
        if again || open.iter().any(is_open) {
            continue;
        }
        let tried = app.store.last_wanted_boot_job(host.id, &names).await?;
        if let Some(reason) = tried.and_then(|tried| brake(&tried, now)) {
            refusals.push(format!("{name}: {reason}"));
            continue;
        }
        if let Err(reason) = install(app, host, name, &takes, now).await? {
            tracing::info!(host = %host.id, agent = name, reason, "a host asks for an agent in vain");
            refusals.push(format!("{name}: {reason}"));
        }
    }
    Ok(refusals)
}

/// Why the agent is not installed at once, after the last try: what fails fast would for ever.
fn brake(tried: &Tried, now: EpochMs) -> Option<String> {
    let Tried { id, state, on_host, message, ended } = tried;
    if *on_host == HostState::Done {
        return None;
    }
    if *state == JobState::Cancelled {
        return Some(format!("its installation, job {id}, was cancelled; it comes by another job"));
    }
    let next = ended.unwrap_or_default() + clock::ms(WANTED_RETRY);
    (*on_host == HostState::Failed && now < next).then(|| {
        let why: String = message.iter().flat_map(|why| why.chars()).take(WANTED_REASON_CHARS).collect();
        format!(
            "its installation, job {id}, has failed, and is tried again at {}: {why}",
            clock::rfc3339(next)
        )
    })
}

/// Makes a job for the host alone, or says why not.
async fn install(
    app: &App,
    host: &Host,
    name: &str,
    takes: &Takes<'_>,
    now: EpochMs,
) -> Result<Result<(), String>, StoreError> {
    let files = catalogue::files(&app.store, name, None).await?;
    let Some(file) = takes.choose(&files).map(|n| files[n].clone()) else {
        let reason = if files.is_empty() { "has no package of it" } else { "has none that fits this host" };
        return Ok(Err(format!("the catalogue of plugins {reason} ({})", takes.words())));
    };
    let id = Uuid::new_v4().to_string();
    let job = json!({"id": id, "action": "install", "name": name}).to_string();
    let row = BootJobRow {
        summary: Summary {
            id,
            action: "install".into(),
            name: name.to_owned(),
            version: Some(file.version.clone()),
            who: WANTED.into(),
            target: None,
            hosts: 1,
            batch: None,
            max_errors: None,
            expires: now + clock::ms(Duration::from_secs(DEFAULT_BOOT_TTL_SECONDS)),
            state: JobState::Open,
            created: now,
        },
        digest: String::new(),
        job,
        url: None,
        files: vec![file],
        timeout: i64::try_from(DEFAULT_JOB_TIMEOUT_SECONDS).expect("an hour"),
    };
    let wrong = match text(&row, Some(0)) {
        Some(text) => BootJob::parse(text.get()).err().map(|bad| bad.reason),
        None => Some("the job is damaged".to_owned()),
    };
    if let Some(reason) = wrong {
        return Ok(Err(format!("the catalogue's package of it cannot be installed: {reason}")));
    }
    // Of those that failed before, the last is enough.
    app.store.forget_wanted_boot_jobs(host.id, name).await?;
    if app.store.insert_boot_job(&row, &[host.id.to_string()]).await?.is_ok() {
        tracing::info!(host = %host.id, agent = name, job = row.summary.id, "a host asks for an agent");
    }
    Ok(Ok(()))
}

/// The jobs that the host is to do: those that it was given and has not ended, and those of which a place is
/// free for it. One that cannot be read costs the others nothing.
pub async fn jobs(
    app: &App,
    host: &Host,
    report: &Status,
    now: EpochMs,
) -> Result<Vec<Box<RawValue>>, StoreError> {
    let takes = Takes::of(&report.version, &report.packages);
    let (mut jobs, mut bytes, mut passed_by) = (Vec::new(), 0, Vec::new());
    for row in app.store.open_boot_jobs(host.id, BOOT_JOBS_LOOKED_THROUGH).await? {
        if jobs.len() == MAX_BOOT_JOBS {
            break;
        }
        let job = match app.store.find_boot_job(&row.job).await {
            Ok(Some(job)) => job,
            Ok(None) => continue,
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::error!(%error, job = row.job, "a boot job is not given to its host");
                continue;
            }
            Err(error) => return Err(error),
        };
        let file = match given(&row, &job, &takes) {
            Ok(file) => file,
            Err(reason) => {
                let reason = (Retcode::NotFound, &*reason);
                app.store.fail_waiting_boot_job(&row.job, host.id, reason, now).await?;
                app.metrics.boot.ended(false);
                continue;
            }
        };
        let Some(text) = text(&job, file) else {
            tracing::error!(job = row.job, "a boot job is damaged, and not given to its host");
            continue;
        };
        if bytes + text.get().len() > MAX_ANSWERED_JOBS_BYTES {
            break;
        }
        if has(app, host, &row, &job, file, due(&job, report.step, now), now).await? {
            bytes += text.get().len();
            jobs.push(text);
            overtake(app, host, &row, &mut passed_by, now).await?;
        } else {
            passed_by.push(row);
        }
    }
    Ok(jobs)
}

/// Whether the host has the job, or gets a place.
async fn has(
    app: &App,
    host: &Host,
    row: &OpenRow,
    job: &BootJobRow,
    file: Option<usize>,
    due: EpochMs,
    now: EpochMs,
) -> Result<bool, StoreError> {
    let (id, batch) = (&*row.job, job.summary.batch);
    let Some(sent) = row.sent else {
        return app.store.take_boot_place(Place { job: id, host: host.id, batch, file, due }, now).await;
    };
    // The host is alive, and has it still: it may wait there for others.
    let last = sent + clock::ms(BOOT_RESULT_LIMIT) + job.timeout * 1000;
    app.store.wait_for_boot_job(id, host.id, due.min(last)).await?;
    Ok(true)
}

/// Of the jobs that the host was not given, though they are older than this one, those go that would undo it
/// later.
async fn overtake(
    app: &App,
    host: &Host,
    newer: &OpenRow,
    passed_by: &mut Vec<OpenRow>,
    now: EpochMs,
) -> Result<(), StoreError> {
    let agent = catalogue::title(&newer.name);
    let undone = |older: &mut OpenRow| {
        catalogue::title(&older.name) == agent && would_undo(&older.action, &newer.action)
    };
    for older in passed_by.extract_if(.., undone) {
        tracing::info!(host = %host.id, job = older.job, newer = newer.job, "a newer boot job came first");
        app.store.overtake_boot_job(&older.job, host.id, now).await?;
    }
    Ok(())
}

/// Whether a job of the one action, done after one of the other, would take back what that one was for.
fn would_undo(older: &str, newer: &str) -> bool {
    match (older, newer) {
        _ if older == newer => true,
        ("install" | "upgrade" | "uninstall", "install" | "upgrade" | "uninstall")
        | ("install" | "start" | "restart", "stop")
        | ("stop", "install" | "start" | "restart")
        | ("start" | "restart" | "stop", "uninstall") => true,
        _ => false,
    }
}

/// The place of the file that the host gets, where the catalogue has it; or why it gets nothing.
fn given(row: &OpenRow, job: &BootJobRow, takes: &Takes<'_>) -> Result<Option<usize>, String> {
    if row.sent.is_some() {
        return Ok(row.file.and_then(|file| usize::try_from(file).ok()));
    }
    if job.files.is_empty() {
        return Ok(None);
    }
    takes.choose(&job.files).map(Some).ok_or_else(|| {
        let name = &job.summary.name;
        format!("the catalogue of plugins had no package of {name} that fits this host ({})", takes.words())
    })
}

fn due(job: &BootJobRow, step: u64, now: EpochMs) -> EpochMs {
    let step = Duration::from_secs(step);
    now + clock::ms(step + BOOT_RESULT_SLACK) + job.timeout * 1000
}
