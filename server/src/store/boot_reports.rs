//! The tables `boot_reports` and `boot_agents`: what hosts' boots told last.

use super::{Store, StoreError, Transaction, among, from_json, retried, statements, to_json};
use crate::clock::EpochMs;
use crate::limits::SILENT_STEP_TENTHS;
use aspire_wire::boot::{AgentStatus, AgentTold, Status};
use sqlx::any::AnyRow;
use sqlx::{Any, QueryBuilder, Row};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Milliseconds without a report after which a host is silent, for each second of its step.
const SILENT_MS: i64 = SILENT_STEP_TENTHS * 100;

/// A host's boot.
#[derive(Debug)]
pub struct ReportRow {
    pub host: Uuid,
    pub hostname: String,
    pub version: String,
    /// Seconds.
    pub uptime: i64,
    /// Seconds.
    pub step: i64,
    pub packages: Vec<String>,
    pub reported: EpochMs,
}

/// An agent that a host's boot looks after.
#[derive(Debug)]
pub struct AgentRow {
    pub host: Uuid,
    pub hostname: String,
    pub name: String,
    pub version: String,
    pub status: String,
    pub state: Option<String>,
    /// Seconds.
    pub uptime: i64,
    pub reason: Option<String>,
    pub reported: EpochMs,
    pub silent: bool,
}

/// How many hosts have an agent of this name and version at this status.
#[derive(Debug)]
pub struct AgentCount {
    pub name: String,
    pub version: String,
    pub status: String,
    pub hosts: i64,
    /// Of these, those that are silent.
    pub silent: i64,
}

/// Which hosts or agents are wanted: those of which all that is said is so.
#[derive(Debug, Default)]
pub struct FleetFilter<'a> {
    /// Of these hosts, which are no more than a statement can name.
    pub hosts: Option<Vec<Uuid>>,
    /// An agent of one of these names.
    pub names: Option<Vec<&'a str>>,
    pub status: Option<AgentStatus>,
    /// Whether the host is silent.
    pub silent: Option<bool>,
    /// Whether the agent's version is one of these, by its name.
    pub versions: Option<(bool, BTreeMap<String, Vec<String>>)>,
    /// Of agents the name, and the host, of the one that the page before ended with.
    pub after: Option<(&'a str, Uuid)>,
    pub limit: u64,
    pub now: EpochMs,
    /// Since when hosts can report: before, none is silent.
    pub heard_since: EpochMs,
}

impl ReportRow {
    /// Whether a report is overdue, of those that could be heard.
    pub fn is_silent(&self, now: EpochMs, heard_since: EpochMs) -> bool {
        is_silent(self.reported, self.step, now, heard_since)
    }
}

impl Store {
    /// Keeps what the host tells in the place of what it told before; whether there is such a host still.
    pub async fn put_boot_report(
        &self,
        host: Uuid,
        report: &Status,
        at: EpochMs,
    ) -> Result<bool, StoreError> {
        retried(|| self.put_boot_report_once(host, report, at)).await
    }

