//! A small host: an installed program, processes of it, whoever keeps them, and a plan on disk. A
//! helper that works on it can be ended at each single call.

use aspire::handover::{Confirmed, Hands, Job, Life, Plan, Release, Stage, Stamp, Which};
use aspire::machine::{Instant, Process};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

const BOOT: &str = "this-boot";
const PROGRAM: &str = "/usr/bin/boot";
/// Seconds. What is waited for is a part of it, and so are the times below.
const DEADLINE: u64 = 2;
const TO_HOLD: Duration = Duration::from_millis(10);
const TO_CONFIRM: Duration = Duration::from_millis(100);
const TO_DIE_THEN: Duration = Duration::from_millis(120);
const TO_END: Duration = Duration::from_millis(10);
const TO_BE_KEPT: Duration = Duration::from_millis(15);
/// Of each call.
const CALL: Duration = Duration::from_micros(100);

/// What is the matter with the new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum New {
    Good,
    /// Its package is not installed, and leaves everything as it was.
    NotInstalled,
    /// It is installed, and is another program's.
    Elsewhere,
    /// It is installed half, and has no program.
    HalfInstalled,
    /// A script of its package never ends.
    HangsInstalling,
    /// It does not run here.
    Alien,
    ExitsAtOnce,
    HangsAtOnce,
    /// It does not hear SIGTERM either.
    NeverConfirms,
    ConfirmsAndDies,
}

/// Who starts a boot that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    Nobody,
    /// As runit does it, and a container.
    Loop,
    Systemd,
}

/// What else happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    None,
    /// While the package is installed.
    OldIsKilled,
    /// The version before can be put back at the second try only.
    NotPutBackAtFirst,
    /// The disk is full for a while.
    NotSaved,
    /// systemd answers nobody.
    NoManager,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Old,
    New,
    Missing,
}

#[derive(Debug, Clone)]
struct Proc {
    process: Process,
    program: Program,
    born: Duration,
    /// When it ends, once that is known.
    end: Option<Duration>,
    is_kept: bool,
    holds: bool,
    /// It has come to what it does after its start.
    has_confirmed: bool,
}

pub struct World {
    pub new: New,
    pub keeper: Keeper,
    pub mishap: Mishap,
    pub installed: Program,
    /// How often its file was replaced.
    replaced: u64,
    pub disk: Plan,
    pub lines: Vec<String>,
    /// Calls, each of which is counted before and after its effect.
    pub calls: usize,
    /// At which the helper dies.
    pub fuse: Option<usize>,
    now: Duration,
    procs: Vec<Proc>,
    confirmed: Option<Confirmed>,
    /// When the keeper starts the next.
    kept_at: Option<Duration>,
    last_pid: i32,
    left_of_mishap: u32,
    /// The helper before was ended for the time that it took.
    is_late: bool,
}

/// What the helper dies of.
struct Killed;

impl World {
    pub fn new(new: New, keeper: Keeper, mishap: Mishap) -> World {
        let release = |version: &str| Release { version: version.into(), checksum: None, package: None };
        let disk = Plan {
            job: Job { id: "j".into(), name: "boot".into() },
            stage: Stage::Prepared,
            reason: None,
            failed_at: None,
            wanted: release("2"),
            before: release("1"),
            program: PROGRAM.into(),
            arguments: if keeper == Keeper::Nobody { vec![] } else { vec!["-f".into()] },
            given: vec![],
            pid_file: "/run/boot.pid".into(),
            old: Life { pid: 1, start: 0, boot: BOOT.into() },
            unit: Some("cron.service".into()),
            is_enabled: false,
            found: None,
            left: None,
            deadline: DEADLINE,
            log: "/log".into(),
        };
        let mut world = World {
            new,
            keeper,
            mishap,
            installed: Program::Old,
            replaced: 0,
            disk,
            lines: Vec::new(),
            calls: 0,
            fuse: None,
            now: Duration::ZERO,
            procs: Vec::new(),
            confirmed: None,
            kept_at: None,
            last_pid: 0,
            left_of_mishap: 3,
            is_late: false,
        };
        world.launch(keeper != Keeper::Nobody);
        world.pass(Duration::from_secs(1));
        let old = world.procs[0].process;
        world.disk.old = Life::new(old, BOOT);
        world
    }

