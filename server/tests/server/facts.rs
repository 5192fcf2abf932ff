//! What hosts tell of themselves: kept with the host, told once, found by expressions.

use crate::agent::{Agent, Identity, enrolled, init, linked};
use crate::common::{Server, eventually};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// A link, and what the server says that it holds.
async fn link(server: &Server, identity: &Identity) -> (Agent, Value) {
    let mut agent = Agent::dial(server.agents(), identity).await;
    agent.send(&init(&identity.id, "web-1", "boot")).await;
    let ready = agent.expect().await;
    assert_eq!(ready["method"], "ready");
    (agent, ready["facts"].clone())
}

/// Sends these sections, and returns when the server has read them.
async fn tell(agent: &mut Agent, sections: Value) {
    agent.send(&json!({"method": "facts", "sections": sections})).await;
    agent.is_heard().await;
}

async fn facts(server: &Server, host: &str) -> Value {
    server.rest.get(&format!("/api/v1/hosts/{host}")).await.body["facts"].clone()
}

/// The names of the hosts that the expression selects, or the problem.
async fn selected(server: &Server, target: &str) -> Result<Vec<String>, Value> {
    let target = utf8_percent_encode(target, NON_ALPHANUMERIC);
    let answer = server.rest.get(&format!("/api/v1/hosts?target={target}")).await;
    if answer.status != 200 {
        assert_eq!((answer.status, &answer.body["field"]), (422, &json!("target")));
        return Err(answer.body["detail"].clone());
    }
    let hosts = answer.body["hosts"].as_array().unwrap();
    assert_eq!(answer.body["count"], hosts.len());
    assert!(hosts.iter().all(|host| host["facts"].is_null()), "a list is light");
    Ok(hosts.iter().map(|host| host["name"].as_str().unwrap().to_owned()).collect())
}

