//! Whoever is limited to some hosts sees and reaches these alone.

use crate::agent::{Agent, enrolled, linked};
use crate::common::{Answer, Rest, Server};
use crate::people::{somebody, token, user};
use serde_json::{Value, json};

const WEB: Option<&str> = Some("name ~ \"web-*\"");

fn bash(hosts: &Value) -> Value {
    json!({"hosts": hosts, "method": "sync.bash", "cmd": "uptime"})
}

/// The request, which these agents answer.
async fn run(rest: &Rest, body: Value, agents: &mut [&mut Agent]) -> Answer {
    let serving = async {
        for agent in agents {
            agent.serve_one("up").await;
        }
    };
    tokio::join!(rest.run(body), serving).0
}

/// A job, a cron entry and a daemon of each agent, asked for by the administrator.
async fn something_of_all(server: &Server, agents: &mut [&mut Agent]) {
    for body in [
        json!({"method": "async.bash", "cmd": "make", "id": "job"}),
        json!({"method": "cron.set", "name": "nightly", "schedule": "0 3 * * *", "cmd": "x", "id": "cron"}),
    ] {
        let mut body = body;
        body["hosts"] = agents.iter().map(|agent| agent.id.clone()).collect();
        let accepting = async {
            for agent in &mut *agents {
                let request = agent.expect().await;
                agent.accept(&request).await;
            }
        };
        tokio::join!(server.rest.run(body), accepting);
    }
    let daemon = json!({"name": "nginx", "version": "1", "status": "running", "wanted": "running", "pid": 7,
        "since": 1_795_305_600_000_u64, "restarts": 0});
    for agent in agents {
        agent.send(&json!({"method": "daemons", "seq": 1, "daemons": [daemon]})).await;
        agent.is_heard().await;
    }
}

#[tokio::test]
async fn hosts_beyond_the_limit_and_what_is_theirs_are_not_there() {
    let server = Server::start().await;
    let (mut web, mut db) = (linked(&server, "web-1").await, linked(&server, "db-1").await);
    something_of_all(&server, &mut [&mut web, &mut db]).await;
    let ann = somebody(&server, "ann", "operator", WEB).await;
    for (path, key, whole) in [
        ("/api/v1/hosts", "hosts", 2),
        ("/api/v1/hosts?target=name%20~%20%22*-1%22&facts=true", "hosts", 2),
        ("/api/v1/jobs", "jobs", 2),
        ("/api/v1/cron", "entries", 2),
        ("/api/v1/daemons", "daemons", 2),
        ("/api/v1/daemons?target=name%20~%20%22*-1%22", "daemons", 2),
    ] {
        let all = server.rest.get(path).await.body;
        assert_eq!(all[key].as_array().map(Vec::len), Some(whole), "{path} {all}");
        let own = ann.get(path).await.body;
        assert_eq!(own[key].as_array().map(Vec::len), Some(1), "{path} {own}");
        assert_eq!(own["count"], 1, "{path}");
        assert!(own.to_string().contains(&web.id) && !own.to_string().contains(&db.id), "{path} {own}");
    }
    assert_eq!(ann.get("/api/v1/daemons/summary").await.body["summary"][0]["hosts"], 1);
    for (id, name, status) in [(&web.id, "web-1", 200), (&db.id, "db-1", 404)] {
        for host in [id.as_str(), name] {
            for path in [
                format!("/api/v1/hosts/{host}"),
                format!("/api/v1/hosts/{host}/daemons"),
                format!("/api/v1/hosts/{host}/daemons/nginx"),
                format!("/api/v1/jobs/{host}/job"),
            ] {
                assert_eq!(ann.get(&path).await.status, status, "{path}");
            }
            let narrowed = if status == 200 { 200 } else { 422 };
            for path in ["jobs", "cron", "daemons"] {
                let path = format!("/api/v1/{path}?host={host}");
                assert_eq!(ann.get(&path).await.status, narrowed, "{path}");
            }
        }
    }
    assert_eq!(ann.get(&format!("/api/v1/jobs/{}/job/output", db.id)).await.status, 404);
    let path = format!("/api/v1/hosts/{}", db.id);
    assert_eq!(ann.call("DELETE", &path, None).await.status, 404);
    // By that a host could be moved to where it may be reached.
    let path = format!("/api/v1/hosts/{}", web.id);
    assert_eq!(ann.call("PATCH", &path, Some(&json!({"region": "x"}))).await.status, 403);
}

