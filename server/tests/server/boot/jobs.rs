//! A job's way to its hosts and back.

use super::{Boot, job, make, restart, states};
use crate::common::Server;
use crate::people::somebody;
use polaris::boot::sweep::sweep;
use polaris::clock;
use serde_json::json;

#[tokio::test]
async fn a_job_is_given_until_its_host_has_said_what_became_of_it() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    assert_eq!(web.reports().await, json!({"errcode": 0, "jobs": []}));
    let made = make(&server.rest, restart("r-1", &json!(["web-1"]))).await;
    assert_eq!((&made.body["count"], &made.body["state"]), (&json!(1), &json!("open")));
    assert_eq!(made.body["counts"]["waiting"], 1);
    let sent = json!({"id": "r-1", "action": "restart", "name": "gearman"});
    let given = web.jobs().await;
    assert_eq!(given, [sent]);
    // The answer may have been lost.
    assert_eq!(web.jobs().await, given);
    assert_eq!(states(&server, "r-1").await, ["sent"]);
    web.ends("r-1", 0, "success").await;
    assert_eq!(web.jobs().await, [json!(null); 0]);
    let ended = job(&server, "r-1").await;
    assert_eq!((&ended["state"], &ended["job"]), (&json!("ended"), &given[0]));
    let host = &ended["hosts"][0];
    assert_eq!((&host["host"], &host["name"]), (&json!(web.id()), &json!("web-1")));
    assert_eq!((&host["state"], &host["errcode"]), (&json!("done"), &json!(0)));
    assert!(host["sent"].is_string() && host["ended"].is_string(), "{host}");
}

#[tokio::test]
async fn jobs_are_given_in_the_order_in_which_they_were_made_and_survive_a_restart() {
    let server = Server::start().await;
    let mut web = Boot::of(&server, "web-1").await;
    for id in ["z", "a", "m"] {
        make(&server.rest, restart(id, &json!(["web-1"]))).await;
    }
    assert_eq!(web.ids().await, ["z", "a", "m"]);
    web.ends("a", 3304, "Unhealthy: it does not answer").await;
    let server = server.restart().await;
    web.agents = server.agents();
    assert_eq!(web.ids().await, ["z", "m"]);
    assert_eq!(states(&server, "a").await, ["failed 3304"]);
    let list = server.rest.get("/api/v1/boot/jobs?limit=2").await.body;
    let ids = |list: &serde_json::Value| {
        let jobs = list["jobs"].as_array().unwrap().iter();
        jobs.map(|job| job["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((ids(&list), &list["count"]), (vec!["m".into(), "a".into()], &json!(3)));
    assert_eq!(ids(&server.rest.get("/api/v1/boot/jobs?after=a").await.body), ["z"]);
    assert_eq!(ids(&server.rest.get("/api/v1/boot/jobs?state=open").await.body), ["m", "z"]);
    assert_eq!(ids(&server.rest.get("/api/v1/boot/jobs?state=ended").await.body), ["a"]);
    assert_eq!(server.rest.get("/api/v1/boot/jobs?after=none").await.text("field"), "after");
    assert_eq!(server.rest.get("/api/v1/boot/jobs?state=x").await.text("field"), "state");
}

#[tokio::test]
async fn a_later_result_replaces_an_earlier_one() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    let upgrade = json!({"id": "u", "hosts": ["web-1"], "action": "upgrade", "name": "boot",
        "url": "https://packages.example/boot_0.2.0_amd64.deb"});
    let made = make(&server.rest, upgrade).await;
    assert_eq!((made.text("name"), made.text("version")), ("boot".into(), "0.2.0".into()));
    assert_eq!(web.ids().await, ["u"]);
    web.ends("u", 1, "Accepted").await;
    assert_eq!(states(&server, "u").await, ["sent 1"]);
    assert_eq!(web.ids().await, ["u"], "it goes on");
    web.ends("u", 3304, "Unhealthy: the new one did not report").await;
    assert_eq!(states(&server, "u").await, ["failed 3304"]);
    // It came late; what has ended does not go on.
    web.ends("u", 1, "Accepted").await;
    assert_eq!(states(&server, "u").await, ["failed 3304"]);
    web.ends("u", 0, "success").await;
    assert_eq!(states(&server, "u").await, ["done 0"]);
}

#[tokio::test]
async fn a_host_that_does_not_say_how_it_ended_has_failed_until_it_does() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    let mut body = restart("r", &json!(["web-1"]));
    body["timeout"] = json!(60);
    make(&server.rest, body).await;
    assert_eq!(web.ids().await, ["r"]);
    let app = &server.running.app;
    // The job's time, the host's step and the slack.
    let due = clock::now() + (60 + 600 + 2700) * 1000;
    sweep(app, due - 30_000).await.unwrap();
    assert_eq!(states(&server, "r").await, ["sent"]);
    sweep(app, due).await.unwrap();
    assert_eq!(states(&server, "r").await, ["failed 205"]);
    assert_eq!(job(&server, "r").await["state"], "ended");
    assert_eq!(web.ids().await, [""; 0]);
    web.ends("r", 0, "success").await;
    assert_eq!(states(&server, "r").await, ["done 0"]);
}

#[tokio::test]
async fn a_host_that_reports_has_the_time_anew_for_a_day() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    make(&server.rest, restart("r", &json!(["web-1"]))).await;
    assert_eq!(web.ids().await, ["r"]);
    let (app, mut database) = (&server.running.app, server.database().await);
    // As it would be hours later, and it waits there for others.
    database.execute("UPDATE boot_job_hosts SET due = 1, sent = sent - 80000000").await;
    assert_eq!(web.ids().await, ["r"]);
    sweep(app, clock::now() + 3_600_000).await.unwrap();
    assert_eq!(states(&server, "r").await, ["sent"]);
    database.execute("UPDATE boot_job_hosts SET due = 1, sent = sent - 80000000").await;
    assert_eq!(web.ids().await, ["r"]);
    sweep(app, clock::now()).await.unwrap();
    assert_eq!(states(&server, "r").await, ["failed 205"]);
}

