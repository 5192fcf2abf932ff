//! The table `boot_job_hosts`: where each job of boot is on each of its hosts.

use super::{Store, StoreError, Transaction, retried};
use crate::boot::{HostState, Told};
use crate::clock::EpochMs;
use crate::limits::{BOOT_SWEPT_ROWS, MAX_BOOT_REASON_CHARS};
use aspire_wire::Retcode;
use aspire_wire::boot::{BootResult, OK};
use sqlx::Row;
use sqlx::any::AnyRow;
use uuid::Uuid;

/// A job that a host is to do, or does.
#[derive(Debug)]
pub struct OpenRow {
    pub job: String,
    pub action: String,
    /// The agent's.
    pub name: String,
    /// When the host was given it.
    pub sent: Option<EpochMs>,
    /// The place of its file among the job's.
    pub file: Option<i64>,
}

/// Where a job is on a host.
#[derive(Debug)]
pub struct JobHostRow {
    pub host: String,
    pub state: HostState,
    pub errcode: Option<i64>,
    pub message: Option<String>,
    pub sent: Option<EpochMs>,
    pub ended: Option<EpochMs>,
}

/// What is meant by a place in a batch.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub job: &'a str,
    pub host: Uuid,
    /// The most hosts that have the job at once.
    pub batch: Option<i64>,
    /// The file that the host is to get.
    pub file: Option<usize>,
    /// Until when its result is waited for.
    pub due: EpochMs,
}

/// What became of hosts that nobody gives the job any more.
const CANCELLED: &str = "the job was cancelled before this host fetched it";
const STOPPED: &str = "more hosts failed than the job's max_errors: this one did not get it";
const EXPIRED: &str = "the host did not fetch the job within its ttl";
const OVERTAKEN: &str = "this host was given a newer job of the same agent first";
const LATE: &str = "the host did not say in time what became of it";
const REVOKED: &str = "the host was revoked";

