//! The store in a PostgreSQL database, for many hosts.
//!
//! Hosts meet only in the database. Row locks (of a task's row, of a lock's name, of a tenant's cache), taken in short
//! transactions, keep two hosts from doing what must not happen at once. Nothing else waits: sums are kept in shards
//! (`tally`), and history lies apart from live runs (`partitions`).
//!
//! Writes go through lanes (`lane`), which commit in groups and repeat work that a broken connection or another host
//! has spoilt; reads take a connection of the pool. No statement needs session state that outlives its transaction, and
//! none needs features that engines compatible with PostgreSQL lack: no advisory locks, no functions or triggers of its
//! own. `LISTEN` and `NOTIFY` (`listen`) carry hints only.

mod added;
mod archive;
mod backfills;
mod backlog;
mod batcher;
mod cache;
mod claims;
mod connect;
mod contract;
mod counter_changes;
mod day;
mod errors;
mod events;
mod extend;
mod finish;
mod history;
mod hosts;
mod labels;
mod listen;
mod lists;
mod locks;
mod loss;
mod partitions;
mod pauses;
mod planner;
mod policies;
mod prune;
mod published;
mod repairs;
mod requests;
mod rows;
mod runs;
mod schedules;
mod schema;
mod shared;
mod tasks;
#[cfg(test)]
mod tests;
mod transfer;
mod tx;
mod tx_actions;
mod versions;
mod views;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

pub use connect::{DatabaseUrl, PostgresOptions};

use self::batcher::Batcher;
use self::claims::Claiming;
use self::finish::Finishing;
use self::listen::Listener;
use self::runs::Enqueueing;
use self::shared::{LabelSets, LastRotation, Shared, TaskIds, TenantIds};
use self::tx_actions::TxActions;
use crate::leftovers::Leftovers;
use sexton_domain::pause::PauseTarget;
use sexton_domain::task::TaskKey;

use super::hints::Hints;
use super::{Result, StoreError};

/// Hosts with a shard of their own in `tally`; a further one shares a shard, and the two hosts wait for each other at
/// times.
const HOST_SHARDS: i64 = 16;

/// Lanes of a host with a shard of their own.
const LANE_SHARDS: i16 = 8;

/// Pieces of work in one transaction. More would hold back those behind them, fewer would pay for the disk more often.
const MOST: usize = 512;

/// A store in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    shared: Arc<Shared>,
    /// Makes runs, many at once.
    enqueueing: Batcher<Enqueueing>,
    claiming: Batcher<Claiming>,
    finishing: Batcher<Finishing>,
    /// Makes all other changes of runs, tasks and schedules.
    acts: Batcher<TxActions>,
    /// Does the work that guests wait for: locks and the cache.
    guests: Batcher<TxActions>,
    /// Extends claims and announces hosts, which must not wait behind anything.
    holding: Batcher<TxActions>,
    /// Numbers events and deletes old ones, each in a transaction of its own: the row that it locks is in no order with
    /// those of other work.
    numbering: Batcher<TxActions>,
}

/// Reads with a connection of the pool, and once more if the failure is one that a second try may mend.
macro_rules! read {
    ($store:expr, |$tx:ident| $query:expr) => {{
        let mut again = true;
        loop {
            let answer = async {
                let mut tx = $crate::postgres::tx::Tx::take(&$store.shared, 0, false).await?;
                tx.reading();
                let $tx = &tx;
                let answer = $query.await;
                if !matches!(&answer, Err(failure) if failure.remedy() == $crate::postgres::errors::Remedy::Reconnect) {
                    tx.read();
                }
                answer
            };
            match tokio::time::timeout($crate::postgres::READ_PATIENCE, answer).await {
                Ok(Ok(answer)) => break Ok(answer),
                Ok(Err(failure)) if again && failure.remedy() != $crate::postgres::errors::Remedy::None => again = false,
                Ok(Err(failure)) => break Err(failure.explain()),
                Err(_) => break Err($crate::postgres::no_answer()),
            }
        }
    }};
}
use read;

fn no_answer() -> StoreError {
    StoreError::Other(format!("the database has not answered within {READ_PATIENCE:?}"))
}

/// Longest time that a read may take.
const READ_PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

impl PostgresStore {
    /// Opens the store that `options` name, and creates its schema if it does not exist.
    ///
    /// Claims in it may belong to other hosts, and are left alone: see
    /// [`Claims::abandon`](crate::claims::Claims::abandon).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unusable`] if the URL, user, database or schema is wrong, if the schema is too new, or if a move
    /// into the store is not complete; [`StoreError::Other`] if the database cannot be reached. Each message is one
    /// line that says what to do.
    pub async fn open(options: &PostgresOptions) -> Result<Arc<Self>> {
        let store = Self::start(options).await?;
        transfer::refuse_half_moved(&store, options).await?;
        Ok(store)
    }

    /// Opens the store without looking for an incomplete move.
    async fn start(options: &PostgresOptions) -> Result<Arc<Self>> {
        let connector = connect::Connector::new(options)?;
        let mut first = connector.connect().await?;
        schema::migrate(&mut first, &options.schema).await?;
        partitions::prepare(&first).await?;
        let opened: i64 =
            first.query_one("SELECT nextval('opened')", &[]).await.map_err(|e| errors::translate(&e))?.get(0);
        drop(first);
        let pool = connector.pool()?;
        let hints = Arc::new(Hints::default());
        let shared = Arc::new(Shared {
            pool,
            tasks: TaskIds::default(),
            tenants: TenantIds::default(),
            label_sets: LabelSets::default(),
            all_have_tenants: AtomicBool::new(false),
            turned: LastRotation::default(),
            leftovers: Leftovers::default(),
            unused_labels: Leftovers::default(),
            listener: Listener::start(connector, &options.schema, opened, Arc::clone(&hints)),
            hints,
            commits: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            recording: AtomicBool::new(false),
        });
        let first = i16::try_from(opened.rem_euclid(HOST_SHARDS)).unwrap_or(0) * LANE_SHARDS;
        Ok(Arc::new(Self {
            enqueueing: Batcher::start(&shared, Enqueueing, &[first], MOST),
            claiming: Batcher::start(&shared, Claiming::default(), &[first + 1], 1),
            finishing: Batcher::start(&shared, Finishing::default(), &[first + 2], MOST),
            acts: Batcher::start(&shared, TxActions, &[first + 4], 64),
            numbering: Batcher::start(&shared, TxActions, &[first + 3], 1),
            guests: Batcher::start(&shared, TxActions, &[first + 5, first + 6], 64),
            holding: Batcher::start(&shared, TxActions, &[first + 7], 8),
            shared,
        }))
    }

    /// Returns the row lock that orders an act on `task`. The row of a task that this host has not met yet is unknown,
    /// so its first act may deadlock and begin anew, once.
    fn row_of(&self, task: &TaskKey) -> Option<locks::LockedRow> {
        self.shared.tasks.get(task).map(locks::LockedRow::Task)
    }

    /// Returns the row lock that orders an act on a pause.
    fn rows_of(&self, target: &PauseTarget) -> Option<locks::LockedRow> {
        match target {
            PauseTarget::Task(task) => self.row_of(task),
            PauseTarget::Tenant(_) | PauseTarget::All => None,
        }
    }
}
