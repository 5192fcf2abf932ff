//! dpkg's locks, which are waited for: dpkg itself fails at once when another
//! one, or apt, is at work.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(250);
/// Two minutes.
const TRIES: usize = 480;

/// The right to call dpkg, until this is dropped or the process ends. A dpkg
/// that is called meanwhile must be told so by `DPKG_FRONTEND_LOCKED`.
pub(crate) struct Lock {
    _frontend: File,
}

impl Lock {
    pub fn wait(folder: &Path) -> Result<Lock, String> {
        Lock::wait_for(folder, TRIES)
    }

    fn wait_for(folder: &Path, tries: usize) -> Result<Lock, String> {
        let frontend = open(&folder.join("lock-frontend"))?;
        let database = open(&folder.join("lock"))?;
        for attempt in 0..tries {
            if attempt > 0 {
                pause();
            }
            // The second is dpkg's own, and is let go at once: somebody may call dpkg without the first.
            if taken(&frontend)? && taken(&database)? {
                return Ok(Lock { _frontend: frontend });
            }
        }
        let seconds = (PAUSE * u32::try_from(tries).unwrap_or(u32::MAX)).as_secs();
        Err(format!("another dpkg or apt has been at work for {seconds} s: try again when it is done"))
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing tells when another process lets its lock go")]
fn pause() {
    std::thread::sleep(PAUSE);
}

fn open(path: &Path) -> Result<File, String> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    opened.map_err(|error| format!("could not open dpkg's lock {}: {error}", path.display()))
}

/// These locks are the descriptor's, and fit with those of dpkg and apt, which are a process's.
fn taken(file: &File) -> Result<bool, String> {
    let whole = libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).expect("a small number"),
        l_whence: i16::try_from(libc::SEEK_SET).expect("a small number"),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(format!("could not take dpkg's lock: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::Lock;

    #[test]
    fn a_lock_is_waited_for_and_then_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::wait_for(folder.path(), 1).unwrap();
        let error = Lock::wait_for(folder.path(), 2).err().unwrap();
        assert!(error.starts_with("another dpkg or apt has been at work"), "{error}");
        drop(first);
        Lock::wait_for(folder.path(), 1).unwrap();
    }

    #[test]
    fn without_dpkg_there_is_no_lock() {
        let error = Lock::wait_for("/nonexistent".as_ref(), 1).err().unwrap();
        assert!(error.contains("/nonexistent/lock-frontend"), "{error}");
    }
}
