//! Mounts: as findmnt and df see them, here and where this test has mounted some.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

#[path = "../../../../tests/elsewhere/mod.rs"]
mod elsewhere;

use aspire_plugin::Root;
use diskinfo::disk::Wanted;
use elsewhere::elsewhere;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use serde_json::{Map, Value, json};
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

const USAGE: [&str; 6] = ["size", "used", "available", "inodes", "inodes_used", "inodes_available"];

fn asked(args: &str) -> Value {
    serde_json::from_str(&diskinfo::disk::answer(args).unwrap()).unwrap()
}

fn mounts(answer: &Value) -> &Vec<Value> {
    answer["mounts"].as_array().unwrap()
}

/// The last mount at a place, which is the one to be seen.
fn at(answer: &Value, target: &Path) -> Value {
    mounts(answer).iter().rfind(|mount| mount["target"] == json!(target)).unwrap().clone()
}

fn said(program: &str, args: &[&OsStr]) -> Option<Vec<u8>> {
    match Command::new(program).args(args).env("LC_ALL", "C.UTF-8").output() {
        Ok(run) if run.status.success() => Some(run.stdout),
        refused => {
            let _ = writeln!(std::io::stderr(), "NOT SEEN: what {program} says: {refused:?}");
            None
        }
    }
}

/// What findmnt says, in our words and in the kernel's order: of this machine, or of
/// a recorded table.
fn findmnt(recorded: Option<&Path>) -> Option<Vec<Value>> {
    let columns = "TARGET,SOURCE,FSTYPE,FSROOT,MAJ:MIN,VFS-OPTIONS,FS-OPTIONS";
    let mut args = ["-v", "--list", "-J", "-o", columns].map(OsStr::new).to_vec();
    args.extend(recorded.iter().flat_map(|recorded| [OsStr::new("-F"), recorded.as_os_str()]));
    args.extend(recorded.is_none().then_some(OsStr::new("-k")));
    let told: Value = serde_json::from_slice(&said("findmnt", &args)?).unwrap();
    let mount = |mount: &Value| {
        json!({
            "target": mount["target"], "source": mount["source"].as_str().unwrap_or(""), "type": mount["fstype"],
            "root": mount["fsroot"], "maj_min": mount["maj:min"],
            "options": mount["vfs-options"], "filesystem_options": mount["fs-options"],
        })
    };
    Some(told["filesystems"].as_array().unwrap().iter().map(mount).collect())
}

/// What df says about a place.
fn df(target: &Path) -> Option<Value> {
    let columns = "--output=size,used,avail,itotal,iused,iavail";
    let told = said("df", &[OsStr::new("-B1"), OsStr::new(columns), OsStr::new("--"), target.as_os_str()])?;
    let told = String::from_utf8(told).unwrap();
    let numbers = told.lines().last().unwrap().split_whitespace();
    // A dash is df's word for a number that is not set.
    Some(USAGE.into_iter().zip(numbers.map(|number| json!(number.parse().unwrap_or(0u64)))).collect())
}

fn usage(mount: &Value) -> Value {
    USAGE.iter().map(|field| ((*field).to_owned(), mount[field].clone())).collect::<Map<_, _>>().into()
}

/// That both see the same. What the kernel calls /dev/root, findmnt finds a name for.
fn agree(answer: &Value, findmnt: &[Value]) {
    let mut told = table(answer);
    for (told, seen) in told.iter_mut().zip(findmnt) {
        if told["source"] == "/dev/root" {
            told["source"] = seen["source"].clone();
        }
    }
    assert_eq!(told, findmnt);
}

/// What the kernel's table says, as findmnt writes it: options in one, with commas.
fn table(answer: &Value) -> Vec<Value> {
    let joined = |options: &Value| {
        let options = options.as_array().unwrap().iter().map(|option| option.as_str().unwrap());
        options.collect::<Vec<_>>().join(",")
    };
    let mount = |mount: &Value| {
        json!({
            "target": mount["target"], "source": mount["source"], "type": mount["type"], "root": mount["root"],
            "maj_min": mount["maj_min"], "options": joined(&mount["options"]),
            "filesystem_options": joined(&mount["filesystem_options"]),
        })
    };
    mounts(answer).iter().map(mount).collect()
}

