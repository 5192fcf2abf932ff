//! The tables `daemons` and `daemon_events`: what daemons are at, and what they came to.

use super::{Store, StoreError, Transaction, among};
use crate::clock::EpochMs;
use crate::limits::{MAX_EVENTS_PER_DAEMON, MAX_EVENTS_PER_HOST, MAX_ROWS_PER_COMMIT};
use aspire_wire::daemon::{DaemonStatus, MAX_DAEMONS};
use sqlx::any::{Any, AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{QueryBuilder, Row};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Makes or replaces a daemon's row, if its host is there and the condition that follows holds.
macro_rules! row_of_host {
    () => {
        "REPLACE INTO daemons (host, name, version, status, wanted, pid, since, restarts, seq, gmt_modify) \
         SELECT h.id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM hosts h WHERE h.id = ? AND "
    };
}
/// What a host told of its daemons.
#[derive(Debug)]
pub enum DaemonChange<'a> {
    /// Kept once; what it says of the daemon holds where nothing newer is known of it.
    Event { host: Uuid, at: EpochMs, daemon: State<'a>, event: EventRow<'a> },
    /// The host has these, and no others, as of its event `seq`.
    All { host: Uuid, at: EpochMs, seq: i64, daemons: Vec<State<'a>> },
}

/// What a daemon is at.
#[derive(Debug)]
pub struct State<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub status: &'static str,
    pub wanted: &'static str,
    pub pid: Option<i64>,
    /// By the host's clock.
    pub since: EpochMs,
    pub restarts: i64,
}

/// The rest of an event.
#[derive(Debug)]
pub struct EventRow<'a> {
    pub id: &'a str,
    pub seq: i64,
    /// There is no such daemon any more.
    pub removed: bool,
    pub retcode: i64,
    pub detail: Option<&'a str>,
    /// As the interface shows it, a JSON object.
    pub entry: &'a str,
}

/// A daemon as it is now, and why.
#[derive(Debug)]
pub struct DaemonRow {
    pub host: String,
    pub name: String,
    pub version: String,
    pub status: String,
    pub wanted: String,
    pub pid: Option<i64>,
    pub since: EpochMs,
    pub restarts: i64,
    pub told: EpochMs,
    /// Of its latest event.
    pub retcode: Option<i64>,
    pub detail: Option<String>,
}

/// How many hosts have a daemon of this name and version at this status.
#[derive(Debug)]
pub struct DaemonCount {
    pub name: String,
    pub version: String,
    pub status: String,
    pub hosts: i64,
    /// Of these, those with a link.
    pub online: i64,
}

/// Which daemons are wanted.
#[derive(Debug, Default)]
pub struct DaemonFilter<'a> {
    /// Of these hosts, which are no more than a statement can name.
    pub hosts: Option<Vec<Uuid>>,
    pub name: Option<&'a str>,
    pub status: Option<DaemonStatus>,
    /// Name and host of the one that the page before ended with.
    pub after: Option<(&'a str, Uuid)>,
    pub limit: u64,
}

impl Store {
    /// By name and then by host.
    pub async fn list_daemons(&self, wanted: &DaemonFilter<'_>) -> Result<Vec<DaemonRow>, StoreError> {
        let mut query = QueryBuilder::<Any>::new(
            "SELECT d.host, d.name, d.version, d.status, d.wanted, d.pid, d.since, d.restarts, d.gmt_modify, \
             e.retcode, e.detail FROM daemons d LEFT JOIN daemon_events e ON e.host = d.host AND e.id = \
             (SELECT l.id FROM daemon_events l WHERE l.host = d.host AND l.daemon = d.name \
             ORDER BY l.gmt_create DESC, l.seq DESC LIMIT 1) WHERE 1 = 1",
        );
        narrow(&mut query, wanted);
        if let Some((name, host)) = wanted.after {
            query.push(" AND (d.name > ").push_bind(name);
            query.push(" OR (d.name = ").push_bind(name);
            query.push(" AND d.host > ").push_bind(host.to_string()).push("))");
        }
        query.push(" ORDER BY d.name, d.host LIMIT ");
        query.push_bind(i64::try_from(wanted.limit).unwrap_or(i64::MAX));
        let rows = query.build().persistent(self.pool.keeps_any()).fetch_all(&self.pool).await?;
        rows.iter().map(daemon_row).collect()
    }

