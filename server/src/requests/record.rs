//! Brings what is new of the live requests to the database, behind the back of
//! whoever waits for an answer, and many requests in one transaction.

use super::Registry;
use crate::limits;
use crate::store::{Store, StoreError};
use crate::unbroken::to_the_end;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Runs until `stop` says so. What is left then is [`record_all`]'s.
pub async fn keep_recorded(registry: &Registry, store: &Store, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = registry.news.notified() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let _ = timeout(limits::RECORD_LINGER, stop.wait_for(|stop| *stop)).await;
        if let Err(error) = record(registry, store).await {
            tracing::error!(%error, "requests not recorded, to be tried again");
            sleep(limits::RECORD_RETRY).await;
            registry.news.notify_one();
        }
        let _ = timeout(limits::RECORD_PAUSE, stop.wait_for(|stop| *stop)).await;
    }
}

/// When this has ended, all that had arrived when it was called is in the database.
pub async fn record_all(registry: &Arc<Registry>, store: &Store) -> Result<(), StoreError> {
    let (registry, store) = (registry.clone(), store.clone());
    to_the_end(async move { record(&registry, &store).await }).await
}

/// Must not be left half-way: what is in the database and not marked so would be written twice.
async fn record(registry: &Registry, store: &Store) -> Result<(), StoreError> {
    let _alone = registry.recording.lock().await;
    let requests = registry.all();
    let mut requests = requests.iter().peekable();
    while requests.peek().is_some() {
        let (mut batch, mut rows) = (Vec::new(), 0);
        while let Some(request) = requests.peek() {
            let Some(news) = request.news(limits::MAX_ROWS_PER_COMMIT - rows) else {
                requests.next();
                continue;
            };
            rows += news.settled.len() + 1;
            batch.push((*request, news));
            if rows >= limits::MAX_ROWS_PER_COMMIT {
                break;
            }
            requests.next();
        }
        if batch.is_empty() {
            break;
        }
        let (owners, news): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        store.record(&news).await?;
        for (owner, news) in owners.iter().zip(&news) {
            owner.recorded(news.taken, news.ended.is_some());
        }
    }
    registry.forget_closed();
    Ok(())
}
