//! Enrolment: what the one-time machine makes of servers of every kind.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

mod sim;

use aspire::enroll::{Enroll, EnrollError};
use aspire::machine::{ChildId, ConnId, ConnectionEnd, Effect, Event, Exit, Security, Signal, Stream};
use aspire::wire::enroll::Token;
use aspire::wire::server_list;
use sim::Rig;

const TOKEN: Token = Token { secret: [1; 32], fingerprint: [2; 32] };

fn rig(server: &str) -> Rig<Enroll> {
    let server = server_list::entry(server).unwrap();
    Rig::new(|_| Enroll::new(server, &TOKEN, "csr".into(), "web-1".into()))
}

/// A rig whose connection is up and whose request is sent.
fn asked() -> (Rig<Enroll>, ConnId) {
    let mut rig = rig("10.0.0.1:99");
    let effects = rig.tick();
    let [Effect::Connect { conn, to, security }] = &effects[..] else { panic!("no connect: {effects:?}") };
    assert_eq!(to.to_string(), "10.0.0.1:99");
    assert_eq!(security, &Security::Pinned { fingerprint: [2; 32] });
    let sent = rig.event(Event::Connected(*conn));
    let [Effect::Send { bytes, .. }] = &sent[..] else { panic!("no request: {sent:?}") };
    let request = String::from_utf8(bytes.clone()).unwrap();
    assert!(request.starts_with("POST /agent/enroll HTTP/1.1\r\nHost: 10.0.0.1:99\r\n"), "{request}");
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["token"], TOKEN.secret_text());
    assert_eq!((&body["csr"], &body["name"]), (&"csr".into(), &"web-1".into()));
    (rig, *conn)
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn error(rig: &mut Rig<Enroll>) -> EnrollError {
    rig.machine.result.take().expect("it is over").expect_err("it failed")
}

#[test]
fn a_certificate_comes_back() {
    let (mut rig, conn) = asked();
    let body = r#"{"hostname":"id","ca":"CA","cert":"CERT"}"#;
    let effects = rig.event(Event::Received(conn, &answer("200 OK", body)));
    assert_eq!(effects, [Effect::Close { conn }, Effect::Stop]);
    let reply = rig.machine.result.unwrap().unwrap();
    assert_eq!((reply.hostname.as_str(), reply.ca.as_str(), reply.cert.as_str()), ("id", "CA", "CERT"));
}

#[test]
fn refusals_are_told_in_the_servers_words() {
    for (status, body, word) in [
        (
            "403 Forbidden",
            r#"{"title":"Forbidden","detail":"the token has expired"}"#,
            "the token has expired",
        ),
        ("503 Service Unavailable", r#"{"title":"Too busy"}"#, "Too busy"),
        ("500 Oops", "<html>", "500"),
    ] {
        let (mut rig, conn) = asked();
        rig.event(Event::Received(conn, &answer(status, body)));
        let text = error(&mut rig).to_string();
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn an_answer_that_is_none_is_an_error() {
    let (mut rig, conn) = asked();
    rig.event(Event::Received(conn, &answer("200 OK", "{}")));
    assert!(matches!(error(&mut rig), EnrollError::Answer(_)));

    let (mut rig, conn) = asked();
    rig.event(Event::Received(conn, b"220 smtp ready\r\n"));
    assert!(matches!(error(&mut rig), EnrollError::Http(_)));

    let (mut rig, conn) = asked();
    rig.event(Event::Received(conn, b"HTTP/1.1 200"));
    rig.event(Event::Closed(conn, ConnectionEnd::ByPeer));
    assert!(error(&mut rig).to_string().contains("in the middle"));
}

#[test]
fn another_ca_is_another_server() {
    let (mut rig, conn) = asked();
    rig.event(Event::Closed(conn, ConnectionEnd::OtherCa));
    assert!(matches!(error(&mut rig), EnrollError::OtherServer(_)));
}

#[test]
fn silence_and_an_interrupt_end_it() {
    let (mut rig, _) = asked();
    let effects = rig.tick();
    assert!(effects.contains(&Effect::Stop));
    assert!(matches!(error(&mut rig), EnrollError::TimedOut(..)));

    let (mut rig, _) = asked();
    rig.event(Event::Signal(Signal::Stop));
    assert!(matches!(error(&mut rig), EnrollError::Interrupted));
}

/// The look-up's child answers and ends.
fn looked_up(rig: &mut Rig<Enroll>, child: ChildId, addresses: &str) -> Vec<Effect> {
    rig.event(Event::Output(child, Stream::Out, addresses.as_bytes()));
    rig.event(Event::OutputEnded(child, Stream::Out));
    rig.event(Event::OutputEnded(child, Stream::Err));
    rig.event(Event::Exited(child, Exit::Code(0)))
}

#[test]
fn a_name_is_resolved_and_each_address_tried() {
    let mut rig = rig("polaris.example");
    let effects = rig.tick();
    let [Effect::Spawn { child, .. }] = effects[..] else { panic!("no look-up: {effects:?}") };
    let mut effects = looked_up(&mut rig, child, r#"["10.0.0.1:8181","10.0.0.2:8181"]"#);
    for expected in ["10.0.0.1:8181", "10.0.0.2:8181"] {
        let [Effect::Connect { conn, to, .. }] = &effects[..] else { panic!("no connect: {effects:?}") };
        assert_eq!(to.to_string(), expected);
        effects = rig.event(Event::Closed(*conn, ConnectionEnd::Io("Connection refused".into())));
    }
    assert!(error(&mut rig).to_string().contains("Connection refused"));
}

#[test]
fn an_address_that_does_not_answer_leaves_time_for_the_next() {
    let mut rig = rig("polaris.example");
    let [Effect::Spawn { child, .. }] = rig.tick()[..] else { panic!("no look-up") };
    let effects = looked_up(&mut rig, child, r#"["[2001:db8::1]:8181","10.0.0.2:8181"]"#);
    let [Effect::Connect { conn: mute, .. }] = effects[..] else { panic!("no connect: {effects:?}") };
    let effects = rig.tick();
    let [Effect::Close { conn }, Effect::Connect { conn: next, to, .. }] = effects[..] else {
        panic!("no second address: {effects:?}")
    };
    assert_eq!((conn, to.to_string().as_str()), (mute, "10.0.0.2:8181"));
    rig.event(Event::Closed(next, ConnectionEnd::Io("Connection refused".into())));
    let text = error(&mut rig).to_string();
    assert!(text.contains("[2001:db8::1]:8181: no connection within 15 s"), "{text}");
    assert!(text.contains("10.0.0.2:8181: Connection refused"), "{text}");
}

#[test]
fn a_name_without_an_address_is_said() {
    let mut rig = rig("polaris.example");
    let [Effect::Spawn { child, .. }] = rig.tick()[..] else { panic!("no look-up") };
    rig.event(Event::Output(child, Stream::Err, b"no such name"));
    rig.event(Event::OutputEnded(child, Stream::Out));
    rig.event(Event::OutputEnded(child, Stream::Err));
    rig.event(Event::Exited(child, Exit::Code(1)));
    assert_eq!(error(&mut rig).to_string(), "polaris.example:8181: no such name");
}
