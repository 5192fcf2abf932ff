//! Families of real processes, under real reactors that come and go: what is started, adopted,
//! found, signalled and heard, with cgroups and without.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

mod elsewhere;
mod family;
mod rig;

use family::{Order, Relation, SmallAgent, Start, Surveyed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rig::{aloud, is_root, process, until};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// A family of this test's own, which does not outlive it.
struct Home {
    family: String,
    /// Where its agents are, so that those of other tests do not tidy up after them.
    cgroup: Option<PathBuf>,
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let family = format!("test-{:016x}", fastrand::u64(..));
        let cgroup = own_cgroup().map(|own| own.join(&family));
        let is_one = |cgroup: &PathBuf| {
            let made = fs::create_dir(cgroup).is_ok();
            made && (cgroup.join("cgroup.kill").exists() || fs::remove_dir(cgroup).is_err())
        };
        Home { cgroup: cgroup.filter(is_one), family, folder }
    }

    fn agent(&self) -> SmallAgent {
        SmallAgent::start(self.cgroup.as_deref())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn output(&self) -> String {
        fs::read_to_string(self.path("log/output")).unwrap_or_default()
    }

    fn script(&self, script: &str) -> Start {
        self.program(&["/bin/sh", "-c", script])
    }

    fn program(&self, argv: &[&str]) -> Start {
        Start {
            family: self.family.clone(),
            output: self.path("log/output"),
            argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
            uid: None,
            cpu_max: None,
            memory_max: None,
        }
    }

    fn relation(&self, main: Option<(i32, u64)>) -> Relation {
        Relation { family: self.family.clone(), main, output: self.path("log/output") }
    }

    /// What a process has written to this file of its own number.
    fn pid_in(&self, file: &str) -> i32 {
        until("a number", || fs::read_to_string(self.path(file)).ok()?.trim().parse().ok())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for pid in marked(&self.family) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        // Those who are killed there have not ended yet.
        if let Some(cgroup) = &self.cgroup {
            let _ = fs::write(cgroup.join("cgroup.kill"), "1");
            until("the cgroup to be empty", || remove_empty(cgroup).is_ok().then_some(()));
        }
    }
}

/// Removes a cgroup with those below it.
fn remove_empty(cgroup: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(cgroup)?.flatten().filter(|entry| entry.file_type().unwrap().is_dir()) {
        remove_empty(&entry.path())?;
    }
    fs::remove_dir(cgroup)
}

/// Whoever has this family's name in its environment.
fn marked(family: &str) -> Vec<i32> {
    let mark = format!("ASPIRE_DAEMON={family}");
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let environment = |pid: &i32| fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    pids.filter(|pid| environment(pid).split(|byte| *byte == 0).any(|line| line == mark.as_bytes())).collect()
}

/// Cgroups of v1 are in one place for all tests, and the first limit of an agent's life tidies up there.
fn limits_alone() -> MutexGuard<'static, ()> {
    static LIMITS: Mutex<()> = Mutex::new(());
    LIMITS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn script(name: &str) -> String {
    format!("{}/tests/scripts/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// When a process began, as /proc has it.
fn start_of(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap()
}

fn is_alive(pid: i32) -> bool {
    process::is_alive(pid.cast_unsigned())
}

fn until_gone(pid: i32) {
    until("a process to be gone", || (!is_alive(pid)).then_some(()));
}

/// Where cgroups of the second version lie.
fn unified() -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?;
    Some(mount.split(' ').nth(1).unwrap().to_owned())
}

/// The cgroup of this test.
fn own_cgroup() -> Option<PathBuf> {
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap();
    Some(Path::new(&unified()?).join(cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?))
}

/// The cgroup of a process, where it is that of a family.
fn cgroup_of(pid: i32) -> Option<PathBuf> {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    path.contains("aspire.daemons/").then(|| Path::new(&unified().unwrap()).join(path))
}

/// With what cgroups this host has, and then without any.
fn with_and_without_cgroups(test: impl Fn() + Sync) {
    test();
    let Some(mount) = unified() else { return aloud("families with cgroups: this host has none") };
    let empty = tempfile::tempdir().unwrap();
    if elsewhere::elsewhere(&[(empty.path(), mount.as_str())], &test).is_none() {
        aloud("families without cgroups, which takes a mount");
    }
}

#[test]
fn what_a_daemon_writes_goes_to_its_file_whoever_of_its_agents_is_there() {
    with_and_without_cgroups(|| {
        for clean in [true, false] {
            let home = Home::new();
            let mut agent = home.agent();
            let lines = "n=0; while :; do n=$((n + 1)); echo out $n; echo err $n >&2; sleep 0.02; done";
            let (_, (pid, _)) = agent.begin(home.script(lines));
            until("some lines", || home.output().contains("err 2\n").then_some(()));
            if clean {
                agent.stop();
            } else {
                agent.kill();
            }
            let lines = home.output().lines().count();
            until("more lines", || (home.output().lines().count() > lines + 4).then_some(()));
            assert!(is_alive(pid));
            assert!(home.output().starts_with("out 1\nerr 1\nout 2\nerr 2\n"), "{}", home.output());
            let about = fs::metadata(home.path("log/output")).unwrap();
            assert_eq!(
                (about.mode() & 0o7777, fs::metadata(home.path("log")).unwrap().mode() & 0o7777),
                (0o640, 0o755)
            );
            let mut next = home.agent();
            let survey = next.survey(&home.relation(None));
            assert!(survey.written > 0);
            next.signal_family(&home.relation(None), libc::SIGKILL);
            until_gone(pid);
        }
    });
}

#[test]
fn it_begins_as_any_program_does_with_the_name_of_its_family() {
    let home = Home::new();
    let mut agent = home.agent();
    let tell = "echo $ASPIRE_DAEMON; readlink /proc/self/fd/0; ls /proc/self/fd | wc -l; grep SigIgn /proc/self/status; \
                test $(cut -d' ' -f6 /proc/$$/stat) = $$ && echo leader";
    let (child, _) = agent.begin(home.script(tell));
    agent.expect_end(child, Some(0));
    let told = home.output();
    // The fourth descriptor is the folder that ls reads.
    let wanted = format!("{}\n/dev/null\n4\nSigIgn:\t0000000000000000\nleader\n", home.family);
    assert_eq!(told, wanted);
}

#[test]
fn its_end_is_told_as_it_was_and_nobody_else_ends_with_it() {
    with_and_without_cgroups(|| {
        let home = Home::new();
        let mut agent = home.agent();
        let (child, (pid, _)) = agent.begin(home.script("sleep 600 & echo $!; wait"));
        let other: i32 = until("the other", || home.output().trim().parse().ok());
        agent.send(&Order::Signal { child, signal: libc::SIGTERM });
        agent.expect_end(child, Some(-15));
        assert_eq!(agent.pids(&home.relation(None)), [other], "{pid} alone was meant");
        agent.signal_family(&home.relation(None), libc::SIGKILL);
        until("nobody to be left", || agent.pids(&home.relation(None)).is_empty().then_some(()));
    });
}

#[test]
fn a_daemon_that_let_go_of_its_starter_is_found_and_killed_by_whatever_agent() {
    with_and_without_cgroups(|| {
        let home = Home::new();
        let mut agent = home.agent();
        let pid_file = home.path("pid");
        let (child, _) = agent.begin(home.program(&[&script("lets-go.sh"), pid_file.to_str().unwrap()]));
        agent.expect_end(child, Some(0));
        let pid = home.pid_in("pid");
        assert_eq!(agent.pids(&home.relation(None)), [pid]);
        agent.kill();
        let mut next = home.agent();
        let survey = next.survey(&home.relation(None));
        assert_eq!(survey.processes, [(pid, start_of(pid))]);
        assert!(survey.memory > 0);
        next.signal_family(&home.relation(Some((pid, start_of(pid)))), libc::SIGKILL);
        until_gone(pid);
        until("nobody to be left", || next.pids(&home.relation(None)).is_empty().then_some(()));
    });
}

#[test]
fn a_child_that_forgot_its_name_is_found_while_its_parent_lives() {
    with_and_without_cgroups(|| {
        let home = Home::new();
        let mut agent = home.agent();
        let pid_file = home.path("pid");
        let start = home.program(&[&script("forgets-its-name.sh"), pid_file.to_str().unwrap()]);
        let (_, main) = agent.begin(start);
        let pid = home.pid_in("pid");
        until("it to have forgotten", || (!marked(&home.family).contains(&pid)).then_some(()));
        assert_eq!(agent.pids(&home.relation(None)), [main.0, pid]);
        agent.kill();
        let mut next = home.agent();
        assert_eq!(next.pids(&home.relation(Some(main))), [main.0, pid]);
        next.signal_family(&home.relation(None), libc::SIGKILL);
        until_gone(main.0);
        until_gone(pid);
    });
}

#[test]
fn a_process_of_the_same_number_is_neither_found_nor_signalled() {
    with_and_without_cgroups(|| {
        let home = Home::new();
        let mut agent = home.agent();
        let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = stranger.id().cast_signed();
        let mistaken = home.relation(Some((pid, start_of(pid) + 1)));
        assert_eq!(agent.pids(&mistaken), Vec::<i32>::new());
        agent.signal_family(&mistaken, libc::SIGKILL);
        let child = agent.adopt((pid, start_of(pid) + 1));
        agent.expect_end(child, None);
        agent.send(&Order::Signal { child, signal: libc::SIGKILL });
        agent.descriptors();
        assert_eq!(stranger.try_wait().unwrap(), None);
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    });
}

#[test]
fn nobody_escapes_the_last_signal_by_forking() {
    with_and_without_cgroups(|| {
        let home = Home::new();
        let mut agent = home.agent();
        let (child, main) = agent.begin(home.program(&[&script("forks-on.sh")]));
        until("a few", || (agent.pids(&home.relation(Some(main))).len() > 10).then_some(()));
        agent.signal_family(&home.relation(Some(main)), libc::SIGKILL);
        agent.expect_end(child, Some(-9));
        until("nobody to be left", || agent.pids(&home.relation(None)).is_empty().then_some(()));
        assert_eq!(marked(&home.family).into_iter().filter(|pid| is_alive(*pid)).count(), 0);
    });
}

#[test]
fn a_family_whose_members_never_live_for_long_dies_with_its_cgroup() {
    let home = Home::new();
    let mut agent = home.agent();
    let (_, (pid, _)) = agent.begin(home.script("exec sleep 600"));
    if cgroup_of(pid).is_none() {
        return aloud("that a family of short lives dies, which takes a cgroup");
    }
    let hopping = Home::new();
    agent.begin(hopping.program(&[&script("hops-on.sh")]));
    agent.expect("Exited");
    let alive = |agent: &mut SmallAgent| (0..20).any(|_| !agent.pids(&hopping.relation(None)).is_empty());
    assert!(alive(&mut agent));
    agent.signal_family(&hopping.relation(None), libc::SIGKILL);
    until("nobody to be left", || (!alive(&mut agent)).then_some(()));
    assert_eq!(agent.pids(&home.relation(None)), [pid]);
    agent.signal_family(&home.relation(None), libc::SIGKILL);
    agent.expect("Exited");
}

#[test]
fn an_orphan_that_is_adopted_ends_once_and_its_reaper_knows_how() {
    with_and_without_cgroups(|| {
        let home = Home::new();
        let mut agent = home.agent();
        let quits = format!(
            "sh -c 'echo $$ > {0}.new; mv {0}.new {0}; until [ -e {1} ]; do sleep 0.01; done; exit 7' &",
            home.path("pid").display(),
            home.path("go").display()
        );
        agent.begin(home.script(&quits));
        agent.expect("Exited");
        let pid = home.pid_in("pid");
        let child = agent.adopt((pid, start_of(pid)));
        assert_eq!(agent.pids(&home.relation(None))[0], pid);
        fs::write(home.path("go"), "").unwrap();
        agent.expect_end(child, Some(7));
        // Nothing follows but what is asked for.
        let again = agent.adopt((pid, 1));
        agent.expect_end(again, None);
        agent.descriptors();
    });
}

#[test]
fn what_is_nobodys_child_of_ours_is_adopted_signalled_and_its_end_told_once() {
    let home = Home::new();
    let mut agent = home.agent();
    let trap = "trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let (_, (pid, start)) = agent.begin(home.script(trap));
    until("it to be ready", || home.output().contains("ready").then_some(()));
    agent.kill();
    let mut next = home.agent();
    let child = next.adopt((pid, start));
    next.send(&Order::Signal { child, signal: libc::SIGTERM });
    next.expect_end(child, None);
    assert_eq!(home.output(), "ready\nterm\n");
    next.descriptors();
    let child = next.adopt((pid, start));
    next.expect_end(child, None);
}

#[test]
fn a_child_that_is_adopted_too_is_told_to_end_to_both() {
    let home = Home::new();
    let mut agent = home.agent();
    let (child, (pid, start)) = agent.begin(home.script("exec sleep 600"));
    let adopted = agent.adopt((pid, start));
    agent.send(&Order::Signal { child: adopted, signal: libc::SIGUSR1 });
    for child in [child, adopted] {
        agent.expect_end(child, Some(-10));
    }
    agent.descriptors();
}

#[test]
fn what_a_family_uses_is_counted_with_those_that_have_ended() {
    with_and_without_cgroups(|| {
        let home = Home::new();
        let mut agent = home.agent();
        let work = "timeout 0.3 sh -c 'while :; do :; done'; echo done; sleep 600";
        let (_, main) = agent.begin(home.script(work));
        until("the work to be done", || home.output().contains("done").then_some(()));
        let survey = agent.survey(&home.relation(Some(main)));
        assert!(survey.cpu > 20_000, "of 0.3 s of work on a machine that does others', too: {survey:?}");
        assert!(survey.memory > 100_000, "{survey:?}");
        assert_eq!(survey.written, 5);
        agent.signal_family(&home.relation(Some(main)), libc::SIGKILL);
        agent.expect("Exited");
    });
}

#[test]
fn a_cgroup_goes_with_the_last_of_its_family_and_is_not_used_again() {
    let home = Home::new();
    let mut agent = home.agent();
    let (_, (pid, _)) = agent.begin(home.script("exec sleep 600"));
    let Some(cgroup) = cgroup_of(pid) else {
        return aloud("what becomes of cgroups, of which this host does not let us make any");
    };
    assert!(cgroup.ends_with(format!("aspire.daemons/{}", home.family)), "{}", cgroup.display());
    let refused = agent.ask(&Order::Start(home.script("true")), "NotStarted");
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.starts_with("cgroup: somebody is left in "), "{reason}");
    assert_eq!(agent.pids(&home.relation(None)), [pid]);
    agent.signal_family(&home.relation(None), libc::SIGKILL);
    agent.expect("Exited");
    until("the cgroup to be removed", || {
        agent.survey(&home.relation(None));
        (!cgroup.exists()).then_some(())
    });
    // An empty one is made anew, though somebody was killed there.
    fs::create_dir_all(&cgroup).unwrap();
    fs::write(cgroup.join("cgroup.kill"), "1").unwrap();
    let (_, again) = agent.begin(home.script("exec sleep 600"));
    assert_eq!(agent.pids(&home.relation(None)), [again.0]);
    agent.signal_family(&home.relation(None), libc::SIGKILL);
    agent.expect("Exited");
}

#[test]
fn what_ended_families_left_is_removed_by_the_next_agent_that_starts_one() {
    let (home, other) = (Home::new(), Home::new());
    let mut agent = home.agent();
    let (_, (pid, _)) = agent.begin(home.script("exec sleep 600"));
    let Some(cgroup) = cgroup_of(pid) else {
        return aloud("what becomes of cgroups, of which this host does not let us make any");
    };
    agent.kill();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    until("its folder to be empty", || {
        fs::read_to_string(cgroup.join("cgroup.events")).unwrap().contains("populated 0").then_some(())
    });
    let mut next = home.agent();
    next.begin(other.script("exit 0"));
    assert!(!cgroup.exists());
}

#[test]
fn an_agent_in_a_part_of_what_systemd_delegates_has_its_families_beside_it() {
    let home = Home::new();
    let Some(cgroup) = &home.cgroup else {
        return aloud("where systemd puts an agent, which takes a cgroup");
    };
    let own = cgroup.join("aspire.agent");
    fs::create_dir(&own).unwrap();
    let mut agent = SmallAgent::start(Some(&own));
    let (_, (pid, _)) = agent.begin(home.script("exec sleep 600"));
    assert_eq!(cgroup_of(pid).unwrap(), cgroup.join("aspire.daemons").join(&home.family));
    assert_eq!(agent.pids(&home.relation(None)), [pid]);
}

#[test]
fn a_family_within_a_cgroup_of_its_own_making_is_found_and_killed() {
    let home = Home::new();
    let mut agent = home.agent();
    let (_, main) = agent.begin(home.script("sleep 600 & echo $!; wait"));
    let Some(cgroup) = cgroup_of(main.0) else {
        return aloud("cgroups below a family's, of which this host does not let us make any");
    };
    let child: i32 = until("the child", || home.output().trim().parse().ok());
    fs::create_dir(cgroup.join("inner")).unwrap();
    fs::write(cgroup.join("inner/cgroup.procs"), child.to_string()).unwrap();
    assert_eq!(agent.pids(&home.relation(Some(main))), [main.0, child]);
    // And one who is taken out of it altogether.
    let outside = Path::new(&unified().unwrap()).join("cgroup.procs");
    if fs::write(&outside, main.0.to_string()).is_ok() {
        assert_eq!(agent.pids(&home.relation(Some(main))), [main.0, child]);
    }
    agent.signal_family(&home.relation(Some(main)), libc::SIGKILL);
    agent.expect("Exited");
    until_gone(child);
    until("the cgroup to be removed", || {
        agent.survey(&home.relation(None));
        (!cgroup.exists()).then_some(())
    });
}

#[test]
fn an_agent_without_a_free_descriptor_learns_of_ends_all_the_same() {
    let home = Home::new();
    let mut agent = home.agent();
    let before = agent.descriptors();
    let mut strangers: Vec<Child> =
        (0..3).map(|_| Command::new("sleep").arg("600").spawn().unwrap()).collect();
    let processes = strangers.iter().map(|stranger| stranger.id().cast_signed());
    let processes: Vec<_> = processes.map(|pid| (pid, start_of(pid))).collect();
    let mut end = |place: usize| {
        strangers[place].kill().unwrap();
        strangers[place].wait().unwrap();
    };
    agent.ask(&Order::Exhaust(true), "Exhausted");
    let ids: Vec<u64> = processes.iter().map(|process| agent.adopt(*process)).collect();
    end(1);
    agent.expect_end(ids[1], None);
    agent.send(&Order::Exhaust(false));
    end(0);
    agent.expect_end(ids[0], None);
    let is_watched = |agent: &mut SmallAgent| agent.descriptors().iter().any(|fd| fd.contains("[pidfd]"));
    until("the last to be watched", || is_watched(&mut agent).then_some(()));
    end(2);
    agent.expect_end(ids[2], None);
    assert_eq!(agent.descriptors(), before);
}

#[test]
fn an_agent_without_a_free_descriptor_does_not_take_a_family_for_dead() {
    with_and_without_cgroups(|| {
        let home = Home::new();
        let mut agent = home.agent();
        let (_, main) = agent.begin(home.script("exec sleep 600"));
        agent.ask(&Order::Exhaust(true), "Exhausted");
        agent.send(&Order::Survey(home.relation(None)));
        agent.send(&Order::Survey(home.relation(Some(main))));
        agent.send(&Order::Exhaust(false));
        let late: Surveyed = serde_json::from_value(agent.expect("Surveyed")).unwrap();
        assert_eq!(late.processes, [main]);
        assert_eq!(agent.pids(&home.relation(None)), [main.0], "one answer for each family is enough");
    });
}

#[test]
fn without_a_free_descriptor_no_daemon_is_started() {
    let home = Home::new();
    let mut agent = home.agent();
    agent.ask(&Order::Exhaust(true), "Exhausted");
    let refused = agent.ask(&Order::Start(home.script("exec sleep 600")), "NotStarted");
    assert!(refused["reason"].as_str().unwrap().contains("Too many open files"), "{refused}");
    agent.send(&Order::Exhaust(false));
    let (_, (pid, _)) = agent.begin(home.script("exec sleep 600"));
    assert_eq!(agent.pids(&home.relation(None)), [pid]);
}

#[test]
fn whoever_was_taken_out_of_the_cgroup_is_found_when_nobody_is_left_in_it() {
    let home = Home::new();
    let mut agent = home.agent();
    let (child, main) = agent.begin(home.script("sleep 600 & echo $!; wait"));
    let Some(cgroup) = cgroup_of(main.0) else {
        return aloud("who is taken out of a cgroup, of which this host does not let us make any");
    };
    let other: i32 = until("the other", || home.output().trim().parse().ok());
    let elsewhere = home.cgroup.as_ref().unwrap().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("cgroup.procs"), other.to_string()).unwrap();
    agent.send(&Order::Signal { child, signal: libc::SIGKILL });
    agent.expect_end(child, Some(-9));
    assert_eq!(agent.pids(&home.relation(Some(main))), [other]);
    agent.signal_family(&home.relation(None), libc::SIGKILL);
    until("nobody to be left", || agent.pids(&home.relation(None)).is_empty().then_some(()));
    assert!(!is_alive(other) && !cgroup.exists());
}

