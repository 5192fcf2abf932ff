//! A cgroup (v2) for each command, so that whatever came from it is found at
//! once, a daemon that cut every other tie included: cgroups(7).
//!
//! They are folders below the agent's own, where we are root or it was delegated
//! to us. No controller is switched on; what counts is `cgroup.kill` (Linux 5.14)
//! and that the child begins its life there ([`super::spawn`]). The freezer of
//! the first version is no help: a child can only be moved there, for which the
//! kernel takes some 10 ms each time.

use super::spawn;
use log::warn;
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What our own folder's name begins with; the pid follows.
const PREFIX: &str = "aspire-";

/// The folders, used again and again: to make one costs more than to look
/// whether it is empty.
#[derive(Debug)]
pub(super) struct Cgroups {
    /// Ours, in the agent's own cgroup; `None` where there can be none.
    home: Option<PathBuf>,
    /// Nothing is left in them.
    empty: Vec<Cgroup>,
    /// Nothing should be left in them of the commands that they were taken for.
    idle: Vec<Cgroup>,
    /// There was something left when they were last looked at.
    occupied: VecDeque<Cgroup>,
    /// Of no more use: some kernels (6.18 for one) kill whatever is started in a
    /// cgroup that was killed before, however long ago.
    spent: Vec<Cgroup>,
    made: u64,
}

/// One folder.
#[derive(Debug)]
pub(super) struct Cgroup {
    folder: PathBuf,
    killed: bool,
    /// An earlier agent's.
    foreign: bool,
}

impl Cgroups {
    /// None is made before the first is taken.
    pub fn new() -> Self {
        let home = own().map(|own| own.join(format!("{PREFIX}{}", std::process::id())));
        let (empty, idle, spent) = (Vec::new(), Vec::new(), Vec::new());
        Cgroups { home, empty, idle, occupied: VecDeque::new(), spent, made: 0 }
    }

    /// An empty one, and its folder for the child to start in. `None` where there can be none.
    ///
    /// # Errors
    /// It passes: for the moment we have no descriptor or no memory for it.
    pub fn take(&mut self) -> io::Result<Option<(Cgroup, File)>> {
        match self.try_take() {
            Err(error) if !passes(&error) => {
                self.do_without(&error.to_string());
                Ok(None)
            }
            other => other,
        }
    }

    /// The folder that an earlier agent started this process in.
    pub fn of_earlier_agent(pid: Pid) -> Option<Cgroup> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let folder = own_folder(&read("/proc/self/mounts"), &read(&format!("/proc/{pid}/cgroup")))?;
        let of_an_agent = folder.parent()?.file_name()?.to_str()?.starts_with(PREFIX);
        of_an_agent.then_some(Cgroup { folder, killed: false, foreign: true })
    }

    /// The command has ended, and perhaps left something there.
    pub fn give_back(&mut self, cgroup: Cgroup) {
        if cgroup.killed || cgroup.foreign { &mut self.spent } else { &mut self.idle }.push(cgroup);
    }

    /// No process is left of any command: nobody need look into these folders.
    pub fn are_empty(&mut self) {
        self.empty.append(&mut self.idle);
        self.empty.extend(self.occupied.drain(..));
    }

    /// From now on descendants are found by other means.
    pub fn do_without(&mut self, reason: &str) {
        if let Some(home) = self.home.take() {
            warn!("cgroups=unused reason={reason:?} instead=\"descendants are looked for in /proc\"");
            remove(&home);
        }
    }

    fn try_take(&mut self) -> io::Result<Option<(Cgroup, File)>> {
        let Some(home) = &self.home else { return Ok(None) };
        self.spent.retain(|cgroup| fs::remove_dir(&cgroup.folder).is_err());
        if let Some(cgroup) = self.empty.pop() {
            let folder = open_folder(&cgroup.folder)?;
            return Ok(Some((cgroup, folder)));
        }
        // One look each time is enough to get all of them back.
        self.idle.extend(self.occupied.pop_front());
        while let Some(cgroup) = self.idle.pop() {
            if cgroup.is_empty()? {
                let folder = open_folder(&cgroup.folder)?;
                return Ok(Some((cgroup, folder)));
            }
            self.occupied.push_back(cgroup);
        }
        let first = self.made == 0;
        if first {
            remove_abandoned(home);
            make_folder(home)?;
        }
        let cgroup = Cgroup { folder: home.join(self.made.to_string()), killed: false, foreign: false };
        make_folder(&cgroup.folder)?;
        let folder = open_folder(&cgroup.folder)?;
        if first {
            try_out(&cgroup.folder, &folder)?;
        }
        self.made += 1;
        Ok(Some((cgroup, folder)))
    }
}

