//! The sockets that wait for somebody, and whose they are.

use super::Family;
use aspire_plugin::args::Part;
use aspire_plugin::{Root, Text};
use procfs::net::{TcpNetEntries, TcpState, UdpNetEntries, UdpState};
use procfs::{FromBufReadSI, current_system_info};
use serde::Serialize;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// One of them: TCP that listens, UDP that is bound and not connected.
#[derive(Debug, Serialize)]
pub struct Listener {
    /// tcp or udp.
    pub protocol: &'static str,
    /// inet or inet6; `::` of the latter may take IPv4, too.
    pub family: Family,
    /// 0.0.0.0 and :: are any. Of one that is bound to an interface, the kernel
    /// does not tell here which.
    pub address: IpAddr,
    pub port: u16,
    /// The user it belongs to.
    pub uid: u32,
    /// The processes that have it open, by pid; empty where it is the kernel's;
    /// null where this user may not know.
    pub processes: Option<Vec<Process>>,
}

/// One of a socket's processes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Process {
    pub pid: u32,
    /// /proc/PID/comm; null where it has ended by now.
    pub name: Option<Text>,
}

/// Part of them, and how many there are. `None` where there is no word of any.
pub fn list(root: &Root, part: Part) -> Option<(Vec<Listener>, usize)> {
    let mut found = Vec::new();
    let mut told = false;
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        if let Some(sockets) = waiting(root, protocol) {
            told = true;
            found.extend(sockets);
        }
    }
    let count = found.len();
    found.sort_by_key(|(_, one)| (one.protocol, one.family, one.port, one.address, one.uid));
    let shown = part.take(found);
    let mut owners = Owners::of(root, shown.iter().map(|(inode, _)| *inode));
    let listeners =
        shown.into_iter().map(|(inode, listener)| Listener { processes: owners.take(inode), ..listener });
    told.then(|| (listeners.collect(), count))
}

/// Of one of the files, with the sockets' inodes.
fn waiting(root: &Root, protocol: &str) -> Option<Vec<(u64, Listener)>> {
    let listener = |protocol, address: SocketAddr, uid| Listener {
        protocol,
        family: Family::of(address.ip()),
        address: address.ip(),
        port: address.port(),
        uid,
        processes: None,
    };
    Some(if protocol.starts_with("tcp") {
        let TcpNetEntries(sockets) = entries(root, protocol)?;
        let listening = sockets.into_iter().filter(|socket| socket.state == TcpState::Listen);
        listening.map(|tcp| (tcp.inode, listener("tcp", tcp.local_address, tcp.uid))).collect()
    } else {
        let UdpNetEntries(sockets) = entries(root, protocol)?;
        let unconnected = sockets.into_iter().filter(|socket| socket.state == UdpState::Close);
        unconnected.map(|udp| (udp.inode, listener("udp", udp.local_address, udp.uid))).collect()
    })
}

/// A thread may have a network of its own; kernels before 3.17 only know the process's.
fn entries<T: FromBufReadSI>(root: &Root, protocol: &str) -> Option<T> {
    let open = |folder: &str| File::open(root.path(format!("{folder}/{protocol}")));
    let file = open("proc/thread-self/net").or_else(|_| open("proc/self/net")).ok()?;
    T::from_buf_read(BufReader::new(file), current_system_info()).ok()
}

/// Whose sockets are: what all processes have open is looked through once.
struct Owners {
    by_inode: HashMap<u64, Vec<Process>>,
    /// Whether all of it could be seen.
    all_seen: bool,
}