    /// One helper, which may be killed. True where it came to its end.
    pub fn help(&mut self) -> bool {
        let mut plan = self.disk.clone();
        let ended = catch_unwind(AssertUnwindSafe(|| aspire::handover::carry_out(&mut plan, self)));
        match ended {
            Ok(done) => done.is_ok(),
            Err(reason) if reason.is::<Killed>() => false,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Whoever lives, and what it runs.
    pub fn living(&self) -> Vec<(Process, Program)> {
        self.procs.iter().map(|proc| (proc.process, proc.program)).collect()
    }

    pub fn holders(&self) -> Vec<Program> {
        self.procs.iter().filter(|proc| proc.holds).map(|proc| proc.program).collect()
    }

    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += until.saturating_sub(self.now).min(Duration::from_millis(1));
            self.live();
        }
    }

    /// Everybody does what is due.
    fn live(&mut self) {
        let now = self.now;
        let mut held = self.procs.iter().any(|proc| proc.holds);
        for proc in &mut self.procs {
            let age = now.saturating_sub(proc.born);
            let is_bad = |new| proc.program == Program::New && self.new == new;
            if is_bad(New::ExitsAtOnce) {
                proc.end = Some(now);
            }
            if proc.end.is_some() || is_bad(New::HangsAtOnce) || age < TO_HOLD {
                continue;
            }
            if !proc.holds && held {
                // It runs already, it says.
                proc.end = Some(now);
                continue;
            }
            (proc.holds, held) = (true, true);
            if age >= TO_CONFIRM && !proc.has_confirmed && !is_bad(New::NeverConfirms) {
                proc.has_confirmed = true;
                let life = Life::new(proc.process, BOOT);
                self.confirmed = Some(Confirmed { life, program: PROGRAM.into(), version: String::new() });
            }
            if age >= TO_DIE_THEN && is_bad(New::ConfirmsAndDies) {
                proc.end = Some(now);
            }
        }
        self.procs.retain(|proc| proc.end.is_none_or(|end| end > now));
        let lacks = self.keeper != Keeper::Nobody && !self.procs.iter().any(|proc| proc.is_kept);
        match self.kept_at {
            None if lacks => self.kept_at = Some(now + TO_BE_KEPT),
            Some(at) if lacks && now >= at => {
                self.kept_at = None;
                self.launch(true);
            }
            Some(_) if !lacks => self.kept_at = None,
            _ => {}
        }
    }

    fn launch(&mut self, is_kept: bool) -> Option<Process> {
        if self.installed == Program::Missing || self.installed == Program::New && self.new == New::Alien {
            return None;
        }
        self.last_pid += 1;
        let process = Process { pid: self.last_pid, start: u64::try_from(self.now.as_millis()).unwrap() };
        let (program, born) = (self.installed, self.now);
        let (end, holds, has_confirmed) = (None, false, false);
        self.procs.push(Proc { process, program, born, end, is_kept, holds, has_confirmed });
        Some(process)
    }

    fn end(&mut self, process: Process, time: Duration) {
        let end = self.now + time;
        for proc in self.procs.iter_mut().filter(|proc| proc.process == process) {
            proc.end = Some(proc.end.map_or(end, |before| before.min(end)));
        }
        self.live();
    }

    /// The installed program's.
    pub fn file(&self) -> Option<Stamp> {
        let (inode, [modified, changed]) = (self.replaced, [[0; 2]; 2]);
        (self.installed != Program::Missing).then_some(Stamp { inode, length: 1, modified, changed })
    }

    /// A call begins, or its effect has come.
    fn at_call(&mut self) {
        self.calls += 1;
        if self.fuse == Some(self.calls) {
            resume_unwind(Box::new(Killed));
        }
    }

    fn call<T>(&mut self, effect: impl FnOnce(&mut World) -> T) -> T {
        self.at_call();
        self.pass(CALL);
        let done = effect(self);
        self.at_call();
        done
    }

    fn mishap(&mut self, mishap: Mishap) -> bool {
        let happens = self.mishap == mishap && self.left_of_mishap > 0;
        if happens {
            self.left_of_mishap -= 1;
        }
        happens
    }
}

impl Hands for World {
    fn now(&self) -> Instant {
        Instant(self.now)
    }

    fn pause(&mut self, time: Duration) {
        self.call(|world| world.pass(time));
    }

    fn save(&mut self, plan: &Plan) -> Result<(), String> {
        self.call(|world| {
            if world.mishap(Mishap::NotSaved) {
                return Err("no space left".into());
            }
            world.disk = plan.clone();
            Ok(())
        })
    }

