use crate::server::{Answer, Server, answer, broken, rest, whole};
use crate::{Here, SHORT, body, fetched, reason, reason_within};
use aspire_package::{Checksum, Error, answers, fetch};
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_file_comes_whole_and_is_ours_alone() {
    let (here, body) = (Here::new(), body(300_000));
    let server = Server::http(vec![whole("a", &body)]);
    assert_eq!(fetched(&here.fetch(&server.url("/x.deb?a=b"), &body)), Ok((300_000, 0)));
    assert_eq!(here.file(), Some(body));
    assert_eq!(here.beside(), [""; 0]);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&here.to()), 0o600);
    assert_eq!(mode(here.to().parent().unwrap()), 0o700);
    let heads = server.heads();
    assert!(heads[0].starts_with("GET /x.deb?a=b HTTP/1.1\r\n"), "{heads:?}");
    assert!(!heads[0].to_lowercase().contains("range"), "{heads:?}");
}

#[test]
fn what_broke_off_is_taken_up() {
    let (here, body) = (Here::new(), body(200_000));
    let server = Server::http(vec![broken("a", &body, 120_000), rest("a", &body, 120_000)]);
    let fetch = here.fetch(&server.url("/x"), &body);
    let error = reason(&fetch);
    assert!(error.starts_with(&fetch.url) && error.contains("120000"), "{error}");
    assert_eq!(here.file(), None);
    assert_eq!(here.beside(), ["file.deb.part", "file.deb.part.origin"]);
    assert_eq!(fetched(&fetch), Ok((200_000, 120_000)));
    assert_eq!(here.file(), Some(body));
    assert_eq!(here.beside(), [""; 0]);
    let head = server.heads()[1].to_lowercase();
    assert!(
        head.contains("\r\nrange: bytes=120000-\r\n") && head.contains("\r\nif-range: \"a\"\r\n"),
        "{head}"
    );
}

#[test]
fn a_date_serves_where_there_is_no_strong_tag() {
    let (here, body) = (Here::new(), body(1000));
    let date = "Last-Modified: Tue, 24 Nov 2026 10:00:00 GMT";
    let head = format!("HTTP/1.1 200 OK\nContent-Length: 1000\nETag: W/\"a\"\n{date}");
    let next = format!(
        "HTTP/1.1 206 Partial Content\nContent-Length: 600\nContent-Range: bytes 400-999/1000\n{date}"
    );
    let server = Server::http(vec![answer(&head, &body[..400]), answer(&next, &body[400..])]);
    let fetch = here.fetch(&server.url("/x"), &body);
    reason(&fetch);
    assert_eq!(fetched(&fetch), Ok((1000, 400)));
    assert!(server.heads()[1].to_lowercase().contains("if-range: tue, 24 nov 2026 10:00:00 gmt\r\n"));
}

#[test]
fn a_file_that_changed_meanwhile_begins_anew() {
    let (here, old, new) = (Here::new(), body(1000), vec![1; 1500]);
    let server = Server::http(vec![broken("a", &old, 900), whole("b", &new)]);
    let fetch = here.fetch(&server.url("/x"), &new);
    reason(&fetch);
    assert_eq!(fetched(&fetch), Ok((1500, 0)));
    assert_eq!(here.file(), Some(new));
}

#[test]
fn a_server_that_does_not_heed_the_condition_is_seen_through() {
    let (here, old, new) = (Here::new(), body(1000), vec![1; 1500]);
    let server = Server::http(vec![broken("a", &old, 900), rest("b", &new, 900), whole("b", &new)]);
    let fetch = here.fetch(&server.url("/x"), &new);
    reason(&fetch);
    assert_eq!(fetched(&fetch), Ok((1500, 0)));
    assert!(!server.heads()[2].to_lowercase().contains("range"));
}

#[test]
fn another_part_than_was_asked_for_is_not_taken() {
    let (here, body) = (Here::new(), body(1000));
    let server = Server::http(vec![broken("a", &body, 400), rest("a", &body, 500), whole("a", &body)]);
    let fetch = here.fetch(&server.url("/x"), &body);
    reason(&fetch);
    assert_eq!(fetched(&fetch), Ok((1000, 0)));
}

#[test]
fn a_part_that_does_not_fit_costs_the_next_try_its_beginning_and_no_more() {
    let (here, body) = (Here::new(), body(1000));
    let odd =
        "HTTP/1.1 206 Partial Content\nContent-Length: 600\nContent-Range: bytes 400-999/300\nETag: \"a\"";
    let server = Server::http(vec![broken("a", &body, 400), answer(odd, &body[400..]), whole("a", &body)]);
    let fetch = here.fetch(&server.url("/x"), &body);
    reason(&fetch);
    let error = reason(&fetch);
    assert!(error.ends_with("ended after 1000 of 400 bytes"), "{error}");
    assert_eq!(fetched(&fetch), Ok((1000, 0)));
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let (here, body) = (Here::new(), body(1000));
    let server = Server::http(vec![broken("a", &body, 400), whole("a", &body)]);
    let fetch = here.fetch(&server.url("/x"), &body);
    reason(&fetch);
    assert_eq!(fetched(&fetch), Ok((1000, 0)));
}

