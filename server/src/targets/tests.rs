use super::*;
use crate::clock::EpochMs;
use crate::hosts::{Facts, Greeting, Section, Settings, Status};
use crate::store::hosts::HostRow;
use proptest::prelude::*;
use uuid::Uuid;

const NOW: EpochMs = 0;

fn host(n: u128, greeting: Greeting, status: Status, facts: &[(&str, &str)]) -> Host {
    let settings = Settings { region: None, tags: Some([("env".into(), "prod".into())].into()) };
    let row = HostRow {
        id: Uuid::from_u128(n),
        settings,
        greeting,
        status,
        certificate: None,
        last_seen: None,
        created: NOW,
    };
    let host = Host::new(row);
    let mut told = Facts::default();
    for (name, value) in facts {
        told.change(name, Some(Section::new("d", value).unwrap()));
    }
    host.state().facts = told;
    host
}

/// `web-1`, which tells much, and a host that tells nothing.
fn hosts() -> [Host; 2] {
    let tags = [("svc", "ecs"), ("env", "test"), ("a.b", "x"), ("n", "12"), ("empty", "")];
    let web = Greeting {
        name: "web-1".into(),
        region: "cn-1".into(),
        tags: tags.map(|(key, value)| (key.into(), value.into())).into(),
        version: "gearman-0.1.0-x86_64".into(),
        address: "127.0.0.1".into(),
        ..Greeting::default()
    };
    let facts = [
        ("os", r#"{"id":"debian","version_id":"12","container":null,"a b":"c"}"#),
        ("cpu", r#"{"count":4,"load":0.5,"virtual":true}"#),
        ("memory", r#"{"total":8589934592,"huge":18446744073709551615,"negative":-1}"#),
        (
            "net",
            r#"{"addresses":["127.0.0.1","10.0.0.7"],"none":[],
                "interfaces":[{"name":"lo","mtu":65536},{"name":"eth0","mtu":1500,"addresses":["10.0.0.7"]}]}"#,
        ),
    ];
    [host(1, web, Status::Online, &facts), host(2, Greeting::default(), Status::Unknown, &[])]
}

#[test]
fn expressions_select_hosts() {
    let hosts = hosts();
    for (text, expected) in [
        (r#"region == "cn-1""#, [true, false]),
        (r#"region == "unknown""#, [false, true]),
        (r#"region != "cn-1""#, [false, true]),
        (r#"name == "web-1""#, [true, false]),
        (r"name == 'web-1'", [true, false]),
        // A host without a name has none that differs.
        (r#"name != "x""#, [true, false]),
        (r#"not name == "x""#, [true, true]),
        (r#"name ~ "web-*""#, [true, false]),
        (r#"name ~ "web-?" and name ~ "*1""#, [true, false]),
        (r#"name ~ "WEB*""#, [false, false]),
        (r#"name ~ "eb-""#, [false, false]),
        (r#"id == "00000000-0000-0000-0000-000000000002""#, [false, true]),
        (r#"status == "online""#, [true, false]),
        (r#"status != "online""#, [false, true]),
        (r#"status in ("online", "unknown")"#, [true, true]),
        (r#"version ~ "gearman-0.1.*""#, [true, false]),
        (r#"address == "127.0.0.1""#, [true, false]),
        // Tags: the operator's win, and any name can be said.
        (r#"tags.svc in ("ecs","rds")"#, [true, false]),
        (r#"tags.svc not in ("rds")"#, [true, false]),
        (r#"tags.env == "prod""#, [true, true]),
        (r#"tags.a.b == "x""#, [true, false]),
        (r#"tags."a.b" == "x""#, [true, false]),
        ("tags.n == 12 and tags.n > 9", [true, false]),
        (r#"tags.empty == """#, [true, false]),
        ("has(tags.empty)", [true, false]),
        ("has(tags.nothing) or has( name )", [true, false]),
        // Facts.
        (r#"facts.os.id == "debian""#, [true, false]),
        (r#"facts.os.id != "debian""#, [false, false]),
        (r#"facts.os.id != "alpine""#, [true, false]),
        (r#"not facts.os.id == "debian""#, [false, true]),
        (r#"facts.os."a b" == "c""#, [true, false]),
        ("facts.os.version_id >= 12", [true, false]),
        ("facts.os.id >= 12", [false, false]),
        (r#"facts.cpu.count == "4""#, [false, false]),
        ("facts.cpu.count == 4 and facts.cpu.count == 4.0", [true, false]),
        ("facts.cpu.count in (2, 4)", [true, false]),
        ("facts.cpu.load < 1 and facts.cpu.load > 0.25", [true, false]),
        ("facts.cpu.virtual == true", [true, false]),
        ("facts.cpu.virtual != true", [false, false]),
        ("facts.memory.total >= 8G and facts.memory.total <= 8192M", [true, false]),
        ("facts.memory.total > 8G", [false, false]),
        ("facts.memory.total >= 7.5G", [true, false]),
        ("facts.memory.huge > 18446744073709551614", [true, false]),
        ("facts.memory.negative == -1", [true, false]),
        ("has(facts.os) and has(facts.os.id)", [true, false]),
        ("has(facts.os.container)", [false, false]),
        ("has(facts.net.none)", [false, false]),
        ("facts.os == 1", [false, false]),
        ("facts.os != 1", [false, false]),
        // Lists.
        (r#"facts.net.addresses == "10.0.0.7""#, [true, false]),
        (r#"facts.net.addresses ~ "10.*""#, [true, false]),
        (r#"facts.net.addresses != "10.0.0.7""#, [true, false]),
        (r#"not facts.net.addresses == "10.0.0.7""#, [false, true]),
        (r#"facts.net.interfaces.addresses == "10.0.0.7""#, [true, false]),
        ("facts.net.interfaces.mtu > 9000", [true, false]),
        (r#"facts.net.interfaces.name in ("eth0", "eth1")"#, [true, false]),
        // What binds more.
        (r#"region == "x" and name == "x" or status == "online""#, [true, false]),
        (r#"region == "x" and (name == "x" or status == "online")"#, [false, false]),
        (r#"not region == "x" and name == "web-1""#, [true, false]),
        (r#"not (region == "x" or name == "web-1")"#, [false, true]),
        (r#"not not name == "web-1""#, [true, false]),
        ("\n has\t(\nname ) ", [true, false]),
    ] {
        let target = Target::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!([target.matches(&hosts[0]), target.matches(&hosts[1])], expected, "{text}");
    }
}

#[test]
fn tests_of_all_kinds_stand_together() {
    let text =
        r#"region == "cn-1" and tags.svc in ("ecs","rds") and name ~ "web-*" and facts.os.id == "debian""#;
    let target = Target::parse(text).unwrap();
    assert_eq!(hosts().map(|host| target.matches(&host)), [true, false]);
}

#[test]
fn texts_may_hold_anything() {
    for (text, name) in
        [(r#""a \"b\" \\""#, r#"a "b" \"#), ("'it''s'", ""), (r"'it\'s'", "it's"), ("\"ü\n\"", "ü\n")]
    {
        let host = host(1, Greeting { name: name.into(), ..Greeting::default() }, Status::Online, &[]);
        let target = Target::parse(&format!("name == {text}"));
        assert_eq!(target.is_ok_and(|target| target.matches(&host)), !name.is_empty(), "{text}");
    }
}

#[test]
fn errors_say_what_is_expected_and_where() {
    for (text, error) in [
        ("", r#"expected a field, "not", "has" or "(" (column 1)"#),
        ("  ", r#"expected a field, "not", "has" or "(" (column 3)"#),
        ("region == ", r#"expected a value after "==" (column 11)"#),
        ("region", r#"expected "==", "!=", "<", "<=", ">", ">=", "~" or "in" after "region" (column 7)"#),
        ("region = \"a\"", r#""=" means nothing here: write "==" (column 8)"#),
        ("region == cn", r#"expected a value after "==": text stands in quotes (column 11)"#),
        ("region == \"a\" name == \"b\"", r#"expected "and", "or" or the end after "a" (column 15)"#),
        ("region == \"a\" && name == \"b\"", r#""&" means nothing here: write "and" (column 15)"#),
        ("! has(name)", r#""!" means nothing here: write "not" (column 1)"#),
        ("\"a\" == region", r#"expected a field, "not", "has" or "(" (column 1)"#),
        ("regoin == 1", "there is no field \"regoin\": there are id, name, region"),
        ("region.x == 1", "there is no field \"region.x\""),
        ("tags == 1", "tags needs a name, such as tags.svc (column 1)"),
        ("has(facts)", "facts needs a name, such as facts.os.id (column 5)"),
        ("facts. == 1", "expected a name after the dot (column 7)"),
        ("facts.os.\"id == 1", "the text that begins here has no end (column 10)"),
        ("name == 'a", "the text that begins here has no end (column 9)"),
        (r#"name == "\n""#, "a backslash stands before a quote or another backslash only (column 10)"),
        ("name < \"a\"", r#"expected a number after "<" (column 8)"#),
        ("name ~ 1", r#"expected a pattern in quotes after "~" (column 8)"#),
        (
            "facts.a.b > 8GB",
            "a number is written as 8, -1, 0.5 or, with a unit of 1024, 8K, 8M, 8G or 8T (column 13)",
        ),
        ("facts.a.b > 1.2.3", "a number is written as 8"),
        ("facts.a.b > -", "a number is written as 8"),
        ("facts.a.b > 999999999999999999999999999999999999999999T", "a number is written as 8"),
        ("name in \"a\"", r#"expected "(" after "in" (column 9)"#),
        ("name in ()", r#"expected a value after "(" (column 10)"#),
        ("name in (\"a\"", r#"expected "," or ")" after "a" (column 13)"#),
        ("name not \"a\"", r#"expected "in" after "not" (column 10)"#),
        ("(has(name)", r#"expected "and", "or" or ")" after ")" (column 11)"#),
        ("has(name))", r#"expected "and", "or" or the end after ")" (column 10)"#),
        ("has name", r#"expected "(" after "has" (column 5)"#),
        ("has(name) and", r#"expected a field, "not", "has" or "(" after "and" (column 14)"#),
        ("or has(name)", r#"expected a field, "not", "has" or "(" (column 1)"#),
        ("status == \"up\"", r#"expected one of "unknown", "online", "offline" after "==" (column 11)"#),
        ("name == \"ü\" €", r#""€" means nothing here (column 13)"#),
        ("name @ 1", r#""@" means nothing here (column 6)"#),
    ] {
        let told = Target::parse(text).map(|_| ()).unwrap_err().to_string();
        assert!(told.starts_with(error), "{text}: {told}");
    }
}

#[test]
fn length_and_depth_are_bounded() {
    let nested = |depth: usize| format!("{}has(name){}", "(".repeat(depth), ")".repeat(depth));
    assert!(Target::parse(&nested(32)).is_ok());
    let error = Target::parse(&nested(33)).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "this is more than 32 levels deep (column 33)");
    let error =
        Target::parse(&format!("{}has(name)", "not ".repeat(33))).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "this is more than 32 levels deep (column 129)");
    let long = |bytes: usize| format!("name == \"{}\"", "x".repeat(bytes - 10));
    assert!(Target::parse(&long(4096)).is_ok());
    let error = Target::parse(&long(4097)).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "it must be at most 4096 bytes, got 4097 (column 1)");
}

proptest! {
    #[test]
    fn any_text_is_survived(text in any::<String>()) {
        let _ = Target::parse(&text);
    }

    #[test]
    fn any_words_are_survived(words in prop::collection::vec(prop::sample::select(vec![
        "name", "facts.net.addresses", "tags.a", "status", "==", "!=", "<", ">=", "~", "in", "not", "and", "or",
        "has", "(", ")", ",", "\"a\"", "'online'", "1", "-0.5", "8G", "true", "facts.", "\"", "\\", "ü",
    ]), 0..24)) {
        let text = words.join(" ");
        match Target::parse(&text) {
            Ok(target) => for host in hosts() {
                target.matches(&host);
            },
            Err(told) => {
                prop_assert!((1..=text.chars().count() + 1).contains(&told.column), "{}", told);
            }
        }
    }
}
