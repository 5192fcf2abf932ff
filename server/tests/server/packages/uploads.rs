//! Files on their way into the folder.

use super::{answer, call, folder, get, hex, list, names, put};
use crate::common::{Server, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use polaris::store::plugins::PluginRow;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

#[tokio::test]
async fn what_does_not_have_its_checksum_is_not_kept() {
    let server = Server::start().await;
    let (sum, other) = (hex(b"text"), hex(b"other"));
    let digest = |text: &[u8]| STANDARD.encode(Sha256::digest(text));
    for (header, status) in [
        (format!("x-checksum-sha256: {sum}"), 201),
        (format!("x-checksum-sha256: {}", sum.to_uppercase()), 200),
        (format!("content-digest: sha-512=:AA==:, sha-256=:{}:", digest(b"text")), 200),
        (format!("x-checksum-sha256: {sum}\r\ncontent-digest: sha-256=:{}:", digest(b"text")), 200),
    ] {
        let reply = put(&server, "/packages/a.txt", &format!("{header}\r\n"), b"text").await;
        assert_eq!(reply.status, status, "{header}: {}", reply.text());
    }
    for header in [
        format!("x-checksum-sha256: {other}"),
        format!("content-digest: sha-256=:{}:", digest(b"other")),
        format!("x-checksum-sha256: {sum}\r\ncontent-digest: sha-256=:{}:", digest(b"other")),
    ] {
        let reply = put(&server, "/packages/new/b.txt", &format!("{header}\r\n"), b"text").await;
        assert_eq!(reply.status, 422, "{header}");
        assert!(reply.text().contains(&sum) && reply.text().contains(&other), "{}", reply.text());
    }
    for (header, field) in [
        ("x-checksum-sha256: abc", "x-checksum-sha256"),
        ("content-digest: sha-512=:AA==:", "content-digest"),
        ("content-digest: sha-256=:AA==:", "content-digest"),
    ] {
        let reply = put(&server, "/packages/new/b.txt", &format!("{header}\r\n"), b"text").await;
        assert_eq!((reply.status, &reply.json()["field"]), (422, &json!(field)), "{header}");
    }
    assert_eq!(names(&server), ["a.txt"]);
}

#[tokio::test]
async fn a_sum_is_known_until_the_file_is_another() {
    let server = Server::start().await;
    put(&server, "/packages/a.txt", "", b"text").await;
    let entry = list(&server, "/packages/").await.remove(0);
    // Some file systems keep no attributes; the sum is then made when it is asked for.
    assert!(entry["sha256"].is_null() || entry["sha256"] == json!(hex(b"text")), "{entry}");
    if !entry["sha256"].is_null() {
        let digest = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(b"text")));
        assert_eq!(
            get(&server, "/packages/a.txt", "range: bytes=0-1\r\n").await.header("repr-digest"),
            digest
        );
    }
    fs::write(folder(&server).join("a.txt"), "another").unwrap();
    assert_eq!(list(&server, "/packages/").await[0]["sha256"], Value::Null);
    let summed = get(&server, "/packages/a.txt?checksum", "").await.json();
    assert_eq!((&summed["sha256"], &summed["size"]), (&json!(hex(b"another")), &json!(7)));
}

