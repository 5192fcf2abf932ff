//! Boot's handover to another version of itself, with no process and no disk: the helper, ended at
//! each of its calls, and boot's own part.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

#[path = "handover/upgrade.rs"]
mod upgrade;
#[path = "handover/world.rs"]
mod world;

use aspire::handover::Stage;
use fastrand::Rng;
use std::time::Duration;
use world::{Keeper, Mishap, New, Program, World};

const NEWS: [New; 10] = [
    New::Good,
    New::NotInstalled,
    New::Elsewhere,
    New::HalfInstalled,
    New::HangsInstalling,
    New::Alien,
    New::ExitsAtOnce,
    New::HangsAtOnce,
    New::NeverConfirms,
    New::ConfirmsAndDies,
];
const KEEPERS: [Keeper; 3] = [Keeper::Nobody, Keeper::Loop, Keeper::Systemd];
const MISHAPS: [Mishap; 5] =
    [Mishap::None, Mishap::OldIsKilled, Mishap::NotPutBackAtFirst, Mishap::NotSaved, Mishap::NoManager];
/// Between one helper and the next.
const UNTIL_THE_NEXT: Duration = Duration::from_millis(30);
const HELPERS: usize = 10_000;

/// Helpers, one after another, until the plan is at its end. How many that took.
fn helped(world: &mut World) -> usize {
    for helpers in 1..HELPERS {
        if world.help() {
            return helpers;
        }
        world.pass(UNTIL_THE_NEXT);
    }
    panic!("no helper comes to an end");
}

/// Exactly one working version runs, and it is the one that the plan says.
fn check(world: &mut World, what: &str) {
    let (stage, program) = match world.new {
        New::Good => (Stage::Done, Program::New),
        _ => (Stage::RolledBack, Program::Old),
    };
    for _ in 0..2 {
        assert_eq!((world.disk.stage, world.installed), (stage, program), "{what}: {:?}", world.lines);
        assert_eq!(world.disk.left, world.file(), "{what}");
        assert_eq!(world.holders(), [program], "{what}: {:?} {:?}", world.living(), world.lines);
        world.pass(Duration::from_secs(3));
    }
    // Who keeps another than that which it started tries again and again, and is refused.
    let strays = world.living().into_iter().filter(|(_, of)| *of != program).count();
    assert_eq!(strays, 0, "{what}: {:?}", world.living());
}

#[test]
fn exactly_one_working_version_runs_in_the_end_whatever_the_new_one_is_like() {
    for (new, keeper, mishap) in cases() {
        let mut world = World::new(new, keeper, mishap);
        let old = world.living()[0];
        let helpers = helped(&mut world);
        assert_eq!(helpers, if new == New::HangsInstalling { 2 } else { 1 }, "{new:?} {:?}", world.lines);
        check(&mut world, &format!("{new:?} {keeper:?} {mishap:?}"));
        let untouched =
            [New::NotInstalled, New::Elsewhere, New::HalfInstalled, New::HangsInstalling, New::Alien]
                .contains(&new);
        if untouched && mishap != Mishap::OldIsKilled {
            assert_eq!(world.living(), [old], "{new:?}: the old one was never stopped");
        }
        let reason = world.disk.reason.as_deref();
        assert_eq!(reason.is_none(), new == New::Good, "{new:?}: {reason:?}");
        let is_not_replaced = reason == Some("the package has not replaced /usr/bin/boot");
        assert_eq!(is_not_replaced, new == New::Elsewhere, "{new:?}: {reason:?}");
    }
}

#[test]
fn a_helper_that_is_killed_at_any_call_is_followed_by_one_that_goes_on() {
    for (new, keeper, mishap) in cases() {
        let mut whole = World::new(new, keeper, mishap);
        helped(&mut whole);
        for fuse in 1..=whole.calls {
            let mut world = World::new(new, keeper, mishap);
            world.fuse = Some(fuse);
            helped(&mut world);
            check(&mut world, &format!("{new:?} {keeper:?} {mishap:?} killed at {fuse}"));
        }
    }
}

#[test]
fn helpers_that_are_killed_again_and_again_come_to_an_end_all_the_same() {
    for seed in 0..2000 {
        let mut random = Rng::with_seed(seed);
        let cases: Vec<_> = cases().collect();
        let (new, keeper, mishap) = cases[random.usize(..cases.len())];
        let mut world = World::new(new, keeper, mishap);
        for _ in 0..random.usize(1..8) {
            world.fuse = Some(world.calls + random.usize(1..200));
            if world.help() {
                break;
            }
            world.pass(Duration::from_millis(random.u64(1..200)));
        }
        helped(&mut world);
        check(&mut world, &format!("{new:?} {keeper:?} {mishap:?} seed {seed}"));
    }
}

fn cases() -> impl Iterator<Item = (New, Keeper, Mishap)> {
    let all = NEWS.iter().flat_map(|new| KEEPERS.iter().map(move |keeper| (*new, *keeper)));
    let all = all.flat_map(|(new, keeper)| MISHAPS.iter().map(move |mishap| (new, keeper, *mishap)));
    all.filter(|(_, keeper, mishap)| *mishap != Mishap::NoManager || *keeper == Keeper::Systemd)
}