#[test]
fn what_is_no_place_for_output_is_named() {
    let home = Home::new();
    let mut agent = home.agent();
    let before = agent.descriptors();
    nix::unistd::mkfifo(&home.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (output, reason) in [
        (home.path("fifo"), "fifo: a FIFO lies there, and output goes to a regular file only"),
        (home.folder.path().into(), ": a folder lies there"),
        ("/dev/tty".into(), "/dev/tty: a device lies there"),
    ] {
        let refused = agent.ask(&Order::Start(Start { output, ..home.script("true") }), "NotStarted");
        assert!(refused["reason"].as_str().unwrap().contains(reason), "{refused}");
    }
    for family in ["", "..", "a/b", "a\nb"] {
        let refused =
            agent.ask(&Order::Start(Start { family: family.into(), ..home.script("true") }), "NotStarted");
        assert!(refused["reason"].as_str().unwrap().contains("no plain name of a file"), "{refused}");
    }
    let refused = agent.ask(&Order::Start(home.program(&["/nowhere"])), "NotStarted");
    assert_eq!(refused["reason"], "execve /nowhere: No such file or directory (os error 2)");
    assert_eq!(agent.descriptors(), before);
    // What was made for one who could not be started is not in the way.
    agent.begin(home.script("true"));
}

#[test]
fn the_kernel_keeps_the_limits_that_it_is_given() {
    let _alone = limits_alone();
    let home = Home::new();
    let mut agent = home.agent();
    // No program may have so little: the kernel has somebody's word for it, or none.
    let start = Start {
        cpu_max: Some(20),
        memory_max: Some(32 << 20),
        ..home.script("cat /proc/self/cgroup; sleep 600")
    };
    let (_, main) = agent.begin(start);
    let cgroups = until("its cgroups", || home.output().contains("0::/").then(|| home.output()));
    let of = |controller: &str| {
        let line = cgroups.lines().find(|line| line.split(':').nth(1) == Some(controller))?;
        let path = line.splitn(3, ':').nth(2)?;
        path.ends_with(&format!("aspire.daemons/{}", home.family))
            .then(|| format!("/sys/fs/cgroup/{controller}{path}"))
    };
    let (cpu, memory) = (of("cpu"), of("memory"));
    if cpu.is_none() && memory.is_none() && is_root() {
        aloud("that the kernel keeps limits: this host has no controllers of v1 for us");
    }
    let value =
        |folder: &str, file: &str| fs::read_to_string(format!("{folder}/{file}")).unwrap().trim().to_owned();
    if let Some(cpu) = &cpu {
        assert_eq!(value(cpu, "cpu.cfs_quota_us"), "20000");
        assert_eq!(value(cpu, "cpu.cfs_period_us"), "100000");
    }
    if let Some(memory) = &memory {
        assert_eq!(value(memory, "memory.limit_in_bytes"), (32 << 20).to_string());
    }
    agent.signal_family(&home.relation(Some(main)), libc::SIGKILL);
    agent.expect("Exited");
    for folder in [cpu, memory].into_iter().flatten() {
        until("its folders to be removed", || {
            agent.survey(&home.relation(None));
            (!Path::new(&folder).exists()).then_some(())
        });
    }
    assert_eq!(agent.pids(&home.relation(None)), Vec::<i32>::new());
}

#[test]
fn who_asks_for_more_memory_than_a_family_may_have_is_killed_by_the_kernel() {
    let _alone = limits_alone();
    let home = Home::new();
    let mut agent = home.agent();
    let glutton = "head -c 200M /dev/zero | tail -c 150M >/dev/null; echo $?";
    let start =
        Start { memory_max: Some(64 << 20), ..home.script(&format!("cat /proc/self/cgroup; {glutton}")) };
    agent.begin(start);
    agent.expect("Exited");
    if !home.output().contains("memory:/")
        || !home.output().contains(&format!("aspire.daemons/{}\n", home.family))
    {
        return aloud("that the kernel keeps memory_max, which it does not here");
    }
    assert!(home.output().ends_with("137\n"), "{}", home.output());
}

#[test]
fn one_user_and_root_are_heard_and_nobody_else() {
    let home = Home::new();
    let mut agent = home.agent();
    let path = home.path("run/notify");
    let before = agent.descriptors();
    // What an agent left that was killed.
    fs::create_dir(home.path("run")).unwrap();
    drop(UnixDatagram::bind(&path).unwrap());
    let uid = if is_root() { 1 } else { nix::unistd::geteuid().as_raw() };
    let hear = || Order::Hear { path: path.clone(), uid };
    agent.ask(&hear(), "Hears");
    let about = fs::symlink_metadata(&path).unwrap();
    assert_eq!((about.uid(), about.mode() & 0o7777), (uid, 0o600));
    agent.ask(&hear(), "Hears");
    assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), about.ino(), "it is the one that was there");
    let sender = UnixDatagram::unbound().unwrap();
    sender.send_to(b"READY=1", &path).unwrap();
    assert_eq!(agent.expect("Heard"), json!({"event": "Heard", "path": path, "text": "READY=1"}));
    sender.send_to(&[b'x'; 3000], &path).unwrap();
    assert_eq!(agent.expect("Heard")["text"].as_str().unwrap().len(), 1024);
    let mut many = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..100 {
                sender.send_to(format!("{n}").as_bytes(), &path).unwrap();
            }
        });
        (0..100).for_each(|n| {
            assert_eq!(agent.expect("Heard")["text"], n.to_string());
            many += 1;
        });
    });
    assert_eq!(many, 100);
    if is_root() {
        say_as(uid, &path, true);
        assert_eq!(agent.expect("Heard")["text"], "hello");
        say_as(65534, &path, false);
    } else {
        aloud("that other users are not heard, which takes root");
    }
    agent.ask(&Order::Unhear { path: path.clone() }, "Hears");
    assert!(!path.exists());
    assert_eq!(agent.descriptors(), before);
    fs::write(&path, "mine").unwrap();
    agent.ask(&hear(), "Hears");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    fs::remove_file(&path).unwrap();
    agent.ask(&hear(), "Hears");
    agent.stop();
    assert!(!path.exists(), "it goes with the agent");
}

