//! The configuration that a host begins with: which server is its own.

use crate::wire::server_list::Server;
use nix::unistd::{AccessFlags, access};
use serde_json::json;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The agents' folder of identities, where no configuration names another.
const USUAL_TLS_DIR: &str = "/etc/cargo/pki";

/// Writes a configuration that names `server` under `server` of `section`, and the folder of the
/// host's identity where it is not the usual one. A file that is there is left as it is. Returns
/// whether there was none.
///
/// # Errors
/// The path and the reason; there is no half of a file.
pub fn first_config(path: &Path, section: &str, server: &Server, tls_dir: &Path) -> Result<bool, String> {
    let mut text = format!("# Written at enrolment.\n\n[{section}]\nserver = \"{server}\"\n");
    if tls_dir != Path::new(USUAL_TLS_DIR) {
        // What JSON writes as a string TOML reads as one.
        let _ = write!(text, "\n[tls]\ndir = {}\n", json!(tls_dir.to_string_lossy()));
    }
    write_new(path, &text).map_err(|e| format!("{}: {e}", path.display()))
}

/// Whether one can be written, where there is none.
///
/// # Errors
/// The path and the reason.
pub fn room_for_config(path: &Path) -> Result<(), String> {
    if path.exists() {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let made = fs::create_dir_all(folder);
    let writable = made.and_then(|()| Ok(access(folder, AccessFlags::W_OK)?));
    writable.map_err(|e| format!("{}: {e}", path.display()))
}

/// A whole file of this name, where there is none.
fn write_new(path: &Path, text: &str) -> io::Result<bool> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mut passing = path.as_os_str().to_owned();
    passing.push(format!(".new-{}", std::process::id()));
    let passing = Path::new(&passing);
    // Of an earlier process of this number.
    let _ = fs::remove_file(passing);
    let mut file = File::options().write(true).create_new(true).mode(0o644).open(passing)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    // Unlike a renaming, this replaces nobody's file.
    let linked = written.and_then(|()| fs::hard_link(passing, path));
    let _ = fs::remove_file(passing);
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        other => other.and_then(|()| File::open(folder)?.sync_all()).map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gearman::Config;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_first_configuration_is_one_that_the_agent_takes_and_the_second_is_not_written() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("etc/cargo/gearman.conf");
        let server = |host: &str| Server { host: host.into(), port: 4711 };
        assert_eq!(first_config(&path, "link", &server("::1"), USUAL_TLS_DIR.as_ref()), Ok(true));
        let config = Config::parse(&fs::read_to_string(&path).unwrap(), None).unwrap();
        assert_eq!(config.link.servers, [server("::1")]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
        assert_eq!(first_config(&path, "link", &server("other"), USUAL_TLS_DIR.as_ref()), Ok(false));
        assert!(fs::read_to_string(&path).unwrap().contains("[::1]:4711"));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn an_identity_elsewhere_is_found_by_both_agents() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("gearman.conf");
        let server = Server { host: "h".into(), port: 1 };
        let dir = Path::new("/srv/a \"quoted\" place");
        first_config(&path, "link", &server, dir).unwrap();
        let config = Config::parse(&fs::read_to_string(&path).unwrap(), None).unwrap();
        assert_eq!(config.link.tls_dir, dir);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("file"), "").unwrap();
        let path = place.path().join("file/boot.conf");
        let server = Server { host: "h".into(), port: 1 };
        let none = room_for_config(&path).unwrap_err();
        assert!(none.contains("file/boot.conf: "), "{none}");
        room_for_config(&place.path().join("new/boot.conf")).unwrap();
        room_for_config(&place.path().join("file")).unwrap();
        let error = first_config(&path, "report", &server, USUAL_TLS_DIR.as_ref()).unwrap_err();
        assert!(error.contains("file/boot.conf: "), "{error}");
    }
}
