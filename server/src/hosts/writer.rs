//! The one task that brings hosts' states to the database, many in one
//! transaction: ten thousand heartbeats are not ten thousand writes.

use super::Directory;
use crate::store::Store;
use crate::{clock, limits};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

/// Runs until `stop` says so. What is left then is [`write_rest`]'s.
pub async fn keep_written(directory: &Directory, store: &Store, mut stop: watch::Receiver<bool>) {
    let period = limits::LAST_SEEN_WRITTEN;
    let mut sweep = interval_at(Instant::now() + period, period);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let seen = tokio::select! {
            () = directory.changed.notified() => false,
            _ = sweep.tick() => true,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let _ = timeout(limits::HOSTS_LINGER, stop.wait_for(|stop| *stop)).await;
        if !write(directory, store, seen).await {
            sleep(limits::RECORD_RETRY).await;
        }
    }
}

/// Writes all that is not in the database yet.
pub async fn write_rest(directory: &Directory, store: &Store) {
    write(directory, store, true).await;
}

async fn write(directory: &Directory, store: &Store, seen: bool) -> bool {
    let rows = directory.take_dirty(seen);
    for some in rows.chunks(limits::MAX_ROWS_PER_COMMIT) {
        if let Err(error) = store.write_host_states(some, clock::now()).await {
            tracing::error!(%error, hosts = rows.len(), "hosts not written, to be tried again");
            directory.still_dirty(&rows);
            directory.changed.notify_one();
            return false;
        }
    }
    write_facts(directory, store).await
}

async fn write_facts(directory: &Directory, store: &Store) -> bool {
    loop {
        let rows = directory.take_facts_behind(limits::MAX_ROWS_PER_COMMIT);
        if rows.is_empty() {
            return true;
        }
        if let Err(error) = store.write_facts(&rows, clock::now()).await {
            tracing::error!(%error, sections = rows.len(), "facts not written, to be tried again");
            directory.facts_still_behind(rows);
            directory.changed.notify_one();
            return false;
        }
    }
}