impl Store {
    /// Those of a host that have not ended, the oldest first.
    pub async fn open_boot_jobs(&self, host: Uuid, limit: u64) -> Result<Vec<OpenRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT h.job, h.state, h.sent, h.file, j.action, j.name FROM boot_job_hosts h \
             JOIN boot_jobs j ON j.id = h.job \
             WHERE h.host = ? AND h.state IN ('waiting', 'sent') ORDER BY j.seq LIMIT ?",
        )
        .bind(host.to_string())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(open).collect()
    }

    /// All hosts of a job, in the order asked.
    pub async fn boot_job_hosts(&self, job: &str) -> Result<Vec<JobHostRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT host, state, errcode, message, sent, ended FROM boot_job_hosts WHERE job = ? \
             ORDER BY position",
        )
        .bind(job)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(job_host).collect()
    }

    /// Gives the host a place, where one is free and the job is open; whether it did.
    pub async fn take_boot_place(&self, place: Place<'_>, at: EpochMs) -> Result<bool, StoreError> {
        retried(|| self.take_boot_place_once(place, at)).await
    }

    async fn take_boot_place_once(&self, place: Place<'_>, at: EpochMs) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let lock = "UPDATE boot_jobs SET gmt_modify = ? WHERE id = ? AND state = 'open' AND expires > ?";
        let query = sqlx::query(lock).bind(at).bind(place.job).bind(at);
        let mut free = query.execute(&mut *transaction).await?.rows_affected() > 0;
        if let Some(batch) = place.batch.filter(|_| free) {
            let taken = "SELECT COUNT(*) AS n FROM boot_job_hosts WHERE job = ? AND state = 'sent'";
            let row = sqlx::query(taken).bind(place.job).fetch_one(&mut *transaction).await?;
            free = row.try_get::<i64, _>("n")? < batch;
        }
        if !free {
            transaction.rollback().await?;
            return Ok(false);
        }
        let done = sqlx::query(
            "UPDATE boot_job_hosts SET state = 'sent', sent = ?, due = ?, file = ? \
             WHERE job = ? AND host = ? AND state = 'waiting'",
        )
        .bind(at)
        .bind(place.due)
        .bind(place.file.and_then(|file| i64::try_from(file).ok()))
        .bind(place.job)
        .bind(place.host.to_string())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// The host was given the job again: its result is waited for until then.
    pub async fn wait_for_boot_job(&self, job: &str, host: Uuid, due: EpochMs) -> Result<(), StoreError> {
        let sql = "UPDATE boot_job_hosts SET due = ? WHERE job = ? AND host = ? AND state = 'sent'";
        retried(async || {
            let query = sqlx::query(sql).bind(due).bind(job).bind(host.to_string());
            query.execute(&self.pool).await?;
            Ok(())
        })
        .await
    }

    /// The host never gets the job: a newer one has undone it.
    pub async fn overtake_boot_job(&self, job: &str, host: Uuid, at: EpochMs) -> Result<(), StoreError> {
        let (host, reason) = (host.to_string(), (Retcode::CancelledBeforeDelivery, OVERTAKEN));
        let states = (HostState::Waiting, HostState::Cancelled);
        retried(|| self.end_boot_hosts_once(job, Some(&host), states, reason, at)).await
    }

    /// The host never gets the job, for this reason. It is none of those that failed with it.
    pub async fn fail_waiting_boot_job(
        &self,
        job: &str,
        host: Uuid,
        reason: (Retcode, &str),
        at: EpochMs,
    ) -> Result<(), StoreError> {
        let host = host.to_string();
        let host = Some(host.as_str());
        retried(|| self.end_boot_hosts_once(job, host, (HostState::Waiting, HostState::Failed), reason, at))
            .await
    }

    /// No host gets the job any more that has not fetched it. Nothing changes where it is not open.
    pub async fn cancel_boot_job(&self, job: &str, at: EpochMs) -> Result<(), StoreError> {
        retried(|| self.cancel_boot_job_once(job, at)).await
    }

    async fn cancel_boot_job_once(&self, job: &str, at: EpochMs) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        let cancel =
            "UPDATE boot_jobs SET state = 'cancelled', gmt_modify = ? WHERE id = ? AND state = 'open'";
        let done = sqlx::query(cancel).bind(at).bind(job).execute(&mut *transaction).await?;
        if done.rows_affected() > 0 {
            let reason = (Retcode::CancelledBeforeDelivery, CANCELLED);
            end(&mut transaction, job, None, (HostState::Waiting, HostState::Cancelled), reason, at).await?;
            close(&mut transaction, job, at).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// What became of a job on a host, by its own word, which holds whatever was thought before.
    pub async fn end_boot_job(
        &self,
        host: Uuid,
        result: &BootResult,
        at: EpochMs,
    ) -> Result<Told, StoreError> {
        retried(|| self.end_boot_job_once(host, result, at)).await
    }

    async fn end_boot_job_once(
        &self,
        host: Uuid,
        result: &BootResult,
        at: EpochMs,
    ) -> Result<Told, StoreError> {
        let mut transaction = self.pool.begin().await?;
        lock(&mut transaction, &result.id, at).await?;
        let was = "SELECT host, state, errcode, message, sent, ended FROM boot_job_hosts \
                   WHERE job = ? AND host = ?";
        let was = sqlx::query(was).bind(result.id.as_str()).bind(host.to_string());
        let Some(was) = was.fetch_optional(&mut *transaction).await? else {
            transaction.rollback().await?;
            return Ok(Told::Unknown);
        };
        let was = job_host(&was)?;
        let goes_on = result.errcode == u32::from(Retcode::Accepted.code());
        let succeeded = [OK, u32::from(Retcode::NormalTermination.code())].contains(&result.errcode);
        let state = if succeeded { HostState::Done } else { HostState::Failed };
        let is_known = (was.errcode, was.message.as_deref())
            == (Some(i64::from(result.errcode)), Some(result.message.as_str()));
        // What has ended does not go on: an older word came late.
        let is_before =
            if goes_on { is_known || was.state != HostState::Sent } else { is_known && was.state == state };
        if is_before {
            transaction.rollback().await?;
            return Ok(Told::Before);
        }
        let sql = if goes_on {
            "UPDATE boot_job_hosts SET errcode = ?, message = ? WHERE job = ? AND host = ? AND state = 'sent'"
        } else {
            "UPDATE boot_job_hosts SET errcode = ?, message = ?, state = ?, ended = ? \
             WHERE job = ? AND host = ?"
        };
        let mut query = sqlx::query(sql).bind(i64::from(result.errcode)).bind(result.message.as_str());
        if !goes_on {
            query = query.bind(state.name()).bind(at);
        }
        let query = query.bind(result.id.as_str()).bind(host.to_string());
        query.execute(&mut *transaction).await?;
        if !goes_on {
            stop(&mut transaction, &result.id, at).await?;
            close(&mut transaction, &result.id, at).await?;
        }
        transaction.commit().await?;
        Ok(if goes_on { Told::GoesOn } else { Told::Ended(succeeded) })
    }

    /// Jobs of which a host is late with its result, and those that hosts may not fetch any more.
    pub async fn boot_jobs_run_out(&self, now: EpochMs) -> Result<(Vec<String>, Vec<String>), StoreError> {
        let late = "SELECT DISTINCT job AS id FROM boot_job_hosts WHERE state = 'sent' AND due <= ? LIMIT ?";
        let expired = "SELECT id FROM boot_jobs WHERE state = 'open' AND expires <= ? AND EXISTS \
            (SELECT 1 FROM boot_job_hosts w WHERE w.job = boot_jobs.id AND w.state = 'waiting') LIMIT ?";
        let mut found = [Vec::new(), Vec::new()];
        for (sql, found) in [late, expired].into_iter().zip(&mut found) {
            let query = sqlx::query(sql).bind(now).bind(BOOT_SWEPT_ROWS);
            for row in query.fetch_all(&self.pool).await? {
                found.push(row.try_get("id")?);
            }
        }
        let [late, expired] = found;
        Ok((late, expired))
    }

    /// The hosts that are late have failed.
    pub async fn end_late_boot_hosts(&self, job: &str, now: EpochMs) -> Result<(), StoreError> {
        let reason = (Retcode::NoReplyInTime, LATE);
        retried(|| self.end_boot_hosts_once(job, None, (HostState::Sent, HostState::Failed), reason, now))
            .await
    }

    /// The hosts that have not fetched the job get it no more.
    pub async fn expire_boot_job(&self, job: &str, now: EpochMs) -> Result<(), StoreError> {
        let reason = (Retcode::Expired, EXPIRED);
        retried(|| self.end_boot_hosts_once(job, None, (HostState::Waiting, HostState::Expired), reason, now))
            .await
    }

    async fn end_boot_hosts_once(
        &self,
        job: &str,
        host: Option<&str>,
        states: (HostState, HostState),
        reason: (Retcode, &str),
        at: EpochMs,
    ) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        lock(&mut transaction, job, at).await?;
        end(&mut transaction, job, host, states, reason, at).await?;
        stop(&mut transaction, job, at).await?;
        close(&mut transaction, job, at).await?;
        Ok(transaction.commit().await?)
    }

    /// The jobs of a host that is revoked: it drops out of them.
    pub async fn forget_boot_jobs_of(&self, host: Uuid, at: EpochMs) -> Result<(), StoreError> {
        let host = host.to_string();
        let rows = sqlx::query(
            "SELECT job, state FROM boot_job_hosts WHERE host = ? AND state IN \
            ('waiting', 'sent')",
        )
        .bind(host.as_str())
        .fetch_all(&self.pool)
        .await?;
        for row in &rows {
            let (job, was): (String, String) = (row.try_get("job")?, row.try_get("state")?);
            let was = HostState::named(&was).unwrap_or(HostState::Waiting);
            let (states, reason) = ((was, HostState::Cancelled), (Retcode::NoSuchHost, REVOKED));
            retried(|| self.end_boot_hosts_once(&job, Some(&host), states, reason, at)).await?;
        }
        Ok(())
    }
}

