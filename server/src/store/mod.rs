//! The database: one file per table, plain SQL that SQLite and MySQL share.
//! Nothing above this folder writes SQL. A transaction never waits for a
//! second connection.

pub mod audit;
mod begun;
pub mod boot_job_hosts;
pub mod boot_jobs;
pub mod boot_reports;
pub mod cron;
pub mod daemons;
pub mod facts;
pub mod hosts;
pub mod jobs;
mod measured;
pub mod own_requests;
pub mod plugins;
pub mod queue;
pub mod requests;
pub mod tokens;
pub mod users;

mod claim;
mod mysql;
mod mysql_url;
mod sqlite;

pub use mysql_url::MySqlUrl;

use crate::config::Database;
use crate::{limits, metrics};
use claim::Claim;
use measured::{Pool, Transaction};
use sqlx::any::AnyPoolOptions;
use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::sqlite::SqliteError;
use sqlx::{Any, QueryBuilder};
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// The database is at fault: it cannot be opened, is full, damaged or away.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database {database} cannot be used: {reason}")]
    Unusable {
        /// Its file, or its URL without the login.
        database: String,
        reason: String,
    },
    #[error("the database failed: {0}")]
    Database(String),
    /// Not of itself, but of what was to be written.
    #[error("the database does not take what is to be written: {0}")]
    Refused(String),
    /// As good as not begun: it may be tried again.
    #[error("the database gave up what another transaction stood in the way of: {0}")]
    InTheWay(String),
    #[error("the database holds {what} that cannot be read: {reason}")]
    Damaged { what: &'static str, reason: String },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        let database = error.as_database_error();
        let mysql = database.and_then(|error| error.try_downcast_ref()).map(MySqlDatabaseError::number);
        let sqlite = database.filter(|error| error.try_downcast_ref::<SqliteError>().is_some());
        let code = sqlite.and_then(DatabaseError::code).and_then(|code| code.parse::<u32>().ok());
        match (mysql, code.map(|code| code & 0xff)) {
            // A deadlock, and a lock that was waited for too long; SQLITE_BUSY and SQLITE_LOCKED, whatever
            // their further bits say.
            (Some(1213 | 1205), _) | (_, Some(5 | 6)) => StoreError::InTheWay(error.to_string()),
            _ if is_refused(&error) => StoreError::Refused(error.to_string()),
            _ => StoreError::Database(error.to_string()),
        }
    }
}

/// Whether a row, or the statement around it, is at fault.
fn is_refused(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    let code = error.code().unwrap_or_default();
    match error.try_downcast_ref::<MySqlDatabaseError>() {
        // More than a packet, and bytes that are no text; or the data, a constraint, the statement.
        Some(mysql) => {
            matches!(mysql.number(), 1153 | 1366) || ["22", "23", "42"].iter().any(|of| code.starts_with(of))
        }
        // SQLite's: too big, a constraint, a wrong type.
        None => code.parse().is_ok_and(|code: u32| matches!(code & 0xff, 18..=20)),
    }
}

/// Calls the database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
    /// Of a database server's, which others can reach too.
    claim: Option<Arc<Claim>>,
}

impl Store {
    /// Opens the database, which is in `file` where the configuration has no other, and brings its
    /// tables up to date. The file is made where it is missing.
    pub async fn open(database: &Database, file: &Path) -> Result<Store, StoreError> {
        sqlx::any::install_default_drivers();
        let pool = AnyPoolOptions::new().max_connections(database.connections);
        let of_server = database.url.is_some();
        let (inner, claim) = match &database.url {
            None => (sqlite::open(file, pool).await?, None),
            Some(url) => {
                let (pool, claim) = mysql::open(url, pool).await?;
                (pool, Some(Arc::new(claim)))
            }
        };
        Ok(Store { pool: Pool { inner, metrics: Arc::default(), of_server }, claim })
    }

    /// The same, counted by these.
    #[must_use]
    pub fn measured_by(mut self, metrics: Arc<metrics::Database>) -> Store {
        self.pool.metrics = metrics;
        self
    }

    /// Whether the database answers at all.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Ends when another polaris has the database. Nothing may be written to it from then on.
    pub async fn taken(&self) {
        match &self.claim {
            Some(claim) => claim.taken().await,
            None => std::future::pending().await,
        }
    }

    /// Writes back what is open and lets go of the database.
    pub async fn close(&self) {
        self.pool.close().await;
        if let Some(claim) = &self.claim {
            claim.release();
        }
    }
}

