//! A real package's way: built here, served by the real nginx and the real
//! vsftpd, broken off and taken up, installed by the real dpkg, upgraded, rolled
//! back, removed. That takes root on Debian with nginx and vsftpd, as
//! `tests/run` installs them; their own services and folders are not touched.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]
#![allow(clippy::disallowed_methods, reason = "real programs take real time")]

#[path = "system/build.rs"]
mod build;

use aspire_package::{Checksum, Error, Fetch, Fetched, Install, Kind, Uninstall, fetch, install, uninstall};
use build::Deb;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take on a loaded machine before a test gives it up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Larger than what the slow servers send at once.
const PAYLOAD_BYTES: usize = 3 << 20;
const AT_ONCE_BYTES: u64 = 1 << 20;

const PORT: u16 = 8921;
static SERVERS: AtomicU8 = AtomicU8::new(0);

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

fn ready(program: &str) -> bool {
    let there = Path::new("/usr/sbin").join(program).exists();
    if there && geteuid().is_root() && Path::new("/var/lib/dpkg/status").exists() {
        return true;
    }
    let _ = writeln!(
        std::io::stderr(),
        "NOT SEEN: a package from {program}, which takes root on Debian and {program}"
    );
    false
}

/// A file server of the system's, with files and settings of this test's.
struct Server {
    program: &'static str,
    folder: TempDir,
    address: Ipv4Addr,
    running: Option<Child>,
}

impl Server {
    fn new(program: &'static str) -> Server {
        let folder = tempfile::tempdir().unwrap();
        for name in ["files/pub", "empty", "temporary"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        // Whom vsftpd serves as must be able to come here.
        for name in ["", "files", "files/pub"] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(folder.path().join(name), mode).unwrap();
        }
        // A loopback address of this test's own, so that nobody else has the port.
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 64 | high & 63, low, 1 + SERVERS.fetch_add(1, Ordering::Relaxed));
        Server { program, folder, address, running: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts it, or another one in its place; a slow one stops in the midst of the file.
    fn start(&mut self, slow: bool) {
        self.stop();
        let (text, arguments) = match self.program {
            "nginx" => (self.nginx(slow), vec!["-c".into(), self.path("settings")]),
            _ => (self.vsftpd(slow), vec![self.path("settings")]),
        };
        fs::write(self.path("settings"), text).unwrap();
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = Command::new(Path::new("/usr/sbin").join(self.program));
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.running = Some(command.spawn().unwrap());
        until(self.program, || {
            let ended = self.running.as_mut().unwrap().try_wait().unwrap();
            assert_eq!(ended, None, "{}: {:?}", self.program, read(&self.path("log")));
            TcpStream::connect((self.address, PORT)).ok()
        });
    }

    fn nginx(&self, slow: bool) -> String {
        let (folder, address) = (self.folder.path().display(), self.address);
        let slowly = format!("limit_rate_after {AT_ONCE_BYTES}; limit_rate 1;");
        let rate = if slow { slowly.as_str() } else { "" };
        let private =
            format!("alias {folder}/files/pub/; auth_basic x; auth_basic_user_file {folder}/users;");
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|name| format!("{name}_temp_path {folder}/temporary;")).concat();
        format!(
            "daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{}}\n\
             http {{ access_log off; {temporary}\n\
             server {{ listen {address}:{PORT}; root {folder}/files; {rate}\n\
             location /private/ {{ {private} }}\n\
             location /moved/ {{ rewrite ^/moved/(.*)$ /pub/$1 redirect; }} }} }}\n"
        )
    }

    fn vsftpd(&self, slow: bool) -> String {
        let (folder, address) = (self.folder.path().display(), self.address);
        let rate = if slow { AT_ONCE_BYTES / 2 } else { 0 };
        format!(
            "listen=YES\nlisten_address={address}\nlisten_port={PORT}\nbackground=NO\n\
             anonymous_enable=YES\nlocal_enable=NO\nanon_root={folder}/files\n\
             secure_chroot_dir={folder}/empty\nanon_max_rate={rate}\nxferlog_enable=NO\nseccomp_sandbox=NO\n"
        )
    }

    fn stop(&mut self) {
        let Some(mut child) = self.running.take() else { return };
        // vsftpd's sessions are processes that outlive it; they are its children as long as it lives.
        for pid in family(child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        child.wait().unwrap();
    }

    fn publish(&self, file: &Path) {
        fs::copy(file, self.path("files/pub/monitor.deb")).unwrap();
    }

    fn url(&self, path: &str) -> String {
        let scheme = if self.program == "nginx" { "http" } else { "ftp" };
        format!("{scheme}://{}:{PORT}/{path}", self.address)
    }

    fn fetch(&self, file: &Path, to: &str) -> Fetch {
        let checksum = Some(Checksum::of(fs::File::open(file).unwrap()).unwrap());
        let (url, to) = (self.url("pub/monitor.deb"), self.path("downloads").join(to));
        Fetch { url, to, checksum, most_bytes: 64 << 20, identity: None }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A process and its descendants, the youngest first.
fn family(pid: u32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().flat_map(|child| family(child.parse().unwrap()));
    children.chain([i32::try_from(pid).unwrap()]).collect()
}

/// From a folder of its own, as files beside it go.
fn put(file: &Path) -> Option<String> {
    let nowhere = "/nonexistent/folder".into();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join(file.file_name().unwrap());
    fs::copy(file, &here).unwrap();
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
    let to_first = server.fetch(&first, "1.deb");
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
    let to_second = server.fetch(&second, "2.deb");
    assert_eq!(fetch(&to_second).unwrap().resumed_at, 0);
    put(&to_second.to);
    assert_eq!(deb.version().as_deref(), Some("2.0"));

    // Rolled back without the server, and removed.
    server.stop();
    assert_eq!(fetch(&to_first), Ok(Fetched { bytes, resumed_at: bytes }));
    put(&to_first.to);
    assert_eq!(deb.version().as_deref(), Some("1.0"));
    let removal = Uninstall {
        kind: Kind::Deb,
        package: Some(deb.name.clone()),
        folder: server.path("x"),
        packages: server.path("y"),
    };
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
    let from = |path: &str, to: &str| Fetch { url: server.url(path), ..server.fetch(&file, to) };
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
    let error = fetch(&server.fetch(&file, "missing")).unwrap_err().to_string();
    assert!(error.contains("550"), "{error}");
    let mut private = server.fetch(&file, "private");
    private.url = private.url.replace("://", "://me:secret@");
    let error = fetch(&private).unwrap_err().to_string();
    assert!(error.ends_with("the server refuses the login (530)"), "{error}");
}
