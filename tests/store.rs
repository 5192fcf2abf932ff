//! gearman.db in every state that a disk, a power cut or a person can leave it
//! in. Real files, no agent, no sleep.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

use aspire::store::{NewJob, OpenError, Store};
use aspire::wire::frame::encode;
use aspire::wire::session::Frame;
use aspire::wire::{Outcome, Retcode};
use rusqlite::Connection;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const PAGE: usize = 1024;
const JOBS: usize = 60;
const ENTRIES: usize = 60;
const RESULTS: u64 = 400;

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        let shm = Path::new("/dev/shm");
        let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        Place { folder: folder.unwrap() }
    }

    fn db(&self) -> PathBuf {
        self.folder.path().join("gearman.db")
    }

    fn wal(&self) -> PathBuf {
        self.folder.path().join("gearman.db-wal")
    }

    fn open(&self) -> Result<Store, OpenError> {
        Store::open(&self.db(), at(1))
    }

    /// The names in the folder, sorted.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn damaged(&self) -> Vec<String> {
        self.names().into_iter().filter(|name| name.starts_with("gearman.db.damaged-")).collect()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.folder.path().join(name)).unwrap().permissions().mode() & 0o777
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

fn job() -> aspire::wire::Job {
    let text = json!({"command": {"cmd": format!("echo {}", "x".repeat(150))}, "terms": {}});
    serde_json::from_value(text).unwrap()
}

fn accept(store: &mut Store, id: &str) {
    store.accept(&NewJob { id, job: &job(), accepted: at(0), origin: None }).unwrap();
}

/// A job with its result.
fn end(store: &mut Store, id: &str) {
    accept(store, id);
    store.attempt(id, at(0)).unwrap();
    let outcome = Outcome::new(Retcode::NormalTermination).with_output(&[b'o'; 200], b"");
    store.end_job(id, at(0), &outcome, |result| encode(&Frame::Result(result))).unwrap();
}

fn fill(store: &mut Store) {
    for n in 0..RESULTS {
        end(store, &format!("ended-{n}"));
    }
    for n in 0..JOBS {
        accept(store, &format!("waits-{n}"));
        store.keep_requests(|rows| rows.begun(&format!("request-{n}"), at(0)).map(drop)).unwrap();
    }
    for n in 0..ENTRIES {
        let timing = json!({"name": format!("entry-{n}"), "schedule": "0 5 * * *"});
        let entry = json!({"timing": timing, "job": job()});
        store.set_entry(&serde_json::from_value(entry).unwrap(), SystemTime::UNIX_EPOCH).unwrap();
    }
}

/// A database in one file, as an agent leaves it that ends in order.
fn filled() -> (Place, Vec<u8>) {
    let place = Place::new();
    fill(&mut place.open().unwrap());
    let bytes = fs::read(place.db()).unwrap();
    assert_eq!(place.names(), ["gearman.db"]);
    (place, bytes)
}

/// The same, as an agent leaves it that is killed: the file, and its log.
fn killed() -> (Vec<u8>, Vec<u8>) {
    let place = Place::new();
    let mut store = place.open().unwrap();
    fill(&mut store);
    end(&mut store, "last");
    let files = (fs::read(place.db()).unwrap(), fs::read(place.wal()).unwrap());
    assert!(files.1.len() > 100_000, "{}", files.1.len());
    files
}

/// The numbers of all results.
fn numbers(store: &Store) -> BTreeSet<u64> {
    store.results_after(0, 1_000_000, usize::MAX).unwrap().into_iter().map(|kept| kept.seq).collect()
}

/// What an agent asks of it at its start and later: none of it may fail.
fn use_it(store: &mut Store) {
    store.unfinished().unwrap();
    store.requests().unwrap();
    store.entries().unwrap();
    store.outbox_weight().unwrap();
    store.jobs(None, 500).unwrap();
    end(store, "new");
}

/// The number that the next result gets.
fn next_number(store: &mut Store) -> u64 {
    end(store, "the next");
    *numbers(store).last().unwrap()
}

