//! The pool of connections, and how long what goes through it takes.

use crate::metrics::Database;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use sqlx::any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::{Any, AnyConnection, AnyPool, Describe, Either, Error, Execute, Executor, SqlStr};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

/// Takes statements as [`AnyPool`] does; cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool {
    pub inner: AnyPool,
    pub metrics: Arc<Database>,
    /// See [`Pool::keeps_any`].
    pub of_server: bool,
}

impl Pool {
    pub async fn begin(&self) -> Result<Transaction<'static>, Error> {
        let mut transaction = Transaction {
            inner: None,
            begun: Instant::now(),
            metrics: self.metrics.clone(),
            of_server: self.of_server,
            succeeded: false,
        };
        transaction.inner = Some(self.inner.begin().await?);
        Ok(transaction)
    }

    /// Whether a statement is kept prepared whose text is not always the same. A database server's
    /// is: to have it closed is a message without an answer, and the next one waits for its receipt,
    /// by TCP for 40 ms. The embedded database has no such way, and keeps memory for each.
    pub fn keeps_any(&self) -> bool {
        self.of_server
    }

    pub async fn close(&self) {
        self.inner.close().await;
    }

    /// The answer to a statement, measured.
    async fn measured<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let begun = Instant::now();
        let answer = answer.await;
        self.metrics.query(begun.elapsed(), answer.is_ok());
        answer
    }
}

impl<'c> Executor<'c> for &'c Pool {
    type Database = Any;

    fn execute<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<AnyQueryResult, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        self.measured(self.inner.execute(query)).boxed()
    }

    fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Vec<AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        self.measured(self.inner.fetch_all(query)).boxed()
    }

    /// What is read row by row takes as long as its reader: it is not measured.
    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        self.inner.fetch_many(query).boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        self.measured(self.inner.fetch_optional(query)).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, Error>>
    where
        'c: 'e,
    {
        self.inner.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, Error>>
    where
        'c: 'e,
    {
        self.inner.describe(sql)
    }
}

/// One of [`Pool`]'s, measured to its end. Where it is dropped before, that is a failure.
#[derive(Debug)]
pub struct Transaction<'a> {
    /// There until its end.
    inner: Option<sqlx::Transaction<'a, Any>>,
    begun: Instant,
    metrics: Arc<Database>,
    of_server: bool,
    succeeded: bool,
}

impl Transaction<'_> {
    /// As [`Pool::keeps_any`].
    pub fn keeps_any(&self) -> bool {
        self.of_server
    }

    pub async fn commit(mut self) -> Result<(), Error> {
        if let Some(inner) = self.inner.take() {
            inner.commit().await?;
        }
        self.succeeded = true;
        Ok(())
    }

    /// Takes everything back, as was meant.
    pub async fn rollback(mut self) -> Result<(), Error> {
        if let Some(inner) = self.inner.take() {
            inner.rollback().await?;
        }
        self.succeeded = true;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.metrics.transaction(self.begun.elapsed(), self.succeeded);
    }
}

/// Its end consumes it.
const OPEN: &str = "a transaction that somebody holds is open";

impl Deref for Transaction<'_> {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        self.inner.as_ref().expect(OPEN)
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        self.inner.as_mut().expect(OPEN)
    }
}
