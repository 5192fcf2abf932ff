//! What the numbers of a process are measured by.

use aspire_plugin::Root;

/// See the module.
#[derive(Debug, Clone)]
pub struct Host {
    /// Ticks since it was started (/proc/uptime).
    pub uptime: Option<u64>,
    /// When that was, in seconds since 1970 (btime in /proc/stat).
    pub boot_time: Option<i64>,
    /// In KiB (MemTotal in /proc/meminfo).
    pub memory: Option<u64>,
    /// Of the clock that processor time is counted by, in a second.
    pub ticks: u64,
    /// In bytes.
    pub page: u64,
}

impl Host {
    #[allow(clippy::cast_precision_loss, reason = "a hundred, mostly")]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and never negative")]
    pub fn at(root: &Root) -> Self {
        let ticks = procfs::ticks_per_second();
        Host {
            uptime: word(root, "proc/uptime", "").map(|seconds: f64| (seconds * ticks as f64).round() as u64),
            boot_time: word(root, "proc/stat", "btime "),
            memory: word(root, "proc/meminfo", "MemTotal:"),
            ticks,
            page: procfs::page_size(),
        }
    }
}

/// The first word after the beginning of a line.
fn word<T: std::str::FromStr>(root: &Root, file: &str, beginning: &str) -> Option<T> {
    let text = String::from_utf8(root.read(file).ok()?).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(beginning))?;
    rest.split_whitespace().next()?.parse().ok()
}