/// Where the pages of a table or an index are: the root, and then the leaves in their order.
fn pages(db: &Path, name: &str) -> Vec<usize> {
    fn leaves(bytes: &[u8], number: usize, found: &mut Vec<usize>) {
        let page = &bytes[(number - 1) * PAGE..number * PAGE];
        if ![2, 5].contains(&page[0]) {
            return found.push(number);
        }
        let cells = usize::from(u16::from_be_bytes([page[3], page[4]]));
        for cell in 0..cells {
            let at = usize::from(u16::from_be_bytes([page[12 + 2 * cell], page[13 + 2 * cell]]));
            leaves(bytes, u32::from_be_bytes(page[at..at + 4].try_into().unwrap()) as usize, found);
        }
        leaves(bytes, u32::from_be_bytes(page[8..12].try_into().unwrap()) as usize, found);
    }
    let bytes = fs::read(db).unwrap();
    let db = Connection::open(db).unwrap();
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = ?";
    let root = db.query_row(root, [name], |row| row.get(0)).unwrap();
    let mut pages = vec![root];
    leaves(&bytes, root, &mut pages);
    pages
}

fn overwrite(bytes: &mut [u8], page: usize, with: u8) {
    bytes[(page - 1) * PAGE..][..PAGE].fill(with);
}

#[test]
fn a_new_one_is_nobody_elses_to_read_and_so_is_its_log() {
    let place = Place::new();
    let path = place.folder.path().join("made/by/the/agent/gearman.db");
    let mut store = Store::open(&path, at(1)).unwrap();
    end(&mut store, "a");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_file_name("gearman.db-wal")), 0o600);
    for folder in ["made", "made/by", "made/by/the/agent"] {
        assert_eq!(mode(&place.folder.path().join(folder)), 0o711);
    }
}

