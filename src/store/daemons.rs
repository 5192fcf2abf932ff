//! Table `daemon`: what each is to be, and how far it has come.

use super::jobs::process;
use super::{Store, StoreError, definition, outbox, text};
use crate::machine::Process;
use crate::wire::DaemonInit;
use crate::wire::daemon::Wanted;
use rusqlite::types::Value as Sql;
use rusqlite::{Row, params_from_iter};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A daemon, as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonRow {
    pub init: Arc<DaemonInit>,
    pub wanted: Wanted,
    /// What runs is to be replaced.
    pub renew: bool,
    /// The supervisor's own word.
    pub state: String,
    /// Milliseconds since 1970.
    pub since: u64,
    pub restarts: u32,
    pub reason: Option<String>,
    pub family: Option<String>,
    pub main: Option<Process>,
    pub boot: Option<String>,
    /// What its processes were started for.
    pub started: Option<Arc<DaemonInit>>,
    /// The definition that came up last.
    pub good: Option<Arc<DaemonInit>>,
    /// The package that is installed, in its keeper's own words.
    pub installed: Option<String>,
}

/// One whose definition cannot be read, and what is known of its processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableDaemon {
    pub name: String,
    pub family: Option<String>,
    pub main: Option<Process>,
    pub boot: Option<String>,
}

/// The columns of a definition, of which those of [`OBJECTS`] are JSON.
const DEFINITION: [&str; 23] = [
    "name",
    "version",
    "url",
    "checksum",
    "precheck",
    "precheck_retries",
    "start",
    "start_delay",
    "stop",
    "stop_timeout",
    "check",
    "check_interval",
    "user",
    "group",
    "pidfile",
    "socket",
    "env",
    "limits",
    "check_timeout",
    "check_failures",
    "heartbeat",
    "max_restarts",
    "restart_window",
];
const OBJECTS: [&str; 2] = ["env", "limits"];
/// The others, but for the two times that the database sets itself.
const PROGRESS: [&str; 13] = [
    "wanted",
    "renew",
    "state",
    "since",
    "restarts",
    "reason",
    "family",
    "pid",
    "pid_start",
    "boot",
    "started",
    "good",
    "installed",
];

impl Store {
    /// Every daemon, and those that cannot be read.
    #[allow(clippy::type_complexity, reason = "two lists of what one table holds")]
    pub fn daemons(&self) -> Result<(Vec<DaemonRow>, Vec<UnreadableDaemon>), StoreError> {
        let columns = columns().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ");
        let mut rows = self.db.prepare(&format!("SELECT {columns} FROM daemon ORDER BY name"))?;
        let mut rows = rows.query([])?;
        let (mut daemons, mut unreadable) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next()? {
            match read(row) {
                Some(daemon) => daemons.push(daemon),
                None => unreadable.push(UnreadableDaemon {
                    name: text(row, 0),
                    family: row.get("family").unwrap_or_default(),
                    main: process(row, DEFINITION.len() + 7),
                    boot: row.get("boot").unwrap_or_default(),
                }),
            }
        }
        Ok((daemons, unreadable))
    }

    /// Makes or changes a daemon, and with it puts an event into the outbox, where there is one.
    /// Returns the bytes that this takes there. `is_promise` survives a loss of power.
    pub fn save_daemon(
        &mut self,
        row: &DaemonRow,
        is_promise: bool,
        event: Option<impl FnOnce(u64) -> Vec<u8>>,
    ) -> Result<Option<usize>, StoreError> {
        let values = values(row);
        let work = |db: &rusqlite::Transaction<'_>| {
            let names = columns().map(|column| format!("`{column}`")).collect::<Vec<_>>();
            let changes = names.iter().skip(1).map(|name| format!("{name} = excluded.{name}"));
            let changes = changes.collect::<Vec<_>>().join(", ");
            let places = vec!["?"; names.len()].join(", ");
            db.prepare_cached(&format!(
                "INSERT INTO daemon ({}) VALUES ({places}) ON CONFLICT (name) DO UPDATE SET {changes}, \
                 gmt_modify = CURRENT_TIMESTAMP",
                names.join(", ")
            ))?
            .execute(params_from_iter(values))?;
            event.map(|frame| outbox::add(db, true, frame)).transpose()
        };
        if is_promise { self.promise(work) } else { self.together(work) }
    }

    /// Forgets a daemon, and puts an event into the outbox where there is one. Returns the bytes that
    /// this takes there.
    pub fn forget_daemon(
        &mut self,
        name: &str,
        event: Option<impl FnOnce(u64) -> Vec<u8>>,
    ) -> Result<Option<usize>, StoreError> {
        self.promise(|db| {
            db.execute("DELETE FROM daemon WHERE name = ?", [name])?;
            event.map(|frame| outbox::add(db, true, frame)).transpose()
        })
    }
}

fn columns() -> impl Iterator<Item = &'static str> {
    DEFINITION.into_iter().chain(PROGRESS)
}

