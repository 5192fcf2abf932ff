//! One process, as its folder below /proc tells of it.

use crate::host::Host;
use aspire_plugin::{Root, Text};
use jiff::Timestamp;
use nix::unistd::{Uid, User};
use procfs::process::{Process as Folder, Stat};
use serde::Serialize;
use std::collections::HashMap;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;

/// Bytes of a command line that are shown: ten of the longest possible would not
/// fit in an answer, and the kernel itself told 4096 at most before Linux 4.2.
const CMDLINE: u64 = 8192;

/// A process.
#[derive(Debug, Serialize)]
pub struct Process {
    pub pid: i32,
    /// Of its parent, 0 for what the kernel has started itself.
    pub ppid: i32,
    /// What it calls itself, at most 15 bytes (comm).
    pub name: Text,
    /// A letter, as ps has it: `R` runs or could, `S` sleeps, `D` sleeps and cannot
    /// be woken, `I` is an idle thread of the kernel's, `Z` has ended and its parent
    /// has not asked how, `T` is stopped, `t` is stopped by a debugger, `X` is dead.
    pub state: char,
    /// The account that it acts as (the effective user); null where it has no name.
    /// What is not UTF-8 in that, nix replaces by U+FFFD.
    pub user: Option<String>,
    pub uid: u32,
    pub threads: i64,
    pub nice: i64,
    /// Memory that it holds in RAM, in bytes.
    pub rss: u64,
    /// Addresses that it may use, in bytes.
    pub r#virtual: u64,
    /// Of RAM, in percent, cut off after a tenth as ps does.
    pub memory_percent: Option<f64>,
    /// Processor time that it has used, in seconds to a hundredth.
    pub cpu_seconds: f64,
    /// Of one processor, over its life, in percent, cut off after a tenth as ps does.
    pub cpu_percent: Option<f64>,
    /// When it was started, to the second.
    pub started: Option<Timestamp>,
    /// How long ago that was, in whole seconds.
    pub elapsed: Option<u64>,
    /// Its arguments, the program first; empty for the kernel's own and what has
    /// ended. Empty arguments at the end are left out: most are blanks in a title
    /// that the process gave itself.
    pub cmdline: Vec<Text>,
    /// Whether the arguments are longer than the 8192 bytes that are shown.
    pub cmdline_cut: bool,
}

/// The names of accounts, each looked up once.
#[derive(Debug, Default)]
pub struct Users(HashMap<u32, Option<String>>);

impl Users {
    fn name(&mut self, uid: u32) -> Option<String> {
        let look_up = || User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        self.0.entry(uid).or_insert_with(look_up).clone()
    }
}

/// A process that is there, or was a moment ago: each answer is `None` if it ended.
#[derive(Debug)]
pub struct Entry {
    folder: Folder,
    pub stat: Stat,
}

impl Entry {
    pub fn open(root: &Root, pid: i32) -> Option<Self> {
        let folder = Folder::new_with_root(root.path(format!("proc/{pid}"))).ok()?;
        let stat = folder.stat().ok()?;
        Some(Entry { folder, stat })
    }

    pub fn is_called(&self, name: &[u8]) -> bool {
        self.name().as_bytes() == name || self.program().is_some_and(|program| program == name)
    }

    pub fn resident_pages(&self) -> Option<u64> {
        Some(self.folder.statm().ok()?.resident)
    }

    /// Processor time, by the time since it was started.
    #[allow(clippy::cast_precision_loss, reason = "2^53 ticks are more than a million years")]
    pub fn cpu_share(&self, host: &Host) -> Option<f64> {
        match self.age(host)? {
            0 => Some(0.0),
            elapsed => Some(self.cpu_ticks() as f64 / elapsed as f64),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "2^53 ticks are more than a million years")]
    pub fn tell(&self, host: &Host, users: &mut Users) -> Option<Process> {
        let uid = self.folder.uid().ok()?;
        let elapsed = self.age(host);
        let rss = self.resident_pages()?.checked_mul(host.page)?;
        let (cmdline, cmdline_cut) = self.cmdline();
        let percent = |part: u64, whole: u64| {
            let thousandths = (u128::from(part) * 1000).checked_div(whole.into())?;
            Some(thousandths as f64 / 10.0)
        };
        let started = |boot: i64| {
            let seconds = i64::try_from(self.stat.starttime / host.ticks).ok()?;
            Timestamp::from_second(boot.checked_add(seconds)?).ok()
        };
        Some(Process {
            pid: self.stat.pid,
            ppid: self.stat.ppid,
            name: self.name(),
            state: self.stat.state,
            user: users.name(uid),
            uid,
            threads: self.stat.num_threads,
            nice: self.stat.nice,
            rss,
            r#virtual: self.stat.vsize,
            memory_percent: host.memory.and_then(|total| percent(rss / 1024, total)),
            cpu_seconds: self.cpu_ticks() as f64 / host.ticks as f64,
            cpu_percent: elapsed.map(|elapsed| percent(self.cpu_ticks(), elapsed).unwrap_or(0.0)),
            started: host.boot_time.and_then(started),
            elapsed: elapsed.map(|elapsed| elapsed / host.ticks),
            cmdline,
            cmdline_cut,
        })
    }

    /// The kernel's bytes: `stat` has them, too, but procfs makes them UTF-8.
    fn name(&self) -> Text {
        match self.read("comm", 4096) {
            Some(name) => name.strip_suffix(b"\n").unwrap_or(&name).into(),
            None => self.stat.comm.as_str().into(),
        }
    }

    /// The file that it runs, without its folders, and without what the kernel adds
    /// when that file has been replaced.
    fn program(&self) -> Option<Vec<u8>> {
        let program = self.folder.exe().ok()?;
        let name = program.file_name()?.as_bytes();
        Some(name.strip_suffix(b" (deleted)").unwrap_or(name).to_vec())
    }

    fn cmdline(&self) -> (Vec<Text>, bool) {
        let mut bytes = self.read("cmdline", CMDLINE + 1).unwrap_or_default();
        let cut = bytes.len() as u64 > CMDLINE;
        bytes.truncate(usize::try_from(CMDLINE).expect("it is small"));
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let arguments = bytes[..end].split(|&byte| byte == 0).map(Text::from);
        (if end == 0 { Vec::new() } else { arguments.collect() }, cut)
    }

    fn read(&self, file: &str, limit: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.folder.open_relative(file).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    fn cpu_ticks(&self) -> u64 {
        self.stat.utime.saturating_add(self.stat.stime)
    }

    /// In ticks. In a container with an uptime of its own, what was started before
    /// it was started just now.
    fn age(&self, host: &Host) -> Option<u64> {
        Some(host.uptime?.saturating_sub(self.stat.starttime))
    }
}
