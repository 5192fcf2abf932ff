//! rpm's databases: recorded records, and what becomes of them.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

use aspire_plugin::Root;
use aspire_plugin::args::Part;
use packageinfo::package::packages;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Machine(TempDir);

impl Machine {
    fn new() -> Machine {
        let machine = Machine(TempDir::new().unwrap());
        fs::create_dir_all(machine.folder()).unwrap();
        machine
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("var/lib/rpm")
    }

    fn database(&self) -> PathBuf {
        self.folder().join("rpmdb.sqlite")
    }

    /// With the table that rpm makes, written as rpm writes it.
    fn sqlite(&self) -> Connection {
        let connection = Connection::open(self.database()).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0").unwrap();
        let table = "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)";
        connection.execute_batch(table).unwrap();
        connection
    }

    fn files(&self) -> BTreeSet<OsString> {
        fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    fn asked(&self) -> Value {
        asked(self.0.path())
    }
}

fn asked(root: &Path) -> Value {
    serde_json::to_value(packages(&Root::at(root), None, Part::default())).unwrap()
}

fn record(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn add(connection: &Connection, record: &[u8]) {
    connection.execute("INSERT INTO Packages (blob) VALUES (?1)", [record]).unwrap();
}

#[test]
fn recorded_packages_are_as_rpm_listed_them() {
    let machine = Machine::new();
    let connection = machine.sqlite();
    add(&connection, &record("tiny.header"));
    add(&connection, &record("key.header"));
    drop(connection);
    let expected = json!({
        "managers": ["rpm"],
        "packages": [
            {
                "name": "gpg-pubkey", "manager": "rpm", "version": "b39e6801-6b05c76d", "architecture": null,
                "status": "installed", "wanted": null, "size": 0,
                "summary": "Fixture <fixture@example.org> public key", "installed": "2026-11-24T17:23:27Z",
            },
            {
                "name": "tiny", "manager": "rpm", "version": "3:1.0-2", "architecture": "noarch",
                "status": "installed", "wanted": null, "size": 6,
                "summary": "A tiny package", "installed": "2026-11-24T17:23:27Z",
            },
        ],
        "count": 2,
        "unreadable": [],
    });
    assert_eq!(machine.asked(), expected);
    assert_eq!(machine.files(), ["rpmdb.sqlite".into()].into());
}

#[test]
fn what_is_in_the_log_only_is_read_and_nothing_is_written() {
    let machine = Machine::new();
    let connection = machine.sqlite();
    add(&connection, &record("tiny.header"));
    let files = machine.files();
    let lengths =
        || machine.files().iter().map(|file| fs::read(machine.folder().join(file)).unwrap().len()).collect();
    let before: Vec<usize> = lengths();
    assert!(files.contains(&OsString::from("rpmdb.sqlite-wal")));
    assert_eq!(machine.asked()["count"], 1);
    assert_eq!((machine.files(), lengths()), (files, before));
    // What is not yet committed is not there.
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    add(&connection, &record("key.header"));
    assert_eq!(machine.asked()["count"], 1);
    connection.execute_batch("COMMIT").unwrap();
    assert_eq!(machine.asked()["count"], 2);
}

#[test]
fn a_log_without_its_index_is_told_not_ignored() {
    let machine = Machine::new();
    let connection = machine.sqlite();
    add(&connection, &record("tiny.header"));
    let crashed = Machine::new();
    for file in ["rpmdb.sqlite", "rpmdb.sqlite-wal"] {
        fs::copy(machine.folder().join(file), crashed.folder().join(file)).unwrap();
    }
    let files = crashed.files();
    let answer = crashed.asked();
    assert_eq!((&answer["managers"], &answer["packages"]), (&json!(["rpm"]), &json!([])));
    assert_eq!(answer["unreadable"][0]["path"], json!(crashed.database()));
    assert_eq!(crashed.files(), files);
}

#[test]
fn a_record_that_is_malformed_or_too_long_is_told_and_the_others_are_read() {
    let machine = Machine::new();
    let connection = machine.sqlite();
    add(&connection, b"");
    add(&connection, &[0; 8]);
    add(&connection, &record("tiny.header"));
    add(&connection, &record("tiny.header")[..100]);
    connection.execute_batch("INSERT INTO Packages (blob) VALUES (zeroblob(40000000)), ('text')").unwrap();
    drop(connection);
    let answer = machine.asked();
    assert_eq!((&answer["count"], &answer["packages"][0]["name"]), (&json!(1), &json!("tiny")));
    let reasons = answer["unreadable"].as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap());
    let length = "its record is not as long as it says";
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        [
            format!("package 1: {length}"),
            "package 2: it has no name".into(),
            format!("package 4: {length}"),
            "package 5: its record is too long, or none".into(),
            "package 6: its record is too long, or none".into(),
        ]
    );
}

#[test]
fn every_byte_of_a_record_may_be_another_one() {
    let record = record("tiny.header");
    let machine = Machine::new();
    let connection = machine.sqlite();
    connection.execute_batch("BEGIN").unwrap();
    for place in 0..record.len() {
        let mut other = record.clone();
        other[place] ^= 0xff;
        add(&connection, &other);
    }
    connection.execute_batch("COMMIT").unwrap();
    drop(connection);
    let answer = machine.asked();
    let unreadable = answer["unreadable"].as_array().unwrap().len();
    assert!(unreadable >= 8, "{unreadable}");
    assert_eq!(answer["packages"].as_array().unwrap().len() + unreadable, record.len());
}

#[test]
fn a_database_that_is_none_is_told() {
    let machine = Machine::new();
    fs::write(machine.database(), "no database, but longer than a hundred bytes. ".repeat(100)).unwrap();
    let reason = |answer: &Value| answer["unreadable"][0]["reason"].as_str().unwrap().to_owned();
    assert_eq!(reason(&machine.asked()), "file is not a database");
    fs::remove_file(machine.database()).unwrap();
    fs::create_dir(machine.database()).unwrap();
    assert!(!reason(&machine.asked()).is_empty());
    fs::remove_dir(machine.database()).unwrap();
    Connection::open(machine.database()).unwrap().execute_batch("CREATE TABLE other (x)").unwrap();
    assert!(reason(&machine.asked()).contains("no such table: Packages"));
}

#[test]
fn databases_of_other_kinds_are_told() {
    for (file, word) in [("Packages", "Berkeley DB"), ("Packages.db", "ndb")] {
        let machine = Machine::new();
        fs::write(machine.folder().join(file), "").unwrap();
        let answer = machine.asked();
        assert_eq!((&answer["managers"], &answer["packages"]), (&json!(["rpm"]), &json!([])));
        assert_eq!(answer["unreadable"][0]["path"], json!(machine.folder().join(file)));
        assert!(answer["unreadable"][0]["reason"].as_str().unwrap().contains(word), "{answer}");
        // Beside the new one it is what was left when that was made.
        drop(machine.sqlite());
        assert_eq!(machine.asked()["unreadable"], json!([]));
    }
}

#[test]
fn a_path_may_have_what_means_something_in_a_uri() {
    let machine = Machine::new();
    add(&machine.sqlite(), &record("tiny.header"));
    let odd = machine.0.path().join("a b?mode=rw#c%41");
    fs::create_dir_all(odd.join("var/lib")).unwrap();
    fs::rename(machine.folder(), odd.join("var/lib/rpm")).unwrap();
    assert_eq!(asked(&odd)["count"], 1);
}
