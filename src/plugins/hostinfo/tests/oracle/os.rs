//! `os` against what a shell makes of os-release.

use super::ask::{ask, fixture, run};
use super::elsewhere::elsewhere;
use aspire_plugin::Root;
use hostinfo::os;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;

/// Field and name in the file.
const FIELDS: &[(&str, &str)] = &[
    ("id", "ID"),
    ("name", "NAME"),
    ("pretty_name", "PRETTY_NAME"),
    ("version", "VERSION"),
    ("version_id", "VERSION_ID"),
    ("codename", "VERSION_CODENAME"),
    ("variant", "VARIANT_ID"),
    ("build", "BUILD_ID"),
    ("cpe", "CPE_NAME"),
];

/// What bash has set when it has read the file.
fn bash() -> HashMap<String, String> {
    let script = "unset -v NAME VERSION ID; . /etc/os-release 2>/dev/null; for name in \"$@\"; do
        [ -n \"${!name+set}\" ] && printf '%s=%s\\n' \"$name\" \"${!name}\"; done; true";
    let mut args = vec!["-i", "bash", "-c", script, "bash", "ID_LIKE"];
    args.extend(FIELDS.iter().map(|(_, name)| *name));
    let text = run("env", &args).unwrap();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn compare() -> Value {
    let (answer, said) = (ask(os::answer), bash());
    for (field, name) in FIELDS {
        assert_eq!(answer[*field], json!(said.get(*name)), "{field}");
    }
    let like = said.get("ID_LIKE").map(|like| like.split_whitespace().collect::<Vec<_>>());
    assert_eq!(answer["like"], json!(like));
    assert_eq!(answer["hostname"], run("uname", &["-n"]).unwrap());
    answer
}

#[test]
fn this_system_is_what_a_shell_reads() {
    compare();
}

#[test]
fn other_systems_are_what_a_shell_reads() {
    let systems = [
        ("debian", "debian"),
        ("centos7", "centos"),
        ("alpine", "alpine"),
        ("fedora", "fedora"),
        ("odd", "x"),
    ];
    for (name, id) in systems {
        let file = fixture(&format!("os/{name}"));
        elsewhere(&[(&file, "/etc/os-release")], || assert_eq!(compare()["id"], id, "{name}"));
    }
}

#[test]
fn the_file_may_be_in_either_place_or_in_none() {
    let place = tempfile::tempdir().unwrap();
    let id = || {
        let os = serde_json::to_value(os::Os::of(&Root::at(place.path()))).unwrap();
        assert_eq!(os.as_object().unwrap().len(), 11);
        os["id"].clone()
    };
    assert_eq!(id(), Value::Null);
    for (folder, word) in [("usr/lib", "usr"), ("etc", "etc")] {
        fs::create_dir_all(place.path().join(folder)).unwrap();
        fs::write(place.path().join(folder).join("os-release"), format!("ID={word}\n")).unwrap();
        assert_eq!(id(), word);
    }
}
