//! The real helper over real packages: what stands in for boot becomes another version, or does not,
//! while helpers and boots are killed by SIGKILL at random moments.
//!
//! `HANDOVER_KILLS=100 cargo test --test real_handover` kills a hundred with each kind of package;
//! without the variable it is twenty-five. `HANDOVER_SEED` gives other moments.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]
#![allow(clippy::print_stderr, reason = "a test that fails shows the helper's log")]

#[path = "handover/host.rs"]
mod host;
mod rig;

use aspire::handover::{Plan, Stage, take_over};
use fastrand::Rng;
use host::{Host, Keeper, PLAN, Packing, end};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rig::{PATIENCE, aloud, is_root, until};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const KILLS: usize = 25;
/// Seconds in which a good version proves itself on whatever machine, and in which it is seen that one
/// never will.
const ENOUGH: u64 = 60;
const SHORT: u64 = 2;
/// What a new version may be like. Every third or so is good. Of a .deb that is installed half, a
/// script has failed.
const KINDS: [&str; 11] =
    ["good", "exits", "good", "silent", "broken", "good", "dies", "alien", "hangs", "good", "half"];

fn from_environment(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect(name))
}

/// Where this process is a helper, it is nothing else.
fn is_helper() -> bool {
    let Some(plan) = std::env::var_os(PLAN) else { return false };
    take_over(Path::new(&plan)).unwrap();
    true
}

/// Whether a .deb can be installed here; that it cannot is said aloud.
fn has_dpkg() -> bool {
    let has = is_root() && Path::new("/usr/bin/dpkg-deb").exists();
    if !has {
        aloud("a .deb in place of boot: this takes root, and dpkg");
    }
    has
}

/// The first boot, which made room long ago.
fn drop_boot(mut boot: Child) {
    let _ = boot.kill();
    let _ = boot.wait();
}

