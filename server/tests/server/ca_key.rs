//! The CA's key is encrypted on the disk where there is a passphrase, and nowhere else.

use crate::agent::{Agent, enrolled};
use crate::common::{Server, config};
use polaris::serve::Running;
use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const PASSPHRASE: &str = "correct horse, battery staple";

/// A configuration that names a file with this passphrase.
fn with_passphrase(dir: &Path, passphrase: &str) -> String {
    let file = dir.join("passphrase");
    let _ = fs::remove_file(&file);
    let mut options = fs::File::options();
    let mut opened = options.write(true).create_new(true).mode(0o600).open(&file).unwrap();
    std::io::Write::write_all(&mut opened, format!("{passphrase}\n").as_bytes()).unwrap();
    format!("[pki]\npassphrase_file = '{}'\n", file.display())
}

fn ca_key(dir: &Path) -> String {
    fs::read_to_string(dir.join("data/pki/ca.key")).unwrap()
}

/// Why the server does not start.
async fn refused(dir: &Path, toml: &str) -> String {
    match Running::start(config(dir, toml)).await {
        Ok(_) => panic!("it starts"),
        Err(error) => format!("{error:#}"),
    }
}

/// What openssl(1) makes of the key: the key in plain.
fn openssl(dir: &Path, passphrase: &str) -> Output {
    let mut openssl = Command::new("openssl");
    openssl.args(["pkey", "-passin"]).arg(format!("pass:{passphrase}")).arg("-in");
    openssl.arg(dir.join("data/pki/ca.key")).stdin(Stdio::null()).output().unwrap()
}

fn public_key(pem: &str) -> Vec<u8> {
    rcgen::PublicKeyData::der_bytes(&rcgen::KeyPair::from_pem(pem).unwrap()).to_vec()
}