/// Sends a word as this user.
fn say_as(uid: u32, path: &Path, well: bool) {
    let say = "import socket,sys; s=socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b'hello', sys.argv[1])";
    let mut python = Command::new("python3");
    let said = python.args(["-c", say]).arg(path).uid(uid).output().unwrap();
    assert_eq!(said.status.success(), well, "{said:?}");
    assert_eq!(String::from_utf8_lossy(&said.stderr).contains("PermissionError"), !well, "{said:?}");
}

#[test]
fn a_daemon_goes_on_in_its_file_when_that_was_rotated() {
    let home = Home::new();
    let mut agent = home.agent();
    let lines = "n=0; while :; do n=$((n + 1)); echo $n; sleep 0.002; done";
    let (child, (pid, _)) = agent.begin(home.script(lines));
    let path = home.path("log/output");
    for turn in 0..5 {
        until("some lines", || (fs::metadata(&path).unwrap().len() > 20).then_some(()));
        // What is written between the last copy and the cut would be lost, which is the price of
        // not asking the daemon to open its file anew.
        agent.send(&Order::Signal { child, signal: libc::SIGSTOP });
        until("it to stand still", || {
            fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ").then_some(())
        });
        let rotate = Order::Rotate { path: path.clone(), files: 9 };
        assert_eq!(agent.task(&rotate), ("null".into(), json!(0)), "turn {turn}");
        agent.send(&Order::Signal { child, signal: libc::SIGCONT });
    }
    agent.send(&Order::Signal { child, signal: libc::SIGTERM });
    agent.expect_end(child, Some(-15));
    let older =
        (1..=5).rev().map(|number| fs::read_to_string(format!("{}.{number}", path.display())).unwrap());
    let all: String = older.chain([home.output()]).collect();
    let numbers: Vec<usize> = all.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
}

