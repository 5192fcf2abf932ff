//! A MariaDB of one's own: in a temporary folder, on a socket and a port that nobody else has,
//! started once for all tests of the process and gone with it, however that ends.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Starts the server in a session of its own, waits until the pipe of its standard input is closed,
/// and clears up: whatever the session has become by then goes with it.
const KEEPER: &str = r#"
trap '' INT TERM HUP
dir=$1
setsid sh -c '
    dir=$1 port=$2
    mariadb-install-db --no-defaults --datadir="$dir/data" --skip-test-db \
        --auth-root-authentication-method=normal --skip-name-resolve --user=$(id -un) &&
    exec mariadbd --no-defaults --datadir="$dir/data" --socket="$dir/socket" --pid-file="$dir/pid" \
        --bind-address=127.0.0.1 --port="$port" --user=$(id -un) --skip-name-resolve --skip-log-bin \
        --ssl-ca="$dir/ca.pem" --ssl-cert="$dir/cert.pem" --ssl-key="$dir/key.pem" \
        --performance-schema=OFF --max-connections=1000 --max-allowed-packet=16M \
        --innodb-file-per-table=OFF --innodb-flush-log-at-trx-commit=0 --innodb-flush-method=nosync \
        --innodb-doublewrite=OFF --innodb-buffer-pool-size=64M --innodb-buffer-pool-dump-at-shutdown=OFF
' sh "$dir" "$2" </dev/null >"$dir/log" 2>&1 &
session=$!
read -r _
# First the one that would start more, which may not have its session yet.
kill -KILL "$session"
kill -KILL -- "-$session"
wait
rm -rf -- "$dir"
"#;

pub struct MariaDb {
    pub dir: PathBuf,
    pub port: u16,
    /// Its pipe is what keeps the server.
    _keeper: Mutex<Child>,
}

/// It runs when this returns.
pub fn instance() -> &'static MariaDb {
    static INSTANCE: OnceLock<MariaDb> = OnceLock::new();
    INSTANCE.get_or_init(MariaDb::start)
}

impl MariaDb {
    fn start() -> MariaDb {
        let found = |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).status();
        for program in ["mariadbd", "mariadb-install-db", "mariadb"] {
            // Where it is not executed at all; what it answers is no matter.
            found(program).unwrap_or_else(|e| panic!("{program}: {e}: install Debian's mariadb-server"));
        }
        // In memory where there is such a folder: a schema for each test costs a disk's time.
        let memory = TempDir::with_prefix_in("mariadb-", "/dev/shm");
        let dir = memory.or_else(|_| TempDir::with_prefix("mariadb-")).unwrap().keep();
        let port = free_port();
        certify(&dir);
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh", dir.to_str().unwrap(), &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let it = MariaDb { dir, port, _keeper: Mutex::new(keeper) };
        let begun = Instant::now();
        let user = "CREATE USER polaris@'%' IDENTIFIED BY 's/cret'; GRANT ALL ON `t%`.* TO polaris@'%'";
        while let Err(error) = it.try_execute(user) {
            let log = std::fs::read_to_string(it.dir.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_mins(2), "{error}\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        it
    }

    /// As its administrator.
    pub fn execute(&self, sql: &str) {
        self.try_execute(sql).unwrap();
    }

    fn try_execute(&self, sql: &str) -> Result<(), String> {
        let mut client = Command::new("mariadb")
            .args(["--no-defaults", "--user=root", "--batch", "-e", sql])
            .arg(format!("--socket={}", self.socket()))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut error = String::new();
        client.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        if client.wait().unwrap().success() { Ok(()) } else { Err(error) }
    }

    /// How a test's database is reached, by the port. TLS is for the test of it.
    pub fn url(&self, name: &str) -> String {
        MariaDb::url_at(self.port, name)
    }

    /// The same through a port that leads there.
    pub fn url_at(port: u16, name: &str) -> String {
        format!("mysql://polaris:s%2Fcret@127.0.0.1:{port}/{name}?ssl-mode=DISABLED")
    }

    /// The same by the socket.
    pub fn socket_url(&self, name: &str) -> String {
        format!("mysql://polaris:s%2Fcret@localhost/{name}?ssl-mode=DISABLED&socket={}", self.socket())
    }

    /// As its administrator.
    pub fn root_url(&self) -> String {
        format!("mysql://root@localhost/mysql?socket={}", self.socket())
    }

    fn socket(&self) -> String {
        self.dir.join("socket").display().to_string()
    }
}

/// A certificate for 127.0.0.1, signed by an authority of its own.
fn certify(dir: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, key).unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    for (name, pem) in [("ca", authority.pem()), ("cert", cert.pem()), ("key", key.serialize_pem())] {
        std::fs::write(dir.join(name).with_extension("pem"), pem).unwrap();
    }
}

/// Of those that the kernel gives to nobody by itself.
fn free_port() -> u16 {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..32_000).find(free).unwrap()
}
