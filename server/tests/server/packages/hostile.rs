//! What is hostile: paths, links, uploaded pages.

use super::{call, folder, get, names, put};
use crate::common::Server;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::mpsc::TryRecvError;

#[tokio::test]
async fn nothing_leads_out_of_the_folder() {
    let server = Server::start().await;
    let (inside, outside) = (folder(&server), server.dir.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret.txt"), "secret").unwrap();
    fs::create_dir(inside.join("pool")).unwrap();
    fs::write(inside.join("pool/a.txt"), "a").unwrap();
    symlink(outside.join("secret.txt"), inside.join("file.txt")).unwrap();
    symlink(&outside, inside.join("folder")).unwrap();
    symlink("pool", inside.join("alias")).unwrap();
    nix::unistd::mkfifo(&inside.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let long = "x".repeat(256);
    let deep = "0123456789/".repeat(400);
    for rest in [
        "../outside/secret.txt",
        "..%2foutside%2fsecret.txt",
        "..%2Foutside/secret.txt",
        "%2e%2e/outside/secret.txt",
        "%2e%2e%2foutside%2fsecret.txt",
        "%252e%252e/outside/secret.txt",
        "pool/../../outside/secret.txt",
        "pool/..%2f..%2foutside/secret.txt",
        "..\\outside\\secret.txt",
        "..%5coutside%5csecret.txt",
        "%c0%ae%c0%ae/outside/secret.txt",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "//etc/passwd",
        "a%00.txt",
        "pool/a.txt%00",
        "pool//a.txt",
        "pool/./a.txt",
        "pool/a.txt/",
        "pool/a.txt/b",
        "a%0d%0ab",
        "%",
        "%ff",
        ".hidden",
        &long,
        &deep,
        "file.txt",
        "folder/secret.txt",
        "folder/",
        "alias/a.txt",
        "pipe",
    ] {
        for (method, headers) in [("GET", ""), ("PUT", "content-length: 1\r\n"), ("DELETE", "")] {
            if method == "PUT" && ["%252e%252e/outside/secret.txt"].contains(&rest) {
                // Decoded once it is a name like another, and is taken as that.
                continue;
            }
            let reply = call(&server, &format!("{method} /packages/{rest}"), headers, b"x").await;
            let refused = (400..500).contains(&reply.status) && reply.status != 401;
            assert!(refused && !reply.text().contains("root:"), "{method} {rest}: {}", reply.status);
            assert_ne!(reply.body, b"secret", "{method} {rest}");
        }
    }
    assert_eq!(get(&server, "/packages/file.txt", "").await.status, 403);
    assert_eq!(fs::read_to_string(outside.join("secret.txt")).unwrap(), "secret");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(names(&server), ["alias", "file.txt", "folder", "pipe", "pool"]);
    assert_eq!(fs::read_dir(inside.join("pool")).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_appears_in_the_midst_leads_nowhere() {
    let server = Server::start().await;
    let (inside, outside) = (folder(&server), server.dir.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("a.txt"), "secret").unwrap();
    fs::create_dir(inside.join("pool")).unwrap();
    fs::write(inside.join("pool/a.txt"), "mine").unwrap();
    symlink(&outside, inside.join("link")).unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let flipping = std::thread::spawn(move || {
        let (pool, link) = (inside.join("pool"), inside.join("link"));
        while stopped.try_recv() != Err(TryRecvError::Disconnected) {
            renameat_with(CWD, &pool, CWD, &link, RenameFlags::EXCHANGE).unwrap();
        }
    });
    let mut seen = [0; 2];
    let mut turn = 0;
    while seen.iter().any(|times| *times < 50) {
        turn += 1;
        assert!(!flipping.is_finished(), "it flips as long as it is looked at");
        let reply = get(&server, "/packages/pool/a.txt", "").await;
        match reply.status {
            200 => assert_eq!(reply.text(), "mine"),
            status => assert!([403, 404].contains(&status), "{status} {}", reply.text()),
        }
        seen[usize::from(reply.status != 200)] += 1;
        let stored = put(&server, &format!("/packages/pool/{turn}.txt"), "", b"x").await.status;
        assert!([201, 403, 409].contains(&stored), "{stored}");
    }
    drop(stop);
    flipping.join().unwrap();
    let there: Vec<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(there, ["a.txt"], "nothing was written outside");
}

#[tokio::test]
async fn a_page_that_somebody_uploaded_cannot_act() {
    let server = Server::start().await;
    for name in ["a.html", "a.SVG", "a.xml"] {
        put(&server, &format!("/packages/{name}"), "content-type: text/html\r\n", b"<script>").await;
        let reply = get(&server, &format!("/packages/{name}"), "").await;
        assert!(reply.header("content-security-policy").starts_with("sandbox"), "{}", reply.head);
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("content-disposition"), "attachment", "{name}");
    }
    put(&server, "/packages/a", "content-type: text/html\r\n", b"<script>").await;
    let reply = get(&server, "/packages/a", "").await;
    assert_eq!(reply.header("content-type"), "application/octet-stream");
}
