use super::*;

#[test]
fn families_are_below_the_agent_or_beside_it_where_systemd_has_made_room_for_them() {
    for (own, home) in [
        ("/sys/fs/cgroup/unified/", "/sys/fs/cgroup/unified/aspire.daemons"),
        ("/c/system.slice/gearman.service", "/c/system.slice/gearman.service/aspire.daemons"),
        ("/c/system.slice/gearman.service/aspire.agent", "/c/system.slice/gearman.service/aspire.daemons"),
    ] {
        assert_eq!(home_in(Path::new(own)), Path::new(home));
    }
}

#[test]
fn who_is_of_a_family_finds_the_place_of_its_agent() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("boot.service");
    let family = own.join("aspire.daemons/boot-upgrade-1");
    fs::create_dir_all(&family).unwrap();
    assert_eq!(agent_of(&family), Some(own.clone()));
    assert_eq!(agent_of(&family.join("aspire.daemons/next")), Some(family.clone()), "the nearest");
    assert_eq!(agent_of(&own), None);
    fs::create_dir(own.join("aspire.agent")).unwrap();
    assert_eq!(agent_of(&family), Some(own.join("aspire.agent")));
}

#[test]
fn a_plain_name_leads_nowhere_else() {
    for (name, plain) in [
        ("web-1", true),
        ("a b", true),
        ("..a", true),
        ("", false),
        ("..", false),
        ("a/b", false),
        ("a\n", false),
    ] {
        assert_eq!(is_plain(name), plain, "{name:?}");
    }
}
