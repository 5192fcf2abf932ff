//! The query `disk`.

use crate::devices::{self, Device};
use crate::mounts::{self, Mount, Mounts};
use aspire_plugin::args::{self, Part};
use aspire_plugin::{Failure, Root, Text, json};
use getopts::Options;
use serde::Serialize;

/// The answer.
#[derive(Debug, Serialize)]
pub struct Disk {
    /// Each disk, followed by its partitions, by the kernel's names in order.
    /// Loop devices with no file behind them and what the kernel hides (the single
    /// ways to an NVMe disk that has several) are left out. Null where there is no
    /// /sys/block.
    pub devices: Option<Vec<Device>>,
    /// In the order in which the kernel tells them; `-n` and `-o` show a part. Null
    /// where there is no /proc.
    pub mounts: Option<Vec<Mount>>,
    /// How many mounts there are.
    pub count: usize,
    /// Lines of the kernel's table of mounts that cannot be made out.
    pub unreadable: Vec<Text>,
}

/// `-r`: how full remote mounts are, too. `-n`, `-o`: a part of the mounts.
pub fn answer(args: &str) -> Result<String, Failure> {
    let mut options = Options::new();
    options.optflag("r", "", "ask remote file systems, too");
    Part::options(&mut options);
    let matches = args::matches(&options, args)?;
    json(&disk(&Root::default(), Part::of(&matches)?, matches.opt_present("r")))
}

/// As [`answer`], of the system below a root.
pub fn disk(root: &Root, part: Part, remote: bool) -> Disk {
    let Mounts { table, unreadable } = mounts::all(root).unwrap_or_default();
    let count = table.as_ref().map_or(0, Vec::len);
    let shown = table.map(|table| mounts::with_usage(root, table, part, remote));
    Disk { devices: devices::all(root), mounts: shown, count, unreadable }
}
