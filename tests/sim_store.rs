//! The agent over a database that fails, and over one whose rows were changed
//! behind its back. No socket, no child, no sleep.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

mod sim;

use aspire::gearman::Gearman;
use aspire::machine::limits::STORE_REOPEN;
use aspire::machine::{ChildId, ConnId, Effect, Event, Exit, Process, Stream};
use aspire::store::{NewJob, Store};
use aspire::wire::frame::encode;
use aspire::wire::session::{Frame, FromAgent};
use aspire::wire::{JobResult, Outcome, Retcode};
use rusqlite::Connection;
use serde_json::{Value, json};
use sim::agent::{frames, reply};
use sim::{Rig, gearman_with, root};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A ready agent over a real file, whose disk is full when that is wanted.
struct Agent {
    rig: Rig<Gearman>,
    conn: ConnId,
    full: Arc<AtomicBool>,
}

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gearman.db");
    (folder, path)
}

fn open(path: &std::path::Path) -> Store {
    Store::open(path, SystemTime::UNIX_EPOCH).unwrap()
}

fn agent(mut store: Store) -> (Agent, Vec<Effect>) {
    let full = Arc::new(AtomicBool::new(false));
    let is_full = full.clone();
    store.before_each_change(move || !is_full.load(Ordering::SeqCst)).unwrap();
    let mut rig = gearman_with("[link]\nserver = \"10.0.0.1\"", root(), 1, Ok(store));
    let effects = rig.event(Event::Tick);
    let conn = effects.iter().find_map(|effect| match effect {
        Effect::Connect { conn, .. } => Some(*conn),
        _ => None,
    });
    let conn = conn.expect("it connects");
    rig.event(Event::Connected(conn));
    let effects = rig.event(Event::Received(conn, &encode(&Frame::Ready { heartbeat: 3600, facts: None })));
    (Agent { rig, conn, full }, effects)
}

impl Agent {
    fn asks(&mut self, frame: &Value) -> Vec<Effect> {
        let frame = encode(frame);
        self.rig.event(Event::Received(self.conn, &frame))
    }

    fn disk_is_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    fn starts_job(&mut self, id: &str, more: &Value) -> ChildId {
        let mut job = json!({"id": id, "method": "async.bash", "cmd": "x"});
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let effects = self.asks(&job);
        let child = effects.iter().find_map(|effect| match effect {
            Effect::Spawn { child, .. } => Some(*child),
            _ => None,
        });
        let child = child.expect("it starts");
        self.rig.event(Event::Started(child, Some(Process { pid: 7, start: 7 })));
        child
    }

    fn ends(&mut self, child: ChildId) -> Vec<Effect> {
        let mut effects = self.rig.event(Event::OutputEnded(child, Stream::Out));
        effects.extend(self.rig.event(Event::OutputEnded(child, Stream::Err)));
        effects.extend(self.rig.event(Event::Exited(child, Exit::Code(0))));
        effects
    }

    /// Ticks for so long, and says what came and how often it woke up.
    fn waits(&mut self, time: Duration) -> (Vec<Effect>, usize) {
        use aspire::machine::Machine as _;
        let (end, mut effects, mut turns) = (self.rig.now.mono + time, Vec::new(), 0);
        while self.rig.machine.deadline().is_some_and(|deadline| deadline <= end) {
            effects.extend(self.rig.tick());
            turns += 1;
            assert!(turns < 10_000, "it spins");
        }
        self.rig.set_time(end);
        (effects, turns)
    }
}

fn results(effects: &[Effect]) -> Vec<JobResult> {
    let result = |frame| match frame {
        FromAgent::Result(result) => Some(*result),
        _ => None,
    };
    frames(effects).into_iter().filter_map(result).collect()
}

fn ack(seq: u64) -> Value {
    json!({"method": "ack", "seq": seq})
}

