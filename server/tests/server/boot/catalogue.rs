//! Packages that the catalogue has for hosts.

use super::{Boot, job, make, plugin, states, sum};
use crate::common::Server;
use serde_json::{Value, json};

fn install(id: &str, hosts: &Value) -> Value {
    json!({"id": id, "hosts": hosts, "action": "install", "name": "gearman"})
}

#[tokio::test]
async fn each_host_gets_the_newest_file_that_it_takes() {
    let server = Server::start().await;
    let mut boots = Vec::new();
    for (name, kinds, arch) in [
        ("deb", json!(["deb", "tar.gz"]), "x86_64"),
        ("arm", json!(["deb"]), "aarch64"),
        ("rpm", json!(["rpm"]), "x86_64"),
        ("odd", json!(["apk"]), "x86_64"),
    ] {
        let mut boot = Boot::of(&server, name).await;
        boot.report["packages"] = kinds;
        boot.report["version"] = json!(format!("bootagent-0.1.0-{arch}"));
        boots.push(boot);
    }
    for (version, file, arch) in [
        ("0.9.0", "pool/gearman_0.9.0_amd64.deb", "amd64"),
        ("0.10.0", "pool/gearman_0.10.0_amd64.deb", "amd64"),
        ("0.10.0", "pool/gearman_0.10.0_arm64.deb", "arm64"),
    ] {
        plugin(&server, "gearman", version, file, arch).await;
    }
    plugin(&server, "BasicAgent", "0.8.0", "pool/BasicAgent 0.8.0.rpm", "").await;
    let made = make(&server.rest, install("i", &json!(["deb", "arm", "rpm", "odd"]))).await;
    assert_eq!(made.text("version"), "0.10.0");
    // What comes later is for later jobs.
    plugin(&server, "gearman", "0.11.0", "pool/gearman_0.11.0_amd64.deb", "amd64").await;
    for (boot, url, version, file) in [
        (&boots[0], "/packages/pool/gearman_0.10.0_amd64.deb", "0.10.0", "pool/gearman_0.10.0_amd64.deb"),
        (&boots[1], "/packages/pool/gearman_0.10.0_arm64.deb", "0.10.0", "pool/gearman_0.10.0_arm64.deb"),
        (&boots[2], "/packages/pool/BasicAgent%200.8.0.rpm", "0.8.0", "pool/BasicAgent 0.8.0.rpm"),
    ] {
        let expected = json!({"id": "i", "action": "install", "name": "gearman", "url": url,
            "version": version, "checksum": sum(file)});
        let given = boot.jobs().await;
        assert_eq!(given, [expected]);
        assert_eq!(boot.jobs().await, given, "the same again");
    }
    assert_eq!(boots[3].ids().await, [""; 0]);
    assert_eq!(states(&server, "i").await, ["sent", "sent", "sent", "failed 3024"]);
    let told = job(&server, "i").await["hosts"][3]["message"].as_str().unwrap().to_owned();
    assert!(told.contains("no package of gearman") && told.contains("it takes apk for x86_64"), "{told}");
}

#[tokio::test]
async fn a_version_may_be_asked_for() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    for version in ["1.0", "2.0"] {
        plugin(&server, "gearman", version, &format!("gearman_{version}_all.deb"), "").await;
    }
    let mut body = install("old", &json!(["web-1"]));
    body["version"] = json!("1.0");
    body["limits"] = json!({"CPU": "10%", "memory": "20M"});
    assert_eq!(make(&server.rest, body.clone()).await.text("version"), "1.0");
    let given = &web.jobs().await[0];
    assert_eq!(
        (&given["url"], &given["limits"]["CPU"]),
        (&json!("/packages/gearman_1.0_all.deb"), &json!("10%"))
    );
    (body["id"], body["version"]) = (json!("none"), json!("3.0"));
    let refused = server.rest.post("/api/v1/boot/jobs", &body).await;
    assert_eq!((refused.status, refused.text("field")), (422, "name".into()));
    assert!(refused.text("detail").contains("no package of gearman 3.0"), "{refused:?}");
}

#[tokio::test]
async fn boot_itself_is_upgraded_from_it_too() {
    let server = Server::start().await;
    let web = Boot::of(&server, "web-1").await;
    plugin(&server, "boot", "0.2.0", "boot_0.2.0_amd64.deb", "amd64").await;
    let body = json!({"id": "u", "hosts": ["web-1"], "action": "upgrade", "name": "BootAgent"});
    let made = make(&server.rest, body).await;
    assert_eq!((made.text("name"), made.text("version")), ("boot".into(), "0.2.0".into()));
    assert_eq!(web.jobs().await[0]["url"], "/packages/boot_0.2.0_amd64.deb");
}

