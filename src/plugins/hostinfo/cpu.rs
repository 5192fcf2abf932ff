//! `cpu`: which processors there are, and how they hang together.

mod caches;

use crate::cpulist;
use aspire_plugin::{Failure, Root, Text, args, json};
use caches::Cache;
use nix::sys::utsname::uname;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

const SYS: &str = "sys/devices/system/cpu";

/// Takes no arguments.
pub fn answer(args: &str) -> Result<String, Failure> {
    args::none(args)?;
    json(&Cpu::of(&Root::default()))
}

/// What stays as long as the machine does. The topology is of the processors
/// that are online: /sys/devices/system/cpu/cpu*/topology.
#[derive(Debug, Serialize)]
pub struct Kind {
    /// The machine's kind, of uname(2): x86_64.
    pub architecture: Option<Text>,
    /// Who made it, as /proc/cpuinfo says: AuthenticAMD; ARM's numbers are theirs: 0x41.
    pub vendor: Option<Text>,
    /// The model's name in /proc/cpuinfo, which ARM has not.
    pub model_name: Option<Text>,
    /// How many processors are online, threads of a core counted each.
    pub logical: Option<usize>,
    /// How many packages they are in.
    pub sockets: Option<usize>,
    pub cores_per_socket: Option<usize>,
    pub threads_per_core: Option<usize>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Cpu {
    #[serde(flatten)]
    pub kind: Kind,
    /// Family, model and stepping of x86 in /proc/cpuinfo; of ARM the
    /// architecture's version, the part and its revision: 8, 0xd0c, 1.
    pub family: Option<Text>,
    pub model: Option<Text>,
    pub stepping: Option<Text>,
    /// Which are online: 0-3,8.
    pub online: Option<Text>,
    /// How many NUMA nodes there are: /sys/devices/system/node/online.
    pub numa_nodes: Option<usize>,
    /// The lowest and highest frequency of any: MHz; null where none can be set.
    pub mhz_min: Option<f64>,
    pub mhz_max: Option<f64>,
    /// The features, sorted.
    pub flags: Option<Vec<Text>>,
    /// The caches by level; null where /sys does not tell.
    pub caches: Option<Vec<Cache>>,
    /// Whether this is a virtual machine's, which only x86 tells (null).
    pub hypervisor: Option<bool>,
}

impl Kind {
    pub fn of(root: &Root) -> Kind {
        Kind::with(root, &Info::of(root), &online(root))
    }

    fn with(root: &Root, info: &Info, online: &[u32]) -> Kind {
        let topology = Topology::of(root, online);
        Kind {
            architecture: uname().ok().map(|name| name.machine().into()),
            vendor: info.first(&["vendor_id", "CPU implementer"]),
            model_name: info.first(&["model name", "cpu model", "cpu"]),
            logical: counted(online).or_else(|| info.processors()),
            sockets: topology.as_ref().map(|topology| topology.packages),
            cores_per_socket: topology.as_ref().map(|topology| topology.cores.div_ceil(topology.packages)),
            threads_per_core: topology.as_ref().map(|topology| topology.threads),
        }
    }
}

impl Cpu {
    pub fn of(root: &Root) -> Cpu {
        let (info, online) = (Info::of(root), online(root));
        let mhz = |which: &str| {
            let file = |cpu: &u32| root.number(format!("{SYS}/cpu{cpu}/cpufreq/cpuinfo_{which}_freq"));
            online.iter().filter_map(file).collect::<BTreeSet<u32>>()
        };
        Cpu {
            kind: Kind::with(root, &info, &online),
            family: info.first(&["cpu family", "CPU architecture"]),
            model: info.first(&["model", "CPU part"]),
            stepping: info.first(&["stepping", "CPU revision"]),
            online: root.value(format!("{SYS}/online")),
            numa_nodes: cpulist::in_file(root, "sys/devices/system/node/online").map(|nodes| nodes.len()),
            mhz_min: mhz("min").first().map(|&khz| f64::from(khz) / 1000.0),
            mhz_max: mhz("max").last().map(|&khz| f64::from(khz) / 1000.0),
            flags: info.flags(),
            caches: Some(caches::of(root, &online)).filter(|caches| !caches.is_empty()),
            hypervisor: info.x86_flags().map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        }
    }
}

/// The numbers of the processors that are online; none where /sys does not tell.
pub fn online(root: &Root) -> Vec<u32> {
    cpulist::in_file(root, format!("{SYS}/online")).unwrap_or_default()
}

/// How many are online. /proc/cpuinfo, which takes long of many, is only read where
/// /sys does not tell.
pub fn logical(root: &Root) -> Option<usize> {
    counted(&online(root)).or_else(|| Info::of(root).processors())
}

fn counted(online: &[u32]) -> Option<usize> {
    Some(online.len()).filter(|&count| count > 0)
}

/// /proc/cpuinfo: what it says first of each thing. By hand: the reader of
/// procfs panics where there is no processor in it, as in some containers.
struct Info {
    said: HashMap<String, String>,
    processors: usize,
}

impl Info {
    fn of(root: &Root) -> Info {
        let mut info = Info { said: HashMap::new(), processors: 0 };
        let file = root.read("proc/cpuinfo").unwrap_or_default();
        for line in String::from_utf8_lossy(&file).lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let (key, value) = (key.trim(), value.trim());
            info.processors += usize::from(key == "processor");
            if !value.is_empty() && !info.said.contains_key(key) {
                info.said.insert(key.into(), value.into());
            }
        }
        info
    }

    fn first(&self, keys: &[&str]) -> Option<Text> {
        keys.iter().find_map(|key| self.said.get(*key)).map(|value| value.as_str().into())
    }

    fn processors(&self) -> Option<usize> {
        Some(self.processors).filter(|&count| count > 0)
    }

    fn x86_flags(&self) -> Option<&str> {
        self.said.get("flags").map(String::as_str)
    }

    fn flags(&self) -> Option<Vec<Text>> {
        let other = || ["Features", "features"].iter().find_map(|key| self.said.get(*key));
        let flags = self.x86_flags().or_else(|| other().map(String::as_str))?;
        let mut flags: Vec<Text> = flags.split_whitespace().map(Text::from).collect();
        flags.sort();
        Some(flags)
    }
}

/// Counts of what the processors share.
struct Topology {
    packages: usize,
    cores: usize,
    /// Of the core that has the most.
    threads: usize,
}

impl Topology {
    /// `None` where there is no word of one of them.
    fn of(root: &Root, online: &[u32]) -> Option<Topology> {
        let (mut packages, mut cores) = (BTreeSet::new(), BTreeSet::new());
        for cpu in online {
            let file = |name: &str| cpulist::in_file(root, format!("{SYS}/cpu{cpu}/topology/{name}"));
            packages.insert(file("core_siblings_list")?);
            cores.insert(file("thread_siblings_list")?);
        }
        let threads = cores.iter().map(Vec::len).max()?;
        Some(Topology { packages: packages.len(), cores: cores.len(), threads })
    }
}
