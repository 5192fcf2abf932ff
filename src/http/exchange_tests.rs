use super::*;
use crate::machine::{Exit, Protocol, Stream};
use std::time::SystemTime;

const ANSWER: Duration = Duration::from_secs(30);
const ALL: Duration = Duration::from_mins(10);

/// How an exchange with these servers ends where each takes the connection and nobody says a word,
/// when that is, and whom it has asked. A name has two hundred addresses.
fn silence(servers: &[&str]) -> (ExchangeError, Duration, Vec<SocketAddr>) {
    let servers: Vec<Server> = servers.iter().map(|host| Server { host: (*host).into(), port: 1 }).collect();
    let ask = Ask {
        security: Security::Mutual { dir: "/pki".into(), protocol: Protocol::Http },
        path: "/",
        body: Vec::new(),
        most_bytes: 1000,
        read: Ok,
        answer_within: ANSWER,
        all_within: ALL,
        is_repeatable: true,
    };
    let mut now = Now { mono: Instant(Duration::ZERO), wall: SystemTime::UNIX_EPOCH };
    let (mut fx, mut asked) = (Effects::default(), Vec::new());
    let mut exchange = Exchange::start(now, ask, servers[0].clone(), &servers[1..], &mut fx);
    let addresses: Vec<String> = (0..200).map(|last| format!("\"10.0.0.{last}:1\"")).collect();
    let addresses = format!("[{}]", addresses.join(","));
    loop {
        let effects = fx.take();
        for effect in &effects {
            let Effect::Spawn { child, .. } = effect else { continue };
            for event in [
                Event::Output(*child, Stream::Out, addresses.as_bytes()),
                Event::OutputEnded(*child, Stream::Out),
                Event::OutputEnded(*child, Stream::Err),
                Event::Exited(*child, Exit::Code(0)),
            ] {
                assert!(exchange.handle(now, &event, &mut fx).is_none());
            }
        }
        for effect in &effects {
            if let Effect::Connect { conn, to, .. } = effect {
                asked.push(*to);
                assert!(exchange.handle(now, &Event::Connected(*conn), &mut fx).is_none());
            }
        }
        if !effects.is_empty() {
            continue;
        }
        now.mono = exchange.deadline();
        if let Some(end) = exchange.handle(now, &Event::Tick, &mut fx) {
            return (end.expect_err("nobody answers"), now.mono.0, asked);
        }
    }
}

#[test]
fn no_server_takes_the_time_of_those_behind_it() {
    let (error, at, asked) = silence(&["many.example", "10.1.0.1", "10.1.0.2"]);
    let of_the_name = asked.iter().filter(|to| to.to_string().starts_with("10.0.0.")).count();
    assert_eq!(of_the_name, 7, "a third of the time: {asked:?}");
    assert_eq!(asked[7..], ["10.1.0.1:1".parse().unwrap(), "10.1.0.2:1".parse().unwrap()]);
    assert!(at < ALL, "{at:?}");
    let text = error.to_string();
    assert!(text.contains("10.0.0.0:1): no answer within 30 s") && text.contains("10.1.0.2"), "{text}");
}

#[test]
fn of_a_name_s_many_addresses_so_many_are_tried() {
    let (error, _, asked) = silence(&["many.example"]);
    assert_eq!(asked.len(), ADDRESSES_A_NAME);
    assert!(matches!(error, ExchangeError::Failed(failures) if failures.len() == ADDRESSES_A_NAME));
}

#[test]
fn where_all_of_it_takes_too_long_what_was_tried_is_told() {
    let servers: Vec<String> = (0..30).map(|last| format!("10.1.0.{last}")).collect();
    let (error, at, _) = silence(&servers.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(at, ALL);
    let text = error.to_string();
    assert!(text.starts_with("no answer within 600 s; the last that was tried is 10.1.0.19:1; 10.1.0.0:1: "));
}