#[test]
fn while_the_disk_is_full_commands_run_jobs_are_refused_and_ends_are_kept() {
    let (mut agent, _) = agent(open(&place().1));
    let child = agent.starts_job("a", &json!({}));
    agent.disk_is_full(true);
    let (id, outcome) = reply(&agent.asks(&json!({"id": "b", "method": "async.bash", "cmd": "x"})));
    assert_eq!((id.as_str(), outcome.retcode), ("b", 3201));
    let (_, outcome) = reply(&agent.asks(&json!({
        "id": "c", "method": "cron.set", "name": "n", "schedule": "* * * * * *", "cmd": "x"
    })));
    assert_eq!(outcome.retcode, 3201);
    assert!(results(&agent.ends(child)).is_empty());
    let (effects, turns) = agent.waits(Duration::from_secs(60));
    assert!(results(&effects).is_empty());
    assert!(turns <= 130, "{turns} wake-ups in a minute");
    let effects = agent.asks(&json!({"id": "s", "method": "sync.bash", "cmd": "x"}));
    assert!(matches!(effects[..], [Effect::Spawn { .. }]), "{effects:?}");
    agent.disk_is_full(false);
    let (effects, _) = agent.waits(Duration::from_secs(3));
    let [result] = &results(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((result.id.as_str(), result.outcome.retcode), ("a", 2));
    agent.asks(&ack(result.seq));
    let (_, outcome) = reply(&agent.asks(&json!({"id": "d", "method": "agent.info"})));
    let info: Value = serde_json::from_str(outcome.data.unwrap().get()).unwrap();
    assert_eq!((&info["results"], &info["jobs"]), (&json!(0), &json!(0)));
}

/// With the next heartbeat a minute later, and nobody has to know.
#[test]
fn a_database_that_could_not_be_opened_is_opened_as_soon_as_it_can_be() {
    let (_folder, path) = place();
    std::fs::create_dir(&path).unwrap();
    let store = format!("[store]\npath = {:?}", path.display());
    let mut agent = sim::agent::Agent::new(&store);
    let job = |id: &str| json!({"id": id, "method": "async.bash", "cmd": "true"});
    assert_eq!(reply(&agent.asks(&job("refused"))).1.retcode, Retcode::StorageFailure.code());
    std::fs::remove_dir(&path).unwrap();
    agent.rig.pass(STORE_REOPEN / 2);
    assert_eq!(reply(&agent.asks(&job("too soon"))).1.retcode, Retcode::StorageFailure.code());
    agent.rig.pass(STORE_REOPEN / 2);
    let effects = agent.asks(&job("accepted"));
    assert_eq!(reply(&effects).1.retcode, Retcode::Accepted.code());
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Spawn { .. })), "{effects:?}");
}

#[test]
fn a_job_cancelled_twice_on_a_full_disk_has_one_result() {
    let (mut agent, _) = agent(open(&place().1));
    let child = agent.starts_job("fails", &json!({"retries": 1, "retry_delay": 1000}));
    agent.rig.event(Event::OutputEnded(child, Stream::Out));
    agent.rig.event(Event::OutputEnded(child, Stream::Err));
    agent.rig.event(Event::Exited(child, Exit::Code(1)));
    agent.disk_is_full(true);
    for id in ["c1", "c2"] {
        agent.asks(&json!({"id": id, "method": "job.cancel", "job": "fails"}));
    }
    agent.disk_is_full(false);
    let (effects, _) = agent.waits(Duration::from_secs(5));
    let results = results(&effects);
    assert_eq!(results.len(), 1, "{results:?}");
    assert_eq!(results[0].outcome.retcode, 3108);
    let mut answered: Vec<_> = sim::agent::replies(&effects).into_iter().map(|(id, _)| id).collect();
    answered.sort();
    assert_eq!(answered, ["c1", "c2"]);
}

#[test]
fn what_ended_while_the_disk_was_full_is_stored_before_the_agent_stops() {
    let (_folder, path) = place();
    let (mut agent, _) = agent(open(&path));
    let child = agent.starts_job("a", &json!({}));
    agent.disk_is_full(true);
    agent.ends(child);
    agent.disk_is_full(false);
    agent.rig.event(Event::Signal(aspire::machine::Signal::Stop));
    drop(agent);
    assert_eq!(open(&path).outbox_weight().unwrap().results, 1);
}

