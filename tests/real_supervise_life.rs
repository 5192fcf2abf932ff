//! The life of supervised daemons under the real agent: how they fork, end, write, and are replaced.

#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

mod elsewhere;
mod rig;

use elsewhere::elsewhere;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use rig::agent::{Host, text};
use rig::daemons::{STAYS, alone, checksum, definition, packed, pid};
use rig::{aloud, is_root, process, until};
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Command};

/// One that leaves its starter twice, in a session of its own, and says late which process it is:
/// `$SAYS`, or itself.
const FORKS: &str = "#!/bin/sh\n(setsid ./left &)\n";
const LEFT: &str = "#!/bin/sh\nsleep 0.3\necho ${SAYS:-$$} > \"$PIDFILE\"\nexec sleep 1000000\n";

struct Bystander(Child);

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn one_that_forks_is_known_by_its_pidfile() {
    let (host, _agent) = alone("");
    let pidfile = host.path("web.pid");
    let more = json!({"pidfile": pidfile, "start_delay": 1, "env": {"PIDFILE": pidfile}});
    host.init("web", &[("run", FORKS), ("left", LEFT)], &more);
    let mut running = host.comes_to("web", "running");
    for _ in 0..2 {
        let named = fs::read_to_string(&pidfile).unwrap();
        assert_eq!(named.trim(), running["pid"].to_string());
        assert_eq!(host.processes(), [pid(&running).as_raw()]);
        kill(pid(&running), Signal::SIGKILL).unwrap();
        running = host.comes_back("web", &running);
    }
    host.wants("stop", "web");
    host.comes_to("web", "stoped");
    assert!(host.processes().is_empty());
}

#[test]
fn a_pidfile_that_names_a_stranger_is_not_believed_and_the_stranger_left_alone() {
    let (host, _agent) = alone("");
    let mut bystander = Bystander(Command::new("sleep").arg("1000000").spawn().unwrap());
    let stranger = bystander.0.id().to_string();
    let pidfile = host.path("web.pid");
    let more = json!({"pidfile": pidfile, "start_delay": 1, "env": {"PIDFILE": pidfile, "SAYS": stranger}});
    host.init("web", &[("run", FORKS), ("left", LEFT)], &more);
    let failed = host.comes_to("web", "backoff");
    let reason = format!("pidfile: it says \"{stranger}\", which is no process of this daemon");
    assert_eq!(failed["reason"], reason);
    assert!(host.processes().is_empty(), "nor is the daemon itself left");
    host.wants("remove", "web");
    until("web to be gone", || host.daemon("web").is_null().then_some(()));
    assert!(bystander.0.try_wait().unwrap().is_none());
}

#[test]
fn helpers_of_a_killed_main_process_are_ended_before_the_next_begins() {
    let (host, _agent) = alone("");
    let run = "#!/bin/sh\n\
               for helper in $(cat \"$HELPERS\"); do kill -0 $helper 2> /dev/null && echo $helper lives; done\n\
               setsid sleep 1000000 & echo $! > \"$HELPERS\"\n\
               setsid sh -c 'trap \"\" TERM; while :; do sleep 1000000; done' & echo $! >> \"$HELPERS\"\n\
               echo begun\nexec sleep 1000000\n";
    let helpers = host.path("helpers");
    fs::write(&helpers, "").unwrap();
    host.init("web", &[("run", run)], &json!({"stop_timeout": 1, "env": {"HELPERS": helpers}}));
    let begun = |times: usize| {
        until("its words", || (host.written("web").matches("begun").count() == times).then_some(()));
    };
    let running = host.comes_to("web", "running");
    begun(1);
    kill(pid(&running), Signal::SIGKILL).unwrap();
    host.comes_back("web", &running);
    begun(2);
    assert_eq!(host.written("web"), "begun\nbegun\n", "none lived");
}

