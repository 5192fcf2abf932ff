//! Whoever runs boot's program, whether it holds the pid file or not. They are going to be ended, so
//! nobody else may be taken for one.

use super::own::without_mark;
use super::plan::Plan;
use crate::machine::limits::PLAN_BYTES;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The longest first line of a script that the kernel reads, in bytes.
const SHEBANG_BYTES: u64 = 256;

/// What such a process looks like.
#[derive(Debug)]
pub(super) struct Search {
    program: PathBuf,
    /// With which it may have been started.
    arguments: [Vec<String>; 2],
    /// Where the program is a script: the words before its arguments.
    scripts: Vec<Vec<String>>,
    surroundings: Option<Surroundings>,
}

/// What a process sees of the host: those in containers, and below roots of their own, are others.
#[derive(Debug, PartialEq, Eq)]
struct Surroundings {
    mounts: PathBuf,
    pids: PathBuf,
    /// The device and the inode.
    root: (u64, u64),
}

impl Search {
    /// For the installed program, and for the one that was there, of which this is a copy.
    pub fn new(plan: &Plan, copy: &Path) -> Search {
        let scripts =
            [plan.program.as_path(), copy].into_iter().filter_map(|file| script(file, &plan.program));
        Search {
            program: plan.program.clone(),
            arguments: [plan.arguments.clone(), plan.given.clone()],
            scripts: scripts.collect(),
            surroundings: Surroundings::of("self"),
        }
    }

    /// Whether a process runs it as boot runs: by itself, or by the interpreter of what is a script.
    pub fn knows(&self, pid: i32) -> bool {
        let Some(words) = command_line(pid) else { return false };
        let is_it = self.arguments.iter().any(|arguments| {
            let Some(before) = words.len().checked_sub(arguments.len()) else { return false };
            let (first, rest) = words.split_at(before);
            rest == arguments.as_slice()
                && (self.scripts.iter().any(|script| script == first) || before == 1 && self.executes(pid))
        });
        is_it && self.surroundings.is_some() && Surroundings::of(&pid.to_string()) == self.surroundings
    }

    fn executes(&self, pid: i32) -> bool {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| without_mark(exe) == self.program)
    }
}

impl Surroundings {
    /// `None` where they cannot be seen, as those of another user's process.
    fn of(pid: &str) -> Option<Surroundings> {
        let link = |name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).ok();
        let root = fs::metadata(format!("/proc/{pid}/root")).ok()?;
        Some(Surroundings { mounts: link("mnt")?, pids: link("pid")?, root: (root.dev(), root.ino()) })
    }
}

fn command_line(pid: i32) -> Option<Vec<String>> {
    let mut line = Vec::new();
    File::open(format!("/proc/{pid}/cmdline")).ok()?.take(PLAN_BYTES).read_to_end(&mut line).ok()?;
    let line = String::from_utf8_lossy(&line);
    Some(line.strip_suffix('\0').unwrap_or(&line).split('\0').map(str::to_owned).collect())
}

