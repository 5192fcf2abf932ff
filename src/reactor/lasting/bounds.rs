//! What the kernel keeps of a family's limits: by a controller of cgroups v2 where our own cgroup
//! hands one down, else of v1.

use crate::machine::Lasting;
use log::warn;
use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Of processor time, in microseconds, which is the kernel's default.
const PERIOD: u64 = 100_000;

/// One limit, in the words of both versions.
struct Bound {
    /// As the request calls it.
    name: &'static str,
    controller: &'static str,
    /// The file of v2, and what is written there.
    unified: (&'static str, String),
    /// The files of v1, likewise.
    old: Vec<(&'static str, String)>,
}

fn wanted(lasting: &Lasting) -> Vec<Bound> {
    let quota = lasting.cpu_max.map(|percent| u64::from(percent) * PERIOD / 100);
    let cpu = quota.map(|quota| Bound {
        name: "cpu_max",
        controller: "cpu",
        unified: ("cpu.max", format!("{quota} {PERIOD}")),
        old: vec![("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", quota.to_string())],
    });
    let memory = lasting.memory_max.map(|bytes| Bound {
        name: "memory_max",
        controller: "memory",
        unified: ("memory.max", bytes.to_string()),
        old: vec![("memory.limit_in_bytes", bytes.to_string())],
    });
    cpu.into_iter().chain(memory).collect()
}

pub(super) fn any(lasting: &Lasting) -> bool {
    lasting.cpu_max.is_some() || lasting.memory_max.is_some()
}

/// Sets a family's limits, with its cgroup of v2, where there is one. Returns the files of v1 that
/// its first process must write a 0 to. A limit that nobody keeps is logged.
pub(super) fn set(lasting: &Lasting, cgroup: Option<&Path>) -> Vec<File> {
    let mut entrances: Vec<(PathBuf, File)> = Vec::new();
    for bound in wanted(lasting) {
        if cgroup.is_some_and(|cgroup| set_unified(cgroup, &bound).is_ok()) {
            continue;
        }
        match set_old(&lasting.family, &bound) {
            // One hierarchy may have both controllers.
            Ok((folder, entrance)) if entrances.iter().all(|(other, _)| *other != folder) => {
                entrances.push((folder, entrance));
            }
            Ok(_) => {}
            Err(reason) => warn_unlimited(&lasting.family, bound.name, reason),
        }
    }
    entrances.into_iter().map(|(_, entrance)| entrance).collect()
}

/// The daemon runs without a limit.
pub(super) fn warn_unlimited(family: &str, limits: &str, reason: impl Display) {
    warn!("family={family:?} unlimited={limits} reason=\"{reason}\" instead=\"it is started without\"");
}

/// Removes the folders that v1 has of a family, as far as they are empty.
pub(super) fn remove(family: &str) {
    for home in homes_of_v1() {
        let _ = fs::remove_dir(home.join(family));
    }
}

/// Removes those of all families, likewise.
pub(super) fn remove_abandoned() {
    for home in homes_of_v1() {
        super::remove_empty(&home);
    }
}

fn set_unified(cgroup: &Path, bound: &Bound) -> io::Result<()> {
    let (file, value) = &bound.unified;
    if !cgroup.join(file).exists() {
        hand_down(cgroup, bound.controller)?;
    }
    fs::write(cgroup.join(file), value)
}

/// From where systemd lets us have it, if it does, to the families' home, and on to the family.
fn hand_down(cgroup: &Path, controller: &str) -> io::Result<()> {
    let above = cgroup.ancestors().skip(1).take(2).collect::<Vec<_>>();
    for folder in above.into_iter().rev() {
        // Of our own cgroup, in which we are, the kernel would refuse it.
        if folder.ends_with(super::HOME) || folder.join(super::AGENT).exists() {
            fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"))?;
        }
    }
    Ok(())
}

fn set_old(family: &str, bound: &Bound) -> Result<(PathBuf, File), String> {
    let home = home_of_v1(&own(), bound.controller)
        .ok_or_else(|| format!("no cgroup hands down the controller {}", bound.controller))?;
    let folder = home.join(family);
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(failed)?;
    let set = || {
        for (file, value) in &bound.old {
            fs::write(folder.join(file), value)?;
        }
        File::options().write(true).open(folder.join("cgroup.procs"))
    };
    let entrance = set().inspect_err(|_| drop(fs::remove_dir(&folder))).map_err(failed)?;
    Ok((folder, entrance))
}

/// The mounts, and our own cgroups.
fn own() -> (String, String) {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    (read("/proc/self/mounts"), read("/proc/self/cgroup"))
}

fn homes_of_v1() -> Vec<PathBuf> {
    let own = own();
    let mut homes: Vec<PathBuf> =
        ["cpu", "memory"].iter().filter_map(|name| home_of_v1(&own, name)).collect();
    homes.dedup();
    homes
}

/// In our own cgroup of the hierarchy that has this controller.
fn home_of_v1((mounts, cgroups): &(String, String), controller: &str) -> Option<PathBuf> {
    let has_it = |list: &str| list.split(',').any(|name| name == controller);
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup" && has_it(options)).then_some(place)
    })?;
    let path = cgroups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(":/")?;
        has_it(controllers).then_some(path)
    })?;
    (!path.contains("..")).then(|| Path::new(mount).join(path).join(super::HOME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_v1_are_found_on_hosts_of_every_kind() {
        let apart = "cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\n\
                     cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n\
                     cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n";
        let joint = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0\n";
        let unified = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        for (mounts, cgroups, controller, home) in [
            (apart, "4:memory:/a/b\n1:cpu:/\n", "memory", Some("/sys/fs/cgroup/memory/a/b/aspire.daemons")),
            (apart, "3:cpuset:/c\n1:cpu:/\n", "cpu", Some("/sys/fs/cgroup/cpu/aspire.daemons")),
            (
                joint,
                "4:cpu,cpuacct:/system.slice\n",
                "cpu",
                Some("/sys/fs/cgroup/cpu,cpuacct/system.slice/aspire.daemons"),
            ),
            (joint, "4:cpu,cpuacct:/system.slice\n", "memory", None),
            (joint, "4:cpu,cpuacct:/../other\n", "cpu", None),
            (unified, "0::/\n", "cpu", None),
            ("", "", "cpu", None),
        ] {
            let found = home_of_v1(&(mounts.into(), cgroups.into()), controller);
            assert_eq!(found, home.map(PathBuf::from), "{mounts} {cgroups} {controller}");
        }
    }

    #[test]
    fn a_percentage_is_of_one_processor() {
        let lasting = Lasting {
            family: "a".into(),
            output: "/o".into(),
            cpu_max: Some(250),
            memory_max: Some(104_857_600),
        };
        let [cpu, memory] = &wanted(&lasting)[..] else { panic!("two limits") };
        assert_eq!(cpu.unified.1, "250000 100000");
        assert_eq!(cpu.old[1], ("cpu.cfs_quota_us", "250000".to_owned()));
        assert_eq!(memory.unified.1, "104857600");
        assert_eq!(memory.old, [("memory.limit_in_bytes", "104857600".to_owned())]);
    }
}
