//! What is in the audit log.

use crate::agent::{enrolled, linked};
use crate::common::{Rest, Server, eventually};
use crate::database;
use crate::people::{PASSWORD, basic, call, login, somebody, user};
use crate::program::Program;
use serde_json::{Value, json};

async fn entries(rest: &Rest, query: &str) -> Vec<Value> {
    let answer = rest.get(&format!("/api/v1/audit{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["entries"].as_array().unwrap().clone()
}

/// Who, what was called, and how it ended.
fn short(entry: &Value) -> (String, String, u64) {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    (text("who"), format!("{} {}", text("method"), text("path")), entry["status"].as_u64().unwrap_or(0))
}

#[tokio::test]
async fn a_command_is_recorded_with_who_where_what_and_whom() {
    let server = Server::start().await;
    let mut web = linked(&server, "web-1").await;
    let ann = somebody(&server, "ann", "operator", None).await;
    let body = json!({"target": "name ~ \"web-*\"", "method": "sync.bash", "cmd": "uptime"});
    let (answer, _) = tokio::join!(ann.run(body), web.serve_one("up"));
    let entry = entries(&server.rest, "?limit=1").await.remove(0);
    let expected = json!({"id": entry["id"], "at": entry["at"], "who": "ann", "token": "t", "from": "127.0.0.1",
        "method": "POST", "path": "/api/v1/requests", "what": "sync.bash", "params": "{\"cmd\":\"uptime\"}",
        "target": "name ~ \"web-*\"", "host_count": 1, "hosts": [{"host": web.id, "name": "web-1"}],
        "request": answer.text("id"), "status": 200});
    assert_eq!(entry, expected);
}

#[tokio::test]
async fn a_login_in_a_url_is_not() {
    let server = Server::start().await;
    enrolled(&server, "a").await;
    let url = "http://bob:secret@h/web-1.0.deb";
    let body = json!({"hosts": ["a"], "method": "daemon.init", "name": "web", "version": "1.0", "url": url,
        "exec": ["web"]});
    let answer = server.rest.post("/api/v1/requests", &body).await;
    let entry = entries(&server.rest, "?limit=1").await.remove(0);
    assert_eq!(entry["status"], u64::from(answer.status));
    assert!(!entry.to_string().contains("secret"), "{entry}");
    if answer.status == 200 {
        assert!(entry["params"].as_str().unwrap().contains("http://h/web-1.0.deb"), "{entry}");
    }
}

#[tokio::test]
async fn what_changes_something_is_recorded_and_what_was_refused_too() {
    let server = Server::start().await;
    let host = enrolled(&server, "a").await.id;
    let eve = somebody(&server, "eve", "readonly", None).await;
    let path = format!("/api/v1/hosts/{host}");
    let tags = json!({"region": "cn-1", "tags": {"svc": "db"}});
    server.rest.call("PATCH", &path, Some(&tags)).await;
    eve.call("PATCH", &path, Some(&json!({}))).await;
    eve.post("/api/v1/requests", &json!({})).await;
    server.rest.post("/api/v1/users", &json!({"name": "x"})).await;
    server
        .rest
        .call("PATCH", "/api/v1/users/eve", Some(&json!({"role": "operator", "password": PASSWORD})))
        .await;
    server.rest.call("DELETE", "/api/v1/users/eve", None).await;
    server.rest.call("DELETE", &path, None).await;
    server.rest.get("/api/v1/hosts").await;
    let all = entries(&server.rest, "?limit=7").await;
    let shown: Vec<_> = all.iter().rev().map(short).collect();
    let admin = "admin.token".to_owned();
    let changing = format!("PATCH {path}");
    let users = |method: &str, rest: &str| format!("{method} /api/v1/users{rest}");
    assert_eq!(
        shown,
        [
            (admin.clone(), changing.clone(), 200),
            ("eve".into(), changing, 403),
            ("eve".into(), "POST /api/v1/requests".into(), 403),
            (admin.clone(), users("POST", ""), 422),
            (admin.clone(), users("PATCH", "/eve"), 200),
            (admin.clone(), users("DELETE", "/eve"), 204),
            (admin, format!("DELETE {path}"), 204),
        ]
    );
    let of_host = entries(&server.rest, &format!("?host={host}")).await;
    // The third is how it came.
    assert_eq!(of_host.len(), 3);
    assert_eq!(of_host[..2].iter().map(short).collect::<Vec<_>>(), [short(&all[0]), short(&all[6])]);
    assert_eq!(of_host[1]["what"], "region \"cn-1\", tags {\"svc\": \"db\"}");
    assert_eq!(all[2]["what"], "user eve: role operator, a new password");
    assert!(!json!(all).to_string().contains(PASSWORD));
}

#[tokio::test]
async fn a_host_that_enrols_is_recorded() {
    let server = Server::start().await;
    let host = enrolled(&server, "a").await.id;
    let entry = entries(&server.rest, &format!("?host={host}")).await.remove(0);
    assert_eq!(short(&entry), (String::new(), "POST /agent/enroll".into(), 200));
    assert!(entry["what"].as_str().unwrap().starts_with("enrolled by the token "), "{entry}");
}

#[tokio::test]
async fn whoever_is_not_let_in_is_recorded_by_the_name_he_gave() {
    let server = Server::start().await;
    user(&server, "ann", "operator", None).await;
    let body = json!({"name": "ann", "password": "not the password"});
    call(&server.rest, &[], "POST", "/api/v1/login", &body).await;
    basic(&server.rest, ("bob", "not the password"), "GET", "/api/v1/hosts", &Value::Null).await;
    call(&server.rest, &[], "DELETE", "/api/v1/hosts/x", &Value::Null).await;
    login(&server.rest, "ann", PASSWORD).await;
    let all = entries(&server.rest, "?limit=4").await;
    let shown: Vec<_> = all.iter().rev().map(short).collect();
    let call = |who: &str, call: &str, status| (who.to_owned(), call.to_owned(), status);
    assert_eq!(
        shown,
        [
            call("ann", "POST /api/v1/login", 401),
            call("bob", "GET /api/v1/hosts", 401),
            call("", "DELETE /api/v1/hosts/x", 401),
            call("ann", "POST /api/v1/login", 200),
        ]
    );
}

#[tokio::test]
async fn the_list_is_narrowed_and_has_pages() {
    let server = Server::start().await;
    let ann = somebody(&server, "ann", "operator", None).await;
    for _ in 0..3 {
        ann.post("/api/v1/requests", &json!({})).await;
    }
    let all = entries(&server.rest, "?who=ann").await;
    assert_eq!(all.len(), 3);
    let ids: Vec<_> = all.iter().map(|entry| entry["id"].as_i64().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a > b), "{ids:?}");
    let page = entries(&server.rest, &format!("?who=ann&limit=1&before={}", ids[0])).await;
    assert_eq!(page, [all[1].clone()]);
    let since = all[1]["at"].as_str().unwrap();
    assert!((2..=3).contains(&entries(&server.rest, &format!("?who=ann&since={since}")).await.len()));
    assert_eq!(entries(&server.rest, "?since=2099-01-01T00:00:00Z").await, [Value::Null; 0]);
    for (query, field) in [
        ("?limit=0", "limit"),
        ("?since=yesterday", "since"),
        ("?host=x", "host"),
        ("?before=x", "before"),
        ("?whom=x", "whom"),
    ] {
        let answer = server.rest.get(&format!("/api/v1/audit{query}")).await;
        assert_eq!(answer.status, 422, "{query}");
        assert_eq!(answer.text("field"), field, "{query}");
    }
    // The numbers go on after a restart.
    let server = server.restart().await;
    server.rest.post("/api/v1/requests", &json!({})).await;
    let next = entries(&server.rest, "?limit=1").await[0]["id"].as_i64().unwrap();
    assert_eq!(next, ids[0] + 1);
}

#[tokio::test]
async fn many_hosts_are_found_beyond_those_that_are_named() {
    let server = Server::start().await;
    let last = enrolled(&server, "last").await.id;
    let mut hosts: Vec<String> = (0..200).map(|n| format!("no-such-host-{n}")).collect();
    hosts.push("last".into());
    server.rest.run(json!({"hosts": hosts, "method": "sync.bash", "cmd": "x"})).await;
    // The recorder brings the request to the database in its own time.
    let entry = eventually("the entry", async || {
        entries(&server.rest, &format!("?host={last}")).await.into_iter().next()
    })
    .await;
    assert_eq!((&entry["host_count"], entry["hosts"].as_array().unwrap().len()), (&json!(201), 100));
}

#[tokio::test]
async fn what_was_sent_is_recorded_though_its_caller_hangs_up_and_the_server_is_killed() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut first = Program::start(dir.path()).await;
    let entry = json!({"hosts": ["nobody"], "method": "sync.bash", "cmd": "x", "id": "r"});
    first.rest.run(entry).await;
    // To read it is to wait until it is written.
    assert_eq!(entries(&first.rest, "?limit=1").await[0]["request"], "r");
    first.kill();
    let second = Program::start(dir.path()).await;
    assert_eq!(entries(&second.rest, "?limit=1").await[0]["request"], "r");
}