/// Nobody else changes what the job's hosts are at until the transaction ends.
async fn lock(transaction: &mut Transaction<'_>, job: &str, at: EpochMs) -> Result<(), StoreError> {
    let query = sqlx::query("UPDATE boot_jobs SET gmt_modify = ? WHERE id = ?").bind(at).bind(job);
    query.execute(&mut **transaction).await?;
    Ok(())
}

/// Those of the job's hosts, or the one, that are at the first state come to the second. Of those that the
/// job was given, only the late ones do.
async fn end(
    transaction: &mut Transaction<'_>,
    job: &str,
    host: Option<&str>,
    (from, to): (HostState, HostState),
    (retcode, message): (Retcode, &str),
    at: EpochMs,
) -> Result<(), StoreError> {
    debug_assert!(message.chars().count() <= MAX_BOOT_REASON_CHARS);
    let sql = match (host, from) {
        (Some(_), _) => {
            "UPDATE boot_job_hosts SET state = ?, errcode = ?, message = ?, ended = ? \
             WHERE job = ? AND state = ? AND host = ?"
        }
        (None, HostState::Sent) => {
            "UPDATE boot_job_hosts SET state = ?, errcode = ?, message = ?, ended = ? \
             WHERE job = ? AND state = ? AND due <= ?"
        }
        (None, _) => {
            "UPDATE boot_job_hosts SET state = ?, errcode = ?, message = ?, ended = ? \
             WHERE job = ? AND state = ?"
        }
    };
    let mut query = sqlx::query(sql).bind(to.name()).bind(i64::from(retcode.code())).bind(message);
    query = query.bind(at).bind(job).bind(from.name());
    query = match (host, from) {
        (Some(host), _) => query.bind(host),
        (None, HostState::Sent) => query.bind(at),
        (None, _) => query,
    };
    query.execute(&mut **transaction).await?;
    Ok(())
}

