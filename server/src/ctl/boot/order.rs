//! Orders: the body of `POST /api/v1/boot/jobs`, and what is told of the job that it became.

use super::super::args::{self, Output};
use super::super::client::Client;
use super::super::error::Error;
use super::super::output::{self, printable};
use super::super::{confirm, daemon};
use super::{AgentOrder, ConfigOrder, Course, Package, PackageOrder, Whom, package, watch};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::sync::atomic::AtomicBool;

/// What is not asked for is not sent.
#[derive(Debug, Clone, Serialize)]
pub struct Order<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    hosts: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    /// What the hosts get.
    #[serde(flatten)]
    pub job: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_errors: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm: Option<u64>,
}

/// Whether it was taken; where it is followed, whether every host has done it.
pub fn package(client: &Client, action: &str, of: &PackageOrder, output: Output) -> Result<bool, Error> {
    let mut job = wish(&of.name, &of.package, of.course.timeout)?;
    job.insert("action".into(), action.into());
    let mut order = Order::of(&of.whom, &of.course, job);
    if let Some(file) = &of.package.file {
        package::publish(client, file, of.package.arch.as_deref(), &mut order.job, output)?;
    }
    order.give(client, of.course.follow, output)
}

/// The same of what needs no more than the agent's name.
pub fn agent(client: &Client, action: &str, of: &AgentOrder, output: Output) -> Result<bool, Error> {
    let job = object(json!({"action": action, "name": of.name}));
    Order::of(&of.whom, &of.course, job).give(client, of.course.follow, output)
}

/// The same of boot's own settings.
pub fn config(client: &Client, of: &ConfigOrder, output: Output) -> Result<bool, Error> {
    let mut job = object(json!({"action": "config"}));
    job.extend(of.svrlist.as_ref().map(|list| ("svrlist".to_owned(), json!(list))));
    job.extend(of.step.map(|step| ("step".to_owned(), json!(step))));
    Order::of(&of.whom, &of.course, job).give(client, of.course.follow, output)
}

/// What the job says of the agent: the definition's file, and the options.
fn wish(name: &str, package: &Package, timeout: Option<u64>) -> Result<Map<String, Value>, Error> {
    let file = package.definition.as_deref();
    let mut wish = file.map(daemon::definition).transpose()?.unwrap_or_default();
    let mut limits = Map::new();
    limits.extend(package.cpu.as_ref().map(|cpu| ("CPU".to_owned(), json!(cpu))));
    limits.extend(package.memory.as_ref().map(|memory| ("memory".to_owned(), json!(memory))));
    let env = args::object("--env", &package.env)?;
    let said = [
        ("name", Some(json!(name))),
        ("url", package.from.as_ref().map(|url| json!(url))),
        ("checksum", package.checksum.as_ref().map(|checksum| json!(checksum))),
        ("version", package.version.as_ref().map(|version| json!(version))),
        ("start", package.start.as_ref().map(|start| json!(start))),
        ("env", Some(json!(env)).filter(|_| !env.is_empty())),
        ("limits", Some(json!(limits)).filter(|_| !limits.is_empty())),
        ("timeout", timeout.map(|timeout| json!(timeout))),
    ];
    for (key, value) in said {
        let Some(value) = value else { continue };
        let former = wish.insert(key.to_owned(), value);
        if former.is_some_and(|former| former != wish[key]) {
            let file = file.unwrap_or_default();
            return Err(Error::Usage(format!("{key}: {file} says one thing and the command line another")));
        }
    }
    Ok(wish)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

impl<'a> Order<'a> {
    fn of(whom: &'a Whom, course: &'a Course, mut job: Map<String, Value>) -> Order<'a> {
        job.extend(course.timeout.map(|timeout| ("timeout".to_owned(), json!(timeout))));
        Order {
            hosts: &whom.hosts,
            target: whom.target.as_deref(),
            job,
            batch: course.batch.as_ref(),
            max_errors: course.max_errors.as_ref(),
            ttl: course.ttl,
            confirm: course.confirm,
        }
    }

    fn give(&self, client: &Client, follow: bool, output: Output) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Taken {
            id: String,
            count: u64,
        }
        let answer = confirm::confirmed(self.confirm, &AtomicBool::new(false), |confirm| {
            client.post(&["boot", "jobs"], &Order { confirm, ..self.clone() })
        });
        let answer = answer.map_err(|error| error.about(self.target))?;
        let Taken { id, count } =
            serde_json::from_slice(&answer).map_err(|error| client.not_polaris(&error))?;
        if follow {
            return watch::follow(client, &id, output);
        }
        let mut out = io::stdout().lock();
        if output == Output::Table {
            writeln!(out, "{}", printable(&id))?;
            out.flush()?;
            let hosts = if count == 1 { "1 host".to_owned() } else { format!("{count} hosts") };
            let how = printable(&format!("polarisctl boot job {id} --follow"));
            writeln!(io::stderr(), "for {hosts}, when they report; see what becomes of it with: {how}")?;
        } else {
            output::json(&mut out, &answer)?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_is_not_sent() {
        let whom = Whom { hosts: vec!["a".into()], target: None };
        let order = |course: &Course, job: Value| json!(Order::of(&whom, course, object(job)));
        assert_eq!(
            order(&Course::default(), json!({"action": "stop"})),
            json!({"hosts": ["a"], "action": "stop"})
        );
        let course = Course {
            batch: Some(json!("10%")),
            max_errors: Some(json!(0)),
            ttl: Some(60),
            timeout: Some(30),
            confirm: Some(1),
            follow: true,
        };
        let expected = json!({"hosts": ["a"], "action": "stop", "timeout": 30, "batch": "10%", "max_errors": 0,
            "ttl": 60, "confirm": 1});
        assert_eq!(order(&course, json!({"action": "stop"})), expected);
    }

    #[test]
    fn a_key_is_not_said_twice_in_two_ways() {
        let package = Package {
            version: Some("2".into()),
            env: vec![("A".into(), "1".into()), ("A".into(), "2".into())],
            ..Package::default()
        };
        assert_eq!(wish("gearman", &package, None).unwrap_err().to_string(), "--env A was given twice");
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        std::fs::write(&path, r#"{"name": "gearman", "version": "1", "user": "nobody"}"#).unwrap();
        let mut package = Package { version: Some("1".into()), definition: Some(path), ..Package::default() };
        let expected = object(json!({"name": "gearman", "version": "1", "user": "nobody"}));
        assert_eq!(wish("gearman", &package, None).unwrap(), expected);
        let expected = wish("gearman", &package, Some(60)).unwrap();
        assert_eq!((&expected["timeout"], &expected["user"]), (&json!(60), &json!("nobody")));
        package.version = Some("2".into());
        let refused = wish("gearman", &package, None).unwrap_err().to_string();
        assert!(refused.starts_with("version: ") && refused.contains("command line another"), "{refused}");
    }
}
