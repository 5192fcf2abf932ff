//! A real package's way: built here, served by the real nginx and the real
//! vsftpd, broken off and taken up, installed by the real dpkg, upgraded, rolled
//! back, removed. That takes root on Debian with nginx and vsftpd, as
//! `tests/run` installs them; their own services and folders are not touched.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![allow(clippy::disallowed_methods, reason = "real programs take real time")]

#[path = "system/build.rs"]
mod build;
#[path = "system/served.rs"]
mod served;

use aspire_package::{Checksum, Error, Fetch, Fetched, Install, Kind, Uninstall, fetch, install, uninstall};
use build::Deb;
use served::{AT_ONCE_BYTES, Server, ready};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long anything may take on a loaded machine before a test gives it up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Larger than what the slow servers send at once.
const PAYLOAD_BYTES: usize = 3 << 20;

/// Two tests' dpkg would finish each other's work.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {} s in vain for {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What brings this file here from where it is published.
fn fetched(server: &Server, file: &Path, to: &str) -> Fetch {
    let checksum = Some(Checksum::of(fs::File::open(file).unwrap()).unwrap());
    let (url, to) = (server.url("pub/monitor.deb"), server.path("downloads").join(to));
    Fetch { url, to, checksum, most_bytes: 64 << 20, identity: None }
}

/// From a folder of its own, as files beside it go.
fn put(file: &Path) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join(file.file_name().unwrap());
    fs::copy(file, &here).unwrap();
    let nowhere = "/nonexistent/folder".into();
    install(&Install { kind: Kind::Deb, file: here, folder: nowhere, version: "1".into(), spare: None })
        .unwrap()
        .package
}

/// What both servers have in common.
fn a_package_s_way(server: &mut Server) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut deb = Deb::new(server.program);
    deb.payload = (0..PAYLOAD_BYTES).map(|index| u8::try_from(index * 7 % 251).unwrap()).collect();
    let (first, second) = (deb.build("1.0", "", &[]), deb.build("2.0", "", &[]));
    server.publish(&first);

    // Broken off: the server dies in the midst of the file.
    server.start(true);
    let to_first = fetched(server, &first, "1.deb");
    let download = {
        let fetch_this = to_first.clone();
        std::thread::spawn(move || fetch(&fetch_this))
    };
    let part = server.path("downloads/1.deb.part");
    until("half a megabyte", || fs::metadata(&part).ok().filter(|part| part.len() > AT_ONCE_BYTES / 2));
    server.stop();
    let error = download.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::Download(_)), "{error}");
    let here = fs::metadata(&part).unwrap().len();

    // Taken up by another one.
    server.start(false);
    let bytes = fs::metadata(&first).unwrap().len();
    assert_eq!(fetch(&to_first), Ok(Fetched { bytes, resumed_at: here }));
    assert_eq!(put(&to_first.to), Some(deb.name.clone()));
    assert_eq!((deb.version().as_deref(), deb.state().as_str()), (Some("1.0"), "installed ok"));

    // Upgraded from the same URL, where the file is another one now.
    server.publish(&second);
    assert!(matches!(
        fetch(&Fetch { to: server.path("downloads/x.deb"), ..to_first.clone() }),
        Err(Error::Checksum { .. })
    ));
    let to_second = fetched(server, &second, "2.deb");
    assert_eq!(fetch(&to_second).unwrap().resumed_at, 0);
    put(&to_second.to);
    assert_eq!(deb.version().as_deref(), Some("2.0"));

    // Rolled back without the server, and removed.
    server.stop();
    assert_eq!(fetch(&to_first), Ok(Fetched { bytes, resumed_at: bytes }));
    put(&to_first.to);
    assert_eq!(deb.version().as_deref(), Some("1.0"));
    let package = Some(deb.name.clone());
    let removal = Uninstall { kind: Kind::Deb, package, folder: None, packages: None };
    assert_eq!(uninstall(&removal), Ok(()));
    assert_eq!(deb.version(), None);
}

#[test]
fn a_package_comes_from_nginx() {
    if !ready("nginx") {
        return;
    }
    a_package_s_way(&mut Server::new("nginx"));
}

#[test]
fn a_package_comes_from_vsftpd() {
    if !ready("vsftpd") {
        return;
    }
    a_package_s_way(&mut Server::new("vsftpd"));
}

#[test]
fn what_nginx_asks_for_it_gets() {
    if !ready("nginx") {
        return;
    }
    let mut server = Server::new("nginx");
    let file = server.path("file");
    fs::write(&file, "a file").unwrap();
    server.publish(&file);
    fs::write(server.path("users"), "me:{PLAIN}se/cret@\n").unwrap();
    server.start(false);
    let from = |path: &str, to: &str| Fetch { url: server.url(path), ..fetched(&server, &file, to) };
    let mut private = from("private/monitor.deb", "private");
    let error = fetch(&private).unwrap_err().to_string();
    assert!(error.ends_with("the server answered 401 Unauthorized"), "{error}");
    private.url = private.url.replace("://", "://me:se%2Fcret%40@");
    assert_eq!(fetch(&private), Ok(Fetched { bytes: 6, resumed_at: 0 }));
    assert_eq!(fetch(&from("moved/monitor.deb", "moved")), Ok(Fetched { bytes: 6, resumed_at: 0 }));
    let error = fetch(&from("pub/missing.deb", "missing")).unwrap_err().to_string();
    assert!(error.ends_with("the server answered 404 Not Found"), "{error}");
    let error = fetch(&Fetch { most_bytes: 5, ..from("pub/monitor.deb", "large") }).unwrap_err().to_string();
    assert!(error.ends_with("has 6 bytes or more, at most 5 are allowed"), "{error}");
}

#[test]
fn what_vsftpd_refuses_is_told() {
    if !ready("vsftpd") {
        return;
    }
    let mut server = Server::new("vsftpd");
    let file = server.path("file");
    fs::write(&file, "a file").unwrap();
    server.start(false);
    let error = fetch(&fetched(&server, &file, "missing")).unwrap_err().to_string();
    assert!(error.contains("550"), "{error}");
    let mut private = fetched(&server, &file, "private");
    private.url = private.url.replace("://", "://me:secret@");
    let error = fetch(&private).unwrap_err().to_string();
    assert!(error.ends_with("the server refuses the login (530)"), "{error}");
}
