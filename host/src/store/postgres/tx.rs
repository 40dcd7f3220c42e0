//! A connection in a transaction, or one to read with.

use std::sync::Arc;

use deadpool_postgres::Object;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Shared;
use super::errors::Step;
use crate::store::hints::Told;

/// What a statement is given.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// What a piece of work works on. Dropped without having been ended well, it takes the connection with it: nobody
/// knows what state that is in.
#[derive(Debug)]
pub(super) struct Tx {
    /// Taken out only when this is dropped.
    client: Option<Object>,
    /// No transaction is open on it, and no answer outstanding.
    clean: bool,
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
        let client = shared.pool.get().await?;
        Ok(Self { client: Some(client), clean: true, shared: Arc::clone(shared), told: Told::default(), shard, doubt })
    }

    fn client(&self) -> &Object {
        self.client.as_ref().expect("it is taken out only when this is dropped")
    }

    pub(super) async fn query(&self, sql: &str, params: Params<'_>) -> Step<Vec<Row>> {
        let statement = self.client().prepare_cached(sql).await?;
        Ok(self.client().query(&statement, params).await?)
    }

    pub(super) async fn query_opt(&self, sql: &str, params: Params<'_>) -> Step<Option<Row>> {
        let statement = self.client().prepare_cached(sql).await?;
        Ok(self.client().query_opt(&statement, params).await?)
    }

    pub(super) async fn query_one(&self, sql: &str, params: Params<'_>) -> Step<Row> {
        let statement = self.client().prepare_cached(sql).await?;
        Ok(self.client().query_one(&statement, params).await?)
    }

    /// How many rows it was about.
    pub(super) async fn execute(&self, sql: &str, params: Params<'_>) -> Step<u64> {
        let statement = self.client().prepare_cached(sql).await?;
        Ok(self.client().execute(&statement, params).await?)
    }

    /// Statements without parameters and answers, in the simple protocol.
    pub(super) async fn batch(&self, sql: &str) -> Step<()> {
        Ok(self.client().batch_execute(sql).await?)
    }

    /// Begin a transaction.
    pub(super) async fn begin(&mut self) -> Step<()> {
        self.clean = false;
        self.batch("BEGIN").await
    }

    /// Commit what was done.
    pub(super) async fn commit(&mut self) -> Step<()> {
        self.batch("COMMIT").await?;
        self.clean = true;
        Ok(())
    }

    /// Undo what was done; the connection can be used again then.
    pub(super) async fn roll_back(&mut self) -> Step<()> {
        self.batch("ROLLBACK").await?;
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
