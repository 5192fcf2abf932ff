//! Asking a plugin: finds the one that has the query, loads it and calls it.
//! This runs in the child process of a task, which ends with the answer: what
//! the plugin does there is nobody else's concern.

mod call;
mod candidate;

use crate::machine::limits::{PLUGIN_MEMORY_BYTES, UNFIT_PLUGINS_SHOWN};
use crate::machine::{END_OF_ANSWER, PluginAnswer, Question};
use crate::wire::Retcode;
use candidate::{Candidate, check_folder};
use nix::sys::resource::{Resource, setrlimit};
use serde_json::value::RawValue;
use std::ffi::OsString;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::path::Path;

/// What is kept of a plugin's reason.
const MAX_REASON_CHARS: usize = 1000;

/// What a plugin may say of its own: cargo-plugin.h.
const PLUGINS_OWN: [Retcode; 4] =
    [Retcode::InvalidParams, Retcode::NoSuchUserOrGroup, Retcode::NotFound, Retcode::NotPermitted];

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
struct Refusal {
    retcode: u16,
    reason: String,
}

impl Refusal {
    fn new(retcode: Retcode, reason: impl Into<String>) -> Self {
        Refusal { retcode: retcode.code(), reason: reason.into() }
    }
}

/// Writes what [`crate::machine::Task::Ask`] is answered by. Runs the plugin in this very process.
///
/// # Errors
/// Nobody can be told.
pub fn ask(question: &Question, to: &mut impl Write) -> io::Result<()> {
    let retcode = Retcode::NormalTermination.code();
    let answer = find(&question.dir, &question.query).and_then(|plugin| {
        // Before anything of it runs, so that whatever happens can be told with its name.
        let name = format!("{}\n", plugin.name.to_string_lossy().escape_debug());
        let _ = io::stderr().write_all(name.as_bytes());
        // Whose number its descriptor is afterwards, nobody knows: it is not ours to close.
        answer(&ManuallyDrop::new(plugin), question)
    });
    let answer = match answer {
        Ok(data) => PluginAnswer { retcode, data: Some(data), detail: None },
        Err(Refusal { retcode, reason }) => PluginAnswer { retcode, data: None, detail: Some(reason) },
    };
    let mut answer = serde_json::to_vec(&answer)?;
    answer.push(END_OF_ANSWER);
    to.write_all(&answer)
}

fn answer(plugin: &Candidate, question: &Question) -> Result<Box<RawValue>, Refusal> {
    bound().map_err(|reason| Refusal::new(Retcode::CouldNotStart, reason))?;
    let said = call::call(plugin, question)?;
    let name = plugin.name.display();
    if said.overflow {
        let reason = format!(
            "{name}: the answer is larger than {} bytes; ask for less of it, such as with -n COUNT",
            question.most_bytes
        );
        return Err(Refusal::new(Retcode::ExitedWithAnError, reason));
    }
    if said.retcode == i32::from(Retcode::NormalTermination.code()) {
        return document(said.bytes).map_err(|reason| {
            Refusal::new(Retcode::ExitedWithAnError, format!("{name}: its answer is not JSON: {reason}"))
        });
    }
    let reason: String = String::from_utf8_lossy(&said.bytes).chars().take(MAX_REASON_CHARS).collect();
    match Retcode::ALL.iter().find(|known| said.retcode == i32::from(known.code())) {
        Some(Retcode::ExitedWithAnError) => {
            Err(Refusal::new(Retcode::ExitedWithAnError, format!("{name}: {reason}")))
        }
        Some(own) if PLUGINS_OWN.contains(own) => Err(Refusal::new(*own, reason)),
        _ => {
            let reason =
                format!("{name}: it returned {}, which is no retcode of a plugin's: {reason}", said.retcode);
            Err(Refusal::new(Retcode::ExitedWithAnError, reason))
        }
    }
}

/// Read as whoever asked will: what looks like JSON may hold a number that is too large.
fn document(bytes: Vec<u8>) -> Result<Box<RawValue>, String> {
    let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
    serde_json::from_str::<serde_json::Value>(&text).map_err(|error| error.to_string())?;
    RawValue::from_string(text).map_err(|error| error.to_string())
}

/// The first plugin, by the order of their names, that has this query.
fn find(dir: &Path, query: &str) -> Result<Candidate, Refusal> {
    let unusable = |reason: String| {
        Refusal::new(Retcode::UnknownMethod, format!("the plugin folder {}: {reason}", dir.display()))
    };
    let mut names: Vec<OsString> = std::fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect())
        .map_err(|error| unusable(error.to_string()))?;
    check_folder(dir).map_err(|reason| Refusal::new(Retcode::NotPermitted, reason))?;
    names.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "so"));
    names.sort();
    let (mut known, mut unfit) = (Vec::new(), Vec::new());
    for name in &names {
        match Candidate::read(dir, name) {
            Ok(candidate) if candidate.has(query) => return candidate.permitted(),
            Ok(candidate) => known.extend(candidate.queries().map(str::to_owned)),
            Err(reason) => unfit.push(format!("{}: {reason}", name.display())),
        }
    }
    known.sort();
    Err(unusable(unknown(query, &known, &unfit)))
}

fn unknown(query: &str, known: &[String], unfit: &[String]) -> String {
    let there_are = match known {
        [] => "and no other query".to_owned(),
        known => format!("there are {}", known.join(", ")),
    };
    let shown = unfit.iter().take(UNFIT_PLUGINS_SHOWN).cloned().collect::<Vec<_>>().join("; ");
    match unfit.len() {
        0 => format!("no plugin there answers {query:?}; {there_are}"),
        count => format!("no plugin there answers {query:?}; {there_are}; {count} not fit for use: {shown}"),
    }
}

/// From here on somebody else's code may run: it gets no more memory than this, and leaves no
/// copy of ours on the disk.
fn bound() -> Result<(), String> {
    let limit =
        |resource, most| setrlimit(resource, most, most).map_err(|error| format!("setrlimit: {error}"));
    limit(Resource::RLIMIT_DATA, PLUGIN_MEMORY_BYTES)?;
    limit(Resource::RLIMIT_CORE, 0)
}