#[tokio::test]
async fn what_is_not_fetched_in_time_expires() {
    let server = Server::start().await;
    let (web, db) = (Boot::of(&server, "web-1").await, Boot::of(&server, "db-1").await);
    let mut body = restart("r", &json!(["web-1", "db-1"]));
    body["ttl"] = json!(3600);
    make(&server.rest, body).await;
    assert_eq!(web.ids().await, ["r"]);
    sweep(&server.running.app, clock::now() + 3_600_000).await.unwrap();
    assert_eq!(states(&server, "r").await, ["sent", "expired 3109"]);
    // Nothing is left to expire, though one still has it.
    let run_out = server.running.app.store.boot_jobs_run_out(clock::now() + 3_600_000).await.unwrap();
    assert_eq!(run_out, (Vec::new(), Vec::new()));
    assert_eq!(db.ids().await, [""; 0]);
    assert_eq!(job(&server, "r").await["state"], "open");
    web.ends("r", 0, "success").await;
    assert_eq!(job(&server, "r").await["state"], "ended");
}

#[tokio::test]
async fn cancelling_leaves_alone_whoever_has_it() {
    let server = Server::start().await;
    let (web, db) = (Boot::of(&server, "web-1").await, Boot::of(&server, "db-1").await);
    make(&server.rest, restart("r", &json!(["web-1", "db-1"]))).await;
    assert_eq!(web.ids().await, ["r"]);
    let cancelled = server.rest.call("DELETE", "/api/v1/boot/jobs/r", None).await;
    assert_eq!((cancelled.status, cancelled.text("state")), (200, "cancelled".into()));
    assert_eq!(states(&server, "r").await, ["sent", "cancelled 207"]);
    assert_eq!(db.ids().await, [""; 0]);
    assert_eq!(web.ids().await, ["r"]);
    web.ends("r", 0, "success").await;
    let again = server.rest.call("DELETE", "/api/v1/boot/jobs/r", None).await;
    assert_eq!((again.status, again.text("state")), (200, "cancelled".into()));
    assert_eq!(states(&server, "r").await, ["done 0", "cancelled 207"]);
    assert_eq!(server.rest.call("DELETE", "/api/v1/boot/jobs/none", None).await.status, 404);
}

