//! The host's identity on disk: ca.pem, cert.pem and key.pem, all or none.

use super::EnrollError;
use crate::wire::enroll::EnrollReply;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::{AccessFlags, access};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const NAMES: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];
/// What a renewal that was cut short leaves.
const PASSING: [&str; 2] = ["cert.pem.new", "key.pem.new"];

/// Whether the three files can be put into `dir`, to be asked before a token is
/// used up for them.
///
/// # Errors
/// The path and the reason.
pub fn room_for(dir: &Path) -> Result<(), EnrollError> {
    let strangers = strangers(dir).map_err(failed(dir))?;
    if !strangers.is_empty() {
        let reason =
            format!("holds other files ({}); tls.dir must be a folder of its own", strangers.join(", "));
        return Err(EnrollError::Files { path: dir.display().to_string(), reason });
    }
    let parent = parent(dir);
    fs::create_dir_all(parent).map_err(failed(parent))?;
    access(parent, AccessFlags::W_OK).map_err(|errno| failed(parent)(errno.into()))
}

/// Puts the three files into `dir` at once: they are written to a folder
/// beside it, which then takes its name. An earlier identity is replaced.
///
/// # Errors
/// The path and the reason; `dir` is as it was.
pub fn install(dir: &Path, reply: &EnrollReply, key_pem: &str) -> Result<(), EnrollError> {
    room_for(dir)?;
    let new = beside(dir, std::process::id());
    let contents = [reply.ca.as_str(), &reply.cert, key_pem];
    let installed = write_folder(&new, &contents).and_then(|()| take_place(&new, dir)).map_err(failed(dir));
    // Either the half-written folder, or the identity that was replaced.
    if new.exists() {
        let _ = fs::remove_dir_all(&new);
    }
    installed
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> EnrollError {
    let path = path.display().to_string();
    move |e| EnrollError::Files { path, reason: e.to_string() }
}

fn parent(dir: &Path) -> &Path {
    dir.parent().unwrap_or(Path::new("/"))
}

/// What is in the folder and is not ours.
fn strangers(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let names = entries.map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    Ok(names.into_iter().filter(|name| !NAMES.iter().chain(&PASSING).any(|own| own == name)).collect())
}

fn beside(dir: &Path, pid: u32) -> PathBuf {
    let mut name = dir.file_name().map_or_else(|| OsString::from("pki"), OsString::from);
    name.push(format!(".new-{pid}"));
    dir.with_file_name(name)
}

fn write_folder(folder: &Path, contents: &[&str; 3]) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)?;
    for (name, content) in NAMES.iter().zip(contents) {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(folder.join(name))?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
    }
    File::open(folder)?.sync_all()
}

fn take_place(new: &Path, dir: &Path) -> io::Result<()> {
    if dir.exists() {
        renameat2(AT_FDCWD, new, AT_FDCWD, dir, RenameFlags::RENAME_EXCHANGE)?;
    } else {
        fs::rename(new, dir)?;
    }
    File::open(parent(dir))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn reply(mark: &str) -> EnrollReply {
        EnrollReply { hostname: "id".into(), ca: format!("ca {mark}"), cert: format!("cert {mark}") }
    }

    #[test]
    fn an_identity_is_installed_and_replaced_whole() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("etc/pki");
        for mark in ["one", "two"] {
            install(&dir, &reply(mark), &format!("key {mark}")).unwrap();
            for name in NAMES {
                let path = dir.join(name);
                assert!(fs::read_to_string(&path).unwrap().ends_with(mark), "{name}");
                assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
            }
            assert_eq!(fs::read_dir(dir.parent().unwrap()).unwrap().count(), 1, "nothing is left beside");
        }
    }

    #[test]
    fn a_folder_with_other_files_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("shadow"), "x").unwrap();
        let error = install(place.path(), &reply("x"), "key").unwrap_err().to_string();
        assert!(error.contains("shadow"), "{error}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
