//! The tables `jobs` and `job_results`. Lists read the first alone.

use super::cron::{self, CronChange};
use super::daemons::{self, DaemonChange};
use super::{Store, StoreError, among, retried, statements};
use crate::clock::EpochMs;
use crate::limits::MAX_ROWS_PER_STATEMENT;
use aspire_wire::JobState;
use sqlx::any::{Any, AnyRow};
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

/// A host and the name that it has for one of its jobs.
pub type JobKey<'a> = (Uuid, &'a str);

/// One row of `jobs`.
#[derive(Debug, Clone)]
pub struct JobRow {
    pub host: Uuid,
    pub job: String,
    pub request: Option<String>,
    pub cron: Option<String>,
    /// The command's beginning.
    pub cmd: Option<String>,
    pub state: JobState,
    pub attempts: i64,
    /// Until here what polaris knows by itself; the rest, but for `created` and `modified`, comes
    /// with the result and by the host's clock.
    pub retcode: Option<i64>,
    pub accepted: Option<EpochMs>,
    pub started: Option<EpochMs>,
    pub ended: Option<EpochMs>,
    pub scheduled: Option<EpochMs>,
    pub missed: i64,
    pub created: EpochMs,
    pub modified: EpochMs,
}

impl Default for JobRow {
    fn default() -> JobRow {
        JobRow {
            host: Uuid::nil(),
            job: String::new(),
            request: None,
            cron: None,
            cmd: None,
            state: JobState::Queued,
            attempts: 0,
            retcode: None,
            accepted: None,
            started: None,
            ended: None,
            scheduled: None,
            missed: 0,
            created: 0,
            modified: 0,
        }
    }
}

/// One row of `job_results`.
#[derive(Debug)]
pub struct ResultRow<'a> {
    pub host: Uuid,
    pub job: &'a str,
    /// JSON object.
    pub entry: &'a str,
    pub at: EpochMs,
}

/// Which jobs are wanted.
#[derive(Debug, Default)]
pub struct JobFilter<'a> {
    pub host: Option<Uuid>,
    /// None but of these.
    pub hosts: Option<Vec<Uuid>>,
    pub state: Option<JobState>,
    pub cron: Option<&'a str>,
    pub request: Option<&'a str>,
    /// The one that the page before ended with.
    pub before: Option<JobKey<'a>>,
    pub limit: u64,
}

const COLUMNS: &str = "host, job, request, cron, cmd, state, attempts, retcode, accepted, started, ended, \
                       scheduled, missed, gmt_create, gmt_modify";

