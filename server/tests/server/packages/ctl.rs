//! `polarisctl packages` and `plugins` against the real server.

use super::{hex, put};
use crate::common::Server;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The exit status, and what was printed to standard output and standard error.
type Told = (Option<i32>, String, String);

fn polarisctl(server: &Server, words: &[&str]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polarisctl"));
    for name in ["POLARIS_URL", "POLARIS_TOKEN", "POLARIS_DATA"] {
        command.env_remove(name);
    }
    command.arg("--data").arg(server.dir.path().join("data")).args(words).current_dir(here(server));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The folder in which polarisctl runs.
fn here(server: &Server) -> PathBuf {
    let here = server.dir.path().join("here");
    fs::create_dir_all(&here).unwrap();
    here
}

fn content() -> Vec<u8> {
    (0..300_000u32).flat_map(u32::to_le_bytes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_puts_lists_fetches_and_removes() {
    let server = Server::start().await;
    let (file, content) = (here(&server).join("web 1.deb"), content());
    fs::write(&file, &content).unwrap();
    let sum = format!("SHA256:{}\n", hex(&content));
    let (status, stdout, stderr) = polarisctl(&server, &["packages", "put", "web 1.deb", "pool/"]);
    assert_eq!((status, &stdout), (Some(0), &sum), "{stderr}");
    assert_eq!(stderr, "pool/web 1.deb is stored: 1200000 bytes\n");
    assert_eq!(fs::read(super::folder(&server).join("pool/web 1.deb")).unwrap(), content);

    fs::write(&file, "another").unwrap();
    let (status, _, stderr) = polarisctl(&server, &["packages", "put", "web 1.deb", "pool/web 1.deb"]);
    assert_eq!(status, Some(1));
    assert_eq!(stderr, "polarisctl: pool/web 1.deb is there already: --force replaces it\n");
    assert_eq!(fs::read(super::folder(&server).join("pool/web 1.deb")).unwrap(), content);
    let (status, stdout, _) = polarisctl(&server, &["packages", "put", "--force", "web 1.deb", "pool/"]);
    assert_eq!((status, stdout), (Some(0), format!("SHA256:{}\n", hex(b"another"))));

    let (_, stdout, _) = polarisctl(&server, &["packages", "list"]);
    assert!(stdout.starts_with("NAME   SIZE  MODIFIED") && stdout.contains("\npool/  -     2"), "{stdout}");
    let (_, stdout, _) = polarisctl(&server, &["packages", "list", "pool"]);
    assert!(stdout.contains("\nweb 1.deb  7     2"), "{stdout}");
    let (_, stdout, _) = polarisctl(&server, &["-o", "ndjson", "packages", "list", "pool/"]);
    assert!(stdout.starts_with("{\"name\":\"web 1.deb\",\"kind\":\"file\",\"size\":7,"), "{stdout}");

    let (_, stdout, stderr) =
        polarisctl(&server, &["plugins", "add", "web", "1", "pool/web 1.deb", "--os", "debian"]);
    assert_eq!(stderr, "");
    let id = stdout.trim_end();
    let (_, stdout, _) = polarisctl(&server, &["plugins", "list", "web"]);
    assert!(stdout.contains("  web   1        -     debian  pool/web 1.deb  SHA256:"), "{stdout}");
    let (status, _, stderr) = polarisctl(&server, &["packages", "remove", "pool/web 1.deb"]);
    assert_eq!(
        (status, stderr.contains("the plugin web 1 debian is in this file")),
        (Some(1), true),
        "{stderr}"
    );
    assert_eq!(polarisctl(&server, &["plugins", "remove", id]).0, Some(0));
    assert_eq!(polarisctl(&server, &["packages", "remove", "pool/web 1.deb"]).0, Some(0));
    assert_eq!(polarisctl(&server, &["packages", "remove", "pool"]).0, Some(0));
    assert_eq!(polarisctl(&server, &["packages", "list"]).2, "no entries\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_where_it_broke_off_and_is_what_was_stored() {
    let server = Server::start().await;
    let content = content();
    put(&server, "/packages/pool/a.bin", "", &content).await;
    let (here, fetch) = (here(&server), ["packages", "fetch", "pool/a.bin"]);
    let part = here.join(format!("a.bin.{}.part", &hex(&content)[..12]));
    let clean = |file: &Path| {
        assert_eq!(fs::read(file).unwrap(), content);
        fs::remove_file(file).unwrap();
        assert_eq!(fs::read_dir(&here).unwrap().count(), 0, "nothing else is left");
    };
    let (status, _, stderr) = polarisctl(&server, &fetch);
    assert_eq!(status, Some(0), "{stderr}");
    assert_eq!(stderr, format!("a.bin is here: 1200000 bytes, SHA256:{}\n", hex(&content)));
    clean(&here.join("a.bin"));

    for (begun, from) in [(1, "1 of them"), (700_000, "700000 of them"), (1_200_000, "1200000 of them")] {
        fs::write(&part, &content[..begun]).unwrap();
        let (status, _, stderr) = polarisctl(&server, &[&fetch[..], &["other name"]].concat());
        assert_eq!(status, Some(0), "{stderr}");
        // The part has the other file's name, and is of no use for this one.
        assert!(!stderr.contains(from), "{stderr}");
        fs::remove_file(here.join("other name")).unwrap();
        let (status, _, stderr) = polarisctl(&server, &fetch);
        assert!(stderr.contains(from), "{stderr}");
        assert_eq!(status, Some(0));
        clean(&here.join("a.bin"));
    }
    // One that is longer than the file begins anew; one that holds something else is found out.
    fs::write(&part, [&content[..], b"x"].concat()).unwrap();
    assert_eq!(polarisctl(&server, &fetch).0, Some(0));
    clean(&here.join("a.bin"));
    fs::write(&part, "wrong").unwrap();
    let (status, _, stderr) = polarisctl(&server, &fetch);
    assert_eq!((status, stderr.contains("is not what polaris has")), (Some(1), true), "{stderr}");
    assert_eq!(polarisctl(&server, &fetch).0, Some(0));
    assert_eq!(polarisctl(&server, &fetch).0, Some(0), "it is here");
    fs::write(here.join("a.bin"), "mine").unwrap();
    let (status, _, stderr) = polarisctl(&server, &fetch);
    assert_eq!((status, stderr.contains("a.bin: it is there already, and another file")), (Some(1), true));
    assert_eq!(fs::read(here.join("a.bin")).unwrap(), b"mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_others_laid_in_the_folder_is_written_to() {
    let server = Server::start().await;
    put(&server, "/packages/a.bin", "", b"0123456789").await;
    let here = here(&server);
    let part = here.join(format!("a.bin.{}.part", &hex(b"0123456789")[..12]));
    let victim = here.join("victim");
    fs::write(&victim, "").unwrap();
    symlink(&victim, &part).unwrap();
    let (status, _, stderr) = polarisctl(&server, &["packages", "fetch", "a.bin"]);
    assert_eq!((status, stderr.contains(".part: ")), (Some(1), true), "{stderr}");
    assert_eq!(fs::read(&victim).unwrap(), b"");
    fs::remove_file(&part).unwrap();
    let _listener = UnixListener::bind(&part).unwrap();
    assert_eq!(polarisctl(&server, &["packages", "fetch", "a.bin"]).0, Some(1));
    fs::remove_file(&part).unwrap();
    assert_eq!(polarisctl(&server, &["packages", "fetch", "a.bin"]).0, Some(0));
    assert_eq!(fs::metadata(here.join("a.bin")).unwrap().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_polaris_would_refuse_is_not_sent() {
    let server = Server::with("[packages]\nmax_size = 10\n").await;
    fs::write(here(&server).join("a"), "0123456789+").unwrap();
    for (words, status, reason) in [
        (&["packages", "put", "a"][..], 1, "larger than 10 bytes"),
        (&["packages", "put", "a", "../a"], 2, "is not a name"),
        (&["packages", "put", "none"], 1, "none: No such file"),
        (&["packages", "put", "."], 2, "say where"),
        (&["packages", "fetch", "a"], 1, "there is nothing at a"),
        (&["packages", "fetch", ""], 2, "name a file"),
        (&["packages", "list", "none"], 1, "there is nothing at none/"),
        (&["packages", "remove", "a//b"], 2, "is empty"),
        (&["packages"], 2, "Usage"),
        (&["plugins", "add", "a", "1", "none"], 1, "file: there is nothing at none"),
    ] {
        let told = polarisctl(&server, words);
        assert_eq!((told.0, told.2.contains(reason)), (Some(status), true), "{words:?}: {told:?}");
    }
    assert!(super::names(&server).is_empty());
}
