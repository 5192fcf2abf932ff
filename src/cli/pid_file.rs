//! The pid file: its lock, not its content, says whether the program runs.

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::poll;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A child of an instance that was killed may hold the lock until it has closed what it inherited,
/// which takes milliseconds: so often it is looked at again, and after so long.
const LOOKS: u32 = 10;
const LOOK_AGAIN_MS: u8 = 20;

/// Held for the life of the process; removed when it is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    _lock: Flock<File>,
}

impl PidFile {
    /// Writes this process's pid under the lock. A file that nobody holds is taken over.
    ///
    /// # Errors
    /// A sentence: another instance holds it, or the file cannot be written.
    pub fn hold(path: &Path) -> Result<Self, String> {
        Self::hold_after(path, || {
            let _ = poll(&mut [], LOOK_AGAIN_MS);
        })
    }

    fn hold_after(path: &Path, mut wait: impl FnMut()) -> Result<Self, String> {
        let failed = |e: io::Error| format!("pid file {}: {e}; -P names another", path.display());
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        let mut looks_left = LOOKS;
        loop {
            let mut options = File::options();
            let file = options.read(true).write(true).create(true).truncate(false).open(path);
            let mut lock = match Flock::lock(file.map_err(failed)?, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => lock,
                Err((_, Errno::EWOULDBLOCK)) if looks_left > 0 => {
                    looks_left -= 1;
                    wait();
                    continue;
                }
                Err((file, Errno::EWOULDBLOCK)) => return Err(held_by_another(path, file)),
                Err((_, errno)) => return Err(failed(errno.into())),
            };
            // The one who held it may have removed it between our open and our lock.
            let same = |there: fs::Metadata| lock.metadata().is_ok_and(|ours| ours.ino() == there.ino());
            if !fs::metadata(path).is_ok_and(same) {
                continue;
            }
            let pid = std::process::id();
            lock.set_len(0).and_then(|()| writeln!(lock, "{pid}")).map_err(failed)?;
            return Ok(PidFile { path: path.to_owned(), _lock: lock });
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // While the lock is held the name can only be ours.
        let _ = fs::remove_file(&self.path);
    }
}

fn held_by_another(path: &Path, mut file: File) -> String {
    let mut pid = String::new();
    let _ = file.read_to_string(&mut pid);
    format!("it runs already, as pid {}, which holds {}", pid.trim(), path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_file_is_taken_over_and_a_held_one_is_not() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("run/agent.pid");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "99999999 of a life before\n").unwrap();
        let held = PidFile::hold(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        let refused = PidFile::hold(&path).unwrap_err();
        assert!(refused.contains(&format!("pid {}", std::process::id())), "{refused}");
        drop(held);
        assert!(!path.exists());
        PidFile::hold(&path).unwrap();
    }

    #[test]
    fn a_lock_that_a_dead_one_s_child_is_about_to_give_back_is_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("agent.pid");
        let held = PidFile::hold(&path).unwrap();
        let mut held = Some(held);
        PidFile::hold_after(&path, || drop(held.take())).unwrap();
    }
}
