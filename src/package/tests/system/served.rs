//! The system's own file servers, with settings, files and an address of a
//! test's own; their services are left alone.

#![allow(dead_code, reason = "each test binary uses its own part")]

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use tempfile::TempDir;

/// What the slow ones send at once.
pub const AT_ONCE_BYTES: u64 = 1 << 20;

const PORT: u16 = 8921;
static SERVERS: AtomicU8 = AtomicU8::new(0);

/// Whether packages can come from it and be installed here; where not, people are told.
pub fn ready(program: &str) -> bool {
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
pub struct Server {
    pub program: &'static str,
    folder: TempDir,
    address: Ipv4Addr,
    running: Option<Child>,
}

impl Server {
    pub fn new(program: &'static str) -> Server {
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

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts it, or another one in its place; a slow one stops in the midst of the file.
    pub fn start(&mut self, slow: bool) {
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
        crate::until(self.program, || {
            let ended = self.running.as_mut().unwrap().try_wait().unwrap();
            assert_eq!(ended, None, "{}: {:?}", self.program, crate::read(&self.path("log")));
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

    pub fn stop(&mut self) {
        let Some(mut child) = self.running.take() else { return };
        // vsftpd's sessions are processes that outlive it; they are its children as long as it lives.
        for pid in family(child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        child.wait().unwrap();
    }

    pub fn publish(&self, file: &Path) {
        fs::copy(file, self.path("files/pub/monitor.deb")).unwrap();
    }

    pub fn url(&self, path: &str) -> String {
        let scheme = if self.program == "nginx" { "http" } else { "ftp" };
        format!("{scheme}://{}:{PORT}/{path}", self.address)
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
