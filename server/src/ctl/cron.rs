//! `polarisctl cron`: commands that hosts run at their times.

use super::args::{Cron, CronList, CronRemove, CronSet, CronVerb, Output};
use super::body::Body;
use super::client::Client;
use super::error::Error;
use super::output::{self, List};
use super::{requests, run};
use serde_json::Value;

/// Whether what was asked for is so.
pub fn cron(client: &Client, cron: &Cron, output: Output) -> Result<bool, Error> {
    match &cron.verb {
        None => list(client, &cron.list, output).map(|()| true),
        Some(CronVerb::List(filter)) => list(client, filter, output).map(|()| true),
        Some(CronVerb::Set(entry)) => set(client, entry, output),
        Some(CronVerb::Remove(CronRemove { whom, pace, name, queue })) => {
            let method = "cron.remove".into();
            let body = Body { method, name: Some(name), queue: *queue, ..Body::to(whom, pace) };
            run::send(client, &body, output)
        }
    }
}

fn list(client: &Client, filter: &CronList, output: Output) -> Result<(), Error> {
    let limit = filter.limit.map(|limit| limit.to_string());
    let query = [("host", &filter.host), ("name", &filter.name), ("limit", &limit), ("after", &filter.after)];
    let list = List::parse(&client.get_with(&["cron"], &query)?, "entries");
    let list = list.map_err(|reason| client.not_polaris(&reason))?;
    let head = ["NAME", "HOST", "SCHEDULE", "TIMEZONE", "NEXT", "LAST", "RETCODE", "COMMAND"];
    list.print(output, &head, |entry| {
        let of = |value: &Value| output::cell(value);
        let host = if entry["hostname"].is_null() { &entry["host"] } else { &entry["hostname"] };
        // An entry that was given as a crontab's line may have nothing else.
        let cmd = if entry["cmd"].is_null() { &entry["line"] } else { &entry["cmd"] };
        let (next, run) = (&entry["next"][0], &entry["last"]);
        let mut row = vec![of(&entry["name"]), of(host), of(&entry["schedule"]), of(&entry["timezone"])];
        row.extend([of(next), of(&run["ended"]), of(&run["retcode"]), requests::short(&of(cmd))]);
        row
    })
}

fn set(client: &Client, entry: &CronSet, output: Output) -> Result<bool, Error> {
    let body = Body::to(&entry.whom, &entry.pace).with_command(&entry.command, &entry.how)?;
    let body = Body {
        method: "cron.set".into(),
        name: Some(&entry.name),
        schedule: Some(&entry.schedule),
        timezone: entry.timezone.as_deref(),
        overlap: entry.overlap.as_deref(),
        catchup: entry.catchup,
        splay: entry.splay,
        ..body.with_patience(&entry.patience)
    };
    run::send(client, &body, output)
}
