//! A database of a MySQL or MariaDB server, for one polaris.

use super::claim::Claim;
use super::{MySqlUrl, StoreError};
use crate::limits;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Row as _};
use tokio::time::timeout;

/// Takes the database for itself, and brings its tables up to date.
pub async fn open(url: &MySqlUrl, pool: AnyPoolOptions) -> Result<(AnyPool, Claim), StoreError> {
    let unusable = |reason: String| StoreError::Unusable { database: url.to_string(), reason };
    // What is slow or wrong is logged by whoever calls, in one line.
    let mut options = url.options().clone().disable_statement_logging();
    let kept = limits::DATABASE_STATEMENTS / pool.get_max_connections();
    options.database_url.query_pairs_mut().append_pair("statement-cache-capacity", &kept.to_string());
    let claim = Claim::stake(&options).await.map_err(|error| unusable(error.to_string()))?;
    bring_up_to_date(&options).await.map_err(unusable)?;
    let pool = pool
        .acquire_timeout(limits::DATABASE_ACQUIRE)
        .after_connect(|connection, _| Box::pin(set_up(connection)))
        .connect_with(options)
        .await?;
    Ok((pool, claim))
}

/// A connection, or the reason why there is none.
pub(super) async fn connect(options: &AnyConnectOptions) -> Result<AnyConnection, sqlx::Error> {
    let connecting = AnyConnection::connect_with(options);
    timeout(limits::DATABASE_CONNECT, connecting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

async fn bring_up_to_date(options: &AnyConnectOptions) -> Result<(), String> {
    let said = |error: sqlx::Error| error.to_string();
    let mut connection = connect(options).await.map_err(said)?;
    set_up(&mut connection).await.map_err(said)?;
    check_packet(&mut connection).await?;
    set_collation(&mut connection).await?;
    sqlx::migrate!("migrations/mysql").run(&mut connection).await.map_err(|error| error.to_string())?;
    connection.close().await.map_err(said)
}

/// The same rules whatever the server's are: a value that does not fit is refused and not cut, and
/// a transaction sees what is committed, as with SQLite.
async fn set_up(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let rules = format!(
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
         SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,PIPES_AS_CONCAT', \
         SESSION innodb_lock_wait_timeout = {}",
        limits::DATABASE_BUSY_MS / 1000
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(rules)).execute(connection).await?;
    Ok(())
}

/// Better said now than when the first large result comes.
async fn check_packet(connection: &mut AnyConnection) -> Result<(), String> {
    let packet = sqlx::query("SELECT CAST(@@max_allowed_packet AS SIGNED) AS packet");
    let packet = packet.fetch_one(connection).await.and_then(|row| row.try_get("packet"));
    enough_for_a_statement(packet.map_err(|error| error.to_string())?)
}

fn enough_for_a_statement(packet: i64) -> Result<(), String> {
    let least = limits::DATABASE_PACKET_BYTES;
    if packet >= least {
        return Ok(());
    }
    Err(format!("the server's max_allowed_packet is {packet} bytes: set it to {least} or more"))
}

/// Texts are told apart as SQLite does it, by each of their bytes. The usual collations take two
/// names for one that differ in blanks at the end, and any host may have such.
async fn set_collation(connection: &mut AnyConnection) -> Result<(), String> {
    let find = "SELECT COLLATION_NAME AS name, @@collation_database AS now \
                FROM information_schema.COLLATIONS \
                WHERE COLLATION_NAME IN ('utf8mb4_nopad_bin', 'utf8mb4_0900_bin') \
                ORDER BY COLLATION_NAME DESC LIMIT 1";
    let row = sqlx::query(find).fetch_optional(&mut *connection).await.map_err(|error| error.to_string())?;
    let row = row.ok_or("the server is too old: polaris needs MySQL 8.0.17 or MariaDB 10.11, or newer")?;
    let text = |column: &str| row.try_get::<String, _>(column).map_err(|error| error.to_string());
    let (name, now) = (text("name")?, text("now")?);
    if name == now {
        return Ok(());
    }
    let set = format!("ALTER DATABASE CHARACTER SET utf8mb4 COLLATE {name}");
    match sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(connection).await {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("its collation cannot be set to {name}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_would_refuse_large_results_is_refused() {
        let error = enough_for_a_statement(1024 * 1024).unwrap_err();
        assert!(error.ends_with("max_allowed_packet is 1048576 bytes: set it to 16777216 or more"));
        assert_eq!(enough_for_a_statement(16 * 1024 * 1024), Ok(()));
    }
}
