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