/// Helpers, as boot starts them, until there is nothing left to do; meanwhile somebody is killed.
fn carry_out(host: &Host, mut strike: impl FnMut(Duration) -> bool) -> Plan {
    let begun = Instant::now();
    let mut helper = host.helper();
    loop {
        let is_over = helper.try_wait().unwrap().is_some();
        let plan = host.plan();
        if is_over && plan.stage.is_end() {
            // A worker may have outlived whoever sees to it.
            until("helpers to end", || host.helpers().is_empty().then_some(()));
            return plan;
        }
        if is_over {
            helper = host.helper();
        }
        while strike(begun.elapsed()) {}
        assert!(begun.elapsed() < 6 * PATIENCE, "it takes too long: {}\n{}", plan.text(), host.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Exactly one version runs, which is a good one and that which is installed.
fn check(host: &Host, plan: &Plan, kind: &str) {
    let expected = if kind == "good" { Stage::Done } else { Stage::RolledBack };
    assert_eq!(plan.stage, expected, "{kind}: {:?}\n{}", plan.reason, host.log());
    let version = &plan.installed().version;
    until("one boot to run", || {
        let (pid, running) = host.running()?;
        (running == *version && host.all() == [pid]).then_some(())
    });
    if let Some(packaged) = host.packaged().filter(|_| plan.installed().package.is_some()) {
        assert_eq!(packaged, format!("installed {version}"), "{kind}: {}", host.log());
    }
    let installed = fs::read_to_string(&host.program).unwrap();
    assert!(installed.contains(&format!("version={version}\n")), "{kind}: {installed}");
}

fn kill_again_and_again(mut host: Host, keeper: Option<Keeper>) {
    let kills = from_environment("HANDOVER_KILLS", KILLS);
    let seed = from_environment("HANDOVER_SEED", 1) as u64;
    let mut random = Rng::with_seed(seed);
    let is_kept = keeper.is_some();
    let boot = (!is_kept).then(|| host.boot(false));
    let mut killed = 0;
    for number in 2.. {
        if killed >= kills {
            break;
        }
        // An archive has no scripts.
        let kinds = if host.packing == Packing::Deb { &KINDS[..] } else { &KINDS[..KINDS.len() - 1] };
        let kind = kinds[random.usize(..kinds.len())];
        let deadline = if kind == "good" { ENOUGH } else { SHORT };
        let plan = host.prepare(&number.to_string(), kind, deadline, is_kept);
        assert_eq!(plan.stage, Stage::Prepared);
        let mut moments: Vec<u64> = (0..random.usize(1..4)).map(|_| random.u64(..1500)).collect();
        let plan = carry_out(&host, |elapsed| {
            let Some(due) = moments.iter().position(|moment| elapsed.as_millis() >= u128::from(*moment))
            else {
                return false;
            };
            moments.swap_remove(due);
            let mut victims = host.helpers();
            match random.u8(..4) {
                // One of the two, whichever that is.
                0 => victims.truncate(1),
                // Where somebody starts it again.
                1 if is_kept => victims = host.running().into_iter().map(|(pid, _)| pid).collect(),
                _ => {}
            }
            killed += usize::from(!victims.is_empty());
            victims.into_iter().for_each(end);
            true
        });
        check(&host, &plan, kind);
        host.settle(&plan);
    }
    drop(keeper);
    boot.into_iter().for_each(drop_boot);
}

#[test]
fn killed_helpers_leave_one_working_version_of_an_archive() {
    if is_helper() {
        return;
    }
    let host = Host::new(Packing::Archive, "killed_helpers_leave_one_working_version_of_an_archive");
    let keeper = Keeper::of(&host);
    kill_again_and_again(host, Some(keeper));
}

#[test]
fn killed_helpers_leave_one_working_version_of_a_deb() {
    if is_helper() {
        return;
    }
    if !has_dpkg() {
        return;
    }
    let host = Host::new(Packing::Deb, "killed_helpers_leave_one_working_version_of_a_deb");
    kill_again_and_again(host, None);
}

#[test]
fn a_package_whose_script_hangs_is_left_and_the_program_put_back() {
    if is_helper() {
        return;
    }
    if !has_dpkg() {
        return;
    }
    let host = Host::new(Packing::Deb, "a_package_whose_script_hangs_is_left_and_the_program_put_back");
    let boot = host.boot(false);
    host.prepare("2", "stuck", ENOUGH, false);
    let before = host.running();
    let mut helper = host.helper();
    until("the script to hang", || host.path("stuck").exists().then_some(()));
    assert!(fs::read_to_string(&host.program).unwrap().contains("version=2\n"));
    // What the kernel does in time.
    let worker = *rig::process::children(helper.id()).first().expect("a worker");
    kill(Pid::from_raw(worker.cast_signed()), Signal::SIGALRM).unwrap();
    assert!(helper.wait().unwrap().success());
    let plan = host.plan();
    check(&host, &plan, "stuck");
    let reason = plan.reason.unwrap();
    assert!(reason.starts_with("its installation took longer than 900 s"), "{reason}");
    assert_eq!(host.running(), before, "the old one was never stopped");
    // Nobody goes on who could put the new program over the old one.
    let package = host.paths.packages().join("2.deb").display().to_string();
    let name = host.program.iter().nth(2).unwrap().to_str().unwrap();
    for words in [package, format!("{name}.postinst")] {
        assert_eq!(rig::process::with_words(&words), [0; 0], "{words}");
    }
    drop_boot(boot);
}

#[test]
fn a_package_that_puts_nothing_in_the_program_s_place_has_not_upgraded_it() {
    if is_helper() {
        return;
    }
    if !has_dpkg() {
        return;
    }
    let name = "a_package_that_puts_nothing_in_the_program_s_place_has_not_upgraded_it";
    let mut host = Host::new(Packing::Deb, name);
    // It runs from where no package writes to.
    let elsewhere = host.path("elsewhere");
    host::run(Command::new("install").args(["-m", "755"]).args([&host.program, &elsewhere]));
    host.program = elsewhere;
    let boot = host.boot(false);
    host.prepare("2", "good", ENOUGH, false);
    let before = host.running();
    let mut helper = host.helper();
    assert!(helper.wait().unwrap().success());
    let plan = host.plan();
    check(&host, &plan, "not replaced");
    assert_eq!(plan.failed_at, Some(Stage::Installing));
    let reason = plan.reason.unwrap();
    assert_eq!(reason, format!("the package has not replaced {}", host.program.display()));
    assert_eq!(host.running(), before, "the old one was never stopped");
    drop_boot(boot);
}

#[test]
fn of_many_helpers_one_works_and_what_is_done_is_not_done_again() {
    if is_helper() {
        return;
    }
    let host = Host::new(Packing::Archive, "of_many_helpers_one_works_and_what_is_done_is_not_done_again");
    let boot = host.boot(false);
    host.prepare("2", "good", ENOUGH, false);
    let helpers: Vec<Child> = (0..8).map(|_| host.helper()).collect();
    for mut helper in helpers {
        assert!(helper.wait().unwrap().success());
    }
    let plan = until("the end", || Some(host.plan()).filter(|plan| plan.stage.is_end()));
    check(&host, &plan, "good");
    let log = host.log();
    for stage in ["installing", "replacing", "proving", "done"] {
        assert_eq!(log.matches(&format!(" stage={stage} ")).count(), 1, "{stage}: {log}");
    }
    let running = host.running();
    assert!(host.helper().wait().unwrap().success());
    assert_eq!((host.running(), host.log()), (running, log));
    // What is left: the program before, and the package of the one that runs.
    let left = |path: PathBuf| -> BTreeSet<String> {
        let names = fs::read_dir(path).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(left(host.paths.packages()), BTreeSet::from(["2.tar.gz".to_owned()]));
    let own = left(host.path(".self"));
    let expected = ["boot", "confirmed", "lock", "packages", "plan.json"].map(str::to_owned);
    assert_eq!(own, BTreeSet::from(expected));
    drop_boot(boot);
}

#[test]
fn a_service_is_restarted_by_its_manager_and_enabled_as_it_was() {
    if is_helper() {
        return;
    }
    let host = Host::new(Packing::Archive, "a_service_is_restarted_by_its_manager_and_enabled_as_it_was");
    let systemctl = host.path("bin/systemctl");
    fs::create_dir(host.path("bin")).unwrap();
    host::run(Command::new("install").args(["-m", "755", "tests/scripts/systemctl.sh"]).arg(&systemctl));
    fs::write(host.path("enabled"), "").unwrap();
    let keeper = Keeper::of(&host);
    let mut plan = host.prepare("2", "good", ENOUGH, true);
    plan.unit = Some("boot.service".into());
    host.save(&plan);
    let path = format!("{}:{}", host.path("bin").display(), std::env::var("PATH").unwrap());
    let here = host.path("");
    let mut helper = host.helper_with(&[("HERE", &here), ("PATH", Path::new(&path))]);
    assert!(helper.wait().unwrap().success());
    let plan = host.plan();
    check(&host, &plan, "good");
    assert_eq!((plan.unit.as_deref(), plan.is_enabled), (Some("boot.service"), true));
    let asked = fs::read_to_string(host.path("asked")).unwrap();
    let asked: Vec<&str> = asked.lines().collect();
    let begin = ["show --property=MainPID --value -- boot.service", "--quiet is-enabled -- boot.service"];
    assert_eq!(asked[..2], begin);
    assert!(asked.contains(&"--quiet enable -- boot.service"), "{asked:?}");
    assert_eq!(asked.last(), Some(&"--no-block restart -- boot.service"));
    drop(keeper);
}

#[test]
fn a_test_that_fails_before_there_is_a_plan_leaves_nothing_behind() {
    let begun = Mutex::new(None);
    let fails = || {
        let host = Host::new(Packing::Archive, "fails");
        *begun.lock().unwrap() = Some((host.arguments(true).join("\0"), host.boot(true)));
        until("boot to run", || host.running());
        panic!("this is meant");
    };
    assert!(std::panic::catch_unwind(fails).is_err());
    let (arguments, mut boot) = begun.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap();
    assert_eq!(rig::process::with_words(&arguments), [] as [i32; 0]);
    boot.wait().unwrap();
}
