//! The two short exchanges of a host's boot: what it tells, and what became of what it was to do.

use crate::agents::Caller;
use crate::agents::listener::NOT_KNOWN;
use crate::app::App;
use crate::boot::{Told, answer, report};
use crate::clock;
use crate::hosts::Host;
use crate::openapi::shapes::{BootAnswer, BootReport, BootResultAnswer, BootResults};
use crate::problem::Problem;
use crate::routes::body::{Listed, Typed};
use crate::store::StoreError;
use crate::unbroken::to_the_end;
use aspire_wire::Retcode;
use aspire_wire::boot::{BootResult, MAX_BOOT_JOBS, OK, ResultAnswer};
use aspire_wire::boot::{Status, StatusAnswer};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use std::sync::Arc;

/// Takes in what a host's boot tells, and answers with what it is to do.
///
/// The host is the one whose certificate is shown.
#[utoipa::path(post, path = "/agent/status", tag = "agents", security(()), request_body = BootReport,
    responses((status = 200, description = "The jobs of the host that have not ended.", body = BootAnswer),
              (status = 403, description = "Whoever calls shows no certificate of an enrolled host.")))]
pub async fn status(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Typed(mut status): Typed<Status>,
) -> Result<Json<StatusAnswer>, Problem> {
    let host = shown(&caller)?;
    if let Err(wrong) = report::check(&mut status) {
        app.metrics.boot.reported(false);
        return Err(Problem::field(wrong.field.clone(), wrong.to_string()));
    }
    host.seen();
    to_the_end(async move { answered(&app, &host, &status).await.map(Json) }).await
}

async fn answered(app: &App, host: &Host, status: &Status) -> Result<StatusAnswer, Problem> {
    let now = clock::now();
    let taken = app.store.put_boot_report(host.id, status, now).await;
    app.metrics.boot.reported(matches!(taken, Ok(true)));
    match taken {
        Ok(true) => {}
        Ok(false) => return Err(Problem::forbidden(NOT_KNOWN)),
        Err(error) => {
            let message = Some(failed(host, &error, "a report is not kept"));
            return Ok(StatusAnswer { errcode: STORAGE_FAILURE, message, jobs: Vec::new() });
        }
    }
    // The report is taken in, whatever becomes of the rest: what is not told now is told the next time.
    let refusals = match answer::want(app, host, status, now).await {
        Ok(refusals) => refusals,
        Err(error) => vec![failed(host, &error, "what a host asks for is not looked up")],
    };
    let jobs = match answer::jobs(app, host, status, now).await {
        Ok(jobs) => jobs,
        Err(error) => {
            failed(host, &error, "the jobs of a host are not looked up");
            Vec::new()
        }
    };
    let message = Some(refusals.join("; ")).filter(|message| !message.is_empty());
    Ok(StatusAnswer { errcode: OK, message, jobs })
}

/// Takes in what became of jobs of a host.
///
/// What is answered with another `errcode` than 0 is to be sent again. Of jobs that there are not it is
/// passed over.
#[utoipa::path(post, path = "/agent/job/result", tag = "agents", security(()), request_body = BootResults,
    responses((status = 200, description = "Whether they are on disk.", body = BootResultAnswer),
              (status = 403, description = "Whoever calls shows no certificate of an enrolled host.")))]
pub async fn result(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Listed(mut results): Listed<BootResult>,
) -> Result<Json<ResultAnswer>, Problem> {
    let host = shown(&caller)?;
    if results.len() > MAX_BOOT_JOBS {
        let reason = format!("at most {MAX_BOOT_JOBS} results at once, got {}", results.len());
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
    for (n, result) in results.iter_mut().enumerate() {
        let checked = report::check_result(n, result);
        checked.map_err(|wrong| Problem::field(wrong.field.clone(), wrong.to_string()))?;
    }
    host.seen();
    to_the_end(async move {
        let answer = match keep(&app, &host, &results).await {
            Ok(()) => ResultAnswer { errcode: OK, message: None },
            Err(error) => {
                let message = Some(failed(&host, &error, "results of boot jobs are not kept"));
                ResultAnswer { errcode: STORAGE_FAILURE, message }
            }
        };
        Ok(Json(answer))
    })
    .await
}

async fn keep(app: &App, host: &Host, results: &[BootResult]) -> Result<(), StoreError> {
    for result in results {
        let BootResult { id, errcode, message } = result;
        let told = app.store.end_boot_job(host.id, result, clock::now()).await?;
        match told {
            Told::Unknown => {
                tracing::warn!(host = %host.id, job = id, errcode, "a result of no boot job of this host");
            }
            // Its answer was lost.
            Told::Before => tracing::debug!(host = %host.id, job = id, errcode, "boot job, once more"),
            Told::GoesOn | Told::Ended(_) => {
                tracing::info!(host = %host.id, job = id, errcode, message, "boot job");
            }
        }
        if let Told::Ended(succeeded) = told {
            app.metrics.boot.ended(succeeded);
        }
    }
    Ok(())
}

/// As [`Retcode::StorageFailure`].
const STORAGE_FAILURE: u32 = Retcode::StorageFailure as u32;

fn failed(host: &Host, error: &StoreError, what: &str) -> String {
    tracing::error!(host = %host.id, %error, "{what}");
    "polaris' database failed; its log says why".to_owned()
}

fn shown(caller: &Caller) -> Result<Arc<Host>, Problem> {
    caller
        .host()
        .cloned()
        .ok_or_else(|| Problem::forbidden("show the certificate of a host that is enrolled"))
}