#[test]
fn an_acknowledgement_that_the_disk_did_not_take_is_not_forgotten() {
    let (_folder, path) = place();
    let (mut agent, _) = agent(open(&path));
    for n in 0..100 {
        let child = agent.starts_job(&n.to_string(), &json!({}));
        agent.ends(child);
    }
    agent.disk_is_full(true);
    let mut sent = 0;
    for seq in 1..=64 {
        sent += results(&agent.asks(&ack(seq))).len();
    }
    assert_eq!(sent, 0, "a window that the disk cannot shrink is full");
    let (_, turns) = agent.waits(Duration::from_secs(10));
    assert!(turns <= 25, "{turns}");
    agent.disk_is_full(false);
    let (effects, _) = agent.waits(Duration::from_secs(3));
    let numbers: Vec<u64> = results(&effects).iter().map(|result| result.seq).collect();
    assert_eq!(numbers, (65..=100).collect::<Vec<_>>());
    for seq in 65..=100 {
        agent.asks(&ack(seq));
    }
    agent.waits(Duration::from_secs(3));
    drop(agent);
    assert_eq!(open(&path).outbox_weight().unwrap().results, 0);
}

#[test]
fn replies_that_the_disk_did_not_take_are_written_later() {
    let (_folder, path) = place();
    let (mut agent, _) = agent(open(&path));
    agent.asks(&json!({"id": "a", "method": "agent.info"}));
    let effects = agent.asks(&json!({"id": "s", "method": "sync.bash", "cmd": "x"}));
    let [Effect::Spawn { child, .. }] = effects[..] else { panic!("{effects:?}") };
    agent.rig.event(Event::Started(child, None));
    agent.disk_is_full(true);
    agent.ends(child);
    let (_, turns) = agent.waits(Duration::from_secs(10));
    assert!(turns <= 25, "{turns}");
    agent.disk_is_full(false);
    agent.waits(Duration::from_secs(3));
    drop(agent);
    let store = open(&path);
    let requests = store.requests().unwrap();
    let [(place, id, true)] = &requests[..] else { panic!("{requests:?}") };
    assert!(id == "s" && store.reply(*place).unwrap().is_some());
}

/// A job runs, begun by an earlier agent's acceptance, whose answer the server never got.
fn running_and_unanswered() -> (Agent, ChildId) {
    let mut store = open(&place().1);
    let job = serde_json::from_value(json!({"command": {"cmd": "x"}, "terms": {}})).unwrap();
    store.accept(&NewJob { id: "a", job: &job, accepted: SystemTime::UNIX_EPOCH, origin: None }).unwrap();
    let full = Arc::default();
    let mut rig = gearman_with("[link]\nserver = \"10.0.0.1\"", root(), 1, Ok(store));
    let effects = rig.event(Event::Tick);
    let [conn, child] = [0, 1].map(|which| {
        let found = effects.iter().find_map(|effect| match (which, effect) {
            (0, Effect::Connect { conn, .. }) => Some(conn.0),
            (1, Effect::Spawn { child, .. }) => Some(child.0),
            _ => None,
        });
        found.expect("it connects, and starts the job")
    });
    let (conn, child) = (ConnId(conn), ChildId(child));
    rig.event(Event::Started(child, Some(Process { pid: 7, start: 7 })));
    rig.event(Event::Connected(conn));
    rig.event(Event::Received(conn, &encode(&Frame::Ready { heartbeat: 3600, facts: None })));
    (Agent { rig, conn, full }, child)
}

