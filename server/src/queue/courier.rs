//! Takes requests to their hosts, and what becomes of them to the database.

use super::{Delivery, Settling, waiting};
use crate::app::App;
use crate::clock::{self, EpochMs};
use crate::jobs::Follow;
use crate::limits;
use crate::requests::{Live, ReplyTo, call, record};
use crate::store::StoreError;
use crate::store::queue::{QueueRow, StoredCall};
use aspire_wire::{Outcome, Retcode};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use uuid::Uuid;

/// A host that is offline: its place in the request, and who it is.
pub type Offline = (u32, Uuid);

/// Runs until `stop` says so.
pub async fn keep_delivering(app: &Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut sweep = interval_at(Instant::now(), limits::QUEUE_SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.queue.news.notified() => {}
            _ = sweep.tick(), if !app.queue.is_empty() => {
                let known = |host| app.directory.by_id(host).is_some();
                let linked = |host| app.hub.link(host).is_some();
                for (host, request) in app.queue.sweep(clock::now(), known, linked) {
                    app.hub.forget(host, &request);
                }
            }
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if let Err(error) = turn(app).await {
            tracing::error!(%error, "requests that wait for their hosts: to be tried again");
            sleep(limits::RECORD_RETRY).await;
        }
    }
}

async fn turn(app: &Arc<App>) -> Result<(), StoreError> {
    settle_all(app).await?;
    for host in app.queue.take_kicked() {
        while deliver(app, host).await? {}
    }
    Ok(())
}

/// Brings all outcomes that are known to the database.
pub async fn settle_all(app: &App) -> Result<(), StoreError> {
    let App { queue, store, metrics, .. } = app;
    let _alone = queue.writing.lock().await;
    loop {
        let some = queue.take_settling(limits::MAX_ROWS_PER_STATEMENT);
        if some.is_empty() {
            return Ok(());
        }
        if let Err(error) = store.settle_queued(&some).await {
            queue.give_back(some);
            return Err(error);
        }
        queue.forget(&some);
        for Settling { settled, .. } in &some {
            metrics.requests.result(settled.retcode);
        }
    }
}

/// Sends the host what waits for it, as far as the window goes. Whether there may be more.
async fn deliver(app: &Arc<App>, host: Uuid) -> Result<bool, StoreError> {
    if app.hub.link(host).is_none() {
        return Ok(false);
    }
    let now = clock::now();
    let (rows, mut window) = app.queue.deliverable(host, limits::MAX_ROWS_PER_STATEMENT, now);
    let ids: Vec<&str> = rows.iter().map(|row| &*row.request).collect();
    let calls = app.store.load_calls(&ids).await?;
    let mut parcels = Vec::new();
    for row in &rows {
        // A row without its request is damage that nobody can repair; it expires.
        let Some(call) = calls.iter().find(|call| call.id == *row.request) else { continue };
        let Some(parcel) = Parcel::of(row, call, now) else { continue };
        if window == 0 {
            break;
        }
        window = window.saturating_sub(parcel.cost());
        parcels.push(parcel);
    }
    let ids: Vec<&str> = parcels.iter().map(|parcel| &**parcel.id).collect();
    // Before it is sent: whoever reads the table later must not think that nobody heard of it.
    app.store.mark_sent(host, &ids, now).await?;
    let sent = parcels.iter().take_while(|parcel| parcel.send(app, host, now)).count();
    let unheard = parcels[sent..].iter().filter(|parcel| parcel.before.is_none());
    let unheard: Vec<&str> = unheard.map(|parcel| &**parcel.id).collect();
    app.store.mark_unsent(host, &unheard).await?;
    Ok(sent == parcels.len() && sent > 0 && window > 0)
}

/// A request, ready to be sent.
struct Parcel<'a> {
    id: &'a Arc<str>,
    frame: Bytes,
    follow: Option<Arc<Follow>>,
    /// What the host has for its reply, in milliseconds.
    patience: EpochMs,
    /// When it was sent before, if it was.
    before: Option<EpochMs>,
}