/// The kernel starts a script by its interpreter, one argument of that at most, and its own name.
fn script(file: &Path, name: &Path) -> Option<Vec<String>> {
    let mut head = Vec::new();
    File::open(file).ok()?.take(SHEBANG_BYTES).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let (interpreter, argument) = match line.trim().split_once([' ', '\t']) {
        Some((interpreter, argument)) => (interpreter.to_owned(), Some(argument.trim().to_owned())),
        None => (line.trim().to_owned(), None),
    };
    let name = name.display().to_string();
    Some([interpreter].into_iter().chain(argument).chain([name]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::plan::{Job, Life, Release, Stage};
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    fn plan(program: PathBuf, arguments: &[&str]) -> Plan {
        let release = Release { version: "1".into(), checksum: None, package: None };
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        Plan {
            job: Job { id: "j".into(), name: "boot".into() },
            stage: Stage::Prepared,
            reason: None,
            failed_at: None,
            wanted: release.clone(),
            before: release,
            program,
            given: arguments.clone(),
            arguments,
            pid_file: "/p".into(),
            old: Life { pid: 1, start: 0, boot: "b".into() },
            unit: None,
            is_enabled: false,
            found: None,
            left: None,
            deadline: 1,
            log: "/l".into(),
        }
    }

    /// A child that waits for its standard input, which ends with this test.
    fn start(command: &mut Command) -> Child {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap();
        // The kernel lets us go on when the program is there, a moment before its words are.
        while fs::read(format!("/proc/{}/cmdline", child.id())).unwrap().is_empty() {
            std::thread::yield_now();
        }
        child
    }

    fn pid(child: &Child) -> i32 {
        child.id().cast_signed()
    }

    fn end(mut child: Child) {
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    /// Written by a process of its own: what another thread's child has open cannot be run.
    fn installed(from: &Path, to: &Path) {
        assert!(Command::new("install").args(["-m", "755"]).args([from, to]).status().unwrap().success());
    }

    #[test]
    fn whoever_reads_the_program_is_not_taken_for_one_that_runs_it() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("boot");
        installed("/bin/cat".as_ref(), &program);
        // Started plainly, as a service manager does it, and by another name.
        let boots = [start(&mut Command::new(&program)), start(Command::new(&program).arg0("boot"))];
        let reader = start(Command::new("/bin/cat").arg("-").arg(&program));
        let other = start(Command::new("/bin/cat").arg0(&program));
        let mut search = Search::new(&plan(program.clone(), &[]), Path::new("/none"));
        assert!(boots.iter().all(|boot| search.knows(pid(boot))));
        assert!(!search.knows(pid(&reader)) && !search.knows(pid(&other)));
        let search_with = |words: &[&str]| Search::new(&plan(program.clone(), words), Path::new("/none"));
        assert!(!search_with(&["-f"]).knows(pid(&boots[0])));
        let with_argument = start(Command::new(&program).arg("-"));
        assert!(search_with(&["-"]).knows(pid(&with_argument)) && !search.knows(pid(&with_argument)));
        // Its file is another one by now.
        fs::remove_file(&program).unwrap();
        installed("/bin/true".as_ref(), &program);
        assert!(search.knows(pid(&boots[0])));
        // What is in a container has the same path and the same words.
        for change in [
            |around: &mut Surroundings| around.mounts = "mnt:[1]".into(),
            |around: &mut Surroundings| around.pids = "pid:[1]".into(),
            |around: &mut Surroundings| around.root.1 += 1,
        ] {
            search.surroundings = Surroundings::of("self");
            assert!(search.knows(pid(&boots[0])));
            change(search.surroundings.as_mut().unwrap());
            assert!(!search.knows(pid(&boots[0])));
        }
        boots.into_iter().chain([reader, other, with_argument]).for_each(end);
    }

    #[test]
    fn a_script_is_run_by_its_interpreter_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (program, draft) = (folder.path().join("boot"), folder.path().join("draft"));
        for (head, words) in [("#!/bin/sh", 2), ("#! /bin/sh  -e ", 3)] {
            fs::write(&draft, format!("{head}\nread -r line\n:\n")).unwrap();
            installed(&draft, &program);
            let boot = start(Command::new(&program).arg("-f"));
            let reader = start(Command::new("/bin/cat").args(["--", "-", "-u"]).arg(&program).arg("-f"));
            let search = Search::new(&plan(program.clone(), &["-f"]), Path::new("/none"));
            assert_eq!(search.scripts[0].len(), words, "{:?}", search.scripts);
            assert!(search.knows(pid(&boot)) && !search.knows(pid(&reader)), "{head}");
            // It is one that was there: the copy shows how it was run.
            installed("/bin/true".as_ref(), &program);
            assert!(!Search::new(&plan(program.clone(), &["-f"]), Path::new("/none")).knows(pid(&boot)));
            assert!(Search::new(&plan(program.clone(), &["-f"]), &draft).knows(pid(&boot)));
            [boot, reader].into_iter().for_each(end);
        }
    }
}
