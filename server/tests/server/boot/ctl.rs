//! The real `polarisctl` gives jobs to boots, and shows what they told.

use super::Boot;
use crate::common::Server;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use tokio::task::spawn_blocking;

/// What `polarisctl boot` does with these words.
fn command(server: &Server, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polarisctl"));
    for name in ["POLARIS_URL", "POLARIS_TOKEN", "POLARIS_DATA"] {
        command.env_remove(name);
    }
    command.arg("--data").arg(server.dir.path().join("data")).arg("boot").args(words);
    command
}

/// Its exit status, standard output and standard error.
async fn ctl(server: &Server, words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = command(server, words);
    let output = spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// One that goes on until there is nothing more to tell, or the test ends.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The rest of what it prints, a line each, and its exit status.
async fn end(mut following: Following) -> (Option<i32>, Vec<String>) {
    spawn_blocking(move || {
        let stdout = BufReader::new(following.0.stdout.take().unwrap());
        let lines = stdout.lines().map(Result::unwrap).collect();
        (following.0.wait().unwrap().code(), lines)
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_on_the_operator_s_disk_is_one_command_from_the_fleet() {
    let server = Server::start().await;
    let (one, two) = (Boot::of(&server, "web-1").await, Boot::of(&server, "web-2").await);
    let file = server.dir.path().join("gearman_0.2.0_amd64.deb");
    fs::write(&file, "a package").unwrap();
    let words = ["install", "gearman", "-t", "name ~ \"web-*\"", "--file", file.to_str().unwrap()];
    let told = ctl(&server, &words).await;
    assert_eq!(told.0, Some(0), "{told:?}");
    let id = told.1.trim_end();
    assert!(told.2.ends_with(&format!("see what becomes of it with: polarisctl boot job {id} --follow\n")));

    let mut follow = command(&server, &["job", id, "--follow"]);
    let follow = Following(follow.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    for (boot, errcode) in [(&one, 0), (&two, 3020)] {
        let jobs = boot.jobs().await;
        let url = "/packages/gearman/gearman_0.2.0_amd64.deb";
        assert_eq!((&jobs[0]["url"], &jobs[0]["version"]), (&json!(url), &json!("0.2.0")));
        boot.ends(id, errcode, "so it is").await;
    }
    let (status, mut lines) = end(follow).await;
    lines.sort();
    assert_eq!((status, lines), (Some(1), vec!["web-1  done".into(), "web-2  failed 3020 so it is".into()]));

    let (status, stdout, _) = ctl(&server, &["job", id]).await;
    assert!(stdout.contains("0.2.0") && stdout.contains("1 done, 1 failed"), "{stdout}");
    assert_eq!(status, Some(1));
    let again = ctl(&server, &words).await;
    assert_eq!(again.0, Some(0), "what is there already is taken as it is: {again:?}");
    let (_, stdout, _) = ctl(&server, &["-o", "ndjson", "jobs", "--open"]).await;
    let open: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(open["id"], again.1.trim_end());
    let (status, stdout, _) = ctl(&server, &["cancel", again.1.trim_end()]).await;
    assert!(status == Some(0) && stdout.contains("2 cancelled"), "{stdout}");
    assert_eq!(one.jobs().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_boots_told_is_listed_and_counted() {
    let server = Server::start().await;
    super::plugin(&server, "gearman", "0.2.0", "gearman_0.2.0_amd64.deb", "x86_64").await;
    let mut one = Boot::of(&server, "web-1").await;
    one.report["agents"] = json!([{"name": "gearman", "version": "0.1.0", "status": "fatal", "uptime": 0,
        "state": "backoff", "reason": "exit status 3"}]);
    one.reports().await;
    let rest = "gearman  0.1.0 (outdated)  0.2.0   fatal (backoff)  0       ";
    for filter in [&[][..], &["agents", "-H", "web-1", "--outdated", "--status", "fatal"]] {
        let (status, stdout, stderr) = ctl(&server, filter).await;
        assert!(stdout.contains(rest) && stdout.ends_with("  exit status 3\n"), "{stdout}{stderr}");
        assert_eq!(status, Some(0));
    }
    let (_, _, stderr) = ctl(&server, &["agents", "--silent"]).await;
    assert_eq!(stderr, "no agents\n");
    let (_, stdout, stderr) = ctl(&server, &["summary", "-t", "name == \"web-1\""]).await;
    let row = "gearman  0.1.0 (outdated)  fatal   1      0\n";
    assert!(stdout.ends_with(row), "{stdout}{stderr}");
    let (_, stdout, stderr) = ctl(&server, &["hosts", "-H", "web-1", "-t", "name == \"web-1\""]).await;
    assert!(stdout.contains("web-1  bootagent-0.1.0-x86_64  5s      10m   "), "{stdout}{stderr}");
    assert!(stdout.ends_with("  gearman  deb\n") && stdout.lines().count() == 2, "{stdout}");
    let (_, stdout, _) = ctl(&server, &["config", "-H", "web-1", "--svrlist", "", "--step", "20m"]).await;
    let jobs = one.jobs().await;
    let config = json!({"id": stdout.trim_end(), "action": "config", "svrlist": "", "step": 1200});
    assert_eq!(jobs, [config]);
}
