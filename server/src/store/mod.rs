//! The database: one file per table, plain SQL that SQLite and MySQL share.
//! Nothing above this folder writes SQL. A transaction never waits for a
//! second connection.

pub mod cron;
pub mod daemons;
pub mod facts;
pub mod hosts;
pub mod jobs;
mod measured;
pub mod queue;
pub mod requests;
pub mod tokens;

use crate::pki::files::private_file;
use crate::{limits, metrics};
use measured::{Pool, Transaction};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, ConnectOptions as _, Connection as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

/// The database is at fault: it cannot be opened, is full, damaged or away.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database {file} cannot be used: {reason}")]
    Unusable { file: PathBuf, reason: String },
    #[error("the database failed: {0}")]
    Database(String),
    #[error("the database holds {what} that cannot be read: {reason}")]
    Damaged { what: &'static str, reason: String },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        StoreError::Database(error.to_string())
    }
}

/// Calls the database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
}

impl Store {
    /// Opens the embedded database, makes it where it is missing, and brings its tables up to date.
    pub async fn open_sqlite(file: &Path) -> Result<Store, StoreError> {
        let unusable = |reason: String| StoreError::Unusable { file: file.to_owned(), reason };
        sqlx::any::install_default_drivers();
        // SQLite's further files take their mode from this one.
        private_file(file).map_err(|error| unusable(error.to_string()))?;
        let url = format!("sqlite://{}?mode=rwc", percent_encoded(file));
        // What is slow or wrong is logged by whoever calls, in one line.
        let options = AnyConnectOptions::from_str(&url)?.disable_statement_logging();
        // Before the pool, which would try for half a minute whatever is wrong.
        bring_up_to_date(&options).await.map_err(|error| unusable(error.to_string()))?;
        let inner = AnyPoolOptions::new()
            .max_connections(limits::DATABASE_CONNECTIONS)
            .after_connect(|connection, _| Box::pin(set_up(connection)))
            .connect_with(options)
            .await?;
        Ok(Store { pool: Pool { inner, metrics: metrics::Database::default() } })
    }

    /// The same, counted by these.
    #[must_use]
    pub fn measured_by(mut self, metrics: metrics::Database) -> Store {
        self.pool.metrics = metrics;
        self
    }

    /// Whether the database answers at all.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Writes back what is open and lets go of the files.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn bring_up_to_date(options: &AnyConnectOptions) -> Result<(), sqlx::Error> {
    let mut connection = AnyConnection::connect_with(options).await?;
    set_up(&mut connection).await?;
    sqlx::migrate!("migrations/sqlite").run(&mut connection).await?;
    connection.close().await
}

async fn set_up(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    // Before the mode: changing it may have to wait for another connection.
    let busy = format!("PRAGMA busy_timeout = {}", limits::DATABASE_BUSY_MS);
    sqlx::query(sqlx::AssertSqlSafe(busy)).execute(&mut *connection).await?;
    sqlx::query("PRAGMA journal_mode = WAL").execute(&mut *connection).await?;
    // A commit survives the end of the process, however it comes. The system's own end may take the
    // last ones with it, and never damages what was there: a sync for each would cost a disk's turn.
    sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut *connection).await?;
    Ok(())
}

fn percent_encoded(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => text.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            _ => write!(text, "%{byte:02X}").expect("a String takes everything"),
        }
    }
    text
}

/// What a column holds that was written as JSON.
fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Damaged { what, reason: e.to_string() })
}

/// The JSON of a map or a list of ours.
fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("maps of strings always serialise")
}
