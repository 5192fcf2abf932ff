//! What comes to pass because time does: results that are late, jobs that nobody fetched, jobs that ended
//! long ago. And how many hosts are silent, for whoever watches.

use crate::app::App;
use crate::clock::{self, EpochMs};
use crate::limits::BOOT_SWEEP;
use crate::store::StoreError;
use crate::store::boot_jobs::JobFilter;
use crate::store::boot_reports::FleetFilter;
use tokio::sync::watch;
use tokio::time::timeout;

/// Runs until `stop` says so.
pub async fn keep_swept(app: &App, mut stop: watch::Receiver<bool>) {
    while timeout(BOOT_SWEEP, stop.wait_for(|stop| *stop)).await.is_err() {
        if let Err(error) = sweep(app, clock::now()).await {
            tracing::warn!(%error, "jobs of boot are not looked through: to be tried again");
        }
    }
}

/// One turn.
pub async fn sweep(app: &App, now: EpochMs) -> Result<(), StoreError> {
    let store = &app.store;
    let (late, expired) = store.boot_jobs_run_out(now).await?;
    for job in late {
        tracing::info!(job, "hosts did not say in time what became of a boot job");
        store.end_late_boot_hosts(&job, now).await?;
    }
    for job in expired {
        tracing::info!(job, "a boot job has expired where it was not fetched");
        store.expire_boot_job(&job, now).await?;
    }
    let gone = store.prune_boot_jobs().await?;
    if gone > 0 {
        tracing::info!(jobs = gone, "boot jobs that ended long ago are forgotten");
    }
    let heard_since = app.heard_since();
    let hosts = |silent| FleetFilter { silent: Some(silent), now, heard_since, ..FleetFilter::default() };
    let (reporting, silent) =
        (store.count_boot_hosts(&hosts(false)).await?, store.count_boot_hosts(&hosts(true)).await?);
    let open = store.count_boot_jobs(&JobFilter { open: Some(true), ..JobFilter::default() }).await?;
    app.metrics.boot.now(reporting, silent, open);
    Ok(())
}