#[tokio::test]
async fn a_request_to_any_other_host_is_refused_whole() {
    let server = Server::start().await;
    let mut web = linked(&server, "web-1").await;
    let db = linked(&server, "db-1").await;
    let ann = somebody(&server, "ann", "operator", WEB).await;
    for other in ["db-1", db.id.as_str(), "no-such-host"] {
        let refused = ann.post("/api/v1/requests", &bash(&json!(["web-1", other]))).await;
        assert_eq!(refused.status, 403, "{refused:?}");
        let detail = refused.text("detail");
        assert!(detail.starts_with(&format!("hosts[1]: {other} is none of the hosts")), "{detail}");
        assert!(detail.ends_with("those of name ~ \"web-*\""), "{detail}");
    }
    // The first that it hears of is this.
    let answer = run(&ann, bash(&json!(["web-1"])), &mut [&mut web]).await;
    assert_eq!(answer.retcodes(), [(web.id.clone(), 2)]);
    // An expression selects among the hosts that there are for whoever asks.
    let all = json!({"target": "name ~ \"*-1\"", "method": "sync.bash", "cmd": "uptime"});
    let answer = run(&ann, all, &mut [&mut web]).await;
    assert_eq!(answer.retcodes(), [(web.id.clone(), 2)]);
    let none = json!({"target": "name ~ \"db-*\"", "method": "sync.bash", "cmd": "uptime"});
    assert_eq!(ann.post("/api/v1/requests", &none).await.status, 422);
}

#[tokio::test]
async fn of_the_requests_one_sees_ones_own() {
    let server = Server::start().await;
    let mut web = linked(&server, "web-1").await;
    let ann = somebody(&server, "ann", "operator", WEB).await;
    let mut of_admin = bash(&json!(["web-1"]));
    of_admin["id"] = json!("admins");
    run(&server.rest, of_admin.clone(), &mut [&mut web]).await;
    let own = run(&ann, bash(&json!(["web-1"])), &mut [&mut web]).await.text("id");

    let all = server.rest.get("/api/v1/requests").await.body;
    let by: Vec<_> = all["requests"].as_array().unwrap().iter().map(|request| &request["by"]).collect();
    assert_eq!(by, ["ann", "admin.token"]);
    let list = ann.get("/api/v1/requests").await.body;
    assert_eq!((&list["count"], &list["requests"][0]["id"]), (&json!(1), &json!(own)));
    assert_eq!(ann.get(&format!("/api/v1/requests/{own}")).await.status, 200);
    assert_eq!(ann.get("/api/v1/requests/admins").await.status, 404);
    assert_eq!(ann.call("DELETE", "/api/v1/requests/admins", None).await.status, 404);
    let again = ann.post("/api/v1/requests", &of_admin).await;
    assert_eq!(again.status, 409, "the same is not the same where it is somebody else's: {again:?}");
}

#[tokio::test]
async fn a_request_that_runs_is_not_for_others_to_cancel() {
    let server = Server::start().await;
    let mut web = linked(&server, "web-1").await;
    let ann = somebody(&server, "ann", "operator", WEB).await;
    let bob = somebody(&server, "bob", "operator", WEB).await;
    let mut body = bash(&json!(["web-1"]));
    body["id"] = json!("r");
    let meddling = async {
        let request = web.expect().await;
        assert_eq!(bob.call("DELETE", "/api/v1/requests/r", None).await.status, 404);
        assert_eq!(bob.get("/api/v1/requests/r").await.status, 404);
        web.answer(&request, "up").await;
    };
    let (answer, ()) = tokio::join!(ann.run(body), meddling);
    assert_eq!(answer.retcodes()[0].1, 2);
}

