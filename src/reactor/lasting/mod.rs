//! Families of processes that outlive the agent. Each has a cgroup (v2) of its own, in a folder that
//! the agent leaves behind, so that whatever agent asks finds everybody at once; and where there can
//! be none its processes are known by a variable of their environment.

mod bounds;
mod kindred;
mod output;

use super::cgroup::{self, make_folder, open_folder, own_folder};
use super::process::Stat;
use super::sys;
use crate::machine::limits::FAMILY_SHOWN;
use crate::machine::{FAMILY_VARIABLE, Kin, Lasting, Launch, Process, StartError, Survey};
use kindred::{Census, living};
use log::warn;
use nix::unistd::{SysconfVar, sysconf};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Below the agent's own cgroup, whoever the agent is. Not what the folders of its commands are
/// named like: those go with it.
const HOME: &str = "aspire.daemons";
/// Where systemd puts the agent in the cgroup that it delegates to it, if it is told to
/// (`DelegateSubgroup`): only beside a cgroup with processes in it can others have controllers.
const AGENT: &str = "aspire.agent";
/// Who forks while it is looked for is found at the next look.
const LOOKS: usize = 32;
/// To make a cgroup.
const ATTEMPTS: usize = 3;
/// What is enough for most files of a cgroup.
const SMALL_BYTES: usize = 1024;

#[derive(Debug)]
pub(super) struct Families {
    /// Where their cgroups are; `None` where there can be none.
    home: Option<PathBuf>,
    /// Whether one was made there, and found to be of use.
    tried_out: bool,
    /// Whether what ended families left of limits was removed.
    tidied_limits: bool,
    /// Families whose first process is a child of ours, so that whoever of them outlives it is handed
    /// to us, if not to another of them.
    born_here: HashSet<String>,
    /// The host's processes as they were in this turn: one look is enough for all families.
    census: Option<Census>,
    ticks_a_second: u64,
    page_bytes: u64,
}

/// What a family's first process is started with.
#[derive(Debug)]
pub(super) struct Cradle {
    pub output: File,
    /// Its cgroup, where there is one.
    pub cgroup: Option<File>,
    /// Its cgroups of v1.
    pub entrances: Vec<File>,
}

/// Who is left of a family.
#[derive(Default)]
struct Found {
    cgroup: Option<PathBuf>,
    inside: Vec<Stat>,
    /// Whoever is not in the cgroup.
    outside: Vec<Stat>,
}

impl Families {
    /// No folder is made before the first family comes.
    pub fn new() -> Self {
        let number = |name| sysconf(name).ok().flatten().and_then(|value| u64::try_from(value).ok());
        Families {
            home: cgroup::own().map(|own| home_in(&own)),
            tried_out: false,
            tidied_limits: false,
            born_here: HashSet::new(),
            census: None,
            ticks_a_second: number(SysconfVar::CLK_TCK).filter(|ticks| *ticks > 0).unwrap_or(100),
            page_bytes: number(SysconfVar::PAGE_SIZE).unwrap_or(4096),
        }
    }

    /// What was seen of the host's processes is not what they are now.
    pub fn forget_census(&mut self) {
        self.census = None;
    }

    /// # Errors
    /// The output cannot be opened, or there is somebody of this family already.
    pub fn prepare(&mut self, lasting: &Lasting) -> Result<Cradle, StartError> {
        let failed = |step: &str, reason: String| StartError { step: step.into(), reason };
        if !is_plain(&lasting.family) {
            return Err(failed("family", format!("{:?} is no plain name of a file", lasting.family)));
        }
        let output = output::open(&lasting.output)?;
        let cgroup = self.make(&lasting.family).map_err(|error| failed("cgroup", error.to_string()))?;
        let folder = cgroup.as_ref().map(|(folder, _)| folder.as_path());
        if bounds::any(lasting) && !self.tidied_limits {
            bounds::remove_abandoned();
            self.tidied_limits = true;
        }
        let entrances = bounds::set(lasting, folder);
        Ok(Cradle { output, cgroup: cgroup.map(|(_, descriptor)| descriptor), entrances })
    }

    /// Its first process has begun.
    pub fn begun(&mut self, family: &str) {
        self.census = None;
        self.born_here.insert(family.to_owned());
    }

    /// The launch with the mark. It is the first of its variables, where it is found soonest.
    pub fn marked(launch: &Launch, family: &str) -> Launch {
        let mut launch = launch.clone();
        launch.env.retain(|(name, _)| name != FAMILY_VARIABLE);
        launch.env.insert(0, (FAMILY_VARIABLE.to_owned(), family.to_owned()));
        launch
    }

    /// Nobody could be started.
    pub fn abandon(&mut self, family: &str) {
        self.census = None;
        if let Some(home) = &self.home {
            let _ = fs::remove_dir(home.join(family));
        }
        bounds::remove(family);
    }

