//! What happens to a command while it runs: its output is sent, it is cancelled.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

mod sim;

use aspire::machine::{ChildId, Effect, Event, Exit, Program, Stream, Task};
use aspire::wire::Encoding;
use aspire::wire::session::{FromAgent, StreamName};
use proptest::prelude::*;
use serde_json::{Value, json};
use sim::agent::{Agent, frames, replies, reply, started, text};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// An agent with a command that is to send its output.
fn streaming(exec: &str) -> (Agent, ChildId) {
    let mut agent = Agent::new(&format!("[exec]\n{exec}"));
    let (child, _) = agent.starts("a", &json!({"stream": true}));
    (agent, child)
}

/// The pieces of output among the effects: stream, data, encoding.
fn pieces(effects: &[Effect]) -> Vec<(StreamName, String, Option<Encoding>)> {
    let piece = |frame| match frame {
        FromAgent::Output(output) => {
            assert_eq!(output.id, "a");
            Some((output.stream, output.data, output.encoding))
        }
        _ => None,
    };
    frames(effects).into_iter().filter_map(piece).collect()
}

fn plain(stream: StreamName, text: &str) -> (StreamName, String, Option<Encoding>) {
    (stream, text.into(), None)
}

#[test]
fn output_is_sent_while_the_command_runs_and_the_reply_has_it_all() {
    let (mut agent, child) = streaming("");
    let sent = pieces(&agent.rig.event(Event::Output(child, Stream::Out, b"one\n")));
    assert_eq!(sent, [plain(StreamName::Stdout, "one\n")]);
    // What comes soon after waits a little, for company.
    assert_eq!(agent.rig.event(Event::Output(child, Stream::Err, b"two\n")), []);
    assert_eq!(agent.rig.event(Event::Output(child, Stream::Out, b"three")), []);
    let before = agent.rig.now.mono;
    let sent = pieces(&agent.rig.tick());
    assert_eq!(sent, [plain(StreamName::Stdout, "three"), plain(StreamName::Stderr, "two\n")]);
    assert!(agent.rig.now.mono.since(before) <= SECOND / 5);
    agent.rig.event(Event::Output(child, Stream::Out, b" and four"));
    let effects = agent.ends(child, Exit::Code(0));
    assert_eq!(pieces(&effects), [plain(StreamName::Stdout, " and four")], "before the reply");
    let (_, outcome) = reply(&effects);
    assert_eq!((text(&outcome).as_str(), outcome.stderr.as_deref()), ("one\nthree and four", Some("two\n")));
}

#[test]
fn who_does_not_ask_for_it_hears_nothing_before_the_end() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({"stream": false}));
    assert_eq!(agent.rig.event(Event::Output(child, Stream::Out, b"one\n")), []);
    assert_eq!(pieces(&agent.ends(child, Exit::Code(0))), []);
}

#[test]
fn a_command_that_is_quiet_wakes_nobody_for_its_output() {
    let (mut agent, child) = streaming("timeout = 100");
    agent.rig.event(Event::Output(child, Stream::Out, b"one\n"));
    let before = agent.rig.now.mono;
    assert!(matches!(agent.rig.tick()[..], [Effect::Signal { signal: libc::SIGINT, .. }]));
    assert_eq!(agent.rig.now.mono.since(before), 100 * SECOND);
}

#[test]
fn no_piece_ends_within_a_character_and_half_a_one_waits() {
    let (mut agent, child) = streaming("");
    let (head, tail) = "größe".as_bytes().split_at(4);
    let sent = pieces(&agent.rig.event(Event::Output(child, Stream::Out, head)));
    assert_eq!(sent, [plain(StreamName::Stdout, "gr\u{f6}")]);
    let sent = pieces(&agent.rig.event(Event::Output(child, Stream::Out, &tail[..1])));
    assert_eq!(sent, []);
    agent.rig.pass(SECOND);
    let sent = pieces(&agent.rig.event(Event::Output(child, Stream::Out, &tail[1..])));
    assert_eq!(sent, [plain(StreamName::Stdout, "\u{df}e")]);
}

