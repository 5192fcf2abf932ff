//! The catalogue of plugins.

use crate::common::{Answer, Server};
use crate::metrics::scrape;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs;

fn sum(text: &str) -> String {
    format!("SHA256:{}", polaris::requests::hex(&Sha256::digest(text)))
}

async fn with_files() -> Server {
    let server = Server::start().await;
    let pool = server.dir.path().join("data/packages/pool");
    fs::create_dir(&pool).unwrap();
    for version in ["1.0", "2.0"] {
        fs::write(pool.join(format!("cpu {version}.so")), version).unwrap();
    }
    server
}

async fn add(server: &Server, more: Value) -> Answer {
    let mut plugin = json!({"name": "cpu", "version": "1.0", "arch": "x86_64", "os": "debian",
        "file": "pool/cpu 1.0.so"});
    plugin.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.rest.post("/api/v1/plugins", &plugin).await
}

#[tokio::test]
async fn a_plugin_is_a_file_that_is_there() {
    let server = with_files().await;
    let added = add(&server, json!({})).await;
    assert_eq!((added.status, added.text("checksum")), (201, sum("1.0")));
    assert_eq!(added.text("url"), "/packages/pool/cpu%201.0.so");
    let later =
        add(&server, json!({"version": "2.0", "file": "pool/cpu 2.0.so", "checksum": sum("2.0")})).await;
    assert_eq!(later.status, 201, "{later:?}");
    let any = add(&server, json!({"name": "net", "arch": "", "os": ""})).await;
    assert_eq!((any.status, any.text("arch")), (201, String::new()));
    for (query, count) in
        [("", 3), ("?name=cpu", 2), ("?name=cpu&arch=x86_64&os=debian", 2), ("?arch=", 1), ("?os=centos", 0)]
    {
        let list = server.rest.get(&format!("/api/v1/plugins{query}")).await.body;
        assert_eq!(
            (&list["count"], list["plugins"].as_array().unwrap().len()),
            (&json!(count), count),
            "{query}"
        );
    }
    let path = format!("/api/v1/plugins/{}", added.text("id"));
    let shown = server.rest.get(&path).await;
    assert_eq!(shown.body, added.body);
    assert_eq!(server.rest.call("DELETE", &path, None).await.status, 204);
    assert_eq!(server.rest.call("DELETE", &path, None).await.status, 404);
    assert_eq!(server.rest.get(&path).await.status, 404);
    assert_eq!(add(&server, json!({})).await.status, 201, "its name is free again");
}

#[tokio::test]
async fn a_plugin_that_is_there_already_is_no_failure_of_the_database() {
    let server = with_files().await;
    assert_eq!(add(&server, json!({})).await.status, 201);
    assert_eq!(add(&server, json!({})).await.status, 409);
    let metrics = scrape(&server).await;
    assert!(metrics.contains("\npolaris_database_errors_total 0\n"), "{metrics}");
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_with_the_field() {
    let server = with_files().await;
    for (more, field) in [
        (json!({"name": ""}), "name"),
        (json!({"name": "x".repeat(129)}), "name"),
        (json!({"version": "x".repeat(65)}), "version"),
        (json!({"version": "1\n"}), "version"),
        (json!({"arch": "x".repeat(33)}), "arch"),
        (json!({"os": 1}), "os"),
        (json!({"file": "pool/none.so"}), "file"),
        (json!({"file": "pool"}), "file"),
        (json!({"file": "../polaris.db"}), "file"),
        (json!({"file": "x".repeat(300)}), "file"),
        (json!({"checksum": sum("other")}), "checksum"),
        (json!({"checksum": "1234"}), "checksum"),
        (json!({"checksum": "SHA256:12"}), "checksum"),
        (json!({"size": 1}), "size"),
    ] {
        let answer = add(&server, more.clone()).await;
        assert_eq!((answer.status, answer.text("field")), (422, field.to_owned()), "{more}: {answer:?}");
    }
    assert_eq!(server.rest.get("/api/v1/plugins?size=1").await.status, 422);
    assert_eq!(add(&server, json!({})).await.status, 201);
    let twice = add(&server, json!({"file": "pool/cpu 2.0.so"})).await;
    assert_eq!(twice.status, 409);
    assert!(twice.text("detail").contains("cpu 1.0 x86_64 debian"), "{twice:?}");
    assert_eq!(server.rest.get("/api/v1/plugins").await.body["count"], 1);
}

#[tokio::test]
async fn the_file_of_a_plugin_stays_what_it_is() {
    let server = with_files().await;
    let added = add(&server, json!({})).await;
    let path = "/packages/pool/cpu%201.0.so";
    let refused = server.rest.call("DELETE", path, None).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text("detail").contains("cpu 1.0 x86_64 debian"), "{refused:?}");
    let put = async |text: &str| server.rest.call("PUT", path, Some(&Value::from(text))).await.status;
    assert_eq!(put("another").await, 409);
    fs::write(server.dir.path().join("data/packages/pool/cpu 1.0.so"), "\"1.0\"").unwrap();
    server.rest.call("DELETE", &format!("/api/v1/plugins/{}", added.text("id")), None).await;
    assert_eq!(add(&server, json!({})).await.status, 201);
    assert_eq!(put("1.0").await, 200, "it is the same");
}
