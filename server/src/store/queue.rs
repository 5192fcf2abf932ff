//! The table `queue`: requests that wait for their hosts.

use super::requests::{ResultRow, close, insert_results};
use super::{Store, StoreError, retried};
use crate::clock::EpochMs;
use crate::limits::MAX_ROWS_PER_STATEMENT;
use crate::queue::Settling;
use crate::requests::Target;
use sqlx::any::{Any, AnyRow};
use sqlx::{QueryBuilder, Row};
use std::sync::Arc;
use uuid::Uuid;

/// One row.
#[derive(Debug, Clone)]
pub struct QueueRow {
    pub request: Arc<str>,
    /// Among the request's targets.
    pub position: u32,
    /// Grows from row to row.
    pub serial: i64,
    pub host: Uuid,
    pub target: Target,
    pub expires: EpochMs,
    /// When it was first sent; `None` where the host cannot have heard of it.
    pub sent: Option<EpochMs>,
    pub created: EpochMs,
}

/// What is to be sent to a host for which a request has waited.
#[derive(Debug)]
pub struct StoredCall {
    pub id: String,
    pub method: String,
    /// JSON object.
    pub params: String,
    /// In the place of the one in `params`.
    pub url: Option<String>,
    pub created: EpochMs,
    pub deadline: EpochMs,
}

const COLUMNS: &str = "request, position, serial, host, name, expires, sent, gmt_create";

impl Store {
    /// All that waits, in the order in which it was asked for.
    pub async fn load_queue(&self) -> Result<Vec<QueueRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM queue ORDER BY serial");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).await?;
        rows.iter().map(queue_row).collect()
    }

    /// What of this request waits.
    pub async fn waiting_of(&self, request: &str) -> Result<Vec<QueueRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM queue WHERE request = ? ORDER BY position");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(request).fetch_all(&self.pool).await?;
        rows.iter().map(queue_row).collect()
    }

    /// All of them or none.
    pub async fn insert_queued(&self, rows: &[QueueRow]) -> Result<(), StoreError> {
        retried(|| self.insert_queued_once(rows)).await
    }

    async fn insert_queued_once(&self, rows: &[QueueRow]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for some in rows.chunks(MAX_ROWS_PER_STATEMENT) {
            let mut query = QueryBuilder::<Any>::new(format!("INSERT INTO queue ({COLUMNS}) "));
            query.push_values(some, |mut values, row| {
                values
                    .push_bind(&*row.request)
                    .push_bind(i64::from(row.position))
                    .push_bind(row.serial)
                    .push_bind(row.host.to_string())
                    .push_bind(row.target.name.as_deref())
                    .push_bind(row.expires)
                    .push_bind(row.sent)
                    .push_bind(row.created);
            });
            query.build().persistent(transaction.keeps_any()).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// What was asked for by the requests of these ids, in no order.
    pub async fn load_calls(&self, ids: &[&str]) -> Result<Vec<StoredCall>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::<Any>::new(
            "SELECT id, method, params, url, gmt_create, deadline FROM requests WHERE id IN (",
        );
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(*id);
        }
        let rows = query.push(")").build().persistent(self.pool.keeps_any()).fetch_all(&self.pool).await?;
        let call = |row: &AnyRow| {
            Ok(StoredCall {
                id: row.try_get("id")?,
                method: row.try_get("method")?,
                params: row.try_get("params")?,
                url: row.try_get("url")?,
                created: row.try_get("gmt_create")?,
                deadline: row.try_get("deadline")?,
            })
        };
        rows.iter().map(call).collect()
    }

    /// These requests are about to be sent to the host.
    pub async fn mark_sent(&self, host: Uuid, requests: &[&str], now: EpochMs) -> Result<(), StoreError> {
        if requests.is_empty() {
            return Ok(());
        }
        let mut query = QueryBuilder::<Any>::new("UPDATE queue SET sent = COALESCE(sent, ");
        query.push_bind(now).push(")");
        self.update_queued(query, host, requests).await
    }

    /// These requests did not leave, and the host has not heard of them before either.
    pub async fn mark_unsent(&self, host: Uuid, requests: &[&str]) -> Result<(), StoreError> {
        if requests.is_empty() {
            return Ok(());
        }
        self.update_queued(QueryBuilder::new("UPDATE queue SET sent = NULL"), host, requests).await
    }

    async fn update_queued(
        &self,
        mut query: QueryBuilder<Any>,
        host: Uuid,
        requests: &[&str],
    ) -> Result<(), StoreError> {
        query.push(" WHERE host = ").push_bind(host.to_string()).push(" AND request IN (");
        let mut list = query.separated(", ");
        for request in requests {
            list.push_bind(*request);
        }
        query.push(")").build().persistent(self.pool.keeps_any()).execute(&self.pool).await?;
        Ok(())
    }

    /// Nothing of this request waits any longer than until `at`.
    pub async fn expire_queued(&self, request: &str, at: EpochMs) -> Result<(), StoreError> {
        sqlx::query("UPDATE queue SET expires = ? WHERE request = ? AND expires > ?")
            .bind(at)
            .bind(request)
            .bind(at)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Each has its final state in the place of its row; one whose row is gone has it already.
    pub async fn settle_queued(&self, settling: &[Settling]) -> Result<(), StoreError> {
        retried(|| self.settle_queued_once(settling)).await
    }

    async fn settle_queued_once(&self, settling: &[Settling]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for Settling { host, request, position, settled } in settling {
            let gone = sqlx::query("DELETE FROM queue WHERE request = ? AND position = ?")
                .bind(&**request)
                .bind(i64::from(*position))
                .execute(&mut *transaction)
                .await?;
            if gone.rows_affected() == 0 {
                continue;
            }
            let there = sqlx::query("SELECT position FROM results WHERE request = ? AND position = ?")
                .bind(&**request)
                .bind(i64::from(*position))
                .fetch_optional(&mut *transaction)
                .await?;
            // Whoever gave up waiting before the row was there has said so already.
            if there.is_some() {
                continue;
            }
            let host = host.to_string();
            let row = ResultRow { request, position: *position, host: &host, settled };
            insert_results(&mut transaction, &[row]).await?;
            sqlx::query("UPDATE requests SET succeeded = succeeded + ?, failed = failed + ? WHERE id = ?")
                .bind(i64::from(settled.success))
                .bind(i64::from(!settled.success))
                .bind(&**request)
                .execute(&mut *transaction)
                .await?;
            close(&mut transaction, request, settled.at).await?;
        }
        Ok(transaction.commit().await?)
    }
}

fn queue_row(row: &AnyRow) -> Result<QueueRow, StoreError> {
    let host: String = row.try_get("host")?;
    let damaged = |reason: String| StoreError::Damaged { what: "a request that waits", reason };
    let position: i64 = row.try_get("position")?;
    Ok(QueueRow {
        request: row.try_get::<String, _>("request")?.into(),
        position: u32::try_from(position).map_err(|error| damaged(error.to_string()))?,
        serial: row.try_get("serial")?,
        host: Uuid::parse_str(&host).map_err(|error| damaged(format!("{host}: {error}")))?,
        target: Target { host, name: row.try_get("name")? },
        expires: row.try_get("expires")?,
        sent: row.try_get("sent")?,
        created: row.try_get("gmt_create")?,
    })
}
