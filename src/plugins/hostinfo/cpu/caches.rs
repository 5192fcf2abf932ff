//! The processors' caches.

use super::SYS;
use aspire_plugin::{Root, Text};
use serde::Serialize;
use std::collections::BTreeMap;

/// The caches of one kind: /sys/devices/system/cpu/cpu*/cache.
#[derive(Debug, Serialize)]
pub struct Cache {
    /// Level and type: L1d, L1i, L2.
    pub name: String,
    pub level: u32,
    /// Data, Instruction or Unified.
    pub r#type: Text,
    /// Bytes of one; null where it is not told.
    pub size: Option<u64>,
    /// Bytes of them all.
    pub total: Option<u64>,
    /// How many there are.
    pub instances: usize,
    /// Ways of associativity.
    pub ways: Option<u32>,
    /// Bytes of a line.
    pub line: Option<u32>,
}

/// By name. Processors that share a cache name the same list of sharers, which
/// is what tells one cache from another.
pub fn of(root: &Root, online: &[u32]) -> Vec<Cache> {
    let mut caches: BTreeMap<String, (Cache, Vec<Text>)> = BTreeMap::new();
    for cpu in online {
        for index in 0.. {
            let at = |file: &str| format!("{SYS}/cpu{cpu}/cache/index{index}/{file}");
            let Some(level) = root.number(at("level")) else { break };
            let (Some(kind), Some(sharers)) = (root.value(at("type")), root.value(at("shared_cpu_list")))
            else {
                continue;
            };
            let name = name(level, &kind);
            if caches.get(&name).is_some_and(|(_, seen)| seen.contains(&sharers)) {
                continue;
            }
            let size = root.value(at("size")).and_then(|size| bytes(size.as_str()?));
            if let Some((cache, seen)) = caches.get_mut(&name) {
                seen.push(sharers);
                cache.instances += 1;
                cache.total = cache.total.zip(size).and_then(|(total, size)| total.checked_add(size));
                continue;
            }
            let (ways, line) =
                (root.number(at("ways_of_associativity")), root.number(at("coherency_line_size")));
            let cache = Cache {
                name: name.clone(),
                level,
                r#type: kind,
                size,
                total: size,
                instances: 1,
                ways,
                line,
            };
            caches.insert(name, (cache, vec![sharers]));
        }
    }
    caches.into_values().map(|(cache, _)| cache).collect()
}

fn name(level: u32, kind: &Text) -> String {
    let letter = match kind.as_bytes() {
        b"Data" => "d",
        b"Instruction" => "i",
        _ => "",
    };
    format!("L{level}{letter}")
}

/// `32K`.
fn bytes(size: &str) -> Option<u64> {
    let (number, unit) = match size.strip_suffix('K') {
        Some(number) => (number, 1024),
        None => (size, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes() {
        assert_eq!(bytes("32K"), Some(32768));
        assert_eq!(bytes("64"), Some(64));
        assert_eq!((bytes(""), bytes("K"), bytes("18446744073709551615K")), (None, None, None));
    }
}