#[test]
fn output_of_a_link_that_is_gone_is_not_kept_for_another() {
    let (mut agent, child) = streaming("");
    agent.rig.event(Event::Closed(agent.conn, aspire::machine::ConnectionEnd::ByPeer));
    assert_eq!(pieces(&agent.rig.event(Event::Output(child, Stream::Out, b"lost"))), []);
}

proptest! {
    /// Whatever is written, however it is cut: the pieces are the reply's output.
    #[test]
    fn the_pieces_together_are_what_the_reply_has(
        writes in prop::collection::vec(
            (any::<bool>(), 0..200u64, prop_oneof![
                "[a-zß世😀]{0,9}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..9),
            ]),
            0..40,
        ),
    ) {
        let (mut agent, child) = streaming("output_limit = 100");
        let mut sent = [Vec::new(), Vec::new()];
        let mut take = |effects: &[Effect]| {
            for (stream, data, encoding) in pieces(effects) {
                sent[usize::from(stream == StreamName::Stderr)].extend(decoded(&data, encoding));
            }
        };
        for (err, wait_ms, bytes) in &writes {
            // A character may be cut anywhere.
            for bytes in bytes.chunks(3) {
                let stream = if *err { Stream::Err } else { Stream::Out };
                take(&agent.rig.event(Event::Output(child, stream, bytes)));
            }
            agent.rig.pass(Duration::from_millis(*wait_ms));
            take(&agent.rig.event(Event::Tick));
        }
        let effects = agent.ends(child, Exit::Code(0));
        take(&effects);
        let (_, outcome) = reply(&effects);
        let whole = [text(&outcome), outcome.stderr.clone().unwrap()];
        prop_assert_eq!(sent, whole.map(|text| decoded(&text, outcome.encoding)));
    }
}

fn decoded(text: &str, encoding: Option<Encoding>) -> Vec<u8> {
    use base64::Engine as _;
    match encoding {
        None => text.as_bytes().to_vec(),
        Some(Encoding::Base64) => base64::engine::general_purpose::STANDARD.decode(text).unwrap(),
    }
}

fn cancel(id: &str, job: &str) -> Value {
    json!({"id": id, "method": "job.cancel", "job": job})
}

/// What a cancel's reply says of the command.
fn confirmed(outcome: &aspire::wire::Outcome) -> Value {
    assert_eq!(outcome.retcode, 2);
    serde_json::from_str(outcome.data.as_ref().unwrap().get()).unwrap()
}

#[test]
fn a_cancelled_command_is_told_to_end_and_both_replies_come_when_it_has() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({}));
    agent.rig.event(Event::Output(child, Stream::Out, b"so far"));
    let effects = agent.asks(&cancel("c", "a"));
    assert_eq!(effects, [Effect::Signal { child, signal: libc::SIGTERM }]);
    let answers = replies(&agent.ends(child, Exit::Signal(15)));
    let [(first, outcome), (second, cancelled)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((first.as_str(), second.as_str()), ("a", "c"));
    assert_eq!((outcome.retcode, outcome.signal, text(outcome).as_str()), (3108, Some(15), "so far"));
    assert_eq!(confirmed(cancelled), json!({"job": "a", "retcode": 3108}));
}

#[test]
fn one_that_shrugs_is_killed_after_the_grace_whoever_else_cancels_it() {
    let mut agent = Agent::new("[exec]\ngrace = 2");
    let (child, _) = agent.starts("a", &json!({}));
    agent.asks(&cancel("c", "a"));
    agent.rig.pass(SECOND);
    assert_eq!(agent.asks(&cancel("d", "a")), [], "the grace does not begin anew");
    assert_eq!(agent.next_signal(), (libc::SIGKILL, SECOND));
    let answers = replies(&agent.ends(child, Exit::Signal(9)));
    let ids: Vec<&str> = answers.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["a", "c", "d"]);
    assert_eq!((answers[0].1.retcode, answers[0].1.signal), (3108, Some(9)));
}

