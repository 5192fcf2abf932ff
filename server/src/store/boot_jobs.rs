//! The table `boot_jobs`: what boot is to do on many hosts. Whoever changes what a job's hosts are at writes
//! to its row first, in the same transaction: nobody else then does meanwhile.

use super::own_requests::Own;
use super::{Store, StoreError, Transaction, from_json, retried, statements, to_json};
use crate::boot::catalogue::File;
use crate::boot::{HostState, JobState, WANTED};
use crate::clock::EpochMs;
use crate::limits::{BOOT_SWEPT_ROWS, KEPT_BOOT_JOBS, KEPT_WANTED_BOOT_JOBS, MAX_OPEN_BOOT_JOBS};
use sqlx::any::AnyRow;
use sqlx::{Any, QueryBuilder, Row};
use std::collections::HashMap;
use uuid::Uuid;

/// A job without what is only for its hosts.
#[derive(Debug, Clone)]
pub struct Summary {
    pub id: String,
    pub action: String,
    /// The agent's, or boot's.
    pub name: String,
    /// That the agent is to have; of a catalogue the newest.
    pub version: Option<String>,
    pub who: String,
    /// The expression that selected hosts.
    pub target: Option<String>,
    /// How many.
    pub hosts: i64,
    /// The most that have it at once.
    pub batch: Option<i64>,
    /// The most that may fail.
    pub max_errors: Option<i64>,
    /// Until when hosts may fetch it.
    pub expires: EpochMs,
    pub state: JobState,
    pub created: EpochMs,
}

/// A job.
#[derive(Debug)]
pub struct BootJobRow {
    pub summary: Summary,
    /// Of what was asked.
    pub digest: String,
    /// As hosts get it, a JSON object, but for a login and what is in `files`.
    pub job: String,
    /// With its login, until no host needs it any more.
    pub url: Option<String>,
    /// Of the catalogue; empty where the job has a URL, or needs none.
    pub files: Vec<File>,
    /// Seconds that a host has for it.
    pub timeout: i64,
}

/// The last job that a host asked for itself to get an agent, where it has ended.
#[derive(Debug)]
pub struct Tried {
    pub id: String,
    /// Of the job.
    pub state: JobState,
    /// On the host.
    pub on_host: HostState,
    pub message: Option<String>,
    pub ended: Option<EpochMs>,
}

/// Why a job was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobRefused {
    /// There is one of this id.
    IsThere,
    /// [`MAX_OPEN_BOOT_JOBS`] are open.
    Full,
}

/// Which jobs are wanted: those of which all that is said is so.
#[derive(Debug, Default)]
pub struct JobFilter<'a> {
    /// Whether it is open.
    pub open: Option<bool>,
    pub own: Option<Own<'a>>,
    /// The id of the one that the page before ended with.
    pub after: Option<&'a str>,
    pub limit: u64,
}

/// How many hosts are at each state, in the order of [`HostState::ALL`].
pub type Counts = [i64; HostState::ALL.len()];

const SUMMARY: &str = "SELECT id, action, name, version, who, target, hosts, batch, max_errors, expires, \
                       state, gmt_create";

impl Store {
    /// Takes a new job for these hosts, if it is one.
    pub async fn insert_boot_job(
        &self,
        job: &BootJobRow,
        hosts: &[String],
    ) -> Result<Result<(), JobRefused>, StoreError> {
        retried(|| self.insert_boot_job_once(job, hosts)).await
    }

