//! What tells a job from others: its id, its action and the agent that it is about.

use crate::machine::limits::BOOT_KEY_CHARS;
use crate::store::BootJobKey;
use crate::wire::boot::{Action, BOOT_NAMES, BadBootJob, BootJob};
use serde_json::Value;

/// Of a job that is one.
pub fn known_key(job: &BootJob) -> BootJobKey {
    let name = match &job.action {
        Action::UpgradeBoot(_) => BOOT_NAMES[0],
        action => action.agent().unwrap_or_default(),
    };
    BootJobKey { id: job.id.clone(), action: job.action.name().to_owned(), name: name.to_owned() }
}

/// Of one that is none, as far as its text says.
pub fn refused_key(bad: &BadBootJob, text: &str) -> BootJobKey {
    let object: Value = serde_json::from_str(text).unwrap_or_default();
    let field = |name: &str| {
        let text = object.get(name).and_then(Value::as_str).unwrap_or_default();
        text.chars().take(BOOT_KEY_CHARS).collect()
    };
    BootJobKey { id: bad.id.clone(), action: field("action"), name: field("name") }
}
