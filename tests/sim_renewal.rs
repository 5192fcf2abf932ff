//! Renewal of the host's certificate: what the agent makes of servers that ask for it, refuse it, say
//! nothing or never stop.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

mod sim;

use aspire::machine::limits::{RENEWAL_PACE, TASK_TIMEOUT};
use aspire::machine::{ChildId, ConnectionEnd, Effect, Event, Exit, NewCertificate, Program, Stream, Task};
use aspire::wire::frame::encode;
use aspire::wire::renewal::{MAX_CERT_BYTES, Renew, Renewed};
use aspire::wire::session::{Frame, FromAgent};
use sim::HOST_ID;
use sim::agent::{Agent, frames};
use std::path::PathBuf;
use std::time::Duration;

const DIR: &str = "/etc/cargo/pki";

/// The server says this.
fn hears(agent: &mut Agent, frame: &Frame<'_>) -> Vec<Effect> {
    let conn = agent.conn;
    agent.rig.event(Event::Received(conn, &encode(frame)))
}

fn asked(agent: &mut Agent) -> Vec<Effect> {
    hears(agent, &Frame::Renew(Renew::default()))
}

fn signed(agent: &mut Agent, cert: &str) -> Vec<Effect> {
    hears(agent, &Frame::Renewed(Renewed { cert: Some(cert), error: None }))
}

/// The child that makes the key.
fn making(effects: &[Effect]) -> ChildId {
    let [Effect::Spawn { child, program: Program::Task(Task::NewKey(dir)) }] = effects else {
        panic!("no key is made: {effects:?}")
    };
    assert_eq!(dir, &PathBuf::from(DIR));
    *child
}

/// The child that puts the certificate into place.
fn taking(effects: &[Effect], expected: &str) -> ChildId {
    let [Effect::Spawn { child, program: Program::Task(Task::TakeCertificate(new)) }] = effects else {
        panic!("no certificate is taken: {effects:?}")
    };
    assert_eq!(new, &NewCertificate { dir: DIR.into(), cert: expected.into(), host: HOST_ID.into() });
    *child
}

/// The task answers this, or fails with it.
fn ends(agent: &mut Agent, child: ChildId, answer: Result<&str, &str>) -> Vec<Effect> {
    match answer {
        Ok(text) => agent.rig.event(Event::Output(child, Stream::Out, format!("\"{text}\"").as_bytes())),
        Err(text) => agent.rig.event(Event::Output(child, Stream::Err, text.as_bytes())),
    };
    agent.ends(child, Exit::Code(i32::from(answer.is_err())))
}

fn csr(effects: &[Effect]) -> Result<String, String> {
    match &mut frames(effects)[..] {
        [FromAgent::Renew(answer)] => answer.clone(),
        other => panic!("no answer to renew: {other:?}"),
    }
}

fn outcome(effects: &[Effect]) -> Result<(), String> {
    match &mut frames(effects)[..] {
        [FromAgent::Renewed(outcome)] => outcome.clone(),
        other => panic!("no word on renewed: {other:?}"),
    }
}

/// An agent whose signing request the server has.
fn waiting() -> Agent {
    let mut agent = Agent::new("");
    let child = making(&asked(&mut agent));
    assert_eq!(csr(&ends(&mut agent, child, Ok("CSR"))), Ok("CSR".into()));
    agent
}

#[test]
fn a_certificate_is_renewed_and_the_link_goes_on() {
    let mut agent = waiting();
    let child = taking(&signed(&mut agent, "CERT"), "CERT");
    let effects = ends(&mut agent, child, Ok("2027-12-26T00:00:00Z"));
    assert_eq!(outcome(&effects), Ok(()));
    assert_eq!(effects.len(), 1, "nothing is closed: {effects:?}");
    // And again, when that one is old.
    agent.rig.pass(Duration::from_hours(24));
    making(&asked(&mut agent));
}

#[test]
fn what_fails_on_the_host_is_said_to_the_server_and_can_be_tried_again() {
    let mut agent = Agent::new("");
    let child = making(&asked(&mut agent));
    assert_eq!(
        csr(&ends(&mut agent, child, Err("key.pem.new: disk full"))),
        Err("key.pem.new: disk full".into())
    );
    agent.rig.pass(RENEWAL_PACE);
    let child = making(&asked(&mut agent));
    ends(&mut agent, child, Ok("CSR"));
    let child = taking(&signed(&mut agent, "CERT"), "CERT");
    assert_eq!(outcome(&ends(&mut agent, child, Err("not this host's"))), Err("not this host's".into()));
    agent.rig.pass(RENEWAL_PACE);
    making(&asked(&mut agent));
}

