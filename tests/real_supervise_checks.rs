//! Real daemons that are not well, or use too much: what is noticed, and what is done about it.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod rig;

use rig::agent::Host;
use rig::daemons::{STAYS, alone, pid};
use rig::{aloud, until};
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;

/// Listens at `$AT`, a path or a port of 127.0.72.5, while there is no file `$ILL`; its main process
/// stays all the while.
const LISTENS: &str = "#!/bin/sh
perl -MIO::Socket::UNIX -MIO::Socket::INET -e '
    unlink $ENV{AT};
    my %how = $ENV{AT} =~ m,/, ? (Local => $ENV{AT}) : (LocalAddr => q(127.0.72.5), LocalPort => $ENV{AT});
    my $kind = $ENV{AT} =~ m,/, ? q(IO::Socket::UNIX) : q(IO::Socket::INET);
    my $at = $kind->new(%how, Listen => 5, ReuseAddr => 1) or die qq(no socket: $!);
    $at->blocking(0);
    while (not -e $ENV{ILL}) { if (my $caller = $at->accept) { close $caller } select undef, undef, undef, 0.02 }
' &
exec sleep 1000000
";

/// Says again and again that it lives, until there is a file `$ILL`.
const SPEAKS: &str = "#!/bin/sh
exec perl -MIO::Socket::UNIX -e '
    my $to = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $ENV{NOTIFY_SOCKET}) or die qq(no socket: $!);
    while (1) { print {$to} q(WATCHDOG=1) unless -e $ENV{ILL}; select undef, undef, undef, 0.1 }
'
";

