use super::*;

fn parse(words: &[&str]) -> Result<Args, clap::Error> {
    Args::try_parse_from([&["polarisctl"], words].concat())
}

fn line_of(words: &[&str]) -> String {
    let Command::Run(run) = parse(&[&["run", "-H", "a", "--"], words].concat()).unwrap().command else {
        panic!("not run")
    };
    line(&run.command).unwrap()
}

#[test]
fn the_command_line_is_sound() {
    use clap::CommandFactory as _;
    Args::command().debug_assert();
}

#[test]
fn one_word_is_a_bash_line_and_several_are_quoted() {
    assert_eq!(line_of(&["df -h | tail -1"]), "df -h | tail -1");
    assert_eq!(line_of(&["echo", "$HOME", "it's"]), "echo '$HOME' \"it's\"");
    assert_eq!(line_of(&["ls", "-l", "--", "a b"]), "ls -l -- 'a b'");
}

#[test]
fn options_may_stand_before_or_after_the_command() {
    for words in [["-o", "json", "hosts"], ["hosts", "-o", "json"]] {
        assert_eq!(parse(&words).unwrap().output, Output::Json);
    }
    let args = parse(&["hosts", "--status", "online"]).unwrap();
    let Command::Hosts(hosts) = args.command else { panic!("not hosts") };
    assert_eq!(hosts.list.status.as_deref(), Some("online"));
}

/// One in sixty-four does: they are base64url.
#[test]
fn a_token_may_begin_as_an_option_does() {
    for words in [&["--token", "-Nx", "hosts"][..], &["hosts", "--token", "-Nx"]] {
        assert_eq!(parse(words).unwrap().token.as_deref(), Some("-Nx"));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused: [&[&str]; 36] = [
        &["run", "--", "ls"],
        &["run", "-H", "a"],
        &["run", "-H", "a", "--timeout", "0", "--", "ls"],
        &["run", "-H", "a", "--timeout", "86401", "--", "ls"],
        &["run", "-H", "a", "--env", "=x", "--", "ls"],
        &["run", "-H", "a", "--env", "x", "--", "ls"],
        &["run", "-H", "a", "--limit", "cpu=0", "--", "ls"],
        &["run", "-H", "a", "--limit", "disk=1", "--", "ls"],
        &["run", "-H", "a", "--limit", "files=4K", "--", "ls"],
        &["run", "-H", "a", "--async", "--ttl", "0", "--", "ls"],
        &["run", "-H", "a", "--async", "--ttl", "31days", "--", "ls"],
        &["run", "-H", "a", "--async", "--retries", "101", "--", "ls"],
        &["run", "-H", "a", "--ramp", "--", "ls"],
        &["run", "-H", "a", "--max-errors", "1", "--", "ls"],
        &["run", "-H", "a", "--batch", "1", "--max-errors", "few", "--", "ls"],
        &["run", "-H", "a", "--batch", "+1", "--", "ls"],
        &["run", "-H", "a", "--batch", "%", "--", "ls"],
        &["run", "-H", "a", "--batch", "1", "--pause", "3601", "--", "ls"],
        &["jobs", "--state", "over"],
        &["jobs", "show", "a"],
        &["cron", "set", "n", "* * * * *", "--", "ls"],
        &["cron", "set", "-H", "a", "n", "* * * * *"],
        &["cron", "set", "-H", "a", "n", "* * * * *", "--overlap", "no", "--", "ls"],
        &["daemon", "list", "--status", "stopped"],
        &["daemon", "init", "-H", "a"],
        &["daemon", "init", "web.json"],
        &["daemon", "start", "-H", "a"],
        &["daemon", "strat", "-H", "a", "web"],
        &["daemon", "events", "a"],
        &["info", "os"],
        &["info", "-H", "a"],
        &["info", "-H", "a", "os", "-U", "root"],
        &["info", "-H", "a", "--timeout", "0", "os"],
        &["hosts", "--status", "up"],
        &["token", "create", "--ttl", "soon"],
        &["token", "create", "--uses", "0"],
    ];
    for words in refused {
        assert_eq!(parse(words).expect_err(&words.join(" ")).exit_code(), 2);
    }
}

#[test]
fn a_time_to_live_is_in_seconds_or_has_a_unit() {
    assert_eq!((ttl("90"), ttl("1h"), ttl("30days")), (Ok(90), Ok(3600), Ok(2_592_000)));
    assert_eq!(ttl("0").unwrap_err(), "must be 1 to 2592000 seconds, got 0");
    assert!(ttl("soon").is_err());
}

#[test]
fn what_is_for_jobs_needs_a_job() {
    for (words, good) in [
        (&["--retries", "1"][..], false),
        (&["--retry-delay", "1", "--queue"], false),
        (&["--ttl", "1h"], false),
        (&["--ttl", "1h", "--queue"], true),
        (&["--ttl", "1h", "--async", "--retries", "1", "--retry-delay", "0"], true),
    ] {
        let parsed = parse(&[&["run", "-H", "a"], words, &["--", "ls"]].concat()).unwrap().command;
        let Command::Run(run) = parsed else { panic!("not run") };
        assert_eq!(run.check().is_ok(), good, "{words:?}");
    }
}

#[test]
fn limits_are_numbers_or_sizes() {
    assert_eq!(limit("cpu=10"), Ok(("cpu".into(), json!(10))));
    assert_eq!(limit("memory=100M"), Ok(("memory".into(), json!("100M"))));
    assert_eq!(limit("cpu=0").unwrap_err(), "must be at least 1 second, got 0");
    assert!(limit("processes=many").unwrap_err().contains("a whole number of processes"));
    assert!(limit("cpus=1").unwrap_err().contains("`cpu`, `memory`, `files`, `processes`"));
    let error = parse(&["run", "-H", "a", "--limit", "cpu=0", "--", "ls"]).unwrap_err().to_string();
    assert!(error.contains("'cpu=0'") && error.contains("--limit"), "{error}");
}

#[test]
fn a_key_is_given_once() {
    let pairs = [("A".to_owned(), "1".to_owned()), ("A".to_owned(), "2".to_owned())];
    assert_eq!(object("--env", &pairs).unwrap_err().to_string(), "--env A was given twice");
}