#[test]
fn recorded_machines_have_mounted_what_findmnt_sees() {
    for (name, remote) in [
        ("container", &[][..]),
        (
            "server",
            &["/srv/backup", "/srv/backup/local", "/mnt/share", "/run/user/1000/gvfs", "/srv/objects"][..],
        ),
        ("desktop", &["/media/anna/USB STICK\t\\", "/home/anna/mnt"][..]),
    ] {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let recorded = fixtures.join(format!("{name}.mountinfo"));
        let machine = tempfile::tempdir().unwrap();
        fs::create_dir_all(machine.path().join("proc/thread-self")).unwrap();
        fs::copy(&recorded, machine.path().join("proc/thread-self/mountinfo")).unwrap();
        let answer = diskinfo::disk::disk(&Root::at(machine.path()), Wanted::default());
        let answer = serde_json::to_value(answer).unwrap();
        assert_eq!((&answer["devices"], &answer["unreadable"]), (&Value::Null, &json!([])), "{name}");
        let far =
            mounts(&answer).iter().filter(|mount| mount["remote"] == true).map(|mount| &mount["target"]);
        assert_eq!(far.collect::<Vec<_>>(), remote, "{name}");
        // Nothing of it is mounted here.
        assert!(mounts(&answer).iter().all(|mount| mount["size"].is_null()), "{name}");
        if let Some(findmnt) = findmnt(Some(&recorded)) {
            assert_eq!(table(&answer), findmnt, "{name}");
        }
    }
}

#[test]
fn what_is_mounted_here_is_what_findmnt_sees() {
    for _ in 0..50 {
        let Some(before) = findmnt(None) else { return };
        let answer = asked("");
        if Some(&before) == findmnt(None).as_ref() {
            agree(&answer, &before);
            assert_eq!((&answer["count"], &answer["unreadable"]), (&json!(before.len()), &json!([])));
            return;
        }
    }
    panic!("findmnt does not say the same twice");
}

#[test]
fn what_is_mounted_here_is_as_full_as_df_sees() {
    let answer = asked("");
    for mount in mounts(&answer).iter().filter(|mount| mount["covered"] == false) {
        let Some(target) = mount["target"].as_str().map(Path::new) else { continue };
        // Others write to their disks while this looks at them.
        let same = (0..500).any(|_| {
            let before = df(target);
            let told = usage(&at(&asked(""), target));
            before.is_none_or(|before| before == told)
        });
        assert!(same, "{}: {:?}, {}", target.display(), df(target), usage(&at(&asked(""), target)));
    }
}

/// Mounts made by this test alone, below a temporary folder.
struct Place(tempfile::TempDir);

impl Place {
    fn mount(&self, name: impl AsRef<OsStr>, source: &str, kind: &str, options: &str) -> std::path::PathBuf {
        let target = self.0.path().join(name.as_ref());
        fs::create_dir_all(&target).unwrap();
        mount(Some(source), &target, Some(kind), MsFlags::MS_NOEXEC, Some(options)).unwrap();
        target
    }
}

#[test]
fn targets_may_have_any_name_and_be_small() {
    let place = Place(tempfile::tempdir().unwrap());
    elsewhere(&[], || {
        let spaced = place.mount("a b\\040\n\tc", "some \"tmpfs\"", "tmpfs", "size=1m,nr_inodes=100");
        fs::write(spaced.join("full"), vec![0; 300_000]).unwrap();
        let latin = place.mount(OsStr::from_bytes(b"J\xf6rg"), "tmpfs", "tmpfs", "size=64k,mode=700");
        let answer = asked("");
        let told = at(&answer, &spaced);
        assert_eq!(told["source"], "some \"tmpfs\"");
        assert_eq!(told["options"], json!(["rw", "noexec", "relatime"]));
        assert_eq!((&told["size"], &told["inodes"]), (&json!(1 << 20), &json!(100)));
        assert_eq!((&told["used"], &told["inodes_used"]), (&json!(303_104), &json!(2)));
        if let Some(df) = df(&spaced) {
            assert_eq!(usage(&told), df);
        }
        // Where it is not UTF-8, it is all there, in another writing.
        let last = mounts(&answer).last().unwrap();
        let encoded = last["target"]["base64"].as_str().unwrap();
        assert!(
            encoded.ends_with("L0r2cmc=") || encoded.ends_with("SvZyZw==") || encoded.ends_with("9nJn"),
            "{encoded}"
        );
        if let Some(df) = df(&latin) {
            assert_eq!(usage(last), df);
        }
    });
}

