//! Packages: as dpkg-query and rpm list them, here and in recorded databases.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

use aspire_plugin::args::Part;
use aspire_plugin::{Root, Text};
use packageinfo::package::packages;
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn at(root: &Path) -> Value {
    serde_json::to_value(packages(&Root::at(root), None, Part::default())).unwrap()
}

fn asked(args: &str) -> Value {
    serde_json::from_str(&packageinfo::package::answer(args).unwrap()).unwrap()
}

/// The packages of one manager, without what the other has, in an order that
/// whoever lists them need not share.
fn of(manager: &str, answer: &Value) -> Vec<Value> {
    let packages = answer["packages"].as_array().unwrap().iter();
    sorted(packages.filter(|package| package["manager"] == manager).cloned().collect())
}

fn sorted(mut packages: Vec<Value>) -> Vec<Value> {
    packages.sort_by_key(Value::to_string);
    packages
}

/// What a program prints: a line a package, its fields parted by tabs.
fn lines(command: &mut Command) -> Option<Vec<Vec<Value>>> {
    let run = match command.env("LC_ALL", "C").output() {
        Ok(run) if run.status.success() => run,
        refused => {
            let _ = writeln!(std::io::stderr(), "NOT SEEN: {command:?}: {refused:?}");
            return None;
        }
    };
    let value = |field: &[u8]| if field.is_empty() { Value::Null } else { json!(Text::from(field)) };
    let line = |line: &[u8]| line.split(|&byte| byte == b'\t').map(value).collect::<Vec<_>>();
    Some(run.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(line).collect())
}

fn number(field: &Value) -> Option<u64> {
    field.as_str()?.parse().ok()
}

fn dpkg_query(database: &Path) -> Option<Vec<Value>> {
    let format = "${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\t${db:Status-Want}\t\
                  ${Installed-Size}\t${binary:Summary}\n";
    let mut command = Command::new("dpkg-query");
    let lines = lines(command.arg("--admindir").arg(database).args(["-W", "-f", format]))?;
    let package = |line: Vec<Value>| {
        json!({
            "name": line[0], "manager": "dpkg", "version": line[1], "architecture": line[2], "status": line[3],
            "wanted": line[4], "size": number(&line[5]).map(|size| size * 1024), "summary": line[6],
            "installed": null,
        })
    };
    Some(sorted(lines.into_iter().map(package).collect()))
}

fn rpm(database: &Path) -> Option<Vec<Value>> {
    let format = r"%{NAME}\t%{EVR}\t%{ARCH}\t%{LONGSIZE}\t%{SUMMARY}\t%{INSTALLTIME}\n";
    let mut command = Command::new("rpm");
    let lines = lines(command.arg("--dbpath").arg(database).args(["-qa", "--queryformat", format]))?;
    let package = |line: Vec<Value>| {
        let installed = jiff::Timestamp::from_second(number(&line[5]).unwrap().try_into().unwrap()).unwrap();
        json!({
            "name": line[0], "manager": "rpm", "version": line[1],
            "architecture": if line[2] == "(none)" { &Value::Null } else { &line[2] },
            "status": "installed", "wanted": null, "size": number(&line[3]), "summary": line[4],
            "installed": installed,
        })
    };
    Some(sorted(lines.into_iter().map(package).collect()))
}

/// A machine with dpkg and this status.
fn dpkg_machine(status: &[u8]) -> (TempDir, PathBuf) {
    let machine = TempDir::new().unwrap();
    let database = machine.path().join("var/lib/dpkg");
    fs::create_dir_all(database.join("updates")).unwrap();
    fs::create_dir(database.join("info")).unwrap();
    fs::write(database.join("status"), status).unwrap();
    (machine, database)
}

#[test]
fn this_machine_has_what_dpkg_query_lists() {
    for _ in 0..10 {
        let Some(before) = dpkg_query(Path::new("/var/lib/dpkg")) else { return };
        let answer = asked("");
        if Some(&before) != dpkg_query(Path::new("/var/lib/dpkg")).as_ref() {
            continue;
        }
        let told = of("dpkg", &answer);
        for (told, listed) in told.iter().zip(&before) {
            assert_eq!(told, listed);
        }
        assert_eq!(told.len(), before.len());
        assert_eq!((&answer["managers"][0], &answer["unreadable"]), (&json!("dpkg"), &json!([])));
        return;
    }
    panic!("dpkg-query does not say the same twice");
}