#[test]
fn whether_somebody_is_at_a_socket_is_tried_by_a_task() {
    let home = Home::new();
    let mut agent = home.agent();
    let path = home.path("web.sock");
    let probe = || Order::Probe(path.clone());
    let (reason, exit) = agent.task(&probe());
    assert_eq!(
        (reason, exit),
        (format!("{}: No such file or directory (os error 2)", path.display()), json!(1))
    );
    let _listener = UnixListener::bind(&path).unwrap();
    assert_eq!(agent.task(&probe()), ("null".into(), json!(0)));
}

#[test]
fn the_end_of_a_file_is_told() {
    let home = Home::new();
    let mut agent = home.agent();
    let path = home.path("output");
    let read = || Order::ReadEnd { path: path.clone(), most_bytes: 6 };
    assert_eq!(agent.ask(&read(), "FileRead")["text"], Value::Null);
    fs::write(&path, "first\nlast\n").unwrap();
    assert_eq!(agent.ask(&read(), "FileRead")["text"], "\nlast\n");
    let refused = agent.ask(&Order::ReadEnd { path: "/dev/zero".into(), most_bytes: 6 }, "FileRead");
    assert_eq!(refused["reason"], "/dev/zero: not a regular file");
}

#[test]
fn no_descriptor_is_left_of_many_daemons() {
    let _alone = limits_alone();
    let home = Home::new();
    let mut agent = home.agent();
    let settle = |agent: &mut SmallAgent| {
        let home = Home::new();
        let (_, main) = agent.begin(Start { cpu_max: Some(50), ..home.script("exec sleep 600") });
        agent.adopt(main);
        assert_eq!(agent.pids(&home.relation(Some(main))), [main.0]);
        agent.signal_family(&home.relation(Some(main)), libc::SIGKILL);
        agent.expect("Exited");
        agent.expect("Exited");
        agent.survey(&home.relation(None));
    };
    settle(&mut agent);
    let before = agent.descriptors();
    (0..10).for_each(|_| settle(&mut agent));
    assert_eq!(agent.descriptors(), before);
}

#[test]
fn what_a_look_at_a_daemon_costs() {
    with_and_without_cgroups(|| {
        const TIMES: usize = 200;
        let home = Home::new();
        let mut agent = home.agent();
        let (_, main) = agent.begin(home.script("exec sleep 600"));
        let (relation, agent_pid) = (home.relation(Some(main)), agent.pid);
        // On a processor, so that others who are busy do not count.
        let spent = || fs::read_to_string(format!("/proc/{agent_pid}/schedstat")).unwrap_or_default();
        let spent = || Duration::from_nanos(spent().split(' ').next().unwrap().parse().unwrap_or_default());
        let before = spent();
        let told = agent.ask(&Order::Surveys(relation.clone(), TIMES), "Surveyed");
        let each = spent().saturating_sub(before) / u32::try_from(TIMES).unwrap();
        let survey: Surveyed = serde_json::from_value(told).unwrap();
        assert_eq!(survey.processes, [main]);
        println!("one look: {each:?}, in a cgroup: {}", cgroup_of(main.0).is_some());
        agent.signal_family(&relation, libc::SIGKILL);
        agent.expect("Exited");
    });
}
