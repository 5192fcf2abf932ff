//! What is of a database server's own, whatever the other tests run with: reaching it, having it
//! alone, losing it, and how it compares and what it takes.

use crate::agent::{Agent, enrolled, linked};
use crate::common::{PATIENCE, Server, config_on, eventually};
use crate::database::Database;
use crate::mariadb::{self, MariaDb};
use polaris::serve::Running;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A database of one's own.
fn database(name: &str) -> String {
    let name = format!("t_{name}");
    mariadb::instance().execute(&format!("CREATE DATABASE `{name}`"));
    name
}

async fn error(url: &str) -> String {
    let dir = TempDir::new().unwrap();
    let error = format!("{:#}", Running::start(config_on(dir.path(), "", Some(url))).await.err().unwrap());
    assert!(!error.contains("cret"), "{error}");
    error
}

#[tokio::test]
async fn a_database_belongs_to_one_polaris_and_keeps_what_it_was_given() {
    let name = database("kept");
    let url = mariadb::instance().socket_url(&name);
    let server = Server::on_database(&url).await;
    let identity = enrolled(&server, "a").await;
    let taken = error(&mariadb::instance().url(&name)).await;
    assert!(taken.contains(&format!("/{name}?ssl-mode=DISABLED cannot be used: another polaris")), "{taken}");
    let Server { running, dir, .. } = server;
    running.stop().await;
    drop(dir);
    // From another folder, as from another machine.
    let server = Server::on_database(&mariadb::instance().url(&name)).await;
    assert_eq!(server.rest.get("/api/v1/hosts/a").await.text("id"), identity.id);
}

#[tokio::test]
async fn why_a_database_cannot_be_had_is_said_without_the_password() {
    let it = mariadb::instance();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = nobody.local_addr().unwrap().port();
    drop(nobody);
    let name = database("wrong");
    for (url, expected) in [
        (MariaDb::url_at(closed, &name), "refused"),
        (it.url("t_missing"), "Unknown database 't_missing'"),
        (it.url(&name).replace("s%2Fcret", "another-secret"), "Access denied for user 'polaris'"),
        (it.url(&name).replace("DISABLED", "VERIFY_CA"), "certificate"),
    ] {
        let error = error(&url).await;
        let named = format!("/{}", url.split('/').next_back().unwrap());
        assert!(error.contains(expected) && error.contains(&named), "{error}");
        assert!(error.starts_with("the database mysql://127.0.0.1:"), "{error}");
    }
}

#[tokio::test]
async fn a_database_server_is_reached_by_tls_and_told_by_its_certificate() {
    let it = mariadb::instance();
    let url = it.url(&database("tls"));
    let mode =
        |mode: &str| url.replace("DISABLED", &format!("{mode}&ssl-ca={}", it.dir.join("ca.pem").display()));
    it.execute(
        "CREATE USER careful@'%' IDENTIFIED BY 's/cret' REQUIRE SSL; GRANT ALL ON `t%`.* TO careful@'%'",
    );
    let careful = |url: &str| url.replace("polaris:", "careful:");
    assert!(error(&careful(&url)).await.contains("Access denied"));
    for mode in [mode("VERIFY_IDENTITY"), mode("REQUIRED"), url.replace("?ssl-mode=DISABLED", "")] {
        let server = Server::on_database(&careful(&mode)).await;
        assert_eq!(server.rest.get("/readyz").await.status, 200);
        server.running.stop().await;
    }
    let another = careful(&mode("VERIFY_IDENTITY").replace("127.0.0.1", "localhost"));
    assert!(error(&another).await.contains("certificate not valid for name"));
}

/// A way to the database that can be cut.
struct Way {
    port: u16,
    open: JoinHandle<()>,
}

