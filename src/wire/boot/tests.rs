//! The seed's samples, field by field, and what is near them.

use super::*;
use crate::Retcode;
use crate::daemon::{DaemonStatus, Stop};
use crate::server_list::Server;
use serde_json::{Value, json};

fn server() -> Server {
    Server { host: "polaris".into(), port: 8181 }
}

fn parse(job: &Value) -> Result<BootJob, BadBootJob> {
    BootJob::parse(&job.to_string())
}

#[test]
fn a_report_is_the_seed_s() {
    let sample = json!({
        "hostname": "127.0.0.1",
        "version": "bootagent-1.2.4-x86_64",
        "uptime": 1234,
        "timestamp": 1232,
        "step": 600,
        "agents": [{"name": "BasicAgent", "version": "1.2.3", "status": "stoped", "uptime": 123}],
    });
    let status: Status = serde_json::from_value(sample.clone()).unwrap();
    assert_eq!(status.agents[0].status, AgentStatus::Stoped);
    assert_eq!(serde_json::to_value(&status).unwrap(), sample);
}

#[test]
fn each_status_of_a_daemon_is_one_of_the_seed_s_words() {
    let table = [
        (DaemonStatus::Stoped, "stoped"),
        (DaemonStatus::Installing, "stoped"),
        (DaemonStatus::Starting, "running"),
        (DaemonStatus::Running, "running"),
        (DaemonStatus::Stopping, "running"),
        (DaemonStatus::Backoff, "fatal"),
        (DaemonStatus::Killed, "killed"),
        (DaemonStatus::Fatal, "fatal"),
    ];
    assert_eq!(table.map(|(status, _)| status), DaemonStatus::ALL);
    for (status, word) in table {
        let told = AgentStatus::from(status);
        assert_eq!((told.name(), serde_json::to_value(told).unwrap()), (word, json!(word)), "{status:?}");
        assert_eq!(AgentStatus::named(word), Some(told));
    }
}

#[test]
fn an_answer_is_the_seed_s_and_both_of_its_jobs_are_read() {
    let answer = r#"{
        "errcode": 2,
        "jobs": [{
            "id": "ddc8a9b9-55bd-4ddd-b53d-47095ee19466",
            "action": "install",
            "name": "BasicAgent",
            "url": "ftp://server:21/BasicAgent/BasicAgent-1.5.6..rpm",
            "checksum": "SHA256:4a34b8d7d3009bb9ef9475fbf33e7bbe4a1e8db003aefc578a241c2f51c2c2f2",
            "env": {"PATH": "/usr/bin;/usr/local/bin"},
            "limits": {"CPU": "10%", "memory": "20M"}
        }, {
            "id": "ddc8a9b9-55bd-4ddd-b53d-47095ee19466",
            "action": "config",
            "svrlist": "192.168.9.1:1234,",
            "step": 1200
        }]
    }"#;
    let answer: StatusAnswer = serde_json::from_str(answer).unwrap();
    assert!(answer.is_ok());
    let jobs: Vec<BootJob> = answer.jobs.iter().map(|job| BootJob::parse(job.get()).unwrap()).collect();
    let Action::Install(wish) = &jobs[0].action else { panic!("{jobs:?}") };
    let init = wish.definition(None, &server()).unwrap();
    assert_eq!((init.name.as_str(), init.version.as_str()), ("BasicAgent", "1.5.6"));
    assert_eq!(init.url, "ftp://server:21/BasicAgent/BasicAgent-1.5.6..rpm");
    assert_eq!(init.start, "/usr/bin/gearman -f");
    assert_eq!(init.stop, Stop::Kill(15));
    assert_eq!(init.env["PATH"], "/usr/bin;/usr/local/bin");
    assert_eq!((init.limits.cpu, init.limits.memory), (Some(10), Some(20 << 20)));
    let change = ConfigChange {
        servers: Some(vec![Server { host: "192.168.9.1".into(), port: 1234 }]),
        step: Some(1200),
    };
    assert_eq!(jobs[1].action, Action::Config(change));
    assert_eq!(jobs[0].id, jobs[1].id);
}

