use super::*;
use crate::machine::{ChildId, Effect, Exit, Program, Question, StartError, Stream, Task};
use crate::wire::GetInfoParams;
use std::time::{Duration, SystemTime};

fn at(milliseconds: u64) -> Now {
    Now { mono: Instant(Duration::from_millis(milliseconds)), wall: SystemTime::UNIX_EPOCH }
}

fn question(query: &str) -> GetInfo {
    GetInfo { query: query.into(), params: GetInfoParams { args: "-A".into(), timeout: 5 } }
}

/// A table, and the child of each query that it began.
struct Rig {
    queries: Queries,
    fx: Effects,
    answered: Vec<Answered>,
}

impl Rig {
    fn new() -> Rig {
        Rig { queries: Queries::new("/plugins".into()), fx: Effects::default(), answered: Vec::new() }
    }

    fn ask(&mut self, id: &str) -> Option<Answered> {
        self.queries.submit(at(0), id.into(), question("users"), &mut self.fx)
    }

    fn begun(&mut self) -> Vec<(ChildId, Question)> {
        let begun = |effect| match effect {
            Effect::Spawn { child, program: Program::Task(Task::Ask(question)) } => Some((child, question)),
            _ => None,
        };
        self.fx.take().into_iter().filter_map(begun).collect()
    }

    fn event(&mut self, milliseconds: u64, event: &Event<'_>) {
        self.queries.handle(at(milliseconds), event, &mut self.fx, &mut self.answered);
    }

    /// A child whose answer is whole, in two pieces.
    fn answers(&mut self, child: ChildId, answer: &str) {
        let answer = format!("{answer}\0");
        let (begin, rest) = answer.as_bytes().split_at(answer.len() / 2);
        self.event(1, &Event::Output(child, Stream::Out, begin));
        assert!(self.answered.is_empty(), "before all that it wrote was read");
        self.event(1, &Event::Output(child, Stream::Out, rest));
    }

    /// Its process ends, too, and nothing more comes of that.
    fn is_over(&mut self, child: ChildId) {
        for stream in [Stream::Out, Stream::Err] {
            self.event(2, &Event::OutputEnded(child, stream));
        }
        self.event(2, &Event::Exited(child, Exit::Code(0)));
        assert!(self.answered.is_empty());
    }

    /// What becomes of a query: retcode, and data or detail.
    fn end(&mut self) -> (u16, String, Option<i32>, Option<i32>) {
        let (id, outcome) = self.answered.pop().expect("an end");
        assert_eq!(id, "a");
        let text = outcome.data.map(|data| data.get().to_owned()).or(outcome.detail).unwrap_or_default();
        (outcome.retcode, text, outcome.signal, outcome.exitcode)
    }

    /// What becomes of one whose plugin says this.
    fn answered(&mut self, answer: &str) -> (u16, String) {
        assert!(self.ask("a").is_none());
        let child = self.begun()[0].0;
        self.answers(child, answer);
        let (retcode, text, ..) = self.end();
        assert_eq!(self.queries.running(), 1, "its process is still there");
        self.is_over(child);
        assert_eq!(self.queries.running(), 0);
        (retcode, text)
    }

    /// What becomes of one whose child ends so: retcode, detail, signal, exit code.
    fn ended(&mut self, answer: &[u8], words: &[u8], exit: Exit) -> (u16, String, Option<i32>, Option<i32>) {
        assert!(self.ask("a").is_none());
        let child = self.begun()[0].0;
        self.event(1, &Event::Output(child, Stream::Out, answer));
        self.event(1, &Event::OutputEnded(child, Stream::Out));
        self.event(1, &Event::Exited(child, exit));
        self.event(1, &Event::Output(child, Stream::Err, words));
        assert!(self.answered.is_empty(), "before all that it wrote was read");
        self.event(1, &Event::OutputEnded(child, Stream::Err));
        self.end()
    }
}

#[test]
fn a_plugins_document_is_the_replys_data_to_the_letter() {
    let mut rig = Rig::new();
    rig.ask("a");
    let expected = Question {
        dir: "/plugins".into(),
        query: "users".into(),
        args: "-A".into(),
        most_bytes: crate::machine::limits::DOCUMENT_BYTES,
    };
    let begun = rig.begun();
    assert_eq!(begun[0].1, expected);
    rig.queries.cancel("a", "", &mut rig.fx);
    let outcome = rig.answered("{\"retcode\":2,\"data\":{\"b\": 1e2, \"a\":[ ]}}");
    assert_eq!(outcome, (2, "{\"b\": 1e2, \"a\":[ ]}".into()));
    // But a reply is one line.
    let lines = rig.answered("{\"retcode\":2,\"data\":[\n \"\\n\",\n\n1\n]}");
    assert_eq!(lines, (2, "[  \"\\n\",  1 ]".into()));
}

