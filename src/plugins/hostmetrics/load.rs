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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What is read of a host whose /proc/loadavg has this text.
    fn read(loadavg: &str, settings: &str) -> Result<Vec<aspire_plugin::metrics::Dispatched>, Failure> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("proc")).unwrap();
        fs::write(dir.path().join("proc/loadavg"), loadavg).unwrap();
        let mut load = Load { root: Root::at(dir.path()), settings: settings::read(settings)? };
        let mut lists = Vec::new();
        load.read(&mut Dispatch::kept(&mut lists)).map(|()| lists)
    }

    #[test]
    fn three_averages_are_one_list() {
        let lists = read("2.71 2.53 2.43 1/234 5678\n", "{}").unwrap();
        assert_eq!(lists.len(), 1);
        assert_eq!((lists[0].type_name.as_str(), lists[0].type_instance.as_str()), ("load", ""));
        assert_eq!(lists[0].values, [2.71, 2.53, 2.43].map(Value::Gauge));
        let relative = read("2.71 2.53 2.43 1/234 5678\n", r#"{"ReportRelative":true}"#).unwrap();
        assert_eq!(relative[0].type_instance, "relative");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let unknown = read("", r#"{"Relative":true}"#).unwrap_err();
        assert!(unknown.retcode.code() == 3021 && unknown.reason.contains("`Relative`"), "{unknown}");
        let cut = read("2.71 2.53\n", "{}").unwrap_err();
        assert!(cut.retcode.code() == 3101 && cut.reason.contains("2.71 2.53"), "{cut}");
    }
}
