use crate::build::Deb;
use crate::{aloud, away, away_by_files, put, read, reason, until};
use aspire_package::Kind;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};

/// What one test leaves half done another one's dpkg would finish.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// `None`, and said aloud, where packages of Debian cannot be installed.
fn system() -> Option<MutexGuard<'static, ()>> {
    if !geteuid().is_root() || !Path::new("/var/lib/dpkg/status").exists() {
        aloud("that .deb packages are installed, which takes root on Debian");
        return None;
    }
    Some(ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Installs a version whose script waits, and kills dpkg and the script meanwhile.
fn killed_meanwhile(deb: &Deb, version: &str, script: &str) {
    let file = deb.build(version, "", &[(script, &deb.waiting())]);
    let installation = std::thread::spawn(move || put(Kind::Deb, file));
    let pids = until("the script", || deb.pids());
    // The script is dpkg's child: both go at once, as with a cgroup that is killed.
    for pid in pids.iter().rev() {
        kill(Pid::from_raw(*pid), Signal::SIGKILL).unwrap();
    }
    let error = installation.join().unwrap().unwrap_err();
    assert!(reason(&error).contains("SIGKILL"), "{error}");
}

#[test]
fn a_package_is_installed_upgraded_rolled_back_and_removed() {
    let Some(_system) = system() else { return };
    let deb = Deb::new("life");
    let (first, second) = (deb.build("1.0", "", &[]), deb.build("2.0", "", &[]));
    assert_eq!(put(Kind::Deb, first.clone()), Ok(Some(deb.name.clone())));
    assert_eq!((deb.version().as_deref(), deb.state().as_str()), (Some("1.0"), "installed ok"));
    // What was changed here is kept, and nobody is asked.
    fs::write(deb.config(), "changed here\n").unwrap();
    put(Kind::Deb, second).unwrap();
    assert_eq!(deb.version().as_deref(), Some("2.0"));
    assert_eq!(read(&deb.config()).as_deref(), Some("changed here\n"));
    put(Kind::Deb, first.clone()).unwrap();
    assert_eq!(deb.version().as_deref(), Some("1.0"));
    put(Kind::Deb, first).unwrap();
    assert_eq!(deb.version().as_deref(), Some("1.0"), "again is no error");
    assert_eq!(away(Kind::Deb, &deb.name), Ok(()));
    assert_eq!((deb.version(), deb.state().as_str()), (None, "config-files ok"));
    assert!(deb.config().exists(), "removed, not purged");
    assert_eq!(away(Kind::Deb, &deb.name), Ok(()), "what is not installed is gone");
    assert_eq!(away(Kind::Deb, "aspire-test-package-never-heard-of"), Ok(()));
}

#[test]
fn what_a_killed_dpkg_did_not_configure_is_finished() {
    let Some(_system) = system() else { return };
    let deb = Deb::new("configure");
    killed_meanwhile(&deb, "1.0", "postinst");
    assert_eq!(deb.state(), "half-configured ok");
    deb.go();
    put(Kind::Deb, deb.build("1.0", "", &[("postinst", &deb.waiting())])).unwrap();
    assert_eq!((deb.version().as_deref(), deb.state().as_str()), (Some("1.0"), "installed ok"));
}

#[test]
fn what_a_killed_dpkg_did_not_configure_makes_way_for_another_version() {
    let Some(_system) = system() else { return };
    let deb = Deb::new("supersede");
    killed_meanwhile(&deb, "1.0", "postinst");
    // The script that would wait for ever is not run again.
    put(Kind::Deb, deb.build("1.1", "", &[])).unwrap();
    assert_eq!((deb.version().as_deref(), deb.state().as_str()), (Some("1.1"), "installed ok"));
}

#[test]
fn what_a_killed_dpkg_did_not_unpack_is_installed_again() {
    let Some(_system) = system() else { return };
    let deb = Deb::new("unpack");
    killed_meanwhile(&deb, "1.0", "preinst");
    assert_eq!(deb.state(), "half-installed reinstreq");
    put(Kind::Deb, deb.build("1.1", "", &[])).unwrap();
    assert_eq!((deb.version().as_deref(), deb.state().as_str()), (Some("1.1"), "installed ok"));
}

#[test]
fn an_upgrade_that_was_killed_can_be_rolled_back() {
    let Some(_system) = system() else { return };
    for script in ["preinst", "postinst"] {
        let deb = Deb::new(&format!("back-{script}"));
        let first = deb.build("1.0", "", &[]);
        put(Kind::Deb, first.clone()).unwrap();
        killed_meanwhile(&deb, "2.0", script);
        put(Kind::Deb, first).unwrap();
        assert_eq!((deb.version().as_deref(), deb.state().as_str()), (Some("1.0"), "installed ok"));
    }
}

#[test]
fn what_a_killed_dpkg_left_can_be_removed() {
    let Some(_system) = system() else { return };
    for script in ["preinst", "postinst"] {
        let deb = Deb::new(script);
        killed_meanwhile(&deb, "1.0", script);
        assert_eq!(away(Kind::Deb, &deb.name), Ok(()));
        assert!(["config-files ok", "none", "not-installed ok"].contains(&&*deb.state()), "{}", deb.state());
        assert_eq!(deb.version(), None);
    }
}

#[test]
fn of_a_package_that_nobody_knows_the_name_its_file_tells_it() {
    let Some(_system) = system() else { return };
    let deb = Deb::new("nameless");
    killed_meanwhile(&deb, "1.0", "postinst");
    let packages = deb.fetched("1.1", &deb.build("1.1", "", &[]));
    fs::write(packages.join("2.0.deb.part"), "half").unwrap();
    fs::write(packages.join("3.0.deb"), "damaged").unwrap();
    assert_eq!((away_by_files(Kind::Deb, &packages), deb.version()), (Ok(()), None));
    assert!(!packages.exists());
}

#[test]
fn what_was_installed_from_a_file_goes_with_it() {
    let Some(_system) = system() else { return };
    let deb = Deb::new("from-file");
    let file = deb.build("1:1.0-1", "", &[]);
    let packages = deb.fetched("1", &file);
    put(Kind::Deb, file).unwrap();
    assert_eq!((away_by_files(Kind::Deb, &packages), deb.version()), (Ok(()), None));
    assert!(!packages.exists());
}

#[test]
fn a_package_of_the_host_s_own_stays_where_ours_of_that_name_was_refused() {
    let Some(_system) = system() else { return };
    let deb = Deb::new("host-s-own");
    put(Kind::Deb, deb.build("1.0", "", &[])).unwrap();
    let ours = deb.build("2.0", "Pre-Depends: aspire-test-package-nobody-has\n", &[]);
    let packages = deb.fetched("2.0", &ours);
    put(Kind::Deb, ours).unwrap_err();
    assert_eq!(away_by_files(Kind::Deb, &packages), Ok(()));
    assert_eq!((deb.version().as_deref(), deb.state().as_str()), (Some("1.0"), "installed ok"));
    assert!(!packages.exists());
}

#[test]
fn others_that_a_killed_dpkg_left_are_finished_too() {
    let Some(_system) = system() else { return };
    let (other, deb) = (Deb::new("other"), Deb::new("needs-other"));
    killed_meanwhile(&other, "1.0", "postinst");
    other.go();
    put(Kind::Deb, deb.build("1.0", &format!("Depends: {}\n", other.name), &[])).unwrap();
    assert_eq!((deb.state().as_str(), other.state().as_str()), ("installed ok", "installed ok"));
    assert_eq!(away(Kind::Deb, &deb.name), Ok(()));
}

#[test]
fn a_script_that_fails_is_told_and_a_better_version_takes_over() {
    let Some(_system) = system() else { return };
    let deb = Deb::new("fails");
    let file = deb.build("1.0", "", &[("postinst", "echo no such database >&2; exit 3")]);
    let error = reason(&put(Kind::Deb, file).unwrap_err());
    assert!(error.contains("no such database") && error.contains("dpkg failed"), "{error}");
    put(Kind::Deb, deb.build("1.1", "", &[])).unwrap();
    assert_eq!(deb.state(), "installed ok");
}

#[test]
fn another_dpkg_at_work_is_waited_for() {
    let Some(_system) = system() else { return };
    let (other, deb) = (Deb::new("busy"), Deb::new("patient"));
    let file = other.build("1.0", "", &[("postinst", &other.waiting())]);
    let mut busy = Command::new("dpkg").arg("--install").arg(file).stdout(Stdio::null()).spawn().unwrap();
    until("the other's script", || other.pids());
    let file = deb.build("1.0", "", &[]);
    let installation = std::thread::spawn(move || put(Kind::Deb, file));
    let lock = Path::new("/var/lib/dpkg/lock-frontend");
    until("our turn to be waited for", || {
        let descriptors = fs::read_dir("/proc/self/fd").unwrap();
        let mut leads = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        leads.any(|path| path == lock).then_some(())
    });
    assert_eq!(deb.version(), None);
    other.go();
    assert!(busy.wait().unwrap().success());
    assert_eq!(installation.join().unwrap(), Ok(Some(deb.name.clone())));
    assert_eq!((other.state().as_str(), deb.state().as_str()), ("installed ok", "installed ok"));
}

#[test]
fn a_daemon_that_a_script_starts_is_not_waited_for() {
    let Some(_system) = system() else { return };
    let deb = Deb::new("daemon");
    let script = format!("sleep 600 & echo $! > {}/pid", deb.folder.path().display());
    put(Kind::Deb, deb.build("1.0", "", &[("postinst", &script)])).unwrap();
    let pid = read(&deb.folder.path().join("pid")).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[test]
fn what_is_missing_or_damaged_is_named() {
    let Some(_system) = system() else { return };
    let deb = Deb::new("missing");
    let needs = deb.build("1.0", "Depends: aspire-test-package-nobody-has\n", &[]);
    let error = reason(&put(Kind::Deb, needs).unwrap_err());
    assert!(error.contains("aspire-test-package-nobody-has"), "{error}");
    let damaged = deb.folder.path().join("damaged.deb");
    fs::write(&damaged, "no archive").unwrap();
    let error = reason(&put(Kind::Deb, damaged).unwrap_err());
    assert!(error.contains("dpkg-deb failed") && error.contains("damaged.deb"), "{error}");
    assert_eq!(away(Kind::Deb, &deb.name), Ok(()));
}