#[test]
fn each_is_asked_to_end_in_its_own_way_and_a_deaf_one_is_killed() {
    let traps = "#!/bin/sh\nfor s in INT TERM USR1; do trap \"echo $s; exit 0\" $s; done\necho begun\n\
                 while :; do sleep 0.05; done\n";
    let deaf = "#!/bin/sh\ntrap '' INT TERM USR1\necho begun\nwhile :; do sleep 0.05; done\n";
    let stop = "#!/bin/sh\necho \"to $MAINPID\" >> \"$ORDERS\"\nkill -INT $MAINPID\n";
    let (host, _agent) = alone("");
    let orders = host.path("orders");
    let scripts = [("run", traps), ("deaf", deaf), ("stop", stop)];
    for (name, more, last) in [
        ("signalled", json!({"stop": "kill:USR1"}), "USR1\n"),
        ("ordered", json!({"stop": "process:./stop"}), "INT\n"),
        ("plainly", json!({"stop": "./stop"}), "INT\n"),
        ("deaf", json!({"start": "./deaf", "stop_timeout": 1}), "begun\n"),
        ("deafer", json!({"start": "./deaf", "stop": "./stop", "stop_timeout": 1}), "begun\n"),
    ] {
        let mut more = more;
        more["env"] = json!({"ORDERS": orders});
        host.init(name, &scripts, &more);
        let running = host.comes_to(name, "running");
        until("its words", || host.written(name).contains("begun").then_some(()));
        host.wants("stop", name);
        assert_eq!(host.comes_to(name, "stoped")["pid"], Value::Null);
        assert!(!process::is_alive(pid(&running).as_raw().cast_unsigned()));
        assert!(host.written(name).ends_with(last), "{name}: {}", host.written(name));
        let ordered = fs::read_to_string(&orders).unwrap_or_default();
        let is_ordered = ordered.contains(&format!("to {}\n", running["pid"]));
        assert_eq!(is_ordered, more["stop"].as_str().is_some_and(|stop| stop.contains("./stop")), "{name}");
    }
    assert!(host.processes().is_empty());
}

#[test]
fn it_runs_as_whom_it_is_to_in_a_clean_environment() {
    if !is_root() {
        return aloud("daemons as other users, which takes root");
    }
    let (host, _agent) = alone("");
    let run = "#!/bin/sh\nid -u; id -g; id -G\necho \"$HOME $USER $LOGNAME $SHELL $OWN $PWD\"\n\
               tr '\\0' '\\n' < /proc/$$/environ | cut -d= -f1 | sort | tr '\\n' ' '\necho; echo end\n\
               exec sleep 1000000\n";
    let more = json!({"user": "nobody", "group": "daemon", "env": {"OWN": "a b", "PATH": "/bin:/usr/bin"}});
    host.init("web", &[("run", run)], &more);
    let running = host.comes_to("web", "running");
    let written = until("its words", || Some(host.written("web")).filter(|text| text.ends_with("end\n")));
    let lines: Vec<&str> = written.lines().collect();
    // As other programs have it. A group that is named takes the place of the user's own.
    let oracle = |program: &str, arguments: &[&str]| -> Vec<String> {
        let output = Command::new(program).args(arguments).output().unwrap();
        text(&output.stdout).split_whitespace().map(str::to_owned).collect()
    };
    let as_other = ["--reuid=nobody", "--regid=daemon", "--clear-groups", "sh", "-c", "id -u; id -g"];
    let ids = oracle("setpriv", &as_other);
    assert_eq!(lines[..2], ids);
    let mut groups = oracle("getent", &["initgroups", "nobody"]);
    groups[0].clone_from(&ids[1]);
    groups.sort();
    let mut its: Vec<&str> = lines[2].split(' ').collect();
    its.sort_unstable();
    assert_eq!(its, groups);
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let nobody = passwd.lines().find(|line| line.starts_with("nobody:")).unwrap();
    let home = nobody.split(':').nth(5).unwrap();
    assert!(lines[3].starts_with(&format!("{home} nobody nobody ")), "{}", lines[3]);
    assert!(lines[3].contains(" a b "), "{}", lines[3]);
    assert_eq!(lines[4].trim(), "ASPIRE_DAEMON HOME LANG LOGNAME OWN PATH PWD SHELL SHLVL USER");
    // No descriptor of the agent's is handed on. The shell had its script open, too.
    let output = host.path("log/web.out").display().to_string();
    let of_its_own = ["/dev/null".to_owned(), output.clone(), output];
    let main = pid(&running).as_raw().cast_unsigned();
    until("it to be what it executes", || {
        let name = fs::read_to_string(format!("/proc/{main}/comm")).unwrap();
        (name == "sleep\n").then_some(())
    });
    assert_eq!(process::descriptors(main), of_its_own);
}

