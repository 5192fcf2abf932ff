//! What boot reports of its host.

use super::{Boot, version};
use crate::machine::Now;
use crate::wire::boot::{AgentStatus, AgentTold, Status};
use crate::wire::{DaemonStatus, DaemonTold};
use std::time::{Duration, UNIX_EPOCH};

/// Whether a change is one that lasts: what only passes through is told at the next step.
pub fn is_news(told: &DaemonTold) -> bool {
    told.removed
        || matches!(
            told.status,
            DaemonStatus::Stoped
                | DaemonStatus::Running
                | DaemonStatus::Backoff
                | DaemonStatus::Killed
                | DaemonStatus::Fatal
        )
}

impl Boot {
    pub(super) fn status(&self, now: Now) -> Status {
        let wall = now.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let agents: Vec<AgentTold> = self.daemons.names().filter_map(|name| self.agent(name, wall)).collect();
        let is_there = |name: &str| {
            [Some(name), super::kept::other_name(name)]
                .into_iter()
                .flatten()
                .any(|name| agents.iter().any(|agent| agent.name == name))
        };
        let is_asked_for = |name: &&String| !is_there(name) && !self.held.is_held(now.mono, name);
        let wanted = self.kept.wanted.iter().filter(is_asked_for).cloned().collect();
        Status {
            hostname: match self.config.name.as_str() {
                "" => self.host.node_name.clone(),
                name => name.to_owned(),
            },
            version: version(),
            uptime: now.mono.since(self.started).as_secs(),
            timestamp: wall.as_secs(),
            step: self.step(),
            agents,
            packages: self.host.packages.clone(),
            wanted,
        }
    }

    fn agent(&self, name: &str, wall: Duration) -> Option<AgentTold> {
        let seen = self.daemons.seen(name)?;
        let status = AgentStatus::from(seen.told.status);
        let ran = wall.saturating_sub(Duration::from_millis(seen.told.since));
        Some(AgentTold {
            name: name.to_owned(),
            version: seen.told.version,
            status,
            uptime: if status == AgentStatus::Running { ran.as_secs() } else { 0 },
            state: Some(seen.told.status),
            reason: seen.reason,
        })
    }
}
