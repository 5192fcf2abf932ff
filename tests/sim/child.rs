//! What a simulated command does. Its line is its behaviour as JSON, so that
//! the agent hands it over without knowing.

use aspire::machine::{Exit, Launch};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Behaviour {
    /// Milliseconds until it ends by itself.
    pub runs_ms: u64,
    pub code: i32,
    pub output: String,
    /// `trap '' 2`
    pub ignores_sigint: bool,
    /// A descendant holds the pipes open this much longer.
    pub pipes_held_ms: u64,
    /// It cannot even be started.
    pub does_not_start: bool,
}

impl Behaviour {
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap()
    }

    pub fn of(launch: &Launch) -> Self {
        let cmd = launch.argv.last().expect("bash -c CMD");
        serde_json::from_str(cmd).unwrap_or_else(|_| Behaviour { output: cmd.clone(), ..Self::default() })
    }

    /// How it takes a signal; `None` is with a shrug.
    pub fn signalled(&self, signal: i32) -> Option<Exit> {
        let shrugs = signal == libc::SIGINT && self.ignores_sigint;
        (!shrugs).then_some(Exit::Signal(signal))
    }
}