#[test]
fn what_it_writes_is_set_aside_before_it_is_too_much_and_none_of_it_is_lost() {
    let (host, _agent) = alone("output_limit = 4096\noutput_files = 3");
    let run = "#!/bin/sh\nn=1\nwhile [ $n -le 3000 ]; do\n\
               [ $((n % 50)) = 0 ] && sleep 0.1\necho $n; n=$((n + 1))\ndone\necho end\nexec sleep 1000000\n";
    host.init("web", &[("run", run)], &json!({"check_interval": 1}));
    let out = host.path("log/web.out");
    let file = |n: u32| fs::read_to_string(out.with_extension(format!("out.{n}"))).unwrap_or_default();
    // 3000 numbers and a word are 13 897 bytes: the last is written in 6 seconds.
    until("three files", || (!file(2).is_empty()).then_some(()));
    let all = until("the end", || {
        let all = [file(3), file(2), file(1), host.written("web")].concat();
        all.ends_with("end\n").then_some(all)
    });
    let expected: Vec<String> = (1..=3000).map(|n| n.to_string()).collect();
    assert_eq!(all, format!("{}\nend\n", expected.join("\n")));
}

#[test]
fn a_new_version_takes_the_place_of_the_old_and_one_that_does_not_come_up_gives_it_back() {
    let (host, _agent) = alone("");
    let of = |version: &str, run: &str| {
        let package = packed(&host, &format!("web-{version}"), &[("run", run)]);
        definition("web", &package, &json!({"version": version, "start_delay": 1}))
    };
    host.asks("daemon.init", &of("1", "#!/bin/sh\necho one\nexec sleep 1000000\n")).unwrap();
    let one = host.comes_to("web", "running");
    host.asks("daemon.init", &of("2", "#!/bin/sh\necho two\nexec sleep 1000000\n")).unwrap();
    let two = host.comes_back("web", &one);
    assert_eq!((&two["version"], &two["installed"]), (&json!("2"), &json!("2")));
    until("its words", || (host.written("web") == "one\ntwo\n").then_some(()));
    assert_eq!(host.processes(), [pid(&two).as_raw()]);
    host.asks("daemon.init", &of("3", "#!/bin/sh\necho three\nexit 1\n")).unwrap();
    let line = host.logged(&["version 3 did not come up, and version 2 is brought back"]);
    assert!(line.contains("it ended with exit status 1 before it was up"), "{line}");
    let again = host.comes_back("web", &two);
    assert_eq!((&again["version"], &again["installed"]), (&json!("2"), &json!("2")));
    until("its words", || host.written("web").ends_with("three\ntwo\n").then_some(()));
    assert_eq!(host.written("web").matches("three").count(), 3, "it had its chances");
}

#[test]
fn a_package_that_is_not_what_it_should_be_leaves_what_runs_alone() {
    let (host, _agent) = alone("");
    host.init("web", &[("run", STAYS)], &json!({}));
    let running = host.comes_to("web", "running");
    let (url, _) = packed(&host, "other", &[("run", "#!/bin/sh\nexit 1\n")]);
    let of_another = checksum(&host.path("web.tar.gz"));
    let wrong = definition("web", &(url, of_another.clone()), &json!({"version": "2"}));
    host.asks("daemon.init", &wrong).unwrap();
    let complaint = host.complains("web", "checksum");
    assert!(complaint["reason"].as_str().unwrap().contains(&of_another[7..]), "{complaint}");
    assert_eq!((&complaint["status"], &complaint["pid"]), (&json!("running"), &running["pid"]));
    assert_eq!((&complaint["version"], &complaint["defined"]), (&json!("1"), &json!("2")));
    assert_eq!(host.processes(), [pid(&running).as_raw()]);
}

#[test]
fn why_there_is_no_room_for_a_package_is_said() {
    if !is_root() {
        return aloud("a full disk and one that is only read, which takes mounts");
    }
    let complaint = |flags: MsFlags, size: &str, words: &str| {
        let seen = elsewhere(&[], || {
            let ca = rig::pki::Ca::new();
            let host = Host::enrolled(&ca);
            fs::create_dir(host.path("daemon")).unwrap();
            mount(Some("none"), &host.path("daemon"), Some("tmpfs"), flags, Some(size)).unwrap();
            host.configure("127.0.72.2:1", "");
            let _agent = host.start();
            host.logged(&["control=listening"]);
            let ballast: String = std::iter::repeat_with(fastrand::alphanumeric).take(200_000).collect();
            host.init("web", &[("run", STAYS), ("ballast", &ballast)], &json!({}));
            let failed = host.complains("web", words);
            assert_eq!(failed["installed"], Value::Null, "{failed}");
            host.wants("remove", "web");
            until("web to be gone", || host.daemon("web").is_null().then_some(()));
            let _ = nix::mount::umount(&host.path("daemon"));
        });
        if seen.is_none() {
            aloud("a full disk and one that is only read");
        }
    };
    complaint(MsFlags::empty(), "size=64k", "No space left on device");
    complaint(MsFlags::MS_RDONLY, "size=64k", "Read-only file system");
}