#[test]
fn what_nothing_tells_from_its_next_version_begins_anew() {
    let (here, body) = (Here::new(), body(1000));
    let head = "HTTP/1.1 200 OK\nContent-Length: 1000";
    let server = Server::http(vec![answer(head, &body[..400]), answer(head, &body)]);
    let fetch = here.fetch(&server.url("/x"), &body);
    reason(&fetch);
    assert_eq!(here.beside(), ["file.deb.part"]);
    assert_eq!(fetched(&fetch), Ok((1000, 0)));
    assert!(!server.heads()[1].to_lowercase().contains("range"));
}

#[test]
fn a_part_of_another_url_begins_anew() {
    let (here, body) = (Here::new(), body(1000));
    let server = Server::http(vec![broken("a", &body, 400), whole("a", &body)]);
    reason(&here.fetch(&server.url("/x?file=1"), &body));
    assert_eq!(fetched(&here.fetch(&server.url("/x?file=2"), &body)), Ok((1000, 0)));
}

#[test]
fn a_part_that_was_complete_gets_its_name_without_the_server() {
    let (here, body) = (Here::new(), body(1000));
    std::fs::create_dir_all(here.to().parent().unwrap()).unwrap();
    std::fs::write(here.to().with_extension("deb.part"), &body).unwrap();
    // Port 1 answers nobody.
    assert_eq!(fetched(&here.fetch("http://127.0.0.1:1/x", &body)), Ok((1000, 1000)));
    assert_eq!(here.file(), Some(body));
    assert_eq!(here.beside(), [""; 0]);
}

#[test]
fn a_file_that_is_there_is_not_brought_again() {
    let (here, body) = (Here::new(), body(1000));
    std::fs::create_dir_all(here.to().parent().unwrap()).unwrap();
    std::fs::write(here.to(), &body).unwrap();
    assert_eq!(fetched(&here.fetch("http://127.0.0.1:1/x", &body)), Ok((1000, 1000)));
    // Another one by that name is.
    let server = Server::http(vec![whole("a", &body)]);
    std::fs::write(here.to(), b"other").unwrap();
    assert_eq!(fetched(&here.fetch(&server.url("/x"), &body)), Ok((1000, 0)));
    assert_eq!(here.file(), Some(body));
}

#[test]
fn a_range_beyond_the_end_begins_anew() {
    let (here, old, new) = (Here::new(), body(1000), vec![1; 100]);
    let beyond =
        answer("HTTP/1.1 416 Range Not Satisfiable\nContent-Range: bytes */100\nContent-Length: 0", b"");
    let server = Server::http(vec![broken("a", &old, 900), beyond, whole("b", &new)]);
    let fetch = here.fetch(&server.url("/x"), &new);
    reason(&fetch);
    assert_eq!(fetched(&fetch), Ok((100, 0)));
}

#[test]
fn a_wrong_checksum_is_told_and_nothing_is_kept() {
    let (here, body) = (Here::new(), body(1000));
    let server = Server::http(vec![whole("a", b"malice"), whole("a", &body)]);
    let fetch = here.fetch(&server.url("/x"), &body);
    let error = fetched(&fetch).unwrap_err();
    let got = Checksum::of(&b"malice"[..]).unwrap();
    let expected = fetch.checksum.unwrap();
    assert_eq!(error, Error::Checksum { url: fetch.url.clone(), expected, got });
    assert_eq!(error.retcode().code(), 3302);
    assert!(
        error.to_string().contains(&got.to_string()) && error.to_string().contains(&expected.to_string())
    );
    assert_eq!(here.file(), None);
    assert_eq!(here.beside(), [""; 0]);
    assert_eq!(fetched(&fetch), Ok((1000, 0)));
}

#[test]
fn what_is_too_large_is_refused_before_it_comes() {
    let (here, body) = (Here::new(), body(1000));
    let mut fetch = here.fetch("", &body);
    fetch.most_bytes = 999;
    // The server would stay silent: only the head is needed.
    let server =
        Server::http(vec![Answer::Silence(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec())]);
    fetch.url = server.url("/x");
    let error = reason(&fetch);
    assert!(error.contains("1000 bytes") && error.contains("at most 999"), "{error}");
    let server = Server::http(vec![Answer::Bytes(
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", body.as_slice()].concat(),
    )]);
    fetch.url = server.url("/x");
    let error = reason(&fetch);
    assert!(error.contains("at most 999"), "{error}");
    assert_eq!(here.beside(), [""; 0]);
}

