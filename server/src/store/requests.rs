//! The tables `requests` and `results`. Lists read the first alone.

use super::begun::cut_short;
use super::queue::QueueRow;
use super::{Store, StoreError, Transaction, from_json, retried, statements, to_json};
use crate::clock::EpochMs;
use crate::queue;
use crate::requests::rollout::{Plan, Stopped};
use crate::requests::{Head, Settled, Target};
use serde::de::DeserializeOwned;
use sqlx::any::{Any, AnyRow};
use sqlx::{QueryBuilder, Row};
use std::collections::{BTreeMap, HashSet};

/// A request without what is large.
#[derive(Debug, Clone)]
pub struct Summary {
    pub id: String,
    pub method: String,
    pub cmd: Option<String>,
    /// The expression that selected hosts.
    pub target: Option<String>,
    pub rollout: Option<Plan>,
    pub stopped: Option<Stopped>,
    pub created: EpochMs,
    pub deadline: EpochMs,
    pub finished: Option<EpochMs>,
    pub hosts: i64,
    pub succeeded: i64,
    pub failed: i64,
    /// Whose it is; `None` where that was not known yet.
    pub who: Option<String>,
}

/// A request with its results.
#[derive(Debug)]
pub struct Stored {
    pub summary: Summary,
    pub digest: String,
    /// In the order asked.
    pub targets: Vec<Target>,
    /// JSON object.
    pub params: String,
    /// Positions and final states, each as the interface shows it (JSON), in the order asked.
    pub entries: Vec<(u32, String)>,
    /// The hosts that it waits for.
    pub waiting: Vec<QueueRow>,
}

impl Stored {
    /// An entry for every host: its final state, or that the request waits for it.
    pub fn all_entries(self) -> Vec<String> {
        let waiting = self.waiting.iter().map(|row| (row.position, queue::waiting(row).json().to_owned()));
        let mut all: BTreeMap<u32, String> = waiting.collect();
        all.extend(self.entries);
        all.into_values().collect()
    }
}

/// What is new of one request since it was last recorded.
#[derive(Debug, Clone)]
pub struct News<'a> {
    pub head: &'a Head,
    pub targets: &'a [Target],
    /// The row is not there yet.
    pub first: bool,
    /// How many results these are the news of.
    pub taken: usize,
    /// Positions and results, as far as they are final.
    pub settled: Vec<(u32, Settled)>,
    /// Nothing more comes of it here.
    pub ended: Option<EpochMs>,
    /// It waits for hosts: whoever brings the last result ends it.
    pub waits: bool,
    /// Of a rollout: why hosts were not begun.
    pub stopped: Option<Stopped>,
}

impl News<'_> {
    fn finished(&self) -> Option<EpochMs> {
        self.ended.filter(|_| !self.waits)
    }
}

pub(super) const SUMMARY: &str = "id, method, cmd, target, rollout, stopped, gmt_create, deadline, \
                                  finished, hosts, succeeded, failed, who";

