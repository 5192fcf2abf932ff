//! Where the system's files are: at `/`, or where a test has put some.

use crate::{Failure, Text};
use std::fs;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Default for Root {
    fn default() -> Self {
        Root("/".into())
    }
}

impl Root {
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Root(path.into())
    }

    /// A file of the system's: `proc/meminfo`.
    pub fn path(&self, file: impl AsRef<Path>) -> PathBuf {
        self.0.join(file.as_ref().strip_prefix("/").unwrap_or(file.as_ref()))
    }

    /// A file's content.
    ///
    /// # Errors
    /// 3101: it cannot be read.
    pub fn read(&self, file: impl AsRef<Path>) -> Result<Vec<u8>, Failure> {
        let path = self.path(file);
        fs::read(&path).map_err(|error| Failure::broken(format!("{}: {error}", path.display())))
    }

    /// A file with one value, as those below /sys are, without the blanks around
    /// it. `None` where there is no such file, it cannot be read or is empty.
    pub fn value(&self, file: impl AsRef<Path>) -> Option<Text> {
        let bytes = fs::read(self.path(file)).ok()?;
        Some(bytes.trim_ascii()).filter(|value| !value.is_empty()).map(Text::from)
    }

    /// As [`Root::value`], as a number.
    pub fn number<T: std::str::FromStr>(&self, file: impl AsRef<Path>) -> Option<T> {
        self.value(file)?.as_str()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_below_the_root() {
        let root = Root::at(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(root.path("/proc/x"), Path::new(env!("CARGO_MANIFEST_DIR")).join("proc/x"));
        assert!(root.read("Cargo.toml").unwrap().starts_with(b"[package]"));
        let missing = root.read("/nowhere").unwrap_err();
        assert_eq!(missing.retcode.code(), 3101);
        assert!(missing.reason.contains("plugin/nowhere: No such file"), "{missing}");
        assert_eq!(root.value("nowhere"), None);
        assert_eq!(root.number::<u32>("Cargo.toml"), None);
        assert_eq!(Root::default().path("proc/x"), Path::new("/proc/x"));
    }
}