#[tokio::test]
async fn nothing_is_changed_while_the_log_cannot_be_written() {
    let server = Server::start().await;
    let mut database = server.database().await;
    database.execute("ALTER TABLE audit RENAME TO away").await;
    let list = json!({"hosts": ["x"], "method": "sync.bash", "cmd": "x"});
    // The first are queued before that is noticed.
    eventually("a refusal", async || {
        let answer = server.rest.post("/api/v1/requests", &list).await;
        (answer.status == 503 && answer.text("detail").contains("audit log")).then_some(())
    })
    .await;
    assert_eq!(server.rest.get("/api/v1/hosts").await.status, 200, "to look is still allowed");
    database.execute("ALTER TABLE away RENAME TO audit").await;
    eventually("it goes on", async || {
        (server.rest.post("/api/v1/requests", &list).await.status == 200).then_some(())
    })
    .await;
    let all = entries(&server.rest, "").await;
    assert!(all.len() >= 2, "what was queued is written: {all:?}");
}

#[tokio::test]
async fn a_method_that_anybody_invented_stops_nobody_else() {
    let server = Server::start().await;
    call(&server.rest, &[], &"A".repeat(20), "/api/v1/hosts", &Value::Null).await;
    let entry = entries(&server.rest, "?limit=1").await.remove(0);
    assert_eq!(short(&entry), (String::new(), format!("{} /api/v1/hosts", "A".repeat(16)), 401));
    let asked = json!({"hosts": ["nobody"], "method": "sync.bash", "cmd": "x"});
    server.rest.run(asked).await;
}

