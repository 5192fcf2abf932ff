//! What a host's boot tells, checked before it is kept.

use crate::hosts::check_word;
use crate::limits::{MAX_BOOT_REASON_CHARS, MAX_PACKAGE_KINDS};
use aspire_wire::boot::{AgentTold, BootResult, MAX_AGENTS, STEP_SECONDS, Status};
use aspire_wire::daemon::SHORT_BYTES;
use aspire_wire::request::MAX_ID_BYTES;
use std::collections::BTreeSet;

/// What is wrong with what came, beginning with the field's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Wrong {
    pub field: String,
    pub reason: String,
}

/// Checks a report. Of what is only told to people the beginning is left.
pub fn check(status: &mut Status) -> Result<(), Wrong> {
    for (field, word) in [("hostname", &status.hostname), ("version", &status.version)] {
        check_word(word).map_err(|reason| wrong(field, reason))?;
    }
    if !STEP_SECONDS.contains(&status.step) {
        let (least, most) = (STEP_SECONDS.start(), STEP_SECONDS.end());
        return Err(wrong("step", format!("must be {least} to {most} seconds, got {}", status.step)));
    }
    for (field, count, most) in [
        ("agents", status.agents.len(), MAX_AGENTS),
        ("wanted", status.wanted.len(), MAX_AGENTS),
        ("packages", status.packages.len(), MAX_PACKAGE_KINDS),
    ] {
        if count > most {
            return Err(wrong(field, format!("at most {most}, got {count}")));
        }
    }
    for (list, words) in [("packages", &status.packages), ("wanted", &status.wanted)] {
        for (n, word) in words.iter().enumerate() {
            check_short(word, 1).map_err(|reason| wrong(format!("{list}[{n}]"), reason))?;
        }
    }
    check_agents(&mut status.agents)
}

fn check_agents(agents: &mut [AgentTold]) -> Result<(), Wrong> {
    let mut names = BTreeSet::new();
    for (n, agent) in agents.iter_mut().enumerate() {
        check_short(&agent.name, 1).map_err(|reason| wrong(format!("agents[{n}].name"), reason))?;
        check_short(&agent.version, 0).map_err(|reason| wrong(format!("agents[{n}].version"), reason))?;
        agent.reason = agent.reason.as_deref().map(beginning);
        if !names.insert(agent.name.clone()) {
            return Err(wrong(format!("agents[{n}].name"), format!("{:?} stands twice", agent.name)));
        }
    }
    Ok(())
}

/// The same of a result, which is the one at this place.
pub fn check_result(n: usize, result: &mut BootResult) -> Result<(), Wrong> {
    if !(1..=MAX_ID_BYTES).contains(&result.id.len()) {
        let reason = format!("must be 1 to {MAX_ID_BYTES} bytes, got {}", result.id.len());
        return Err(wrong(format!("[{n}].id"), reason));
    }
    result.message = beginning(&result.message);
    Ok(())
}

fn check_short(word: &str, least: usize) -> Result<(), String> {
    if (least..=SHORT_BYTES).contains(&word.len()) {
        return check_word(word);
    }
    Err(format!("must be {least} to {SHORT_BYTES} bytes, got {}", word.len()))
}

fn beginning(text: &str) -> String {
    text.chars().take(MAX_BOOT_REASON_CHARS).collect()
}

fn wrong(field: impl Into<String>, reason: impl Into<String>) -> Wrong {
    Wrong { field: field.into(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn checked(more: &Value) -> Result<Status, String> {
        let mut report = json!({"hostname": "h", "version": "bootagent-1-x86_64", "uptime": 1, "timestamp": 1,
            "step": 600, "agents": []});
        report.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut status = serde_json::from_value(report).unwrap();
        check(&mut status).map(|()| status).map_err(|wrong| wrong.field)
    }

    fn agent(name: &str) -> Value {
        json!({"name": name, "version": "1", "status": "running", "uptime": 1})
    }

    #[test]
    fn what_is_too_long_too_much_or_twice_is_named() {
        let many: Vec<_> = (0..=MAX_AGENTS).map(|n| agent(&n.to_string())).collect();
        let mut odd = agent("a");
        odd["version"] = json!("1\n");
        for (more, field) in [
            (json!({"hostname": "x".repeat(256)}), "hostname"),
            (json!({"version": "a\u{1b}"}), "version"),
            (json!({"step": 59}), "step"),
            (json!({"step": 3601}), "step"),
            (json!({"agents": many}), "agents"),
            (json!({"agents": [agent("a"), agent("")]}), "agents[1].name"),
            (json!({"agents": [agent(&"x".repeat(65))]}), "agents[0].name"),
            (json!({"agents": [agent("a"), agent("a")]}), "agents[1].name"),
            (json!({"agents": [odd]}), "agents[0].version"),
            (json!({"packages": vec!["deb"; MAX_PACKAGE_KINDS + 1]}), "packages"),
            (json!({"packages": [""]}), "packages[0]"),
            (json!({"wanted": vec!["a"; MAX_AGENTS + 1]}), "wanted"),
            (json!({"wanted": ["a", "x".repeat(65)]}), "wanted[1]"),
        ] {
            assert_eq!(checked(&more).unwrap_err(), field, "{more}");
        }
    }

    #[test]
    fn of_a_reason_the_beginning_is_left() {
        let mut of = agent("a");
        of["reason"] = json!("\u{e4}".repeat(MAX_BOOT_REASON_CHARS + 1));
        let status = checked(&json!({"agents": [of]})).unwrap();
        let reason = status.agents[0].reason.as_ref().unwrap();
        assert_eq!(reason.chars().count(), MAX_BOOT_REASON_CHARS);
        let mut result = BootResult { id: "x".repeat(129), errcode: 0, message: String::new() };
        assert_eq!(check_result(3, &mut result).unwrap_err().field, "[3].id");
        result = BootResult { id: "x".into(), errcode: 1, message: "y".repeat(MAX_BOOT_REASON_CHARS + 1) };
        check_result(0, &mut result).unwrap();
        assert_eq!(result.message.len(), MAX_BOOT_REASON_CHARS);
    }
}
