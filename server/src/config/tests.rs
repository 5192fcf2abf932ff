//! What a configuration may say, and what is said of one that is wrong.

use super::*;

fn load(text: &str) -> Result<Config, String> {
    let file = parse(Path::new("polaris.conf"), text).map_err(|e| e.to_string())?;
    Config::of(Flags::default(), file).map_err(|e| e.to_string())
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = load("").unwrap();
    assert_eq!(config.data, Path::new("/var/lib/polaris"));
    assert_eq!(config.web.listen.to_string(), "127.0.0.1:8180");
    assert!(!config.web.secure_cookies);
    assert_eq!(config.agents.listen.to_string(), "0.0.0.0:8181");
    assert_eq!((config.agents.heartbeat, config.agents.max_links), (60, None));
    assert_eq!(config.requests.confirm_above, 1000);
    assert_eq!(config.packages.dir, Path::new("/var/lib/polaris/packages"));
    assert_eq!(config.packages.max_size, 4 << 30);
    assert_eq!(config.agents.handshakes, 2000);
    assert_eq!((config.agents.certificate_days, config.passphrase), (397, None));
}

#[test]
fn every_key_is_understood() {
    let config = load(
        "data = '/tmp/x'\n[web]\nlisten = '0.0.0.0:1'\ncert = 'c'\nkey = 'k'\nnames = ['p.example']\n\
         [log]\nlevel = 'debug'\nformat = 'json'\naccess = true\n[limits]\nconnections_per_address = 1\n\
         requests_per_second = 2\nchanges_per_second = 3\nreads_per_second = 4\n\
         enrolments_per_second = 5\n[agents]\n\
         listen = '[::]:2'\nnames = ['a.example', '10.0.0.1', '::1']\nheartbeat = 5\n\
         redirect = ['10.0.0.2', 'b:9']\nmax_links = 3\nhandshakes = 7\ncertificate_days = 1\n[requests]\nconfirm_above = 9\n\
         [database]\nurl = ''\nconnections = 1\n\
         [packages]\ndir = '/srv/p'\nmax_size = '2G'\n\
         [pki]\npassphrase_file = '/p'\n",
    )
    .unwrap();
    assert_eq!(config.agents.redirect.as_deref(), Some("10.0.0.2,b:9"));
    assert_eq!(config.agents.names.len(), 3);
    assert_eq!(config.requests.confirm_above, 9);
    assert_eq!((config.agents.max_links, config.agents.handshakes), (Some(3), 7));
    assert_eq!(config.agents.certificate_days, 1);
    assert_eq!(config.passphrase, Some(Source::File("/p".into())));
    assert!(config.web.tls.is_some());
    assert_eq!((config.packages.dir.as_path(), config.packages.max_size), (Path::new("/srv/p"), 2 << 30));
    assert_eq!(config.web.names, ["p.example"]);
    assert_eq!((config.log.format, config.log.access), (Format::Json, true));
    assert_eq!((config.limits.connections_per_address, config.limits.enrolments_per_second), (1, 5));
}

#[test]
fn sessions_are_secure_behind_tls_and_where_a_proxy_speaks_it() {
    for (text, secure) in [
        ("[web]\nsecure_cookies = true\n", true),
        ("[web]\nsecure_cookies = false\n", false),
        ("[web]\ncert = 'c'\nkey = 'k'\n", true),
        ("[web]\ncert = 'c'\nkey = 'k'\nsecure_cookies = false\n", true),
    ] {
        assert_eq!(load(text).unwrap().web.secure_cookies, secure, "{text}");
    }
}

