//! Programs on the agent's own host: what they ask over the control socket,
//! and how they misbehave.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

mod sim;

use aspire::gearman::Gearman;
use aspire::machine::limits::{LOCAL_IDLE, LOCAL_REQUESTS, WAITING_COMMANDS};
use aspire::machine::{ConnId, ConnectionEnd, Effect, Event, Exit, Machine as _, Signal, Stream};
use aspire::store::Store;
use aspire::wire::MAX_FRAME_BYTES;
use aspire::wire::frame::encode;
use aspire::wire::session::FromAgent;
use serde_json::{Value, json};
use sim::Rig;
use sim::agent::{Agent, frames, replies, reply, started, text};
use std::time::{Duration, SystemTime};

const SECOND: Duration = Duration::from_secs(1);
const FIRST: ConnId = ConnId(1001);
const SECOND_PEER: ConnId = ConnId(1002);

/// An agent with a link and two programs connected. The link's next ping is an hour off.
fn agent(config: &str) -> Agent {
    let mut agent = Agent::new(config);
    for conn in [FIRST, SECOND_PEER] {
        assert_eq!(agent.rig.event(Event::Accepted(conn)), []);
    }
    agent
}

fn says(agent: &mut Agent, conn: ConnId, bytes: &[u8]) -> Vec<Effect> {
    agent.rig.event(Event::Received(conn, bytes))
}

fn asks(agent: &mut Agent, conn: ConnId, frame: &Value) -> Vec<Effect> {
    says(agent, conn, &encode(frame))
}

fn bash(id: &str) -> Value {
    json!({"id": id, "method": "sync.bash", "cmd": "cmd"})
}

fn info(id: &str) -> Value {
    json!({"id": id, "method": "agent.info"})
}

/// Whom the frames among the effects are for.
fn to(effects: &[Effect]) -> Vec<ConnId> {
    let conn = |effect: &Effect| match effect {
        Effect::Send { conn, .. } => Some(*conn),
        _ => None,
    };
    effects.iter().filter_map(conn).collect()
}

#[test]
fn whoever_asks_is_answered_with_its_own_id_however_the_frame_arrives() {
    let mut agent = agent("");
    let frame = encode(&info("1"));
    for byte in &frame[..frame.len() - 1] {
        assert_eq!(says(&mut agent, FIRST, &[*byte]), []);
    }
    let effects = says(&mut agent, FIRST, b"\n");
    let (id, outcome) = reply(&effects);
    assert_eq!((id.as_str(), outcome.retcode, to(&effects)), ("1", 2, vec![FIRST]));
    let data: Value = serde_json::from_str(outcome.data.unwrap().get()).unwrap();
    assert_eq!(data["hostname"], sim::HOST_ID);
    // Several at once, the last one in part.
    let both = [encode(&info("2")), encode(&info("3")), b"{\"id\"".to_vec()].concat();
    let effects = says(&mut agent, SECOND_PEER, &both);
    let ids: Vec<String> = replies(&effects).into_iter().map(|(id, _)| id).collect();
    assert_eq!((ids, to(&effects)), (vec!["2".into(), "3".into()], vec![SECOND_PEER; 2]));
}

#[test]
fn it_works_without_a_link() {
    let mut rig = sim::gearman("[link]\nserver = \"10.0.0.1\"", sim::root(), 1);
    let [Effect::Connect { conn, .. }] = rig.tick()[..] else { panic!("no connect") };
    rig.event(Event::Closed(conn, ConnectionEnd::Io("Connection refused".into())));
    rig.event(Event::Accepted(FIRST));
    let (child, _) = started(&rig.event(Event::Received(FIRST, &encode(&bash("1")))));
    rig.event(Event::Output(child, Stream::Out, b"out"));
    rig.event(Event::OutputEnded(child, Stream::Out));
    rig.event(Event::OutputEnded(child, Stream::Err));
    let (id, outcome) = reply(&rig.event(Event::Exited(child, Exit::Code(0))));
    assert_eq!((id.as_str(), outcome.retcode, text(&outcome).as_str()), ("1", 2, "out"));
}

