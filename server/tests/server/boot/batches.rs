//! How many hosts have a job at once.

use super::{Boot, job, make, restart, states};
use crate::common::Server;
use futures_util::future::join_all;
use serde_json::{Value, json};

async fn boots(server: &Server, count: usize) -> Vec<Boot> {
    join_all((0..count).map(async |n| Boot::of(server, &format!("h-{n}")).await)).await
}

async fn begun(boots: &[Boot]) -> Vec<usize> {
    let given = join_all(boots.iter().map(Boot::ids)).await;
    (0..boots.len()).filter(|n| !given[*n].is_empty()).collect()
}

fn with(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn all(more: &Value) -> Value {
    with(json!({"id": "r", "target": "name ~ \"h-*\"", "action": "restart", "name": "gearman"}), more)
}

#[tokio::test]
async fn whoever_reports_next_takes_the_next_place() {
    let server = Server::start().await;
    let boots = boots(&server, 4).await;
    let made = make(&server.rest, all(&json!({"batch": 1}))).await;
    assert_eq!((&made.body["batch"], &made.body["count"]), (&json!(1), &json!(4)));
    assert_eq!(boots[2].ids().await, ["r"]);
    assert_eq!(boots[0].ids().await, [""; 0]);
    assert_eq!(boots[2].ids().await, ["r"]);
    boots[2].ends("r", 0, "success").await;
    assert_eq!(boots[3].ids().await, ["r"]);
    assert_eq!(boots[0].ids().await, [""; 0]);
    let counts = job(&server, "r").await["counts"].clone();
    assert_eq!((&counts["waiting"], &counts["sent"], &counts["done"]), (&json!(2), &json!(1), &json!(1)));
}

#[tokio::test]
async fn hosts_that_report_at_once_take_no_more_places_than_there_are() {
    let server = Server::start().await;
    let boots = boots(&server, 12).await;
    make(&server.rest, all(&json!({"batch": "25%"}))).await;
    let mut done = 0;
    while done < boots.len() {
        let given = begun(&boots).await;
        assert_eq!(given.len(), 3, "{given:?}");
        done += given.len();
        join_all(given.iter().map(|n| boots[*n].ends("r", 0, "success"))).await;
    }
    assert_eq!(begun(&boots).await, [0; 0]);
    assert_eq!(job(&server, "r").await["state"], "ended");
}

#[tokio::test]
async fn a_place_is_taken_whatever_becomes_of_the_server() {
    let server = Server::start().await;
    let mut boots = boots(&server, 2).await;
    make(&server.rest, all(&json!({"batch": 1}))).await;
    assert_eq!(boots[0].ids().await, ["r"]);
    let server = server.restart().await;
    for boot in &mut boots {
        boot.agents = server.agents();
    }
    assert_eq!(boots[1].ids().await, [""; 0]);
    assert_eq!(boots[0].ids().await, ["r"]);
    boots[0].ends("r", 0, "success").await;
    assert_eq!(boots[1].ids().await, ["r"]);
}

#[tokio::test]
async fn beyond_max_errors_nobody_is_begun() {
    let server = Server::start().await;
    let boots = boots(&server, 5).await;
    make(&server.rest, all(&json!({"batch": 2, "max_errors": 1}))).await;
    assert_eq!((boots[0].ids().await.len(), boots[1].ids().await.len()), (1, 1));
    boots[0].ends("r", 3302, "Checksum mismatch").await;
    assert_eq!(job(&server, "r").await["state"], "open");
    assert_eq!(boots[2].ids().await, ["r"]);
    boots[1].ends("r", 3303, "Installation failed").await;
    assert_eq!(job(&server, "r").await["state"], "stopped");
    assert_eq!(boots[3].ids().await, [""; 0]);
    assert_eq!(boots[2].ids().await, ["r"], "whoever has it goes on");
    boots[2].ends("r", 0, "success").await;
    let mut ended = states(&server, "r").await;
    ended.sort();
    assert_eq!(ended, ["cancelled 207", "cancelled 207", "done 0", "failed 3302", "failed 3303"]);
    let list = server.rest.get("/api/v1/boot/jobs?state=ended").await.body;
    assert_eq!(list["jobs"][0]["state"], "stopped");
}

#[tokio::test]
async fn a_job_without_a_batch_is_everybody_s_and_stops_all_the_same() {
    let server = Server::start().await;
    let boots = boots(&server, 3).await;
    make(&server.rest, all(&json!({"max_errors": 0}))).await;
    assert_eq!((boots[0].ids().await.len(), boots[1].ids().await.len()), (1, 1));
    boots[0].ends("r", 3304, "Unhealthy").await;
    assert_eq!(boots[2].ids().await, [""; 0]);
    boots[1].ends("r", 0, "success").await;
    assert_eq!(job(&server, "r").await["state"], "stopped");
}

#[tokio::test]
async fn a_cancelled_job_has_no_more_places() {
    let server = Server::start().await;
    let boots = boots(&server, 2).await;
    make(&server.rest, with(restart("r", &json!(["h-0", "h-1"])), &json!({"batch": 1}))).await;
    assert_eq!(boots[0].ids().await, ["r"]);
    server.rest.call("DELETE", "/api/v1/boot/jobs/r", None).await;
    boots[0].ends("r", 0, "success").await;
    assert_eq!(boots[1].ids().await, [""; 0]);
}

#[tokio::test]
async fn what_waits_for_a_place_does_not_undo_a_newer_job_later() {
    let server = Server::start().await;
    let boots = boots(&server, 2).await;
    let of = |id: &str, action: &str, hosts: Value| {
        let name = "gearman";
        json!({"id": id, "hosts": hosts, "action": action, "name": name})
    };
    let both = json!(["h-0", "h-1"]);
    for (id, action) in [("off", "stop"), ("again", "restart")] {
        make(&server.rest, with(of(id, action, both.clone()), &json!({"batch": 1}))).await;
        assert!(boots[0].ids().await.contains(&id.to_owned()));
    }
    let mut other = of("other", "stop", json!(["h-0", "h-1"]));
    other["name"] = json!("nodus");
    make(&server.rest, with(other, &json!({"batch": 1}))).await;
    assert_eq!(boots[0].ids().await, ["off", "again", "other"]);
    make(&server.rest, of("on", "start", json!(["h-1"]))).await;
    // It does not wait for the older ones.
    assert_eq!(boots[1].ids().await, ["on"]);
    assert_eq!(states(&server, "off").await, ["sent", "cancelled 207"]);
    let told = job(&server, "off").await["hosts"][1]["message"].as_str().unwrap().to_owned();
    assert!(told.contains("a newer job of the same agent"), "{told}");
    // To restart what was started undoes nothing, and what is another agent's neither.
    for id in ["again", "other"] {
        assert_eq!(states(&server, id).await, ["sent", "waiting"], "{id}");
    }
    boots[0].ends("off", 0, "success").await;
    boots[0].ends("again", 0, "success").await;
    assert_eq!(boots[1].ids().await, ["again", "on"]);
}

#[tokio::test]
async fn many_hosts_are_to_be_confirmed() {
    let server = Server::with("[requests]\nconfirm_above = 2\n").await;
    let _boots = boots(&server, 3).await;
    let refused = server.rest.post("/api/v1/boot/jobs", &all(&json!({}))).await;
    assert_eq!((refused.text("field"), &refused.body["hosts"]), ("confirm".into(), &json!(3)));
    make(&server.rest, all(&json!({"confirm": 3}))).await;
}
