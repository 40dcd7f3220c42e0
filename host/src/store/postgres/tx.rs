//! A connection in a transaction, or one to read with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use deadpool_postgres::Object;
use futures_util::future::{try_join_all, try_join3};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::store::StoreError;
use crate::store::hints::Told;

use super::errors::Step;
use super::shared::Shared;

/// What a statement is given.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A statement, and what it is given.
pub(super) type Ask<'a> = (&'a str, Params<'a>);

/// What a piece of work works on. Dropped without having been ended well, it takes the connection with it: nobody
/// knows what state that is in.
#[derive(Debug)]
pub(super) struct Tx {
    /// Taken out only when this is dropped.
    client: Option<Object>,
    /// No transaction is open on it, and no answer outstanding.
    clean: bool,
    /// A transaction is to be begun, with the first statement.
    to_begin: AtomicBool,
    /// The commit is on its way.
    committing: Arc<AtomicBool>,
    /// What all connections have in common.
    pub(super) shared: Arc<Shared>,
    /// Who is to be told once it is committed.
    pub(super) told: Told,
    /// Where in `tally` this one counts.
    pub(super) shard: i16,
    /// The same was tried before, and it is not known whether it was committed.
    pub(super) doubt: bool,
}

impl Tx {
    /// Take a connection. Waits for one to be free.
    pub(super) async fn take(shared: &Arc<Shared>, shard: i16, doubt: bool) -> Step<Self> {
        Ok(Self {
            client: Some(shared.pool.get().await?),
            clean: true,
            to_begin: AtomicBool::new(false),
            committing: Arc::default(),
            shared: Arc::clone(shared),
            told: Told::default(),
            shard,
            doubt,
        })
    }

    fn client(&self) -> &Object {
        self.client.as_ref().expect("it is taken out only when this is dropped")
    }

    /// Send statements one behind the other, without waiting for the answer to one before the next is on its way: what waits is
    /// one round trip, however many there are. They are done in this order. The rows of each.
    pub(super) async fn flight(&self, asks: &[Ask<'_>]) -> Step<Vec<Vec<Row>>> {
        self.send(asks, false).await
    }

    /// The same, and commit. The answers hold only if all of them do: what fails in between is not committed.
    pub(super) async fn commit_with(&mut self, asks: &[Ask<'_>]) -> Step<Vec<Vec<Row>>> {
        let rows = self.send(asks, true).await?;
        self.clean = true;
        Ok(rows)
    }

    async fn send(&self, asks: &[Ask<'_>], commit: bool) -> Step<Vec<Vec<Row>>> {
        let client = self.client();
        let mut prepared = Vec::with_capacity(asks.len());
        // Before anything is sent: to prepare a statement that is new takes a round trip of its own.
        for (sql, _) in asks {
            prepared.push(client.prepare_cached(sql).await?);
        }
        let begin = self.to_begin.swap(false, Ordering::Relaxed);
        let begin = async move { if begin { client.batch_execute("BEGIN").await } else { Ok(()) } };
        let asked = asks.iter().zip(&prepared).map(|((_, params), statement)| client.query(statement, params));
        let commit = async move {
            if !commit {
                return Ok(());
            }
            self.committing.store(true, Ordering::Relaxed);
            client.batch_execute("COMMIT").await
        };
        // All are sent when they are first polled, which is in this order.
        let (_, rows, _) = try_join3(begin, try_join_all(asked), commit).await?;
        Ok(rows)
    }

    pub(super) async fn query(&self, sql: &str, params: Params<'_>) -> Step<Vec<Row>> {
        Ok(self.flight(&[(sql, params)]).await?.remove(0))
    }

    pub(super) async fn query_opt(&self, sql: &str, params: Params<'_>) -> Step<Option<Row>> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// For statements that always have one row.
    pub(super) async fn query_one(&self, sql: &str, params: Params<'_>) -> Step<Row> {
        let row = self.query_opt(sql, params).await?;
        row.ok_or_else(|| StoreError::Other(format!("the database has no row to answer with: {sql}")).into())
    }

    /// How many rows it was about.
    pub(super) async fn execute(&self, sql: &str, params: Params<'_>) -> Step<u64> {
        let client = self.client();
        let statement = client.prepare_cached(sql).await?;
        self.flight(&[]).await?;
        Ok(client.execute(&statement, params).await?)
    }

    /// Statements without parameters and answers, in the simple protocol.
    pub(super) async fn batch(&self, sql: &str) -> Step<()> {
        self.flight(&[]).await?;
        Ok(self.client().batch_execute(sql).await?)
    }

    /// Begin a transaction, with its first statement. If that fails, nothing is known of the connection.
    pub(super) fn begin(&mut self) {
        self.clean = false;
        self.to_begin.store(true, Ordering::Relaxed);
    }

    /// Whether the commit is on its way: from then on nobody knows whether it is done, until there is an answer.
    pub(super) fn committing(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.committing)
    }

    /// Commit what was done, if that has not happened yet.
    pub(super) async fn commit(&mut self) -> Step<()> {
        if !self.clean && !*self.to_begin.get_mut() {
            self.commit_with(&[]).await?;
        }
        self.clean = true;
        Ok(())
    }

    /// Undo what was done; the connection can be used again then.
    pub(super) async fn roll_back(&mut self) -> Step<()> {
        if !std::mem::take(self.to_begin.get_mut()) {
            self.batch("ROLLBACK").await?;
        }
        self.clean = true;
        Ok(())
    }

    /// What follows is a transaction for each statement, whose failure leaves the connection as it is. Until an answer is
    /// there it counts as in use.
    pub(super) fn reading(&mut self) {
        self.clean = false;
    }

    /// All answers are there.
    pub(super) fn read(&mut self) {
        self.clean = true;
    }

    /// So many numbers of a sequence, in order.
    pub(super) async fn next(&self, sequence: &str, count: usize) -> Step<Vec<i64>> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let sql = format!("SELECT nextval('{sequence}') FROM generate_series(1, $1::bigint)");
        Ok(self.query(&sql, &[&count]).await?.iter().map(|row| row.get(0)).collect())
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if !self.clean
            && let Some(client) = self.client.take()
        {
            // Out of the pool: dropping the client itself closes the connection.
            drop(Object::take(client));
        }
    }
}