#[test]
fn one_that_ended_by_itself_meanwhile_says_so_to_both() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({}));
    agent.rig.event(Event::Exited(child, Exit::Code(0)));
    assert_eq!(agent.asks(&cancel("c", "a")), [], "it has ended, only its pipes are open");
    agent.rig.event(Event::OutputEnded(child, Stream::Out));
    let answers = replies(&agent.rig.event(Event::OutputEnded(child, Stream::Err)));
    assert_eq!(answers[0].1.retcode, 2);
    assert_eq!(confirmed(&answers[1].1), json!({"job": "a", "retcode": 2}));
}

#[test]
fn what_waits_or_is_looked_up_is_cancelled_at_once_and_gives_its_place() {
    let mut agent = Agent::new("[exec]\nmax_children = 1");
    let frame = json!({"id": "a", "method": "sync.bash", "cmd": "cmd", "user": "www"});
    let effects = agent.asks(&frame);
    let [Effect::Spawn { child, program: Program::Task(Task::Identify { .. }) }] = effects[..] else {
        panic!("no look-up: {effects:?}")
    };
    for id in ["b", "d"] {
        assert_eq!(agent.asks(&json!({"id": id, "method": "sync.bash", "cmd": id})), [], "it waits");
    }
    let answers = replies(&agent.asks(&cancel("cancels-b", "b")));
    assert_eq!((answers[0].0.as_str(), answers[0].1.retcode), ("b", 3108));
    assert_eq!(confirmed(&answers[1].1), json!({"job": "b", "retcode": 3108}));

    let effects = agent.asks(&cancel("cancels-a", "a"));
    assert_eq!(effects[..2], [Effect::Signal { child, signal: libc::SIGKILL }, Effect::Release { child }]);
    assert_eq!(started(&effects[2..3]).1.argv[2], "d");
    let answers = replies(&effects);
    assert_eq!((answers[0].0.as_str(), answers[0].1.retcode), ("a", 3108));
    assert_eq!(answers[1].0, "cancels-a");
}

#[test]
fn what_is_not_there_is_not_found() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({}));
    agent.ends(child, Exit::Code(0));
    for (id, job, reason) in [("c", "a", "has ended"), ("d", "x", "no command"), ("e", "e", "no command")] {
        let (_, outcome) = reply(&agent.asks(&cancel(id, job)));
        assert_eq!(outcome.retcode, 3024);
        assert!(outcome.detail.as_ref().unwrap().contains(reason), "{outcome:?}");
    }
}

#[test]
fn a_command_that_timed_out_and_is_cancelled_was_cancelled() {
    let mut agent = Agent::new("[exec]\ngrace = 2");
    let (child, _) = agent.starts("a", &json!({"timeout": 1}));
    assert_eq!(agent.next_signal().0, libc::SIGINT);
    assert_eq!(agent.asks(&cancel("c", "a")), [Effect::Signal { child, signal: libc::SIGTERM }]);
    assert_eq!(agent.next_signal(), (libc::SIGKILL, 2 * SECOND));
    assert_eq!(replies(&agent.ends(child, Exit::Signal(9)))[0].1.retcode, 3108);
}

#[test]
fn an_agent_that_stops_answers_the_cancels_too() {
    let mut agent = Agent::new("");
    let (child, _) = agent.starts("a", &json!({}));
    agent.asks(&cancel("c", "a"));
    assert_eq!(agent.rig.event(Event::Signal(aspire::machine::Signal::Stop)), []);
    let effects = agent.ends(child, Exit::Signal(15));
    assert_eq!(replies(&effects).len(), 2);
    assert_eq!(effects.last(), Some(&Effect::Stop));
}
