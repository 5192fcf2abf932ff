//! The agent against a network and a server that misbehave, for hours of
//! simulated time under many seeds.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "what is unexpected fails the test, and says why"
)]

mod sim;

use aspire::link::{Fact, Link};
use aspire::machine::{Effect, Effects, Event, Instant, Now, Protocol, Security, Signal};
use aspire::wire::Retcode;
use aspire::wire::frame::encode;
use aspire::wire::session::{Frame, FromAgent, Init};
use sim::child::Behaviour;
use sim::server::{Fault, cancel, request};
use sim::world::World;
use std::collections::HashMap;
use std::time::Duration;

const SEEDS: u64 = 256;
const CONFIG: &str = "[link]\nserver = \"polaris.example,10.0.0.9:99\"\n[exec]\nmax_children = 4";

fn at(seconds: u64) -> Instant {
    Instant(Duration::from_secs(seconds))
}

/// Every seed in turn; the one that fails is in the text. `SEED=n` repeats it alone.
fn for_every_seed(scenario: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..SEEDS).collect(),
    };
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| scenario(seed)) {
            eprintln!("the seed was {seed}: repeat it with SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Requests that are sent while things go wrong, and after.
fn behaviour(random: &mut fastrand::Rng, id: &str) -> Behaviour {
    Behaviour {
        runs_ms: random.u64(1..9000),
        code: random.i32(0..3),
        output: format!("output of {id}"),
        ignores_sigint: random.bool(),
        pipes_held_ms: if random.u8(..) < 30 { 60_000 } else { 0 },
        does_not_start: random.u8(..) < 20,
    }
}

#[test]
fn whatever_the_network_does_the_agent_comes_back_and_nothing_runs_twice() {
    for_every_seed(|seed| {
        let healed = at(fastrand::Rng::with_seed(seed).u64(60..10_000));
        let mut world = World::new(CONFIG, seed, healed);
        let mut sent: HashMap<String, (Behaviour, Vec<u64>)> = HashMap::new();
        let mut number = 0;
        while world.now() < healed {
            let until = world.now() + Duration::from_millis(world.random.u64(1..60_000));
            world.run(until);
            let Some(conn) = world.ready() else { continue };
            // Now and then one is asked for again, as a server does that has lost the answer.
            let id = match sent.len() {
                0 => None,
                n if world.random.u8(..) < 60 => sent.keys().nth(world.random.usize(0..n)).cloned(),
                _ => None,
            };
            if let Some(job) = id.as_ref().filter(|_| world.random.u8(..) < 80) {
                number += 1;
                world.say(conn, cancel(&format!("c{number}"), job));
                continue;
            }
            let id = id.unwrap_or_else(|| {
                number += 1;
                format!("r{number}")
            });
            let what = behaviour(&mut world.random, &id);
            let (what, connections) = sent.entry(id.clone()).or_insert((what, Vec::new()));
            connections.push(conn.0);
            let frame = request(&id, 3, what);
            world.say(conn, frame);
        }
        // The server is well again: within one longest wait and a dial the agent is back.
        world.run(healed + Duration::from_secs(300 + 60));
        let conn = world.ready().expect("the agent is back");
        let fault = world.peers[&conn].fault;
        assert!(matches!(fault, Fault::None | Fault::Dripping), "{fault:?} was not noticed");
        let after: Vec<String> = (0..20).map(|n| format!("after{n}")).collect();
        for id in &after {
            let what = behaviour(&mut world.random, id);
            world.say(conn, request(id, 3, &what));
            sent.insert(id.clone(), (what, vec![conn.0]));
        }
        let until = world.now() + Duration::from_millis(world.random.u64(0..3000));
        world.run(until);
        let cancels: Vec<String> = after.iter().step_by(3).map(|id| format!("cancels-{id}")).collect();
        for (id, job) in cancels.iter().zip(after.iter().step_by(3)) {
            world.say(conn, cancel(id, job));
        }
        world.run(world.now() + Duration::from_secs(120));
        for id in after.iter().chain(&cancels) {
            let replies = world.peers[&conn].replies.iter().filter(|reply| &reply.id == id);
            assert_eq!(replies.count(), 1, "{id} is answered once");
        }
        check(&world, &sent);
    });
}

fn check(world: &World, sent: &HashMap<String, (Behaviour, Vec<u64>)>) {
    assert!(world.most_running <= 5, "{} children at once: 4 commands and a resolver", world.most_running);
    assert_eq!(world.running(), 0, "every child came to its end");
    for (id, (what, connections)) in sent {
        assert!(world.started.get(&what.line()).copied().unwrap_or(0) <= 1, "{id} ran twice");
        for (conn, peer) in &world.peers {
            let replies: Vec<_> = peer.replies.iter().filter(|reply| &reply.id == id).collect();
            let asked = connections.iter().filter(|asked| **asked == conn.0).count();
            assert!(replies.len() <= asked, "{id} was answered more often than asked");
            for reply in replies {
                let outcome = &reply.outcome;
                match &outcome.data {
                    None if outcome.retcode == Retcode::Cancelled.code() => {}
                    _ if what.does_not_start => assert_eq!(outcome.retcode, Retcode::CouldNotStart.code()),
                    // One that was cancelled may have had no time to write.
                    Some(data) if data.get() == "\"\"" => {
                        assert_eq!(outcome.retcode, Retcode::Cancelled.code(), "{id} wrote nothing");
                    }
                    data => {
                        let data = data.as_ref().expect("a command answers with its output");
                        assert_eq!(data.get(), format!("\"{}\"", what.output), "{id} has its own output");
                    }
                }
            }
            let pieces = peer.output.get(id).map_or("", String::as_str);
            assert!(what.output.starts_with(pieces), "{id} has written {pieces:?}");
        }
    }
}

#[test]
fn an_idle_link_wakes_up_for_its_heartbeat_alone() {
    let mut world = World::new("[link]\nserver = \"10.0.0.1\"", 7, Instant::default());
    world.run(at(10));
    let conn = world.ready().expect("the agent is ready");
    let heartbeat = world.peers[&conn].heartbeat;
    let begin = world.peers[&conn].pings;
    let mut turns = 0;
    let until = world.now() + Duration::from_secs(heartbeat * 100);
    while world.turn(until) {
        turns += 1;
    }
    let pings = world.peers[&conn].pings - begin;
    assert!((99..=100).contains(&pings), "{pings} pings in 100 heartbeats");
    assert!(turns <= 2 * 100, "{turns} turns: a ping and a pong each");
}

#[test]
fn names_are_resolved_again_at_each_try_and_every_address_is_tried() {
    let mut rig = sim::gearman("[link]\nserver = \"polaris.example\"", sim::root(), 1);
    for _ in 0..3 {
        let effects = rig.tick();
        let [Effect::Spawn { child, .. }] = effects[..] else { panic!("not a look-up: {effects:?}") };
        let answer = br#"["10.0.0.1:8181","[::1]:8181"]"#;
        rig.event(Event::Output(child, aspire::machine::Stream::Out, answer));
        rig.event(Event::OutputEnded(child, aspire::machine::Stream::Out));
        rig.event(Event::OutputEnded(child, aspire::machine::Stream::Err));
        let mut effects = rig.event(Event::Exited(child, aspire::machine::Exit::Code(0)));
        for expected in ["10.0.0.1:8181", "[::1]:8181"] {
            let [.., Effect::Connect { conn, to, security }] = &effects[..] else {
                panic!("not a connect: {effects:?}")
            };
            assert_eq!(to.to_string(), expected);
            assert_eq!(
                security,
                &Security::Mutual { dir: "/etc/cargo/pki".into(), protocol: Protocol::Link }
            );
            let end = aspire::machine::ConnectionEnd::Io("Connection refused".into());
            effects = rig.event(Event::Closed(*conn, end));
        }
        assert!(effects.is_empty(), "{effects:?}");
    }
}

#[test]
fn a_name_that_is_not_resolved_in_time_does_not_hide_the_servers_after_it() {
    let mut rig = sim::gearman("[link]\nserver = \"polaris.example,10.0.0.9:99\"", sim::root(), 1);
    let effects = rig.tick();
    let [Effect::Spawn { child, .. }] = effects[..] else { panic!("not a look-up: {effects:?}") };
    let effects = rig.tick();
    assert_eq!(effects[..2], [Effect::Signal { child, signal: libc::SIGKILL }, Effect::Release { child }]);
    let [Effect::Connect { to, .. }] = effects[2..] else { panic!("not a connect: {effects:?}") };
    assert_eq!(to.to_string(), "10.0.0.9:99");
}

/// Connects, sends init, and returns the connection.
fn dialled(rig: &mut sim::Rig<aspire::gearman::Gearman>, effects: &[Effect]) -> aspire::machine::ConnId {
    let [.., Effect::Connect { conn, .. }] = effects else { panic!("not a connect: {effects:?}") };
    let effects = rig.event(Event::Connected(*conn));
    let [Effect::Send { bytes, .. }] = &effects[..] else { panic!("no init: {effects:?}") };
    let Ok(FromAgent::Init(init)) = FromAgent::parse(bytes.trim_ascii()) else { panic!("not an init") };
    assert_eq!((init.hostname.as_str(), init.name.as_str()), (sim::HOST_ID, "web-1"));
    *conn
}

#[test]
fn redirects_are_followed_three_times_in_a_row_and_not_four() {
    let mut rig = sim::gearman("[link]\nserver = \"10.0.0.1\"", sim::root(), 1);
    let mut effects = rig.tick();
    for hop in 1..=4 {
        let conn = dialled(&mut rig, &effects);
        let server = format!("10.0.0.{},10.0.1.1:99", hop + 1);
        effects = rig.event(Event::Received(conn, &encode(&Frame::Redirect { server: &server })));
        assert_eq!(effects[0], Effect::Close { conn });
        match &effects[1..] {
            [Effect::Connect { to, .. }] if hop < 4 => {
                assert_eq!(to.to_string(), format!("10.0.0.{}:8181", hop + 1));
            }
            [] if hop == 4 => {}
            other => panic!("hop {hop}: {other:?}"),
        }
    }
    // It begins anew with the configured server.
    let effects = rig.tick();
    assert!(matches!(&effects[..], [Effect::Connect { to, .. }] if to.to_string() == "10.0.0.1:8181"));
}

#[test]
fn servers_that_welcome_and_send_on_are_left_too_but_not_those_that_held_the_link() {
    for (stays, followed) in [(1, 3), (30, 10)] {
        let mut rig = sim::gearman("[link]\nserver = \"10.0.0.1\"", sim::root(), 1);
        let mut effects = rig.tick();
        for hop in 1..=10 {
            let conn = dialled(&mut rig, &effects);
            rig.event(Event::Received(conn, &encode(&Frame::Ready { heartbeat: 60, facts: None })));
            rig.pass(Duration::from_secs(stays));
            effects = rig.event(Event::Received(conn, &encode(&Frame::Redirect { server: "10.0.0.2" })));
            let goes_on = matches!(effects[..], [Effect::Close { .. }, Effect::Connect { .. }]);
            assert_eq!(goes_on, hop <= followed, "{stays} s each, hop {hop}: {effects:?}");
            if !goes_on {
                break;
            }
        }
    }
}

#[test]
fn a_request_before_ready_ends_the_link_and_its_content_is_told_to_nobody() {
    let now = Now { mono: Instant::default(), wall: std::time::SystemTime::UNIX_EPOCH };
    let config = aspire::gearman::Config::parse("[link]\nserver = \"10.0.0.1\"", None).unwrap();
    let init: Init = serde_json::from_value(serde_json::json!({"hostname": "h"})).unwrap();
    let mut link = Link::new(now, config.link, init, 1);
    let (mut fx, mut facts) = (Effects::default(), Vec::new());
    link.handle(now, &Event::Tick, &mut fx, &mut facts);
    let [Effect::Connect { conn, .. }] = fx.take()[..] else { panic!("no connect") };
    link.handle(now, &Event::Connected(conn), &mut fx, &mut facts);
    let env = serde_json::json!({"PASSWORD": "hunter2"});
    let early = serde_json::json!({"id": "a", "method": "sync.bash", "cmd": "deploy", "env": env});
    link.handle(now, &Event::Received(conn, &encode(&early)), &mut fx, &mut facts);
    let [Fact::Tried { reason, .. }, Fact::Down { .. }] = &facts[..] else { panic!("{facts:?}") };
    assert!(reason.contains("init") && !reason.contains("hunter2"), "{reason}");
}

#[test]
fn a_silent_server_is_left_after_two_and_a_half_heartbeats() {
    let mut rig = sim::gearman("[link]\nserver = \"10.0.0.1\"", sim::root(), 1);
    let effects = rig.tick();
    let conn = dialled(&mut rig, &effects);
    rig.event(Event::Received(conn, &encode(&Frame::Ready { heartbeat: 10, facts: None })));
    let mut pings = 0;
    let left = loop {
        let effects = rig.tick();
        match &effects[..] {
            [Effect::Send { bytes, .. }] => {
                assert_eq!(bytes, &encode(&Frame::Ping));
                pings += 1;
            }
            [Effect::Close { .. }] => break rig.now.mono,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((pings, left), (2, at(25)));
}

#[test]
fn a_stop_ends_what_runs_answers_for_it_and_leaves() {
    for_every_seed(|seed| {
        let mut world = World::new("[link]\nserver = \"10.0.0.1\"", seed, Instant::default());
        world.run(at(5));
        let conn = world.ready().expect("ready");
        for n in 0..70 {
            let what = behaviour(&mut world.random, &format!("r{n}"));
            world.say(conn, request(&format!("r{n}"), 60, &what));
        }
        world.run(world.now() + Duration::from_millis(500));
        let effects = world.rig.event(Event::Signal(Signal::Stop));
        world.apply(effects);
        let stopping = world.now();
        world.run(stopping + Duration::from_secs(60));
        assert!(world.stopped && world.open.is_none());
        assert_eq!(world.peers[&conn].replies.len(), 70, "each is answered before the link ends");
    });
}