#[test]
fn a_plugins_reason_is_told_in_its_own_words() {
    let mut rig = Rig::new();
    let outcome = rig.answered("{\"retcode\":3021,\"detail\":\"args: -x\"}");
    assert_eq!(outcome, (3021, "args: -x".into()));
    // As if it had answered.
    let nothing = (3101, "getinfo.users: neither a document nor a reason came back".into());
    assert_eq!(rig.answered("{\"retcode\":2,\"detail\":null}"), nothing);
    assert_eq!(rig.answered("{\"retcode\":2,\"detail\":\"\"}").0, 3101);
}

#[test]
fn whatever_a_plugin_does_its_name_and_the_reason_are_told() {
    let mut rig = Rig::new();
    for (answer, words, exit, expected) in [
        (&b""[..], &b"x.so\n"[..], Exit::Signal(11), (3102, "x.so: killed by signal 11", Some(11), None)),
        (
            b"",
            b"x.so\npanicked\n",
            Exit::Signal(6),
            (3102, "x.so: killed by signal 6; it said: panicked", Some(6), None),
        ),
        (
            b"",
            b"x.so\n",
            Exit::Code(3),
            (3101, "x.so: its process ended with exit code 3 before the answer was whole", None, Some(3)),
        ),
        (
            b"{\"retcode\":2,\"da",
            b"x.so\n",
            Exit::Code(0),
            (3101, "x.so: its process ended before the answer was whole", None, Some(0)),
        ),
        (b"", b"", Exit::Signal(9), (3102, "getinfo.users: killed by signal 9", Some(9), None)),
        (
            b"{}",
            b"x.so\n",
            Exit::Code(0),
            (3101, "x.so: its process ended before the answer was whole", None, Some(0)),
        ),
    ] {
        let (retcode, text, signal, exitcode) = rig.ended(answer, words, exit);
        assert_eq!((retcode, text.as_str(), signal, exitcode), expected);
    }
}

#[test]
fn a_query_that_takes_too_long_is_killed_and_says_so() {
    let mut rig = Rig::new();
    rig.ask("a");
    let child = rig.begun()[0].0;
    rig.event(10, &Event::Output(child, Stream::Err, b"loop.so\n"));
    assert_eq!(rig.queries.deadline(), Some(at(5000).mono));
    rig.event(4999, &Event::Tick);
    assert!(rig.answered.is_empty());
    rig.event(5000, &Event::Tick);
    let (_, outcome) = rig.answered.pop().unwrap();
    assert_eq!((outcome.retcode, outcome.signal), (3104, Some(9)));
    assert_eq!(outcome.detail.as_deref(), Some("loop.so: no answer within 5 seconds"));
    let killed = [Effect::Signal { child, signal: 9 }, Effect::Release { child }];
    assert_eq!(rig.fx.take(), killed);
}

#[test]
fn what_came_from_a_plugin_and_holds_its_pipe_delays_nobody() {
    let mut rig = Rig::new();
    rig.ask("a");
    let child = rig.begun()[0].0;
    rig.event(20, &Event::Exited(child, Exit::Code(7)));
    let soon = rig.queries.deadline().unwrap();
    assert!(soon.since(at(20).mono) <= Duration::from_millis(200));
    rig.queries.handle(Now { mono: soon, ..at(0) }, &Event::Tick, &mut rig.fx, &mut rig.answered);
    assert_eq!(rig.end().0, 3101);
}

#[test]
fn a_plugin_that_stays_when_it_has_answered_is_ended_at_its_time() {
    let mut rig = Rig::new();
    rig.ask("a");
    let child = rig.begun()[0].0;
    rig.answers(child, "{\"retcode\":2,\"data\":1}");
    assert_eq!(rig.end().0, 2);
    assert!(rig.queries.cancel("a", "", &mut rig.fx).is_none(), "there is nothing to cancel");
    // The same id again is another question, and that can be cancelled.
    rig.ask("a");
    let second = rig.begun()[0].0;
    assert_eq!(rig.queries.cancel("a", "", &mut rig.fx).unwrap().1.retcode, 3108);
    assert_eq!(rig.fx.take()[0], Effect::Signal { child: second, signal: 9 });
    rig.event(5000, &Event::Tick);
    assert_eq!(rig.fx.take(), [Effect::Signal { child, signal: 9 }, Effect::Release { child }]);
    assert_eq!((rig.answered.len(), rig.queries.running()), (0, 0));
}

