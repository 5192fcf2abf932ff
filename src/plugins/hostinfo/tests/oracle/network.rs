//! Networks made for a test, which end with it.

use super::ask::not_seen;
use nix::sched::{CloneFlags, unshare};
use std::process::Command;

/// Does something in a network of its own, for which `ip` has done this before.
/// `None`, and a word to people, where this user or this kernel cannot have it.
pub fn network<T: Send>(commands: &[&str], act: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let there = scope.spawn(|| match made(commands) {
            Ok(()) => Some(act()),
            Err(reason) => {
                not_seen(&format!("a network made for it: {reason}"));
                None
            }
        });
        there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn made(commands: &[&str]) -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("unshare: {error}"))?;
    for command in commands {
        let output = Command::new("ip").args(command.split(' ')).output();
        let output = output.map_err(|error| format!("ip: {error}"))?;
        if !output.status.success() {
            return Err(format!("ip {command}: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
        }
    }
    Ok(())
}