#[test]
fn recorded_machines_have_what_dpkg_query_lists() {
    for (name, count) in [("ubuntu.status", 6), ("broken.status", 3), ("latin.status", 1)] {
        let (machine, database) = dpkg_machine(&fs::read(fixture(name)).unwrap());
        let answer = at(machine.path());
        assert_eq!((&answer["count"], &answer["managers"]), (&json!(count), &json!(["dpkg"])), "{name}");
        assert_eq!(answer["unreadable"], json!([]), "{name}");
        if let Some(listed) = dpkg_query(&database) {
            assert_eq!(of("dpkg", &answer), listed, "{name}");
        }
    }
}

#[test]
fn what_dpkg_has_not_yet_written_to_its_status_counts() {
    let (machine, database) = dpkg_machine(&fs::read(fixture("ubuntu.status")).unwrap());
    let paragraph = |name: &str, architecture: &str, status: &str, version: &str| {
        format!(
            "Package: {name}\nStatus: {status}\nMaintainer: nobody\nArchitecture: {architecture}\n\
             Multi-Arch: same\nVersion: {version}\nDescription: updated\n"
        )
    };
    for (file, text) in [
        ("0000", paragraph("libc6", "i386", "install ok unpacked", "2.35-0ubuntu3.8")),
        ("0001", paragraph("libc6", "i386", "install ok half-configured", "2.35-0ubuntu3.8")),
        ("0002", paragraph("new", "amd64", "install ok installed", "1")),
        ("tmp.i", paragraph("unfinished", "all", "install ok installed", "1")),
    ] {
        fs::write(database.join("updates").join(file), text).unwrap();
    }
    let answer = at(machine.path());
    assert_eq!(answer["count"], 7);
    let told = |name: &str, architecture: &str| {
        let is_it = |one: &&Value| one["name"] == name && one["architecture"] == architecture;
        answer["packages"].as_array().unwrap().iter().find(is_it).unwrap()["status"].clone()
    };
    assert_eq!(told("libc6", "i386"), "half-configured");
    assert_eq!(told("libc6", "amd64"), "installed");
    if let Some(listed) = dpkg_query(&database) {
        assert_eq!(of("dpkg", &answer), listed);
    }
}

#[test]
fn a_paragraph_that_names_no_package_is_told_and_the_others_are_read() {
    let (machine, database) = dpkg_machine(b"Version: 1\n\nPackage: a\nStatus: install ok installed");
    let answer = at(machine.path());
    assert_eq!(
        answer["packages"],
        json!([{
            "name": "a", "manager": "dpkg", "version": null, "architecture": null, "status": "installed",
            "wanted": "install", "size": null, "summary": null, "installed": null,
        }])
    );
    let reason = json!([{"path": database.join("status"), "reason": "paragraph 1 names no package"}]);
    assert_eq!(answer["unreadable"], reason);
    fs::remove_file(database.join("status")).unwrap();
    fs::create_dir(database.join("status")).unwrap();
    let answer = at(machine.path());
    assert_eq!((&answer["managers"], &answer["packages"]), (&json!(["dpkg"]), &json!([])));
    assert!(answer["unreadable"][0]["reason"].as_str().unwrap().contains("directory"), "{answer}");
}

#[test]
fn a_machine_without_packages_says_so() {
    let machine = TempDir::new().unwrap();
    let nothing = json!({"managers": [], "packages": [], "count": 0, "unreadable": []});
    assert_eq!(at(machine.path()), nothing);
}

