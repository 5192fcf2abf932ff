//! `load`: how busy the host is, and since when it runs.

use crate::cpu;
use aspire_plugin::{Failure, Root, args, json};
use procfs::{FromRead as _, LoadAverage, Uptime};
use serde::Serialize;

/// Takes no arguments.
pub fn answer(args: &str) -> Result<String, Failure> {
    args::none(args)?;
    json(&Load::of(&Root::default()))
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Load {
    /// How many tasks were running or waiting for a disk, on average of the last
    /// minute, five and fifteen minutes: /proc/loadavg.
    pub load1: Option<f32>,
    pub load5: Option<f32>,
    pub load15: Option<f32>,
    /// How many tasks can run now.
    pub runnable: Option<u32>,
    /// How many tasks there are, threads counted each.
    pub processes: Option<u32>,
    /// Seconds since the start: /proc/uptime.
    pub uptime: Option<f64>,
    /// How many processors are online.
    pub cpus: Option<usize>,
}

impl Load {
    pub fn of(root: &Root) -> Load {
        let load = LoadAverage::from_file(root.path("proc/loadavg")).ok();
        let uptime = Uptime::from_file(root.path("proc/uptime")).ok();
        let finite = |load: f32| Some(load).filter(|load| load.is_finite());
        Load {
            load1: load.as_ref().and_then(|load| finite(load.one)),
            load5: load.as_ref().and_then(|load| finite(load.five)),
            load15: load.as_ref().and_then(|load| finite(load.fifteen)),
            runnable: load.as_ref().map(|load| load.cur),
            processes: load.as_ref().map(|load| load.max),
            uptime: uptime.map(|uptime| uptime.uptime),
            cpus: cpu::logical(root),
        }
    }
}
