//! What becomes of the jobs of a host that is removed: nobody will tell of them
//! any more.

use super::book::store_all;
use super::{Jobs, result_entry, target};
use crate::clock;
use crate::hosts::Host;
use crate::limits::MAX_ROWS_PER_COMMIT;
use crate::store::cron::CronChange;
use crate::store::jobs::{JobFilter, JobRow, ResultRow};
use crate::store::{Store, StoreError};
use aspire_wire::{JobState, Outcome, Retcode};
use std::sync::Arc;

/// What the host has told stays; what has not ended is lost, and its cron entries are gone.
pub async fn host_removed(jobs: &Arc<Jobs>, store: &Store, host: &Host) -> Result<(), StoreError> {
    store_all(jobs, store).await?;
    let _alone = jobs.inbox.storing.lock().await;
    let none = CronChange::Listed { host: host.id, entries: &[], all: true, at: clock::now() };
    store.put_jobs(&[], &[], &[none], &[]).await?;
    for state in [JobState::Queued, JobState::Running] {
        let limit = MAX_ROWS_PER_COMMIT as u64;
        let of_host = JobFilter { host: Some(host.id), state: Some(state), limit, ..JobFilter::default() };
        while let Some(rows) = store.list_jobs(&of_host).await?.filter(|rows| !rows.is_empty()) {
            lose(jobs, store, host, rows).await?;
        }
    }
    Ok(())
}

async fn lose(jobs: &Jobs, store: &Store, host: &Host, mut rows: Vec<JobRow>) -> Result<(), StoreError> {
    let at = clock::now();
    let outcome = Outcome::with_detail(Retcode::Lost, "the host was removed");
    let target = target(host);
    let entries: Vec<String> = rows.iter().map(|row| result_entry(&target, &row.job, &outcome)).collect();
    for row in &mut rows {
        row.state = JobState::Lost;
        row.retcode = Some(outcome.retcode.into());
        (row.ended, row.modified) = (Some(at), at);
    }
    let changed: Vec<&JobRow> = rows.iter().collect();
    let result = |(row, entry)| {
        let (row, entry): (&JobRow, &String) = (row, entry);
        ResultRow { host: row.host, job: &row.job, entry, at }
    };
    let results: Vec<_> = rows.iter().zip(&entries).map(result).collect();
    store.put_jobs(&changed, &results, &[], &[]).await?;
    for row in &rows {
        jobs.logs.ended(host.id, &row.job);
    }
    Ok(())
}