#[tokio::test]
async fn a_limited_token_neither_reads_nor_cancels_what_its_user_asked_of_other_hosts() {
    let server = Server::start().await;
    let (mut web, mut db) = (linked(&server, "web-1").await, linked(&server, "db-1").await);
    let ann = somebody(&server, "ann", "operator", None).await;
    let limited = token(&server, "ann", &json!({"name": "ci", "target": WEB})).await;
    for (id, hosts) in [("w1", json!(["web-1"])), ("w2", json!(["web-1"])), ("w3", json!(["web-1"]))] {
        let mut body = bash(&hosts);
        body["id"] = json!(id);
        run(&ann, body, &mut [&mut web]).await;
        let mut body = json!({"target": "name ~ \"*-1\"", "method": "sync.bash", "cmd": "uptime"});
        body["id"] = json!(format!("both-{id}"));
        run(&ann, body.clone(), &mut [&mut web, &mut db]).await;
        let again = limited.post("/api/v1/requests", &body).await;
        assert_eq!(again.status, 409, "the same is not the same where there are other hosts: {again:?}");
    }
    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        let page = limited.get(&format!("/api/v1/requests?limit=2{before}")).await.body;
        let ids: Vec<_> = page["requests"].as_array().unwrap().iter().map(|request| &request["id"]).collect();
        let Some(last) = ids.last() else { break };
        assert!(ids.len() <= 2, "{page}");
        before = format!("&before={}", last.as_str().unwrap());
        seen.extend(ids.into_iter().cloned());
    }
    assert_eq!(seen, ["w3", "w2", "w1"], "pages are whole, and leave nothing out");
    for (id, status) in [("w1", 200), ("both-w1", 404)] {
        assert_eq!(limited.get(&format!("/api/v1/requests/{id}")).await.status, status, "{id}");
        assert_eq!(ann.get(&format!("/api/v1/requests/{id}")).await.status, 200, "{id}");
    }
    let mut body = bash(&json!(["web-1", "db-1"]));
    body["id"] = json!("runs");
    let meddling = async {
        let requests = (web.expect().await, db.expect().await);
        assert_eq!(limited.call("DELETE", "/api/v1/requests/runs", None).await.status, 404);
        web.answer(&requests.0, "up").await;
        db.answer(&requests.1, "up").await;
    };
    let (answer, ()) = tokio::join!(ann.run(body), meddling);
    assert!(answer.retcodes().iter().all(|(_, retcode)| *retcode == 2), "{answer:?}");
}

#[tokio::test]
async fn whoever_gets_the_name_of_somebody_who_left_does_not_get_his_requests() {
    let server = Server::start().await;
    let mut web = linked(&server, "web-1").await;
    let ann = somebody(&server, "ann", "operator", WEB).await;
    let mut body = bash(&json!(["web-1"]));
    body["id"] = json!("old");
    run(&ann, body, &mut [&mut web]).await;
    assert_eq!(server.rest.call("DELETE", "/api/v1/users/ann", None).await.status, 204);
    let ann = somebody(&server, "ann", "operator", WEB).await;
    assert_eq!(ann.get("/api/v1/requests/old").await.status, 404);
    let list = ann.get("/api/v1/requests").await.body;
    assert_eq!((&list["count"], &list["requests"]), (&json!(0), &json!([])));
}