impl Store {
    /// Those of the jobs that are known, in no order.
    pub async fn load_jobs(&self, keys: &[JobKey<'_>]) -> Result<Vec<JobRow>, StoreError> {
        let mut found = Vec::new();
        for some in keys.chunks(MAX_ROWS_PER_STATEMENT) {
            let mut query = QueryBuilder::<Any>::new(format!("SELECT {COLUMNS} FROM jobs WHERE "));
            let mut any = query.separated(" OR ");
            for (host, job) in some {
                any.push("(host = ").push_bind_unseparated(host.to_string());
                any.push_unseparated(" AND job = ").push_bind_unseparated(*job).push_unseparated(")");
            }
            let rows = query.build().persistent(self.pool.keeps_any()).fetch_all(&self.pool).await?;
            found.extend(rows.iter().map(job_row).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(found)
    }

    /// The jobs as they are now, the results that are new, and what became of cron tables and of
    /// daemons: all of it or nothing. A job has one result: a second one is an error.
    pub async fn put_jobs(
        &self,
        jobs: &[&JobRow],
        results: &[ResultRow<'_>],
        cron: &[CronChange<'_>],
        daemons: &[DaemonChange<'_>],
    ) -> Result<(), StoreError> {
        retried(|| self.put_jobs_once(jobs, results, cron, daemons)).await
    }

    async fn put_jobs_once(
        &self,
        jobs: &[&JobRow],
        results: &[ResultRow<'_>],
        cron: &[CronChange<'_>],
        daemons: &[DaemonChange<'_>],
    ) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for some in jobs.chunks(MAX_ROWS_PER_STATEMENT) {
            replace(some).build().persistent(transaction.keeps_any()).execute(&mut *transaction).await?;
        }
        for some in statements(results, |row| row.entry.len()) {
            let mut query =
                QueryBuilder::<Any>::new("INSERT INTO job_results (host, job, entry, gmt_create) ");
            query.push_values(some, |mut row, result| {
                row.push_bind(result.host.to_string())
                    .push_bind(result.job)
                    .push_bind(result.entry)
                    .push_bind(result.at);
            });
            query.build().persistent(transaction.keeps_any()).execute(&mut *transaction).await?;
        }
        cron::change(&mut transaction, cron).await?;
        daemons::change(&mut transaction, daemons).await?;
        Ok(transaction.commit().await?)
    }

    /// Newest first. `None` where there is no job to begin before.
    pub async fn list_jobs(&self, wanted: &JobFilter<'_>) -> Result<Option<Vec<JobRow>>, StoreError> {
        let mut query = QueryBuilder::<Any>::new(format!("SELECT {COLUMNS} FROM jobs WHERE 1 = 1"));
        if let Some((host, job)) = wanted.before {
            let Some(created) = self.job_created(host, job).await? else { return Ok(None) };
            query.push(" AND (gmt_create < ").push_bind(created);
            query.push(" OR (gmt_create = ").push_bind(created);
            query.push(" AND (host < ").push_bind(host.to_string());
            query.push(" OR (host = ").push_bind(host.to_string());
            query.push(" AND job < ").push_bind(job).push("))))");
        }
        if let Some(host) = wanted.host {
            query.push(" AND host = ").push_bind(host.to_string());
        }
        among(&mut query, "host", wanted.hosts.as_deref());
        if let Some(state) = wanted.state {
            query.push(" AND state = ").push_bind(state.name());
        }
        if let Some(cron) = wanted.cron {
            query.push(" AND cron = ").push_bind(cron);
        }
        if let Some(request) = wanted.request {
            query.push(" AND request = ").push_bind(request);
        }
        query.push(" ORDER BY gmt_create DESC, host DESC, job DESC LIMIT ");
        query.push_bind(i64::try_from(wanted.limit).unwrap_or(i64::MAX));
        let rows = query.build().persistent(self.pool.keeps_any()).fetch_all(&self.pool).await?;
        rows.iter().map(job_row).collect::<Result<_, _>>().map(Some)
    }

    /// One job, with its result (JSON) where it has one.
    pub async fn find_job(
        &self,
        host: Uuid,
        job: &str,
    ) -> Result<Option<(JobRow, Option<String>)>, StoreError> {
        let Some(row) = self.load_jobs(&[(host, job)]).await?.pop() else { return Ok(None) };
        let result = sqlx::query("SELECT entry FROM job_results WHERE host = ? AND job = ?")
            .bind(host.to_string())
            .bind(job)
            .fetch_optional(&self.pool)
            .await?;
        Ok(Some((row, result.map(|row| row.try_get("entry")).transpose()?)))
    }

    async fn job_created(&self, host: Uuid, job: &str) -> Result<Option<EpochMs>, StoreError> {
        let row = sqlx::query("SELECT gmt_create FROM jobs WHERE host = ? AND job = ?")
            .bind(host.to_string())
            .bind(job)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| row.try_get("gmt_create")).transpose()?)
    }
}

/// Many rows in one statement, which the two databases have in common.
fn replace(rows: &[&JobRow]) -> QueryBuilder<Any> {
    let mut query = QueryBuilder::<Any>::new(format!("REPLACE INTO jobs ({COLUMNS}) "));
    query.push_values(rows, |mut values, row| {
        values
            .push_bind(row.host.to_string())
            .push_bind(row.job.as_str())
            .push_bind(row.request.as_deref())
            .push_bind(row.cron.as_deref())
            .push_bind(row.cmd.as_deref())
            .push_bind(row.state.name())
            .push_bind(row.attempts)
            .push_bind(row.retcode)
            .push_bind(row.accepted)
            .push_bind(row.started)
            .push_bind(row.ended)
            .push_bind(row.scheduled)
            .push_bind(row.missed)
            .push_bind(row.created)
            .push_bind(row.modified);
    });
    query
}

fn job_row(row: &AnyRow) -> Result<JobRow, StoreError> {
    let host: String = row.try_get("host")?;
    let damaged = |reason: String| StoreError::Damaged { what: "a job", reason };
    let host = Uuid::parse_str(&host).map_err(|error| damaged(format!("{host}: {error}")))?;
    let state: String = row.try_get("state")?;
    let state = JobState::ALL.into_iter().find(|known| known.name() == state);
    Ok(JobRow {
        host,
        job: row.try_get("job")?,
        request: row.try_get("request")?,
        cron: row.try_get("cron")?,
        cmd: row.try_get("cmd")?,
        state: state.ok_or_else(|| damaged("a state that is none".into()))?,
        attempts: row.try_get("attempts")?,
        retcode: row.try_get("retcode")?,
        accepted: row.try_get("accepted")?,
        started: row.try_get("started")?,
        ended: row.try_get("ended")?,
        scheduled: row.try_get("scheduled")?,
        missed: row.try_get("missed")?,
        created: row.try_get("gmt_create")?,
        modified: row.try_get("gmt_modify")?,
    })
}
