//! Hosts by their names and ids, and what they tell of themselves within bounds.

use super::*;

fn row(n: u128, name: &str) -> HostRow {
    HostRow {
        id: Uuid::from_u128(n),
        settings: Settings::default(),
        greeting: Greeting { name: name.into(), ..Greeting::default() },
        status: Status::Unknown,
        certificate: None,
        last_seen: None,
        created: 0,
    }
}

#[test]
fn hosts_are_found_by_id_and_by_name_and_names_may_collide() {
    let directory = Directory::new(vec![row(1, "a"), row(2, "b"), row(3, "b"), row(4, "")]);
    let id = |n: u128| Uuid::from_u128(n).to_string();
    assert!(matches!(directory.find("a"), Found::One(host) if host.id == Uuid::from_u128(1)));
    assert!(matches!(directory.find(&id(4)), Found::One(host) if host.name().is_none()));
    assert!(matches!(directory.find("b"), Found::Several(ids) if ids.len() == 2));
    for text in ["", "c", &id(9)] {
        assert!(matches!(directory.find(text), Found::Nothing), "{text}");
    }
}

#[test]
fn a_new_name_takes_the_place_of_the_old_and_a_revoked_host_is_gone() {
    let directory = Directory::new(vec![row(1, "a")]);
    let host = directory.by_id(Uuid::from_u128(1)).unwrap();
    directory.online(&host, Greeting { name: "z".into(), ..Greeting::default() });
    assert!(matches!(directory.find("a"), Found::Nothing));
    assert!(matches!(directory.find("z"), Found::One(_)));
    assert_eq!(directory.take_dirty(false).len(), 1);
    assert_eq!(directory.take_dirty(false).len(), 0);
    directory.remove(&host);
    directory.offline(&host);
    assert!(matches!(directory.find("z"), Found::Nothing));
    assert_eq!(directory.take_dirty(true).len(), 0);
}

fn telling(sections: &str) -> Told {
    serde_json::from_str(&format!(r#"{{"sections":{sections}}}"#)).unwrap()
}

#[test]
fn facts_are_changed_section_by_section_and_written_as_they_are_now() {
    let directory = Directory::new(vec![row(1, "a")]);
    let host = directory.by_id(Uuid::from_u128(1)).unwrap();
    let tell = |sections: &str| directory.told(&host, &telling(sections));
    tell(r#"{"os":{"digest":"1","value":{"id":"debian"}},"net":{"digest":"2","value":[]}}"#).unwrap();
    tell(r#"{"os":{"digest":"3","value":{"id":"alpine"}},"net":null,"cpu":null}"#).unwrap();
    assert_eq!(host.state().facts.digests(), [("os".to_owned(), "3".to_owned())].into());
    assert_eq!(directory.read().facts_bytes, r#"{"id":"alpine"}"#.len());
    let mut rows = directory.take_facts_behind(2);
    rows.extend(directory.take_facts_behind(2));
    let rows: Vec<_> = rows.iter().map(|row| (&*row.section, row.told.clone())).collect();
    let os = Some(("3".to_owned(), r#"{"id":"alpine"}"#.to_owned()));
    assert_eq!(rows, [("cpu", None), ("net", None), ("os", os)]);
    directory.remove(&host);
    tell(r#"{"os":{"digest":"4","value":1}}"#).unwrap();
    assert_eq!(directory.take_facts_behind(9).len(), 0);
    assert_eq!(directory.read().facts_bytes, 0);
}

#[test]
fn what_is_wrong_with_facts_leaves_them_as_they_were() {
    let directory = Directory::new(vec![row(1, "a")]);
    let host = directory.by_id(Uuid::from_u128(1)).unwrap();
    let many = |from: u32| {
        let sections: Vec<_> =
            (from..from + 16).map(|n| format!(r#""s{n}":{{"digest":"d","value":{n}}}"#)).collect();
        telling(&format!("{{{}}}", sections.join(",")))
    };
    directory.told(&host, &many(0)).unwrap();
    let before = host.state().facts.clone();
    let wrong = |told: &Told| match directory.told(&host, told) {
        Err(Untaken::Wrong(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(wrong(&many(1)), "too many sections");
    let twice = telling(r#"{"os":{"digest":"d","value":{"a":1,"a":2}}}"#);
    assert!(wrong(&twice).starts_with("os: the key \"a\" stands twice"));
    assert_eq!(host.state().facts, before);
    directory.write().facts_bytes = MAX_FACTS_BYTES + before.bytes();
    let more = telling(r#"{"s0":{"digest":"e","value":"more"}}"#);
    assert_eq!(directory.told(&host, &more), Err(Untaken::NoRoom));
    let less = telling(r#"{"s0":null}"#);
    assert_eq!(directory.told(&host, &less), Ok(()), "who tells less is heard");
}

#[test]
fn the_operators_word_wins_over_the_agents() {
    let directory = Directory::new(vec![row(1, "a")]);
    let host = directory.by_id(Uuid::from_u128(1)).unwrap();
    assert_eq!(host.state().region(), "unknown");
    let own = |key: &str| (key.to_owned(), "agent".to_owned());
    let greeting = Greeting { region: "r1".into(), tags: [own("a"), own("b")].into(), ..Greeting::default() };
    directory.online(&host, greeting);
    assert_eq!(host.state().region(), "r1");
    let tags = [("b".to_owned(), "operator".to_owned())].into();
    directory.settle(&host, Settings { region: Some("r2".into()), tags: Some(tags) });
    assert_eq!(host.state().region(), "r2");
    assert_eq!(host.state().tags()["a"], "agent");
    assert_eq!(host.state().tags()["b"], "operator");
}