#[test]
fn a_child_that_cannot_be_started_is_told() {
    let mut rig = Rig::new();
    rig.ask("a");
    let child = rig.begun()[0].0;
    let error = StartError { step: "fork".into(), reason: "no memory".into() };
    rig.event(1, &Event::NotStarted(child, error));
    let (_, outcome) = rig.answered.pop().unwrap();
    assert_eq!((outcome.retcode, outcome.detail.as_deref()), (3107, Some("getinfo.users: fork: no memory")));
}

#[test]
fn beyond_the_places_queries_wait_in_order_and_beyond_that_they_are_refused() {
    let mut rig = Rig::new();
    for n in 0..QUERIES + WAITING_QUERIES {
        assert!(rig.ask(&n.to_string()).is_none(), "{n}");
    }
    let (id, outcome) = rig.ask("one more").unwrap();
    assert_eq!((id.as_str(), outcome.retcode), ("one more", 3026));
    let begun = rig.begun();
    assert_eq!((begun.len(), rig.queries.waiting()), (QUERIES, WAITING_QUERIES));
    rig.event(1, &Event::Output(begun[3].0, Stream::Out, b"{\"retcode\":2,\"data\":1}\0"));
    assert_eq!(rig.answered.pop().unwrap().0, "3");
    assert_eq!(
        (rig.begun().len(), rig.queries.waiting()),
        (0, WAITING_QUERIES),
        "its process is still there"
    );
    rig.is_over(begun[3].0);
    assert_eq!((rig.begun().len(), rig.queries.waiting()), (1, WAITING_QUERIES - 1));
    assert_eq!(rig.queries.asked(), (QUERIES + WAITING_QUERIES) as u64);
    let mut large = question("users");
    large.params.args = "x".repeat(WAITING_QUERIES_BYTES);
    let refused = rig.queries.submit(at(0), "large".into(), large, &mut rig.fx).unwrap();
    assert_eq!(refused.1.retcode, 3026);
}

#[test]
fn a_query_that_finds_no_place_in_its_time_says_so() {
    let mut rig = Rig::new();
    for n in 0..QUERIES {
        let mut patient = question("users");
        patient.params.timeout = 60;
        rig.queries.submit(at(0), n.to_string(), patient, &mut rig.fx);
    }
    rig.ask("a");
    assert_eq!(rig.queries.deadline(), Some(at(5000).mono));
    rig.event(4999, &Event::Tick);
    assert!(rig.answered.is_empty());
    rig.event(5000, &Event::Tick);
    let (retcode, detail, ..) = rig.end();
    assert_eq!((retcode, detail.as_str()), (3109, "no place was free within 5 seconds"));
    assert_eq!((rig.queries.running(), rig.queries.waiting()), (QUERIES, 0));
}

#[test]
fn queries_end_when_they_are_cancelled_whether_they_run_or_wait() {
    let mut rig = Rig::new();
    for n in 0..=QUERIES {
        rig.ask(&n.to_string());
    }
    let last = QUERIES.to_string();
    assert!(rig.queries.cancel("nobody's", "", &mut rig.fx).is_none());
    let child = rig.begun()[0].0;
    for id in ["0", last.as_str()] {
        let (cancelled, outcome) = rig.queries.cancel(id, "why", &mut rig.fx).unwrap();
        assert_eq!((cancelled.as_str(), outcome.retcode, outcome.detail.as_deref()), (id, 3108, Some("why")));
    }
    assert_eq!(rig.fx.take(), [Effect::Signal { child, signal: 9 }, Effect::Release { child }]);
    assert_eq!(rig.queries.close("the end", &mut rig.fx).len(), QUERIES - 1);
    assert_eq!((rig.queries.running(), rig.queries.waiting()), (0, 0));
    assert_eq!(rig.fx.take().len(), 2 * (QUERIES - 1), "each is killed");
    let (_, late) = rig.ask("late").unwrap();
    assert_eq!((late.retcode, late.detail.as_deref()), (3108, Some("the end")));
}