#[test]
fn results_are_the_seed_s() {
    let result = BootResult::success("ddc8a9b9-55bd-4ddd-b53d-47095ee19466");
    let sample = json!([{"id": "ddc8a9b9-55bd-4ddd-b53d-47095ee19466", "errcode": 0, "message": "success"}]);
    assert_eq!(serde_json::to_value(vec![result]).unwrap(), sample);
    let answer: ResultAnswer = serde_json::from_str(r#"{"errcode": 0}"#).unwrap();
    assert_eq!(answer, ResultAnswer { errcode: OK, message: None });
}

#[test]
fn an_upgrade_keeps_what_it_does_not_say() {
    let install = json!({"id": "1", "action": "install", "name": "gearman", "url": "/packages/gearman_1_all.deb",
        "env": {"A": "1"}, "limits": {"cpu": "5%"}, "user": "nobody"});
    let Action::Install(wish) = parse(&install).unwrap().action else { panic!() };
    let former = wish.definition(None, &server()).unwrap();
    assert_eq!(former.url, "https://polaris:8181/packages/gearman_1_all.deb");
    assert_eq!((former.checksum.as_deref(), former.version.as_str()), (None, "1"));
    let upgrade = json!({"id": "2", "action": "upgrade", "name": "gearman", "url": "/packages/gearman_2_all.deb",
        "env": {"B": "2"}});
    let Action::Upgrade(wish) = parse(&upgrade).unwrap().action else { panic!() };
    let init = wish.definition(Some(&former), &server()).unwrap();
    assert_eq!((init.version.as_str(), init.limits, init.user), ("2", former.limits, former.user));
    assert_eq!(init.env, [("B".to_owned(), "2".to_owned())].into());
}

#[test]
fn an_upgrade_to_another_kind_of_package_is_started_as_that_is() {
    let wish = |action: &str, url: &str, said: &Value| {
        let mut job = json!({"id": "1", "action": action, "name": "gearman", "url": url});
        job.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        match parse(&job).unwrap().action {
            Action::Install(wish) | Action::Upgrade(wish) => wish,
            other => panic!("{other:?}"),
        }
    };
    let of = |first: &str, said: &Value, then: &str, more: &Value| {
        let former = wish("install", first, said).definition(None, &server()).unwrap();
        let (start, user) = (former.start.clone(), former.user.clone());
        let init = wish("upgrade", then, more).definition(Some(&former), &server()).unwrap();
        assert_eq!((&init.user, init.check_interval), (&user, former.check_interval));
        (start, init.start, json!(init.check))
    };
    let (deb, archive) = ("/packages/gearman_1_all.deb", "/packages/gearman-2.tar.gz?x=1");
    let usual = "/usr/bin/gearman -f".to_owned();
    let script = json!("script:/usr/bin/gearctl -c status");
    let none = json!({"user": "nobody"});
    let archived = "bin/gearman -f".to_owned();
    let unchecked = json!(wish("install", archive, &none).definition(None, &server()).unwrap().check);
    assert_ne!(unchecked, script);
    assert_eq!(of(deb, &none, archive, &json!({})), (usual.clone(), archived.clone(), unchecked));
    assert_eq!(of(archive, &none, deb, &json!({})), (archived.clone(), usual.clone(), script.clone()));
    // What the job says is so, and of the same kind the former's.
    let said = json!({"start": "bin/own", "check": "process"});
    let own = "bin/own".to_owned();
    assert_eq!(of(deb, &none, archive, &said), (usual, own.clone(), json!("process")));
    assert_eq!(of(archive, &said, "/gearman-3.tgz", &json!({})), (own.clone(), own, json!("process")));
}

#[test]
fn boot_itself_is_upgraded_and_nothing_else() {
    let job = |action: &str| json!({"id": "1", "action": action, "name": "boot", "url": "/packages/boot_1_all.deb"});
    assert!(matches!(parse(&job("upgrade")).unwrap().action, Action::UpgradeBoot(_)));
    for action in ["install", "uninstall", "start", "stop", "restart"] {
        assert!(parse(&job(action)).unwrap_err().reason.starts_with("name: boot"), "{action}");
    }
    let stray =
        json!({"id": "1", "action": "upgrade", "name": "BootAgent", "url": "/b_1_all.deb", "env": {}});
    assert!(parse(&stray).unwrap_err().reason.starts_with("env: "));
}

#[test]
fn what_is_wrong_is_named() {
    let install = |field: &str, value: Value| {
        let mut job = json!({"id": "1", "action": "install", "name": "a", "url": "http://h/a-1.deb"});
        job[field] = value;
        job
    };
    for (job, field) in [
        (json!([]), "a job must be"),
        (json!({"action": "stop", "name": "a"}), "id: "),
        (json!({"id": 1, "action": "stop", "name": "a"}), "id: "),
        (json!({"id": "1"}), "action: missing"),
        (json!({"id": "1", "action": 1}), "action: "),
        (json!({"id": "1", "action": "explode"}), "action: "),
        (json!({"id": "1", "action": "stop"}), "name"),
        (json!({"id": "1", "action": "stop", "name": "../x"}), "name: "),
        (json!({"id": "1", "action": "stop", "name": "a", "url": "x"}), "url"),
        (json!({"id": "1", "action": "install", "name": "a"}), "url: missing"),
        (json!({"id": "1", "action": "upgrade", "name": "a"}), "url: missing"),
        (install("checksum", json!("MD5:x")), "checksum: "),
        (install("limits", json!({"CPU": "0%"})), "limits.cpu: "),
        (install("limits", json!({"CPU": "1%", "cpu": "2%"})), "limits: "),
        (install("env", json!([])), "env: "),
        (install("timeout", json!(5)), "timeout: "),
        (install("version", json!("../..")), "version: "),
        (install("url", json!("http://h/a.deb")), "version: missing"),
        (install("url", json!("gopher://h/a-1.deb")), "url: "),
        (install("colour", json!("red")), "colour"),
        (json!({"id": "1", "action": "config"}), "svrlist, step"),
        (json!({"id": "1", "action": "config", "step": 59}), "step: "),
        (json!({"id": "1", "action": "config", "step": 3601}), "step: "),
        (json!({"id": "1", "action": "config", "step": "x"}), "step: "),
        (json!({"id": "1", "action": "config", "svrlist": "a b"}), "svrlist: "),
    ] {
        let reason = parse(&job).unwrap_err().reason;
        assert!(reason.contains(field), "{job}: {reason}");
    }
    let endless = parse(&json!({"id": "1", "action": "x".repeat(50_000)})).unwrap_err();
    assert!(endless.reason.len() < 200, "{}", endless.reason.len());
    let unknown = parse(&json!({"id": "1", "action": "explode"})).unwrap_err();
    assert_eq!((unknown.id.as_str(), unknown.retcode), ("1", Retcode::UnknownMethod));
}

#[test]
fn an_empty_list_of_servers_takes_the_added_ones_away() {
    let job = parse(&json!({"id": "1", "action": "config", "svrlist": ""})).unwrap();
    assert_eq!(job.action, Action::Config(ConfigChange { servers: Some(Vec::new()), step: None }));
}