#[tokio::test]
async fn a_first_start_with_a_passphrase_never_writes_the_key_in_plain() {
    let dir = TempDir::new().unwrap();
    let toml = with_passphrase(dir.path(), PASSPHRASE);
    let server = Server::on(dir, &toml).await;
    let key = ca_key(server.dir.path());
    assert!(key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{key}");
    let mode = fs::metadata(server.dir.path().join("data/pki/ca.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let host = enrolled(&server, "a").await;
    Agent::link(server.agents(), &host, "a", "boot").await.is_heard().await;

    let Server { running, dir, .. } = server;
    running.stop().await;
    let server = Server::on(dir, &toml).await;
    assert_eq!(ca_key(server.dir.path()), key, "it is left as it is");
    Agent::link(server.agents(), &host, "a", "boot").await.is_heard().await;
}

#[tokio::test]
async fn a_plain_key_is_encrypted_and_stays_the_same_key() {
    let server = Server::start().await;
    let host = enrolled(&server, "a").await;
    let plain = ca_key(server.dir.path());
    let Server { running, dir, .. } = server;
    running.stop().await;
    let server = Server::on(dir, "").await;
    let Server { running, dir, .. } = server;
    assert_eq!(ca_key(dir.path()), plain, "without a passphrase it is left as it is");
    running.stop().await;

    let toml = with_passphrase(dir.path(), PASSPHRASE);
    let server = Server::on(dir, &toml).await;
    let dir = server.dir.path();
    assert!(ca_key(dir).contains("ENCRYPTED"));
    for entry in fs::read_dir(dir.join("data/pki")).unwrap() {
        let path = entry.unwrap().path();
        let body = plain.lines().nth(1).unwrap();
        assert!(!fs::read_to_string(&path).unwrap().contains(body), "{} holds the key", path.display());
    }
    Agent::link(server.agents(), &host, "a", "boot").await.is_heard().await;

    let read = openssl(dir, PASSPHRASE);
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    assert_eq!(public_key(&String::from_utf8(read.stdout).unwrap()), public_key(&plain));
    assert!(!openssl(dir, "wrong").status.success());
}

#[tokio::test]
async fn a_key_that_openssl_encrypted_is_read_and_one_that_it_decrypted_as_well() {
    let server = Server::start().await;
    let Server { running, dir, .. } = server;
    running.stop().await;
    let path = dir.path().join("data/pki/ca.key");
    let plain = ca_key(dir.path());
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs8", "-topk8", "-passout"]).arg(format!("pass:{PASSPHRASE}"));
    let output = openssl.arg("-in").arg(&path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::write(&path, &output.stdout).unwrap();
    let toml = with_passphrase(dir.path(), PASSPHRASE);
    let server = Server::on(dir, &toml).await;
    let Server { running, dir, .. } = server;
    running.stop().await;
    assert_eq!(ca_key(dir.path()).as_bytes(), output.stdout, "it is encrypted already");
    fs::write(&path, &plain).unwrap();
    Server::on(dir, "").await;
}

#[tokio::test]
async fn without_its_passphrase_the_server_does_not_start_and_says_why() {
    let dir = TempDir::new().unwrap();
    let toml = with_passphrase(dir.path(), PASSPHRASE);
    let server = Server::on(dir, &toml).await;
    let Server { running, dir, .. } = server;
    running.stop().await;
    let before = ca_key(dir.path());

    let none = refused(dir.path(), "").await;
    assert!(
        none.contains("pki/ca.key: it is encrypted: give its passphrase by [pki] passphrase_file"),
        "{none}"
    );
    let wrong = refused(dir.path(), &with_passphrase(dir.path(), "wrong")).await;
    assert!(
        wrong.contains("pki/ca.key: the passphrase is not the one that it was encrypted with"),
        "{wrong}"
    );
    let toml = with_passphrase(dir.path(), "");
    let empty = refused(dir.path(), &toml).await;
    assert!(empty.contains("/passphrase: the passphrase is empty"), "{empty}");
    fs::set_permissions(dir.path().join("passphrase"), fs::Permissions::from_mode(0o644)).unwrap();
    let open = refused(dir.path(), &toml).await;
    assert!(open.contains("others may read the passphrase (mode 0644): chmod 600 it"), "{open}");
    assert_eq!(ca_key(dir.path()), before);

    fs::write(dir.path().join("data/pki/ca.key"), &before[..before.len() / 2]).unwrap();
    let toml = with_passphrase(dir.path(), PASSPHRASE);
    let damaged = refused(dir.path(), &toml).await;
    assert!(damaged.contains("pki/ca.key: it looks encrypted, and cannot be read"), "{damaged}");
}

/// `polaris serve` with these variables, which ends by itself: what it says.
fn said(dir: &Path, variables: &[(&str, &str)]) -> String {
    let mut polaris = Command::new(env!("CARGO_BIN_EXE_polaris"));
    // An address that is nobody's: whoever gets so far does not start either.
    polaris.args(["serve", "--web", "127.0.0.1:0", "--agents", "192.0.2.1:1", "--data"]);
    polaris.arg(dir.join("data")).envs(variables.iter().copied()).stdin(Stdio::null());
    let output = polaris.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn the_passphrase_may_stand_in_a_variable_or_in_a_file_that_one_names() {
    let dir = TempDir::new().unwrap();
    let past_the_key = "cannot listen on 192.0.2.1:1";
    let text = said(dir.path(), &[("POLARIS_CA_PASSPHRASE", PASSPHRASE)]);
    assert!(text.contains(past_the_key), "{text}");
    assert!(ca_key(dir.path()).contains("ENCRYPTED") && !text.contains(PASSPHRASE));

    with_passphrase(dir.path(), PASSPHRASE);
    let file = dir.path().join("passphrase").display().to_string();
    let text = said(dir.path(), &[("POLARIS_CA_PASSPHRASE_FILE", &file)]);
    assert!(text.contains(past_the_key), "{text}");
    let text = said(dir.path(), &[("POLARIS_CA_PASSPHRASE", "wrong")]);
    assert!(text.contains("the passphrase is not the one"), "{text}");
    let both = [("POLARIS_CA_PASSPHRASE", PASSPHRASE), ("POLARIS_CA_PASSPHRASE_FILE", file.as_str())];
    let text = said(dir.path(), &both);
    assert!(text.contains("given more than once"), "{text}");
}
