//! The files of a bare host: a small Debian that debootstrap makes once and that is kept, or this
//! machine's own where that is not to be had.

use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Seconds that debootstrap may take: where the network is there it needs half a minute.
const PATIENCE: &str = "240";

/// A folder with a whole system, not to be changed.
pub fn system() -> PathBuf {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(kept).unwrap();
    let lock = File::create(kept.join("bare.lock")).unwrap();
    let _alone = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    let root = kept.join("bare");
    if !root.is_dir()
        && let Err(reason) = bootstrap(&root)
    {
        aloud(&format!("a bare host that debootstrap made, but one of this machine's own system: {reason}"));
        return PathBuf::from("/");
    }
    root
}

/// Says what this machine did not let a test see, to people and not to the test harness, which keeps
/// what tests that pass have printed to itself.
pub fn aloud(text: &str) {
    let _ = writeln!(std::io::stderr(), "NOT SEEN: {text}");
}

/// From where this machine has its own packages.
fn bootstrap(root: &Path) -> Result<(), String> {
    let codename = output(Command::new("sh").args(["-c", ". /etc/os-release; echo $VERSION_CODENAME"]))?;
    let of_it = format!("Codename: {codename}");
    let sources = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", &of_it];
    let sources = output(Command::new("apt-get").args(sources))?;
    let source = sources.lines().next().ok_or("apt has no source of packages")?;
    let passing = root.with_extension("new");
    let _ = fs::remove_dir_all(&passing);
    // What it mounts ends with it, even where it is killed.
    let mut debootstrap = super::unshare();
    debootstrap.args(["timeout", "--signal=KILL", PATIENCE, "debootstrap", "--variant=minbase", &codename]);
    let made = output(debootstrap.arg(&passing).arg(source));
    match made {
        Ok(_) => fs::rename(&passing, root).map_err(|e| e.to_string()),
        Err(reason) => {
            let _ = fs::remove_dir_all(&passing);
            Err(reason)
        }
    }
}

fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{name}: {e}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(said(&output.stdout));
    }
    let words = [said(&output.stdout), said(&output.stderr)].join("\n");
    let last: Vec<&str> = words.trim().lines().rev().take(3).collect();
    Err(format!("{name}: {}: {}", output.status, last.join(" / ")))
}