    async fn insert_boot_job_once(
        &self,
        job: &BootJobRow,
        hosts: &[String],
    ) -> Result<Result<(), JobRefused>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        match insert(&mut transaction, job).await {
            Ok(()) => {}
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                transaction.rollback().await?;
                return Ok(Err(JobRefused::IsThere));
            }
            Err(error) => return Err(error.into()),
        }
        if job.summary.who != WANTED {
            let open: i64 =
                sqlx::query("SELECT COUNT(*) AS n FROM boot_jobs WHERE state = 'open' AND who <> ?")
                    .bind(WANTED)
                    .fetch_one(&mut *transaction)
                    .await?
                    .try_get("n")?;
            if open > MAX_OPEN_BOOT_JOBS {
                transaction.rollback().await?;
                return Ok(Err(JobRefused::Full));
            }
        }
        let rows: Vec<_> = hosts.iter().zip(0_i64..).collect();
        for some in statements(&rows, |_| 0) {
            let mut query =
                QueryBuilder::<Any>::new("INSERT INTO boot_job_hosts (job, host, position, state) ");
            query.push_values(some, |mut row, (host, position)| {
                row.push_bind(job.summary.id.as_str());
                row.push_bind(host.as_str()).push_bind(*position).push_bind(HostState::Waiting.name());
            });
            query.build().persistent(transaction.keeps_any()).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(Ok(()))
    }

    pub async fn find_boot_job(&self, id: &str) -> Result<Option<BootJobRow>, StoreError> {
        let mut query = QueryBuilder::<Any>::new(SUMMARY);
        query.push(", digest, job, url, files, timeout FROM boot_jobs WHERE id = ").push_bind(id);
        query.build().fetch_optional(&self.pool).await?.as_ref().map(job).transpose()
    }

    /// The newest first; `None` where there is no job `after`.
    pub async fn list_boot_jobs(&self, wanted: &JobFilter<'_>) -> Result<Option<Vec<Summary>>, StoreError> {
        let mut query = QueryBuilder::<Any>::new(SUMMARY);
        query.push(" FROM boot_jobs WHERE 1 = 1");
        narrow(&mut query, wanted);
        if let Some(after) = wanted.after {
            let row = sqlx::query("SELECT seq FROM boot_jobs WHERE id = ?").bind(after);
            let Some(row) = row.fetch_optional(&self.pool).await? else { return Ok(None) };
            query.push(" AND seq < ").push_bind(row.try_get::<i64, _>("seq")?);
        }
        query.push(" ORDER BY seq DESC LIMIT ");
        query.push_bind(i64::try_from(wanted.limit).unwrap_or(i64::MAX));
        let rows = query.build().persistent(self.pool.keeps_any()).fetch_all(&self.pool).await?;
        rows.iter().map(summary).collect::<Result<_, _>>().map(Some)
    }

    /// How many there are, on whatever page.
    pub async fn count_boot_jobs(&self, wanted: &JobFilter<'_>) -> Result<i64, StoreError> {
        let mut query = QueryBuilder::<Any>::new("SELECT COUNT(*) AS n FROM boot_jobs WHERE 1 = 1");
        narrow(&mut query, wanted);
        let row = query.build().persistent(self.pool.keeps_any()).fetch_one(&self.pool).await?;
        Ok(row.try_get("n")?)
    }

    /// What the hosts of these jobs are at, by job.
    pub async fn count_boot_job_hosts(&self, jobs: &[&str]) -> Result<HashMap<String, Counts>, StoreError> {
        let mut counts = HashMap::new();
        if jobs.is_empty() {
            return Ok(counts);
        }
        let mut query =
            QueryBuilder::<Any>::new("SELECT job, state, COUNT(*) AS n FROM boot_job_hosts WHERE job IN (");
        let mut list = query.separated(", ");
        for job in jobs {
            list.push_bind((*job).to_owned());
        }
        query.push(") GROUP BY job, state");
        for row in query.build().persistent(self.pool.keeps_any()).fetch_all(&self.pool).await? {
            let state: String = row.try_get("state")?;
            let place = HostState::ALL.iter().position(|known| known.name() == state);
            if let Some(place) = place {
                counts.entry(row.try_get("job")?).or_insert(Counts::default())[place] = row.try_get("n")?;
            }
        }
        Ok(counts)
    }

    /// Jobs of people that have ended and that are more than are kept, and those of hosts, go: the oldest,
    /// and none of which a host still has to tell something. How many went.
    pub async fn prune_boot_jobs(&self) -> Result<usize, StoreError> {
        let mut gone = 0;
        for (whose, kept) in [("<>", KEPT_BOOT_JOBS), ("=", KEPT_WANTED_BOOT_JOBS)] {
            let mut query =
                QueryBuilder::<Any>::new("SELECT id FROM boot_jobs WHERE state <> 'open' AND who ");
            query.push(whose).push(" ").push_bind(WANTED).push(" ORDER BY seq DESC LIMIT ");
            query.push_bind(BOOT_SWEPT_ROWS).push(" OFFSET ").push_bind(kept);
            for row in query.build().fetch_all(&self.pool).await? {
                let id: String = row.try_get("id")?;
                gone += usize::from(retried(|| self.forget_boot_job_once(&id)).await?);
            }
        }
        Ok(gone)
    }

    /// The last one that the host asked for itself to get the agent of these names, if it has ended.
    pub async fn last_wanted_boot_job(
        &self,
        host: Uuid,
        names: &[&str],
    ) -> Result<Option<Tried>, StoreError> {
        let mut query = QueryBuilder::<Any>::new(
            "SELECT j.id, j.state, h.state AS on_host, h.message, h.ended FROM boot_jobs j \
             JOIN boot_job_hosts h ON h.job = j.id WHERE h.host = ",
        );
        query.push_bind(host.to_string()).push(" AND j.who = ").push_bind(WANTED).push(" AND j.name IN (");
        let mut list = query.separated(", ");
        for name in names {
            list.push_bind((*name).to_owned());
        }
        query.push(") ORDER BY j.seq DESC LIMIT 1");
        let row = query.build().persistent(self.pool.keeps_any()).fetch_optional(&self.pool).await?;
        let tried = row.as_ref().map(tried).transpose()?;
        Ok(tried.filter(|tried| tried.state != JobState::Open))
    }

    /// The jobs that the host once asked for itself, to get this agent, and that have ended.
    pub async fn forget_wanted_boot_jobs(&self, host: Uuid, name: &str) -> Result<(), StoreError> {
        let rows = sqlx::query(
            "SELECT j.id FROM boot_jobs j JOIN boot_job_hosts h ON h.job = j.id \
             WHERE h.host = ? AND j.who = ? AND j.name = ? AND j.state <> 'open'",
        )
        .bind(host.to_string())
        .bind(WANTED)
        .bind(name)
        .fetch_all(&self.pool)
        .await?;
        for row in rows {
            let id: String = row.try_get("id")?;
            retried(|| self.forget_boot_job_once(&id)).await?;
        }
        Ok(())
    }

    async fn forget_boot_job_once(&self, id: &str) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let gone = sqlx::query(
            "DELETE FROM boot_jobs WHERE id = ? AND state <> 'open' AND NOT EXISTS \
             (SELECT 1 FROM boot_job_hosts h WHERE h.job = boot_jobs.id AND h.state IN ('waiting', 'sent'))",
        )
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        if gone.rows_affected() > 0 {
            let hosts = sqlx::query("DELETE FROM boot_job_hosts WHERE job = ?").bind(id);
            hosts.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(gone.rows_affected() > 0)
    }
}