/// Where more hosts failed with the job than may, no further one gets it.
async fn stop(transaction: &mut Transaction<'_>, job: &str, at: EpochMs) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE boot_jobs SET state = 'stopped', gmt_modify = ? WHERE id = ? AND state = 'open' \
         AND max_errors < (SELECT COUNT(*) FROM boot_job_hosts h \
         WHERE h.job = boot_jobs.id AND h.state = 'failed' AND h.sent IS NOT NULL) AND EXISTS \
         (SELECT 1 FROM boot_job_hosts w WHERE w.job = boot_jobs.id AND w.state = 'waiting')",
    )
    .bind(at)
    .bind(job)
    .execute(&mut **transaction)
    .await?;
    if done.rows_affected() > 0 {
        let reason = (Retcode::CancelledBeforeDelivery, STOPPED);
        end(transaction, job, None, (HostState::Waiting, HostState::Cancelled), reason, at).await?;
    }
    Ok(())
}

/// A job that no host waits for or has is over, and nobody needs its login any more.
async fn close(transaction: &mut Transaction<'_>, job: &str, at: EpochMs) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE boot_jobs SET state = CASE WHEN state = 'open' THEN 'ended' ELSE state END, url = NULL, \
         gmt_modify = ? WHERE id = ? AND NOT EXISTS (SELECT 1 FROM boot_job_hosts h \
         WHERE h.job = boot_jobs.id AND h.state IN ('waiting', 'sent'))",
    )
    .bind(at)
    .bind(job)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn open(row: &AnyRow) -> Result<OpenRow, StoreError> {
    let is_sent = row.try_get::<String, _>("state")? == HostState::Sent.name();
    Ok(OpenRow {
        job: row.try_get("job")?,
        action: row.try_get("action")?,
        name: row.try_get("name")?,
        sent: if is_sent { row.try_get("sent")? } else { None },
        file: row.try_get("file")?,
    })
}

fn job_host(row: &AnyRow) -> Result<JobHostRow, StoreError> {
    let state: String = row.try_get("state")?;
    let state = HostState::named(&state)
        .ok_or(StoreError::Damaged { what: "the state of a boot job", reason: state })?;
    Ok(JobHostRow {
        host: row.try_get("host")?,
        state,
        errcode: row.try_get("errcode")?,
        message: row.try_get("message")?,
        sent: row.try_get("sent")?,
        ended: row.try_get("ended")?,
    })
}
