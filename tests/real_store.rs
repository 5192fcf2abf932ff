//! The real agent over a database that is not as it should be: it says why,
//! goes on with commands, and with jobs once the cause is gone.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![allow(clippy::disallowed_methods, reason = "real disks take real time")]

mod rig;

use aspire::store::Store;
use nix::sys::signal::Signal;
use rig::agent::{Agent, Host};
use rig::pki::Ca;
use rig::polaris::{Link, Polaris};
use rig::{aloud, is_root, process, until};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// A small disk of its own, gone when this is dropped.
struct Disk {
    at: PathBuf,
}

impl Disk {
    /// `None` where this user or this sandbox may not mount.
    fn mount(host: &Host) -> Option<Disk> {
        let at = host.path("disk");
        fs::create_dir(&at).unwrap();
        let disk = Disk { at };
        if is_root() && disk.does("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"]) {
            return Some(disk);
        }
        aloud("a disk that is full, and one that is read only: nothing can be mounted here");
        None
    }

    fn does(&self, program: &str, arguments: &[&str]) -> bool {
        Command::new(program).args(arguments).arg(&self.at).status().is_ok_and(|status| status.success())
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.at.join("ballast")).unwrap();
        while file.write_all(&[7; 512]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.at.join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.does("umount", &["-l"]);
    }
}

struct World {
    polaris: Polaris,
    host: Host,
    /// Whom the agent runs as, where not as the test.
    user: Option<u32>,
}

fn world() -> World {
    let ca = Ca::new();
    let world = World { polaris: Polaris::start(&ca), host: Host::enrolled(&ca), user: None };
    world.host.configure(&world.polaris.server(), "");
    world
}

impl World {
    fn store_at(&self, new: &Path) {
        let config = fs::read_to_string(self.host.path("gearman.conf")).unwrap();
        let old = self.host.path("gearman.db");
        let config = config.replace(&*old.to_string_lossy(), &new.to_string_lossy());
        fs::write(self.host.path("gearman.conf"), config).unwrap();
    }

    fn start(&self) -> (Agent, Link) {
        let mut command = self.host.command();
        command.args(["-f", "-l", "debug"]).stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        (Agent::of(command.spawn().unwrap()), self.polaris.ready())
    }
}

fn job(link: &mut Link, id: &str, cmd: &str) -> Value {
    link.send(&json!({"id": id, "method": "async.bash", "cmd": cmd}));
    frame(link, |frame| frame["id"] == id && frame["method"].is_null())
}

fn result(link: &mut Link, id: &str) -> Value {
    let result = frame(link, |frame| frame["id"] == id && frame["method"] == "result");
    link.send(&json!({"method": "ack", "seq": result["seq"]}));
    result
}

fn frame(link: &mut Link, wanted: impl Fn(&Value) -> bool) -> Value {
    std::iter::repeat_with(|| link.receive()).find(wanted).unwrap()
}

/// It has no database for this reason; it runs commands; once the cause is gone it has one.
fn closed_until_mended(world: &World, words: &str, path: &Path, mend: impl FnOnce()) {
    let (agent, mut link) = world.start();
    let said = world.host.logged(&["store=closed", words]);
    assert!(said.contains(&*path.to_string_lossy()), "{said}");
    assert_eq!(link.output_of("echo hello"), "hello\n");
    let reply = job(&mut link, "refused", "true");
    assert_eq!(reply["retcode"], 3201);
    assert!(reply["detail"].as_str().unwrap().contains(words), "{reply}");
    mend();
    agent.signal(Signal::SIGHUP);
    world.host.logged(&["store=open"]);
    assert_eq!(job(&mut link, "accepted", "true")["retcode"], 1);
    assert_eq!(result(&mut link, "accepted")["retcode"], 2);
}

#[test]
fn a_folder_in_its_place() {
    let world = world();
    let path = world.host.path("gearman.db");
    fs::create_dir(&path).unwrap();
    closed_until_mended(&world, "Is a directory", &path, || fs::remove_dir(&path).unwrap());
}

#[test]
fn another_programs_database_in_its_place() {
    let world = world();
    let path = world.host.path("gearman.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE job (salary)").unwrap();
    let mend = || fs::rename(&path, path.with_extension("theirs")).unwrap();
    closed_until_mended(&world, "another program's database", &path, mend);
}

#[test]
fn one_that_another_program_holds() {
    let world = world();
    let path = world.host.path("gearman.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE a (b); DROP TABLE a; BEGIN EXCLUSIVE").unwrap();
    closed_until_mended(&world, "another program has it locked", &path, || drop(other));
}

#[test]
fn a_disk_that_is_read_only() {
    let world = world();
    let Some(disk) = Disk::mount(&world.host) else { return };
    world.store_at(&disk.at.join("deep/gearman.db"));
    assert!(disk.does("mount", &["-o", "remount,ro"]));
    let mend = || assert!(disk.does("mount", &["-o", "remount,rw"]));
    closed_until_mended(&world, "Read-only file system", &disk.at, mend);
}

