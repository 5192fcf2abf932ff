//! The table `cron`: what hosts accepted. When an entry ran last is in `jobs`.

use super::{Store, StoreError, Transaction, among};
use crate::clock::EpochMs;
use crate::limits::LISTED_CMD_CHARS;
use serde_json::{Map, Value};
use sqlx::any::{Any, AnyRow};
use sqlx::{QueryBuilder, Row};
use std::collections::HashMap;
use uuid::Uuid;

/// What became of a host's cron table.
#[derive(Debug)]
pub enum CronChange<'a> {
    /// The host has this entry (JSON object), whatever it had of this name.
    Set {
        host: Uuid,
        name: &'a str,
        entry: &'a str,
        at: EpochMs,
    },
    Removed {
        host: Uuid,
        name: &'a str,
    },
    /// The host has these (name and JSON object), and no others if they are all.
    Listed {
        host: Uuid,
        entries: &'a [(String, String)],
        all: bool,
        at: EpochMs,
    },
}

/// One entry, and how it ran last.
#[derive(Debug)]
pub struct CronRow {
    pub host: String,
    pub name: String,
    /// JSON object.
    pub entry: String,
    /// When the host told of it.
    pub told: EpochMs,
    pub last: Option<LastRun>,
}

/// The latest run of an entry that has ended; times by the host's clock.
#[derive(Debug)]
pub struct LastRun {
    pub job: String,
    pub state: String,
    pub retcode: i64,
    pub scheduled: Option<EpochMs>,
    pub started: Option<EpochMs>,
    pub ended: EpochMs,
}

/// Which entries are wanted.
#[derive(Debug, Default)]
pub struct CronFilter<'a> {
    pub host: Option<Uuid>,
    /// None but of these.
    pub hosts: Option<Vec<Uuid>>,
    pub name: Option<&'a str>,
    /// Name and host of the one that the page before ended with.
    pub after: Option<(&'a str, Uuid)>,
    pub limit: u64,
}

impl Store {
    /// By name and then by host.
    pub async fn list_cron(&self, wanted: &CronFilter<'_>) -> Result<Vec<CronRow>, StoreError> {
        let mut query = QueryBuilder::<Any>::new(
            "SELECT c.host, c.name, c.entry, c.gmt_modify, j.job, j.state, j.retcode, j.scheduled, \
             j.started, j.ended FROM cron c LEFT JOIN jobs j ON j.host = c.host AND j.job = \
             (SELECT k.job FROM jobs k WHERE k.cron = c.name AND k.host = c.host AND k.ended IS NOT NULL \
             ORDER BY k.ended DESC LIMIT 1) WHERE 1 = 1",
        );
        narrow(&mut query, wanted);
        if let Some((name, host)) = wanted.after {
            query.push(" AND (c.name > ").push_bind(name);
            query.push(" OR (c.name = ").push_bind(name);
            query.push(" AND c.host > ").push_bind(host.to_string()).push("))");
        }
        query.push(" ORDER BY c.name, c.host LIMIT ");
        query.push_bind(i64::try_from(wanted.limit).unwrap_or(i64::MAX));
        let rows = query.build().persistent(self.pool.keeps_any()).fetch_all(&self.pool).await?;
        rows.iter().map(cron_row).collect()
    }

    /// How many there are, on whatever page.
    pub async fn count_cron(&self, wanted: &CronFilter<'_>) -> Result<i64, StoreError> {
        let mut query = QueryBuilder::<Any>::new("SELECT COUNT(*) AS n FROM cron c WHERE 1 = 1");
        narrow(&mut query, wanted);
        Ok(query.build().persistent(self.pool.keeps_any()).fetch_one(&self.pool).await?.try_get("n")?)
    }
}

fn narrow(query: &mut QueryBuilder<Any>, wanted: &CronFilter<'_>) {
    if let Some(host) = wanted.host {
        query.push(" AND c.host = ").push_bind(host.to_string());
    }
    among(query, "c.host", wanted.hosts.as_deref());
    if let Some(name) = wanted.name {
        query.push(" AND c.name = ").push_bind(name);
    }
}

/// Carries the changes out in their order.
pub(super) async fn change(
    transaction: &mut Transaction<'_>,
    changes: &[CronChange<'_>],
) -> Result<(), StoreError> {
    for change in changes {
        match change {
            CronChange::Set { host, name, entry, at } => set(transaction, *host, name, entry, *at).await?,
            CronChange::Removed { host, name } => remove(transaction, *host, name).await?,
            CronChange::Listed { host, entries, all, at } => {
                list(transaction, *host, entries, *all, *at).await?;
            }
        }
    }
    Ok(())
}

async fn set(
    transaction: &mut Transaction<'_>,
    host: Uuid,
    name: &str,
    entry: &str,
    at: EpochMs,
) -> Result<(), StoreError> {
    sqlx::query("REPLACE INTO cron (host, name, entry, gmt_modify) VALUES (?, ?, ?, ?)")
        .bind(host.to_string())
        .bind(name)
        .bind(entry)
        .bind(at)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn remove(transaction: &mut Transaction<'_>, host: Uuid, name: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM cron WHERE host = ? AND name = ?")
        .bind(host.to_string())
        .bind(name)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn list(
    transaction: &mut Transaction<'_>,
    host: Uuid,
    entries: &[(String, String)],
    all: bool,
    at: EpochMs,
) -> Result<(), StoreError> {
    // No entry has this name: a transaction that begins to read may not be let write later.
    remove(transaction, host, "").await?;
    let rows = sqlx::query("SELECT name, entry FROM cron WHERE host = ?").bind(host.to_string());
    let mut known: HashMap<String, String> = HashMap::new();
    for row in rows.fetch_all(&mut **transaction).await? {
        known.insert(row.try_get("name")?, row.try_get("entry")?);
    }
    for (name, entry) in entries {
        let whole = known.remove(name).and_then(|known| with_whole_cmd(entry, &known));
        set(transaction, host, name, whole.as_ref().unwrap_or(entry), at).await?;
    }
    if all {
        for name in known.keys() {
            remove(transaction, host, name).await?;
        }
    }
    Ok(())
}

/// The entry as it was listed with the command that is known, where the list shows its beginning alone.
fn with_whole_cmd(listed: &str, known: &str) -> Option<String> {
    let mut listed: Map<String, Value> = serde_json::from_str(listed).ok()?;
    let mut known: Map<String, Value> = serde_json::from_str(known).ok()?;
    let whole = known.remove("cmd")?;
    let shown = listed.get("cmd")?.as_str()?;
    if shown.chars().count() < LISTED_CMD_CHARS || !whole.as_str()?.starts_with(shown) {
        return None;
    }
    listed.insert("cmd".into(), whole);
    Some(Value::Object(listed).to_string())
}

fn cron_row(row: &AnyRow) -> Result<CronRow, StoreError> {
    let job: Option<String> = row.try_get("job")?;
    let last = match job {
        None => None,
        Some(job) => Some(LastRun {
            job,
            state: row.try_get("state")?,
            retcode: row.try_get("retcode")?,
            scheduled: row.try_get("scheduled")?,
            started: row.try_get("started")?,
            ended: row.try_get("ended")?,
        }),
    };
    Ok(CronRow {
        host: row.try_get("host")?,
        name: row.try_get("name")?,
        entry: row.try_get("entry")?,
        told: row.try_get("gmt_modify")?,
        last,
    })
}
