//! Debian packages of the programs that were built, and of such as do not work.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A folder of packages, which goes with the test.
pub struct Packages(TempDir);

/// What a package has at a path.
pub enum What<'a> {
    /// A program that was built, without what is for debuggers.
    Built(&'a str),
    Script(&'a str),
    /// A file of the sources, which is the host's to change.
    Config(&'a str),
}

impl Packages {
    pub fn new() -> Packages {
        Packages(tempfile::tempdir().unwrap())
    }

    /// Makes a package; its file.
    pub fn deb(&self, name: &str, version: &str, files: &[(&str, What)]) -> PathBuf {
        let stage = self.0.path().join(format!("{name}-{version}"));
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {}\nMaintainer: nobody <nobody@localhost>\n\
             Description: {name}, as a test built it\n",
            architecture()
        );
        write(&stage.join("DEBIAN/control"), &control, 0o644);
        let mut conffiles = String::new();
        for (place, what) in files {
            let path = stage.join(place.trim_start_matches('/'));
            match what {
                What::Built(program) => strip(Path::new(program), &path),
                What::Script(text) => write(&path, &format!("#!/bin/sh\n{text}\n"), 0o755),
                What::Config(source) => {
                    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
                    write(&path, &fs::read_to_string(source).unwrap(), 0o644);
                    conffiles.push_str(place);
                    conffiles.push('\n');
                }
            }
        }
        if !conffiles.is_empty() {
            write(&stage.join("DEBIAN/conffiles"), &conffiles, 0o644);
        }
        let deb = self.0.path().join(format!("{name}_{version}_{}.deb", architecture()));
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "-Zgzip", "-z1", "--build"]).arg(stage).arg(&deb);
        let output = build.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        deb
    }
}

/// As Debian calls this machine's.
fn architecture() -> String {
    let output = Command::new("dpkg").arg("--print-architecture").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn strip(program: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let status = Command::new("strip").arg("-o").arg(to).arg(program).status().unwrap();
    assert!(status.success(), "strip {}", program.display());
}