    /// From now on families are found by other means. Those that have a cgroup keep it.
    pub fn do_without(&mut self, reason: &str) {
        if let Some(home) = self.home.take() {
            warn!("cgroups=unused of=daemons reason={reason:?} instead=\"they are looked for in /proc\"");
            remove_empty(&home);
        }
    }

    /// Its limits are not kept.
    pub fn warn_unlimited(family: &str, reason: &str) {
        bounds::warn_unlimited(family, "cpu_max,memory_max", reason);
    }

    /// `None` where we cannot look for want of descriptors: that would show nobody. `has_orphans` says
    /// whether we have children who are not known to be others.
    pub fn survey(&mut self, kin: &Kin, has_orphans: impl Fn() -> bool) -> Option<Survey> {
        let found = self.find(kin, has_orphans);
        let processes = || found.inside.iter().chain(&found.outside);
        let ticks = |stats: &[Stat]| {
            let ticks: u64 = stats.iter().map(|stat| stat.ticks).sum();
            Duration::from_millis(ticks.saturating_mul(1000) / self.ticks_a_second)
        };
        // What the kernel has counted knows of those that have ended, too.
        let counted = found.cgroup.as_deref().and_then(processor_time);
        let cpu = counted.unwrap_or_else(|| ticks(&found.inside)) + ticks(&found.outside);
        let pages: u64 = processes().map(|stat| stat.resident_pages).sum();
        let mut oldest: Vec<Process> = processes().map(Stat::process).collect();
        oldest.sort_by_key(|process| (process.start, process.pid));
        oldest.truncate(FAMILY_SHOWN);
        if oldest.is_empty() && !can_look() {
            self.census = None;
            return None;
        }
        if oldest.is_empty() && is_plain(&kin.family) {
            self.born_here.remove(&kin.family);
            found.cgroup.as_deref().into_iter().for_each(remove_empty);
            bounds::remove(&kin.family);
        }
        let written = fs::symlink_metadata(&kin.output).ok().filter(fs::Metadata::is_file);
        Some(Survey {
            processes: oldest,
            cpu,
            memory: pages.saturating_mul(self.page_bytes),
            written: written.map_or(0, |file| file.len()),
        })
    }

    /// By the kernel where it can, which spares nobody; else whoever is found is stopped first, so
    /// that nobody who was not seen is born meanwhile.
    pub fn signal(&mut self, kin: &Kin, signal: i32) {
        let deadly = signal == libc::SIGKILL;
        let mut reached = HashSet::new();
        for _ in 0..LOOKS {
            self.census = None;
            let found = self.find(kin, || true);
            let killed = deadly && found.cgroup.as_deref().is_some_and(kill);
            let inside = if killed { &[] } else { &found.inside[..] };
            let others = inside.iter().chain(&found.outside).map(Stat::process);
            let new: Vec<Process> =
                others.filter(|process| reached.insert((process.pid, process.start))).collect();
            if new.is_empty() {
                break;
            }
            for process in new {
                sys::signal_process(process, if deadly { libc::SIGSTOP } else { signal });
            }
        }
        self.census = None;
        if deadly {
            for (pid, start) in reached {
                sys::signal_process(Process { pid, start }, signal);
            }
        }
    }

    /// The family's own cgroup, made anew. `None` where there can be none.
    fn make(&mut self, family: &str) -> io::Result<Option<(PathBuf, File)>> {
        let mut made = self.try_make(family);
        for _ in 1..ATTEMPTS {
            // Another agent in the same place has tidied up.
            if made
                .as_ref()
                .is_err_and(|error| matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)))
            {
                made = self.try_make(family);
            }
        }
        match made {
            Err(error) if cgroup::passes(&error) || error.kind() == ErrorKind::AlreadyExists => Err(error),
            Err(error) => {
                self.do_without(&error.to_string());
                Ok(None)
            }
            made => made,
        }
    }

    fn try_make(&mut self, family: &str) -> io::Result<Option<(PathBuf, File)>> {
        let Some(home) = &self.home else { return Ok(None) };
        if !self.tried_out {
            remove_empty(home);
        }
        let folder = home.join(family);
        // Some kernels kill whatever is started in a cgroup that was killed before: an empty one is
        // of no use either.
        if folder.exists() && fs::remove_dir(&folder).is_err() {
            let reason = format!("somebody is left in {}; another name is wanted", folder.display());
            return Err(io::Error::new(ErrorKind::AlreadyExists, reason));
        }
        make_folder(home)?;
        make_folder(&folder)?;
        let descriptor = open_folder(&folder)?;
        if !self.tried_out {
            cgroup::try_out(&folder, &descriptor).inspect_err(|_| drop(fs::remove_dir(&folder)))?;
            self.tried_out = true;
        }
        Ok(Some((folder, descriptor)))
    }

    fn find(&mut self, kin: &Kin, has_orphans: impl Fn() -> bool) -> Found {
        let mut found = self.in_cgroup(kin).unwrap_or_default();
        // Another service of the host may have moved some elsewhere, as it does with whoever logs in:
        // before nobody is said to be left they are looked for as if there were no cgroup.
        let is_inside = |main| found.inside.iter().any(|stat| stat.process() == main);
        let escaped = kin.main.is_some_and(|main| !is_inside(main) && living(main).is_some());
        // To look at everybody takes the longer the more the host runs, and a daemon is to be there
        // again soon: it is spared where whoever is left would be an orphan of ours, and there is none.
        let may_stray = |family: &str| !self.born_here.contains(family) || has_orphans();
        if found.inside.is_empty() && may_stray(&kin.family) || escaped {
            let census = self.census.get_or_insert_with(Census::take);
            let inside = |stat: &Stat| found.inside.iter().any(|other| other.process() == stat.process());
            found.outside = census.kindred(kin).into_iter().filter(|stat| !inside(stat)).collect();
        }
        found
    }

    fn in_cgroup(&self, kin: &Kin) -> Option<Found> {
        if !is_plain(&kin.family) {
            return None;
        }
        let ours = self.home.iter().map(|home| home.join(&kin.family));
        let of_main = || kin.main.and_then(|main| cgroup_of(main, &kin.family));
        ours.chain(std::iter::once_with(of_main).flatten()).find_map(|folder| {
            let inside = members(&folder).ok()?;
            Some(Found { cgroup: Some(folder), inside, outside: Vec::new() })
        })
    }
}

