//! The table `plugins`: the catalogue of what can be installed.

use super::{Store, StoreError, retried};
use crate::clock::EpochMs;
use crate::limits::MAX_PLUGINS;
use sqlx::any::{Any, AnyRow};
use sqlx::{QueryBuilder, Row};
use std::fmt;

/// One plugin. Shown as `NAME VERSION`, and whatever else tells it from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRow {
    pub id: String,
    pub name: String,
    pub version: String,
    /// Empty: any.
    pub arch: String,
    /// Empty: any.
    pub os: String,
    /// Below `/packages/`.
    pub file: String,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub checksum: String,
    pub created: EpochMs,
}

/// Which are wanted: those of which all that is said is so.
#[derive(Debug, Default)]
pub struct PluginFilter<'a> {
    pub name: Option<&'a str>,
    pub arch: Option<&'a str>,
    pub os: Option<&'a str>,
}

/// Why a plugin was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginRefused {
    /// There is one of this name, version, architecture and system.
    IsThere,
    /// [`MAX_PLUGINS`] are.
    Full,
}

const COLUMNS: &str =
    "SELECT id, name, version, arch, os, file, checksum, gmt_create FROM plugins WHERE 1 = 1";

impl Store {
    /// By name, the latest of each first.
    pub async fn list_plugins(&self, wanted: &PluginFilter<'_>) -> Result<Vec<PluginRow>, StoreError> {
        let mut query = QueryBuilder::<Any>::new(COLUMNS);
        for (column, value) in
            [(" AND name = ", wanted.name), (" AND arch = ", wanted.arch), (" AND os = ", wanted.os)]
        {
            if let Some(value) = value {
                query.push(column).push_bind(value);
            }
        }
        query.push(" ORDER BY name, gmt_create DESC, id");
        let rows = query.build().persistent(self.pool.keeps_any()).fetch_all(&self.pool).await?;
        rows.iter().map(plugin).collect()
    }

    pub async fn find_plugin(&self, id: &str) -> Result<Option<PluginRow>, StoreError> {
        let mut query = QueryBuilder::<Any>::new(COLUMNS);
        query.push(" AND id = ").push_bind(id);
        query.build().fetch_optional(&self.pool).await?.as_ref().map(plugin).transpose()
    }

    /// Those that are in this file.
    pub async fn plugins_of_file(&self, file: &str) -> Result<Vec<PluginRow>, StoreError> {
        let mut query = QueryBuilder::<Any>::new(COLUMNS);
        query.push(" AND file = ").push_bind(file);
        let rows = query.build().fetch_all(&self.pool).await?;
        rows.iter().map(plugin).collect()
    }

    /// Takes a new one, if it is one.
    pub async fn insert_plugin(&self, plugin: &PluginRow) -> Result<Result<(), PluginRefused>, StoreError> {
        retried(|| self.insert_plugin_once(plugin)).await
    }

    async fn insert_plugin_once(&self, plugin: &PluginRow) -> Result<Result<(), PluginRefused>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO plugins (id, name, version, arch, os, file, checksum, gmt_create, gmt_modify) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(plugin.id.as_str())
        .bind(plugin.name.as_str())
        .bind(plugin.version.as_str())
        .bind(plugin.arch.as_str())
        .bind(plugin.os.as_str())
        .bind(plugin.file.as_str())
        .bind(plugin.checksum.as_str())
        .bind(plugin.created)
        .bind(plugin.created)
        .execute(&mut *transaction)
        .await;
        match inserted {
            Ok(_) => {}
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                transaction.rollback().await?;
                return Ok(Err(PluginRefused::IsThere));
            }
            Err(error) => return Err(error.into()),
        }
        // After the write: a transaction that began with a read would fail where somebody wrote since.
        let count: i64 = sqlx::query("SELECT COUNT(*) AS n FROM plugins")
            .fetch_one(&mut *transaction)
            .await?
            .try_get("n")?;
        if count > MAX_PLUGINS {
            transaction.rollback().await?;
            return Ok(Err(PluginRefused::Full));
        }
        transaction.commit().await?;
        Ok(Ok(()))
    }

    /// Whether there was one.
    pub async fn delete_plugin(&self, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM plugins WHERE id = ?").bind(id).execute(&self.pool).await?;
        Ok(done.rows_affected() > 0)
    }
}

impl fmt::Display for PluginRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)?;
        for word in [&self.arch, &self.os] {
            if !word.is_empty() {
                write!(f, " {word}")?;
            }
        }
        Ok(())
    }
}

fn plugin(row: &AnyRow) -> Result<PluginRow, StoreError> {
    Ok(PluginRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        arch: row.try_get("arch")?,
        os: row.try_get("os")?,
        file: row.try_get("file")?,
        checksum: row.try_get("checksum")?,
        created: row.try_get("gmt_create")?,
    })
}