    /// How many there are, on whatever page, by name, version and status.
    pub async fn count_daemons(&self, wanted: &DaemonFilter<'_>) -> Result<Vec<DaemonCount>, StoreError> {
        let mut query = QueryBuilder::<Any>::new(
            "SELECT d.name, d.version, d.status, COUNT(*) AS hosts, COUNT(h.id) AS online FROM daemons d \
             LEFT JOIN hosts h ON h.id = d.host AND h.status = 'online' WHERE 1 = 1",
        );
        narrow(&mut query, wanted);
        query.push(" GROUP BY d.name, d.version, d.status ORDER BY d.name, d.version, d.status");
        let rows = query.build().persistent(self.pool.keeps_any()).fetch_all(&self.pool).await?;
        rows.iter().map(count_row).collect()
    }

    /// The latest events of a daemon (JSON objects), newest first.
    pub async fn daemon_events(
        &self,
        host: Uuid,
        daemon: &str,
        limit: u64,
    ) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(
            "SELECT entry FROM daemon_events WHERE host = ? AND daemon = ? \
             ORDER BY gmt_create DESC, seq DESC LIMIT ?",
        )
        .bind(host.to_string())
        .bind(daemon)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok(row.try_get("entry")?)).collect()
    }
}

fn narrow(query: &mut QueryBuilder<Any>, wanted: &DaemonFilter<'_>) {
    among(query, "d.host", wanted.hosts.as_deref());
    if let Some(name) = wanted.name {
        query.push(" AND d.name = ").push_bind(name);
    }
    if let Some(status) = wanted.status {
        query.push(" AND d.status = ").push_bind(status.name());
    }
}