/// What families have left behind is kept while anybody is there.
impl Drop for Families {
    fn drop(&mut self) {
        if let Some(home) = self.home.as_ref().filter(|_| self.tried_out) {
            let _ = fs::remove_dir(home);
        }
    }
}

fn home_in(own: &Path) -> PathBuf {
    match own.parent().filter(|_| own.ends_with(AGENT)) {
        Some(delegated) => delegated.join(HOME),
        None => own.join(HOME),
    }
}

/// The cgroup of the agent who has a family in this one, or below this one's folder. `None` where it is
/// of no family.
pub(super) fn agent_of(cgroup: &Path) -> Option<PathBuf> {
    let home = cgroup.ancestors().find(|folder| folder.ends_with(HOME))?;
    let place = home.parent()?;
    let delegated = place.join(AGENT);
    Some(if delegated.is_dir() { delegated } else { place.to_owned() })
}

fn is_plain(family: &str) -> bool {
    !["", ".", ".."].contains(&family) && !family.contains(|c: char| c == '/' || c.is_control())
}

/// That of another agent in another place, which has started this process.
fn cgroup_of(main: Process, family: &str) -> Option<PathBuf> {
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", main.pid)).ok()?;
    // Most are not, and the mounts of a host may be many.
    if !cgroups.contains(HOME) {
        return None;
    }
    let folder = own_folder(&fs::read_to_string("/proc/self/mounts").ok()?, &cgroups)?;
    // Looked at afterwards: until now it was the one that we mean.
    (folder.ends_with(Path::new(HOME).join(family)) && living(main).is_some()).then_some(folder)
}

/// A look takes two descriptors: for a folder, and for what is in it.
fn can_look() -> bool {
    let own = || File::open("/proc/self/stat");
    matches!((own(), own()), (Ok(_), Ok(_)))
}

/// Whoever lives there or below, each once.
fn members(folder: &Path) -> io::Result<Vec<Stat>> {
    let pids = read_small(&folder.join("cgroup.procs"))?;
    let pids = pids.lines().filter_map(|pid| pid.parse().ok());
    let mut members: Vec<Stat> = pids.filter_map(Stat::read).filter(|stat| !stat.ended).collect();
    for below in subfolders(folder) {
        members.extend(self::members(&below).unwrap_or_default());
    }
    Ok(members)
}

/// A daemon may part its processes into cgroups of its own.
fn subfolders(folder: &Path) -> Vec<PathBuf> {
    // Each counts as a link of the folder, as its name and itself do.
    if fs::metadata(folder).is_ok_and(|folder| folder.nlink() == 2) {
        return Vec::new();
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// A file of the kernel's, which says of none how large it is: with fewer calls than for any file.
fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::with_capacity(SMALL_BYTES);
    File::open(path)?.take(u64::MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn processor_time(cgroup: &Path) -> Option<Duration> {
    let stat = read_small(&cgroup.join("cpu.stat")).ok()?;
    let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    usage.parse().ok().map(Duration::from_micros)
}

/// Kills whoever is there. False where this kernel cannot, or we have no descriptor for it.
fn kill(cgroup: &Path) -> bool {
    File::options()
        .write(true)
        .open(cgroup.join("cgroup.kill"))
        .is_ok_and(|mut file| io::Write::write_all(&mut file, b"1").is_ok())
}

/// Removes a folder with those below it, as far as they are empty.
fn remove_empty(folder: &Path) {
    for below in subfolders(folder) {
        remove_empty(&below);
    }
    let _ = fs::remove_dir(folder);
}

#[cfg(test)]
mod tests;