#[test]
fn what_is_wrong_is_said_with_file_line_and_key() {
    for (text, expected) in [
        ("\nfoo = 1\n", "polaris.conf:2: foo: unknown field `foo`"),
        ("[agents]\nnames = []\nheart = 1\n", "polaris.conf:3: agents.heart: unknown field `heart`"),
        ("[agents]\n\nheartbeat = 0\n", "polaris.conf:3: agents.heartbeat: must be 1 to 3600 seconds, got 0"),
        ("[agents]\nheartbeat = 3601\n", "got 3601"),
        ("[agents]\nheartbeat = '60'\n", "polaris.conf:2: agents.heartbeat: invalid type: string"),
        ("[agents]\nmax_links = 0\n", "polaris.conf:2: agents.max_links: must be 1 to"),
        ("[requests]\nconfirm_above = 0\n", "polaris.conf:2: requests.confirm_above: must be 1 to"),
        (
            "[agents]\nhandshakes = 0\n",
            "polaris.conf:2: agents.handshakes: must be 1 to 100000 handshakes a second, got 0",
        ),
        ("[agents]\nhandshakes = 100001\n", "got 100001"),
        (
            "[agents]\ncertificate_days = 0\n",
            "polaris.conf:2: agents.certificate_days: must be 1 to 3653 days, got 0",
        ),
        ("[agents]\ncertificate_days = 3654\n", "got 3654"),
        ("[pki]\npassphrase = 'x'\n", "polaris.conf:2: pki.passphrase: unknown field"),
        ("[agents]\nnames = ['a b']\n", "polaris.conf:2: agents.names: \"a b\" is neither"),
        ("[agents]\nnames = ['a:1']\n", "agents.names"),
        ("[agents]\nredirect = ['a:0']\n", "polaris.conf:2: agents.redirect: \"a:0\": the port"),
        ("[agents]\nlisten = 'x'\n", "polaris.conf:2: agents.listen: "),
        ("[database]\nurl = 'mysql://u@h'\n", "polaris.conf:2: database.url: names no database"),
        ("[database]\nconnections = 0\n", "database.connections: must be 1 to 100 connections, got 0"),
        ("[database]\nurl = 5\n", "polaris.conf:2: database.url: invalid type"),
        ("[packages]\nmax_size = 0\n", "polaris.conf:2: packages.max_size: must be at least 1 byte, got 0"),
        ("[packages]\nmax_size = -1\n", "packages.max_size: must be at least 1 byte, got -1"),
        ("[packages]\nmax_size = '2000000G'\n", "packages.max_size: must be at most"),
        ("[packages]\nmax_size = 'big'\n", "packages.max_size: invalid type: string"),
        ("[log]\nlevel = 'loud'\n", "polaris.conf:2: log.level: unknown variant `loud`"),
        ("[log]\nformat = 'xml'\n", "polaris.conf:2: log.format: unknown variant `xml`"),
        (
            "[limits]\nreads_per_second = 0\n",
            "polaris.conf:2: limits.reads_per_second: must be 1 to 1000000 a second, got 0",
        ),
        (
            "[roles.operator]\ntarget = 'regio'\n",
            "polaris.conf:2: roles.operator.target: there is no field \"regio\"",
        ),
        ("[roles.operator]\nmethods = ['']\n", "polaris.conf:2: roles.operator.methods: \"\" is no"),
        ("[roles.readonly]\nmethods = []\n", "roles.readonly.methods: unknown field"),
        ("[roles.admin]\ntarget = ''\n", "roles.admin: unknown field"),
        ("[audit]\nkeep = 'year'\n", "polaris.conf:2: audit.keep: must be a time such as"),
        ("[audit]\nkeep = '1s'\n", "polaris.conf:2: audit.keep: must be 1d to"),
        ("x = \n", "polaris.conf:1: "),
        ("[web]\nlisten = '0.0.0.0:80'\n", "--web"),
        ("[web]\ncert = 'c'\n", "polaris.conf:2: web.cert: cert and key need each other: only cert"),
    ] {
        let error = load(text).expect_err(text);
        assert!(error.contains(expected), "{error} should contain {expected}");
    }
}

#[test]
fn a_password_is_not_for_everybody_to_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("polaris.toml");
    let load = |text: &str, mode: u32| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        Config::load(Flags { config: Some(path.clone()), ..Flags::default() })
    };
    let with = "[database]\nurl = 'mysql://bob:secret@h/a'\n";
    let error = load(with, 0o644).expect_err("everybody").to_string();
    assert!(error.contains("polaris.toml:2: database.url: has a password"), "{error}");
    assert!(error.contains("mode 644") && !error.contains("secret"), "{error}");
    for (text, mode) in [(with, 0o640), (with, 0o600), ("[database]\nurl = 'mysql://bob@h/a'\n", 0o644)] {
        let shown = format!("{:?}", load(text, mode).unwrap());
        assert!(shown.contains("mysql://h/a") && !shown.contains("secret"), "{shown}");
    }
    assert!(load("[database]\nurl = ''", 0o644).unwrap().database.url.is_none());
}

#[test]
fn flags_win_over_the_file() {
    let file = parse(Path::new("f"), "data = 'file'\n[agents]\nnames = ['a']\n").unwrap();
    let flags = Flags { data: Some("flag".into()), names: vec!["b".into()], ..Flags::default() };
    let config = Config::of(flags, file).unwrap();
    assert_eq!(config.data, Path::new("flag"));
    assert_eq!(config.agents.names, ["a", "b"]);
}