#[test]
fn the_same_id_from_two_peers_and_the_link_is_three_requests() {
    let mut agent = agent("");
    let (of_link, _) = started(&agent.asks(&bash("1")));
    let (of_first, _) = started(&asks(&mut agent, FIRST, &bash("1")));
    let (of_second, _) = started(&asks(&mut agent, SECOND_PEER, &bash("1")));
    let link = agent.conn;
    for (child, conn, output) in
        [(of_second, SECOND_PEER, "second"), (of_link, link, "link"), (of_first, FIRST, "first")]
    {
        agent.rig.event(Event::Output(child, Stream::Out, output.as_bytes()));
        let effects = agent.ends(child, Exit::Code(0));
        let (id, outcome) = reply(&effects);
        assert_eq!((id.as_str(), text(&outcome).as_str(), to(&effects)), ("1", output, vec![conn]));
    }
    // The server's is not run twice. Of a program that asks again it is meant so.
    assert_eq!(to(&agent.asks(&bash("1"))), [link]);
    started(&asks(&mut agent, FIRST, &bash("1")));
}

#[test]
fn local_answers_do_not_push_the_links_out_of_what_is_kept() {
    let mut agent = agent("");
    let (child, _) = started(&agent.asks(&bash("kept")));
    agent.ends(child, Exit::Code(0));
    for n in 0..3000 {
        asks(&mut agent, FIRST, &info(&n.to_string()));
    }
    assert_eq!(reply(&agent.asks(&bash("kept"))).0, "kept");
}

#[test]
fn a_peer_that_is_gone_is_not_answered_and_its_command_comes_to_its_end() {
    let mut agent = agent("");
    let (child, _) = started(&asks(&mut agent, FIRST, &bash("1")));
    agent.rig.event(Event::Closed(FIRST, ConnectionEnd::ByPeer));
    assert_eq!(agent.ends(child, Exit::Code(0)), []);
    // What comes late of one that is gone is nobody's.
    assert_eq!(asks(&mut agent, FIRST, &info("2")), []);
    assert_eq!(reply(&asks(&mut agent, SECOND_PEER, &info("3"))).0, "3");
}

#[test]
fn what_is_malformed_is_answered_with_3020_and_the_connection_ends() {
    let too_long = vec![b' '; MAX_FRAME_BYTES];
    let nul_inside = b"{\"id\":\"1\",\0}\n";
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\n",
        b"[1]\n",
        b"{\"id\":\"1\"\n",
        b"\xff\xfe\n",
        nul_inside,
        b"{\"method\":\"agent.info\"}\n",
        b"{\"id\":1,\"method\":\"agent.info\"}\n",
        b"{\"id\":\"1\"}\n",
        &too_long,
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(30)]).into_owned();
        let mut agent = agent("");
        let (child, _) = started(&asks(&mut agent, FIRST, &bash("1")));
        // What came behind it is not looked at.
        let effects = says(&mut agent, FIRST, &[bytes, &encode(&info("2"))].concat());
        let (_, outcome) = reply(&effects);
        assert_eq!((outcome.retcode, to(&effects)), (3020, vec![FIRST]), "{shown}");
        assert!(outcome.detail.is_some(), "{shown}");
        assert_eq!(effects.last(), Some(&Effect::Close { conn: FIRST }), "{shown}");
        assert_eq!(asks(&mut agent, FIRST, &info("3")), [], "{shown}");
        assert_eq!(agent.ends(child, Exit::Code(0)), [], "{shown}");
        assert_eq!(reply(&asks(&mut agent, SECOND_PEER, &info("4"))).0, "4", "{shown}");
    }
}

#[test]
fn what_is_wrong_with_a_request_is_said_and_the_connection_stays() {
    let mut agent = agent("");
    for (frame, retcode) in [
        (json!({"id": "1", "method": "sync.bosh"}), 3022),
        (json!({"id": "1", "method": "sync.bash", "cmd": "x", "timeout": 0}), 3021),
    ] {
        let effects = asks(&mut agent, FIRST, &frame);
        assert_eq!(effects.len(), 1, "{effects:?}");
        let (id, outcome) = reply(&effects);
        assert_eq!((id.as_str(), outcome.retcode), ("1", retcode));
    }
    assert_eq!(reply(&asks(&mut agent, FIRST, &info("2"))).0, "2");
}

