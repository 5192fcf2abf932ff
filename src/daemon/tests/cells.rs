//! The table, cell by cell: a daemon that is at a state is told what happened, and what it does and
//! is at then is compared.

use super::super::one::{Daemon, KnownUser, Main, Turn};
use super::super::package::{Package, Supply};
use super::super::table::{Event as Cause, State, cell};
use super::super::*;
use super::host::{init, own};
use crate::machine::{ChildId, Effect, Process, Program};
use crate::task::PendingTask;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What is done at each cell that is not passed over, in the words of [`done`], and the state then.
/// A start waits for the store, so that it does nothing yet.
const EXPECTED: &[(State, Cause, &str, State)] = &[
    (State::Stopped, Cause::Run, "spawn looks", State::Checking),
    (State::Stopped, Cause::Install, "task Install", State::Installing),
    (State::Stopped, Cause::Remove, "task Uninstall", State::Removing),
    (State::Stopped, Cause::Failed, "", State::Backoff),
    (State::Stopped, Cause::Spent, "", State::Fatal),
    (State::Installing, Cause::Halt, "kill 9, release", State::Stopped),
    (State::Installing, Cause::Passed, "", State::Stopped),
    (State::Installing, Cause::Failed, "", State::Backoff),
    (State::Installing, Cause::Spent, "", State::Fatal),
    (State::Checking, Cause::Halt, "kill 9, release", State::Stopped),
    (State::Checking, Cause::Passed, "", State::Starting),
    (State::Checking, Cause::Failed, "", State::Backoff),
    (State::Checking, Cause::Spent, "", State::Fatal),
    (State::Checking, Cause::Due, "spawn looks", State::Checking),
    (State::Starting, Cause::Halt, "kill 15", State::Halting),
    (State::Starting, Cause::Passed, "", State::Running),
    (State::Starting, Cause::Failed, "", State::Backoff),
    (State::Starting, Cause::Spent, "", State::Fatal),
    (State::Starting, Cause::Left, "all 15", State::Failing),
    (State::Starting, Cause::Sick, "kill 15", State::Failing),
    (State::Starting, Cause::Due, "spawn checks", State::Starting),
    (State::Running, Cause::Halt, "kill 15", State::Halting),
    (State::Running, Cause::Failed, "", State::Backoff),
    (State::Running, Cause::Spent, "", State::Fatal),
    (State::Running, Cause::Left, "all 15", State::Failing),
    (State::Running, Cause::Sick, "kill 15", State::Failing),
    (State::Running, Cause::Greedy, "kill 15", State::Killing),
    (State::Running, Cause::Due, "survey, spawn checks", State::Running),
    (State::Halting, Cause::Passed, "", State::Stopped),
    (State::Halting, Cause::Left, "all 15", State::Halting),
    (State::Halting, Cause::Due, "all 9", State::Halting),
    (State::Failing, Cause::Halt, "", State::Halting),
    (State::Failing, Cause::Failed, "", State::Backoff),
    (State::Failing, Cause::Spent, "", State::Fatal),
    (State::Failing, Cause::Left, "all 15", State::Failing),
    (State::Failing, Cause::Due, "all 9", State::Failing),
    (State::Killing, Cause::Halt, "", State::Halting),
    (State::Killing, Cause::Failed, "", State::Killed),
    (State::Killing, Cause::Spent, "", State::Fatal),
    (State::Killing, Cause::Left, "all 15", State::Killing),
    (State::Killing, Cause::Due, "all 9", State::Killing),
    (State::Backoff, Cause::Halt, "", State::Stopped),
    (State::Backoff, Cause::Due, "", State::Stopped),
    (State::Killed, Cause::Halt, "", State::Stopped),
    (State::Killed, Cause::Due, "", State::Stopped),
    (State::Fatal, Cause::Halt, "", State::Stopped),
    (State::Removing, Cause::Halt, "kill 9, release", State::Stopped),
    (State::Removing, Cause::Passed, "", State::Gone),
    (State::Removing, Cause::Failed, "", State::Backoff),
    (State::Removing, Cause::Spent, "", State::Fatal),
];

#[test]
fn each_cell_does_what_it_says() {
    let place = Place { settings: super::settings(), own: own(), boot: "boot".into(), tells: true };
    for state in State::ALL.iter().copied() {
        for cause in Cause::ALL.iter().copied() {
            let mut fx = Effects::default();
            let now = Now { mono: Instant(Duration::from_secs(9)), wall: SystemTime::UNIX_EPOCH };
            let mut daemon = at(state, now, &mut fx);
            fx.take();
            let mut chance = fastrand::Rng::with_seed(1);
            let mut turn = Turn { now, place: &place, chance: &mut chance, fx: &mut fx };
            daemon.feed(&mut turn, cause);
            let expected = EXPECTED.iter().find(|row| (row.0, row.1) == (state, cause));
            let (what, next) = expected.map_or(("", state), |row| (row.2, row.3));
            assert_eq!((done(fx.take()).as_str(), daemon.state), (what, next), "{state:?} {cause:?}");
            assert_eq!(expected.is_some(), cell(state, cause).is_some(), "{state:?} {cause:?}");
        }
    }
}

/// One that came to this state as daemons do, with what belongs to that.
fn at(state: State, now: Now, fx: &mut Effects) -> Daemon {
    let definition = Arc::new(init(&json!({"precheck": "looks", "check": "script:checks"})));
    let mut daemon = Daemon::new(now, definition.clone());
    daemon.state = state;
    daemon.user = Some(KnownUser { user: None, group: None, identity: own() });
    daemon.supply = Supply::Here(definition.clone());
    daemon.wait = Duration::from_secs(1);
    if state != State::Stopped {
        daemon.installed = Some(Package {
            init: definition.clone(),
            name: Some("web".into()),
            dir: "/".into(),
            others: Vec::new(),
            is_whole: true,
        });
    }
    if state == State::Removing || state == State::Stopped {
        daemon.installed = Some(Package {
            init: definition.clone(),
            name: None,
            dir: "/".into(),
            others: Vec::new(),
            is_whole: true,
        });
    }
    if state.has_processes() || state == State::Checking {
        daemon.started = Some(definition);
    }
    if state.has_processes() {
        daemon.family = Some("web.1".into());
        daemon.main = Some(Main { child: ChildId(77), process: Some(Process { pid: 7, start: 7 }) });
    }
    if matches!(state, State::Installing | State::Checking | State::Removing) {
        let task = crate::machine::Task::Reach("/".into());
        daemon.work = Some(work::Work::LookUp(PendingTask::start(now, task, fx)));
    }
    daemon
}

fn done(effects: Vec<Effect>) -> String {
    let words = effects.into_iter().map(|effect| match effect {
        Effect::Spawn { program: Program::Exec(launch), .. } => {
            format!("spawn {}", launch.argv.last().unwrap())
        }
        Effect::Spawn { program: Program::Task(task), .. } => {
            format!("task {}", format!("{task:?}").split('(').next().unwrap())
        }
        Effect::Signal { signal, .. } => format!("kill {signal}"),
        Effect::SignalFamily { signal, .. } => format!("all {signal}"),
        Effect::Release { .. } => "release".into(),
        Effect::Survey(_) => "survey".into(),
        other => panic!("{other:?}"),
    });
    words.collect::<Vec<_>>().join(", ")
}