#[tokio::test]
async fn what_a_host_asks_for_becomes_a_job_once() {
    let server = Server::start().await;
    let mut web = Boot::of(&server, "web-1").await;
    web.report["wanted"] = json!(["gearman", "BasicAgent", "nodus"]);
    let answer = web.reports().await;
    assert_eq!(answer["jobs"], json!([]));
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("gearman: the catalogue of plugins has no package of it"), "{message}");
    assert!(message.contains("nodus: ") && !message.contains("BasicAgent"), "{message}");
    plugin(&server, "gearman", "1.0", "gearman-1.0.rpm", "").await;
    let message = web.reports().await["message"].as_str().unwrap().to_owned();
    assert!(message.contains("gearman: the catalogue of plugins has none that fits this host"), "{message}");
    plugin(&server, "gearman", "1.0", "gearman_1.0_all.deb", "all").await;
    let given = web.jobs().await;
    assert_eq!(given.len(), 1);
    assert_eq!((&given[0]["name"], &given[0]["action"]), (&json!("gearman"), &json!("install")));
    assert_eq!(web.jobs().await, given, "it is under way");
    let id = given[0]["id"].as_str().unwrap();
    assert_eq!(job(&server, id).await["by"], "boot --install");
    web.ends(id, 3301, "Download failed").await;
    // What fails fast is not tried again at once.
    let braked = web.reports().await;
    assert_eq!(braked["jobs"], json!([]));
    let message = braked["message"].as_str().unwrap();
    assert!(message.contains(&format!("job {id}, has failed")), "{message}");
    assert!(message.contains(": Download failed") && message.contains("nodus: "), "{message}");
    let mut database = server.database().await;
    database.execute("UPDATE boot_job_hosts SET ended = ended - 590000").await;
    assert_eq!(web.ids().await, [""; 0]);
    database.execute("UPDATE boot_job_hosts SET ended = ended - 10000").await;
    // As long as it is asked for, it is tried again; of what failed the last is kept.
    let again = web.ids().await;
    assert!(again.len() == 1 && again[0] != id, "{again:?}");
    assert_eq!(server.rest.get(&format!("/api/v1/boot/jobs/{id}")).await.status, 404);
    web.report["wanted"] = json!([]);
    web.ends(&again[0], 0, "success").await;
    assert_eq!(web.reports().await, json!({"errcode": 0, "jobs": []}));
    assert_eq!(server.rest.get("/api/v1/boot/jobs").await.body["count"], 1);
}

#[tokio::test]
async fn what_an_operator_turned_off_is_not_tried_again() {
    let server = Server::start().await;
    plugin(&server, "gearman", "1.0", "gearman_1.0_all.deb", "").await;
    let (mut web, mut db) = (Boot::of(&server, "web-1").await, Boot::of(&server, "db-1").await);
    web.report["wanted"] = json!(["gearman"]);
    let id = web.ids().await.remove(0);
    let cancelled = server.rest.call("DELETE", &format!("/api/v1/boot/jobs/{id}"), None).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!(web.ids().await, [&*id], "who has it goes on");
    web.ends(&id, 3301, "Download failed").await;
    server.database().await.execute("UPDATE boot_job_hosts SET ended = 1").await;
    let answer = web.reports().await;
    assert_eq!(answer["jobs"], json!([]));
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("was cancelled"), "{message}");
    // Nor what is just being taken away.
    db.report["wanted"] = json!(["BasicAgent"]);
    let uninstall = json!({"id": "off", "hosts": ["db-1"], "action": "uninstall", "name": "gearman"});
    make(&server.rest, uninstall).await;
    assert_eq!(db.ids().await, ["off"]);
}

#[tokio::test]
async fn two_hosts_that_ask_have_a_job_each() {
    let server = Server::start().await;
    plugin(&server, "gearman", "1.0", "gearman_1.0_all.deb", "").await;
    let mut given = Vec::new();
    for name in ["web-1", "web-2"] {
        let mut boot = Boot::of(&server, name).await;
        boot.report["wanted"] = json!(["gearman"]);
        given.extend(boot.ids().await);
    }
    assert_eq!(given.len(), 2);
    assert_ne!(given[0], given[1]);
}
