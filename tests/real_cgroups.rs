//! Commands by the real link, on a host with cgroups of the second version that
//! the agent may make: what each command is started in.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod rig;

use nix::sys::signal::Signal;
use rig::agent::{Agent, Host, signal};
use rig::pki::Ca;
use rig::polaris::Polaris;
use rig::{aloud, connected, process, until};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The folder of this test's own cgroup, where it may make others.
fn own_cgroup() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" cgroup2 "));
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"));
    let folder = mount.zip(path).map(|(mount, path)| {
        PathBuf::from(mount.split(' ').nth(1).unwrap()).join(path).join(format!("test-{}", fastrand::u64(..)))
    });
    let made = folder.filter(|folder| fs::create_dir(folder).is_ok());
    let usable = made.filter(|folder| folder.join("cgroup.kill").exists() || fs::remove_dir(folder).is_err());
    if usable.is_none() {
        aloud("what is done with cgroups, which this host does not let us make");
    }
    usable
}

/// The folders that an agent has for its commands.
fn folders_of(agent: u32) -> Option<Vec<PathBuf>> {
    let parent = own_cgroup()?;
    fs::remove_dir(&parent).unwrap();
    let home = parent.with_file_name(format!("aspire-{agent}"));
    let folders = fs::read_dir(home).into_iter().flatten().map(|entry| entry.unwrap().path());
    Some(folders.filter(|path| path.is_dir()).collect())
}

#[test]
fn a_daemon_that_cut_every_tie_ends_with_the_command_that_is_killed() {
    let mut session = connected("");
    if folders_of(session.agent.pid()).is_none() {
        return;
    }
    let pid_file = session.host.path("daemon.pid");
    let daemon = format!(
        "(setsid bash -c '(echo $BASHPID > {pid_file:?}; exec sleep 600) &' &) >/dev/null 2>&1 </dev/null"
    );
    let cmd = format!("{daemon}; until [ -s {pid_file:?} ]; do sleep 0.05; done; sleep 601");
    let reply = session.link.run_with(json!({"cmd": cmd, "timeout": 1}));
    assert_eq!(reply["retcode"], 3103, "{reply}");
    let pid = fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
    until("the daemon to end", || (!process::is_alive(pid)).then_some(()));
    session.agent.alone();
}

#[test]
fn folders_are_used_again_and_what_was_left_on_purpose_keeps_its_own() {
    let mut session = connected("");
    let agent = session.agent.pid();
    if folders_of(agent).is_none() {
        return;
    }
    for _ in 0..20 {
        session.link.output_of("true");
    }
    assert_eq!(folders_of(agent).unwrap().len(), 1);
    let left = session.link.output_of("nohup sleep 600 >/dev/null 2>&1 & echo $!").trim().parse().unwrap();
    for _ in 0..20 {
        session.link.output_of("true");
    }
    assert_eq!(folders_of(agent).unwrap().len(), 2);
    session.link.run_with(json!({"cmd": "sleep 600", "timeout": 1}));
    assert!(process::is_alive(left), "killing another command does not touch it");
    session.agent.signal(Signal::SIGTERM);
    assert!(session.agent.ended().success());
    let kept = folders_of(agent).unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(fs::read_to_string(kept[0].join("cgroup.procs")).unwrap().trim(), left.to_string());
    signal(left, Signal::SIGKILL);
    until("the next agent to tidy up", || {
        let mut next = connected("");
        next.link.output_of("true");
        folders_of(agent).unwrap().is_empty().then_some(())
    });
}

#[test]
fn an_agent_whose_own_cgroup_was_killed_before_it_came_runs_commands_all_the_same() {
    let Some(folder) = own_cgroup() else { return };
    fs::write(folder.join("cgroup.kill"), "1").unwrap();
    let ca = Ca::new();
    let polaris = Polaris::start(&ca);
    let host = Host::enrolled(&ca);
    host.configure(&polaris.server(), "");
    let gearman = host.command();
    let mut starter = Command::new("bash");
    let script = format!("echo $$ > {:?} && exec \"$0\" \"$@\" -f", folder.join("cgroup.procs"));
    starter.args(["-c", &script]).arg(gearman.get_program()).args(gearman.get_args());
    let mut agent = Agent::of(starter.spawn().unwrap());
    let mut link = polaris.ready();
    assert_eq!(link.output_of("echo hello"), "hello\n");
    let reply = link.run_with(json!({"cmd": "setsid sleep 600 & echo $!; wait", "timeout": 1}));
    let pid = reply["data"].as_str().unwrap().trim().parse().unwrap();
    until("what left the group to end", || (!process::is_alive(pid)).then_some(()));
    agent.signal(Signal::SIGTERM);
    assert!(agent.ended().success());
    until("the cgroup to be empty", || fs::remove_dir(&folder).ok());
}
