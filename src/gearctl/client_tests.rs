use super::*;
use serde_json::json;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixListener;

/// Asks somebody who takes one line, says this, and hangs up; and what was asked.
fn asked(answer: &[u8]) -> (Result<Value, AskError>, Value) {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let line = std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            let mut stream = BufReader::new(stream);
            stream.read_line(&mut line).unwrap();
            stream.get_mut().write_all(answer).unwrap();
            line
        });
        let args = json!({"job": "a"}).as_object().unwrap().clone();
        (ask(&socket, "job.status", args), server.join().unwrap())
    });
    (line.0, serde_json::from_str(&line.1).unwrap())
}

fn complaint(answer: &[u8]) -> String {
    asked(answer).0.unwrap_err().to_string()
}

#[test]
fn the_question_is_a_frame_and_the_answer_is_its_data() {
    let reply = br#"{"id":"1","resp":"success","retcode":2,"message":"","data":{"x":[1]}}"#;
    let (answer, question) = asked(&[&reply[..], b"\n"].concat());
    assert_eq!(answer.unwrap(), json!({"x": [1]}));
    assert_eq!(question, json!({"id": "1", "method": "job.status", "job": "a"}));
    let (answer, _) = asked(b"{\"id\":\"1\",\"resp\":\"success\",\"retcode\":1,\"message\":\"Accepted\"}\n");
    assert_eq!(answer.unwrap(), Value::Null);
}

#[test]
fn output_on_the_way_is_passed_over() {
    let output = br#"{"method":"output","id":"1","stream":"stdout","data":"so far"}"#;
    let reply = br#"{"id":"1","resp":"success","retcode":2,"message":"","data":"so far and on"}"#;
    let (answer, _) = asked(&[&output[..], b"\n", &reply[..], b"\n"].concat());
    assert_eq!(answer.unwrap(), "so far and on");
}

#[test]
fn a_failure_is_told_in_the_agents_words() {
    let failed = r#""resp":"failed","retcode":3024,"message":"Not found""#;
    let detail = r#""detail":"job: no job of this id""#;
    for (reply, expected) in [
        (format!("{{\"id\":\"1\",{failed},{detail}}}\n"), "Not found (3024): job: no job of this id"),
        (format!("{{\"id\":\"1\",{failed}}}\n"), "Not found (3024)"),
        (format!("{{\"id\":\"\",{failed}}}\n"), "Not found (3024)"),
    ] {
        assert_eq!(complaint(reply.as_bytes()), expected);
    }
}

#[test]
fn whoever_hangs_up_or_talks_nonsense_is_told_from_one_who_says_no() {
    for (answer, words) in [
        (&b""[..], "hung up"),
        (b"{\"id\":\"1\",\"resp\"", "hung up"),
        (b"220 mail.example ESMTP\r\n", "is not gearman"),
        (b"{}\n", "is not gearman"),
    ] {
        let said = complaint(answer);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn who_is_not_there_or_does_not_answer_is_named_with_what_to_do() {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("s");
    let said = || {
        let patience = Duration::from_millis(10);
        ask_within(patience, &socket, "agent.info", Map::new()).unwrap_err().to_string()
    };
    let nobody = said();
    assert!(nobody.starts_with(socket.to_str().unwrap()), "{nobody}");
    assert!(nobody.contains("does not run") && nobody.contains("-s"), "{nobody}");
    // It takes the connection and never looks at it.
    let listener = UnixListener::bind(&socket).unwrap();
    assert_eq!(said(), "gearman has not answered for 0.01 s; its log may say why");
    drop(listener);
    assert_eq!(said(), nobody, "what a dead one left behind");
    let denied = no_connection(&socket, ErrorKind::PermissionDenied.into()).to_string();
    assert!(denied.contains("only root may ask"), "{denied}");
    let long = place.path().join("x".repeat(200));
    let said = ask(&long, "agent.info", Map::new()).unwrap_err().to_string();
    assert!(said.contains("xxx: ") && said.contains("-s"), "{said}");
}
