//! Packages of this test's own.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// How often a package is purged before it is left.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// A .deb: a file that tells its version, a program, a configuration file, and scripts.
pub struct Deb {
    pub name: String,
    /// Where its scripts and the test meet.
    pub folder: TempDir,
    /// What makes it large.
    pub payload: Vec<u8>,
    /// A script for the shell, at [`Deb::program`].
    pub script: &'static str,
    /// A configuration file is left by what is removed and not purged.
    pub has_config: bool,
}

impl Deb {
    pub fn new(tag: &str) -> Deb {
        let name = format!("aspire-test-package-{}-{tag}", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        Deb { name, folder, payload: Vec::new(), script: "exit 0", has_config: true }
    }

    pub fn build(&self, version: &str, control: &str, scripts: &[(&str, &str)]) -> PathBuf {
        let tree = self.folder.path().join(format!("tree-{version}"));
        let write = |path: &str, text: &str, mode: u32| {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let name = &self.name;
        let fields = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example.org>\n\
             {control}Description: a test's\n"
        );
        write("DEBIAN/control", &fields, 0o644);
        if self.has_config {
            write("DEBIAN/conffiles", &format!("/etc/{name}.conf\n"), 0o644);
            write(&format!("etc/{name}.conf"), &format!("version {version}\n"), 0o644);
        }
        write(&format!("usr/share/{name}/program"), &format!("#!/bin/sh\n{}\n", self.script), 0o755);
        write(&format!("usr/share/{name}/version"), version, 0o644);
        fs::write(tree.join(format!("usr/share/{name}/payload")), &self.payload).unwrap();
        for (script, text) in scripts {
            write(&format!("DEBIAN/{script}"), &format!("#!/bin/sh\nset -e\n{text}\n"), 0o755);
        }
        let file = self.folder.path().join(format!("{name}_{version}_all.deb"));
        run(Command::new("dpkg-deb").args(["-Znone", "--build", "--root-owner-group"]).arg(&tree).arg(&file));
        file
    }

    /// A folder with a file as it is when it was fetched.
    pub fn fetched(&self, version: &str, file: &Path) -> PathBuf {
        let folder = self.folder.path().join("fetched");
        fs::create_dir(&folder).unwrap();
        fs::copy(file, folder.join(format!("{version}.deb"))).unwrap();
        folder
    }

    /// A script that tells the test its own and dpkg's process ids, and waits for it.
    pub fn waiting(&self) -> String {
        let folder = self.folder.path().display();
        let told = format!("echo $$ $PPID > {folder}/new; mv {folder}/new {folder}/pids");
        format!("{told}; while [ ! -e {folder}/go ]; do sleep 0.05; done")
    }

    pub fn pids(&self) -> Option<Vec<i32>> {
        let text = crate::read(&self.folder.path().join("pids"))?;
        Some(text.split_whitespace().map(|pid| pid.parse().unwrap()).collect())
    }

    pub fn go(&self) {
        fs::write(self.folder.path().join("go"), "").unwrap();
    }

    pub fn version(&self) -> Option<String> {
        crate::read(&PathBuf::from(format!("/usr/share/{}/version", self.name)))
    }

    pub fn program(&self) -> String {
        format!("/usr/share/{}/program", self.name)
    }

    pub fn config(&self) -> PathBuf {
        format!("/etc/{}.conf", self.name).into()
    }

    /// What dpkg says of it, `none` where it knows nothing.
    pub fn state(&self) -> String {
        let query = ["--show", "--showformat=${db:Status-Status} ${db:Status-Eflag}", &self.name];
        let output = Command::new("dpkg-query").args(query).output().unwrap();
        if output.status.success() { String::from_utf8(output.stdout).unwrap() } else { "none".into() }
    }
}

/// Nothing of it stays in the system, however the test ends.
impl Drop for Deb {
    fn drop(&mut self) {
        self.go();
        let purge = ["--force-all", "--purge", &self.name];
        // Another dpkg may be at work, one of a test that failed among them.
        for _ in 0..TRIES {
            let done = Command::new("dpkg").args(purge).env("LC_ALL", "C").output();
            if done.map_or(true, |done| done.status.success()) {
                break;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// An .rpm with one file; `None` where there is no rpmbuild.
pub fn rpm(folder: &Path, name: &str, version: &str, more: &str) -> Option<PathBuf> {
    let spec = folder.join(format!("{name}-{version}.spec"));
    let text = format!(
        "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: A test's\nLicense: MIT\nBuildArch: noarch\n\
         %description\nA test's.\n{more}\n%install\nmkdir -p %{{buildroot}}/usr/share/{name}\n\
         echo {version} > %{{buildroot}}/usr/share/{name}/version\n%files\n/usr/share/{name}\n"
    );
    fs::write(&spec, text).unwrap();
    let top = format!("_topdir {}", folder.join("build").display());
    let mut command = Command::new("rpmbuild");
    command.args(["--quiet", "--define", &top, "-bb"]).arg(&spec).env("HOME", folder);
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        output => assert!(output.as_ref().is_ok_and(|output| output.status.success()), "{output:?}"),
    }
    Some(folder.join(format!("build/RPMS/noarch/{name}-{version}-1.noarch.rpm")))
}

pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}
