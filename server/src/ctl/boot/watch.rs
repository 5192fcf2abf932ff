//! One job: what became of it on each host, once or until the last one has ended.

use super::super::age::ago;
use super::super::args::Output;
use super::super::client::Client;
use super::super::error::{Error, INTERRUPTED};
use super::super::output::{self, cell, printable};
use super::super::tally::{bar, counted};
use super::lists::STATES;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

/// From the first look at a job to the next; each time it is twice as long.
const SOONEST: Duration = Duration::from_millis(250);
/// The longest that it gets: hosts report minutes apart.
const LATEST: Duration = Duration::from_secs(2);
/// But so much for each of the hosts: the server tells of all of them each time.
const PER_HOST: Duration = Duration::from_millis(1);
/// Looks in a row for which polaris may be out of reach.
const MAX_MISSES: u32 = 30;

/// Of the server's document, what is looked at.
#[derive(Deserialize)]
struct Job {
    state: String,
    counts: BTreeMap<String, u64>,
    #[serde(default)]
    hosts: Vec<Box<RawValue>>,
}

/// One host of a job.
#[derive(Deserialize)]
struct Host {
    #[serde(rename = "host")]
    id: String,
    #[serde(default)]
    name: Option<String>,
    state: String,
    #[serde(default)]
    errcode: Option<u64>,
    #[serde(default)]
    message: Option<String>,
}

/// Whether every host has done it.
pub fn show(client: &Client, id: &str, output: Output) -> Result<bool, Error> {
    let body = client.get(&["boot", "jobs", id])?;
    print(client, &body, output)
}

/// Takes it back from the hosts that have not fetched it.
pub fn cancel(client: &Client, id: &str, output: Output) -> Result<(), Error> {
    let body = client.delete_on_hosts(&["boot", "jobs", id])?;
    print(client, &body, output).map(|_| ())
}

/// Shows each host as it ends. Whether every one has done it.
pub fn follow(client: &Client, id: &str, output: Output) -> Result<bool, Error> {
    let bar = bar(output == Output::Table);
    explain_interrupts(id, &bar);
    let followed = watch(client, id, output, &bar);
    bar.finish_and_clear();
    let (body, job) = followed?;
    match output {
        Output::Table => writeln!(io::stderr(), "{}", printable(&job.told_at_the_end()))?,
        Output::Json => output::json(&mut io::stdout().lock(), &body)?,
        Output::Ndjson => {}
    }
    Ok(job.is_done())
}

/// Until it is over: the server's last word.
fn watch(client: &Client, id: &str, output: Output, bar: &ProgressBar) -> Result<(Vec<u8>, Job), Error> {
    let (mut told, mut misses, mut began, mut pause) = (HashSet::new(), 0, false, SOONEST);
    loop {
        match client.get(&["boot", "jobs", id]) {
            Ok(body) => {
                let job = Job::parse(client, &body)?;
                tell_news(client, &job, &mut told, output, bar)?;
                if job.is_over() {
                    return Ok((body, job));
                }
                (began, misses) = (true, 0);
                let least = PER_HOST * u32::try_from(job.hosts.len()).unwrap_or(u32::MAX);
                thread::sleep(pause.max(least));
                pause = LATEST.min(pause * 2);
            }
            // A server may be started anew while hosts are at work.
            Err(Error::Unreachable { .. }) if began && misses < MAX_MISSES => {
                misses += 1;
                thread::sleep(LATEST);
            }
            Err(Error::Unreachable { reason, .. }) if began => {
                return Err(Error::NotFollowed { id: id.to_owned(), reason });
            }
            Err(error) => return Err(error),
        }
    }
}

/// Of each host that has ended, once.
fn tell_news(
    client: &Client,
    job: &Job,
    told: &mut HashSet<String>,
    output: Output,
    bar: &ProgressBar,
) -> Result<(), Error> {
    for entry in &job.hosts {
        let host: Host = serde_json::from_str(entry.get()).map_err(|error| client.not_polaris(&error))?;
        if host.is_over() && told.insert(host.id.clone()) {
            bar.suspend(|| tell(&host, entry.get(), output))?;
        }
    }
    job.draw(bar);
    Ok(())
}

fn tell(host: &Host, entry: &str, output: Output) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Table => writeln!(out, "{}", printable(&host.line()))?,
        Output::Ndjson => writeln!(out, "{entry}")?,
        Output::Json => {}
    }
    out.flush()
}

impl Job {
    fn parse(client: &Client, body: &[u8]) -> Result<Job, Error> {
        serde_json::from_slice(body).map_err(|error| client.not_polaris(&error))
    }

    fn count(&self, state: &str) -> u64 {
        self.counts.get(state).copied().unwrap_or_default()
    }

    fn hosts(&self) -> u64 {
        STATES.iter().map(|state| self.count(state)).sum()
    }

    /// Whether nothing more becomes of it: what has been stopped or cancelled is given to no more hosts.
    fn is_over(&self) -> bool {
        self.count("sent") == 0 && (self.count("waiting") == 0 || self.state != "open")
    }

    fn is_done(&self) -> bool {
        self.count("done") == self.hosts()
    }

    /// `2 waiting, 1 sent, 5 done`
    fn told(&self) -> String {
        counted(&STATES.map(|state| (self.count(state), state)))
    }

    /// `8 hosts: 2 waiting, 5 done, 1 failed; it was stopped`
    fn told_at_the_end(&self) -> String {
        let many = if self.hosts() == 1 { "host" } else { "hosts" };
        let why = match self.state.as_str() {
            "stopped" => "; it was stopped, for more hosts failed than may",
            "cancelled" => "; it was cancelled",
            _ => "",
        };
        format!("{} {many}: {}{why}", self.hosts(), self.told())
    }

