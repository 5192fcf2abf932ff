//! The floor: what the system asks for starting `bash -c true` with the
//! environment that the agent gives it, reading both its streams to their end
//! and reaping it. Whatever starts commands cannot be faster than this.

#![allow(dead_code, reason = "each benchmark uses its own part")]

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2, read};
use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

const ENVIRONMENT: [&str; 6] = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "USER=root",
    "LOGNAME=root",
    "SHELL=/bin/bash",
    "LANG=C",
];

/// `bash -c true`, made ready once.
pub struct Floor {
    argv: [CString; 3],
    environment: [CString; 6],
    attributes: PosixSpawnAttr,
}

/// One that runs; a stream that came to its end is gone.
struct Child {
    pid: Pid,
    streams: [Option<OwnedFd>; 2],
}

impl Floor {
    pub fn new() -> Floor {
        let text = |text: &str| CString::new(text).unwrap();
        Floor {
            argv: ["/bin/bash", "-c", "true"].map(text),
            environment: ENVIRONMENT.map(text),
            attributes: PosixSpawnAttr::init().unwrap(),
        }
    }

    /// One, from its start to its end.
    pub fn one(&self) {
        let Child { pid, streams } = self.spawn();
        for stream in streams.into_iter().flatten() {
            while read(&stream, &mut [0; 256]).unwrap() > 0 {}
        }
        waitpid(pid, None).unwrap();
    }

    /// So many at the same time, for so long; how many there were, and in what
    /// time the last of them was reaped.
    pub fn slice(&self, at_once: usize, slice: Duration) -> (u64, Duration) {
        let begin = Instant::now();
        let (mut children, mut ended) = (Vec::with_capacity(at_once), 0);
        loop {
            while children.len() < at_once && begin.elapsed() < slice {
                children.push(self.spawn());
            }
            if children.is_empty() {
                return (ended, begin.elapsed());
            }
            close_ended_streams(&mut children);
            children.retain(|child| {
                let runs = child.streams.iter().any(Option::is_some);
                if !runs {
                    // It is past closing its files: there is next to nothing to wait for.
                    waitpid(child.pid, None).unwrap();
                    ended += 1;
                }
                runs
            });
        }
    }

    fn spawn(&self) -> Child {
        let [(out, out_end), (err, err_end)] = [(); 2].map(|()| pipe2(OFlag::O_CLOEXEC).unwrap());
        let mut actions = PosixSpawnFileActions::init().unwrap();
        actions.add_dup2(out_end.as_raw_fd(), 1).unwrap();
        actions.add_dup2(err_end.as_raw_fd(), 2).unwrap();
        let pid = posix_spawn(c"/bin/bash", &actions, &self.attributes, &self.argv, &self.environment);
        Child { pid: pid.unwrap(), streams: [Some(out), Some(err)] }
    }
}

/// Waits until something came by the streams, and reads it.
fn close_ended_streams(children: &mut [Child]) {
    let open = || children.iter().flat_map(|child| child.streams.iter().flatten());
    let mut watched: Vec<_> = open().map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)).collect();
    while poll(&mut watched, PollTimeout::NONE) == Err(Errno::EINTR) {}
    let ready: Vec<bool> = watched.iter().map(|stream| stream.any().unwrap()).collect();
    let streams = children.iter_mut().flat_map(|child| &mut child.streams).filter(|stream| stream.is_some());
    for (stream, _) in streams.zip(ready).filter(|(_, ready)| *ready) {
        if stream.as_ref().is_some_and(|stream| read(stream, &mut [0; 256]).unwrap() == 0) {
            *stream = None;
        }
    }
}
