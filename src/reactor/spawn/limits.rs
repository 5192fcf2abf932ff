//! What a program may use at most: setrlimit(2).

use crate::wire::Limits;
use libc::{__rlimit_resource_t as Resource, rlimit64};
use nix::sys::resource::{Resource as Known, getrlimit, setrlimit};

/// One limit for the child to set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub resource: Resource,
    pub value: rlimit64,
    /// As the request calls it.
    pub name: &'static str,
}

/// How many descriptors a program may open where its request does not say:
/// as many as the agent might before it took all that it can get.
#[derive(Debug)]
pub(in crate::reactor) struct OpenFiles(Option<rlimit64>);

impl OpenFiles {
    /// Our own limit is what the system gave us.
    pub fn inherited() -> Self {
        OpenFiles(None)
    }

    /// Raises our own limit to the most that the system allows.
    pub fn raise() -> Self {
        let inherited = getrlimit(Known::RLIMIT_NOFILE).ok().filter(|(soft, hard)| soft < hard);
        let raised = inherited.filter(|(_, hard)| setrlimit(Known::RLIMIT_NOFILE, *hard, *hard).is_ok());
        OpenFiles(raised.map(|(soft, hard)| rlimit64 { rlim_cur: soft, rlim_max: hard }))
    }
}

/// The limits of one program.
pub(super) fn of(asked: &Limits, open_files: &OpenFiles) -> Vec<Limit> {
    let same = |most: u64| rlimit64 { rlim_cur: most, rlim_max: most };
    // SIGXCPU first; SIGKILL a second later for whoever shrugs.
    let cpu = asked.cpu.map(|seconds| rlimit64 { rlim_cur: seconds, rlim_max: seconds + 1 });
    let limits = [
        (libc::RLIMIT_CPU, cpu, "limits.cpu"),
        (libc::RLIMIT_AS, asked.memory.map(same), "limits.memory"),
        (libc::RLIMIT_NOFILE, asked.files.map(same).or(open_files.0), "limits.files"),
        (libc::RLIMIT_NPROC, asked.processes.map(same), "limits.processes"),
    ];
    let limit = |(resource, value, name): (Resource, Option<rlimit64>, _)| {
        value.map(|value| Limit { resource, value, name })
    };
    limits.into_iter().filter_map(limit).collect()
}
