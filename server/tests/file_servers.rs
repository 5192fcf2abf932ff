//! The configurations for nginx and vsftpd that are shipped, by the real nginx
//! and the real vsftpd: only addresses and paths are others. That takes root on
//! Debian with both, as `tests/run` installs them.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);
/// Of the password `right`.
const HASH: &str =
    "$6$polaristest$jhlUTCbXqdUAEJ/4E2aHV.8FHQwCBogQd0jfq4TDKfVXvefoh4b/5qLCVdxmK5M7LcelJQdAqJotVJydyM3ul/";
const PORT: u16 = 8922;

/// A file server of the system's, which serves a folder of this test's.
struct Server {
    dir: TempDir,
    address: SocketAddr,
    child: Child,
}

/// A folder of packages as polaris has it, and what must not be had.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let pool = dir.path().join("packages/pool");
    fs::create_dir_all(&pool).unwrap();
    for place in ["", "packages", "packages/pool"] {
        fs::set_permissions(dir.path().join(place), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(pool.join("web-größe.txt"), "0123456789").unwrap();
    fs::write(dir.path().join("packages/.upload-1"), "half").unwrap();
    fs::write(dir.path().join("secret.txt"), "secret").unwrap();
    symlink(dir.path().join("secret.txt"), pool.join("link.txt")).unwrap();
    dir
}

/// Whether this machine can show it; where not, people are told.
fn ready(program: &str) -> bool {
    let there = Path::new("/usr/sbin").join(program).exists();
    if there && geteuid().is_root() {
        return true;
    }
    let _ = writeln!(
        std::io::stderr(),
        "NOT SEEN: the configuration of {program}, which takes root and {program}"
    );
    false
}

/// The shipped file with other values; each of the old ones stands in it once.
fn shipped(name: &str, changes: &[(&str, String)]) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging/etc").join(name);
    let mut text = fs::read_to_string(path).unwrap();
    for (old, new) in changes {
        assert_eq!(
            text.matches(&format!("\n{old}")).count() + text.matches(&format!("    {old}")).count(),
            1,
            "{old}"
        );
        text = text.replace(old, new);
    }
    text
}

impl Server {
    fn start(dir: TempDir, last: u8, command: &mut Command) -> Server {
        let log = fs::File::create(dir.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut server = Server { address: address(last), child: command.spawn().unwrap(), dir };
        let begun = Instant::now();
        while TcpStream::connect(server.address).is_err() {
            let ended = server.child.try_wait().unwrap();
            let log = fs::read_to_string(server.dir.path().join("log")).unwrap();
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "{ended:?} {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for pid in family(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// A loopback address of this test's own, so that nobody else has the port.
fn address(last: u8) -> SocketAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, 64 | high & 63, low, last), PORT).into()
}

/// A process and its descendants, the youngest first: vsftpd's sessions outlive it.
fn family(pid: u32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().flat_map(|child| family(child.parse().unwrap()));
    children.chain([i32::try_from(pid).unwrap()]).collect()
}

fn nginx() -> Server {
    let dir = folder();
    let place = dir.path().display().to_string();
    let text = shipped(
        "nginx/fileserver.conf",
        &[
            ("listen 127.0.0.1:8182;", format!("listen {};", address(1))),
            ("root /srv/polaris;", format!("root {place};")),
            (
                "auth_basic_user_file /etc/nginx/polaris.users;",
                format!("auth_basic_user_file {place}/users;"),
            ),
        ],
    );
    fs::write(dir.path().join("fileserver.conf"), text).unwrap();
    fs::write(dir.path().join("users"), format!("web:{HASH}\n")).unwrap();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {place}/temporary;")).concat();
    let main = format!(
        "daemon off; master_process off; pid {place}/pid; error_log stderr; events {{}}\n\
         http {{ access_log off; {temporary} include {place}/fileserver.conf; }}\n"
    );
    fs::write(dir.path().join("nginx.conf"), main).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(dir.path().join("nginx.conf"));
    Server::start(dir, 1, &mut command)
}

/// The status, the headers and the body of an answer.
fn ask(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, BTreeMap<String, String>, String) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).proxy(None);
    let agent: ureq::Agent = config.max_redirects_will_error(false).build().into();
    let mut request =
        ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", server.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(()).unwrap()).unwrap();
    let body = response.body_mut().read_to_string().unwrap();
    let text = |value: &ureq::http::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    (response.status().as_u16(), headers, body)
}