#[tokio::test]
async fn a_host_that_is_revoked_drops_out() {
    let server = Server::start().await;
    let (web, db) = (Boot::of(&server, "web-1").await, Boot::of(&server, "db-1").await);
    make(&server.rest, restart("r", &json!(["web-1", "db-1"]))).await;
    assert_eq!((web.ids().await.len(), db.ids().await.len()), (1, 1));
    db.ends("r", 0, "success").await;
    assert_eq!(server.rest.call("DELETE", "/api/v1/hosts/web-1", None).await.status, 204);
    assert_eq!(states(&server, "r").await, ["cancelled 203", "done 0"]);
    assert_eq!(job(&server, "r").await["state"], "ended");
    assert_eq!(web.tell(&web.report).await.status, 403);
    assert_eq!(server.rest.get("/api/v1/boot/hosts").await.body["count"], 1);
}

#[tokio::test]
async fn the_same_again_is_the_same_job_and_another_is_not() {
    let server = Server::start().await;
    let _hosts = [Boot::of(&server, "web-1").await, Boot::of(&server, "db-1").await];
    let first = make(&server.rest, restart("r", &json!(["web-1"]))).await;
    assert_eq!(make(&server.rest, restart("r", &json!(["web-1"]))).await.body, first.body);
    let other = server.rest.post("/api/v1/boot/jobs", &restart("r", &json!(["db-1"]))).await;
    assert_eq!(other.status, 409, "{other:?}");
    assert_eq!(server.rest.get("/api/v1/boot/jobs").await.body["count"], 1);
}

#[tokio::test]
async fn a_login_is_for_the_hosts_alone() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    let body = json!({"id": "i", "hosts": ["web-1"], "action": "install", "name": "web",
        "url": "ftp://bob:secret@files/web-1.2.rpm", "checksum": format!("SHA256:{}", "0".repeat(64))});
    assert!(!make(&server.rest, body).await.body.to_string().contains("secret"));
    assert_eq!(web.jobs().await[0]["url"], "ftp://bob:secret@files/web-1.2.rpm");
    let shown = job(&server, "i").await;
    assert_eq!(shown["job"]["url"], "ftp://files/web-1.2.rpm");
    let audit = server.rest.get("/api/v1/audit").await.body.to_string();
    assert!(audit.contains("boot.install") && !audit.contains("secret"), "{audit}");
    web.ends("i", 0, "success").await;
    let mut database = server.database().await;
    assert_eq!(database.count("SELECT COUNT(*) FROM boot_jobs WHERE url IS NOT NULL").await, 0);
}

#[tokio::test]
async fn what_cannot_be_a_job_is_refused_with_the_field() {
    let server = Server::start().await;
    let _web = Boot::of(&server, "web-1").await;
    for (more, field) in [
        (json!({"action": "explode"}), "action"),
        (json!({"action": 1}), "action"),
        (json!({"name": null}), "name"),
        (json!({"name": "../x"}), "name"),
        (json!({"timeout": 5}), "timeout"),
        (json!({"colour": "red"}), "colour"),
        (json!({"hosts": []}), "target"),
        (json!({"hosts": ["web-1", "nobody"]}), "hosts[1]"),
        (json!({"target": "name =="}), "target"),
        (json!({"batch": 0}), "batch"),
        (json!({"max_errors": "101%"}), "max_errors"),
        (json!({"ttl": 59}), "ttl"),
        (json!({"ttl": "soon"}), "ttl"),
        (json!({"confirm": 2}), "confirm"),
        (json!({"id": "a b"}), "id"),
        (json!({"action": "install"}), "name"),
        (json!({"action": "install", "checksum": "SHA256:00"}), "checksum"),
        (json!({"action": "install", "env": []}), "env"),
        (json!({"action": "install", "url": "gopher://h/a-1.deb"}), "url"),
        (json!({"action": "install", "url": "http://h/a.deb"}), "version"),
        (json!({"action": "install", "limits": {"CPU": "0%"}, "url": "http://h/a-1.deb"}), "limits.cpu"),
        (json!({"action": "config"}), "name"),
        (json!({"action": "config", "name": null, "step": 59}), "step"),
    ] {
        let mut body = restart("r", &json!(["web-1"]));
        for (key, value) in more.as_object().unwrap() {
            let body = body.as_object_mut().unwrap();
            if value.is_null() {
                body.remove(key)
            } else {
                body.insert(key.clone(), value.clone())
            };
        }
        let answer = server.rest.post("/api/v1/boot/jobs", &body).await;
        let expected = if more["hosts"] == json!([]) { "hosts" } else { field };
        assert_eq!((answer.status, answer.text("field")), (422, expected.to_owned()), "{more}: {answer:?}");
    }
    assert_eq!(server.rest.get("/api/v1/boot/jobs").await.body["count"], 0);
}

