use super::*;

fn refusal(text: &str) -> String {
    Config::parse(text, None).expect_err(text).to_string()
}

#[test]
fn an_empty_file_is_the_documented_defaults() {
    let config = Config::parse("", None).unwrap();
    assert_eq!((config.name.as_str(), config.region.as_str()), ("", "unknown"));
    assert_eq!(config.link.servers[0].to_string(), "config.cargo.com:8181");
    assert_eq!(config.link.heartbeat, Duration::from_secs(60));
    assert_eq!(config.link.backoff_max, Duration::from_secs(300));
    assert_eq!(config.link.tls_dir, PathBuf::from("/etc/cargo/pki"));
    assert_eq!(config.exec.shell, "/bin/bash");
    assert_eq!((config.exec.max_children, config.exec.output_limit), (64, 65536));
    assert_eq!(config.exec.grace, Duration::from_secs(3));
    assert_eq!(config.control_socket, PathBuf::from("/var/run/cargo/gearman.sock"));
}

#[test]
fn the_shipped_file_says_the_defaults() {
    let shipped = include_str!("../../packaging/etc/gearman.conf");
    let (shipped, empty) = (Config::parse(shipped, None).unwrap(), Config::parse("", None).unwrap());
    assert_eq!(format!("{shipped:?}"), format!("{empty:?}"));
}

#[test]
fn every_key_can_be_set() {
    let config = Config::parse(
        r#"
        hostname = "web-1"
        region = "cn-1"
        tags = { svc = "ecs", cmpt = "db" }
        [link]
        server = "10.0.0.1,polaris.example:99"
        heartbeat = 5
        backoff = { min = 2, max = 9 }
        [tls]
        dir = "/tmp/pki"
        [store]
        path = "/tmp/gearman.db"
        [exec]
        shell = "/bin/dash"
        max_children = 2
        output_limit = 100
        timeout = 7
        grace = 1
        allow = ["uptime"]
        [plugins]
        dir = "/tmp/plugins"
        [control]
        socket = "/tmp/gearman.sock"
        "#,
        None,
    )
    .unwrap();
    assert_eq!(config.tags["svc"], "ecs");
    assert_eq!(config.link.servers.len(), 2);
    assert_eq!(config.exec.timeout, Duration::from_secs(7));
    assert!(!config.exec.allow.permits("reboot"));
    assert_eq!(config.control_socket, PathBuf::from("/tmp/gearman.sock"));
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_key() {
    for (text, expected) in [
        ("\n[link]\nheartbeat = 0\n", "3: link.heartbeat: must be from 1 to 3600, got 0"),
        ("[link]\nheartbeat = \"x\"\n", "2: link.heartbeat: invalid type: string \"x\", expected i64"),
        (
            "[link]\nbackoff = { min = 9, max = 3 }",
            "2: link.backoff: min must not be more than max, got min 9 and max 3",
        ),
        ("[link]\nserver = \"a:b\"", "2: link.server: \"a:b\": the port must be a number from 1 to 65535"),
        ("[tls]\ndir = \"pki\"", "2: tls.dir: must be an absolute path, got \"pki\""),
        ("\n\n[exec]\noutput_limit = 65537", "4: exec.output_limit: must be from 1 to 65536, got 65537"),
    ] {
        assert_eq!(refusal(text), expected, "{text}");
    }
    for (text, place, word) in [
        ("hostnme = \"x\"", "1: ", "hostnme"),
        ("[exec]\ngrace = 1\ngrace = 2", "3: grace: ", "duplicate"),
        ("[link]\nheartbeat = 5\nserver_list = \"x\"", "3: ", "server_list"),
        ("[links]", "1: ", "links"),
        ("a = = 1", "1: ", ""),
        ("[exec]\nallow = [\"(\"]", "2: exec.allow", "\"(\""),
    ] {
        let reason = refusal(text);
        assert!(reason.starts_with(place) && reason.contains(word), "{text}: {reason}");
    }
}

#[test]
fn a_socket_has_a_path_that_the_system_takes() {
    let config = |length: usize| {
        let path = format!("/{}", "x".repeat(length - 1));
        Config::parse(&format!("[control]\nsocket = \"{path}\""), None)
    };
    assert_eq!(config(107).unwrap().control_socket.as_os_str().len(), 107);
    assert_eq!(
        config(108).unwrap_err().to_string(),
        "2: control.socket: the path of a socket must be at most 107 bytes, got 108"
    );
}

#[test]
fn servers_of_the_command_line_win() {
    let config = Config::parse("[link]\nserver = \"a\"", Some("b:1,c:2")).unwrap();
    assert_eq!(config.link.servers.len(), 2);
    assert!(Config::parse("", Some("b:0")).unwrap_err().to_string().starts_with("-S: "));
}