#[test]
fn nginx_serves_the_folder_to_whoever_has_a_password() {
    if !ready("nginx") {
        return;
    }
    let server = nginx();
    // web:right and web:wrong.
    let (right, wrong) = (("authorization", "Basic d2ViOnJpZ2h0"), ("authorization", "Basic d2ViOndyb25n"));
    for headers in [&[][..], &[wrong]] {
        let (status, headers, _) = ask(&server, "GET", "/packages/pool/", headers);
        assert_eq!((status, &*headers["www-authenticate"]), (401, "Basic realm=\"polaris packages\""));
    }
    let (status, headers, index) = ask(&server, "GET", "/packages/pool/", &[right]);
    assert_eq!((status, &*headers["content-type"]), (200, "text/html; charset=utf-8"));
    assert!(index.contains("<a href=\"web-gr%C3%B6%C3%9Fe.txt\">web-größe.txt</a>"), "{index}");
    let row = index.lines().find(|line| line.contains("größe")).unwrap();
    assert!(row.ends_with(" 10"), "its size in bytes: {row}");
    let file = "/packages/pool/web-gr%C3%B6%C3%9Fe.txt";
    let (status, headers, text) = ask(&server, "GET", file, &[right]);
    assert_eq!((status, &*text), (200, "0123456789"));
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(headers["content-security-policy"].starts_with("sandbox"));
    let (status, headers, text) = ask(&server, "GET", file, &[right, ("range", "bytes=4-6")]);
    assert_eq!((status, &*text, &*headers["content-range"]), (206, "456", "bytes 4-6/10"));
    assert_eq!(ask(&server, "HEAD", file, &[right]).0, 200);
    for (method, path, refused) in [
        ("PUT", file, 403),
        ("DELETE", file, 403),
        ("GET", "/packages/pool/link.txt", 403),
        ("GET", "/packages/.upload-1", 404),
        ("GET", "/packages/../secret.txt", 404),
        ("GET", "/packages../secret.txt", 404),
        ("GET", "/secret.txt", 404),
        ("GET", "/", 404),
    ] {
        let (status, _, text) = ask(&server, method, path, &[right]);
        assert_eq!((status, text.contains("secret")), (refused, false), "{method} {path}: {text}");
    }
    assert!(!ask(&server, "GET", "/packages/", &[right]).2.contains("upload"));
}