    async fn put_boot_report_once(
        &self,
        host: Uuid,
        report: &Status,
        at: EpochMs,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let host = host.to_string();
        let done = sqlx::query(
            "REPLACE INTO boot_reports (host, hostname, version, uptime, step, packages, gmt_modify) \
             SELECT h.id, ?, ?, ?, ?, ?, ? FROM hosts h WHERE h.id = ? AND h.revoked IS NULL",
        )
        .bind(report.hostname.as_str())
        .bind(report.version.as_str())
        .bind(seconds(report.uptime))
        .bind(seconds(report.step))
        .bind(to_json(&report.packages))
        .bind(at)
        .bind(host.as_str())
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        forget_others(&mut transaction, &host, &report.agents).await?;
        put_agents(&mut transaction, &host, &report.agents).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// By name and then by host.
    pub async fn list_boot_agents(&self, wanted: &FleetFilter<'_>) -> Result<Vec<AgentRow>, StoreError> {
        let mut query = QueryBuilder::<Any>::new(
            "SELECT a.host, r.hostname, a.name, a.version, a.status, a.state, a.uptime, a.reason, r.step, \
             r.gmt_modify FROM boot_agents a JOIN boot_reports r ON r.host = a.host WHERE 1 = 1",
        );
        narrow(&mut query, wanted);
        narrow_agents(&mut query, wanted);
        if let Some((name, host)) = wanted.after {
            query.push(" AND (a.name > ").push_bind(name);
            query.push(" OR (a.name = ").push_bind(name);
            query.push(" AND a.host > ").push_bind(host.to_string()).push("))");
        }
        query.push(" ORDER BY a.name, a.host LIMIT ").push_bind(limit(wanted));
        let rows = query.build().persistent(self.pool.keeps_any()).fetch_all(&self.pool).await?;
        rows.iter().map(|row| agent(row, wanted)).collect()
    }

    /// How many there are, on whatever page, by name, version and status.
    pub async fn count_boot_agents(&self, wanted: &FleetFilter<'_>) -> Result<Vec<AgentCount>, StoreError> {
        let mut query = QueryBuilder::<Any>::new(
            "SELECT a.name, a.version, a.status, COUNT(*) AS hosts, COUNT(CASE WHEN ",
        );
        push_silent(&mut query, wanted);
        query.push(
            " THEN 1 END) AS silent FROM boot_agents a JOIN boot_reports r ON r.host = a.host WHERE 1 = 1",
        );
        narrow(&mut query, wanted);
        narrow_agents(&mut query, wanted);
        query.push(" GROUP BY a.name, a.version, a.status ORDER BY a.name, a.version, a.status");
        let rows = query.build().persistent(self.pool.keeps_any()).fetch_all(&self.pool).await?;
        rows.iter().map(count).collect()
    }

    /// The versions that hosts have, by the agents' names; at most so many.
    pub async fn boot_versions(&self, most: usize) -> Result<Vec<(String, String)>, StoreError> {
        let rows =
            sqlx::query("SELECT DISTINCT name, version FROM boot_agents ORDER BY name, version LIMIT ?")
                .bind(i64::try_from(most).unwrap_or(i64::MAX))
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(|row| Ok((row.try_get("name")?, row.try_get("version")?))).collect()
    }

    /// By host.
    pub async fn list_boot_hosts(&self, wanted: &FleetFilter<'_>) -> Result<Vec<ReportRow>, StoreError> {
        let mut query = QueryBuilder::<Any>::new(
            "SELECT r.host, r.hostname, r.version, r.uptime, r.step, r.packages, r.gmt_modify \
             FROM boot_reports r WHERE 1 = 1",
        );
        narrow(&mut query, wanted);
        if let Some((_, host)) = wanted.after {
            query.push(" AND r.host > ").push_bind(host.to_string());
        }
        query.push(" ORDER BY r.host LIMIT ").push_bind(limit(wanted));
        let rows = query.build().persistent(self.pool.keeps_any()).fetch_all(&self.pool).await?;
        rows.iter().map(report).collect()
    }

    /// How many hosts there are of which boot told, on whatever page.
    pub async fn count_boot_hosts(&self, wanted: &FleetFilter<'_>) -> Result<i64, StoreError> {
        let mut query = QueryBuilder::<Any>::new("SELECT COUNT(*) AS n FROM boot_reports r WHERE 1 = 1");
        narrow(&mut query, wanted);
        let row = query.build().persistent(self.pool.keeps_any()).fetch_one(&self.pool).await?;
        Ok(row.try_get("n")?)
    }

    /// The names of the agents of these hosts, by host.
    pub async fn boot_agents_of(&self, hosts: &[Uuid]) -> Result<Vec<(Uuid, String)>, StoreError> {
        let mut query = QueryBuilder::<Any>::new("SELECT host, name FROM boot_agents WHERE 1 = 1");
        among(&mut query, "host", Some(hosts));
        query.push(" ORDER BY host, name");
        let rows = query.build().persistent(self.pool.keeps_any()).fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok((host_id(row)?, row.try_get("name")?))).collect()
    }
}

