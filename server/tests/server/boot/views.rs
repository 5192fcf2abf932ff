//! What boots tell, over the fleet.

use super::{Boot, make, plugin, restart};
use crate::common::{Server, eventually};
use crate::metrics;
use futures_util::future::join_all;
use polaris::boot::sweep::sweep;
use polaris::clock;
use serde_json::{Value, json};

async fn fleet(server: &Server) -> Vec<Boot> {
    let mut boots = Vec::new();
    for (name, version, status, more) in [
        ("web-1", "1.9", "running", json!({"state": "running"})),
        ("web-2", "1.10", "running", json!({})),
        ("db-1", "1.9", "fatal", json!({"state": "backoff", "reason": "it ended with 1"})),
    ] {
        let mut boot = Boot::of(server, name).await;
        let mut told = json!({"name": "BasicAgent", "version": version, "status": status, "uptime": 7});
        told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        boot.report["agents"] = json!([told]);
        boot.reports().await;
        boots.push(boot);
    }
    boots
}

/// The hosts of a list of agents, sorted, and its count.
async fn agents(server: &Server, query: &str) -> (Vec<String>, i64) {
    let answer = server.rest.get(&format!("/api/v1/boot/agents{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let agents = answer.body["agents"].as_array().unwrap();
    let mut hosts: Vec<_> =
        agents.iter().map(|agent| agent["hostname"].as_str().unwrap().to_owned()).collect();
    hosts.sort();
    (hosts, answer.body["count"].as_i64().unwrap())
}

#[tokio::test]
async fn agents_are_shown_as_their_hosts_tell() {
    let server = Server::start().await;
    let boots = fleet(&server).await;
    plugin(&server, "gearman", "1.10", "gearman_1.10_all.deb", "").await;
    let shown = server.rest.get("/api/v1/boot/agents?host=db-1").await.body["agents"][0].clone();
    assert_eq!((&shown["host"], &shown["agent"]), (&json!(boots[2].id()), &json!("BasicAgent")));
    assert_eq!((&shown["status"], &shown["state"]), (&json!("fatal"), &json!("backoff")));
    assert_eq!((&shown["reason"], &shown["uptime"]), (&json!("it ended with 1"), &json!(7)));
    assert_eq!((&shown["latest"], &shown["outdated"]), (&json!("1.10"), &json!(true)));
    assert_eq!((&shown["silent"], &shown["host_status"]), (&json!(false), &json!("unknown")));
    let [web1, web2, db1] = ["web-1", "web-2", "db-1"].map(str::to_owned);
    for (query, hosts) in [
        ("", vec![&db1, &web1, &web2]),
        ("?name=gearman", vec![&db1, &web1, &web2]),
        ("?name=nodus", vec![]),
        ("?target=name%20~%20%22web-*%22", vec![&web1, &web2]),
        ("?status=fatal", vec![&db1]),
        ("?outdated=true", vec![&db1, &web1]),
        ("?outdated=false", vec![&web2]),
        ("?outdated=true&status=running", vec![&web1]),
        ("?silent=true", vec![]),
        ("?silent=false&host=web-1", vec![&web1]),
    ] {
        let hosts: Vec<String> = hosts.into_iter().cloned().collect();
        let count = i64::try_from(hosts.len()).unwrap();
        assert_eq!(agents(&server, query).await, (hosts, count), "{query}");
    }
    let page = server.rest.get("/api/v1/boot/agents?limit=2").await.body;
    let last = &page["agents"][1];
    let after = format!("?after=BasicAgent/{}", last["host"].as_str().unwrap());
    assert_eq!((agents(&server, &after).await.0.len(), page["count"].as_i64()), (1, Some(3)));
    for (query, field) in [("status=odd", "status"), ("after=x", "after"), ("host=none", "host")] {
        let answer = server.rest.get(&format!("/api/v1/boot/agents?{query}")).await;
        assert_eq!((answer.status, answer.text("field")), (422, field.into()));
    }
}

#[tokio::test]
async fn a_summary_counts_them() {
    let server = Server::start().await;
    fleet(&server).await;
    plugin(&server, "gearman", "1.10", "gearman_1.10_all.deb", "").await;
    let row = |version: &str, status: &str, silent: u64, outdated: bool| {
        json!({"agent": "BasicAgent", "version": version, "status": status, "hosts": 1, "silent": silent,
               "outdated": outdated})
    };
    let summary = server.rest.get("/api/v1/boot/agents/summary").await.body;
    let all =
        [row("1.10", "running", 0, false), row("1.9", "fatal", 0, true), row("1.9", "running", 0, true)];
    assert_eq!(summary, json!({"summary": all, "count": 3}));
    server.database().await.execute("UPDATE boot_reports SET gmt_modify = 0").await;
    server.running.app.hears_from(0);
    let summary = server.rest.get("/api/v1/boot/agents/summary?outdated=false").await.body;
    assert_eq!(summary["summary"], json!([row("1.10", "running", 1, false)]));
}

#[tokio::test]
async fn a_host_that_stopped_reporting_is_silent_after_two_and_a_half_steps() {
    let server = Server::start().await;
    let boots = fleet(&server).await;
    let hosts = async |query: &str| server.rest.get(&format!("/api/v1/boot/hosts{query}")).await.body;
    let shown = hosts("?host=web-1").await["hosts"][0].clone();
    assert_eq!((&shown["hostname"], &shown["version"]), (&json!("web-1"), &json!("bootagent-0.1.0-x86_64")));
    assert_eq!((&shown["agents"], &shown["packages"]), (&json!(["BasicAgent"]), &json!(["deb"])));
    let time = |key: &str| clock::of_rfc3339(shown[key].as_str().unwrap()).unwrap();
    assert_eq!(time("next") - time("reported"), 600_000);
    let mut database = server.database().await;
    // As long as polaris was not there itself it does not count.
    database.execute("UPDATE boot_reports SET gmt_modify = gmt_modify - 2000000").await;
    assert_eq!(
        (&hosts("?silent=true").await["count"], agents(&server, "?silent=false").await.1),
        (&json!(0), 3)
    );
    assert_eq!(hosts("").await["hosts"][0]["silent"], false);
    let summary = server.rest.get("/api/v1/boot/agents/summary").await.body;
    assert_eq!(summary["summary"][0]["silent"], 0);
    database.execute("UPDATE boot_reports SET gmt_modify = gmt_modify + 2000000").await;
    server.running.app.hears_from(0);
    // Ten seconds short of it, and a second beyond.
    database.execute("UPDATE boot_reports SET gmt_modify = gmt_modify - 1490000").await;
    assert_eq!(hosts("?silent=true").await["count"], 0);
    database.execute("UPDATE boot_reports SET gmt_modify = gmt_modify - 11000").await;
    boots[2].reports().await;
    let silent = hosts("?silent=true").await;
    assert_eq!((&silent["count"], &silent["hosts"][0]["silent"]), (&json!(2), &json!(true)));
    assert!(silent["hosts"][0]["next"].is_null());
    assert_eq!(agents(&server, "?silent=true").await.0, ["web-1", "web-2"]);
    assert_eq!(hosts("?silent=false").await["hosts"][0]["host"], boots[2].id());
    let first = hosts("?limit=2").await;
    let last = first["hosts"][1]["host"].as_str().unwrap();
    let rest = hosts(&format!("?after={last}")).await;
    assert_eq!((rest["hosts"].as_array().unwrap().len(), &rest["count"]), (1, &json!(3)));
}

#[tokio::test]
async fn what_a_host_no_longer_tells_of_is_gone() {
    let server = Server::start().await;
    let mut boot = fleet(&server).await.remove(0);
    boot.report["agents"] = json!([{"name": "nodus", "version": "", "status": "stoped", "uptime": 0}]);
    boot.reports().await;
    let shown = server.rest.get("/api/v1/boot/agents?host=web-1").await.body;
    assert_eq!((&shown["count"], &shown["agents"][0]["agent"]), (&json!(1), &json!("nodus")));
    assert_eq!(shown["agents"][0]["outdated"], false);
    assert!(shown["agents"][0]["latest"].is_null());
}

#[tokio::test]
async fn hosts_that_report_at_once_are_not_in_each_other_s_way() {
    let server = Server::start().await;
    let told = |name: &str| json!({"name": name, "version": "1", "status": "running", "uptime": 1});
    let boots = join_all((0..24).map(async |n| {
        let mut boot = Boot::of(&server, &format!("h-{n}")).await;
        boot.report["agents"] = json!([told("BasicAgent"), told("LogAgent"), told("SecureAgent")]);
        boot
    }))
    .await;
    join_all(boots.iter().map(Boot::reports)).await;
    assert_eq!(agents(&server, "").await.1, 72);
}

#[tokio::test]
async fn it_is_counted() {
    let server = Server::start().await;
    let boots = fleet(&server).await;
    make(&server.rest, restart("a", &json!(["web-1"]))).await;
    make(&server.rest, restart("b", &json!(["web-1"]))).await;
    make(&server.rest, restart("c", &json!(["web-1"]))).await;
    boots[0].reports().await;
    for _ in 0..3 {
        boots[0].ends("a", 0, "success").await;
    }
    // As the seed's sample has it.
    boots[0].ends("c", 2, "Normal termination").await;
    boots[0].ends("nobody-s", 0, "success").await;
    boots[0].tell(&json!({"hostname": "x"})).await;
    let mut odd: Value = boots[0].report.clone();
    odd["step"] = json!(1);
    boots[0].tell(&odd).await;
    sweep(&server.running.app, clock::now() + 1_800_000).await.unwrap();
    let count = async |name: &str| metrics::count(&server, name).await;
    assert_eq!(count("polaris_boot_reports_total{result=\"ok\"}").await, 4);
    assert_eq!(count("polaris_boot_reports_total{result=\"refused\"}").await, 1);
    assert_eq!(count("polaris_boot_results_total{result=\"ok\"}").await, 2);
    assert_eq!(count("polaris_boot_results_total{result=\"failed\"}").await, 0);
    // The server looks through them by itself, too, by its own clock.
    eventually("the number of open jobs", async || {
        (count("polaris_boot_jobs_open").await == 1).then_some(())
    })
    .await;
    // Two, by whichever clock is looked through.
    server.running.app.hears_from(0);
    server.database().await.execute("UPDATE boot_reports SET gmt_modify = 0 WHERE hostname <> 'web-1'").await;
    sweep(&server.running.app, clock::now()).await.unwrap();
    assert_eq!(count("polaris_boot_hosts{state=\"silent\"}").await, 2);
    assert_eq!(count("polaris_boot_hosts{state=\"reporting\"}").await, 1);
}
