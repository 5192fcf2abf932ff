//! The passphrase of the CA's key, and where an operator puts it.

use super::PkiError;
use crate::limits::MAX_PASSPHRASE_BYTES;
use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The variable that holds it.
pub const VARIABLE: &str = "POLARIS_CA_PASSPHRASE";
/// The variable that names the file that holds it.
pub const FILE_VARIABLE: &str = "POLARIS_CA_PASSPHRASE_FILE";

/// Never shown.
pub struct Passphrase(Vec<u8>);

/// Where it is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In [`VARIABLE`].
    Variable,
    File(PathBuf),
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

impl AsRef<[u8]> for Passphrase {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Source {
    /// The one place that is named, if any: by the configuration or by a variable.
    ///
    /// # Errors
    /// Several are: which of them counts must not be guessed.
    pub fn find(configured: Option<PathBuf>) -> Result<Option<Source>, String> {
        let given = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        Source::one_of(configured, given(FILE_VARIABLE).as_deref(), given(VARIABLE).is_some())
    }

    fn one_of(
        configured: Option<PathBuf>,
        file: Option<&OsStr>,
        variable: bool,
    ) -> Result<Option<Source>, String> {
        let file = file.map(|file| Source::File(file.into()));
        let sources = [configured.map(Source::File), file, variable.then_some(Source::Variable)];
        let mut sources = sources.into_iter().flatten();
        let first = sources.next();
        match sources.next() {
            None => Ok(first),
            Some(_) => Err(format!(
                "the CA's passphrase is given more than once: keep one of [pki] passphrase_file, \
                 {FILE_VARIABLE} and {VARIABLE}"
            )),
        }
    }

    /// The passphrase: what is there, without the end of its line.
    ///
    /// # Errors
    /// The file cannot be read or others may read it; it is empty or too long.
    pub fn read(&self) -> Result<Passphrase, PkiError> {
        let (place, mut bytes) = match self {
            Source::Variable => (Path::new(VARIABLE), env::var_os(VARIABLE).unwrap_or_default().into_vec()),
            Source::File(path) => (path.as_path(), read_file(path)?),
        };
        if bytes.ends_with(b"\n") {
            bytes.pop();
            bytes.pop_if(|last| *last == b'\r');
        }
        match bytes.len() {
            0 => Err(PkiError::damaged(place, "the passphrase is empty")),
            n if n > MAX_PASSPHRASE_BYTES => {
                let reason = format!("the passphrase must be at most {MAX_PASSPHRASE_BYTES} bytes");
                Err(PkiError::damaged(place, reason))
            }
            _ => Ok(Passphrase(bytes)),
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, PkiError> {
    let failed = |reason| PkiError::File { path: path.to_owned(), reason };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        let reason = format!("others may read the passphrase (mode {:04o}): chmod 600 it", mode & 0o7777);
        return Err(PkiError::damaged(path, reason));
    }
    let mut bytes = Vec::new();
    // Room for the end of the line, and for one byte too many to be seen.
    file.take(MAX_PASSPHRASE_BYTES as u64 + 3).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(content: &[u8], mode: u32) -> Result<Passphrase, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Source::File(path).read().map_err(|error| error.to_string())
    }

    #[test]
    fn the_files_line_is_the_passphrase() {
        for (content, expected) in
            [("a b", "a b"), ("a b\n", "a b"), ("a\r\n", "a"), (" a \n", " a "), ("a\n\n", "a\n")]
        {
            assert_eq!(read(content.as_bytes(), 0o600).unwrap().as_ref(), expected.as_bytes());
        }
        let longest = "x".repeat(MAX_PASSPHRASE_BYTES);
        assert_eq!(read(format!("{longest}\r\n").as_bytes(), 0o400).unwrap().as_ref(), longest.as_bytes());
        assert!(!format!("{:?}", read(b"secret", 0o600)).contains("secret"));
    }

    #[test]
    fn a_passphrase_that_is_none_or_that_others_may_read_is_refused() {
        let longer = "x".repeat(MAX_PASSPHRASE_BYTES + 1);
        for (content, mode, expected) in [
            ("", 0o600, "passphrase: the passphrase is empty"),
            ("\n", 0o600, "passphrase: the passphrase is empty"),
            (longer.as_str(), 0o600, "at most 1024 bytes"),
            ("a", 0o644, "others may read the passphrase (mode 0644): chmod 600 it"),
            ("a", 0o640, "(mode 0640)"),
        ] {
            let error = read(content.as_bytes(), mode).unwrap_err();
            assert!(error.contains(expected), "{error} should say {expected}");
        }
        let error = Source::File("/nowhere/x".into()).read().unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/x: No such file"), "{error}");
    }

    #[test]
    fn it_is_given_in_one_way() {
        let file = || Some(PathBuf::from("a"));
        assert_eq!(Source::one_of(None, None, false), Ok(None));
        assert_eq!(Source::one_of(file(), None, false), Ok(Some(Source::File("a".into()))));
        assert_eq!(Source::one_of(None, Some("b".as_ref()), false), Ok(Some(Source::File("b".into()))));
        assert_eq!(Source::one_of(None, None, true), Ok(Some(Source::Variable)));
        for several in [
            Source::one_of(file(), Some("b".as_ref()), false),
            Source::one_of(file(), None, true),
            Source::one_of(None, Some("b".as_ref()), true),
        ] {
            assert!(several.unwrap_err().contains("more than once"));
        }
    }
}
