//! The database that the tests are run with, which is each test's own.

use crate::mariadb;
use sqlx::{AnyConnection, Connection as _, Row as _};
use std::path::Path;

/// Whether it is a database server's.
pub fn is_mysql() -> bool {
    match std::env::var("POLARIS_TEST_DATABASE").as_deref() {
        Ok("mysql") => true,
        Ok("sqlite") | Err(_) => false,
        Ok(other) => panic!("POLARIS_TEST_DATABASE is sqlite or mysql, not {other}"),
    }
}

/// What the configuration says of the one that belongs to this folder, made where it is missing.
pub fn url(dir: &Path) -> Option<String> {
    is_mysql().then(|| {
        let name = name(dir);
        mariadb::instance().execute(&format!("CREATE DATABASE IF NOT EXISTS `{name}`"));
        mariadb::instance().url(&name)
    })
}

fn name(dir: &Path) -> String {
    let folder = dir.file_name().unwrap().to_str().unwrap();
    format!("t{}", folder.replace('.', "_"))
}

/// As another program sees it.
pub struct Database(AnyConnection);

impl Database {
    /// The one that belongs to the folder of a server.
    pub async fn of(dir: &Path) -> Database {
        let file = || format!("sqlite://{}", dir.join("data/polaris.db").display());
        Database::at(&url(dir).unwrap_or_else(file)).await
    }

    pub async fn at(url: &str) -> Database {
        sqlx::any::install_default_drivers();
        Database(AnyConnection::connect(url).await.unwrap())
    }

    pub async fn execute(&mut self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&mut self.0).await.unwrap();
    }

    /// Lets nobody else write to these tables.
    pub async fn hold(&mut self) {
        let hold = if is_mysql() { "LOCK TABLES requests WRITE, queue WRITE" } else { "BEGIN IMMEDIATE" };
        self.execute(hold).await;
    }

    pub async fn let_go(&mut self) {
        self.execute(if is_mysql() { "UNLOCK TABLES" } else { "COMMIT" }).await;
    }

    pub async fn count(&mut self, sql: &'static str) -> i64 {
        sqlx::query(sql).fetch_one(&mut self.0).await.unwrap().get(0)
    }
}
