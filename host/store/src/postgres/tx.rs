//! A connection in a transaction, or for reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use deadpool_postgres::Object;
use futures_util::future::{try_join_all, try_join3};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::StoreError;
use crate::hints::HintSet;
use crate::rules::events::EventBatch;

use super::errors::Step;
use super::shared::Shared;

/// The parameters of a statement.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A statement, and its parameters.
pub(super) type Ask<'a> = (&'a str, Params<'a>);

/// Writes the events of a transaction. A reader numbers the rows.
const TELL: &str =
    "INSERT INTO events (lines, told_at, body) SELECT * FROM unnest($1::int[], $2::bigint[], $3::text[])";

/// The progress of a transaction, for a task that waits for it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    committing: AtomicBool,
    answers: AtomicU64,
}

impl Progress {
    /// Returns whether the commit was sent: from then on its result is unknown, until there is an answer.
    pub(super) fn is_committing(&self) -> bool {
        self.committing.load(Ordering::Relaxed)
    }

    /// Returns how often the database has answered.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Notes that the database has answered.
    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// The connection that a piece of work uses. A drop without a clean end closes it, because its state is unknown then.
#[derive(Debug)]
pub(super) struct Tx {
    /// Taken out only in `drop`.
    client: Option<Object>,
    /// No transaction is open on the connection, and no answer is outstanding.
    clean: bool,
    /// A transaction must begin with the next statement.
    to_begin: AtomicBool,
    /// The progress of the transaction.
    progress: Arc<Progress>,
    /// State that all connections share.
    pub(super) shared: Arc<Shared>,
    /// Hints to send after the commit.
    pub(super) hints: HintSet,
    /// Events to write with the commit.
    pub(super) events: EventBatch,
    /// The shard of `tally` in which this transaction counts.
    pub(super) shard: i16,
    /// The same work was tried before, and may have been committed.
    pub(super) doubt: bool,
}

impl Tx {
    /// Takes a connection of the pool. Waits for one to be free.
    pub(super) async fn take(shared: &Arc<Shared>, shard: i16, doubt: bool) -> Step<Self> {
        Ok(Self {
            client: Some(shared.pool.get().await?),
            clean: true,
            to_begin: AtomicBool::new(false),
            progress: Arc::default(),
            shared: Arc::clone(shared),
            hints: HintSet::default(),
            events: EventBatch::begin(shared.recording.load(Ordering::Relaxed)),
            shard,
            doubt,
        })
    }

    fn client(&self) -> &Object {
        self.client.as_ref().expect("it is taken out only when this is dropped")
    }

    /// Sends statements one behind the other, without waiting for answers in between: however many they are, the wait
    /// is one round trip. They are done in this order. Returns the rows of each.
    pub(super) async fn pipeline(&self, asks: &[Ask<'_>]) -> Step<Vec<Vec<Row>>> {
        self.send(asks, false).await
    }

    /// Sends statements likewise, and commits. The answers hold only if all do: a failure undoes all.
    pub(super) async fn commit_with(&mut self, asks: &[Ask<'_>]) -> Step<Vec<Vec<Row>>> {
        let told = self.events.rows();
        let rows = if told.is_empty() {
            self.send(asks, true).await?
        } else {
            let lines: Vec<i32> = told.iter().map(|row| i32::try_from(row.lines).unwrap_or(i32::MAX)).collect();
            let told_at: Vec<i64> = told.iter().map(|row| row.told_at.as_millis()).collect();
            let bodies: Vec<&str> = told.iter().map(|row| row.body.as_str()).collect();
            let told: [&(dyn ToSql + Sync); 3] = [&lines, &told_at, &bodies];
            let all: Vec<Ask<'_>> = asks.iter().copied().chain([(TELL, &told[..])]).collect();
            let mut rows = self.send(&all, true).await?;
            rows.truncate(asks.len());
            self.hints.events = true;
            rows
        };
        self.clean = true;
        Ok(rows)
    }

    async fn send(&self, asks: &[Ask<'_>], commit: bool) -> Step<Vec<Vec<Row>>> {
        let client = self.client();
        let mut prepared = Vec::with_capacity(asks.len());
        // Preparing a new statement takes a round trip of its own, so this comes before anything is sent.
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
            self.progress.committing.store(true, Ordering::Relaxed);
            client.batch_execute("COMMIT").await
        };
        // All are sent when they are first polled, which is in this order.
        let (_, rows, _) = try_join3(begin, try_join_all(asked), commit).await?;
        self.progress.answered();
        Ok(rows)
    }

    pub(super) async fn query(&self, sql: &str, params: Params<'_>) -> Step<Vec<Row>> {
        Ok(self.pipeline(&[(sql, params)]).await?.remove(0))
    }

    pub(super) async fn query_opt(&self, sql: &str, params: Params<'_>) -> Step<Option<Row>> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Runs a statement that always returns one row.
    pub(super) async fn query_one(&self, sql: &str, params: Params<'_>) -> Step<Row> {
        let row = self.query_opt(sql, params).await?;
        row.ok_or_else(|| StoreError::Other(format!("the database has no row to answer with: {sql}")).into())
    }

    /// Runs a statement, and returns the number of rows that it affected.
    pub(super) async fn execute(&self, sql: &str, params: Params<'_>) -> Step<u64> {
        let client = self.client();
        let statement = client.prepare_cached(sql).await?;
        self.pipeline(&[]).await?;
        let rows = client.execute(&statement, params).await?;
        self.progress.answered();
        Ok(rows)
    }

    /// Runs statements without parameters and answers, in the simple protocol.
    pub(super) async fn batch(&self, sql: &str) -> Step<()> {
        self.pipeline(&[]).await?;
        Ok(self.client().batch_execute(sql).await?)
    }

    /// Begins a transaction with its first statement. If that fails, the connection's state is unknown.
    pub(super) fn begin(&mut self) {
        self.clean = false;
        self.to_begin.store(true, Ordering::Relaxed);
    }

    /// Shows in `progress` how far this transaction comes.
    pub(super) fn show_in(&mut self, progress: &Arc<Progress>) {
        self.progress = Arc::clone(progress);
    }

    /// Commits, if that has not happened yet.
    pub(super) async fn commit(&mut self) -> Step<()> {
        if !self.clean && !*self.to_begin.get_mut() {
            self.commit_with(&[]).await?;
        }
        self.clean = true;
        Ok(())
    }

    /// Rolls back, after which the connection can be used again.
    pub(super) async fn roll_back(&mut self) -> Step<()> {
        if !std::mem::take(self.to_begin.get_mut()) {
            self.batch("ROLLBACK").await?;
        }
        self.clean = true;
        Ok(())
    }

    /// Declares that each statement from here on is a transaction of its own, whose failure leaves the connection as it
    /// is. Until [`Self::read`] the connection counts as in use.
    pub(super) fn reading(&mut self) {
        self.clean = false;
    }

    /// Declares that all answers have arrived.
    pub(super) fn read(&mut self) {
        self.clean = true;
    }

    /// Draws `count` numbers of a sequence, in order.
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
            // The client leaves the pool, so that dropping it closes the connection.
            drop(Object::take(client));
        }
    }
}
