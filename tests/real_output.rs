//! Commands by the real link: what they write.

mod rig;

use rig::connected;
use serde_json::json;

const LIMIT: usize = 65536;

#[test]
fn each_stream_is_kept_to_the_limit_and_the_rest_counted() {
    let mut session = connected("");
    let reply = session.link.run("yes | head -c 10000000");
    assert_eq!(
        (&reply["retcode"], &reply["dropped"]),
        (&json!(2), &json!(9_934_464)),
        "{}",
        reply["message"]
    );
    assert_eq!(reply["data"], "y\n".repeat(LIMIT / 2));
    for (length, dropped) in [(LIMIT - 1, 0), (LIMIT, 0), (LIMIT + 1, 1)] {
        let reply = session.link.run(&format!("head -c {length} /dev/zero | tr '\\0' x"));
        assert_eq!(reply["data"].as_str().unwrap().len(), LIMIT.min(length), "{length}");
        assert_eq!(reply["dropped"], dropped, "{length}");
    }
    let reply = session.link.run("{ yes o | head -c 200000 & yes e | head -c 300000 >&2; wait; }");
    assert_eq!(reply["data"], "o\n".repeat(LIMIT / 2));
    assert_eq!(reply["stderr"], "e\n".repeat(LIMIT / 2));
    assert_eq!(reply["dropped"], 500_000 - 2 * LIMIT);
}

#[test]
fn a_limit_of_the_configuration_is_kept() {
    let mut session = connected("output_limit = 10");
    let reply = session.link.run("printf 'zehn %s' 'Bäume'; printf 12345678901 >&2");
    // The tenth byte is in the midst of nothing: "zehn Bäum" has ten.
    assert_eq!((&reply["data"], &reply["stderr"]), (&json!("zehn Bäum"), &json!("1234567890")));
    assert_eq!(reply["dropped"], 2);
}

#[test]
fn a_character_that_the_limit_cuts_is_dropped_whole() {
    let mut session = connected("");
    let reply = session.link.run("head -c 65535 /dev/zero | tr '\\0' x; printf é");
    assert_eq!((reply["data"].as_str().unwrap().len(), &reply["dropped"]), (LIMIT - 1, &json!(2)));
    assert_eq!(reply.get("encoding"), None);
}

#[test]
fn what_is_no_text_arrives_as_base64() {
    let mut session = connected("");
    let reply = session.link.run("printf '\\xff\\x00\\x01'; printf warn >&2");
    assert_eq!(
        (&reply["encoding"], &reply["data"], &reply["stderr"]),
        (&json!("base64"), &json!("/wAB"), &json!("d2Fybg=="))
    );
    // All of it, to the limit: four characters for three bytes.
    let reply = session.link.run("head -c 100000 /dev/zero | tr '\\0' '\\377'");
    assert_eq!(reply["data"].as_str().unwrap().len(), LIMIT.div_ceil(3) * 4);
    assert_eq!((&reply["encoding"], &reply["dropped"]), (&json!("base64"), &json!(100_000 - LIMIT)));
    // A NUL is text, and so is what JSON has to escape.
    let reply = session.link.run("printf 'a\\0b\\n\"\\\\\\033é'");
    assert_eq!((&reply["data"], reply.get("encoding")), (&json!("a\0b\n\"\\\u{1b}é"), None));
}

#[test]
fn the_largest_replies_fit_the_frame_and_many_pass_a_slow_reader() {
    const COMMANDS: usize = 40;
    let mut session = connected("");
    // Each control character takes six in JSON, on both streams.
    for n in 0..COMMANDS {
        session.link.bash(&format!("{n}"), "head -c 70000 /dev/zero | tee /dev/stderr");
    }
    for _ in 0..COMMANDS {
        let reply = session.link.receive();
        assert_eq!(reply["data"].as_str().unwrap().len(), LIMIT);
        assert_eq!(reply["stderr"].as_str().unwrap().len(), LIMIT);
    }
    assert_eq!(session.link.output_of("echo still there"), "still there\n");
}

#[test]
fn what_was_said_before_the_end_arrives_whole_though_the_server_still_asks() {
    const COMMANDS: usize = 24;
    let mut session = connected("");
    // More than the system buffers, so that the agent stops reading.
    for n in 0..COMMANDS {
        session.link.bash(&format!("{n}"), "head -c 65536 /dev/zero | tee /dev/stderr");
    }
    for n in 0..COMMANDS {
        session.host.logged(&["request=ended", &format!("id=\"{n}\"")]);
    }
    for n in 0..100 {
        session.link.send(&json!({"id": format!("late-{n}"), "method": "agent.info"}));
    }
    session.agent.signal(nix::sys::signal::Signal::SIGTERM);
    session.host.logged(&["agent=stopping"]);
    let replies = session.link.rest();
    let of_commands = replies.iter().filter(|reply| reply.get("stderr").is_some()).count();
    assert_eq!(of_commands, COMMANDS);
    assert!(session.agent.ended().success());
}