impl Store {
    /// Records all the news in one transaction. A row that is there already costs nobody its record:
    /// it stays as it is, and what else is new goes beside it.
    pub async fn record(&self, news: &[News<'_>]) -> Result<(), StoreError> {
        let Err(error) = retried(|| self.record_new(news)).await else { return Ok(()) };
        let mut left = news.to_vec();
        if !self.leave_out_known(&mut left).await? {
            return Err(error);
        }
        tracing::warn!(%error, "some of what is to be recorded was there already: the rest is");
        retried(|| self.record_new(&left)).await
    }

    /// Whether anything of the news is in the database and was taken out of them.
    async fn leave_out_known(&self, news: &mut [News<'_>]) -> Result<bool, StoreError> {
        let mut any = false;
        for item in news {
            let id = &*item.head.id;
            if item.first {
                let there = sqlx::query("SELECT id FROM requests WHERE id = ?").bind(id);
                item.first = there.fetch_optional(&self.pool).await?.is_none();
                any |= !item.first;
            }
            if item.settled.is_empty() {
                continue;
            }
            let rows = sqlx::query("SELECT position FROM results WHERE request = ?").bind(id);
            let rows = rows.fetch_all(&self.pool).await?;
            let there: HashSet<i64> =
                rows.iter().map(|row| row.try_get("position")).collect::<Result<_, _>>()?;
            let before = item.settled.len();
            item.settled.retain(|(position, _)| !there.contains(&i64::from(*position)));
            any |= item.settled.len() < before;
        }
        Ok(any)
    }

    async fn record_new(&self, news: &[News<'_>]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        let first: Vec<&News<'_>> = news.iter().filter(|item| item.first).collect();
        insert(&mut transaction, &first).await?;
        let results = news.iter().flat_map(|item| {
            item.settled.iter().map(|(position, settled)| ResultRow {
                request: &item.head.id,
                position: *position,
                host: &item.targets[*position as usize].host,
                settled,
            })
        });
        insert_results(&mut transaction, &results.collect::<Vec<_>>()).await?;
        // A row that was just inserted holds these already.
        for item in news.iter().filter(|item| !item.first) {
            update_counts(&mut transaction, item).await?;
        }
        for item in news.iter().filter(|item| item.waits) {
            if let Some(at) = item.ended {
                close(&mut transaction, &item.head.id, at).await?;
            }
        }
        Ok(transaction.commit().await?)
    }

    /// Newest first, at most `limit`; `before` is the id that the page before ended with. `None` where
    /// there is no such id.
    pub async fn list_requests(
        &self,
        limit: u64,
        before: Option<&str>,
    ) -> Result<Option<Vec<Summary>>, StoreError> {
        let Some(query) = self.older_requests(SUMMARY, before).await? else { return Ok(None) };
        let rows = self.newest_requests(query, limit).await?;
        rows.iter().map(summary).collect::<Result<_, _>>().map(Some)
    }

    /// One request with all its results.
    pub async fn find_request(&self, id: &str) -> Result<Option<Stored>, StoreError> {
        let sql = format!("SELECT {SUMMARY}, digest, targets, params FROM requests WHERE id = ?");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).fetch_optional(&self.pool).await?;
        let Some(row) = row else { return Ok(None) };
        let summary = summary(&row)?;
        // In this order: what ends meanwhile is in both, and nothing in neither.
        let waiting = if summary.finished.is_none() { self.waiting_of(id).await? } else { Vec::new() };
        let results = sqlx::query("SELECT position, entry FROM results WHERE request = ? ORDER BY position")
            .bind(id)
            .fetch_all(&self.pool)
            .await?;
        let entry = |row: &AnyRow| {
            let position = u32::try_from(row.try_get::<i64, _>("position")?).unwrap_or(u32::MAX);
            Ok::<_, StoreError>((position, row.try_get("entry")?))
        };
        let entries: Vec<_> = results.iter().map(entry).collect::<Result<_, _>>()?;
        let is_final = |row: &QueueRow| entries.binary_search_by_key(&row.position, |entry| entry.0).is_ok();
        Ok(Some(Stored {
            summary,
            digest: row.try_get("digest")?,
            targets: from_json("targets", &row.try_get::<String, _>("targets")?)?,
            params: row.try_get("params")?,
            waiting: waiting.into_iter().filter(|row| !is_final(row)).collect(),
            entries,
        }))
    }

    /// Ends what ran when the server went down: hosts without a result, for which it does not wait
    /// either, end as lost, and those that a rollout had not begun are not.
    /// Answers how many requests were cut short so.
    pub async fn complete_unfinished(&self, now: EpochMs) -> Result<usize, StoreError> {
        // What had its end before it was queued, and was killed before that was noticed.
        let ended = "DELETE FROM queue WHERE EXISTS (SELECT 1 FROM results WHERE \
                     results.request = queue.request AND results.position = queue.position)";
        sqlx::query(ended).execute(&self.pool).await?;
        let rows = sqlx::query("SELECT id, targets, begun, stopped FROM requests WHERE finished IS NULL")
            .fetch_all(&self.pool)
            .await?;
        let mut cut_short = 0;
        for row in &rows {
            let id: String = row.try_get("id")?;
            let targets: Vec<Target> = from_json("targets", &row.try_get::<String, _>("targets")?)?;
            let begun: Option<i64> = row.try_get("begun")?;
            let stopped: Option<String> = row.try_get("stopped")?;
            let stopped: Option<Stopped> = stopped.map(|text| from_json("stopped", &text)).transpose()?;
            let complete = || self.complete(&id, &targets, (begun, stopped.clone()), now);
            cut_short += usize::from(retried(complete).await?);
        }
        Ok(cut_short)
    }

    /// Whether there was anything to complete.
    async fn complete(
        &self,
        id: &str,
        targets: &[Target],
        (begun, stopped): (Option<i64>, Option<Stopped>),
        now: EpochMs,
    ) -> Result<bool, StoreError> {
        let known = "SELECT position FROM results WHERE request = ? \
                     UNION SELECT position FROM queue WHERE request = ?";
        let there = sqlx::query(known).bind(id).bind(id).fetch_all(&self.pool).await?;
        let there: HashSet<i64> =
            there.iter().map(|row| row.try_get("position")).collect::<Result<_, _>>()?;
        let (missing, stopped) = cut_short(targets, &there, begun, stopped, now);
        let mut transaction = self.pool.begin().await?;
        let rows = missing.iter().map(|(position, settled)| ResultRow {
            request: id,
            position: *position,
            host: &targets[*position as usize].host,
            settled,
        });
        insert_results(&mut transaction, &rows.collect::<Vec<_>>()).await?;
        sqlx::query("UPDATE requests SET failed = failed + ?, stopped = COALESCE(stopped, ?) WHERE id = ?")
            .bind(i64::try_from(missing.len()).unwrap_or(i64::MAX))
            .bind(stopped.as_ref().map(to_json))
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        close(&mut transaction, id, now).await?;
        transaction.commit().await?;
        Ok(!missing.is_empty())
    }
}

/// One row of the table `results`.
pub(super) struct ResultRow<'a> {
    pub request: &'a str,
    pub position: u32,
    pub host: &'a str,
    pub settled: &'a Settled,
}

/// Ends a request all of whose hosts have their final states.
pub(super) async fn close(
    transaction: &mut Transaction<'_>,
    request: &str,
    at: EpochMs,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE requests SET finished = ?, url = NULL \
         WHERE id = ? AND finished IS NULL AND succeeded + failed >= hosts",
    )
    .bind(at)
    .bind(request)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Many rows in one statement: each costs the database's thread a turn.
async fn insert(transaction: &mut Transaction<'_>, news: &[&News<'_>]) -> Result<(), StoreError> {
    let rows: Vec<_> = news.iter().map(|item| (*item, to_json(&item.targets))).collect();
    let bytes = |(item, targets): &(&News<'_>, String)| {
        targets.len() + item.head.params.len() + item.head.cmd.as_ref().map_or(0, String::len)
    };
    for some in statements(&rows, bytes) {
        let mut query = QueryBuilder::<Any>::new(
            "INSERT INTO requests (id, who, digest, method, cmd, target, rollout, begun, stopped, params, \
                url, \
             targets, hosts, succeeded, failed, deadline, finished, gmt_create) ",
        );
        query.push_values(some, |mut row, (item, targets)| {
            let (succeeded, failed) = counts(item);
            row.push_bind(&*item.head.id)
                .push_bind(&*item.head.who)
                .push_bind(item.head.digest.as_str())
                .push_bind(item.head.method.as_str())
                .push_bind(item.head.cmd.as_deref())
                .push_bind(item.head.target.as_deref())
                .push_bind(item.head.rollout.as_ref().map(to_json))
                .push_bind(item.head.rollout.map(|_| 0_i64))
                .push_bind(item.stopped.as_ref().map(to_json))
                .push_bind(item.head.params.as_str())
                .push_bind(item.head.url.as_deref().filter(|_| item.finished().is_none()))
                .push_bind(targets.as_str())
                .push_bind(i64::try_from(item.targets.len()).unwrap_or(i64::MAX))
                .push_bind(succeeded)
                .push_bind(failed)
                .push_bind(item.head.deadline)
                .push_bind(item.finished())
                .push_bind(item.head.created);
        });
        query.build().persistent(transaction.keeps_any()).execute(&mut **transaction).await?;
    }
    Ok(())
}

