//! What has to be done from time to time: to write when tokens and sessions were used last, to
//! forget sessions that are over, and what is older in the audit log than it is kept.

use super::audit;
use crate::app::App;
use crate::clock;
use crate::limits::{AUDIT_PRUNED, SESSION_SWEEP};
use crate::requests::hex;
use crate::store::StoreError;
use tokio::sync::watch;
use tokio::time::timeout;

/// Runs until `stop` says so.
pub async fn keep(app: &App, stop: watch::Receiver<bool>) {
    // What takes long does not hold up the other.
    tokio::join!(sweep(app, stop.clone()), prune(app, stop));
}

async fn sweep(app: &App, mut stop: watch::Receiver<bool>) {
    while timeout(SESSION_SWEEP, stop.wait_for(|stop| *stop)).await.is_err() {
        if let Err(error) = write_uses(app).await {
            tracing::warn!(%error, "when access tokens and sessions were used is not written");
        }
        if let Err(error) = forget_over(app).await {
            tracing::warn!(%error, "sessions that are over are not removed");
        }
    }
}

async fn prune(app: &App, mut stop: watch::Receiver<bool>) {
    let Some(keep) = app.config.audit.keep else { return };
    let mut pause = SESSION_SWEEP;
    while timeout(pause, stop.wait_for(|stop| *stop)).await.is_err() {
        audit::prune(&app.store, clock::now() - clock::ms(keep), &mut stop).await;
        pause = AUDIT_PRUNED;
    }
}

/// What of that is not in the database.
pub async fn write_uses(app: &App) -> Result<(), StoreError> {
    let uses = app.people.roster.uses();
    app.store.write_uses(&uses).await?;
    uses.are_written();
    Ok(())
}

async fn forget_over(app: &App) -> Result<(), StoreError> {
    let _alone = app.people.changing.lock().await;
    let over = app.people.roster.over(clock::now());
    if over.is_empty() {
        return Ok(());
    }
    app.store.delete_sessions(&over.iter().map(|hash| hex(hash)).collect::<Vec<_>>()).await?;
    app.people.roster.remove_sessions(&over);
    Ok(())
}
