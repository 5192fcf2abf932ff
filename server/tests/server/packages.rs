//! The document server, as browsers, programs and hosts see it.

mod ctl;
mod hostile;
mod hosts;
mod uploads;

use crate::common::{PATIENCE, Server};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer as it came.
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find(|line| line.starts_with(&format!("{name}: ")));
        line.map_or("", |line| &line[name.len() + 2..])
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One exchange, without any client's idea of what a path may be.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    first: &str,
    headers: &str,
    body: &[u8],
) -> Reply {
    let head = format!("{first} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // Whoever is refused at once may be gone before all is sent.
    let _ = stream.write_all(body).await;
    answer(stream).await
}

async fn answer(mut stream: impl AsyncRead + Unpin) -> Reply {
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("{read:?} {}", String::from_utf8_lossy(&answer)));
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head, body: answer[end + 4..].to_vec() }
}

async fn call(server: &Server, first: &str, headers: &str, body: &[u8]) -> Reply {
    let headers = format!("authorization: Bearer {}\r\n{headers}", server.rest.token);
    let tcp = TcpStream::connect(server.rest.web).await.unwrap();
    exchange(tcp, first, &headers, body).await
}

async fn get(server: &Server, path: &str, headers: &str) -> Reply {
    call(server, &format!("GET {path}"), headers, b"").await
}

async fn put(server: &Server, path: &str, headers: &str, body: &[u8]) -> Reply {
    let headers = format!("content-length: {}\r\n{headers}", body.len());
    call(server, &format!("PUT {path}"), &headers, body).await
}

async fn list(server: &Server, path: &str) -> Vec<Value> {
    let reply = get(server, path, "accept: application/json\r\n").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["entries"].as_array().unwrap().clone()
}

fn folder(server: &Server) -> PathBuf {
    server.dir.path().join("data/packages")
}

/// What is in the folder, what is hidden included.
fn names(server: &Server) -> Vec<String> {
    let entries = fs::read_dir(folder(server)).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn hex(bytes: &[u8]) -> String {
    polaris::requests::hex(&Sha256::digest(bytes))
}

#[tokio::test]
async fn a_file_is_stored_listed_fetched_and_removed() {
    let server = Server::start().await;
    let stored = put(&server, "/packages/pool/m%C3%BCll%201.deb", "", b"first").await;
    assert_eq!((stored.status, stored.header("etag").is_empty()), (201, false), "{}", stored.text());
    let (path, sum) = ("pool/müll 1.deb", hex(b"first"));
    assert_eq!(stored.json(), json!({"path": path, "size": 5, "sha256": sum}));

    let entries = list(&server, "/packages/").await;
    assert_eq!(
        (entries.len(), &entries[0]["name"], &entries[0]["kind"]),
        (1, &json!("pool"), &json!("folder"))
    );
    assert_eq!(entries[0]["size"], Value::Null);
    let entries = list(&server, "/packages/pool/").await;
    assert_eq!((&entries[0]["name"], &entries[0]["size"]), (&json!("müll 1.deb"), &json!(5)));
    assert!(entries[0]["modified"].as_str().unwrap().starts_with("20"), "{entries:?}");

    let fetched = get(&server, "/packages/pool/m%C3%BCll%201.deb", "").await;
    assert_eq!((fetched.status, &*fetched.body), (200, &b"first"[..]));
    assert_eq!(fetched.header("content-length"), "5");
    assert_eq!(fetched.header("content-type"), "application/vnd.debian.binary-package");
    assert_eq!(fetched.header("etag"), stored.header("etag"));
    let summed = get(&server, "/packages/pool/m%C3%BCll%201.deb?checksum", "").await;
    assert_eq!(summed.json(), json!({"path": path, "size": 5, "sha256": sum}));

    let again = put(&server, "/packages/pool/m%C3%BCll%201.deb", "", b"second").await;
    assert_eq!((again.status, again.header("etag") == stored.header("etag")), (200, false));
    assert_eq!(get(&server, "/packages/pool/m%C3%BCll%201.deb", "").await.body, b"second");
    let head = call(&server, "HEAD /packages/pool/m%C3%BCll%201.deb", "", b"").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "6", 0));

    assert_eq!(call(&server, "DELETE /packages/pool/", "", b"").await.status, 409);
    assert_eq!(call(&server, "DELETE /packages/pool/m%C3%BCll%201.deb", "", b"").await.status, 204);
    assert_eq!(get(&server, "/packages/pool/m%C3%BCll%201.deb", "").await.status, 404);
    assert_eq!(call(&server, "DELETE /packages/pool/m%C3%BCll%201.deb", "", b"").await.status, 404);
    assert_eq!(call(&server, "DELETE /packages/pool", "", b"").await.status, 204);
    assert_eq!(call(&server, "DELETE /packages/", "", b"").await.status, 405, "the folder itself stays");
    assert_eq!((list(&server, "/packages/").await.len(), names(&server).len()), (0, 0));
}

