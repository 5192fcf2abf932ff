//! boot is killed after each single effect of what it does, and begun again: the host ends with
//! exactly one working version, and the server with exactly one end of each job.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

mod bootworld;

use bootworld::World;
use serde_json::{Value, json};

const SUM: &str = "SHA256:4a34b8d7d3009bb9ef9475fbf33e7bbe4a1e8db003aefc578a241c2f51c2c2f2";

fn package(id: &str, action: &str, version: &str) -> Value {
    let url = format!("http://files/web-{version}.tar.gz");
    json!({"id": id, "action": action, "name": "web", "url": url, "checksum": SUM, "timeout": 600})
}

/// A host as it is before the job.
type Given = fn() -> World;

fn bare() -> World {
    World::new()
}

fn with_web() -> World {
    let mut world = World::new();
    world.server.jobs = vec![package("first", "install", "1")];
    world.until("it to run", |world| world.server.jobs.is_empty());
    // What was under way is told to its end.
    world.pass(100);
    world.server.results.clear();
    world
}

fn with_broken_two() -> World {
    let mut world = with_web();
    world.tree.broken = vec!["2".into()];
    world
}

fn with_wrong_two() -> World {
    let mut world = with_web();
    world.tree.wrong = vec!["web-2".into()];
    world
}

fn bare_with_broken_one() -> World {
    let mut world = bare();
    world.tree.broken = vec!["1".into()];
    world
}

/// Kills boot after each effect of a job, once in each run, and twice: the second time so many
/// effects later. And after each change of its database.
fn killed_everywhere(given: Given, job: &Value, errcodes: &[u64], running: &[&str]) {
    let mut clean = given();
    let (effects, changes) = (clean.effects, clean.changes());
    clean.server.jobs.push(job.clone());
    settle(&mut clean);
    let (effects, changes) = (clean.effects - effects, clean.changes() - changes);
    assert!(effects > 10 && changes > 5, "{effects} {changes}");
    let check = |world: &mut World, what: &str| {
        settle(world);
        assert!(world.kills > 0, "{what}");
        let results = &world.server.results;
        let told: Vec<u64> = results.iter().map(|result| result["errcode"].as_u64().unwrap()).collect();
        assert!(!told.is_empty() && told.iter().all(|code| *code == told[0]), "{what}: {results:?}");
        assert!(errcodes.contains(&told[0]), "{what}: {results:?}");
        assert_eq!(world.tree.running("web"), running, "{what}: {results:?}");
        let installed: Vec<&str> = world.tree.installed.values().map(String::as_str).collect();
        assert_eq!(installed, running, "{what}: {results:?}");
        assert_eq!(world.server.jobs, [] as [Value; 0], "{what}");
    };
    for goes_on in [false, true] {
        for after in 1..=effects {
            for second in [0, 1, 7] {
                let mut world = given();
                world.tasks_go_on = goes_on;
                world.server.jobs.push(job.clone());
                world.kill_after = Some(world.effects + after);
                if second > 0 {
                    world.until("the first kill", |world| world.kills == 1);
                    world.kill_after = Some(world.effects + second);
                }
                check(&mut world, &format!("killed after {after}, then {second}, tasks go on {goes_on}"));
            }
        }
        for after in 0..changes {
            let mut world = given();
            world.tasks_go_on = goes_on;
            world.server.jobs.push(job.clone());
            world.kill_after_changes = Some(world.changes() + after);
            check(&mut world, &format!("killed after {after} changes, tasks go on {goes_on}"));
        }
    }
}

/// Until the job's end is known and nothing more happens.
fn settle(world: &mut World) {
    world.until("the end", |world| world.server.jobs.is_empty());
    world.pass(300);
}

#[test]
fn an_install_is_whole() {
    killed_everywhere(bare, &package("i", "install", "1"), &[0], &["1"]);
}

#[test]
fn an_install_that_fails_is_undone() {
    killed_everywhere(bare_with_broken_one, &package("i", "install", "1"), &[3101, 3110], &[]);
}

#[test]
fn an_upgrade_is_whole() {
    killed_everywhere(with_web, &package("u", "upgrade", "2"), &[0], &["2"]);
}

#[test]
fn an_upgrade_that_fails_is_undone() {
    killed_everywhere(with_broken_two, &package("u", "upgrade", "2"), &[3303], &["1"]);
}

#[test]
fn an_upgrade_to_a_wrong_file_is_undone() {
    killed_everywhere(with_wrong_two, &package("u", "upgrade", "2"), &[3302], &["1"]);
}

#[test]
fn an_uninstall_is_whole() {
    let uninstall = json!({"id": "x", "action": "uninstall", "name": "web"});
    killed_everywhere(with_web, &uninstall, &[0], &[]);
}

#[test]
fn a_restart_is_done_once() {
    let restart = json!({"id": "r", "action": "restart", "name": "web"});
    let begun = with_web();
    let (pid, effects) = (begun.tree.processes[0].process.pid, begun.effects);
    for after in 1..=60 {
        let mut world = with_web();
        world.server.jobs.push(restart.clone());
        world.kill_after = Some(effects + after);
        settle(&mut world);
        assert_eq!(world.tree.processes[0].process.pid, pid + 1, "killed after {after}");
        assert_eq!(world.server.results[0]["errcode"], 0);
    }
}

#[test]
fn boot_hands_over_once_the_server_knows_whenever_it_is_killed() {
    for (stage, errcode) in [("done", 0), ("rolled_back", 3304)] {
        handed_over_everywhere(stage, errcode);
    }
}

/// Of a handover that comes to this.
fn handed_over_everywhere(stage: &str, errcode: u64) {
    let upgrade = json!({"id": "s", "action": "upgrade", "name": "boot", "url": "/packages/boot_2_all.deb"});
    let given = || {
        let mut world = with_web();
        world.tree.helper_leaves = Some(stage.into());
        world.server.jobs.push(upgrade.clone());
        world
    };
    let mut clean = given();
    let begun = clean.effects;
    settle(&mut clean);
    for after in 1..=clean.effects - begun {
        let mut world = given();
        world.kill_after = Some(world.effects + after);
        // Whatever is handed over, its beginning has been told before.
        world.until("a helper", |world| world.tree.helpers > 0);
        assert!(world.server.results.iter().any(|result| result["errcode"] == 1), "killed after {after}");
        settle(&mut world);
        let told: Vec<u64> =
            world.server.results.iter().map(|result| result["errcode"].as_u64().unwrap()).collect();
        let goes_on = told.iter().take_while(|errcode| **errcode == 1).count();
        let what = format!("{stage}, killed after {after}: {told:?}");
        assert!(goes_on > 0 && told[goes_on..].iter().all(|told| *told == errcode), "{what}");
        assert!(told.len() > goes_on, "{what}");
        assert_eq!((world.tree.running("web"), world.tree.helpers), (vec!["1"], 1), "{what}");
    }
}
