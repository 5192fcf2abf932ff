//! The embedded database: one file, for one polaris.

use super::StoreError;
use crate::limits;
use crate::pki::files::private_file;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection as _};
use std::path::Path;
use std::str::FromStr as _;

/// Makes the file where it is missing, and brings its tables up to date.
pub async fn open(file: &Path, pool: AnyPoolOptions) -> Result<AnyPool, StoreError> {
    let unusable = |reason: String| StoreError::Unusable { database: file.display().to_string(), reason };
    // SQLite's further files take their mode from this one.
    private_file(file).map_err(|error| unusable(error.to_string()))?;
    let url = format!("sqlite://{}?mode=rwc", percent_encoded(file));
    // What is slow or wrong is logged by whoever calls, in one line.
    let options = AnyConnectOptions::from_str(&url)?.disable_statement_logging();
    // Before the pool, which would try for half a minute whatever is wrong.
    bring_up_to_date(&options).await.map_err(|error| unusable(error.to_string()))?;
    let pool = pool.after_connect(|connection, _| Box::pin(set_up(connection)));
    Ok(pool.connect_with(options).await?)
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