/// Carries the changes out in their order. A host that was revoked meanwhile gets none.
pub(super) async fn change(
    transaction: &mut Transaction<'_>,
    changes: &[DaemonChange<'_>],
) -> Result<(), StoreError> {
    let mut grown = BTreeSet::new();
    for change in changes {
        match change {
            DaemonChange::Event { host, at, daemon, event } => {
                let id = host.to_string();
                // Each statement writes: a transaction that begins to read may not be let write later.
                if keep(transaction, &id, *at, daemon, event).await? {
                    if event.removed {
                        remove(transaction, &id, daemon.name, event.seq).await?;
                    } else {
                        learn(transaction, &id, *at, daemon, event.seq).await?;
                    }
                    grown.insert((id, daemon.name));
                }
            }
            DaemonChange::All { host, at, seq, daemons } => {
                replace_all(transaction, &host.to_string(), *at, *seq, daemons).await?;
            }
        }
    }
    prune(transaction, &grown).await
}

/// Whether it was not known yet.
async fn keep(
    transaction: &mut Transaction<'_>,
    host: &str,
    at: EpochMs,
    daemon: &State<'_>,
    event: &EventRow<'_>,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO daemon_events \
         (host, id, daemon, since, seq, removed, retcode, detail, entry, gmt_create) \
         SELECT h.id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM hosts h WHERE h.id = ? AND h.revoked IS NULL \
         AND NOT EXISTS (SELECT 1 FROM daemon_events e WHERE e.host = h.id AND e.id = ?)",
    )
    .bind(event.id)
    .bind(daemon.name)
    .bind(daemon.since)
    .bind(event.seq)
    .bind(i64::from(event.removed))
    .bind(event.retcode)
    .bind(event.detail)
    .bind(event.entry)
    .bind(at)
    .bind(host)
    .bind(event.id)
    .execute(&mut **transaction)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The daemon is at this, unless something newer is known: that it is at something else, or that it
/// was removed. What is newer has a higher number, whatever the time, for a clock may be set back.
async fn learn(
    transaction: &mut Transaction<'_>,
    host: &str,
    at: EpochMs,
    daemon: &State<'_>,
    seq: i64,
) -> Result<(), StoreError> {
    let newer_than_known = concat!(
        row_of_host!(),
        "NOT EXISTS (SELECT 1 FROM daemons d WHERE d.host = h.id AND d.name = ? AND d.seq >= ?) \
         AND NOT EXISTS (SELECT 1 FROM daemon_events e WHERE e.host = h.id AND e.daemon = ? \
         AND e.removed = 1 AND e.seq > ?)",
    );
    bound(newer_than_known, host, at, daemon, seq)
        .bind(daemon.name)
        .bind(seq)
        .bind(daemon.name)
        .bind(seq)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn remove(
    transaction: &mut Transaction<'_>,
    host: &str,
    name: &str,
    seq: i64,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM daemons WHERE host = ? AND name = ? AND (seq < ? OR seq IS NULL)")
        .bind(host)
        .bind(name)
        .bind(seq)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn replace_all(
    transaction: &mut Transaction<'_>,
    host: &str,
    at: EpochMs,
    seq: i64,
    daemons: &[State<'_>],
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM daemons WHERE host = ?").bind(host).execute(&mut **transaction).await?;
    // A host that has lost its memory counts anew: what it numbered higher was before that.
    sqlx::query("UPDATE daemon_events SET removed = 0 WHERE host = ? AND removed = 1 AND seq > ?")
        .bind(host)
        .bind(seq)
        .execute(&mut **transaction)
        .await?;
    let row = concat!(row_of_host!(), "h.revoked IS NULL");
    for daemon in daemons {
        bound(row, host, at, daemon, seq).execute(&mut **transaction).await?;
    }
    Ok(())
}

/// With what the row has; what the condition asks for follows.
fn bound<'q>(
    row: &'static str,
    host: &'q str,
    at: EpochMs,
    daemon: &State<'q>,
    seq: i64,
) -> Query<'q, Any, AnyArguments> {
    sqlx::query(row)
        .bind(daemon.name)
        .bind(daemon.version)
        .bind(daemon.status)
        .bind(daemon.wanted)
        .bind(daemon.pid)
        .bind(daemon.since)
        .bind(daemon.restarts)
        .bind(seq)
        .bind(at)
        .bind(host)
}

/// Forgets what is beyond the bounds, the oldest first: of each of these daemons (with their hosts)
/// and of each of their hosts.
async fn prune(
    transaction: &mut Transaction<'_>,
    grown: &BTreeSet<(String, &str)>,
) -> Result<(), StoreError> {
    for (host, daemon) in grown {
        let of_daemon = "SELECT id FROM daemon_events WHERE host = ? AND daemon = ? \
                         ORDER BY gmt_create DESC, seq DESC LIMIT ? OFFSET ?";
        for id in beyond(transaction, of_daemon, &[host, daemon], MAX_EVENTS_PER_DAEMON).await? {
            forget_event(transaction, host, &id).await?;
        }
    }
    let hosts: BTreeSet<&String> = grown.iter().map(|(host, _)| host).collect();
    for host in hosts {
        let of_host = "SELECT id FROM daemon_events WHERE host = ? \
                       ORDER BY gmt_create DESC, seq DESC LIMIT ? OFFSET ?";
        for id in beyond(transaction, of_host, &[host], MAX_EVENTS_PER_HOST).await? {
            forget_event(transaction, host, &id).await?;
        }
        // An agent has no more than these: what it has not told of for the longest time is gone.
        let daemons = "SELECT name AS id FROM daemons WHERE host = ? \
                       ORDER BY gmt_modify DESC, since DESC, name LIMIT ? OFFSET ?";
        for name in beyond(transaction, daemons, &[host], MAX_DAEMONS).await? {
            let query = sqlx::query("DELETE FROM daemons WHERE host = ? AND name = ?");
            query.bind(host.as_str()).bind(name).execute(&mut **transaction).await?;
        }
    }
    Ok(())
}

/// What the query finds after the first `kept` rows: no more than one commit can have added.
async fn beyond(
    transaction: &mut Transaction<'_>,
    sql: &'static str,
    of: &[&str],
    kept: usize,
) -> Result<Vec<String>, StoreError> {
    let query = of.iter().fold(sqlx::query(sql), |query, value| query.bind((*value).to_owned()));
    let most = [MAX_ROWS_PER_COMMIT, kept].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    let rows = query.bind(most[0]).bind(most[1]).fetch_all(&mut **transaction).await?;
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

async fn forget_event(transaction: &mut Transaction<'_>, host: &str, id: &str) -> Result<(), StoreError> {
    let query = sqlx::query("DELETE FROM daemon_events WHERE host = ? AND id = ?");
    query.bind(host).bind(id).execute(&mut **transaction).await?;
    Ok(())
}

/// The host is revoked.
pub(super) async fn forget(transaction: &mut Transaction<'_>, host: Uuid) -> Result<(), StoreError> {
    for sql in ["DELETE FROM daemons WHERE host = ?", "DELETE FROM daemon_events WHERE host = ?"] {
        sqlx::query(sql).bind(host.to_string()).execute(&mut **transaction).await?;
    }
    Ok(())
}

fn daemon_row(row: &AnyRow) -> Result<DaemonRow, StoreError> {
    Ok(DaemonRow {
        host: row.try_get("host")?,
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        status: row.try_get("status")?,
        wanted: row.try_get("wanted")?,
        pid: row.try_get("pid")?,
        since: row.try_get("since")?,
        restarts: row.try_get("restarts")?,
        told: row.try_get("gmt_modify")?,
        retcode: row.try_get("retcode")?,
        detail: row.try_get("detail")?,
    })
}

fn count_row(row: &AnyRow) -> Result<DaemonCount, StoreError> {
    Ok(DaemonCount {
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        status: row.try_get("status")?,
        hosts: row.try_get("hosts")?,
        online: row.try_get("online")?,
    })
}