/// What `work`, one transaction, comes to. Where others stood in its way it is tried again.
async fn retried<T, F: Future<Output = Result<T, StoreError>>>(
    mut work: impl FnMut() -> F,
) -> Result<T, StoreError> {
    for _ in 1..limits::TRANSACTION_TRIES {
        match work().await {
            Err(StoreError::InTheWay(reason)) => tracing::warn!(%reason, "a transaction is tried again"),
            done => return done,
        }
    }
    work().await
}

/// The rows in pieces, each of which is one statement. A row has so many `bytes`.
fn statements<T>(rows: &[T], bytes: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut left = rows;
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fits = |row: &&T| {
            sum += bytes(row);
            sum <= limits::MAX_STATEMENT_BYTES
        };
        let count = left.iter().take(limits::MAX_ROWS_PER_STATEMENT).take_while(fits).count();
        let some;
        (some, left) = left.split_at(count.max(1).min(left.len()));
        (!some.is_empty()).then_some(some)
    })
}

/// Narrows a query to the rows whose column holds one of these ids; `None`: to nothing.
fn among(query: &mut QueryBuilder<Any>, column: &str, hosts: Option<&[Uuid]>) {
    match hosts {
        None => {}
        Some([]) => {
            query.push(" AND 1 = 0");
        }
        Some(hosts) => {
            let mut list = query.push(format_args!(" AND {column} IN (")).separated(", ");
            for host in hosts {
                list.push_bind(host.to_string());
            }
            query.push(")");
        }
    }
}

/// What a column holds that was written as JSON.
fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Damaged { what, reason: e.to_string() })
}

/// The JSON of a map or a list of ours.
fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("maps of strings always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{AnyConnection, Connection as _};
    use std::cell::Cell;

    #[test]
    fn a_statement_has_as_many_rows_as_fit_and_at_least_one() {
        let most = limits::MAX_STATEMENT_BYTES;
        let pieces = |rows: &[usize]| -> Vec<usize> { statements(rows, |n| *n).map(<[_]>::len).collect() };
        assert_eq!(pieces(&[]), [0; 0]);
        assert_eq!(pieces(&[1; 101]), [50, 50, 1]);
        assert_eq!(pieces(&[most / 2, most / 2, 1, most, 2 * most, 1, 1]), [2, 1, 1, 1, 2]);
    }

    #[tokio::test]
    async fn a_lock_of_the_embedded_database_is_in_the_way_and_nothing_else_is() {
        sqlx::any::install_default_drivers();
        let dir = tempfile::TempDir::new().unwrap();
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("x.db").display());
        let mut one = AnyConnection::connect(&url).await.unwrap();
        let mut other = AnyConnection::connect(&url).await.unwrap();
        let mut execute = async |connection, sql: &'static str| {
            let connection = if connection == 1 { &mut one } else { &mut other };
            sqlx::raw_sql(sql).execute(connection).await.map_err(StoreError::from)
        };
        execute(2, "PRAGMA busy_timeout = 0").await.unwrap();
        execute(1, "PRAGMA journal_mode = WAL; CREATE TABLE t (n); INSERT INTO t VALUES (1)").await.unwrap();
        let busy = |done| matches!(done, Err(StoreError::InTheWay(_)));
        execute(2, "BEGIN; SELECT n FROM t").await.unwrap();
        execute(1, "UPDATE t SET n = 2").await.unwrap();
        // What it has read is old: SQLITE_BUSY_SNAPSHOT.
        assert!(busy(execute(2, "UPDATE t SET n = 3").await));
        execute(2, "ROLLBACK").await.unwrap();
        execute(1, "BEGIN IMMEDIATE").await.unwrap();
        assert!(busy(execute(2, "UPDATE t SET n = 3").await));
        assert!(matches!(execute(2, "UPDATE x SET n = 3").await, Err(StoreError::Database(_))));
    }

    #[tokio::test]
    async fn what_another_transaction_stands_in_the_way_of_is_tried_again_and_not_for_ever() {
        let tries = Cell::new(0);
        let work = |succeeds: usize| {
            let tries = &tries;
            move || {
                tries.set(tries.get() + 1);
                let done = tries.get() == succeeds;
                async move { if done { Ok(()) } else { Err(StoreError::InTheWay("a deadlock".into())) } }
            }
        };
        retried(work(2)).await.unwrap();
        assert_eq!(tries.replace(0), 2);
        assert!(matches!(retried(work(0)).await, Err(StoreError::InTheWay(_))));
        assert_eq!(tries.replace(0), limits::TRANSACTION_TRIES);
        let failed = async || Err::<(), _>(StoreError::Database("full".into()));
        assert!(matches!(retried(failed).await, Err(StoreError::Database(_))));
    }
}
