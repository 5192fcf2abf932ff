//! `kernel`: which kernel runs, since when, started how and with what in it.

use aspire_plugin::{Failure, Root, Text, args, json};
use jiff::Timestamp;
use nix::sys::utsname::uname;
use serde::Serialize;

/// Takes no arguments.
pub fn answer(args: &str) -> Result<String, Failure> {
    args::none(args)?;
    json(&Kernel::of(&Root::default())?)
}

/// What identifies a kernel, as uname(2) tells it.
#[derive(Debug, Serialize)]
pub struct Identity {
    /// The system's name: Linux.
    pub sysname: Text,
    /// The host's name.
    pub nodename: Text,
    /// The kernel's release: 6.1.0-13-amd64.
    pub release: Text,
    /// When and how it was built.
    pub version: Text,
    /// The hardware's name: x86_64, aarch64.
    pub machine: Text,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Kernel {
    #[serde(flatten)]
    pub identity: Identity,
    /// The NIS domain, of uname(2); null where none is set.
    pub domainname: Option<Text>,
    /// The kernel's command line: /proc/cmdline.
    pub cmdline: Option<Text>,
    /// When it was started, to the second: `btime` in /proc/stat.
    pub boot_time: Option<String>,
    /// Another one after each start: /proc/sys/kernel/random/boot_id.
    pub boot_id: Option<Text>,
    /// What is loaded, by name: /proc/modules; null where the kernel loads none.
    pub modules: Option<Vec<Module>>,
}

/// One of the modules.
#[derive(Debug, Serialize)]
pub struct Module {
    pub name: Text,
    /// Bytes of memory.
    pub size: u64,
    /// How often it is in use; null where the kernel does not count.
    pub users: Option<i64>,
    /// The modules that need it, by name.
    pub used_by: Vec<Text>,
    /// Live, Loading or Unloading.
    pub state: Text,
}

impl Identity {
    pub fn read() -> Result<Identity, Failure> {
        let name = uname().map_err(|error| Failure::broken(format!("uname: {error}")))?;
        Ok(Identity {
            sysname: name.sysname().into(),
            nodename: name.nodename().into(),
            release: name.release().into(),
            version: name.version().into(),
            machine: name.machine().into(),
        })
    }
}

impl Kernel {
    pub fn of(root: &Root) -> Result<Kernel, Failure> {
        Ok(Kernel {
            identity: Identity::read()?,
            domainname: uname().ok().and_then(|name| domain(name.domainname().into())),
            cmdline: root.value("proc/cmdline"),
            boot_time: boot_time(root),
            boot_id: root.value("proc/sys/kernel/random/boot_id"),
            modules: root.read("proc/modules").ok().map(|file| modules(&file)),
        })
    }
}

/// The kernel's word for none is `(none)`.
fn domain(name: Text) -> Option<Text> {
    Some(name).filter(|name| !name.is_empty() && name.as_bytes() != b"(none)")
}

fn boot_time(root: &Root) -> Option<String> {
    let stat = root.read("proc/stat").ok()?;
    let seconds = stat.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"btime "))?;
    let seconds = str::from_utf8(seconds).ok()?.trim().parse().ok()?;
    Some(Timestamp::from_second(seconds).ok()?.to_string())
}

/// By hand: the reader of procfs refuses the whole file where the kernel does
/// not count users.
fn modules(file: &[u8]) -> Vec<Module> {
    let mut modules: Vec<Module> = file.split(|&byte| byte == b'\n').filter_map(module).collect();
    modules.sort_by(|one, other| one.name.cmp(&other.name));
    modules
}

/// `name size users used,by, State address`.
fn module(line: &[u8]) -> Option<Module> {
    let mut words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let (name, size, users) = (words.next()?, words.next()?, words.next()?);
    let (used_by, state) = (words.next()?, words.next()?);
    // `-` is nobody, and `[permanent]` no module.
    let is_module = |name: &&[u8]| !name.is_empty() && *name != b"-" && !name.starts_with(b"[");
    let mut used_by: Vec<Text> =
        used_by.split(|&byte| byte == b',').filter(is_module).map(Text::from).collect();
    used_by.sort();
    Some(Module {
        name: name.into(),
        size: str::from_utf8(size).ok()?.parse().ok()?,
        users: str::from_utf8(users).ok().and_then(|users| users.parse().ok()),
        used_by,
        state: state.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_listed_by_name_with_what_needs_them() {
        let file = b"veth 40960 0 - Live 0x0\nllc 16384 2 stp,bridge, Live 0x0\n\
            nf_tables 400 -1 - Unloading 0x0 (OE-)\nkvm 1 1 [permanent],kvm_amd, Loading 0x0\n\
            old 7 - - Live 0x0\nbroken line\n";
        let modules = modules(file);
        let seen: Vec<String> = modules.iter().map(|module| json(module).unwrap()).collect();
        assert_eq!(
            seen,
            [
                r#"{"name":"kvm","size":1,"users":1,"used_by":["kvm_amd"],"state":"Loading"}"#,
                r#"{"name":"llc","size":16384,"users":2,"used_by":["bridge","stp"],"state":"Live"}"#,
                r#"{"name":"nf_tables","size":400,"users":-1,"used_by":[],"state":"Unloading"}"#,
                r#"{"name":"old","size":7,"users":null,"used_by":[],"state":"Live"}"#,
                r#"{"name":"veth","size":40960,"users":0,"used_by":[],"state":"Live"}"#,
            ]
        );
    }

    #[test]
    fn a_domain_that_is_not_set_is_null() {
        assert_eq!(domain("(none)".into()), None);
        assert_eq!(domain("".into()), None);
        assert_eq!(domain("nis.example".into()), Some("nis.example".into()));
    }

    #[test]
    fn what_is_not_told_is_null() {
        let nowhere = tempfile::tempdir().unwrap();
        let kernel = Kernel::of(&Root::at(nowhere.path())).unwrap();
        assert!(kernel.cmdline.is_none() && kernel.boot_time.is_none() && kernel.boot_id.is_none());
        assert!(kernel.modules.is_none());
        std::fs::create_dir(nowhere.path().join("proc")).unwrap();
        std::fs::write(nowhere.path().join("proc/stat"), "cpu 1\nbtime soon\n").unwrap();
        assert_eq!(boot_time(&Root::at(nowhere.path())), None);
    }
}