    fn stamp(&mut self, _: &Plan) -> Option<Stamp> {
        self.call(|world| world.file())
    }

    fn ask_manager(&mut self, plan: &mut Plan) {
        self.call(|world| {
            plan.unit = (world.keeper == Keeper::Systemd).then(|| "boot.service".into());
        });
    }

    fn too_long(&self) -> Option<String> {
        self.is_late.then(|| "it took too long".into())
    }

    fn install(&mut self, _: &Plan, which: Which) -> Result<(), String> {
        self.call(|world| match which {
            Which::New => {
                if world.mishap == Mishap::OldIsKilled {
                    world.mishap = Mishap::None;
                    let old = world.procs[0].process;
                    world.end(old, Duration::ZERO);
                }
                world.pass(Duration::from_millis(50));
                match world.new {
                    New::Elsewhere => return Ok(()),
                    New::NotInstalled => return Err("it is no package".into()),
                    New::HangsInstalling => {
                        world.installed = Program::Missing;
                        world.pass(Duration::from_secs(5));
                        world.is_late = true;
                        resume_unwind(Box::new(Killed));
                    }
                    New::HalfInstalled => {
                        world.installed = Program::Missing;
                        return Err("a script failed".into());
                    }
                    _ => {
                        world.installed = Program::New;
                        world.replaced += 1;
                    }
                }
                Ok(())
            }
            Which::Old => {
                if world.mishap(Mishap::NotPutBackAtFirst) {
                    world.left_of_mishap = 0;
                    return Err("busy".into());
                }
                world.installed = Program::Old;
                world.replaced += 1;
                Ok(())
            }
        })
    }

    fn try_out(&mut self, _: &Plan) -> Result<(), String> {
        let alien = |world: &mut World| world.new == New::Alien && world.installed == Program::New;
        if self.call(alien) { Err("exec format error".into()) } else { Ok(()) }
    }

    fn running(&mut self, _: &Plan) -> Vec<Process> {
        self.call(|world| world.procs.iter().map(|proc| proc.process).collect())
    }

    fn holder(&mut self, _: &Plan) -> Option<Process> {
        self.call(|world| world.procs.iter().find(|proc| proc.holds).map(|proc| proc.process))
    }

    fn is_alive(&mut self, process: Process) -> bool {
        self.call(|world| world.procs.iter().any(|proc| proc.process == process))
    }

    fn living(&mut self, life: &Life) -> Option<Process> {
        let process = life.process(BOOT)?;
        self.is_alive(process).then_some(process)
    }

    fn confirmed(&mut self) -> Option<(Process, Confirmed)> {
        self.call(|world| world.confirmed.clone().map(|word| (word.life.process(BOOT).unwrap(), word)))
    }

    fn forget_confirmed(&mut self) -> Result<(), String> {
        self.call(|world| world.confirmed = None);
        Ok(())
    }

    fn signal(&mut self, process: Process, signal: i32) {
        self.call(|world| {
            let is_deaf = |proc: &Proc| {
                let bad = proc.program == Program::New;
                bad && [New::HangsAtOnce, New::NeverConfirms].contains(&world.new)
            };
            let hears = world.procs.iter().any(|proc| proc.process == process && !is_deaf(proc));
            match signal {
                libc::SIGKILL => world.end(process, Duration::ZERO),
                libc::SIGTERM if hears => world.end(process, TO_END),
                _ => {}
            }
        });
    }

    fn restart_unit(&mut self, _: &Plan) -> Result<(), String> {
        self.call(|world| {
            if world.mishap == Mishap::NoManager {
                return Err("no answer".into());
            }
            assert_eq!(world.keeper, Keeper::Systemd, "another's service is none of ours");
            let kept: Vec<Process> =
                world.procs.iter().filter(|proc| proc.is_kept).map(|proc| proc.process).collect();
            for process in kept {
                world.end(process, Duration::ZERO);
            }
            Ok(())
        })
    }

    fn start(&mut self, _: &Plan) -> Result<Process, String> {
        self.call(|world| world.launch(false)).ok_or_else(|| "no such program".into())
    }

    fn tidy(&mut self, _: &Plan) {
        self.call(|_| ());
    }

    fn log(&mut self, line: &str) {
        self.call(|world| world.lines.push(line.into()));
    }
}
