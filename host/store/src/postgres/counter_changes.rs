//! Sums over the runs of tasks. A transaction gathers its changes and writes them with one statement before it ends, to
//! its own lane's shard: so it waits for no other lane.

use std::collections::BTreeMap;

use const_format::formatcp;
use tokio_postgres::types::ToSql;

use super::errors::Step;
use super::tx::Tx;
use crate::codes::state_code;
use crate::rules::latest::{RunAt, SET_BACK, later};
use sexton_domain::run::{RunId, RunState};
use sexton_domain::time::Timestamp;

/// A transaction's changes to the sums, by task.
#[derive(Debug, Default)]
pub(super) struct CounterChanges {
    tasks: BTreeMap<i64, Change>,
}

/// The changes for one task.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Runs in each state, in the order of [`RunState::ALL`].
    runs: [i64; 5],
    /// Bytes of the runs that are over.
    pub(super) bytes: i64,
    /// The run that was the last to succeed, and when it ended.
    latest_success: Option<RunAt>,
    latest_failure: Option<Timestamp>,
    /// The run whose attempt began last, and when.
    latest_begun: Option<RunAt>,
    /// The latest instant of its schedule whose run was deleted.
    forgotten_until: Option<Timestamp>,
}

impl Change {
    /// Counts runs that entered `state`.
    pub(super) fn enter(&mut self, state: RunState, count: usize) {
        self.runs[state_code(state) as usize] += count as i64;
    }

    /// Counts runs that left `state`.
    pub(super) fn leave(&mut self, state: RunState, count: usize) {
        self.runs[state_code(state) as usize] -= count as i64;
    }

    /// Records that a run succeeded.
    pub(super) fn succeeded(&mut self, run: RunId, at: Timestamp) {
        self.latest_success = Some(later(self.latest_success, (run, at)));
    }

    /// Records that an attempt at a run began.
    pub(super) fn begun(&mut self, run: RunId, at: Timestamp) {
        self.latest_begun = Some(later(self.latest_begun, (run, at)));
    }

    /// Records that a run failed.
    pub(super) fn failed(&mut self, at: Timestamp) {
        self.latest_failure = self.latest_failure.max(Some(at));
    }

    /// Records that the run of an instant of the schedule was deleted.
    pub(super) fn forgot(&mut self, due_at: Timestamp) {
        self.forgotten_until = self.forgotten_until.max(Some(due_at));
    }
}

impl CounterChanges {
    /// Returns the changes for a task.
    pub(super) fn of(&mut self, task: i64) -> &mut Change {
        self.tasks.entry(task).or_default()
    }

    /// Writes the changes, in the order of the tasks, as all transactions do.
    pub(super) async fn write(&self, tx: &Tx) -> Step<()> {
        if !self.tasks.is_empty() {
            tx.query(WRITE, &self.columns(tx).params()).await?;
        }
        Ok(())
    }

    /// Returns the changes as the columns that [`WRITE`] takes.
    pub(super) fn columns(&self, tx: &Tx) -> Columns {
        let each = |column: fn(&Change) -> Option<i64>| self.tasks.values().map(column).collect();
        Columns {
            tasks: self.tasks.keys().copied().collect(),
            shard: tx.shard,
            runs: std::array::from_fn(|place| self.tasks.values().map(|change| change.runs[place]).collect()),
            bytes: self.tasks.values().map(|change| change.bytes).collect(),
            successes: each(|change| change.latest_success.map(|(run, _)| run.0)),
            success_ats: each(|change| change.latest_success.map(|(_, at)| at.as_millis())),
            failure_ats: each(|change| change.latest_failure.map(Timestamp::as_millis)),
            begun: each(|change| change.latest_begun.map(|(run, _)| run.0)),
            begun_ats: each(|change| change.latest_begun.map(|(_, at)| at.as_millis())),
            forgotten: each(|change| change.forgotten_until.map(Timestamp::as_millis)),
        }
    }
}