#[test]
fn a_mount_below_another_is_not_taken_for_it() {
    let place = Place(tempfile::tempdir().unwrap());
    elsewhere(&[], || {
        place.mount("over", "lower", "tmpfs", "size=1m");
        place.mount("over/inner", "inner", "tmpfs", "size=2m");
        let over = place.mount("over", "upper", "tmpfs", "size=3m");
        let answer = asked("");
        let told =
            |source: &str| mounts(&answer).iter().find(|mount| mount["source"] == source).unwrap().clone();
        assert_eq!((&told("upper")["covered"], &told("upper")["size"]), (&json!(false), &json!(3 << 20)));
        assert_eq!((&told("lower")["covered"], &told("lower")["size"]), (&json!(true), &Value::Null));
        // What was mounted below the lower one cannot be reached any more.
        assert_eq!((&told("inner")["covered"], &told("inner")["size"]), (&Value::Null, &Value::Null));
        if let (Some(df), Some(findmnt)) = (df(&over), findmnt(None)) {
            assert_eq!(usage(&told("upper")), df);
            agree(&answer, &findmnt);
        }
    });
}

/// A file system's server that never reads what it is asked, and the options to mount it.
fn nobody() -> Option<(impl AsRawFd, String)> {
    let Ok(nobody) = open("/dev/fuse", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()) else {
        let _ = writeln!(std::io::stderr(), "NOT SEEN: a file system that does not answer: no /dev/fuse");
        return None;
    };
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", nobody.as_raw_fd());
    Some((nobody, options))
}

#[test]
fn a_file_system_that_does_not_answer_does_not_stop_the_query() {
    let place = Place(tempfile::tempdir().unwrap());
    elsewhere(&[], || {
        let Some((_nobody, options)) = nobody() else { return };
        let dead = place.mount("dead", "nobody", "fuse.dead", &options);
        let told = at(&asked(""), &dead);
        assert_eq!((&told["remote"], &told["covered"]), (&json!(true), &Value::Null));
        assert!(USAGE.iter().all(|field| told[field].is_null()), "{told}");
        assert_eq!(told["type"], "fuse.dead");
    });
}

#[test]
fn one_that_does_not_answer_and_lies_over_others_does_not_stop_the_query() {
    let place = Place(tempfile::tempdir().unwrap());
    elsewhere(&[], || {
        let Some((nobody, options)) = nobody() else { return };
        place.mount("m", "lower", "tmpfs", "size=1m");
        place.mount("m/b", "inner", "tmpfs", "size=2m");
        place.mount("m", "nobody", "fuse.dead", &options);
        let (told, waits) = std::sync::mpsc::channel::<()>();
        let answer = std::thread::scope(|scope| {
            // Whoever waits for it is let go after a while.
            let patience = scope.spawn(move || {
                let given_up = waits.recv_timeout(std::time::Duration::from_secs(5)).is_err();
                drop(nobody);
                given_up
            });
            let answer = asked("");
            let _ = told.send(());
            assert!(!patience.join().unwrap(), "it waited");
            answer
        });
        for source in ["lower", "inner", "nobody"] {
            let told = mounts(&answer).iter().find(|mount| mount["source"] == source).unwrap();
            assert_eq!((&told["remote"], &told["covered"]), (&json!(true), &Value::Null), "{source}");
        }
    });
}

#[test]
fn a_part_of_each_list_is_shown_where_it_is_asked_for() {
    let all = asked("");
    let part = asked("-n 1 -o 1");
    assert_eq!((&part["count"], &part["device_count"]), (&all["count"], &all["device_count"]));
    assert_eq!(table(&part), table(&all)[1..2]);
    let devices: Vec<_> = all["devices"].as_array().into_iter().flatten().skip(1).take(1).collect();
    assert_eq!(part["devices"].as_array().into_iter().flatten().collect::<Vec<_>>(), devices);
}

#[test]
fn a_list_that_is_not_asked_for_is_null() {
    let all = asked("");
    let told = |args: &str| {
        let answer = asked(args);
        ["devices", "device_count", "mounts", "count"].map(|field| !answer[field].is_null())
    };
    let (both, devices) = (told(""), !all["devices"].is_null());
    assert_eq!(both, [devices, devices, true, true]);
    assert_eq!(told("-d"), [devices, devices, false, false]);
    assert_eq!(told("-m"), [false, false, true, true]);
    assert_eq!(told("-dm"), both);
}

#[test]
fn what_is_wrong_is_named() {
    for (args, word) in [("-x", "x"), ("/", "\"/\""), ("-n x", "-n")] {
        let refused = diskinfo::disk::answer(args).unwrap_err();
        assert_eq!(refused.retcode.code(), 3021, "{args}");
        assert!(refused.reason.starts_with("args: ") && refused.reason.contains(word), "{refused}");
    }
}