async fn insert(transaction: &mut Transaction<'_>, job: &BootJobRow) -> Result<(), sqlx::Error> {
    let asked = &job.summary;
    sqlx::query(
        "INSERT INTO boot_jobs (id, seq, action, name, version, who, target, digest, job, url, files, hosts, \
         batch, max_errors, timeout, expires, state, gmt_create, gmt_modify) \
         SELECT ?, COALESCE(MAX(seq), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? \
         FROM boot_jobs",
    )
    .bind(asked.id.as_str())
    .bind(asked.action.as_str())
    .bind(asked.name.as_str())
    .bind(asked.version.as_deref())
    .bind(asked.who.as_str())
    .bind(asked.target.as_deref())
    .bind(job.digest.as_str())
    .bind(job.job.as_str())
    .bind(job.url.as_deref())
    .bind(to_json(&job.files))
    .bind(asked.hosts)
    .bind(asked.batch)
    .bind(asked.max_errors)
    .bind(job.timeout)
    .bind(asked.expires)
    .bind(asked.state.name())
    .bind(asked.created)
    .bind(asked.created)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn narrow(query: &mut QueryBuilder<Any>, wanted: &JobFilter<'_>) {
    if let Some(open) = wanted.open {
        query.push(if open { " AND state = 'open'" } else { " AND state <> 'open'" });
    }
    if let Some(own) = wanted.own {
        own.narrow(query, " AND");
    }
}

fn tried(row: &AnyRow) -> Result<Tried, StoreError> {
    let on_host: String = row.try_get("on_host")?;
    let on_host = HostState::named(&on_host)
        .ok_or(StoreError::Damaged { what: "the state of a boot job's host", reason: on_host })?;
    Ok(Tried {
        id: row.try_get("id")?,
        state: job_state(row)?,
        on_host,
        message: row.try_get("message")?,
        ended: row.try_get("ended")?,
    })
}

fn job_state(row: &AnyRow) -> Result<JobState, StoreError> {
    let state: String = row.try_get("state")?;
    JobState::named(&state).ok_or(StoreError::Damaged { what: "the state of a boot job", reason: state })
}

fn summary(row: &AnyRow) -> Result<Summary, StoreError> {
    let state = job_state(row)?;
    Ok(Summary {
        id: row.try_get("id")?,
        action: row.try_get("action")?,
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        who: row.try_get("who")?,
        target: row.try_get("target")?,
        hosts: row.try_get("hosts")?,
        batch: row.try_get("batch")?,
        max_errors: row.try_get("max_errors")?,
        expires: row.try_get("expires")?,
        state,
        created: row.try_get("gmt_create")?,
    })
}

fn job(row: &AnyRow) -> Result<BootJobRow, StoreError> {
    Ok(BootJobRow {
        summary: summary(row)?,
        digest: row.try_get("digest")?,
        job: row.try_get("job")?,
        url: row.try_get("url")?,
        files: from_json("the files of a boot job", &row.try_get::<String, _>("files")?)?,
        timeout: row.try_get("timeout")?,
    })
}