#[test]
fn a_child_that_hangs_is_killed_and_the_server_hears_of_it() {
    let mut agent = Agent::new("");
    let child = making(&asked(&mut agent));
    let begun = agent.rig.now.mono;
    let effects = agent.rig.tick();
    assert_eq!(agent.rig.now.mono.since(begun), TASK_TIMEOUT);
    assert!(effects.contains(&Effect::Signal { child, signal: libc::SIGKILL }), "{effects:?}");
    assert!(csr(&effects).unwrap_err().contains("no answer within 30 seconds"));
}

#[test]
fn a_server_that_refuses_leaves_the_old_certificate() {
    let mut agent = waiting();
    let refused = Frame::Renewed(Renewed { cert: None, error: Some("this host was revoked") });
    assert_eq!(hears(&mut agent, &refused), []);
    // What it sends now nobody waits for.
    assert_eq!(signed(&mut agent, "CERT"), []);
}

#[test]
fn a_server_that_never_stops_asking_gets_one_child_a_minute_and_no_more() {
    let mut agent = Agent::new("");
    let mut children = 0;
    let begun = agent.rig.now.mono;
    while agent.rig.now.mono.since(begun) < Duration::from_secs(600) {
        let effects = asked(&mut agent);
        match &effects[..] {
            [Effect::Spawn { child, .. }] => {
                children += 1;
                // While it is at work, too.
                assert!(csr(&asked(&mut agent)).unwrap_err().contains("under way"));
                ends(&mut agent, *child, Ok("CSR"));
            }
            _ => assert!(csr(&effects).unwrap_err().contains("just now"), "{effects:?}"),
        }
        agent.rig.pass(Duration::from_secs(1));
    }
    assert_eq!(children, 10);
}

#[test]
fn certificates_that_nobody_asked_for_and_those_that_are_too_long_are_not_taken() {
    let mut agent = Agent::new("");
    assert_eq!(signed(&mut agent, "CERT"), []);
    let child = making(&asked(&mut agent));
    assert_eq!(signed(&mut agent, "CERT"), [], "before the request is there");
    ends(&mut agent, child, Ok("CSR"));
    let effects = signed(&mut agent, &"x".repeat(MAX_CERT_BYTES + 1));
    assert!(outcome(&effects).unwrap_err().contains("65537 bytes"), "{effects:?}");
    let child = {
        agent.rig.pass(RENEWAL_PACE);
        making(&asked(&mut agent))
    };
    ends(&mut agent, child, Ok("CSR"));
    taking(&signed(&mut agent, "CERT"), "CERT");
    assert_eq!(signed(&mut agent, "OTHER"), [], "one at a time");
}

/// Loses the link, and has another one.
fn relinks(agent: &mut Agent) -> Vec<Effect> {
    let lost = agent.rig.event(Event::Closed(agent.conn, ConnectionEnd::ByPeer));
    let effects = agent.rig.tick();
    let [Effect::Connect { conn, .. }] = effects[..] else { panic!("no connect: {effects:?}") };
    agent.conn = conn;
    agent.rig.event(Event::Connected(conn));
    agent.rig.event(Event::Received(conn, &encode(&Frame::Ready { heartbeat: 3600, facts: None })));
    lost
}

#[test]
fn a_link_that_is_lost_takes_what_was_not_signed_with_it() {
    let mut agent = Agent::new("");
    let child = making(&asked(&mut agent));
    let lost = relinks(&mut agent);
    assert_eq!(lost, [Effect::Signal { child, signal: libc::SIGKILL }, Effect::Release { child }]);
    assert_eq!(agent.ends(child, Exit::Signal(libc::SIGKILL)), [], "it says nothing by the new link");

    let mut agent = waiting();
    relinks(&mut agent);
    assert_eq!(signed(&mut agent, "CERT"), [], "signed for a key of the link before");
}

#[test]
fn what_was_signed_is_put_into_place_though_the_link_is_lost() {
    let mut agent = waiting();
    let child = taking(&signed(&mut agent, "CERT"), "CERT");
    assert_eq!(relinks(&mut agent), [], "it is not stopped half-way");
    assert_eq!(outcome(&ends(&mut agent, child, Ok("2027-12-26T00:00:00Z"))), Ok(()));
}

#[test]
fn an_idle_agent_waits_for_nothing_but_its_heartbeat_after_a_renewal() {
    let mut agent = waiting();
    let idle = agent.rig.now.mono;
    let effects = agent.rig.tick();
    assert!(matches!(frames(&effects)[..], [FromAgent::Ping]), "{effects:?}");
    assert!(agent.rig.now.mono.since(idle) >= Duration::from_secs(3590));
}
