//! How many jobs there may be, and how long they are kept.

use super::{Boot, make, restart};
use crate::common::Server;
use polaris::boot::sweep::sweep;
use polaris::clock;
use polaris::limits::{KEPT_BOOT_JOBS, MAX_OPEN_BOOT_JOBS};
use serde_json::json;

/// Twice as many as there are, the new ones without hosts.
const DOUBLE: &str = "INSERT INTO boot_jobs (id, seq, action, name, who, digest, job, files, hosts, timeout, \
    expires, state, gmt_create, gmt_modify) \
    SELECT CAST(j.seq + m.most AS CHAR), j.seq + m.most, j.action, j.name, j.who, j.digest, j.job, j.files, \
    j.hosts, j.timeout, j.expires, j.state, j.gmt_create, j.gmt_modify \
    FROM boot_jobs j CROSS JOIN (SELECT MAX(seq) AS most FROM boot_jobs) m";

#[tokio::test]
async fn no_more_jobs_are_open_than_may_be() {
    let server = Server::start().await;
    let _web = Boot::of(&server, "web-1").await;
    make(&server.rest, restart("first", &json!(["web-1"]))).await;
    let mut database = server.database().await;
    while database.count("SELECT COUNT(*) FROM boot_jobs").await < MAX_OPEN_BOOT_JOBS {
        database.execute(DOUBLE).await;
    }
    let refused = server.rest.post("/api/v1/boot/jobs", &restart("more", &json!(["web-1"]))).await;
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.text("detail").contains("cancel some"), "{refused:?}");
    database.execute("UPDATE boot_jobs SET state = 'ended'").await;
    make(&server.rest, restart("more", &json!(["web-1"]))).await;
}

#[tokio::test]
async fn of_jobs_that_have_ended_the_latest_are_kept_and_those_that_a_host_has() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    for id in ["done", "had"] {
        make(&server.rest, restart(id, &json!(["web-1"]))).await;
    }
    assert_eq!(web.ids().await, ["done", "had"]);
    web.ends("done", 0, "success").await;
    let mut database = server.database().await;
    database.execute("UPDATE boot_jobs SET state = 'cancelled'").await;
    while database.count("SELECT COUNT(*) FROM boot_jobs").await < KEPT_BOOT_JOBS + 2 {
        database.execute(DOUBLE).await;
    }
    sweep(&server.running.app, clock::now()).await.unwrap();
    assert_eq!(database.count("SELECT COUNT(*) FROM boot_jobs").await, KEPT_BOOT_JOBS + 1);
    assert_eq!(database.count("SELECT COUNT(*) FROM boot_jobs WHERE id = 'had'").await, 1);
    assert_eq!(database.count("SELECT COUNT(*) FROM boot_job_hosts").await, 1);
    web.ends("had", 0, "success").await;
    sweep(&server.running.app, clock::now()).await.unwrap();
    assert_eq!(database.count("SELECT COUNT(*) FROM boot_jobs").await, KEPT_BOOT_JOBS);
    assert_eq!(database.count("SELECT COUNT(*) FROM boot_job_hosts").await, 0);
}