#[tokio::test]
async fn what_a_role_may_not_send_it_does_not_cancel_for_others() {
    let server = Server::with("[roles.operator]\nmethods = ['sync.bash']\n").await;
    let mut web = linked(&server, "web-1").await;
    let ann = somebody(&server, "ann", "operator", None).await;
    let mut body = bash(&json!(["web-1"]));
    body["id"] = json!("r");
    let meddling = async {
        let request = web.expect().await;
        let refused = ann.call("DELETE", "/api/v1/requests/r", None).await;
        assert_eq!(refused.status, 403, "{refused:?}");
        assert!(refused.text("detail").ends_with("and not job.cancel"), "{refused:?}");
        web.answer(&request, "up").await;
    };
    let (answer, ()) = tokio::join!(server.rest.run(body.clone()), meddling);
    assert_eq!(answer.retcodes()[0].1, 2);
    assert_eq!(ann.call("DELETE", "/api/v1/requests/r", None).await.status, 403, "nor when it has ended");
    body["id"] = json!("own");
    let ending = async {
        let request = web.expect().await;
        let deleting = ann.call("DELETE", "/api/v1/requests/own", None);
        let cancelled = async {
            assert_eq!(web.expect().await["method"], "job.cancel");
            web.answer(&request, "up").await;
        };
        tokio::join!(deleting, cancelled).0
    };
    let (_, ended) = tokio::join!(ann.run(body), ending);
    assert_eq!(ended.status, 200, "{ended:?}");
}

#[tokio::test]
async fn the_limits_of_user_token_and_role_hold_together() {
    let server = Server::with(
        "[roles.operator]\ntarget = 'name ~ \"*-1\"'\nmethods = ['getinfo.*', 'sync.bash']\n\
         [roles.readonly]\ntarget = 'region == \"r-own\"'\n",
    )
    .await;
    let _agents = [linked(&server, "web-1").await, linked(&server, "web-2").await];
    let _db = linked(&server, "db-1").await;
    user(&server, "ann", "operator", WEB).await;
    user(&server, "eve", "operator", None).await;
    user(&server, "joe", "admin", None).await;
    let hosts = async |user: &str, new: Value| {
        let list = token(&server, user, &new).await.get("/api/v1/hosts").await.body;
        let hosts = list["hosts"].as_array().unwrap().iter();
        hosts.map(|host| host["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(hosts("ann", json!({"name": "a"})).await, ["web-1"]);
    assert_eq!(hosts("ann", json!({"name": "b", "target": "region == \"x\""})).await, [""; 0]);
    assert_eq!(hosts("eve", json!({"name": "a"})).await, ["db-1", "web-1"]);
    // A token of a lower role is no way around what the user's own role is limited to.
    assert_eq!(hosts("eve", json!({"name": "b", "role": "readonly"})).await, ["db-1", "web-1"]);
    assert_eq!(hosts("joe", json!({"name": "a"})).await.len(), 3);
    assert_eq!(hosts("joe", json!({"name": "b", "role": "operator"})).await, ["db-1", "web-1"]);

    let eve = token(&server, "eve", &json!({"name": "c"})).await;
    let job = json!({"hosts": ["web-1"], "method": "async.bash", "cmd": "make"});
    let refused = eve.post("/api/v1/requests", &job).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let detail = refused.text("detail");
    assert_eq!(detail, "the role operator sends getinfo.*, sync.bash to hosts, and not async.bash");
    assert_eq!(eve.get("/api/v1/me").await.text("methods"), "getinfo.*, sync.bash");
}

#[tokio::test]
async fn a_name_that_several_have_is_clear_where_one_of_them_is_seen() {
    let server = Server::start().await;
    let (one, other) = (enrolled(&server, "twin").await, enrolled(&server, "twin").await);
    let own = format!("id == \"{}\"", one.id);
    let ann = somebody(&server, "ann", "operator", Some(&own)).await;
    assert_eq!(ann.get("/api/v1/hosts/twin").await.text("id"), one.id);
    let several = server.rest.get("/api/v1/hosts/twin").await;
    assert_eq!(several.status, 409);
    assert!(several.text("detail").contains(&other.id));
    assert_eq!(ann.run(bash(&json!(["twin"]))).await.retcodes(), [(one.id.clone(), 204)]);
}
