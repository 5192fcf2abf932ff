//! The query `disk`.

use crate::devices::{self, Device};
use crate::mounts::{self, Mount, Mounts};
use aspire_plugin::args::{self, Part};
use aspire_plugin::{Failure, Root, Text, json};
use getopts::Options;
use serde::Serialize;

/// The answer. A list that is not asked for is null, and so is how long it is.
#[derive(Debug, Serialize)]
pub struct Disk {
    /// Each disk, followed by its partitions, by the kernel's names in order.
    /// Loop devices with no file behind them and what the kernel hides (the single
    /// ways to an NVMe disk that has several) are left out. `-n` and `-o` show a
    /// part. Null where there is no /sys/block.
    pub devices: Option<Vec<Device>>,
    /// How many devices there are.
    pub device_count: Option<usize>,
    /// In the order in which the kernel tells them; `-n` and `-o` show a part. Null
    /// where there is no /proc.
    pub mounts: Option<Vec<Mount>>,
    /// How many mounts there are.
    pub count: Option<usize>,
    /// Lines of the kernel's table of mounts that cannot be made out.
    pub unreadable: Vec<Text>,
}

/// What of it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub devices: bool,
    pub mounts: bool,
    /// Of each list.
    pub part: Part,
    /// Whether remote file systems are asked, too.
    pub remote: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted { devices: true, mounts: true, part: Part::default(), remote: false }
    }
}

/// `-d` the devices, `-m` the mounts, and both where neither is given. `-n`, `-o`: a
/// part of each list. `-r`: how full remote mounts are, too.
pub fn answer(args: &str) -> Result<String, Failure> {
    let mut options = Options::new();
    options.optflag("d", "", "devices");
    options.optflag("m", "", "mounts");
    options.optflag("r", "", "ask remote file systems, too");
    Part::options(&mut options);
    let matches = args::matches(&options, args)?;
    let (devices, mounts) = (matches.opt_present("d"), matches.opt_present("m"));
    let wanted = Wanted {
        devices: devices || !mounts,
        mounts: mounts || !devices,
        part: Part::of(&matches)?,
        remote: matches.opt_present("r"),
    };
    json(&disk(&Root::default(), wanted))
}

/// As [`answer`], of the system below a root.
pub fn disk(root: &Root, wanted: Wanted) -> Disk {
    let devices = wanted.devices.then(|| devices::all(root)).flatten();
    let mounts = wanted.mounts.then(|| mounts::all(root)).flatten();
    let Mounts { table, unreadable } = mounts.unwrap_or_default();
    Disk {
        device_count: devices.as_ref().map(Vec::len),
        devices: devices.map(|devices| wanted.part.take(devices)),
        count: table.as_ref().map(Vec::len),
        mounts: table.map(|table| mounts::with_usage(root, table, wanted.part, wanted.remote)),
        unreadable,
    }
}