/// Holds 48 megabytes while there is a file `$HOG`, and says in `$HELD` that it does.
const HOLDS: &str = "#!/bin/sh
exec perl -e '
    my ($held, $size) = (undef, 48_000_000);
    while (1) {
        if (-e $ENV{HOG}) { $held //= q(x) x $size; open my $said, q(>), $ENV{HELD} }
        else { undef $held; unlink $ENV{HELD} }
        select undef, undef, undef, 0.02;
    }
'
";

/// One whose checks begin to fail is started anew, and runs again once it is well.
fn falls_ill(name: &str, host: &Host, run: &str, more: &Value, complaint: &str) {
    let ill = host.path(&format!("{name}.ill"));
    let mut all = json!({
        "start_delay": 1, "check_interval": 1, "check_failures": 2, "max_restarts": 1000,
        "stop_timeout": 2, "env": {"ILL": ill}
    });
    for (field, value) in more.as_object().unwrap() {
        match field.as_str() {
            "env" => all["env"].as_object_mut().unwrap().extend(value.as_object().unwrap().clone()),
            _ => all[field] = value.clone(),
        }
    }
    host.init(
        name,
        &[("run", run), ("check", "#!/bin/sh\n! test -e $ILL || { echo is ill; exit 3; }\n")],
        &all,
    );
    let running = host.comes_to(name, "running");
    fs::write(&ill, "").unwrap();
    let line = host.logged(&["daemon=backoff", &format!("{name:?}"), "retcode=3304"]);
    assert!(line.contains(complaint), "{line}");
    fs::remove_file(&ill).unwrap();
    let again = host.comes_back(name, &running);
    assert!(again["restarts"].as_u64().unwrap() >= 1, "{again}");
    assert_eq!(again["reason"], Value::Null);
}

#[test]
fn one_that_does_not_listen_at_its_socket_any_more_is_started_anew() {
    let (host, _agent) = alone("");
    let at = host.path("web.at");
    let more = json!({"check": "socket", "socket": at, "env": {"AT": at}});
    falls_ill("web", &host, LISTENS, &more, "check socket: ");
}

#[test]
fn one_that_does_not_listen_at_its_port_any_more_is_started_anew() {
    let (host, _agent) = alone("");
    // The system's choice, free again.
    let port = TcpListener::bind("127.0.72.5:0").unwrap().local_addr().unwrap().port().to_string();
    let more = json!({"check": "socket", "socket": format!("tcp:127.0.72.5:{port}"), "env": {"AT": port}});
    falls_ill("web", &host, LISTENS, &more, "check socket: ");
}

#[test]
fn one_whose_web_server_says_that_it_is_ill_is_started_anew() {
    let (host, _agent) = alone("");
    let port = TcpListener::bind("127.0.72.5:0").unwrap().local_addr().unwrap().port();
    let run = format!(
        "#!/bin/sh\nmkdir -p web; : > web/health\n\
         (while ! test -e $ILL; do sleep 0.02; done; rm -f web/health) &\n\
         exec python3 -m http.server --bind 127.0.72.5 -d web {port}\n"
    );
    let more = json!({"check": format!("http:http://127.0.72.5:{port}/health")});
    falls_ill("web", &host, &run, &more, "health: the server answered 404 Not Found (2 in a row)");
}

#[test]
fn what_asks_for_more_memory_than_the_kernel_may_give_it_is_killed() {
    let (host, _agent) = alone("");
    let run = "#!/bin/sh\nexec perl -e '$held = q(x) x 200_000_000; sleep 1000000'\n";
    host.init("web", &[("run", run)], &json!({"limits": {"memory_max": "32M"}, "start_delay": 1}));
    let line = until("its end, or that the kernel cannot", || {
        let log = host.log();
        let words = |line: &&str| line.contains("unlimited=memory_max") || line.contains("retcode=3102");
        log.lines().find(words).map(str::to_owned)
    });
    if line.contains("unlimited=memory_max") {
        return aloud("a daemon that the kernel keeps to its memory_max, as it has no such controller here");
    }
    assert!(line.contains("it was killed by SIGKILL before it was up"), "{line}");
}

#[test]
fn one_of_which_its_script_says_that_it_is_ill_is_started_anew() {
    let (host, _agent) = alone("");
    let more = json!({"check": "script:./check"});
    falls_ill("web", &host, STAYS, &more, "check script: exit status 3: is ill (2 in a row)");
}

#[test]
fn one_that_does_not_say_that_it_lives_is_started_anew() {
    let (host, _agent) = alone("");
    // Not shorter: a machine may be slow, and its beats are ten a second.
    falls_ill(
        "web",
        &host,
        SPEAKS,
        &json!({"heartbeat": 3}),
        "heartbeat: nothing was heard of it for 3 seconds",
    );
}

#[test]
fn what_its_precheck_refuses_is_not_started() {
    let (host, _agent) = alone("");
    let ready = host.path("ready");
    let precheck = "#!/bin/sh\ntest -e $READY || { echo nothing is ready; exit 4; }\n";
    let more = json!({
        "precheck": "./precheck", "precheck_retries": 1, "max_restarts": 1000, "env": {"READY": ready}
    });
    host.init("web", &[("run", STAYS), ("precheck", precheck)], &more);
    let failed = host.comes_to("web", "backoff");
    assert_eq!(failed["reason"], "precheck: exit status 4: nothing is ready");
    assert!(host.processes().is_empty() && host.written("web").is_empty(), "{}", host.written("web"));
    fs::write(ready, "").unwrap();
    host.comes_to("web", "running");
}

/// The log's line of one that used too much, after which it runs again.
fn is_too_greedy(run: &str, limits: &Value, more: &Value) -> String {
    let (host, _agent) = alone("");
    let mut all = json!({"check_interval": 1, "limits": limits});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.init("web", &[("run", run)], &all);
    let running = host.comes_to("web", "running");
    let line = host.logged(&["daemon=killed", "retcode=3305"]);
    host.comes_back("web", &running);
    line
}

#[test]
fn one_that_holds_too_much_memory_too_often_in_a_row_is_killed_and_started_anew() {
    let holds = "#!/bin/sh\nexec perl -e 'my $held = q(x) x 48_000_000; sleep 1000000'\n";
    let line = is_too_greedy(holds, &json!({"hits": 3, "memory": "20M"}), &json!({}));
    assert!(line.contains("bytes in the last of 3 samples beyond 20971520"), "{line}");
    let (_, bytes) = line.split_once("limits.memory: ").unwrap();
    assert!(bytes.split_once(' ').unwrap().0.parse::<u64>().unwrap() > 48_000_000, "{line}");
}

#[test]
fn one_that_is_too_busy_too_often_in_a_row_is_killed_and_started_anew() {
    let busy = "#!/bin/sh\nwhile :; do :; done\n";
    let line = is_too_greedy(busy, &json!({"hits": 2, "cpu": "1%"}), &json!({}));
    assert!(line.contains("% in the last of 2 samples beyond 1%"), "{line}");
}

/// Each sample is followed by the check, which makes the next one another: too much and not too much
/// in turn. It waits until that is so.
#[test]
fn one_that_uses_too_much_now_and_then_is_left_alone() {
    let check = "#!/bin/sh
        echo >> $CHECKS
        if [ $(($(wc -l < $CHECKS) % 2)) = 0 ]; then rm -f $HOG; while [ -e $HELD ]; do sleep 0.02; done
        else : > $HOG; until [ -e $HELD ]; do sleep 0.02; done; fi\n";
    let (host, _agent) = alone("");
    let (hog, held, checks) = (host.path("hog"), host.path("held"), host.path("checks"));
    let more = json!({
        "check": "script:./check", "check_interval": 1, "check_timeout": 20,
        "limits": {"hits": 3, "memory": "20M"}, "env": {"HOG": hog, "HELD": held, "CHECKS": checks}
    });
    host.init("web", &[("run", HOLDS), ("check", check)], &more);
    let running = host.comes_to("web", "running");
    // Too much was seen of it, again and again.
    let (mut rises, mut was_high) = (0, false);
    until("samples", || {
        let memory = host.daemon("web")["memory"].as_u64().unwrap_or(0);
        let is_high = memory > 20 << 20;
        rises += u32::from(is_high && !was_high);
        was_high = is_high;
        (rises == 4).then_some(())
    });
    let now = host.daemon("web");
    assert_eq!(
        (&now["pid"], &now["restarts"], &now["status"]),
        (&running["pid"], &json!(0), &json!("running"))
    );
    assert!(!host.log().contains("daemon=killed"));
    assert_eq!(host.processes().iter().filter(|process| **process == pid(&now).as_raw()).count(), 1);
}