    fn draw(&self, bar: &ProgressBar) {
        let over = self.hosts() - self.count("waiting") - self.count("sent");
        bar.set_length(self.hosts());
        bar.set_position(over);
        bar.set_message(self.told());
    }
}

impl Host {
    fn is_over(&self) -> bool {
        !["waiting", "sent"].contains(&self.state.as_str())
    }

    /// `web-1  done`, `web-2  failed 3016 checksum mismatch`
    fn line(&self) -> String {
        let name = self.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&self.id);
        let is_told = self.state != "done";
        let errcode = self.errcode.filter(|_| is_told).map_or_else(String::new, |code| format!(" {code}"));
        let message = self.message.as_deref().filter(|message| is_told && !message.is_empty());
        format!("{name}  {}{errcode}{}", self.state, message.map_or_else(String::new, |m| format!(" {m}")))
    }
}

/// A job is a table of its hosts with a head. Whether every host has done it.
fn print(client: &Client, body: &[u8], output: Output) -> Result<bool, Error> {
    let job = Job::parse(client, body)?;
    let mut out = io::stdout().lock();
    match output {
        Output::Json => output::json(&mut out, body)?,
        Output::Ndjson => job.hosts.iter().try_for_each(|host| writeln!(out, "{}", host.get()))?,
        Output::Table => {
            let fields = serde_json::from_slice(body).map_err(|error| client.not_polaris(&error))?;
            output::print_table(&mut out, output::fields_of(&head(fields)))?;
            writeln!(out)?;
            let mut hosts = output::columns();
            hosts.set_header(["HOST", "STATE", "SENT", "ENDED", "ERRCODE", "MESSAGE"]);
            for entry in &job.hosts {
                let entry: Value =
                    serde_json::from_str(entry.get()).map_err(|error| client.not_polaris(&error))?;
                let name = if cell(&entry["name"]) == "-" { &entry["host"] } else { &entry["name"] };
                let (sent, ended) = (ago(&entry["sent"]), ago(&entry["ended"]));
                let [state, errcode, message] = ["state", "errcode", "message"].map(|key| cell(&entry[key]));
                hosts.add_row([cell(name), state, sent, ended, errcode, message]);
            }
            output::print_table(&mut out, hosts)?;
        }
    }
    out.flush()?;
    Ok(job.is_done())
}

/// The job's own fields, with those that its hosts get as `job.NAME`, but for what stands above already.
fn head(mut fields: Map<String, Value>) -> Map<String, Value> {
    fields.remove("hosts");
    if let Some(Value::Object(counts)) = fields.remove("counts") {
        let count = |state| counts.get(state).and_then(Value::as_u64).unwrap_or_default();
        fields.insert("hosts".into(), counted(&STATES.map(|state| (count(state), state))).into());
    }
    if let Some(Value::Object(job)) = fields.remove("job") {
        let news = job.into_iter().filter(|(key, value)| fields.get(key) != Some(value)).collect::<Vec<_>>();
        fields.extend(news.into_iter().map(|(key, value)| (format!("job.{key}"), value)));
    }
    fields
}

/// Ctrl-C leaves the hosts at work: say so, how to look at it and how to end it.
fn explain_interrupts(id: &str, bar: &ProgressBar) {
    let (id, bar) = (printable(id), bar.clone());
    // Where no handler can be set, Ctrl-C still ends the program, only without the words.
    let _ = ctrlc::set_handler(move || {
        bar.finish_and_clear();
        let _ = writeln!(
            io::stderr(),
            "\npolarisctl: the job goes on; see what becomes of it with: polarisctl boot job {id} --follow\n\
             or take it back from hosts that have not fetched it with: polarisctl boot cancel {id}"
        );
        std::process::exit(INTERRUPTED);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(state: &str, counts: &Value) -> Job {
        serde_json::from_value(json!({"state": state, "counts": counts, "hosts": []})).unwrap()
    }

    #[test]
    fn a_job_is_over_when_no_host_has_it_and_none_gets_it() {
        for (state, counts, is_over, is_done) in [
            ("open", json!({"waiting": 1, "sent": 0, "done": 2}), false, false),
            ("open", json!({"waiting": 0, "sent": 1, "done": 2}), false, false),
            ("ended", json!({"done": 3}), true, true),
            ("ended", json!({"done": 2, "failed": 1}), true, false),
            ("ended", json!({"done": 2, "expired": 1}), true, false),
            ("stopped", json!({"waiting": 3, "sent": 1, "failed": 1}), false, false),
            ("stopped", json!({"waiting": 3, "sent": 0, "failed": 1}), true, false),
            ("cancelled", json!({"sent": 1, "cancelled": 3}), false, false),
            ("cancelled", json!({"done": 1, "cancelled": 3}), true, false),
        ] {
            let job = job(state, &counts);
            assert_eq!((job.is_over(), job.is_done()), (is_over, is_done), "{state} {counts}");
        }
        let stopped = job("stopped", &json!({"waiting": 3, "failed": 1, "done": 1}));
        let told = "5 hosts: 3 waiting, 1 done, 1 failed; it was stopped, for more hosts failed than may";
        assert_eq!(stopped.told_at_the_end(), told);
    }

    #[test]
    fn of_a_job_s_fields_none_is_shown_twice() {
        let fields = json!({"id": "j", "action": "install", "name": "a", "counts": {"done": 2, "failed": 0},
            "hosts": [{}], "job": {"action": "install", "name": "a", "url": "/packages/a.deb"}});
        let Value::Object(fields) = fields else { panic!() };
        let expected = json!({"id": "j", "action": "install", "name": "a", "hosts": "2 done",
            "job.url": "/packages/a.deb"});
        assert_eq!(json!(head(fields)), expected);
    }
}