#[test]
fn some_packages_are_found_by_their_names_and_a_part_is_shown() {
    let (machine, _) = dpkg_machine(&fs::read(fixture("ubuntu.status")).unwrap());
    let shown = |name, part| serde_json::to_value(packages(&Root::at(machine.path()), name, part)).unwrap();
    let names = |answer: &Value| {
        let packages = answer["packages"].as_array().unwrap().iter();
        packages.map(|package| package["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let kernels = shown(Some("linux-image-*"), Part { offset: 1, count: Some(5) });
    assert_eq!(names(&kernels), ["linux-image-5.15.0-91-generic"]);
    assert_eq!(kernels["count"], 2);
    assert_eq!(names(&shown(Some("libc?"), Part::default())), ["libc6", "libc6"]);
    assert_eq!(shown(Some("libc"), Part::default())["count"], 0);
    assert_eq!(asked("-N dpkg")["packages"].as_array().unwrap().len(), asked("-N dpkg")["count"]);
}

#[test]
fn what_is_wrong_is_named() {
    for (args, word) in [("-x", "x"), ("bash", "\"bash\""), ("-N", "N"), ("-o -1", "-o: \"-1\"")] {
        let refused = packageinfo::package::answer(args).unwrap_err();
        assert_eq!(refused.retcode.code(), 3021, "{args}");
        assert!(refused.reason.starts_with("args: ") && refused.reason.contains(word), "{refused}");
    }
}

/// Packages built and installed by rpm itself into a database of this test's.
/// `None` where there is no rpm.
fn rpm_machine() -> Option<(TempDir, PathBuf)> {
    let machine = TempDir::new().unwrap();
    let database = machine.path().join("usr/lib/sysimage/rpm");
    fs::create_dir_all(&database).unwrap();
    let run = |command: &mut Command| lines(command.env("HOME", machine.path())).map(drop);
    let build = machine.path().join("build");
    for (name, more) in [
        ("tiny", "Epoch: 3\nSummary(de): Ein kleines Paket\nBuildArch: noarch"),
        ("tiny-lib", "Summary(fr): Une bibliothèque"),
        ("none", "Epoch: 0"),
    ] {
        let spec = machine.path().join(format!("{name}.spec"));
        let text = format!(
            "Name: {name}\nVersion: 1.0~rc1\nRelease: 2\nSummary: A tïny package\nLicense: MIT\n{more}\n\
             %description\nTiny.\n%install\nmkdir -p %{{buildroot}}/usr/share\n\
             echo hello > %{{buildroot}}/usr/share/{name}\n%files\n/usr/share/{name}\n"
        );
        fs::write(&spec, text).unwrap();
        let top = format!("_topdir {}", build.display());
        run(Command::new("rpmbuild").args(["--quiet", "--define", &top, "-bb"]).arg(&spec))?;
    }
    let mut install = Command::new("rpm");
    install.arg("--dbpath").arg(&database).args(["-i", "--justdb", "--nodeps"]);
    for folder in fs::read_dir(build.join("RPMS")).unwrap() {
        let files = fs::read_dir(folder.unwrap().path()).unwrap();
        install.args(files.map(|file| file.unwrap().path()));
    }
    run(&mut install)?;
    run(Command::new("rpm").arg("--dbpath").arg(&database).arg("--import").arg(fixture("key.asc")))?;
    Some((machine, database))
}

#[test]
fn a_machine_with_rpm_has_what_rpm_lists() {
    let Some((machine, database)) = rpm_machine() else { return };
    let answer = at(machine.path());
    assert_eq!((&answer["managers"], &answer["unreadable"]), (&json!(["rpm"]), &json!([])));
    let Some(listed) = rpm(&database) else { return };
    assert_eq!(listed.len(), 4, "{listed:?}");
    assert_eq!(of("rpm", &answer), listed);
    assert_eq!(answer["packages"][0]["name"], "gpg-pubkey");

    // Both, and a link from where the database was before.
    fs::create_dir_all(machine.path().join("var/lib/dpkg")).unwrap();
    fs::copy(fixture("ubuntu.status"), machine.path().join("var/lib/dpkg/status")).unwrap();
    std::os::unix::fs::symlink("../../usr/lib/sysimage/rpm", machine.path().join("var/lib/rpm")).unwrap();
    let answer = at(machine.path());
    assert_eq!((&answer["managers"], &answer["count"]), (&json!(["dpkg", "rpm"]), &json!(10)));
    assert_eq!(of("rpm", &answer), listed);
}
