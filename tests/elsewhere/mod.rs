//! This machine with some files of another: in a mount namespace of its own,
//! which begins and ends with the thread, recorded files lie over the real ones.
//! What is asked there, and whatever it is compared with, sees the other machine.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::io::Write as _;
use std::path::Path;

/// Does something where these files (or folders) lie over those places, which
/// must exist. `None`, and a word to people, where this user may not do that.
#[allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]
pub fn elsewhere<T: Send>(files: &[(&Path, &str)], act: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNS) {
                let _ = writeln!(std::io::stderr(), "NOT SEEN: other machines' files: unshare: {error}");
                return None;
            }
            let (none, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
            mount(none, "/", none, private, none).unwrap();
            for (file, place) in files {
                mount(Some(*file), *place, none, MsFlags::MS_BIND, none).unwrap();
            }
            Some(act())
        });
        there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
