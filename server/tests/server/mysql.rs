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
    assert!(taken.contains(&format!("/{name} cannot be used: another polaris uses it")), "{taken}");
    let Server { running, dir, .. } = server;
    running.stop().await;
    drop(dir);
    // From another folder, as from another machine.
    let server = Server::on_database(&mariadb::instance().url(&name)).await;
    assert_eq!(server.rest.get("/api/v1/hosts/a").await.text("id"), identity.id);
}