#[test]
fn a_body_in_chunks_and_one_without_length_are_read_to_their_end() {
    let (here, body) = (Here::new(), body(20));
    let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n";
    let chunks = [chunks, &body[..5], b"\r\nf\r\n", &body[5..], b"\r\n0\r\n\r\n"].concat();
    let server = Server::http(vec![Answer::Bytes(chunks)]);
    assert_eq!(fetched(&here.fetch(&server.url("/x"), &body)), Ok((20, 0)));
    let here = Here::new();
    let server = Server::http(vec![answer("HTTP/1.0 200 OK", &body)]);
    assert_eq!(fetched(&here.fetch(&server.url("/x"), &body)), Ok((20, 0)));
    // Chunks that break off are no end.
    let here = Here::new();
    let server = Server::http(vec![answer("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"5\r\nab")]);
    reason(&here.fetch(&server.url("/x"), &body));
    assert_eq!(here.file(), None);
}

#[test]
fn a_refusal_is_told_with_status_and_url() {
    let here = Here::new();
    let server = Server::http(vec![answer("HTTP/1.1 404 Nope\nContent-Length: 4", b"what")]);
    let url = format!("http://me:secret@127.0.0.1:{}/x?token=hidden", server.port);
    let error = reason(&here.fetch(&url, b""));
    assert_eq!(error, format!("http://127.0.0.1:{}/x?…: the server answered 404 Not Found", server.port));
    assert_eq!(Error::Download(error).retcode().code(), 3301);
}

#[test]
fn a_login_is_sent_and_never_shown() {
    let (here, body) = (Here::new(), body(10));
    let away = "HTTP/1.1 302 Found\nContent-Length: 0\nLocation: http://localhost";
    let second = Server::http(vec![whole("a", &body)]);
    let first = Server::http(vec![answer(&format!("{away}:{}/y", second.port), b"")]);
    let url = format!("http://Aladdin:open%20sesame@127.0.0.1:{}/x", first.port);
    let fetch = here.fetch(&url, &body);
    assert_eq!(fetched(&fetch), Ok((10, 0)));
    assert!(!format!("{fetch:?}").contains("sesame"));
    let head = first.heads()[0].to_lowercase();
    assert!(head.contains("\r\nauthorization: basic qwxhzgrpbjpvcgvuihnlc2ftzq==\r\n"), "{head}");
    assert!(!head.contains("sesame"), "{head}");
    assert!(!second.heads()[0].to_lowercase().contains("authorization"), "it is another server's");
}

#[test]
fn a_login_goes_with_a_redirect_on_its_own_server() {
    let (here, body) = (Here::new(), body(10));
    let hop = answer("HTTP/1.1 302 Found\nContent-Length: 0\nLocation: /y", b"");
    let server = Server::http(vec![hop, whole("a", &body)]);
    let url = format!("http://me:secret@127.0.0.1:{}/x", server.port);
    assert_eq!(fetched(&here.fetch(&url, &body)), Ok((10, 0)));
    assert!(server.heads()[1].to_lowercase().contains("authorization: basic "));
}

#[test]
fn redirects_are_followed_five_times() {
    let (here, body) = (Here::new(), body(10));
    let hop = |n: usize| answer(&format!("HTTP/1.1 302 Found\nContent-Length: 0\nLocation: /hop{n}"), b"");
    let server = Server::http((0..5).map(hop).chain([whole("a", &body)]).collect());
    assert_eq!(fetched(&here.fetch(&server.url("/x"), &body)), Ok((10, 0)));
    assert!(server.heads()[5].starts_with("GET /hop4 "));
    let here = Here::new();
    let server = Server::http((0..6).map(hop).collect());
    let error = reason(&here.fetch(&server.url("/x"), &body));
    assert!(error.contains("redirects more than 5 times"), "{error}");
}

#[test]
fn a_redirect_to_another_protocol_is_refused() {
    for target in ["file:///etc/passwd", "ftp://127.0.0.1:1/x", "http://me:secret@/"] {
        let here = Here::new();
        let redirect = format!("HTTP/1.1 302 Found\nContent-Length: 0\nLocation: {target}");
        let server = Server::http(vec![answer(&redirect, b"")]);
        let error = reason(&here.fetch(&server.url("/x"), b""));
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_part_is_taken_up_behind_a_redirect() {
    let (here, body) = (Here::new(), body(1000));
    let hop = || answer("HTTP/1.1 301 Moved Permanently\nContent-Length: 0\nLocation: y", b"");
    let server = Server::http(vec![hop(), broken("a", &body, 400), hop(), rest("a", &body, 400)]);
    let fetch = here.fetch(&server.url("/f/x"), &body);
    reason(&fetch);
    assert_eq!(fetched(&fetch), Ok((1000, 400)));
    assert!(server.heads()[3].starts_with("GET /f/y "));
}

#[test]
fn a_silent_server_is_given_up_at_each_stage() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    for sent in [&b""[..], &head[..20], head, &[head, &b"abc"[..]].concat()] {
        let here = Here::new();
        let server = Server::http(vec![Answer::Silence(sent.to_vec())]);
        let error = reason_within(&here.fetch(&server.url("/x"), b"abcdefghij"), SHORT);
        assert!(error.contains("the server was silent for 200ms"), "{error}");
        assert_eq!(server.heads().len(), 1);
    }
}

#[test]
fn what_is_no_http_is_told_in_one_line() {
    let here = Here::new();
    let noise = [&b"\x1b[31m\r\n"[..], &[0xff; 100]].concat();
    let server = Server::http(vec![Answer::Bytes(noise)]);
    let error = reason(&here.fetch(&server.url("/x"), b""));
    assert!(!error.contains(char::is_control), "{error:?}");
    let endless = [b"HTTP/1.1 200 OK\r\n", "A: b\r\n".repeat(20_000).as_bytes()].concat();
    let server = Server::http(vec![Answer::Bytes(endless)]);
    reason(&here.fetch(&server.url("/x"), b""));
    assert_eq!(here.file(), None);
}

#[test]
fn nobody_there_is_told() {
    let error = reason(&Here::new().fetch("http://127.0.0.1:1/x", b""));
    assert!(error.contains("refused"), "{error}");
    let error = reason(&Here::new().fetch("http://no.such.host.invalid/x", b""));
    assert!(error.starts_with("http://no.such.host.invalid/x: "), "{error}");
}

#[test]
fn two_downloads_of_one_file_do_not_mix() {
    let (here, body) = (Here::new(), body(10));
    std::fs::create_dir_all(here.to().parent().unwrap()).unwrap();
    let part = std::fs::File::create(here.to().with_extension("deb.part")).unwrap();
    part.lock().unwrap();
    let error = reason(&here.fetch("http://127.0.0.1:1/x", &body));
    assert!(error.contains("another download of it is under way"), "{error}");
}

#[test]
fn a_link_in_the_part_s_place_is_not_followed() {
    let (here, body) = (Here::new(), body(10));
    let elsewhere = here.folder.path().join("precious");
    std::fs::create_dir_all(here.to().parent().unwrap()).unwrap();
    std::fs::write(&elsewhere, b"kept").unwrap();
    std::os::unix::fs::symlink(&elsewhere, here.to().with_extension("deb.part")).unwrap();
    reason(&here.fetch("http://127.0.0.1:1/x", &body));
    assert_eq!(std::fs::read(elsewhere).unwrap(), b"kept");
}

#[test]
fn what_the_caller_gets_wrong_is_named() {
    let here = Here::new();
    let good = here.fetch("http://127.0.0.1:1/x", b"");
    let cases = [
        (aspire_package::Fetch { checksum: None, ..good.clone() }, "checksum: must be given"),
        (aspire_package::Fetch { to: "x".into(), ..good.clone() }, "to: must be an absolute path"),
        (
            aspire_package::Fetch { to: here.folder.path().into(), ..good.clone() },
            "to: must be a file's path",
        ),
        (aspire_package::Fetch { identity: Some("/x".into()), ..good.clone() }, "identity: "),
        (aspire_package::Fetch { url: "gopher://h/x".into(), ..good }, "url: must be http"),
    ];
    for (fetch_this, expected) in cases {
        let error = fetch(&fetch_this).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_server_is_well_by_its_status_alone() {
    for (status, reason) in [
        ("200 OK", None),
        ("204 No Content", None),
        ("302 Found\nLocation: http://127.0.0.1:1/elsewhere", None),
        ("404 Not Found", Some("the server answered 404 Not Found")),
        ("503 Service Unavailable", Some("the server answered 503 Service Unavailable")),
    ] {
        let server = Server::http(vec![answer(&format!("HTTP/1.1 {status}\nContent-Length: 0"), b"")]);
        let url = server.url("/health");
        let expected = reason.map_or(Ok(()), |reason| Err(format!("{url}: {reason}")));
        assert_eq!(answers(&url), expected, "{status}");
    }
    let nobody = answers("http://user:secret@127.0.0.1:1/").unwrap_err();
    assert!(nobody.contains("refused") && !nobody.contains("secret"), "{nobody}");
    assert!(answers("ftp://127.0.0.1/").unwrap_err().ends_with("is not of http or https"));
}