#[test]
fn an_answer_about_a_running_job_is_not_its_end() {
    for (request, retcode) in [
        (json!({"id": "a", "method": "async.bash", "cmd": "x"}), 1),
        (json!({"id": "a", "method": "sync.bash", "cmd": "x"}), 3021),
        (json!({"id": "a", "method": "job.status", "job": "a"}), 2),
        (json!({"id": "a", "method": "job.cancel", "job": "nobody"}), 3024),
    ] {
        let (mut agent, child) = running_and_unanswered();
        let effects = agent.asks(&request);
        assert_eq!(reply(&effects).1.retcode, retcode, "{request}");
        let [result] = &results(&agent.ends(child))[..] else { panic!("{request}: no result") };
        assert_eq!((result.id.as_str(), result.outcome.retcode, result.run.attempts), ("a", 2, 1));
    }
}

/// Three jobs that wait, three that have ended, and an agent that never stopped in order.
fn changed(sql: &str) -> (TempDir, PathBuf) {
    let (folder, path) = place();
    let mut store = open(&path);
    let job = json!({"command": {"cmd": "x"}, "terms": {"ttl": 1000}});
    let job = serde_json::from_value(job).unwrap();
    for n in 0..6 {
        let (id, accepted) = (n.to_string(), SystemTime::UNIX_EPOCH);
        store.accept(&NewJob { id: &id, job: &job, accepted, origin: None }).unwrap();
        if n < 3 {
            store.attempt(&id, accepted).unwrap();
            let outcome = Outcome::new(Retcode::NormalTermination);
            store.end_job(&id, accepted, &outcome, |result| encode(&Frame::Result(result))).unwrap();
        }
        store.keep_requests(|rows| rows.begun(&id, accepted).map(drop)).unwrap();
    }
    let timing = json!({"name": "n", "schedule": "* * * * * *", "timezone": "UTC"});
    let entry = serde_json::from_value(json!({"timing": timing, "job": job})).unwrap();
    store.set_entry(&entry, SystemTime::UNIX_EPOCH).unwrap();
    drop(store);
    let db = Connection::open(&path).unwrap();
    db.execute_batch(sql).unwrap();
    drop(db);
    (folder, path)
}

#[test]
fn a_row_that_cannot_be_read_costs_that_row_alone() {
    for sql in [
        "UPDATE job SET definition = '{\"comman' WHERE id = '4'",
        "UPDATE job SET definition = x'ff00ff' WHERE id = '4'",
        "UPDATE job SET definition = CAST(x'7bff7d' AS TEXT) WHERE id = '4'",
        "UPDATE job SET state = 'queueD' WHERE id = '4'",
        "UPDATE job SET state = x'00' WHERE id = '4'",
        "UPDATE job SET accepted = 'soon' WHERE id = '4'",
        "UPDATE job SET accepted = -1, due = 9223372036854775807 WHERE id = '4'",
        "UPDATE job SET attempts = -5 WHERE id = '4'",
        "UPDATE job SET id = CAST(x'ff' AS TEXT) WHERE id = '4'",
        "UPDATE request SET id = CAST(x'ff' AS TEXT) WHERE id = '4'",
        "UPDATE request SET id = x'ff' WHERE id = '4'",
        "UPDATE cron SET last = 'never'",
        "UPDATE cron SET last = 9223372036854775807",
        "UPDATE cron SET definition = x'00'",
        "UPDATE outbox SET bytes = 'many' WHERE seq = 2",
        "UPDATE outbox SET bytes = -1000000 WHERE seq = 2",
    ] {
        let (_folder, path) = changed(sql);
        let (mut agent, mut effects) = agent(open(&path));
        let (id, outcome) = reply(&agent.asks(&json!({"id": "list", "method": "job.list"})));
        assert_eq!((id.as_str(), outcome.retcode), ("list", 2), "{sql}: {outcome:?}");
        let list: Value = serde_json::from_str(outcome.data.unwrap().get()).unwrap();
        assert_eq!(list["jobs"].as_array().unwrap().len(), 6, "{sql}: {list}");
        let accepted = agent.asks(&json!({"id": "new", "method": "async.bash", "cmd": "x"}));
        assert_eq!(sim::agent::replies(&accepted)[0].1.retcode, 1, "{sql}");
        effects.extend(accepted);
        effects.extend(agent.waits(Duration::from_secs(10)).0);
        let sent = results(&effects);
        assert!(sent.len() >= 3, "{sql}: {sent:?}");
    }
}

