//! What was asked is kept.

use crate::agent::linked;
use crate::common::Server;
use serde_json::{Value, json};

fn ids(list: &Value) -> Vec<&str> {
    list["requests"].as_array().unwrap().iter().map(|request| request["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_list_is_newest_first_and_goes_page_by_page() {
    let server = Server::start().await;
    for n in 0..5 {
        let id = format!("r{n}");
        server.rest.run(json!({"id": id, "hosts": ["x", "y"], "method": "sync.bash", "cmd": "ls"})).await;
    }
    let first = server.rest.get("/api/v1/requests?limit=2").await.body;
    let (page, mut seen) = (ids(&first), vec![]);
    assert_eq!((page.len(), &first["count"]), (2, &json!(5)));
    seen.extend(page.iter().map(ToString::to_string));
    while seen.len() < 5 {
        let path = format!("/api/v1/requests?limit=2&before={}", seen.last().unwrap());
        let next = server.rest.get(&path).await.body;
        assert!(!ids(&next).is_empty());
        seen.extend(ids(&next).iter().map(ToString::to_string));
    }
    // Those of one millisecond may stand in any order among themselves.
    let mut sorted = seen.clone();
    sorted.sort();
    assert_eq!(sorted, ["r0", "r1", "r2", "r3", "r4"]);

    let one = &first["requests"][0];
    assert_eq!((&one["hosts"], &one["failed"], &one["pending"]), (&json!(2), &json!(2), &json!(0)));
    assert_eq!((&one["method"], &one["cmd"]), (&json!("sync.bash"), &json!("ls")));
    assert!(one.get("response").is_none(), "a list never loads outputs");
}

#[tokio::test]
async fn one_request_is_shown_while_it_runs_and_after() {
    let server = Server::start().await;
    let mut agent = linked(&server, "a").await;
    let body = json!({"id": "r", "hosts": ["nobody", "a"], "method": "sync.bash", "cmd": "x", "timeout": 9});
    let _lines = server.rest.stream(body).await;
    let request = agent.expect().await;
    let shown = server.rest.get("/api/v1/requests/r").await.body;
    assert_eq!((&shown["pending"], &shown["failed"], &shown["succeeded"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(shown["response"].as_array().unwrap().len(), 1);
    assert!(shown.get("finished").is_none());
    assert_eq!(shown["params"], json!({"cmd": "x", "timeout": 9}));

    agent.answer(&request, "done").await;
    let shown = crate::common::eventually("finished", async || {
        let shown = server.rest.get("/api/v1/requests/r").await.body;
        shown["finished"].is_string().then_some(shown)
    })
    .await;
    assert_eq!((&shown["pending"], &shown["failed"], &shown["succeeded"]), (&json!(0), &json!(1), &json!(1)));
    assert_eq!(shown["response"][1]["data"], "done");
}
