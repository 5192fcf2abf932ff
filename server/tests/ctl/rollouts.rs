//! Requests whose hosts are begun one after the other, and those for many hosts.

use super::{DONE, FAILED, Rig, on_a_terminal};
use serde_json::{Value, json};

const STOPPED: &str = r#"{"reason":"errors","detail":"the rollout stopped after 1 error (max_errors 0)","not_begun":1,"method":"stopped"}"#;
const NOT_BEGUN: &str = r#"{"host":"3","name":"web-3","resp":"failed","retcode":207,"message":"Cancelled before delivery","detail":"not begun: the rollout stopped after 1 error (max_errors 0)"}"#;

/// What the stub refuses: an expression with a mistake, and what is for many and does not say so.
pub fn refused(body: &Value) -> Option<Value> {
    if body["target"] == "region = 1" {
        let detail = "target: \"=\" means nothing here: write \"==\" (column 8)";
        return Some(
            json!({"title": "Unprocessable Entity", "detail": detail, "field": "target", "column": 8}),
        );
    }
    if body["cmd"] == "for-many" && body["confirm"] != 4312 {
        let detail = "confirm: this is for 4312 hosts: say \"confirm\": 4312";
        return Some(
            json!({"title": "Unprocessable Entity", "detail": detail, "field": "confirm", "hosts": 4312}),
        );
    }
    None
}

fn rolled_out(rig: &Rig, words: &[&str]) -> (Option<i32>, String, String) {
    let begun = |host: u8| json!({"host": host.to_string(), "name": "n", "method": "begun"}).to_string();
    rig.answers(&[&begun(1), &begun(2), DONE, FAILED, STOPPED, NOT_BEGUN]);
    let run = ["run", "-H", "1", "-H", "2", "-H", "3", "--batch", "25%", "--ramp", "--max-errors", "0"];
    rig.output(&[words, &run[..], &["--pause", "5", "--ttl", "1h", "--", "ls"]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_goes_out_as_it_is_meant_and_the_end_says_who_was_not_begun() {
    let rig = Rig::start().await;
    let (status, stdout, stderr) = rolled_out(&rig, &[]);
    assert!(stdout.ends_with(
        "web-3  failed 207 Cancelled before delivery: not begun: the rollout stopped after 1 error (max_errors 0)\n"
    ), "{stdout}");
    assert_eq!(
        stderr,
        "web-2: no way\n3 hosts: 1 succeeded, 1 failed, 1 not begun\n\
         not begun: web-3: the rollout stopped after 1 error (max_errors 0)\n"
    );
    assert_eq!(status, Some(1));
    let body = rig.stub.lock().unwrap().requests[0].1.clone();
    let expected = json!({"hosts": ["1", "2", "3"], "method": "sync.bash", "cmd": "ls", "ttl": 3600,
        "batch": "25%", "ramp": true, "max_errors": 0, "pause": 5});
    assert_eq!(body, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_get_why_it_stopped_beside_the_answers() {
    let rig = Rig::start().await;
    let (status, stdout, _) = rolled_out(&rig, &["-o", "json"]);
    let document: Value = serde_json::from_str(&stdout).unwrap();
    let stopped = json!({"reason": "errors", "detail": "the rollout stopped after 1 error (max_errors 0)",
        "not_begun": 1});
    assert_eq!((&document["stopped"], document["response"].as_array().unwrap().len()), (&stopped, 3));
    assert_eq!(status, Some(1));
    let (_, stdout, _) = rolled_out(&rig, &["-o", "ndjson"]);
    assert_eq!(stdout.lines().count(), 6, "as they come: {stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_orders_hosts_about_may_do_it_by_and_by() {
    let rig = Rig::start().await;
    let calls: [&[&str]; 4] = [
        &["info", "os", "-H", "a", "--batch", "1", "--confirm", "1"],
        &["cron", "set", "-H", "a", "--batch", "1", "--confirm", "1", "n", "* * * * *", "--", "ls"],
        &["cron", "remove", "-H", "a", "--batch", "1", "--confirm", "1", "n"],
        &["daemon", "restart", "-H", "a", "--batch", "1", "--confirm", "1", "web"],
    ];
    for words in calls {
        rig.answers(&[DONE]);
        let (status, _, stderr) = rig.output(words);
        assert_eq!(status, Some(0), "{words:?}: {stderr}");
    }
    let heard = rig.stub.lock().unwrap();
    let pace = |body: &Value| (body["batch"].clone(), body["confirm"].clone());
    let paces: Vec<_> = heard.requests.iter().map(|(_, body)| pace(body)).collect();
    assert_eq!(paces, vec![(json!(1), json!(1)); 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_be_asked_the_number_is_told() {
    let rig = Rig::start().await;
    let run = ["run", "-t", "has(name)"];
    for confirm in [&[][..], &["--confirm", "2"]] {
        let (status, stdout, stderr) = rig.output(&[&run[..], confirm, &["--", "for-many"]].concat());
        let sentence = "polarisctl: polaris refused: confirm: this is for 4312 hosts: say \"confirm\": 4312 \
                        (Unprocessable Entity)\n";
        assert_eq!((status, &*stdout, &*stderr), (Some(1), "", sentence));
    }
    rig.answers(&[DONE]);
    assert_eq!(rig.output(&[&run[..], &["--confirm", "4312", "--", "for-many"]].concat()).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_it_asks_for_the_number() {
    const FOR_MANY: &str = "run -t 'has(name)' -- for-many";
    let rig = Rig::start().await;
    let (status, shown) = on_a_terminal(&rig.data, FOR_MANY, "yes\n");
    assert!(shown.contains("4312 hosts: type the number to go on: "), "{shown}");
    assert!(shown.contains("polarisctl: that is not how many hosts there are: nothing was begun"), "{shown}");
    assert_eq!(status, Some(1));
    assert!(rig.stub.lock().unwrap().requests.is_empty());
    rig.answers(&[DONE]);
    let (status, shown) = on_a_terminal(&rig.data, FOR_MANY, "4312\n");
    assert!(shown.contains("web-1  success 2 Normal termination"), "{shown}");
    assert_eq!(status, Some(0), "{shown}");
    assert_eq!(rig.stub.lock().unwrap().requests[0].1["confirm"], 4312);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_expression_is_marked() {
    let rig = Rig::start().await;
    let (status, _, stderr) = rig.output(&["run", "-t", "region = 1", "--", "ls"]);
    let sentence = "polarisctl: polaris refused: target: \"=\" means nothing here: write \"==\" (column 8) \
                    (Unprocessable Entity)\n  region = 1\n         ^\n";
    assert_eq!((status, &*stderr), (Some(1), sentence));
}