impl Owners {
    fn of(root: &Root, wanted: impl Iterator<Item = u64>) -> Owners {
        let mut owners =
            Owners { by_inode: wanted.map(|inode| (inode, Vec::new())).collect(), all_seen: true };
        let Ok(processes) = fs::read_dir(root.path("proc")) else {
            return Owners { all_seen: false, ..owners };
        };
        for process in processes.flatten() {
            if let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) {
                owners.look_at(root, pid, &process.path().join("fd"));
            }
        }
        owners.by_inode.values_mut().for_each(|processes| processes.sort());
        owners
    }

    fn look_at(&mut self, root: &Root, pid: u32, folder: &Path) {
        let descriptors = match fs::read_dir(folder) {
            Ok(descriptors) => descriptors,
            Err(error) => {
                self.all_seen &= error.kind() != ErrorKind::PermissionDenied;
                return;
            }
        };
        for descriptor in descriptors.flatten() {
            let Some(inode) = socket(&descriptor.path()) else { continue };
            let Some(processes) = self.by_inode.get_mut(&inode) else { continue };
            if processes.last().is_none_or(|last| last.pid != pid) {
                processes.push(Process { pid, name: root.value(format!("proc/{pid}/comm")) });
            }
        }
    }

    fn take(&mut self, inode: u64) -> Option<Vec<Process>> {
        let processes = self.by_inode.remove(&inode).unwrap_or_default();
        (self.all_seen || !processes.is_empty()).then_some(processes)
    }
}

/// A link to `socket:[12345]`.
fn socket(descriptor: &Path) -> Option<u64> {
    let link = fs::read_link(descriptor).ok()?;
    let inode = link.as_os_str().as_bytes().strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    str::from_utf8(inode).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aspire_plugin::json;
    use std::os::unix::fs::symlink;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  \
        timeout inode\n";

    fn row(local: &str, state: &str, uid: u32, inode: u64) -> String {
        format!(
            "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid} 0 {inode} 1 0\n"
        )
    }

    fn put(root: &Root, file: &str, text: &str) {
        let file = root.path(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[test]
    fn a_socket_has_all_the_processes_that_have_it_open() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::at(place.path());
        let list = |part| list(&root, part);
        assert!(list(Part::default()).is_none());
        let (http, established) = (row("00000000:0050", "0A", 33, 7), row("0100007F:1F90", "01", 0, 8));
        let nfs = row("0100007F:0801", "0A", 0, 0);
        put(&root, "proc/self/net/tcp", &[HEAD, &http, &established, &nfs].concat());
        put(&root, "proc/self/net/udp", &[HEAD, &row("0100007F:0035", "07", 0, 9)].concat());
        put(&root, "proc/self/net/udp6", "what is this\nand this\n");
        for (pid, name, links) in [
            ("20", "nginx", &["socket:[7]", "socket:[7]", "/dev/null", "socket:[99]"][..]),
            ("3", "nginx", &["socket:[7]"]),
            ("x", "none", &["socket:[7]"]),
        ] {
            put(&root, &format!("proc/{pid}/comm"), &format!("{name}\n"));
            for (number, link) in links.iter().enumerate() {
                let folder = root.path(format!("proc/{pid}/fd"));
                fs::create_dir_all(&folder).unwrap();
                symlink(link, folder.join(number.to_string())).unwrap();
            }
        }
        // One that ends while it is looked at.
        put(&root, "proc/4/comm", "gone");
        let seen: Vec<String> =
            list(Part::default()).unwrap().0.iter().map(|one| json(one).unwrap()).collect();
        let nginx = r#"[{"pid":3,"name":"nginx"},{"pid":20,"name":"nginx"}]"#;
        let expected = [
            ("tcp", "0.0.0.0", 80, 33, nginx),
            ("tcp", "127.0.0.1", 2049, 0, "[]"),
            ("udp", "127.0.0.1", 53, 0, "[]"),
        ];
        let expected = expected.map(|(protocol, address, port, uid, processes)| {
            format!(
                r#"{{"protocol":"{protocol}","family":"inet","address":"{address}","port":{port},"uid":{uid},"processes":{processes}}}"#
            )
        });
        assert_eq!(seen, expected);
        let (part, count) = list(Part { offset: 1, count: Some(1) }).unwrap();
        assert_eq!((part.len(), part[0].port, count), (1, 2049, 3));
    }
}