/// What is not empty stays: a command has left it there on purpose.
impl Drop for Cgroups {
    fn drop(&mut self) {
        if let Some(home) = self.home.as_ref().filter(|_| self.made > 0) {
            remove(home);
        }
    }
}

impl Cgroup {
    /// Kills whatever is there, all at once.
    pub fn kill(&mut self) {
        self.killed = true;
        // A folder that somebody has removed was empty. Where we have no descriptor for it,
        // there is one when the command is reaped.
        let _ = fs::write(self.folder.join("cgroup.kill"), "1");
    }

    pub fn is_empty(&self) -> io::Result<bool> {
        let mut events = [0; 64];
        let length = File::open(self.folder.join("cgroup.events"))?.read(&mut events)?;
        Ok(events[..length].starts_with(b"populated 0\n"))
    }
}

/// For the moment we have no descriptor or no memory for it.
pub(super) fn passes(error: &io::Error) -> bool {
    const PASSES: [i32; 3] = [libc::EMFILE, libc::ENFILE, libc::ENOMEM];
    error.raw_os_error().is_some_and(|errno| PASSES.contains(&errno))
}

/// Whether this kernel has what we need. Where the agent's own cgroup was once killed,
/// some kernels kill whatever it starts in another (see [`Cgroups::spent`]).
pub(super) fn try_out(path: &Path, folder: &File) -> io::Result<()> {
    if !path.join("cgroup.kill").exists() {
        return Err(io::Error::new(ErrorKind::Unsupported, "this kernel has no cgroup.kill"));
    }
    if !spawn::lives_in(folder.as_fd())? {
        return Err(io::Error::other("what is started in a cgroup is killed"));
    }
    Ok(())
}

/// The folder of the agent's own cgroup.
pub(super) fn own() -> Option<PathBuf> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    own_folder(&read("/proc/self/mounts"), &read("/proc/self/cgroup"))
}

/// The folder of a process's cgroup, as /proc names its mount and its path.
pub(super) fn own_folder(mounts: &str, cgroups: &str) -> Option<PathBuf> {
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let place = fields.next()?;
        (fields.next()? == "cgroup2").then_some(place)
    })?;
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // Beyond the root of a namespace there is nothing for us.
    (!path.contains("..")).then(|| Path::new(mount).join(path))
}

/// For a child to start in.
pub(super) fn open_folder(folder: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_PATH).open(folder)
}

pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Removes the folders of agents that are gone.
fn remove_abandoned(home: &Path) {
    let siblings = home.parent().and_then(|parent| fs::read_dir(parent).ok());
    for sibling in siblings.into_iter().flatten().flatten() {
        let name = sibling.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&sibling.path());
        }
    }
}

/// Removes the folder with those in it, as far as they are empty.
fn remove(home: &Path) {
    for folder in fs::read_dir(home).into_iter().flatten().flatten() {
        let _ = fs::remove_dir(folder.path());
    }
    let _ = fs::remove_dir(home);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_folder_is_found_on_hosts_of_every_kind() {
        let unified = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        let hybrid = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let old = "cgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0\n";
        for (mounts, cgroups, folder) in [
            (unified, "0::/system.slice/a.service\n", Some("/sys/fs/cgroup/system.slice/a.service")),
            (hybrid, "9:name=systemd:/\n1:cpu:/\n0::/\n", Some("/sys/fs/cgroup/unified/")),
            (unified, "0::/../other\n", None),
            (old, "6:freezer:/\n", None),
            ("", "0::/\n", None),
        ] {
            assert_eq!(own_folder(mounts, cgroups), folder.map(PathBuf::from), "{mounts} {cgroups}");
        }
    }
}