/// A [`CounterChanges`] as the columns of rows.
#[derive(Debug)]
pub(super) struct Columns {
    tasks: Vec<i64>,
    shard: i16,
    runs: [Vec<i64>; 5],
    bytes: Vec<i64>,
    successes: Vec<Option<i64>>,
    success_ats: Vec<Option<i64>>,
    failure_ats: Vec<Option<i64>>,
    begun: Vec<Option<i64>>,
    begun_ats: Vec<Option<i64>>,
    forgotten: Vec<Option<i64>>,
}

impl Columns {
    /// Returns the parameters of [`WRITE`], in its order.
    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 14] {
        let Self { tasks, shard, runs: [waiting, running, succeeded, failed, cancelled], bytes, .. } = self;
        let (successes, success_ats, failure_ats) = (&self.successes, &self.success_ats, &self.failure_ats);
        let (begun, begun_ats, forgotten) = (&self.begun, &self.begun_ats, &self.forgotten);
        [
            tasks,
            shard,
            waiting,
            running,
            succeeded,
            failed,
            cancelled,
            bytes,
            successes,
            success_ats,
            failure_ats,
            begun,
            begun_ats,
            forgotten,
        ]
    }
}

/// Returns the condition for the run of a new row to be later than that of the row that is there: see
/// [`rules::latest`](crate::rules::latest).
macro_rules! is_later {
    ($run:literal) => {
        formatcp!(
            "excluded.{run} IS NOT NULL AND (y.{run} IS NULL \
             OR (excluded.{run}_at, excluded.{run}) >= (y.{run}_at, y.{run}) \
             OR y.{run}_at > excluded.{run}_at + {SET_BACK_MS})",
            run = $run
        )
    };
}

const SET_BACK_MS: u128 = SET_BACK.as_millis();
const SUCCEEDED_LATER: &str = is_later!("latest_success");
const BEGAN_LATER: &str = is_later!("latest_begun");

/// Adds a [`CounterChanges`] to the sums.
pub(super) const WRITE: &str = formatcp!(
    "INSERT INTO tally AS y (task, shard, waiting, running, succeeded, failed, cancelled, bytes, \
     latest_success, latest_success_at, latest_failure_at, latest_begun, latest_begun_at, forgotten_until) \
     SELECT n.task, $2::smallint, n.waiting, n.running, n.succeeded, n.failed, n.cancelled, n.bytes, n.success, n.success_at, \
     n.failure_at, n.begun, n.begun_at, n.forgotten \
     FROM unnest($1::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], \
     $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[]) \
     AS n(task, waiting, running, succeeded, failed, cancelled, bytes, success, success_at, failure_at, begun, begun_at, \
     forgotten) \
     ON CONFLICT (task, shard) DO UPDATE SET waiting = y.waiting + excluded.waiting, \
     running = y.running + excluded.running, succeeded = y.succeeded + excluded.succeeded, \
     failed = y.failed + excluded.failed, cancelled = y.cancelled + excluded.cancelled, \
     bytes = y.bytes + excluded.bytes, \
     latest_success_at = CASE WHEN {SUCCEEDED_LATER} THEN excluded.latest_success_at ELSE y.latest_success_at END, \
     latest_success = CASE WHEN {SUCCEEDED_LATER} THEN excluded.latest_success ELSE y.latest_success END, \
     latest_failure_at = greatest(y.latest_failure_at, excluded.latest_failure_at), \
     forgotten_until = greatest(y.forgotten_until, excluded.forgotten_until), \
     latest_begun_at = CASE WHEN {BEGAN_LATER} THEN excluded.latest_begun_at ELSE y.latest_begun_at END, \
     latest_begun = CASE WHEN {BEGAN_LATER} THEN excluded.latest_begun ELSE y.latest_begun END"
);

/// An aggregate over the shards of a task: the run that was the last to succeed.
pub(super) const LATEST_SUCCESS: &str =
    "(array_agg(latest_success ORDER BY latest_success_at DESC NULLS LAST, latest_success DESC))[1]";