#[test]
fn a_frame_of_the_greatest_length_passes() {
    let mut agent = agent("");
    let mut frame = encode(&info("1"));
    frame.pop();
    frame.resize(MAX_FRAME_BYTES - 1, b' ');
    frame.push(b'\n');
    for piece in frame.chunks(65536) {
        let effects = says(&mut agent, FIRST, piece);
        assert_eq!(effects.is_empty(), piece.last() != Some(&b'\n'));
    }
}

#[test]
fn one_that_says_nothing_is_left_after_a_while_and_one_that_waits_is_not() {
    let mut agent = agent("");
    let begin = agent.rig.now.mono;
    let (child, _) = started(&asks(
        &mut agent,
        FIRST,
        &json!({"id": "1", "method": "sync.bash", "cmd": "cmd",
        "timeout": 86400}),
    ));
    // Half a frame, and again and again a byte, is nothing said.
    while agent.rig.now.mono.since(begin) + SECOND < LOCAL_IDLE {
        agent.rig.pass(SECOND);
        assert_eq!(says(&mut agent, SECOND_PEER, b" "), []);
    }
    assert_eq!(agent.rig.tick(), [Effect::Close { conn: SECOND_PEER }]);
    assert_eq!(agent.rig.now.mono.since(begin), LOCAL_IDLE);
    agent.rig.pass(30 * LOCAL_IDLE);
    assert_eq!(agent.rig.event(Event::Tick), [], "its command runs");
    let answered = agent.rig.now.mono;
    assert_eq!(to(&agent.ends(child, Exit::Code(0))), [FIRST]);
    assert_eq!(agent.rig.tick(), [Effect::Close { conn: FIRST }]);
    assert_eq!(agent.rig.now.mono.since(answered), LOCAL_IDLE, "from its answer on");
}

#[test]
fn nobody_connected_is_nothing_to_wake_up_for() {
    let mut agent = agent("");
    assert_eq!(agent.rig.machine.deadline().unwrap().since(agent.rig.now.mono), LOCAL_IDLE);
    for conn in [FIRST, SECOND_PEER] {
        agent.rig.event(Event::Closed(conn, ConnectionEnd::ByPeer));
    }
    let heartbeat = Duration::from_secs(3600);
    assert_eq!(agent.rig.machine.deadline().unwrap().since(agent.rig.now.mono), heartbeat);
}

#[test]
fn what_is_under_way_is_bounded_and_the_rest_hears_so() {
    let mut agent = agent("[exec]\nmax_children = 1");
    let (child, _) = started(&asks(&mut agent, FIRST, &bash("0")));
    // Those of a peer that goes count on: they are under way.
    for n in 1..LOCAL_REQUESTS {
        assert_eq!(asks(&mut agent, FIRST, &bash(&n.to_string())), []);
    }
    agent.rig.event(Event::Closed(FIRST, ConnectionEnd::ByPeer));
    const { assert!(WAITING_COMMANDS >= LOCAL_REQUESTS, "the queue has room for them all") };
    let effects = asks(&mut agent, SECOND_PEER, &bash("more"));
    let (id, outcome) = reply(&effects);
    assert_eq!((id.as_str(), outcome.retcode), ("more", 3026));
    agent.ends(child, Exit::Code(0));
    assert_eq!(asks(&mut agent, SECOND_PEER, &bash("more")), [], "a place is free: it waits");
}

