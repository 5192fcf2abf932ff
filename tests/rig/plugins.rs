//! Plugin folders: those in C of `tests/plugins/`, and our own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Our own plugins, by the names of their crates and of their files.
pub const OURS: &[&str] = &["diskinfo", "hostinfo", "packageinfo", "processinfo", "userinfo"];

/// A plugin folder, made here.
pub struct Folder {
    dir: PathBuf,
}

impl Folder {
    pub fn new(dir: PathBuf) -> Folder {
        fs::create_dir_all(&dir).unwrap();
        // Whatever the umask of whoever runs the tests is.
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        Folder { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// `sample.so`, as anybody would build it.
    pub fn sample(&self) -> PathBuf {
        self.compile("sample", Path::new("sample.c"), &[])
    }

    /// A plugin of this name which does what `hostile.c` calls so.
    pub fn hostile(&self, act: &str) -> PathBuf {
        self.hostile_with(act, act, &[])
    }

    /// As [`Folder::hostile`], with other definitions beside it.
    pub fn hostile_with(&self, name: &str, act: &str, more: &[&str]) -> PathBuf {
        let (query, act) = (format!("-DQUERY=\"{name}\""), format!("-DACT={act}"));
        self.compile(name, Path::new("hostile.c"), &[&[query.as_str(), act.as_str()], more].concat())
    }

    /// Our own plugins, as they are installed.
    pub fn ours(&self) {
        let root = env!("CARGO_MANIFEST_DIR");
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(root).args(["build", "--locked", "--quiet"]);
        build.args(OURS.iter().flat_map(|name| ["-p", name]));
        // Beside the programs under test.
        let programs = Path::new(env!("CARGO_BIN_EXE_gearctl")).parent().unwrap();
        if programs.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "our plugins cannot be built");
        for name in OURS {
            fs::copy(programs.join(format!("lib{name}.so")), self.installed(name)).unwrap();
            fs::set_permissions(self.installed(name), Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// A plugin of this name, whose source this is.
    pub fn compiled(&self, name: &str, source: &str) -> PathBuf {
        let file = self.dir.join(format!("{name}.c"));
        fs::write(&file, source).unwrap();
        self.compile(name, &file, &[])
    }

    fn installed(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.so"))
    }

    /// From a source in `tests/plugins/`, or elsewhere.
    fn compile(&self, name: &str, source: &Path, definitions: &[&str]) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let library = self.installed(name);
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-I"]);
        cc.arg(root.join("packaging/share")).args(definitions).arg("-o").arg(&library);
        cc.arg(root.join("tests/plugins").join(source));
        assert!(cc.status().unwrap().success(), "{name} cannot be built");
        fs::set_permissions(&library, Permissions::from_mode(0o755)).unwrap();
        library
    }
}
