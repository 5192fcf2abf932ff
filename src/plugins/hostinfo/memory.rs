//! `memory`: how much there is, and how much of it is in use.

use aspire_plugin::{Failure, Root, args, json};
use serde::Serialize;
use std::collections::HashMap;

/// Takes no arguments.
pub fn answer(args: &str) -> Result<String, Failure> {
    args::none(args)?;
    json(&Memory::of(&Root::default())?)
}

/// The answer: bytes, from /proc/meminfo, and the words of free(1).
#[derive(Debug, Serialize)]
pub struct Memory {
    /// What the kernel may use: `MemTotal`.
    pub total: Option<u64>,
    /// What nothing uses: `MemFree`.
    pub free: Option<u64>,
    /// What new programs could have without swapping: `MemAvailable`, which
    /// kernels before 3.14 do not tell.
    pub available: Option<u64>,
    /// `total` without `available` or, where that is not told, without `free`.
    pub used: Option<u64>,
    /// Raw blocks of disks: `Buffers`.
    pub buffers: Option<u64>,
    /// Files, and kernel structures that can be given up: `Cached` and `SReclaimable`.
    pub cached: Option<u64>,
    /// Shared memory and tmpfs: `Shmem`.
    pub shared: Option<u64>,
    pub swap_total: Option<u64>,
    pub swap_free: Option<u64>,
    pub swap_used: Option<u64>,
    /// Huge pages: null where the kernel has none.
    pub hugepages: Option<HugePages>,
}

/// The pool of huge pages of the default size.
#[derive(Debug, Serialize)]
pub struct HugePages {
    /// Bytes of one.
    pub size: u64,
    /// How many there are.
    pub total: u64,
    /// How many of them nothing uses.
    pub free: u64,
}

impl Memory {
    pub fn of(root: &Root) -> Result<Memory, Failure> {
        let told = Told::of(&root.read("proc/meminfo")?);
        let (total, free) = (told.bytes("MemTotal"), told.bytes("MemFree"));
        let available = told.bytes("MemAvailable");
        let (swap_total, swap_free) = (told.bytes("SwapTotal"), told.bytes("SwapFree"));
        Ok(Memory {
            total,
            free,
            available,
            used: used(total, free, available),
            buffers: told.bytes("Buffers"),
            cached: told
                .bytes("Cached")
                .and_then(|cached| cached.checked_add(told.bytes("SReclaimable").unwrap_or(0))),
            shared: told.bytes("Shmem"),
            swap_total,
            swap_free,
            swap_used: swap_total.zip(swap_free).and_then(|(total, free)| total.checked_sub(free)),
            hugepages: told.hugepages(),
        })
    }
}

/// As free(1) does it, which does not believe a container that says more is
/// available than there is.
fn used(total: Option<u64>, free: Option<u64>, available: Option<u64>) -> Option<u64> {
    let total = total?;
    let available = available.filter(|&available| available <= total);
    total.checked_sub(available.or(free)?)
}

/// What /proc/meminfo says. By hand: the reader of procfs refuses a file that
/// lacks what containers leave out.
struct Told(HashMap<String, u64>);

impl Told {
    fn of(file: &[u8]) -> Told {
        let line = |line: &str| {
            let (name, value) = line.split_once(':')?;
            let (number, unit) = match value.trim().split_once(' ') {
                Some((number, "kB")) => (number, 1024),
                Some(_) => return None,
                None => (value.trim(), 1),
            };
            Some((name.into(), number.parse::<u64>().ok()?.checked_mul(unit)?))
        };
        Told(String::from_utf8_lossy(file).lines().filter_map(line).collect())
    }

    fn bytes(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    fn hugepages(&self) -> Option<HugePages> {
        Some(HugePages {
            size: self.bytes("Hugepagesize")?,
            total: self.bytes("HugePages_Total")?,
            free: self.bytes("HugePages_Free")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_malformed_is_not_told() {
        let told = Told::of(b"A: 2 kB\nB:   7\nC: 1 MB\nD: x kB\nE\nF: 18446744073709551615 kB\n\xff: 1\n");
        assert_eq!((told.bytes("A"), told.bytes("B")), (Some(2048), Some(7)));
        assert!(["C", "D", "E", "F", "G"].iter().all(|name| told.bytes(name).is_none()));
    }

    #[test]
    fn used_is_what_is_not_available() {
        assert_eq!(used(Some(10), Some(2), Some(6)), Some(4));
        assert_eq!(used(Some(10), Some(2), None), Some(8));
        assert_eq!(used(Some(10), Some(2), Some(11)), Some(8));
        assert_eq!(used(Some(10), None, None), None);
        assert_eq!(used(None, Some(2), Some(6)), None);
        assert_eq!(used(Some(1), Some(2), None), None);
    }
}