#[test]
fn a_peer_cancels_its_own_by_its_own_id_and_the_links_by_theirs() {
    let mut agent = agent("");
    let (of_link, _) = started(&agent.asks(&bash("a")));
    let (of_link_too, _) = started(&agent.asks(&bash("b")));
    let (own, _) = started(&asks(&mut agent, FIRST, &bash("a")));
    let cancel = |job: &str| json!({"id": "c", "method": "job.cancel", "job": job});
    let signalled = |effects: &[Effect]| match effects {
        [Effect::Signal { child, .. }] => *child,
        other => panic!("no signal: {other:?}"),
    };
    let effects = asks(&mut agent, FIRST, &cancel("a"));
    assert_eq!(signalled(&effects), own);
    let effects = agent.ends(own, Exit::Signal(15));
    let answers: Vec<(String, u16)> = replies(&effects).into_iter().map(|(id, o)| (id, o.retcode)).collect();
    assert_eq!(answers, [("a".to_owned(), 3108), ("c".to_owned(), 2)]);
    assert_eq!(to(&effects), [FIRST, FIRST]);
    // It has none of this id any more.
    for (job, child) in [("a", of_link), ("b", of_link_too)] {
        assert_eq!(signalled(&asks(&mut agent, FIRST, &cancel(job))), child);
        let effects = agent.ends(child, Exit::Signal(15));
        assert_eq!(to(&effects), [agent.conn, FIRST]);
    }
    // Another's has a name that it would have to know.
    started(&asks(&mut agent, SECOND_PEER, &bash("x")));
    assert_eq!(reply(&asks(&mut agent, FIRST, &cancel("x"))).1.retcode, 3024);
}

#[test]
fn live_output_goes_to_the_one_who_asked() {
    let mut agent = agent("");
    let (child, _) = started(&asks(
        &mut agent,
        FIRST,
        &json!({"id": "1", "method": "sync.bash", "cmd": "cmd", "stream": true}),
    ));
    let effects = agent.rig.event(Event::Output(child, Stream::Out, b"so far\n"));
    let [FromAgent::Output(output)] = &frames(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((output.id.as_str(), output.data.as_str(), to(&effects)), ("1", "so far\n", vec![FIRST]));
    agent.rig.event(Event::Closed(FIRST, ConnectionEnd::ByPeer));
    agent.rig.pass(SECOND);
    assert_eq!(agent.rig.event(Event::Output(child, Stream::Out, b"more\n")), []);
}

#[test]
fn a_job_has_a_name_of_its_own_which_its_asker_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = || Store::open(&folder.path().join("gearman.db"), SystemTime::UNIX_EPOCH).unwrap();
    let config = "[link]\nserver = \"10.0.0.1\"";
    let mut rig = sim::gearman_with(config, sim::root(), 1, Ok(store()));
    let ask = |rig: &mut Rig<Gearman>, frame: Value| rig.event(Event::Received(FIRST, &encode(&frame)));
    rig.event(Event::Accepted(FIRST));
    let effects = ask(&mut rig, json!({"id": "1", "method": "async.bash", "cmd": "cmd"}));
    let (id, outcome) = reply(&effects);
    assert_eq!((id.as_str(), outcome.retcode), ("1", 1));
    let data: Value = serde_json::from_str(outcome.data.unwrap().get()).unwrap();
    let job = data["job"].as_str().unwrap();
    assert!(job.starts_with("local-"), "{job}");
    for id in ["2", "3"] {
        let status = reply(&ask(&mut rig, json!({"id": id, "method": "job.status", "job": job})));
        assert_eq!((status.0.as_str(), status.1.retcode), (id, 2));
    }
    // What is asked again after a restart is no repetition, so nothing is kept of it.
    let effects = ask(&mut rig, bash("4"));
    let (child, _) = started(&effects);
    rig.event(Event::Started(child, None));
    drop(rig);
    assert_eq!(store().requests().unwrap(), []);
}

#[test]
fn a_stop_answers_before_it_hangs_up_and_says_so_meanwhile() {
    let mut agent = agent("");
    let (child, _) = started(&asks(&mut agent, FIRST, &bash("1")));
    agent.rig.event(Event::Signal(Signal::Stop));
    assert_eq!(reply(&asks(&mut agent, SECOND_PEER, &bash("2"))).1.retcode, 3108);
    let effects = agent.ends(child, Exit::Signal(15));
    assert_eq!((reply(&effects).1.retcode, to(&effects)), (3108, vec![FIRST]));
    let mut left = effects[1..].to_vec();
    assert_eq!(left.pop(), Some(Effect::Stop));
    for conn in [agent.conn, FIRST, SECOND_PEER] {
        assert!(left.contains(&Effect::Close { conn }), "{left:?}");
    }
    assert_eq!(left.len(), 3);
}