#[tokio::test]
async fn boot_s_own_settings_are_a_job_too() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    let config = json!({"id": "c", "target": "name ~ \"web-*\"", "action": "config", "step": 1200,
        "svrlist": "192.168.9.1:1234,"});
    let made = make(&server.rest, config).await;
    assert_eq!((made.text("name"), made.text("target")), ("boot".into(), "name ~ \"web-*\"".into()));
    let sent = json!({"id": "c", "action": "config", "step": 1200, "svrlist": "192.168.9.1:1234,"});
    assert_eq!(web.jobs().await, [sent]);
}

#[tokio::test]
async fn whoever_is_limited_reaches_and_sees_his_hosts_alone() {
    let server = Server::start().await;
    let (web, db) = (Boot::of(&server, "web-1").await, Boot::of(&server, "db-1").await);
    let ann = somebody(&server, "ann", "operator", Some("name ~ \"web-*\"")).await;
    let eve = somebody(&server, "eve", "readonly", None).await;
    let refused = ann.post("/api/v1/boot/jobs", &restart("x", &json!(["db-1"]))).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(eve.post("/api/v1/boot/jobs", &restart("x", &json!(["db-1"]))).await.status, 403);
    let all = json!({"id": "all", "target": "name ~ \"*-1\"", "action": "stop", "name": "gearman"});
    assert_eq!(make(&ann, all).await.body["count"], 1);
    make(&server.rest, restart("admin-s", &json!(["web-1"]))).await;
    let list = ann.get("/api/v1/boot/jobs").await.body;
    assert_eq!(
        (&list["count"], &list["jobs"][0]["id"], &list["jobs"][1]),
        (&json!(1), &json!("all"), &json!(null))
    );
    assert_eq!(ann.get("/api/v1/boot/jobs/admin-s").await.status, 404);
    assert_eq!(ann.call("DELETE", "/api/v1/boot/jobs/admin-s", None).await.status, 404);
    assert_eq!(ann.post("/api/v1/boot/jobs", &restart("admin-s", &json!(["web-1"]))).await.status, 409);
    assert_eq!(eve.get("/api/v1/boot/jobs").await.body["count"], 2);
    assert_eq!((web.ids().await.len(), db.ids().await.len()), (2, 0));
    for path in ["hosts", "agents", "agents/summary"] {
        assert_eq!(ann.get(&format!("/api/v1/boot/{path}")).await.status, 200);
    }
    assert_eq!(ann.get("/api/v1/boot/hosts").await.body["count"], 1);
    assert_eq!(eve.get("/api/v1/boot/hosts").await.body["count"], 2);
    assert_eq!(ann.get("/api/v1/boot/hosts?host=db-1").await.status, 422);
}

#[tokio::test]
async fn what_a_role_may_not_send_it_does_not_send_to_boot() {
    let server = Server::with("[roles.operator]\nmethods = ['boot.restart']\n").await;
    let _web = Boot::of(&server, "web-1").await;
    let ann = somebody(&server, "ann", "operator", None).await;
    make(&ann, restart("r", &json!(["web-1"]))).await;
    let mut stop = restart("s", &json!(["web-1"]));
    stop["action"] = json!("stop");
    let refused = ann.post("/api/v1/boot/jobs", &stop).await;
    assert_eq!(refused.text("detail"), "the role operator sends boot.restart to hosts, and not boot.stop");
    make(&server.rest, stop).await;
    assert_eq!(ann.call("DELETE", "/api/v1/boot/jobs/s", None).await.status, 403);
}
