//! The table `tokens`, and the one transaction that turns a token into a host.

use super::hosts::HostRow;
use super::{Store, StoreError, from_json, retried, to_json};
use crate::clock::EpochMs;
use crate::hosts::{Settings, Tags};
use sqlx::Row;
use sqlx::any::AnyRow;

/// One row; the secret itself is nowhere.
#[derive(Debug, Clone)]
pub struct TokenRow {
    pub id: String,
    /// Enrolments that are left.
    pub uses: i64,
    /// What its hosts start with.
    pub settings: Settings,
    pub expires: EpochMs,
    pub created: EpochMs,
}

/// Why a token did not pass. Whoever sent it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    #[error("the token is unknown: it was mistyped or deleted; ask for a new one")]
    Unknown,
    #[error("the token has expired; ask for a new one")]
    Expired,
    #[error("the token is used up; ask for a new one")]
    UsedUp,
}

impl Store {
    /// Keeps a new token under the hash of its secret.
    pub async fn insert_token(&self, token: &TokenRow, hash: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO tokens (id, hash, uses, region, tags, expires, gmt_create) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(token.id.as_str())
        .bind(hash)
        .bind(token.uses)
        .bind(token.settings.region.as_deref())
        .bind(token.settings.tags.as_ref().map(to_json))
        .bind(token.expires)
        .bind(token.created)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// All tokens, newest first, spent ones included.
    pub async fn list_tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, uses, region, tags, expires, gmt_create FROM tokens ORDER BY gmt_create DESC, id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(token).collect()
    }

    /// Whether there was one.
    pub async fn delete_token(&self, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM tokens WHERE id = ?").bind(id).execute(&self.pool).await?;
        Ok(done.rows_affected() > 0)
    }

    /// The token of this hash as it stands, or why it would not pass.
    pub async fn find_token(
        &self,
        hash: &str,
        now: EpochMs,
    ) -> Result<Result<TokenRow, TokenRefused>, StoreError> {
        let row =
            sqlx::query("SELECT id, uses, region, tags, expires, gmt_create FROM tokens WHERE hash = ?")
                .bind(hash)
                .fetch_optional(&self.pool)
                .await?;
        let Some(row) = row else { return Ok(Err(TokenRefused::Unknown)) };
        let token = token(&row)?;
        Ok(match token {
            _ if token.expires <= now => Err(TokenRefused::Expired),
            _ if token.uses <= 0 => Err(TokenRefused::UsedUp),
            _ => Ok(token),
        })
    }

    /// Uses the token once and makes the host, or neither.
    pub async fn enroll_host(
        &self,
        token: &TokenRow,
        host: &HostRow,
    ) -> Result<Result<(), TokenRefused>, StoreError> {
        retried(|| self.enroll_host_once(token, host)).await
    }

    async fn enroll_host_once(
        &self,
        token: &TokenRow,
        host: &HostRow,
    ) -> Result<Result<(), TokenRefused>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let used = sqlx::query("UPDATE tokens SET uses = uses - 1 WHERE id = ? AND uses > 0")
            .bind(token.id.as_str())
            .execute(&mut *transaction)
            .await?;
        if used.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(Err(TokenRefused::UsedUp));
        }
        sqlx::query(
            "INSERT INTO hosts (id, name, region, tags, own_tags, status, cert_expires, cert_serial, \
             gmt_create, gmt_modify) VALUES (?, ?, ?, ?, '{}', 'unknown', ?, ?, ?, ?)",
        )
        .bind(host.id.to_string())
        .bind(host.greeting.name.as_str())
        .bind(host.settings.region.as_deref())
        .bind(host.settings.tags.as_ref().map(to_json))
        .bind(host.certificate.as_ref().map(|certificate| certificate.expires))
        .bind(host.certificate.as_ref().map(|certificate| certificate.serial.as_str()))
        .bind(host.created)
        .bind(host.created)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Ok(()))
    }
}

fn token(row: &AnyRow) -> Result<TokenRow, StoreError> {
    let tags: Option<String> = row.try_get("tags")?;
    let tags = tags.map(|text| from_json::<Tags>("tags", &text)).transpose()?;
    Ok(TokenRow {
        id: row.try_get("id")?,
        uses: row.try_get("uses")?,
        settings: Settings { region: row.try_get("region")?, tags },
        expires: row.try_get("expires")?,
        created: row.try_get("gmt_create")?,
    })
}