#[test]
fn a_disk_that_is_full_from_the_start() {
    let world = world();
    let Some(disk) = Disk::mount(&world.host) else { return };
    world.store_at(&disk.at.join("deep/gearman.db"));
    fs::create_dir(disk.at.join("deep")).unwrap();
    disk.fill();
    closed_until_mended(&world, "full", &disk.at, || disk.free());
}

/// The host's files are nobody's, as whom the agent runs.
fn given_to_nobody(world: &mut World) -> bool {
    const NOBODY: u32 = 65534;
    if !is_root() {
        aloud("an agent without root's rights over files of others");
        return false;
    }
    world.user = Some(NOBODY);
    let pki = fs::read_dir(world.host.path("pki")).unwrap().map(|file| file.unwrap().path());
    for path in pki.chain([world.host.folder().to_owned(), world.host.path("pki")]) {
        chown(path, world.user, world.user).unwrap();
    }
    true
}

#[test]
fn a_file_that_is_somebody_elses() {
    let mut world = world();
    if given_to_nobody(&mut world) {
        let path = world.host.path("gearman.db");
        fs::write(&path, b"").unwrap();
        let mend = || chown(&path, world.user, world.user).unwrap();
        closed_until_mended(&world, "Permission denied", &path, mend);
    }
}

#[test]
fn a_folder_that_takes_no_log() {
    let mut world = world();
    if given_to_nobody(&mut world) {
        let folder = world.host.path("theirs");
        let path = folder.join("gearman.db");
        drop(Store::open(&path, SystemTime::UNIX_EPOCH).unwrap());
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        chown(&path, world.user, world.user).unwrap();
        world.store_at(&path);
        let mend = || chown(&folder, world.user, world.user).unwrap();
        closed_until_mended(&world, "the log beside it: Permission denied", &path, mend);
    }
}

#[test]
fn garbage_in_its_place_is_set_aside() {
    let world = world();
    fs::write(world.host.path("gearman.db"), [0x5A; 9000]).unwrap();
    let (_agent, mut link) = world.start();
    let said = world.host.logged(&["store=damaged", "reason="]);
    let kept = said.split("kept_as=").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(fs::read(kept).unwrap(), [0x5A; 9000]);
    assert_eq!(job(&mut link, "a", "true")["retcode"], 1);
    assert_eq!(result(&mut link, "a")["retcode"], 2);
}

/// The processor's time that the agent has used, in ticks.
fn ticks(agent: &Agent) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", agent.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_disk_that_fills_up_and_has_room_again() {
    let world = world();
    let Some(disk) = Disk::mount(&world.host) else { return };
    world.store_at(&disk.at.join("deep/gearman.db"));
    let (agent, mut link) = world.start();
    let go = world.host.path("go");
    let cmd = format!("until test -e {}; do sleep 0.05; done; echo done", go.display());
    for id in ["a", "b"] {
        assert_eq!(job(&mut link, id, &cmd)["retcode"], 1);
    }
    let entry = json!({"id": "set", "method": "cron.set", "name": "each", "schedule": "* * * * * *",
        "cmd": "true", "overlap": "parallel"});
    link.send(&entry);
    assert_eq!(frame(&mut link, |frame| frame["id"] == "set")["retcode"], 1);
    until("both to run", || (process::children(agent.pid()).len() >= 2).then_some(()));
    disk.fill();
    let begun = Instant::now();
    let refused = until("the log to have no room left", || {
        let reply = job(&mut link, &format!("c{}", fastrand::u64(..)), "true");
        (reply["retcode"] == 3201).then_some(reply)
    });
    assert!(refused["detail"].as_str().unwrap().contains("full"), "{refused}");
    fs::write(&go, "").unwrap();
    let used = ticks(&agent);
    for n in 0..30 {
        link.bash(&format!("sync-{n}"), "echo hello");
        assert_eq!(frame(&mut link, |frame| frame["id"] == format!("sync-{n}"))["data"], "hello\n");
        std::thread::sleep(Duration::from_millis(100));
    }
    let lines = world.host.log().matches("store=failed").count() as u64;
    assert!(lines >= 1 && lines <= begun.elapsed().as_secs() + 2, "{lines} lines in {:?}", begun.elapsed());
    assert!(ticks(&agent) - used < 150, "{} ticks: it spins", ticks(&agent) - used);
    disk.free();
    let mut ended = vec![];
    while ended.len() < 2 {
        let result = frame(&mut link, |frame| frame["method"] == "result");
        link.send(&json!({"method": "ack", "seq": result["seq"]}));
        if ["a", "b"].iter().any(|id| result["id"] == *id) {
            assert_eq!((&result["retcode"], &result["data"]), (&json!(2), &json!("done\n")));
            ended.push(result["id"].clone());
        }
    }
    ended.sort_by_key(Value::to_string);
    assert_eq!(ended, ["a", "b"]);
    assert_eq!(job(&mut link, "d", "true")["retcode"], 1);
    assert_eq!(result(&mut link, "d")["retcode"], 2);
}
