//! One polaris a database, as one a folder: the server's own lock, which goes with the connection
//! that has it.

use super::mysql::connect;
use crate::limits;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, Row as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Why the database is not ours.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error(
        "another polaris uses it: stop that one, or choose another database; \
         of one that vanished with its machine it is free after {} seconds",
        limits::CLAIM_SILENCE_SECONDS
    )]
    Taken,
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    #[error("it does not answer")]
    Silent,
}

/// The database is ours until this is released.
#[derive(Debug)]
pub struct Claim {
    keeper: JoinHandle<()>,
    taken: watch::Receiver<bool>,
}

/// The lock with the connection that has it, and what the server calls that.
struct Held {
    connection: AnyConnection,
    id: i64,
}

/// Who has the lock, as a number.
const HOLDER: &str = "SELECT COALESCE(IS_USED_LOCK(CONCAT('polaris.', SHA1(DATABASE()))), 0)";

impl Claim {
    /// Takes the lock, and keeps it.
    pub async fn stake(options: &AnyConnectOptions) -> Result<Claim, ClaimError> {
        let held = take(options).await?;
        let (sender, taken) = watch::channel(false);
        Ok(Claim { keeper: tokio::spawn(keep(options.clone(), held, sender)), taken })
    }

    /// Ends when another polaris has the database: what this one has in memory is no longer so.
    pub async fn taken(&self) {
        if self.taken.clone().wait_for(|taken| *taken).await.is_err() {
            // It was released.
            std::future::pending::<()>().await;
        }
    }

    /// Another one may have the database now.
    pub fn release(&self) {
        self.keeper.abort();
    }
}

async fn keep(options: AnyConnectOptions, mut held: Held, taken: watch::Sender<bool>) {
    loop {
        let reason = look(&mut held.connection).await;
        tracing::error!(%reason, "the database may be taken by another polaris: its lock is lost");
        let Some(again) = take_again(&options, held.id).await else {
            taken.send_replace(true);
            return;
        };
        held = again;
        tracing::info!("the database's lock is held again");
    }
}

/// Answers why the lock is lost.
async fn look(connection: &mut AnyConnection) -> ClaimError {
    loop {
        sleep(limits::CLAIM_WATCHED).await;
        let held = "SELECT COALESCE(IS_USED_LOCK(CONCAT('polaris.', SHA1(DATABASE()))) = CONNECTION_ID(), 0)";
        match timeout(limits::DATABASE_CONNECT, number(connection, held)).await {
            Ok(Ok(1)) => {}
            Ok(Ok(_)) => return ClaimError::Taken,
            Ok(Err(error)) => return error.into(),
            Err(_) => return ClaimError::Silent,
        }
    }
}

/// `None`: another polaris has it. `former` had it for this one, and may for the server still have it.
async fn take_again(options: &AnyConnectOptions, former: i64) -> Option<Held> {
    let mut said = None;
    loop {
        match take(options).await {
            Ok(held) => return Some(held),
            Err(error) => {
                if matches!(error, ClaimError::Taken)
                    && holder(options).await.is_ok_and(|holder| ![0, former].contains(&holder))
                {
                    return None;
                }
                let reason = error.to_string();
                // While nothing changes, once is enough.
                if said.as_ref() != Some(&reason) {
                    tracing::error!(%reason, "the database's lock is not held");
                    said = Some(reason);
                }
            }
        }
        sleep(limits::CLAIM_RETRY).await;
    }
}

async fn holder(options: &AnyConnectOptions) -> Result<i64, sqlx::Error> {
    number(&mut connect(options).await?, HOLDER).await
}

async fn take(options: &AnyConnectOptions) -> Result<Held, ClaimError> {
    let mut connection = connect(options).await?;
    // The server ends a connection that is silent so long, and with it the lock of one whose machine is gone.
    let silence = format!("SET SESSION wait_timeout = {}", limits::CLAIM_SILENCE_SECONDS);
    sqlx::raw_sql(sqlx::AssertSqlSafe(silence)).execute(&mut connection).await?;
    // Of one that was killed a moment ago the server may not know yet.
    let wait = limits::CLAIM_WAIT_SECONDS;
    let get = format!("SELECT COALESCE(GET_LOCK(CONCAT('polaris.', SHA1(DATABASE())), {wait}), 0)");
    if number(&mut connection, &get).await? != 1 {
        return Err(ClaimError::Taken);
    }
    let id = number(&mut connection, "SELECT CONNECTION_ID()").await?;
    Ok(Held { connection, id })
}

/// What the expression after `SELECT` comes to.
async fn number(connection: &mut AnyConnection, select: &str) -> Result<i64, sqlx::Error> {
    let sql = select.replacen("SELECT ", "SELECT CAST(", 1) + " AS SIGNED)";
    sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(connection).await?.try_get(0)
}