#[tokio::test]
async fn a_host_tells_what_the_server_does_not_hold_and_nothing_else() {
    let server = Server::start().await;
    let identity = enrolled(&server, "web-1").await;
    let (mut agent, held) = link(&server, &identity).await;
    assert_eq!(held, json!({}));
    assert_eq!(facts(&server, "web-1").await, json!({}));
    let os = json!({"id": "debian", "name": null});
    tell(
        &mut agent,
        json!({"os": {"digest": "o1", "value": os}, "net": {"digest": "n1", "value": {"addresses": ["127.0.0.1"]}}}),
    )
    .await;
    assert_eq!(facts(&server, "web-1").await, json!({"os": os, "net": {"addresses": ["127.0.0.1"]}}));
    assert_eq!(selected(&server, r#"facts.os.id == "debian""#).await.unwrap(), ["web-1"]);
    // Later: one has changed, one is told no more.
    tell(&mut agent, json!({"os": {"digest": "o2", "value": {"id": "alpine"}}, "net": null})).await;
    assert_eq!(facts(&server, "web-1").await, json!({"os": {"id": "alpine"}}));
    assert_eq!(selected(&server, r#"facts.os.id == "debian""#).await.unwrap(), [""; 0]);
    drop(agent);
    let (_again, held) = link(&server, &identity).await;
    assert_eq!(held, json!({"os": "o2"}));
    let full = server.rest.get("/api/v1/hosts?facts=true").await.body;
    assert_eq!(full["hosts"][0]["facts"], json!({"os": {"id": "alpine"}}));
}

#[tokio::test]
async fn facts_survive_a_restart_and_those_that_are_damaged_are_told_anew() {
    let server = Server::start().await;
    let identity = enrolled(&server, "web-1").await;
    let (mut agent, _) = link(&server, &identity).await;
    let cpu = json!({"count": 4, "huge": u64::MAX, "load": 0.1});
    tell(&mut agent, json!({"cpu": {"digest": "c1", "value": cpu}, "os": {"digest": "o1", "value": {}}}))
        .await;
    tell(&mut agent, json!({"os": {"digest": "o2", "value": {"id": "debian"}}})).await;
    tell(&mut agent, json!({"net": {"digest": "n1", "value": 1}})).await;
    tell(&mut agent, json!({"net": null})).await;
    drop(agent);
    let server = server.restart().await;
    assert_eq!(facts(&server, "web-1").await, json!({"cpu": cpu, "os": {"id": "debian"}}));
    assert_eq!(selected(&server, "facts.cpu.count >= 4").await.unwrap(), ["web-1"]);
    server.database().await.execute("UPDATE facts SET value = '{' WHERE section = 'os'").await;
    let server = server.restart().await;
    let (_agent, held) = link(&server, &identity).await;
    assert_eq!(held, json!({"cpu": "c1"}));
    assert_eq!(facts(&server, "web-1").await, json!({ "cpu": cpu }));
}

#[tokio::test]
async fn the_facts_of_a_revoked_host_are_gone() {
    let server = Server::start().await;
    let mut agent = linked(&server, "web-1").await;
    let mut other = linked(&server, "web-2").await;
    let os = json!({"os": {"digest": "o", "value": {"id": "debian"}}});
    tell(&mut agent, os.clone()).await;
    tell(&mut other, os.clone()).await;
    let count = "SELECT COUNT(*) FROM facts";
    let mut database = server.database().await;
    eventually("both are on disk", async || (database.count(count).await == 2).then_some(())).await;
    agent.send(&json!({"method": "facts", "sections": {"cpu": {"digest": "c", "value": 1}}})).await;
    assert_eq!(server.rest.call("DELETE", "/api/v1/hosts/web-1", None).await.status, 204);
    assert_eq!(selected(&server, "has(facts.os)").await.unwrap(), ["web-2"]);
    tell(&mut other, json!({"cpu": {"digest": "c", "value": 1}})).await;
    eventually("what came later is on disk", async || (database.count(count).await == 2).then_some(())).await;
    drop(other);
    let server = server.restart().await;
    assert_eq!(server.database().await.count(count).await, 2, "and none of the revoked host");
}

#[tokio::test]
async fn the_newest_link_tells_the_facts() {
    let server = Server::start().await;
    let identity = enrolled(&server, "web-1").await;
    let (mut old, _) = link(&server, &identity).await;
    tell(&mut old, json!({"os": {"digest": "1", "value": "old"}})).await;
    let (mut new, held) = link(&server, &identity).await;
    assert_eq!(held, json!({"os": "1"}));
    tell(&mut new, json!({"os": {"digest": "2", "value": "new"}})).await;
    old.send(&json!({"method": "facts", "sections": {"os": {"digest": "3", "value": "older"}}})).await;
    assert!(old.bye().await.contains("replaced"));
    new.is_heard().await;
    assert_eq!(facts(&server, "web-1").await, json!({"os": "new"}));
}

#[tokio::test]
async fn facts_that_break_the_frames_bounds_end_the_link_and_others_are_passed_over() {
    let server = Server::start().await;
    let identity = enrolled(&server, "web-1").await;
    let many: serde_json::Map<_, _> =
        (0..16).map(|n| (format!("s{n}"), json!({"digest": "d", "value": n}))).collect();
    let (mut agent, _) = link(&server, &identity).await;
    tell(&mut agent, Value::Object(many.clone())).await;
    drop(agent);
    for (sections, reason) in [
        (json!({"Os": null}), "sections: a name must be"),
        (
            json!({"s": {"digest": "d", "value": "x".repeat(32 * 1024)}}),
            "sections.s.value: must be at most 32768",
        ),
        (json!([]), "object of sections"),
    ] {
        let (mut agent, _) = link(&server, &identity).await;
        agent.send(&json!({"method": "facts", "sections": sections})).await;
        let told = agent.bye().await;
        assert!(told.contains(reason), "{told}");
    }
    // A host whose facts cannot be kept is a host all the same.
    let (mut agent, _) = link(&server, &identity).await;
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for section in
        [r#"{"one":{"digest":"d","value":1}}"#, &format!(r#"{{"s0":{{"digest":"e","value":{deep}}}}}"#)]
    {
        let frame = format!("{{\"method\":\"facts\",\"sections\":{section}}}\n");
        agent.send_bytes(frame.as_bytes()).await;
    }
    agent.is_heard().await;
    assert_eq!(facts(&server, "web-1").await.as_object().unwrap().len(), many.len());
}

#[tokio::test]
async fn a_list_is_narrowed_by_an_expression_or_refused() {
    let server = Server::start().await;
    let _web = linked(&server, "web-1").await;
    enrolled(&server, "db-1").await;
    for (target, names) in [
        (r#"name ~ "*-1""#, &["db-1", "web-1"][..]),
        (r#"status == "online" and tags.own == 1"#, &["web-1"]),
        (r#"region == "unknown""#, &["db-1"]),
        (r#"name == "ü & +""#, &[]),
    ] {
        assert_eq!(selected(&server, target).await.unwrap(), names, "{target}");
    }
    assert_eq!(
        selected(&server, "region == ").await,
        Err(json!("target: expected a value after \"==\" (column 11)"))
    );
    for (query, field) in [("?targets=x", "targets"), ("?facts=1", "facts"), ("?target=a&target=b", "target")]
    {
        let answer = server.rest.get(&format!("/api/v1/hosts{query}")).await;
        assert_eq!((answer.status, &answer.body["field"]), (422, &json!(field)), "{answer:?}");
    }
}

#[tokio::test]
async fn a_request_is_for_the_hosts_that_it_names_and_those_that_it_selects() {
    let server = Server::start().await;
    let mut agents =
        [linked(&server, "web-1").await, linked(&server, "web-2").await, linked(&server, "a").await];
    let ids = agents.each_ref().map(|agent| agent.id.clone());
    let body = json!({"hosts": ["web-2", "nobody"], "target": r#"name ~ "web-*" or name == "a""#,
                      "method": "getinfo.os", "args": "-A"});
    let request = tokio::spawn({
        let rest = server.rest.clone();
        async move { rest.run(body).await }
    });
    for agent in &mut agents {
        let request = agent.serve_one("x").await;
        assert_eq!((&request["method"], &request["args"]), (&json!("getinfo.os"), &json!("-A")));
        assert_eq!((&request["target"], &request["hosts"]), (&Value::Null, &Value::Null));
    }
    let answer = request.await.unwrap();
    assert_eq!(answer.header("request-hosts"), "4");
    let expected = [(&ids[1], 2), (&"nobody".to_owned(), 203), (&ids[2], 2), (&ids[0], 2)];
    assert_eq!(
        answer.retcodes(),
        expected.map(|(host, code)| (host.clone(), code)),
        "named first, then by name"
    );
}

#[tokio::test]
async fn a_target_that_matches_nobody_or_cannot_be_read_begins_nothing() {
    let server = Server::start().await;
    let _agent = linked(&server, "web-1").await;
    for (body, field, detail) in [
        (json!({"target": "name == 'x'"}), "target", "target: it matches no host"),
        (json!({"hosts": [], "target": "name == 'x'"}), "target", "target: it matches no host"),
        (
            json!({"target": "name = 'x'"}),
            "target",
            "target: \"=\" means nothing here: write \"==\" (column 6)",
        ),
        (json!({"target": ["name"]}), "target", "target: invalid type"),
        (json!({}), "hosts", "hosts: name one at least, or give a target"),
        (json!({"hosts": []}), "hosts", "hosts: name one at least, or give a target"),
    ] {
        let mut whole = json!({"method": "sync.bash", "cmd": "true"});
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let answer = server.rest.post("/api/v1/requests", &whole).await;
        assert_eq!((answer.status, &answer.body["field"]), (422, &json!(field)), "{answer:?}");
        assert!(answer.text("detail").starts_with(detail), "{answer:?}");
    }
    assert_eq!(server.rest.get("/api/v1/requests").await.body["count"], 0);
}

#[tokio::test]
async fn a_request_that_is_known_is_answered_whomever_its_target_selects_by_now() {
    let server = Server::start().await;
    let mut agent = linked(&server, "web-1").await;
    let ask = |target: &str, hosts: &[&str]| {
        let body =
            json!({"id": "r-1", "hosts": hosts, "target": target, "method": "sync.bash", "cmd": "true"});
        let rest = server.rest.clone();
        tokio::spawn(async move { rest.post("/api/v1/requests", &body).await })
    };
    let online = r#"status == "online""#;
    let first = ask(online, &[]);
    agent.serve_one("once").await;
    assert_eq!(first.await.unwrap().retcodes().len(), 1);
    let id = agent.id.clone();
    drop(agent);
    server.host_where(&id, "it is offline", |host| host["status"] == "offline").await;
    let again = ask(online, &[]).await.unwrap();
    assert_eq!(again.body["response"][0]["data"], "once");
    for (target, hosts) in [("has(name)", &[][..]), (online, &["web-1"])] {
        assert_eq!(ask(target, hosts).await.unwrap().status, 409, "{target} {hosts:?}");
    }
}