#[tokio::test]
async fn an_entry_that_the_database_refuses_does_not_keep_the_others_from_it() {
    let server = Server::start().await;
    let poisoned = if database::is_mysql() {
        "ALTER TABLE audit MODIFY path VARCHAR(30) NOT NULL"
    } else {
        "CREATE TRIGGER poisoned BEFORE INSERT ON audit WHEN LENGTH(NEW.path) > 30 \
         BEGIN SELECT RAISE(ABORT, 'poisoned'); END"
    };
    server.database().await.execute(poisoned).await;
    let long = format!("/api/v1/hosts/{}", "x".repeat(30));
    let asked = json!({"hosts": ["nobody"], "method": "sync.bash", "cmd": "x"});
    let (_, refused, _) = tokio::join!(
        server.rest.run(asked.clone()),
        server.rest.call("DELETE", &long, None),
        server.rest.run(asked)
    );
    assert_eq!(refused.status, 404);
    let all = entries(&server.rest, "").await;
    let asked = all.iter().filter(|entry| entry["what"] == "sync.bash").count();
    let text = |entry: &Value| entry["what"].as_str().unwrap_or_default().to_owned();
    let lost = all.iter().filter(|entry| text(entry).contains("polaris' log has it")).count();
    assert_eq!((all.len(), asked, lost), (3, 2, 1), "{all:?}");
}

#[tokio::test]
async fn what_was_refused_is_recorded_as_it_was_asked_for() {
    let server = Server::with("[roles.operator]\nmethods = ['sync.bash', 'daemon.init']\n").await;
    let ann = somebody(&server, "ann", "operator", Some("name == \"web-1\"")).await;
    let asked = json!({"hosts": ["db-1"], "method": "async.bash", "cmd": "x"});
    assert_eq!(ann.post("/api/v1/requests", &asked).await.status, 403);
    let entry = entries(&server.rest, "?limit=1").await.remove(0);
    assert_eq!((&entry["what"], &entry["hosts"][0]["host"]), (&json!("async.bash"), &json!("db-1")));
    let url = "http://bob:secret@h/web-1.0.deb";
    let body = json!({"hosts": ["db-1"], "target": "name ~", "method": "daemon.init", "url": url});
    assert_eq!(ann.post("/api/v1/requests", &body).await.status, 422);
    let entry = entries(&server.rest, "?limit=1").await.remove(0);
    assert_eq!((&entry["what"], &entry["target"]), (&json!("daemon.init"), &json!("name ~")));
    assert_eq!((&entry["host_count"], &entry["hosts"][0]["host"]), (&json!(1), &json!("db-1")));
    assert!(entry["params"].as_str().unwrap().contains("http://h/web-1.0.deb"), "{entry}");
    assert!(!entry.to_string().contains("secret"), "{entry}");
    assert_eq!(entry["request"], Value::Null, "there is none");
    basic(&server.rest, ("ann", "not the password"), "DELETE", "/api/v1/hosts/x", &Value::Null).await;
    let entry = entries(&server.rest, "?limit=1").await.remove(0);
    assert_eq!(short(&entry), ("ann".into(), "DELETE /api/v1/hosts/x".into(), 401));
    let plugin = json!({"name": "cpu", "version": "1.0", "file": "plugins/cpu.so"});
    server.rest.post("/api/v1/plugins", &plugin).await;
    let entry = entries(&server.rest, "?limit=1").await.remove(0);
    assert_eq!(entry["what"], "plugin cpu 1.0 of plugins/cpu.so");
}