fn values(row: &DaemonRow) -> Vec<Sql> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(&*row.init) else {
        unreachable!("the wire's types always serialise, and a definition is an object")
    };
    let defined = DEFINITION.map(|column| match fields.remove(column) {
        None | Some(Value::Null) => Sql::Null,
        Some(Value::Number(number)) => number.as_i64().map_or(Sql::Null, Sql::Integer),
        Some(Value::String(text)) => Sql::Text(text),
        Some(other) => Sql::Text(other.to_string()),
    });
    let text = |text: &Option<String>| text.clone().map_or(Sql::Null, Sql::Text);
    let kept = |init: &Option<Arc<DaemonInit>>| {
        init.as_ref().map_or(Sql::Null, |init| Sql::Text(definition(&**init)))
    };
    let number = |number: u64| Sql::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let progress = [
        Sql::Text(row.wanted.name().to_owned()),
        Sql::Integer(row.renew.into()),
        Sql::Text(row.state.clone()),
        number(row.since),
        Sql::Integer(row.restarts.into()),
        text(&row.reason),
        text(&row.family),
        row.main.map_or(Sql::Null, |main| Sql::Integer(main.pid.into())),
        row.main.map_or(Sql::Null, |main| number(main.start)),
        text(&row.boot),
        kept(&row.started),
        kept(&row.good),
        text(&row.installed),
    ];
    defined.into_iter().chain(progress).collect()
}

fn read(row: &Row<'_>) -> Option<DaemonRow> {
    let mut fields = Map::new();
    for (place, column) in DEFINITION.into_iter().enumerate() {
        let value = match row.get::<_, Sql>(place).ok()? {
            Sql::Null => continue,
            Sql::Integer(number) => number.into(),
            Sql::Text(text) if OBJECTS.contains(&column) => serde_json::from_str(&text).ok()?,
            Sql::Text(text) => text.into(),
            Sql::Real(_) | Sql::Blob(_) => return None,
        };
        fields.insert(column.to_owned(), value);
    }
    let first = DEFINITION.len();
    let optional = |place: usize| row.get::<_, Option<String>>(first + place).unwrap_or_default();
    let kept = |place: usize| Some(Arc::new(serde_json::from_str(&optional(place)?).ok()?));
    Some(DaemonRow {
        init: Arc::new(serde_json::from_value(fields.into()).ok()?),
        wanted: Wanted::named(&text(row, first))?,
        renew: row.get(first + 1).unwrap_or_default(),
        state: text(row, first + 2),
        since: row.get(first + 3).unwrap_or_default(),
        restarts: row.get(first + 4).unwrap_or_default(),
        reason: optional(5),
        family: optional(6),
        main: process(row, first + 7),
        boot: optional(9),
        started: kept(10),
        good: kept(11),
        installed: optional(12),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(name: &str) -> DaemonRow {
        let init = json!({
            "name": name, "version": "1.0", "url": "http://x/a.deb", "start": "a", "stop": "kill:TERM",
            "user": 1000, "env": {"A": "1"}, "limits": {"cpu": "5%", "memory": "100M"}
        });
        let init: Arc<DaemonInit> = Arc::new(serde_json::from_value(init).unwrap());
        DaemonRow {
            wanted: Wanted::Stoped,
            renew: true,
            state: "running".into(),
            since: 12,
            restarts: 3,
            reason: Some("why".into()),
            family: Some("a.1".into()),
            main: Some(Process { pid: 7, start: 99 }),
            boot: Some("b".into()),
            started: Some(init.clone()),
            good: None,
            installed: Some("{}".into()),
            init,
        }
    }

    #[test]
    fn a_daemon_is_read_as_it_was_saved() {
        let mut store = Store::in_memory().unwrap();
        let none = None::<fn(u64) -> Vec<u8>>;
        for (name, is_promise) in [("b", true), ("a", false)] {
            assert_eq!(store.save_daemon(&row(name), is_promise, none).unwrap(), None);
        }
        let mut changed = row("b");
        changed.wanted = Wanted::Removed;
        (changed.main, changed.family, Arc::make_mut(&mut changed.init).env) = (None, None, [].into());
        let bytes = store.save_daemon(&changed, false, Some(|seq: u64| seq.to_string().into_bytes()));
        assert_eq!(bytes.unwrap(), Some(1));
        assert_eq!(store.daemons().unwrap(), (vec![row("a"), changed], vec![]));
        assert_eq!(store.results_after(0, 9, 9).unwrap()[0].frame, b"1");
        store.forget_daemon("b", Some(|_| b"gone".to_vec())).unwrap();
        assert_eq!(store.daemons().unwrap().0.len(), 1);
        assert_eq!(store.outbox_weight().unwrap().results, 2);
    }

    #[test]
    fn one_that_cannot_be_read_does_not_hide_the_others() {
        let mut store = Store::in_memory().unwrap();
        for name in ["a", "b", "c"] {
            store.save_daemon(&row(name), false, None::<fn(u64) -> Vec<u8>>).unwrap();
        }
        store.db.execute("UPDATE daemon SET env = '{' WHERE name = 'a'", []).unwrap();
        store.db.execute("UPDATE daemon SET stop_timeout = 0 WHERE name = 'c'", []).unwrap();
        let (daemons, unreadable) = store.daemons().unwrap();
        let of = |name: &str| UnreadableDaemon {
            name: name.to_owned(),
            family: row(name).family,
            main: row(name).main,
            boot: row(name).boot,
        };
        assert_eq!((daemons, unreadable), (vec![row("b")], vec![of("a"), of("c")]));
    }
}