#[tokio::test]
async fn an_index_is_a_page_that_leads_to_what_is_there() {
    let server = Server::start().await;
    let (name, text) = ("a<b>&\"c\" %41:.txt", "x".repeat(12345));
    fs::create_dir_all(folder(&server).join("z/inner")).unwrap();
    fs::write(folder(&server).join("z").join(name), text).unwrap();
    fs::write(folder(&server).join("z/.hidden"), "x").unwrap();
    symlink("/etc/passwd", folder(&server).join("z/link")).unwrap();
    for (from, to) in [("/packages", "/packages/"), ("/packages/z", "/packages/z/")] {
        let reply = get(&server, from, "").await;
        assert_eq!((reply.status, reply.header("location")), (301, to));
    }
    let page = get(&server, "/packages/z/", "accept: text/html,*/*;q=0.8\r\n").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let text = page.text();
    let link = "<a href=\"./a%3Cb%3E%26%22c%22%20%2541%3A.txt\">a&#60;b&#62;&#38;&#34;c&#34; %41:.txt</a>";
    assert!(text.contains(link) && text.contains("<a href=\"../\">../</a>"), "{text}");
    assert!(text.contains(">12345</td>") && !text.contains("hidden") && !text.contains("link"), "{text}");
    assert!(text.find("inner/").unwrap() < text.find("a&#60;b").unwrap(), "folders first: {text}");
    let entry = fs::metadata(folder(&server).join("z").join(name)).unwrap();
    let modified = polaris::clock::of_system(entry.modified().unwrap());
    assert!(text.contains(&polaris::clock::local_minute(modified)), "{text}");
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    let fetched = get(&server, "/packages/z/a%3Cb%3E%26%22c%22%20%2541%3A.txt", "").await;
    assert_eq!((fetched.status, fetched.body.len()), (200, 12345));
    assert!(!get(&server, "/packages/", "").await.text().contains("../"));
    assert_eq!(get(&server, "/packages/z/?C=M", "").await.status, 422);
}

#[tokio::test]
async fn a_part_of_a_file_is_what_was_asked_for() {
    let server = Server::start().await;
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let tag = put(&server, "/packages/big.bin", "", &content).await.header("etag").to_owned();
    let size = content.len();
    for (range, begin, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=100000-900000", 100_000, 900_001),
        ("bytes=-7", size - 7, size),
        ("bytes=1199999-", size - 1, size),
    ] {
        let reply = get(&server, "/packages/big.bin", &format!("range: {range}\r\n")).await;
        assert_eq!((reply.status, reply.body == content[begin..end]), (206, true), "{range}");
        assert_eq!(reply.header("content-range"), format!("bytes {begin}-{}/{size}", end - 1));
        assert_eq!(reply.header("content-length"), (end - begin).to_string());
    }
    for range in ["bytes=0-1,5-6", "bytes=5-4", "lines=1-2"] {
        let reply = get(&server, "/packages/big.bin", &format!("range: {range}\r\n")).await;
        assert_eq!((reply.status, reply.body == content), (200, true), "{range}");
    }
    let beyond = get(&server, "/packages/big.bin", &format!("range: bytes={size}-\r\n")).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, &*format!("bytes */{size}")));
    for (known, status) in [(tag.as_str(), 206), ("\"another\"", 200)] {
        let headers = format!("range: bytes=5-\r\nif-range: {known}\r\n");
        assert_eq!(get(&server, "/packages/big.bin", &headers).await.status, status, "{known}");
    }
    let head = call(&server, "HEAD /packages/big.bin", "range: bytes=0-4\r\n", b"").await;
    assert_eq!((head.header("accept-ranges"), head.body.len()), ("bytes", 0));
}

#[tokio::test]
async fn a_file_that_is_known_is_not_sent_again() {
    let server = Server::start().await;
    put(&server, "/packages/a.txt", "", b"text").await;
    let first = get(&server, "/packages/a.txt", "").await;
    let (tag, date) = (first.header("etag"), first.header("last-modified"));
    assert!(tag.starts_with('"') && date.ends_with(" GMT"), "{}", first.head);
    for (header, status) in [
        (format!("if-none-match: \"x\", {tag}"), 304),
        ("if-none-match: *".into(), 304),
        ("if-none-match: \"x\"".into(), 200),
        (format!("if-modified-since: {date}"), 304),
        ("if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT".into(), 200),
        (format!("if-none-match: \"x\"\r\nif-modified-since: {date}"), 200),
        (format!("if-match: {tag}"), 200),
        ("if-match: \"x\"".into(), 412),
        ("if-unmodified-since: Sun, 06 Nov 1994 08:49:37 GMT".into(), 412),
        ("if-modified-since: yesterday".into(), 400),
    ] {
        let reply = get(&server, "/packages/a.txt", &format!("{header}\r\n")).await;
        assert_eq!((reply.status, reply.body == b"text"), (status, status == 200), "{header}");
    }
}

#[tokio::test]
async fn whoever_is_not_let_in_is_asked_for_a_password() {
    let server = Server::start().await;
    let ask = async |method: &str, path: &str, headers: &str| {
        let tcp = TcpStream::connect(server.rest.web).await.unwrap();
        exchange(tcp, &format!("{method} {path}"), headers, b"").await
    };
    let wrong = format!("authorization: Basic {}\r\n", STANDARD.encode("admin:wrong"));
    for (method, headers) in [("GET", ""), ("PUT", "content-length: 0\r\n"), ("DELETE", ""), ("GET", &*wrong)]
    {
        let reply = ask(method, "/packages/a.txt", headers).await;
        assert_eq!(reply.status, 401, "{method} {headers}");
        let asked = reply.header("www-authenticate");
        assert!(asked.starts_with("Basic realm=\"polaris packages\""), "{asked}");
    }
    let right =
        format!("authorization: Basic {}\r\n", STANDARD.encode(format!("admin:{}", server.rest.token)));
    assert_eq!(ask("GET", "/packages/", &right).await.status, 200);
    assert!(ask("GET", "/api/v1/hosts", "").await.header("www-authenticate").starts_with("Bearer"));
    assert_eq!(call(&server, "POST /packages/a.txt", "content-length: 0\r\n", b"").await.status, 405);
    assert!(names(&server).is_empty());
}