/// vsftpd with accounts that this machine does not have, and no shell: its passwd, its shadow and its
/// PAM are this test's.
fn vsftpd() -> Server {
    let dir = folder();
    let place = dir.path().display().to_string();
    fs::create_dir(dir.path().join("empty")).unwrap();
    let text = shipped(
        "vsftpd.conf",
        &[
            ("listen_port=21", format!("listen_port={PORT}\nlisten_address={}", address(2).ip())),
            ("local_root=/srv/polaris/packages", format!("local_root={place}/packages")),
            ("userlist_file=/etc/polaris/ftp.users", format!("userlist_file={place}/users")),
            ("secure_chroot_dir=/var/run/vsftpd/empty", format!("secure_chroot_dir={place}/empty")),
        ],
    );
    let text = format!("{text}vsftpd_log_file={place}/transfers\nbackground=NO\n");
    fs::write(dir.path().join("vsftpd.conf"), text).unwrap();
    fs::write(dir.path().join("users"), "web\n").unwrap();
    let account = |name: &str, id: u32| format!("{name}:x:{id}:{id}::/:/usr/sbin/nologin\n");
    let passwd =
        fs::read_to_string("/etc/passwd").unwrap() + &account("web", 61234) + &account("other", 61235);
    let shadow = fs::read_to_string("/etc/shadow").unwrap()
        + &format!("web:{HASH}:20000::::::\nother:{HASH}:20000::::::\n");
    for (name, text) in [("passwd", passwd), ("shadow", shadow)] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    // As the administrator installs it.
    fs::create_dir(dir.path().join("pam.d")).unwrap();
    fs::write(dir.path().join("pam.d/polaris-ftp"), shipped("pam.d/polaris-ftp", &[])).unwrap();
    let script = format!(
        "mount --bind {place}/passwd /etc/passwd && mount --bind {place}/shadow /etc/shadow && \
         mount --bind {place}/pam.d /etc/pam.d && exec /usr/sbin/vsftpd {place}/vsftpd.conf"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    Server::start(dir, 2, &mut command)
}

/// An FTP client as small as can be.
struct Ftp(BufReader<TcpStream>);

impl Ftp {
    fn connect(server: &Server) -> Ftp {
        let stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut ftp = Ftp(BufReader::new(stream));
        assert_eq!(ftp.reply().0, 220);
        ftp
    }

    /// The next reply's code and last line.
    fn reply(&mut self) -> (u16, String) {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            if let (Ok(code), Some(" ")) = (line.get(..3).unwrap_or_default().parse(), line.get(3..4)) {
                return (code, line);
            }
            assert!(!line.is_empty(), "the connection ended");
        }
    }

    fn say(&mut self, command: &str) -> (u16, String) {
        write!(self.0.get_mut(), "{command}\r\n").unwrap();
        self.reply()
    }

    fn login(&mut self, name: &str, password: &str) -> (u16, String) {
        match self.say(&format!("USER {name}")) {
            (331, _) => self.say(&format!("PASS {password}")),
            refused => refused,
        }
    }

    /// What comes by a data connection.
    fn fetch(&mut self, command: &str) -> Result<String, u16> {
        let (code, line) = self.say("EPSV");
        assert_eq!(code, 229, "{line}");
        let port: u16 = line.split('|').nth(3).unwrap().parse().unwrap();
        assert!((30000..30100).contains(&port), "{port}");
        let address = self.0.get_ref().peer_addr().unwrap().ip();
        let mut data = TcpStream::connect((address, port)).unwrap();
        let (code, _) = self.say(command);
        if code != 150 {
            return Err(code);
        }
        let mut text = String::new();
        data.read_to_string(&mut text).unwrap();
        assert_eq!(self.reply().0, 226);
        Ok(text)
    }
}

#[test]
fn vsftpd_serves_the_folder_to_the_users_of_its_list() {
    if !ready("vsftpd") {
        return;
    }
    let server = vsftpd();
    for (name, password) in [("anonymous", "a@b"), ("other", "right"), ("root", "right"), ("web", "wrong")] {
        assert_eq!(Ftp::connect(&server).login(name, password).0, 530, "{name}");
    }
    let mut ftp = Ftp::connect(&server);
    let (code, line) = ftp.login("web", "right");
    assert_eq!(code, 230, "{line}");
    ftp.say("TYPE I");
    let root = ftp.fetch("LIST").unwrap();
    assert!(root.contains(" pool") && !root.contains("upload"), "{root}");
    let index = ftp.fetch("LIST pool").unwrap();
    let row =
        index.lines().find(|line| line.ends_with(" web-größe.txt")).unwrap_or_else(|| panic!("{index}"));
    assert!(row.contains(" 10 "), "its size in bytes: {row}");
    assert_eq!(ftp.fetch("RETR pool/web-größe.txt").unwrap(), "0123456789");
    assert_eq!(ftp.say("REST 4").0, 350);
    assert_eq!(ftp.fetch("RETR pool/web-größe.txt").unwrap(), "456789");
    for command in [
        "RETR pool/link.txt",
        "RETR ../secret.txt",
        "RETR /../secret.txt",
        "RETR .upload-1",
        "RETR ./.upload-1",
        "STOR pool/new.txt",
        "STOR pool/web-größe.txt",
        "APPE pool/web-größe.txt",
    ] {
        assert_eq!(ftp.fetch(command), Err(550), "{command}");
    }
    for command in ["DELE pool/web-größe.txt", "MKD new", "RMD pool", "RNFR pool"] {
        assert_eq!(ftp.say(command).0, 550, "{command}");
    }
    assert_eq!(ftp.say("CWD ..").0, 250);
    assert_eq!(ftp.fetch("RETR pool/web-größe.txt").unwrap(), "0123456789", "above the root is the root");
}