#[tokio::test]
async fn a_name_changes_under_the_callers_terms_alone() {
    let server = Server::start().await;
    let only_new = "if-none-match: *\r\n";
    let first = put(&server, "/packages/a.txt", only_new, b"1").await;
    assert_eq!(first.status, 201);
    assert_eq!(put(&server, "/packages/a.txt", only_new, b"2").await.status, 412);
    let old = format!("if-match: {}\r\n", first.header("etag"));
    let second = put(&server, "/packages/a.txt", &old, b"2").await;
    assert_eq!(second.status, 200);
    assert_eq!(put(&server, "/packages/a.txt", &old, b"3").await.status, 412);
    assert_eq!(put(&server, "/packages/b.txt", "if-match: *\r\n", b"3").await.status, 412);
    assert_eq!(call(&server, "DELETE /packages/a.txt", &old, b"").await.status, 412);
    let now = format!("if-match: {}\r\n", second.header("etag"));
    assert_eq!(call(&server, "DELETE /packages/a.txt", &now, b"").await.status, 204);
    assert_eq!(names(&server), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_have_its_place_is_refused() {
    let server = Server::start().await;
    put(&server, "/packages/pool/a.txt", "", b"a").await;
    for (path, status) in [
        ("/packages/pool", 409),
        ("/packages/pool/", 409),
        ("/packages/", 405),
        ("/packages", 405),
        ("/packages/pool/a.txt/b.txt", 409),
    ] {
        assert_eq!(put(&server, path, "", b"x").await.status, status, "{path}");
    }
    let part = "content-range: bytes 0-0/2\r\n";
    assert_eq!(put(&server, "/packages/b.txt", part, b"x").await.status, 400);
    assert_eq!(put(&server, "/packages/b.txt", "content-encoding: gzip\r\n", b"x").await.status, 415);
    assert_eq!(get(&server, "/packages/pool/a.txt", "").await.body, b"a");
    assert_eq!(names(&server), ["pool"]);
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let server = Server::with("[packages]\nmax_size = '1K'\n").await;
    let fits = vec![7; 1024];
    assert_eq!(put(&server, "/packages/fits", "", &fits).await.status, 201);
    // Not a byte of it is sent.
    let reply = call(&server, "PUT /packages/announced", "content-length: 1025\r\n", b"").await;
    assert_eq!(reply.status, 413);
    assert!(reply.text().contains("1024 bytes") && reply.text().contains("max_size"), "{}", reply.text());
    let chunked = [b"401\r\n".as_slice(), &[7; 1025], b"\r\n0\r\n\r\n"].concat();
    let reply = call(&server, "PUT /packages/chunked", "transfer-encoding: chunked\r\n", &chunked).await;
    assert_eq!(reply.status, 413);
    assert_eq!(names(&server), ["fits"]);
}

/// Sends the head and a beginning, and keeps the connection.
async fn begin_put(server: &Server, path: &str, length: usize, begin: &[u8]) -> TcpStream {
    let mut tcp = TcpStream::connect(server.rest.web).await.unwrap();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
         content-length: {length}\r\n\r\n",
        server.rest.token
    );
    tcp.write_all(&[head.as_bytes(), begin].concat()).await.unwrap();
    let uploading = || names(server).iter().any(|name| name.starts_with(".upload-"));
    eventually("the upload has begun", async || uploading().then_some(())).await;
    tcp
}

#[tokio::test]
async fn of_a_connection_that_is_cut_nothing_is_left() {
    let server = Server::start().await;
    let tcp = begin_put(&server, "/packages/pool/a.txt", 1_000_000, &vec![7; 500_000]).await;
    assert_eq!(list(&server, "/packages/").await.len(), 0, "what is not complete is not seen");
    drop(tcp);
    eventually("nothing is left", async || names(&server).is_empty().then_some(())).await;
}

#[tokio::test]
async fn of_two_that_are_sent_at_once_the_last_is_kept_whole() {
    let server = Server::start().await;
    let (slow, fast) = (vec![b's'; 400_000], vec![b'f'; 300_000]);
    let mut tcp = begin_put(&server, "/packages/a.txt", slow.len(), &slow[..200_000]).await;
    assert_eq!(put(&server, "/packages/a.txt", "", &fast).await.status, 201);
    assert_eq!(get(&server, "/packages/a.txt", "").await.body, fast);
    tcp.write_all(&slow[200_000..]).await.unwrap();
    assert_eq!(answer(tcp).await.status, 200);
    assert_eq!(get(&server, "/packages/a.txt", "").await.body, slow);
    let mut tcp = begin_put(&server, "/packages/b.txt", 2, b"1").await;
    tcp.write_all(b"2").await.unwrap();
    assert_eq!(answer(tcp).await.status, 201);
    assert_eq!(names(&server), ["a.txt", "b.txt"]);
}

#[tokio::test]
async fn what_an_earlier_server_left_unfinished_is_removed() {
    let server = Server::start().await;
    put(&server, "/packages/a.txt", "", b"a").await;
    fs::write(folder(&server).join(".upload-0123"), "half").unwrap();
    // Somebody's folder of such a name is in nobody's way.
    fs::create_dir(folder(&server).join(".upload-folder")).unwrap();
    let server = server.restart().await;
    assert_eq!(names(&server), [".upload-folder", "a.txt"]);
    assert_eq!(get(&server, "/packages/a.txt", "").await.body, b"a");
}

#[tokio::test]
async fn a_file_that_goes_is_named_by_its_tag_and_by_no_checksum() {
    let server = Server::start().await;
    put(&server, "/packages/a.txt", "", b"a").await;
    for headers in [
        format!("x-checksum-sha256: {}\r\n", hex(b"another")),
        format!("x-checksum-sha256: {}\r\n", hex(b"a")),
        format!("content-digest: sha-256=:{}:\r\n", STANDARD.encode(Sha256::digest(b"another"))),
    ] {
        let refused = call(&server, "DELETE /packages/a.txt", &headers, b"").await;
        assert_eq!((refused.status, refused.text().contains("If-Match")), (400, true), "{headers}");
    }
    assert_eq!(names(&server), ["a.txt"]);
}

#[tokio::test]
async fn no_plugin_gets_into_the_catalogue_while_its_file_is_replaced_or_removed() {
    let server = Server::start().await;
    put(&server, "/packages/a.so", "", b"a").await;
    let app = &server.running.app;
    let plugin = |id: &str, sum: &[u8]| PluginRow {
        id: id.into(),
        name: id.into(),
        version: "1".into(),
        arch: String::new(),
        os: String::new(),
        file: "a.so".into(),
        checksum: hex(sum),
        created: 0,
    };
    for (first, body) in [("PUT /packages/a.so", &b"another"[..]), ("DELETE /packages/a.so", b"")] {
        let alone = app.packages.catalogue.lock().await;
        let length = format!("content-length: {}\r\n", body.len());
        let changed = call(&server, first, &length, body);
        let added = async {
            // As long as it is held nothing changes, whatever has been called.
            for _ in 0..20 {
                assert_eq!(get(&server, "/packages/a.so", "").await.body, b"a");
            }
            app.store.insert_plugin(&plugin(first.split(' ').next().unwrap(), b"a")).await.unwrap().unwrap();
            drop(alone);
        };
        let (reply, ()) = tokio::join!(changed, added);
        assert_eq!(reply.status, 409, "{first}: {}", reply.text());
        app.store.delete_plugin(first.split(' ').next().unwrap()).await.unwrap();
    }
    assert_eq!(get(&server, "/packages/a.so", "").await.body, b"a");
}

#[tokio::test]
async fn a_plugin_is_not_added_once_its_file_is_another() {
    let server = Server::start().await;
    put(&server, "/packages/a.so", "", b"a").await;
    let app = &server.running.app;
    let alone = app.packages.catalogue.lock().await;
    let new = json!({"name": "a", "version": "1", "file": "a.so",
        "checksum": format!("SHA256:{}", hex(b"a"))});
    let added = server.rest.post("/api/v1/plugins", &new);
    let replaced = async {
        for _ in 0..20 {
            assert_eq!(server.rest.get("/api/v1/plugins").await.body["count"], 0);
        }
        fs::remove_file(folder(&server).join("a.so")).unwrap();
        fs::write(folder(&server).join("a.so"), "another").unwrap();
        drop(alone);
    };
    let (added, ()) = tokio::join!(added, replaced);
    // Of the new file it is not, however slow this machine was.
    assert!(added.status == 409 || added.status == 422, "{added:?}");
}

/// A small file system of this test's own.
struct Disk(PathBuf);

impl Disk {
    fn mount(place: PathBuf) -> Option<Disk> {
        fs::create_dir_all(&place).unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "polaris-test"])
            .arg(&place)
            .output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Disk(place));
        }
        let _ =
            writeln!(std::io::stderr(), "NOT SEEN: a disk that is full, which takes root's right to mount");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn of_what_does_not_fit_on_the_disk_nothing_is_left() {
    let dir = tempfile::TempDir::new().unwrap();
    let Some(disk) = Disk::mount(dir.path().join("disk")) else { return };
    let config = format!("[packages]\ndir = '{}'\n", disk.0.display());
    let server = Server::on(dir, &config).await;
    let chunked = [b"80000\r\n".as_slice(), &vec![7; 0x8_0000], b"\r\n0\r\n\r\n"].concat();
    let reply = call(&server, "PUT /packages/pool/large", "transfer-encoding: chunked\r\n", &chunked).await;
    assert_eq!(reply.status, 507, "{}", reply.text());
    assert_eq!(fs::read_dir(&disk.0).unwrap().count(), 0);
    assert_eq!(put(&server, "/packages/pool/small", "", &vec![7; 100_000]).await.status, 201);
}
