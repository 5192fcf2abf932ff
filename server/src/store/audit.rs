//! The table `audit`.

use super::{Store, StoreError, statements};
use crate::clock::EpochMs;
use crate::limits::{AUDIT_HOSTS, AUDIT_PRUNED_ROWS};
use crate::people::audit::Entry;
use sqlx::any::{Any, AnyRow};
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

/// Which entries are wanted.
#[derive(Debug, Default)]
pub struct AuditFilter<'a> {
    pub who: Option<&'a str>,
    pub host: Option<Uuid>,
    pub since: Option<EpochMs>,
    /// The id that the page before ended with.
    pub before: Option<i64>,
    pub limit: u64,
}

const COLUMNS: &str = "id, who, token, peer, method, path, what, detail, target, hosts, named, request, \
    status, \
                       gmt_create";

impl Store {
    /// The highest id; 0 where there is none.
    pub async fn last_audit(&self) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT MAX(id) AS n FROM audit").fetch_one(&self.pool).await?;
        Ok(row.try_get::<Option<i64>, _>("n")?.unwrap_or(0))
    }

    /// All of them or none.
    pub async fn insert_audit(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for some in statements(entries, bytes) {
            let mut query = QueryBuilder::<Any>::new(format!("INSERT INTO audit ({COLUMNS}) "));
            query.push_values(some, |mut row, entry| {
                row.push_bind(entry.id)
                    .push_bind(entry.who.as_str())
                    .push_bind(entry.token.as_deref())
                    .push_bind(entry.peer.as_str())
                    .push_bind(entry.method.as_str())
                    .push_bind(entry.path.as_str())
                    .push_bind(entry.what.as_deref())
                    .push_bind(entry.detail.as_deref())
                    .push_bind(entry.target.as_deref())
                    .push_bind(entry.hosts)
                    .push_bind(entry.named.as_str())
                    .push_bind(entry.request.as_deref())
                    .push_bind(entry.status.map(i64::from))
                    .push_bind(entry.at);
            });
            query.build().persistent(transaction.keeps_any()).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Newest first.
    pub async fn list_audit(&self, wanted: &AuditFilter<'_>) -> Result<Vec<Entry>, StoreError> {
        let mut query = QueryBuilder::<Any>::new(format!("SELECT {COLUMNS} FROM audit WHERE 1 = 1"));
        if let Some(before) = wanted.before {
            query.push(" AND id < ").push_bind(before);
        }
        if let Some(who) = wanted.who {
            query.push(" AND who = ").push_bind(who);
        }
        if let Some(since) = wanted.since {
            query.push(" AND gmt_create >= ").push_bind(since);
        }
        if let Some(host) = wanted.host {
            let pattern = format!("%\"host\":\"{host}\"%");
            query.push(" AND (named LIKE ").push_bind(pattern.clone());
            // What the entry does not name the request does.
            query.push(" OR (hosts > ").push_bind(i64::try_from(AUDIT_HOSTS).unwrap_or(i64::MAX));
            query
                .push(" AND EXISTS (SELECT 1 FROM requests r WHERE r.id = audit.request AND r.targets LIKE ");
            query.push_bind(pattern).push(")))");
        }
        query.push(" ORDER BY id DESC LIMIT ");
        query.push_bind(i64::try_from(wanted.limit).unwrap_or(i64::MAX));
        let rows = query.build().persistent(self.pool.keeps_any()).fetch_all(&self.pool).await?;
        rows.iter().map(entry).collect()
    }

    /// Takes some entries away that are older; how many.
    pub async fn prune_audit(&self, before: EpochMs) -> Result<u64, StoreError> {
        let oldest = "SELECT id FROM audit WHERE gmt_create < ? ORDER BY id LIMIT ?";
        let rows = sqlx::query(oldest).bind(before).bind(AUDIT_PRUNED_ROWS).fetch_all(&self.pool).await?;
        let Some(last) = rows.last() else { return Ok(0) };
        let done = sqlx::query("DELETE FROM audit WHERE id <= ? AND gmt_create < ?")
            .bind(last.try_get::<i64, _>("id")?)
            .bind(before)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}

/// Of what may be long in it.
fn bytes(entry: &Entry) -> usize {
    let texts = [&entry.what, &entry.detail, &entry.target];
    entry.path.len() + entry.named.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
}

fn entry(row: &AnyRow) -> Result<Entry, StoreError> {
    let status: Option<i64> = row.try_get("status")?;
    Ok(Entry {
        id: row.try_get("id")?,
        at: row.try_get("gmt_create")?,
        who: row.try_get("who")?,
        token: row.try_get("token")?,
        peer: row.try_get("peer")?,
        method: row.try_get("method")?,
        path: row.try_get("path")?,
        what: row.try_get("what")?,
        detail: row.try_get("detail")?,
        target: row.try_get("target")?,
        hosts: row.try_get("hosts")?,
        named: row.try_get("named")?,
        request: row.try_get("request")?,
        status: status.and_then(|status| u16::try_from(status).ok()),
    })
}
