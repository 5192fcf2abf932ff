use crate::server::ftp;
use crate::{Here, LONG, SHORT, body, fetched, reason, reason_within};
use std::net::TcpListener;
use std::sync::mpsc::Receiver;

type Script = Vec<(Option<&'static str>, String)>;

/// A server's replies up to the file's date, and a port for the file.
fn opening(size: &str) -> (Script, TcpListener) {
    let script = [
        (None, "120-soon\r\n120 ready in a moment\r\n220-hello\r\n 220 not yet\r\n220 ready\r\n"),
        (Some("USER "), "331 password\r\n"),
        (Some("PASS "), "230 in\r\n"),
        (Some("TYPE I"), "200 ok\r\n"),
        (Some("SIZE "), size),
        (Some("MDTM "), "213 20261124100000\r\n"),
    ];
    let script = script.into_iter().map(|(command, reply)| (command, reply.to_owned())).collect();
    (script, TcpListener::bind(("127.0.0.1", 0)).unwrap())
}

fn then(mut script: Script, more: &[(&'static str, &str)]) -> Script {
    script.extend(more.iter().map(|(command, reply)| (Some(*command), (*reply).to_owned())));
    script
}

fn extended(data: &TcpListener) -> String {
    format!("229 Entering Extended Passive Mode (|||{}|)\r\n", data.local_addr().unwrap().port())
}

fn passive(data: &TcpListener) -> String {
    let [high, low] = data.local_addr().unwrap().port().to_be_bytes();
    // An address that is not the server's must not matter.
    format!("227 Entering Passive Mode (192,0,2,1,{high},{low}).\r\n")
}

fn commands(sent: &Receiver<String>) -> Vec<String> {
    sent.iter().collect()
}

#[test]
fn a_file_comes_over_the_server_s_own_address() {
    let (here, body) = (Here::new(), body(1000));
    let (script, data) = opening("213 1000\r\n");
    let port = passive(&data);
    let more = [("EPSV", "500 what\r\n"), ("PASV", port.as_str()), ("RETR ", "150 here\r\n")];
    let mut script = then(script, &more);
    script.push((None, "226 done\r\n".into()));
    let (port, sent) = ftp(script, Some((data, body.clone())));
    let url = format!("ftp://me:se%3Acret@127.0.0.1:{port}/pub/a%20b.deb");
    assert_eq!(fetched(&here.fetch(&url, &body)), Ok((1000, 0)));
    assert_eq!(here.file(), Some(body));
    let sent = commands(&sent);
    assert_eq!(&sent[..2], ["USER me", "PASS se:cret"]);
    assert_eq!(sent.last().unwrap(), "RETR pub/a b.deb");
}

#[test]
fn a_transfer_that_breaks_off_is_taken_up_or_begun_anew() {
    for (rest, resumed_at) in [("350 go on\r\n", 400), ("502 never heard of it\r\n", 0)] {
        let (here, body) = (Here::new(), body(1000));
        let (script, data) = opening("213 1000\r\n");
        let port = extended(&data);
        let broken = then(script, &[("EPSV", &port), ("RETR ", "150 here\r\n")]);
        let (port, _) = ftp(broken, Some((data, body[..400].to_vec())));
        let error = reason(&here.fetch(&format!("ftp://127.0.0.1:{port}/x"), &body));
        assert!(error.contains("ended after 400 of 1000 bytes"), "{error}");

        // Another port is another server's; the part's origin says which.
        let origin = here.to().with_extension("deb.part.origin");
        let (script, data) = opening("213 1000\r\n");
        let address = extended(&data);
        let more = [("REST 400", rest), ("EPSV", &address), ("RETR ", "150 here\r\n")];
        let mut script = then(script, &more);
        script.push((None, "226 done\r\n".into()));
        let left = body[resumed_at..].to_vec();
        let (next, _) = ftp(script, Some((data, left)));
        let text = std::fs::read_to_string(&origin).unwrap().replace(&port.to_string(), &next.to_string());
        std::fs::write(&origin, text).unwrap();
        let fetch = here.fetch(&format!("ftp://127.0.0.1:{next}/x"), &body);
        assert_eq!(fetched(&fetch), Ok((1000, resumed_at as u64)));
        assert_eq!(here.file(), Some(body));
    }
}

#[test]
fn a_server_that_breaks_the_transfer_off_is_believed() {
    let (here, body) = (Here::new(), body(100));
    // It does not tell the size, so that only its last word does.
    let (script, data) = opening("502 no\r\n");
    let port = extended(&data);
    let mut script = then(script, &[("EPSV", &port), ("RETR ", "150 here\r\n")]);
    script.push((None, "426 the disk is \x1b[31mbroken\r\n".into()));
    let (port, _) = ftp(script, Some((data, body.clone())));
    let error = reason(&here.fetch(&format!("ftp://127.0.0.1:{port}/x"), &body));
    assert!(error.contains("426 the disk is  [31mbroken"), "{error:?}");
    assert_eq!(here.file(), None);
}

#[test]
fn what_is_too_large_is_refused_before_it_comes() {
    let (script, _) = opening("213 2000000\r\n");
    let (port, _) = ftp(script, None);
    let error = reason(&Here::new().fetch(&format!("ftp://127.0.0.1:{port}/x"), b""));
    assert!(error.contains("2000000 bytes or more, at most 1048576"), "{error}");
}

#[test]
fn a_login_that_is_refused_does_not_show_the_password() {
    let script = vec![
        (None, "220 hello\r\n".to_owned()),
        (Some("USER me"), "331 password\r\n".to_owned()),
        (Some("PASS secret"), "530 not with secret\r\n".to_owned()),
    ];
    let (port, _) = ftp(script, None);
    let error = reason(&Here::new().fetch(&format!("ftp://me:secret@127.0.0.1:{port}/x"), b""));
    assert_eq!(error, format!("ftp://127.0.0.1:{port}/x: the server refuses the login (530)"));
}

#[test]
fn silent_and_talkative_servers_are_given_up() {
    let fetch = |reply: String, silence| {
        let (port, _) = ftp(vec![(None, reply)], None);
        reason_within(&Here::new().fetch(&format!("ftp://127.0.0.1:{port}/x"), b""), silence)
    };
    assert!(fetch(String::new(), SHORT).contains("the server was silent for 200ms"));
    assert!(fetch("220-\r\n".repeat(10_000), LONG).contains("does not end"));
    assert!(fetch("2".repeat(100_000), LONG).contains("too long"));
    assert!(fetch("SSH-2.0-x\r\n".into(), LONG).contains("does not speak FTP"));
}

#[test]
fn a_path_cannot_end_a_command() {
    let error = reason(&Here::new().fetch("ftp://127.0.0.1:1/x%0d%0aDELE%20y", b""));
    assert!(error.contains("control characters"), "{error}");
    assert!(reason(&Here::new().fetch("ftp://127.0.0.1:1/x/", b"")).contains("must name a file"));
}