async fn update_counts(transaction: &mut Transaction<'_>, item: &News<'_>) -> Result<(), StoreError> {
    let (succeeded, failed) = counts(item);
    sqlx::query(
        "UPDATE requests SET succeeded = succeeded + ?, failed = failed + ?, stopped = COALESCE(stopped, ?), \
         finished = COALESCE(finished, ?), url = CASE WHEN ? IS NULL THEN url END WHERE id = ?",
    )
    .bind(succeeded)
    .bind(failed)
    .bind(item.stopped.as_ref().map(to_json))
    .bind(item.finished())
    .bind(item.finished())
    .bind(&*item.head.id)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn counts(item: &News<'_>) -> (i64, i64) {
    item.settled.iter().fold((0, 0), |(succeeded, failed), (_, settled)| {
        if settled.success { (succeeded + 1, failed) } else { (succeeded, failed + 1) }
    })
}

/// As [`insert`].
pub(super) async fn insert_results(
    transaction: &mut Transaction<'_>,
    results: &[ResultRow<'_>],
) -> Result<(), StoreError> {
    for some in statements(results, |row| row.settled.json().len()) {
        let mut query = QueryBuilder::<Any>::new(
            "INSERT INTO results (request, position, host, retcode, finished, entry) ",
        );
        query.push_values(some, |mut row, result| {
            row.push_bind(result.request)
                .push_bind(i64::from(result.position))
                .push_bind(result.host)
                .push_bind(i64::from(result.settled.retcode))
                .push_bind(result.settled.at)
                .push_bind(result.settled.json());
        });
        query.build().persistent(transaction.keeps_any()).execute(&mut **transaction).await?;
    }
    Ok(())
}

fn optional<T: DeserializeOwned>(what: &'static str, text: Option<String>) -> Result<Option<T>, StoreError> {
    text.map(|text| from_json(what, &text)).transpose()
}

pub(super) fn summary(row: &AnyRow) -> Result<Summary, StoreError> {
    Ok(Summary {
        id: row.try_get("id")?,
        method: row.try_get("method")?,
        cmd: row.try_get("cmd")?,
        target: row.try_get("target")?,
        rollout: optional("how a rollout goes on", row.try_get("rollout")?)?,
        stopped: optional("why a rollout stopped", row.try_get("stopped")?)?,
        created: row.try_get("gmt_create")?,
        deadline: row.try_get("deadline")?,
        finished: row.try_get("finished")?,
        hosts: row.try_get("hosts")?,
        succeeded: row.try_get("succeeded")?,
        failed: row.try_get("failed")?,
        who: row.try_get("who")?,
    })
}
