//! The table `facts`: loaded whole at the start, written behind the live directory's back.

use super::{Store, StoreError, Transaction, retried};
use crate::clock::EpochMs;
use sqlx::Row;
use sqlx::any::AnyRow;
use uuid::Uuid;

/// One section of a host.
#[derive(Debug, Clone)]
pub struct FactRow {
    pub host: Uuid,
    pub section: String,
    /// The digest, and the value as JSON; `None` where the host does not tell it any more.
    pub told: Option<(String, String)>,
}

impl Store {
    /// Of every host that was not revoked.
    pub async fn load_facts(&self) -> Result<Vec<FactRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT f.host, f.section, f.digest, f.value FROM facts f JOIN hosts h ON h.id = f.host \
             WHERE h.revoked IS NULL",
        );
        rows.fetch_all(&self.pool).await?.iter().map(fact).collect()
    }

    /// All of them in one transaction. A host that was revoked meanwhile gets none.
    pub async fn write_facts(&self, rows: &[FactRow], now: EpochMs) -> Result<(), StoreError> {
        retried(|| self.write_facts_once(rows, now)).await
    }

    async fn write_facts_once(&self, rows: &[FactRow], now: EpochMs) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for FactRow { host, section, told } in rows {
            let query = match told {
                Some((digest, value)) => sqlx::query(
                    "REPLACE INTO facts (digest, value, gmt_modify, section, host) \
                     SELECT ?, ?, ?, ?, id FROM hosts WHERE id = ? AND revoked IS NULL",
                )
                .bind(digest.as_str())
                .bind(value.as_str())
                .bind(now),
                None => sqlx::query("DELETE FROM facts WHERE section = ? AND host = ?"),
            };
            query.bind(section.as_str()).bind(host.to_string()).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// The host tells nothing any more.
pub(super) async fn forget(transaction: &mut Transaction<'_>, host: Uuid) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM facts WHERE host = ?")
        .bind(host.to_string())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

fn fact(row: &AnyRow) -> Result<FactRow, StoreError> {
    let id: String = row.try_get("host")?;
    let host = Uuid::parse_str(&id)
        .map_err(|e| StoreError::Damaged { what: "a host id", reason: format!("{id}: {e}") })?;
    let told = Some((row.try_get("digest")?, row.try_get("value")?));
    Ok(FactRow { host, section: row.try_get("section")?, told })
}