/// The host is revoked.
pub(super) async fn forget(transaction: &mut Transaction<'_>, host: Uuid) -> Result<(), StoreError> {
    for sql in ["DELETE FROM boot_reports WHERE host = ?", "DELETE FROM boot_agents WHERE host = ?"] {
        sqlx::query(sql).bind(host.to_string()).execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Those that the host does not tell of any more are gone. Each by its own name: what is not there is not
/// looked for, for hosts that report at once for the first time would stand in each other's way.
async fn forget_others(
    transaction: &mut Transaction<'_>,
    host: &str,
    agents: &[AgentTold],
) -> Result<(), StoreError> {
    let query = sqlx::query("SELECT name FROM boot_agents WHERE host = ?").bind(host);
    for row in query.fetch_all(&mut **transaction).await? {
        let name: String = row.try_get("name")?;
        if agents.iter().all(|agent| agent.name != name) {
            let gone = sqlx::query("DELETE FROM boot_agents WHERE host = ? AND name = ?");
            gone.bind(host).bind(name).execute(&mut **transaction).await?;
        }
    }
    Ok(())
}

async fn put_agents(
    transaction: &mut Transaction<'_>,
    host: &str,
    agents: &[AgentTold],
) -> Result<(), StoreError> {
    for some in statements(agents, |agent| agent.reason.as_ref().map_or(0, String::len)) {
        let mut query = QueryBuilder::<Any>::new(
            "REPLACE INTO boot_agents (host, name, version, status, state, uptime, reason) ",
        );
        query.push_values(some, |mut row, agent| {
            row.push_bind(host)
                .push_bind(agent.name.as_str())
                .push_bind(agent.version.as_str())
                .push_bind(agent.status.name())
                .push_bind(agent.state.map(aspire_wire::daemon::DaemonStatus::name))
                .push_bind(seconds(agent.uptime))
                .push_bind(agent.reason.as_deref());
        });
        query.build().persistent(transaction.keeps_any()).execute(&mut **transaction).await?;
    }
    Ok(())
}

fn narrow(query: &mut QueryBuilder<Any>, wanted: &FleetFilter<'_>) {
    among(query, "r.host", wanted.hosts.as_deref());
    if let Some(silent) = wanted.silent {
        query.push(if silent { " AND " } else { " AND NOT " });
        push_silent(query, wanted);
    }
}

/// As [`is_silent`].
fn push_silent(query: &mut QueryBuilder<Any>, wanted: &FleetFilter<'_>) {
    query.push(format_args!("(r.gmt_modify + r.step * {SILENT_MS} < ")).push_bind(wanted.now);
    query.push(format_args!(" AND r.step * {SILENT_MS} < "));
    query.push_bind(wanted.now - wanted.heard_since).push(")");
}

fn is_silent(reported: EpochMs, step: i64, now: EpochMs, heard_since: EpochMs) -> bool {
    reported.max(heard_since) + step * SILENT_MS < now
}

fn narrow_agents(query: &mut QueryBuilder<Any>, wanted: &FleetFilter<'_>) {
    if let Some(names) = &wanted.names {
        list(query.push(" AND a.name"), names.iter().copied());
    }
    if let Some(status) = wanted.status {
        query.push(" AND a.status = ").push_bind(status.name());
    }
    if let Some((are, versions)) = &wanted.versions {
        query.push(if *are { " AND (1 = 0" } else { " AND NOT (1 = 0" });
        for (name, versions) in versions {
            query.push(" OR (a.name = ").push_bind(name.clone());
            list(query.push(" AND a.version"), versions.iter().map(String::as_str));
            query.push(")");
        }
        query.push(")");
    }
}

/// That what stands before is one of these, of which there is one at least.
fn list<'a>(query: &mut QueryBuilder<Any>, words: impl Iterator<Item = &'a str>) {
    let mut list = query.push(" IN (").separated(", ");
    for word in words {
        list.push_bind(word.to_owned());
    }
    query.push(")");
}

fn limit(wanted: &FleetFilter<'_>) -> i64 {
    i64::try_from(wanted.limit).unwrap_or(i64::MAX)
}

fn seconds(told: u64) -> i64 {
    i64::try_from(told).unwrap_or(i64::MAX)
}

fn host_id(row: &AnyRow) -> Result<Uuid, StoreError> {
    let host: String = row.try_get("host")?;
    Uuid::parse_str(&host)
        .map_err(|error| StoreError::Damaged { what: "a host id", reason: format!("{host}: {error}") })
}

fn agent(row: &AnyRow, wanted: &FleetFilter<'_>) -> Result<AgentRow, StoreError> {
    let (reported, step): (EpochMs, i64) = (row.try_get("gmt_modify")?, row.try_get("step")?);
    Ok(AgentRow {
        host: host_id(row)?,
        hostname: row.try_get("hostname")?,
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        status: row.try_get("status")?,
        state: row.try_get("state")?,
        uptime: row.try_get("uptime")?,
        reason: row.try_get("reason")?,
        reported,
        silent: is_silent(reported, step, wanted.now, wanted.heard_since),
    })
}

fn count(row: &AnyRow) -> Result<AgentCount, StoreError> {
    Ok(AgentCount {
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        status: row.try_get("status")?,
        hosts: row.try_get("hosts")?,
        silent: row.try_get("silent")?,
    })
}

fn report(row: &AnyRow) -> Result<ReportRow, StoreError> {
    Ok(ReportRow {
        host: host_id(row)?,
        hostname: row.try_get("hostname")?,
        version: row.try_get("version")?,
        uptime: row.try_get("uptime")?,
        step: row.try_get("step")?,
        packages: from_json("kinds of packages", &row.try_get::<String, _>("packages")?)?,
        reported: row.try_get("gmt_modify")?,
    })
}
