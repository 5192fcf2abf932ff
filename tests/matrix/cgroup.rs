//! Whether an agent that this test starts can give each command a cgroup of
//! its own, told by the host's facts and not by the agent.

use std::fs;
use std::path::PathBuf;

/// A writable cgroup of version 2.
pub fn is_writable() -> bool {
    let Some(own) = own() else { return false };
    let probe = own.join(format!("aspire-matrix-{:016x}", fastrand::u64(..)));
    fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe)).is_ok()
}

/// The folder of this process's cgroup.
fn own() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = mounts.find(|fields| fields.get(2) == Some(&"cgroup2"))?[1].to_owned();
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(PathBuf::from(mount).join(path))
}