impl Way {
    async fn open(port: u16) -> Way {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = tokio::spawn(async move {
            let mut streams = tokio::task::JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut far = TcpStream::connect(("127.0.0.1", mariadb::instance().port)).await.unwrap();
                streams.spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
            }
        });
        Way { port, open }
    }

    /// What went this way goes no more, and nothing new does.
    async fn cut(self) -> u16 {
        self.open.abort();
        assert!(self.open.await.unwrap_err().is_cancelled());
        self.port
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_a_503_and_used_again_when_it_is_back() {
    let name = database("away");
    let way = Way::open(0).await;
    let server = Server::on_database(&MariaDb::url_at(way.port, &name)).await;
    let mut agent = linked(&server, "a").await;
    let port = way.cut().await;

    let list = server.rest.get("/api/v1/tokens").await;
    assert_eq!((list.status, list.header("retry-after")), (503, "5"), "{list:?}");
    assert_eq!(server.rest.get("/readyz").await.status, 503);
    // Nothing is begun that the audit log would not have; what hosts tell waits.
    let body = json!({"hosts": ["a"], "method": "sync.bash", "cmd": "x"});
    assert_eq!(server.rest.post("/api/v1/requests", &body).await.status, 503);
    agent.result(1, "j", "meanwhile").await;

    let way = Way::open(port).await;
    agent.is_acked(1).await;
    assert_eq!(server.job(&agent.id, "j").await["result"]["data"], "meanwhile");
    assert_eq!(server.rest.get("/readyz").await.status, 200);
    // The database is this server's again, and nobody else's.
    let mut database = Database::at(&mariadb::instance().url(&name)).await;
    eventually("the lock", async || {
        let held = "SELECT CAST(COALESCE(IS_USED_LOCK(CONCAT('polaris.', SHA1(DATABASE()))), 0) AS SIGNED)";
        (database.count(held).await != 0).then_some(())
    })
    .await;
    server.running.stop().await;
    way.cut().await;
}

#[tokio::test]
async fn results_of_more_bytes_than_a_statement_may_have_are_all_kept() {
    let server = Server::on_database(&mariadb::instance().url(&database("large"))).await;
    let mut agent = linked(&server, "a").await;
    // Together they are larger than the server's packet.
    let output = "x".repeat(900_000);
    for seq in 1..=20 {
        agent.result(seq, &format!("j{seq}"), &output).await;
    }
    for seq in 1..=20 {
        agent.is_acked(seq).await;
    }
    let id = server.rest.get("/api/v1/hosts/a").await.text("id");
    for seq in 1..=20 {
        let job = server.job(&id, &format!("j{seq}")).await;
        assert_eq!(job["result"]["data"].as_str().map(str::len), Some(output.len()));
    }
}

#[tokio::test]
async fn whoever_lost_the_database_to_another_polaris_knows_it() {
    let name = database("lost");
    let way = Way::open(0).await;
    let server = Server::on_database(&MariaDb::url_at(way.port, &name)).await;
    let mut other = Database::at(&mariadb::instance().url(&name)).await;
    let port = way.cut().await;
    other.execute("DO GET_LOCK(CONCAT('polaris.', SHA1(DATABASE())), 30)").await;
    let _way = Way::open(port).await;
    timeout(PATIENCE, server.running.app.store.taken()).await.unwrap();
}

#[tokio::test]
async fn names_are_told_apart_by_their_case_and_the_blanks_at_their_end() {
    let server = Server::on_database(&mariadb::instance().url(&database("names"))).await;
    let mut agent = linked(&server, "a").await;
    let names = ["j", "j ", "J", "ĵ", "j\u{301}"];
    for (seq, name) in (1..).zip(names) {
        agent.result(seq, name, name).await;
    }
    for seq in 1..=5 {
        agent.is_acked(seq).await;
    }
    let mut kept = server.jobs("").await;
    kept.sort();
    let mut names = names.map(str::to_owned);
    names.sort();
    assert_eq!(kept, names);
}

#[tokio::test]
async fn one_connection_is_enough_for_everything() {
    let dir = TempDir::new().unwrap();
    let mut config = config_on(dir.path(), "", Some(&mariadb::instance().url(&database("one"))));
    config.database.connections = 1;
    let server = Server::of(dir, config).await;
    let offline = enrolled(&server, "b").await;
    let mut agent = linked(&server, "a").await;
    let body = |id: &str, method: &str| json!({"id": id, "hosts": ["a", "b"], "method": method, "cmd": "x", "queue": true});
    let (asked, _) = tokio::join!(server.rest.run(body("sync", "sync.bash")), agent.serve_one("fine"));
    assert_eq!(asked.retcodes().iter().map(|(_, retcode)| *retcode).collect::<Vec<_>>(), [2, 1]);
    let accepting = async {
        let request = agent.expect().await;
        agent.accept(&request).await;
    };
    tokio::join!(server.rest.run(body("job", "async.bash")), accepting);
    agent.result(1, "job", "done").await;
    agent.is_acked(1).await;
    let daemon = json!({"name": "web", "version": "1", "status": "running", "wanted": "running", "pid": 1,
                        "since": 1, "restarts": 0});
    let event = json!({"method": "result", "seq": 2, "id": "web@1", "daemon": daemon, "resp": "success",
                       "retcode": 2, "message": "Normal termination"});
    agent.send(&event).await;
    agent.is_acked(2).await;
    agent.send(&json!({"method": "facts", "sections": {"os": {"digest": "d", "value": {}}}})).await;
    agent.is_heard().await;

    let mut other = Agent::link(server.agents(), &offline, "b", "b").await;
    let mut waited = [other.serve_one("late").await, other.expect().await];
    other.accept(&waited[1]).await;
    assert_eq!(waited.each_mut().map(|request| request["id"].take()), ["sync", "job"]);
    for (list, count) in
        [("requests", 2), ("jobs", 2), ("hosts", 2), ("daemons", 1), ("cron", 0), ("tokens", 2)]
    {
        eventually(list, async || {
            let answer = server.rest.get(&format!("/api/v1/{list}")).await;
            let entries = answer.body[list].as_array().map_or(0, Vec::len);
            (answer.status == 200 && entries == count).then_some(())
        })
        .await;
    }
    for id in ["sync", "job"] {
        eventually("its end", async || {
            let shown = server.rest.get(&format!("/api/v1/requests/{id}")).await.body;
            (shown["succeeded"] == 2 && shown["finished"].is_string()).then_some(())
        })
        .await;
    }
    assert_eq!(server.rest.call("DELETE", "/api/v1/hosts/a", None).await.status, 204);
    server.running.stop().await;
}

/// Begins a transaction that has done so much that the database gives up the server's and not this one.
const MUCH: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; CREATE TABLE much (n BIGINT); \
    BEGIN; INSERT INTO much WITH RECURSIVE to1000(n) AS \
    (SELECT 1 UNION ALL SELECT n + 1 FROM to1000 WHERE n < 1000) SELECT n FROM to1000";

#[tokio::test]
async fn a_deadlock_with_another_program_costs_nobody_an_answer() {
    let it = mariadb::instance();
    let name = database("deadlock");
    let server = Server::on_database(&it.url(&name)).await;
    let identity = enrolled(&server, "a").await;
    let mut other = Database::at(&it.url(&name)).await;
    other.execute(MUCH).await;
    other.execute("INSERT INTO facts SELECT id, 'os', 'd', '{}', 1 FROM hosts").await;
    let rest = server.rest.clone();
    let path = format!("/api/v1/hosts/{}", identity.id);
    let revoking = tokio::spawn(async move { rest.call("DELETE", &path, None).await });
    let mut root = Database::at(&it.root_url()).await;
    let deletes = "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
                   WHERE DB = 't_deadlock' AND INFO LIKE 'DELETE FROM facts%'";
    eventually("the server waits", async || (root.count(deletes).await == 1).then_some(())).await;
    other.execute("UPDATE hosts SET name = name; COMMIT").await;
    let answer = revoking.await.unwrap();
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(other.count("SELECT COUNT(*) FROM facts").await, 0);
}

#[tokio::test]
async fn a_user_is_removed_in_spite_of_a_deadlock_with_another_program() {
    let it = mariadb::instance();
    let name = database("people_deadlock");
    let server = Server::on_database(&it.url(&name)).await;
    let ann = json!({"name": "ann", "role": "operator"});
    assert_eq!(server.rest.post("/api/v1/users", &ann).await.status, 201);
    let mut other = Database::at(&it.url(&name)).await;
    other.execute(MUCH).await;
    other
        .execute(
            "INSERT INTO access_tokens (owner, name, hash, role, gmt_create) \
             VALUES ('ann', 't', 'h', 'readonly', 1)",
        )
        .await;
    let rest = server.rest.clone();
    let removing = tokio::spawn(async move { rest.call("DELETE", "/api/v1/users/ann", None).await });
    let mut root = Database::at(&it.root_url()).await;
    let deletes = "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
                   WHERE DB = 't_people_deadlock' AND INFO LIKE 'DELETE FROM access_tokens%'";
    eventually("the server waits", async || (root.count(deletes).await == 1).then_some(())).await;
    other.execute("UPDATE users SET gmt_modify = 2; COMMIT").await;
    let answer = removing.await.unwrap();
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(other.count("SELECT COUNT(*) FROM access_tokens").await, 0);
}
