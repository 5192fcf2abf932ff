//! The table `hosts`: loaded whole at the start, written behind the live directory's back.

use super::{Store, StoreError, boot_reports, daemons, facts, from_json, retried, to_json};
use crate::clock::EpochMs;
use crate::hosts::{Greeting, Patience, Settings, Status, Tags};
use crate::pki::Certificate;
use sqlx::Row;
use sqlx::any::AnyRow;
use uuid::Uuid;

/// One row.
#[derive(Debug, Clone)]
pub struct HostRow {
    pub id: Uuid,
    pub settings: Settings,
    pub greeting: Greeting,
    pub status: Status,
    pub certificate: Option<Certificate>,
    pub last_seen: Option<EpochMs>,
    pub created: EpochMs,
}

impl Store {
    /// Every host that was not revoked.
    pub async fn load_hosts(&self) -> Result<Vec<HostRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, name, region, tags, own_region, own_tags, status, version, address, boot, \
             last_seen, cert_expires, cert_serial, gmt_create FROM hosts WHERE revoked IS NULL",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(host).collect()
    }

    /// No host has a link when the server starts.
    pub async fn mark_all_hosts_offline(&self, now: EpochMs) -> Result<(), StoreError> {
        sqlx::query("UPDATE hosts SET status = 'offline', gmt_modify = ? WHERE status = 'online'")
            .bind(now)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// What the agents said and when, for all the given hosts at once.
    pub async fn write_host_states(&self, rows: &[HostRow], now: EpochMs) -> Result<(), StoreError> {
        retried(|| self.write_host_states_once(rows, now)).await
    }

    async fn write_host_states_once(&self, rows: &[HostRow], now: EpochMs) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for row in rows {
            sqlx::query(
                "UPDATE hosts SET name = ?, own_region = ?, own_tags = ?, status = ?, version = ?, \
                 address = ?, boot = ?, last_seen = ?, cert_expires = ?, cert_serial = ?, gmt_modify = ? \
                 WHERE id = ?",
            )
            .bind(row.greeting.name.as_str())
            .bind(row.greeting.region.as_str())
            .bind(to_json(&row.greeting.tags))
            .bind(row.status.as_str())
            .bind(row.greeting.version.as_str())
            .bind(row.greeting.address.as_str())
            .bind(row.greeting.boot.as_str())
            .bind(row.last_seen)
            .bind(row.certificate.as_ref().map(|certificate| certificate.expires))
            .bind(row.certificate.as_ref().map(|certificate| certificate.serial.as_str()))
            .bind(now)
            .bind(row.id.to_string())
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// What the operator settled.
    pub async fn write_host_settings(
        &self,
        id: Uuid,
        settings: &Settings,
        now: EpochMs,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE hosts SET region = ?, tags = ?, gmt_modify = ? WHERE id = ?")
            .bind(settings.region.as_deref())
            .bind(settings.tags.as_ref().map(to_json))
            .bind(now)
            .bind(id.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The host is refused from now on. The row is kept, its facts and what it told of its daemons and of
    /// boot are not.
    pub async fn revoke_host(&self, id: Uuid, now: EpochMs) -> Result<(), StoreError> {
        retried(|| self.revoke_host_once(id, now)).await
    }

    async fn revoke_host_once(&self, id: Uuid, now: EpochMs) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("UPDATE hosts SET revoked = ?, status = 'offline', gmt_modify = ? WHERE id = ?")
            .bind(now)
            .bind(now)
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        facts::forget(&mut transaction, id).await?;
        daemons::forget(&mut transaction, id).await?;
        boot_reports::forget(&mut transaction, id).await?;
        Ok(transaction.commit().await?)
    }
}

fn host(row: &AnyRow) -> Result<HostRow, StoreError> {
    let id: String = row.try_get("id")?;
    let id = Uuid::parse_str(&id)
        .map_err(|e| StoreError::Damaged { what: "a host id", reason: format!("{id}: {e}") })?;
    let tags: Option<String> = row.try_get("tags")?;
    let tags = tags.map(|text| from_json::<Tags>("tags", &text)).transpose()?;
    let status: String = row.try_get("status")?;
    let expires: Option<EpochMs> = row.try_get("cert_expires")?;
    let serial: Option<String> = row.try_get("cert_serial")?;
    Ok(HostRow {
        id,
        settings: Settings { region: row.try_get("region")?, tags },
        greeting: Greeting {
            name: row.try_get("name")?,
            region: row.try_get("own_region")?,
            tags: from_json("tags", &row.try_get::<String, _>("own_tags")?)?,
            version: row.try_get("version")?,
            address: row.try_get("address")?,
            boot: row.try_get("boot")?,
            // Said anew with each link.
            patience: Patience::default(),
        },
        status: Status::from_text(&status),
        certificate: expires.zip(serial).map(|(expires, serial)| Certificate { expires, serial }),
        last_seen: row.try_get("last_seen")?,
        created: row.try_get("gmt_create")?,
    })
}