impl<'a> Parcel<'a> {
    /// `None` where the database holds nonsense.
    fn of(row: &'a QueueRow, stored: &StoredCall, now: EpochMs) -> Option<Parcel<'a>> {
        let mut params: serde_json::Map<_, _> = serde_json::from_str(&stored.params).ok()?;
        let follow = Follow::of(&stored.method, &params);
        if let Some(Follow::Job { .. }) = follow.as_deref() {
            // A job has to begin in what is left of its time.
            let left = u64::try_from(row.expires - now).unwrap_or(0).div_ceil(1000).max(1);
            params.insert("ttl".into(), left.into());
        }
        if let Some(url) = &stored.url {
            params.insert("url".into(), url.clone().into());
        }
        params.insert("method".into(), stored.method.clone().into());
        let frame = call::frame(&row.request, &params);
        let patience = stored.deadline - stored.created;
        Some(Parcel { id: &row.request, frame, follow, patience, before: row.sent })
    }

    fn cost(&self) -> usize {
        // A host answers at once that it has a job, and remembers the job itself.
        let job = matches!(self.follow.as_deref(), Some(Follow::Job { .. }));
        let answer = if job { 0 } else { limits::EXPECTED_ANSWER_BYTES };
        self.frame.len() + limits::QUEUED_FRAME_BYTES + answer
    }

    /// Whether it has left, or has not to.
    fn send(&self, app: &Arc<App>, host: Uuid, now: EpochMs) -> bool {
        let queue = &app.queue;
        if !queue.sent(host, self.id, now, now + self.patience, self.cost()) {
            return true;
        }
        let (request, follow) = (self.id.clone(), self.follow.clone());
        let delivery = Delivery { queue: queue.clone(), host, request, follow };
        let sent = app.hub.send(host, self.id, &self.frame, ReplyTo::Queued(Arc::new(delivery)));
        if sent.is_err() {
            // By the next link, or when the sweep finds it.
            queue.not_sent(host, self.id, self.before);
        }
        sent.is_ok()
    }
}

/// Has the request wait for these hosts until `expires`, and tells it what came of that.
pub async fn queue_up(app: Arc<App>, request: Arc<Live>, offline: Vec<Offline>, expires: EpochMs) {
    let _alone = app.queue.writing.lock().await;
    let mut rows = Vec::new();
    for (position, host) in offline {
        // A request names a host once.
        if let Some(full) = app.queue.no_room(host, rows.len()) {
            request.settle(position, &full);
            continue;
        }
        rows.push(QueueRow {
            request: request.head.id.clone(),
            position,
            serial: app.queue.next_serial(),
            host,
            target: request.targets[position as usize].clone(),
            expires,
            sent: None,
            created: request.head.created,
        });
    }
    let stored = match record::record_all(&app.requests, &app.store).await {
        Ok(()) => app.store.insert_queued(&rows).await,
        Err(error) => Err(error),
    };
    if let Err(error) = stored {
        tracing::error!(%error, request = &*request.head.id, "requests not queued");
        let outcome =
            Outcome::with_detail(Retcode::StorageFailure, "not queued: the database did not answer");
        for row in &rows {
            request.settle(row.position, &outcome);
        }
        return;
    }
    // It may have been given up or cancelled while this took its time.
    let too_late = rows.iter().filter(|row| !request.settle_waiting(row.position, waiting(row)));
    let too_late: Vec<Uuid> = too_late.map(|row| row.host).collect();
    // First what ended it: whoever stores that it waits no longer must find it.
    if !too_late.is_empty()
        && let Err(error) = record::record_all(&app.requests, &app.store).await
    {
        tracing::error!(%error, request = &*request.head.id, "how it ended was not recorded");
    }
    // Looked at even if the host has a link by now.
    app.queue.add(rows);
    app.queue.withdraw(&request.head.id, &too_late);
}

/// Ends what of the request is on no link now. How many hosts that were.
pub async fn withdraw(app: &App, request: &str) -> Result<usize, StoreError> {
    let rows = app.store.waiting_of(request).await?;
    let hosts: Vec<Uuid> = rows.iter().map(|row| row.host).collect();
    // In the table too: should the server end before those have ended that were sent, they have
    // waited long enough.
    app.store.expire_queued(request, clock::now()).await?;
    app.queue.withdraw(request, &hosts);
    settle_all(app).await?;
    Ok(rows.len() - app.store.waiting_of(request).await?.len())
}