/// A frame that is none would end the link, on every link anew.
#[test]
fn a_result_that_cannot_be_read_is_told_as_such_and_stops_nothing() {
    for sql in [
        "UPDATE outbox SET frame = x'ff' WHERE seq = 2",
        "UPDATE outbox SET frame = '' WHERE seq = 2",
        "UPDATE outbox SET frame = substr(frame, 1, 60) WHERE seq = 2",
        "UPDATE outbox SET frame = CAST(replace(frame, 'retcode', 'ret\"ode') AS BLOB) WHERE seq = 2",
        "UPDATE outbox SET frame = CAST(replace(frame, 'retcode', char(10)) AS BLOB) WHERE seq = 2",
        "UPDATE outbox SET frame = CAST(replace(frame, '\"seq\":2', '\"seq\":9') AS BLOB) WHERE seq = 2",
        "UPDATE outbox SET frame = 7 WHERE seq = 2",
    ] {
        let (_folder, path) = changed(sql);
        let (mut agent, effects) = agent(open(&path));
        let sent = results(&effects);
        let known: Vec<u64> = sent.iter().map(|result| result.seq).collect();
        if known == [1, 2, 3] {
            assert_eq!((sent[1].id.as_str(), sent[1].outcome.retcode), ("1", 3201), "{sql}");
        } else {
            assert_eq!(known, [1, 3], "{sql}");
        }
        for seq in known {
            agent.asks(&ack(seq));
        }
        let (_, outcome) = reply(&agent.asks(&json!({"id": "d", "method": "agent.info"})));
        let info: Value = serde_json::from_str(outcome.data.unwrap().get()).unwrap();
        assert_eq!(info["results"], json!(0), "{sql}");
    }
}

#[test]
fn a_reply_that_cannot_be_read_is_no_frame_for_the_server() {
    for sql in [
        "INSERT INTO reply SELECT place, x'ff' FROM request",
        "INSERT INTO reply SELECT place, 'null' FROM request",
        "INSERT INTO reply SELECT place, 7 FROM request",
    ] {
        let (_folder, path) = changed(sql);
        let (mut agent, _) = agent(open(&path));
        let effects = agent.asks(&json!({"id": "0", "method": "sync.bash", "cmd": "x"}));
        assert_eq!(reply(&effects).1.retcode, 3110, "{sql}");
    }
}

/// Whatever a disk makes of the rows: the agent answers, and says nothing that is no frame.
#[test]
fn flipped_bits_never_stop_the_agent() {
    let (_folder, path) = changed("");
    let bytes = std::fs::read(&path).unwrap();
    let rows: Vec<usize> = (100..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..500 {
        let mut flipped = bytes.clone();
        for _ in 0..=round % 3 {
            flipped[rows[random.usize(..rows.len())]] ^= 1 << random.u8(..8);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gearman.db");
        std::fs::write(&path, &flipped).unwrap();
        let (mut agent, effects) = agent(open(&path));
        frames(&effects);
        let (later, _) = agent.waits(Duration::from_secs(5));
        frames(&later);
        for (method, more) in [
            ("job.list", json!({})),
            ("job.status", json!({"job": "1"})),
            ("cron.list", json!({})),
            ("agent.info", json!({})),
            ("async.bash", json!({"cmd": "x"})),
        ] {
            let mut request = json!({"id": method, "method": method});
            request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let effects = agent.asks(&request);
            let retcode = sim::agent::replies(&effects)[0].1.retcode;
            assert!([1, 2, 3024].contains(&retcode), "round {round}: {method}: {retcode}");
        }
        frames(&agent.asks(&json!({"id": "1", "method": "sync.bash", "cmd": "x"})));
        for seq in 1..=4 {
            agent.asks(&ack(seq));
        }
    }
}