#[test]
fn one_that_others_could_read_is_closed_to_them() {
    let (db, wal) = killed();
    let place = Place::new();
    for (path, bytes) in [(place.db(), db), (place.wal(), wal)] {
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let store = place.open().unwrap();
    assert_eq!([place.mode("gearman.db"), place.mode("gearman.db-wal")], [0o600, 0o600]);
    assert!(numbers(&store).contains(&(RESULTS + 1)));
}

#[test]
fn an_empty_file_is_filled_and_opening_again_changes_nothing() {
    let place = Place::new();
    fs::write(place.db(), b"").unwrap();
    use_it(&mut place.open().unwrap());
    let schema = || {
        let db = Connection::open(place.db()).unwrap();
        let version: u32 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        let mut sql = db.prepare("SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY 1").unwrap();
        let sql: Vec<String> = sql.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        (version, sql)
    };
    let before = schema();
    assert_eq!(before.0, 3);
    assert_eq!(numbers(&place.open().unwrap()), [1].into());
    assert_eq!(schema(), before);
    assert!(place.damaged().is_empty());
}

#[test]
fn a_link_to_it_stays_one_whatever_becomes_of_the_file() {
    let (elsewhere, mut bytes) = filled();
    bytes[..100].fill(0xAA);
    fs::write(elsewhere.db(), &bytes).unwrap();
    let place = Place::new();
    symlink(elsewhere.db(), place.db()).unwrap();
    use_it(&mut place.open().unwrap());
    assert_eq!(place.names(), ["gearman.db"]);
    assert!(fs::symlink_metadata(place.db()).unwrap().is_symlink());
    let [damaged] = &elsewhere.damaged()[..] else { panic!("{:?}", elsewhere.names()) };
    assert_eq!(fs::read(elsewhere.folder.path().join(damaged)).unwrap(), bytes);
}

#[test]
fn what_is_no_file_is_refused_at_once_with_the_reason() {
    let place = Place::new();
    let reason = |path: &Path| Store::open(path, at(1)).expect_err("it is open").to_string();
    fs::create_dir(place.db()).unwrap();
    assert!(reason(&place.db()).contains("Is a directory"), "{}", reason(&place.db()));
    let fifo = place.folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(reason(&fifo), "it is no regular file");
    assert_eq!(reason(Path::new("/dev/null")), "it is no regular file");
    fs::write(place.folder.path().join("file"), b"").unwrap();
    let below_a_file = place.folder.path().join("file/gearman.db");
    assert!(reason(&below_a_file).starts_with("its folder: "), "{}", reason(&below_a_file));
    assert_eq!(place.names(), ["fifo", "file", "gearman.db"]);
}

#[test]
fn another_programs_database_is_refused_and_not_touched() {
    for (version, tables) in [
        (0, "CREATE TABLE job (id INTEGER PRIMARY KEY, salary REAL); INSERT INTO job VALUES (1, 2.5);"),
        (9, "CREATE TABLE customer (id INTEGER PRIMARY KEY); INSERT INTO customer VALUES (1);"),
        (0, "CREATE TABLE customer (id INTEGER PRIMARY KEY); INSERT INTO customer VALUES (1);"),
        (1, "CREATE TABLE customer (id INTEGER PRIMARY KEY); INSERT INTO customer VALUES (1);"),
        (
            1,
            "CREATE TABLE job (a); CREATE TABLE cron (a); CREATE TABLE request (a); CREATE TABLE outbox (a);",
        ),
    ] {
        let place = Place::new();
        let db = Connection::open(place.db()).unwrap();
        db.execute_batch(tables).unwrap();
        db.pragma_update(None, "user_version", version).unwrap();
        drop(db);
        fs::set_permissions(place.db(), fs::Permissions::from_mode(0o644)).unwrap();
        let before = fs::read(place.db()).unwrap();
        let error = place.open().expect_err(tables);
        assert_eq!(error.to_string(), "it is another program's database", "{tables}");
        assert_eq!(fs::read(place.db()).unwrap(), before, "{tables}");
        assert_eq!((place.names(), place.mode("gearman.db")), (vec!["gearman.db".to_owned()], 0o644));
    }
}

#[test]
fn one_of_a_newer_agent_is_gone_on_with_and_stays_the_newer_one_s() {
    let (place, _) = filled();
    let newer = "ALTER TABLE job ADD COLUMN colour TEXT; ALTER TABLE outbox ADD COLUMN weight INTEGER \
                 NOT NULL DEFAULT 7; CREATE TABLE tomorrow (place INTEGER PRIMARY KEY, what TEXT); \
                 INSERT INTO tomorrow (what) VALUES ('theirs'); UPDATE job SET colour = 'red'; \
                 PRAGMA user_version = 9";
    Connection::open(place.db()).unwrap().execute_batch(newer).unwrap();
    for round in 1..=2 {
        let mut store = place.open().unwrap();
        end(&mut store, &format!("of the older one {round}"));
        assert_eq!(numbers(&store).len(), 400 + round);
    }
    let db = Connection::open(place.db()).unwrap();
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
    assert_eq!(number("PRAGMA user_version"), 9);
    assert_eq!(number("SELECT count(*) FROM job WHERE id LIKE 'of the older%' AND colour IS NULL"), 2);
    assert!(number("SELECT count(*) FROM job WHERE colour = 'red'") >= 60);
    assert_eq!(number("SELECT count(*) FROM outbox WHERE weight = 7"), 402);
    assert_eq!(number("SELECT count(*) FROM tomorrow WHERE what = 'theirs'"), 1);
    drop(db);
    assert_eq!(place.names(), ["gearman.db"]);
}

#[test]
fn one_of_a_newer_agent_that_lacks_what_this_one_knows_is_refused_and_not_touched() {
    for change in ["DROP TABLE cron", "ALTER TABLE job RENAME COLUMN due TO at"] {
        let (place, _) = filled();
        let newer = format!("{change}; PRAGMA user_version = 9");
        Connection::open(place.db()).unwrap().execute_batch(&newer).unwrap();
        let before = fs::read(place.db()).unwrap();
        assert!(matches!(place.open(), Err(OpenError::TooNew { found: 9, known: 3 })), "{change}");
        assert_eq!(fs::read(place.db()).unwrap(), before, "{change}");
        assert_eq!(place.names(), ["gearman.db"]);
    }
}

#[test]
fn one_of_no_version_is_carried_over() {
    let (place, _) = filled();
    Connection::open(place.db()).unwrap().pragma_update(None, "user_version", -1).unwrap();
    assert_eq!(numbers(&place.open().unwrap()).len(), 400, "of no agent: its rows are");
}

#[test]
fn one_that_another_program_holds_is_left_to_it() {
    let (place, _) = filled();
    let other = Connection::open(place.db()).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    assert!(matches!(place.open(), Err(OpenError::Locked)));
    drop(other);
    assert_eq!(place.open().unwrap().outbox_weight().unwrap().results, 400);
    assert_eq!(place.names(), ["gearman.db"]);
}

#[test]
fn garbage_is_set_aside_as_it_is_and_never_over_what_was_set_aside_before() {
    let place = Place::new();
    for (n, garbage) in [vec![0xAA; 8192], b"hello".to_vec(), vec![0; PAGE]].into_iter().enumerate() {
        fs::write(place.db(), &garbage).unwrap();
        fs::set_permissions(place.db(), fs::Permissions::from_mode(0o644)).unwrap();
        use_it(&mut place.open().unwrap());
        let damaged = place.damaged();
        assert_eq!(damaged.len(), n + 1, "{damaged:?}");
        let kept = damaged.iter().any(|name| fs::read(place.folder.path().join(name)).unwrap() == garbage);
        assert!(kept, "{damaged:?}");
        for name in place.names() {
            assert_eq!(place.mode(&name), 0o600, "{name}");
        }
    }
}

#[test]
fn a_file_that_lost_all_but_its_log_is_set_aside_with_it() {
    let (_, wal) = killed();
    let place = Place::new();
    fs::write(place.db(), b"").unwrap();
    fs::write(place.wal(), &wal).unwrap();
    use_it(&mut place.open().unwrap());
    let damaged = place.damaged();
    assert_eq!(damaged.len(), 2, "{damaged:?}");
    assert_eq!(fs::read(place.folder.path().join(&damaged[1])).unwrap(), wal);
}

#[test]
fn a_log_that_is_none_is_set_aside_and_the_file_goes_on() {
    let (place, _) = filled();
    let garbage = vec![0x55; 9000];
    fs::write(place.wal(), &garbage).unwrap();
    let mut store = place.open().unwrap();
    assert_eq!(numbers(&store).len(), 400);
    use_it(&mut store);
    let [damaged] = &place.damaged()[..] else { panic!("{:?}", place.names()) };
    assert_eq!(fs::read(place.folder.path().join(damaged)).unwrap(), garbage);
}

#[test]
fn a_log_cut_anywhere_gives_what_was_whole_before_the_cut() {
    let (db, wal) = killed();
    let mut before = 0;
    for cut in (0..=24).map(|n| wal.len() * n / 24).chain([1, 31, 32, 33, wal.len() - 1]) {
        let place = Place::new();
        fs::write(place.db(), &db).unwrap();
        fs::write(place.wal(), &wal[..cut]).unwrap();
        let mut store = place.open().unwrap();
        let numbers = numbers(&store);
        assert_eq!(numbers.last().copied().unwrap_or(0), numbers.len() as u64, "a gap: cut at {cut}");
        use_it(&mut store);
        if cut == wal.len() {
            assert_eq!(numbers.len() as u64, RESULTS + 1);
            before = numbers.len();
        }
        if cut < wal.len() && cut > 24 {
            assert!(before == 0 || numbers.len() <= before);
        }
    }
    // Without it, after a kill: an older state, but a whole one.
    let place = Place::new();
    fs::write(place.db(), &db).unwrap();
    use_it(&mut place.open().unwrap());
}

#[test]
fn a_log_with_a_flaw_gives_what_came_before_it() {
    let (db, wal) = killed();
    for at in (1..20).map(|n| wal.len() * n / 20) {
        let place = Place::new();
        let mut flawed = wal.clone();
        flawed[at] ^= 0x10;
        fs::write(place.db(), &db).unwrap();
        fs::write(place.wal(), &flawed).unwrap();
        let mut store = place.open().unwrap();
        let numbers = numbers(&store);
        assert_eq!(numbers.last().copied().unwrap_or(0), numbers.len() as u64, "a gap: flaw at {at}");
        use_it(&mut store);
    }
}

#[test]
fn a_file_cut_anywhere_gives_a_database_and_is_kept() {
    let (_, bytes) = filled();
    let whole = bytes.len();
    let page = (0..whole).step_by(PAGE * 3).skip(1);
    for cut in page.chain([15, 16, 99, 100, 512, PAGE - 1, PAGE + 1, whole - PAGE, whole - 1]) {
        let place = Place::new();
        fs::write(place.db(), &bytes[..cut]).unwrap();
        let mut store = place.open().unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let (results, jobs) = (numbers(&store).len(), store.unfinished().unwrap().len());
        use_it(&mut store);
        if place.damaged().is_empty() {
            assert_eq!((cut, results, jobs), (whole - 1, 400, JOBS), "nothing was in that byte");
            continue;
        }
        let [damaged] = &place.damaged()[..] else { panic!("cut at {cut}: {:?}", place.names()) };
        assert_eq!(fs::read(place.folder.path().join(damaged)).unwrap(), bytes[..cut]);
    }
}

#[test]
fn of_a_table_only_the_bad_page_is_lost_and_numbers_go_on() {
    let (origin, bytes) = filled();
    let leaves = pages(&origin.db(), "outbox");
    assert!(leaves.len() > 20, "{}", leaves.len());
    let whole: BTreeSet<u64> = (1..=RESULTS).collect();
    for bad in [&leaves[1..2], &leaves[10..11], &[leaves[5], leaves[12], leaves[18]]] {
        let place = Place::new();
        let mut bytes = bytes.clone();
        for page in bad {
            overwrite(&mut bytes, *page, 0xFF);
        }
        fs::write(place.db(), &bytes).unwrap();
        let mut store = place.open().unwrap();
        let lost: Vec<u64> = whole.difference(&numbers(&store)).copied().collect();
        assert!((1..=20 * bad.len()).contains(&lost.len()), "bad pages {bad:?}, lost {lost:?}");
        assert_eq!(store.unfinished().unwrap().len(), JOBS);
        assert_eq!(store.entries().unwrap().0.len(), ENTRIES);
        assert!(next_number(&mut store) > RESULTS);
        assert_eq!(place.damaged().len(), 1);
    }
}

#[test]
fn entries_behind_a_bad_page_are_carried_over_too() {
    let (origin, mut bytes) = filled();
    let leaves = pages(&origin.db(), "cron");
    overwrite(&mut bytes, leaves[leaves.len() / 2], 0xFF);
    let place = Place::new();
    fs::write(place.db(), &bytes).unwrap();
    let left = place.open().unwrap().entries().unwrap().0.len();
    assert!((ENTRIES - 20..ENTRIES).contains(&left), "{left}");
}

#[test]
fn a_table_without_its_root_costs_that_table_alone_and_numbers_are_not_used_again() {
    let (origin, bytes) = filled();
    for (table, results, jobs, entries) in [("outbox", 0, JOBS, ENTRIES), ("cron", 400, JOBS, 0)] {
        let place = Place::new();
        let mut bytes = bytes.clone();
        overwrite(&mut bytes, pages(&origin.db(), table)[0], 0xFF);
        fs::write(place.db(), &bytes).unwrap();
        let mut store = place.open().unwrap();
        let left =
            (numbers(&store).len(), store.unfinished().unwrap().len(), store.entries().unwrap().0.len());
        assert_eq!(left, (results, jobs, entries), "{table}");
        assert!(next_number(&mut store) > RESULTS, "{table}");
    }
}

#[test]
fn numbers_go_on_where_the_newest_results_were_acknowledged() {
    let place = Place::new();
    let mut store = place.open().unwrap();
    fill(&mut store);
    for seq in 1..=RESULTS {
        store.acknowledged(&[seq]).unwrap();
    }
    drop(store);
    let leaves = pages(&place.db(), "cron");
    let mut bytes = fs::read(place.db()).unwrap();
    overwrite(&mut bytes, leaves[1], 0xFF);
    fs::write(place.db(), &bytes).unwrap();
    let mut store = place.open().unwrap();
    assert_eq!(place.damaged().len(), 1);
    assert_eq!(next_number(&mut store), RESULTS + 1);
}

#[test]
fn an_index_that_disagrees_with_its_table_hides_no_job() {
    let (origin, mut bytes) = filled();
    let leaves = pages(&origin.db(), "job_state");
    // The words by which waiting jobs are found.
    for page in leaves {
        let page = &mut bytes[(page - 1) * PAGE..page * PAGE];
        while let Some(at) = page.windows(6).position(|word| word == b"queued") {
            page[at] ^= 1;
        }
    }
    let place = Place::new();
    fs::write(place.db(), &bytes).unwrap();
    assert_eq!(place.open().unwrap().unfinished().unwrap().len(), JOBS);
    assert_eq!(place.damaged().len(), 1);
}

/// No checksum guards a value: a word that is not what was written is found by what it means.
#[test]
fn flipped_bits_anywhere_never_close_the_store() {
    let (_, bytes) = filled();
    let mut random = fastrand::Rng::with_seed(7);
    let place = Place::new();
    for round in 0..400 {
        let mut flipped = bytes.clone();
        for _ in 0..=round % 3 {
            let at = if round % 4 == 0 { random.usize(..PAGE) } else { random.usize(..bytes.len()) };
            flipped[at] ^= 1 << random.u8(..8);
        }
        for name in place.names() {
            fs::remove_file(place.folder.path().join(name)).unwrap();
        }
        fs::write(place.db(), &flipped).unwrap();
        let store = place.open();
        // The head's version is believed.
        let in_the_head = flipped[..100] != bytes[..100];
        let foreign = in_the_head && matches!(store, Err(OpenError::TooNew { .. } | OpenError::Foreign));
        if !foreign {
            use_it(&mut store.unwrap_or_else(|error| panic!("round {round}: {error}")));
        }
    }
}

/// As an agent leaves it that is killed between any two steps of a rescue.
#[test]
fn a_rescue_that_was_interrupted_is_gone_on_with() {
    let (_, good) = filled();
    let mut bad = good.clone();
    bad[..100].fill(0xAA);
    for (draft, whole, there) in [(true, false, true), (false, true, true), (false, true, false)] {
        let place = Place::new();
        let write = |name: &str, bytes: &[u8]| fs::write(place.folder.path().join(name), bytes).unwrap();
        if draft {
            write("gearman.db.rescue", &good[..5000]);
            write("gearman.db.rescue-journal", &good[..5000]);
        }
        if whole {
            write("gearman.db.rescued", &good);
        }
        if there {
            write("gearman.db", &bad);
            write("gearman.db-wal", &bad[..PAGE]);
        }
        let mut store = place.open().unwrap();
        assert_eq!(numbers(&store).len(), if whole { 400 } else { 0 }, "{:?}", place.names());
        use_it(&mut store);
        drop(store);
        let kept = place.damaged();
        assert_eq!(place.names().len(), 1 + kept.len(), "{:?}", place.names());
        let is_kept = kept.iter().any(|name| fs::read(place.folder.path().join(name)).unwrap() == bad);
        assert!(is_kept || !there, "{kept:?}");
    }
}
