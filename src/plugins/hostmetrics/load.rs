//! `load`: how many processes want to run, from /proc/loadavg (proc_loadavg(5)).

use crate::settings;
use aspire_plugin::metrics::{Dispatch, Metrics, Value};
use aspire_plugin::{Failure, Root};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Settings {
    /// Divided by the number of processors.
    report_relative: bool,
}

#[derive(Debug)]
pub struct Load {
    root: Root,
    settings: Settings,
}

impl Load {
    pub fn configure(settings: &str) -> Result<Box<dyn Metrics>, Failure> {
        Ok(Box::new(Load { root: Root::default(), settings: settings::read(settings)? }))
    }
}

impl Metrics for Load {
    fn read(&mut self, to: &mut Dispatch<'_>) -> Result<(), Failure> {
        let text = self.root.read("proc/loadavg")?;
        let text = String::from_utf8_lossy(&text);
        let averages: Vec<Value> =
            text.split(' ').take(3).filter_map(|word| word.parse().ok().map(Value::Gauge)).collect();
        if averages.len() != 3 {
            return Err(Failure::broken(format!("/proc/loadavg: {text:?}")));
        }
        let (instance, averages) = if self.settings.report_relative {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            ("relative", averages.into_iter().map(|value| relative(value, cores)).collect())
        } else {
            ("", averages)
        };
        to.values("", "load", instance, &averages);
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "no host has that many processors")]
fn relative(value: Value, cores: usize) -> Value {
    match value {
        Value::Gauge(load) => Value::Gauge(load / cores as f64),
        other => other,
    }
}
