//! Reads views over several runs.

use async_trait::async_trait;
use const_format::formatcp;
use tokio_postgres::Row;

use crate::Result;
use crate::codes::{CANCELLED, DEMAND, FAILED, SKIPPED_OUTCOME};
use crate::rules::runs::{CONTINUES, child_kind};
use crate::runs::SKIPPED;
use crate::views::{Child, MESSAGE, RunTimes, Views, Window};
use sexton_domain::run::RunId;
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

use super::errors::Step;
use super::rows::{cause, instant, maybe_instant, outcome, over_at, state, task_key, to_sql};
use super::tx::Tx;
use super::{PostgresStore, read};

#[async_trait]
impl Views for PostgresStore {
    async fn window(&self, task: TaskKey, since: Timestamp, limit: usize) -> Result<Window> {
        read!(self, |tx| window(tx, &task, since, limit))
    }

    async fn children(&self, run: RunId, limit: usize) -> Result<Vec<Child>> {
        read!(self, |tx| children(tx, run, limit))
    }
}

/// Whether a run was skipped. Before the outcome `skipped` was known, the message said so.
const WAS_SKIPPED: &str = formatcp!(
    "coalesce(r.outcome = {SKIPPED_OUTCOME}, false) \
     OR r.state = {CANCELLED} AND coalesce(r.message, '') LIKE '{SKIPPED}%'"
);

/// Reads a task's runs, newest first, by index, in the partitions of the days that can have any: a run is not over
/// before it is made. The first attempt's start is looked up only for a run that was tried again.
const WINDOW: &str = formatcp!(
    "SELECT r.id, r.state, r.cause, r.due_at, r.created_at, \
     CASE WHEN r.attempt > 1 THEN (SELECT a.started_at FROM attempts a WHERE a.run = r.id AND a.attempt = 1 \
     AND a.over_at = r.over_at) ELSE r.claimed_at END, r.claimed_at, r.over_at, r.outcome, \
     CASE WHEN r.state = {FAILED} THEN left(r.message, {MESSAGE}) END, \
     {WAS_SKIPPED}, \
     r.at_once IS NOT NULL OR (r.parent IS NOT NULL AND r.cause = {DEMAND}) \
     FROM tasks t CROSS JOIN LATERAL (SELECT * FROM runs WHERE task = t.id AND over_at >= $3 AND created_at >= $3 \
     ORDER BY -id LIMIT $4) r WHERE t.tenant = $1 AND t.name = $2"
);

async fn window(tx: &Tx, task: &TaskKey, since: Timestamp, limit: usize) -> Step<Window> {
    let most = to_sql(limit.saturating_add(1));
    let rows = tx.query(WINDOW, &[&task.tenant.as_str(), &task.task.as_str(), &since.as_millis(), &most]).await?;
    let runs = rows.iter().take(limit).map(times).collect::<Step<Vec<RunTimes>>>()?;
    Ok(Window { runs, cut: rows.len() > limit })
}

fn times(row: &Row) -> Step<RunTimes> {
    Ok(RunTimes {
        run: RunId(row.get(0)),
        state: state(row, 1)?,
        cause: cause(row, 2)?,
        due_at: instant(row, 3),
        created_at: instant(row, 4),
        started_at: maybe_instant(row, 5),
        claimed_at: maybe_instant(row, 6),
        ended_at: over_at(row, 7),
        outcome: row.get::<_, Option<i16>>(8).map(|_| outcome(row, 8)).transpose()?,
        message: row.get(9),
        skipped: row.get(10),
        belated: row.get(11),
    })
}

async fn children(tx: &Tx, run: RunId, limit: usize) -> Step<Vec<Child>> {
    let rows = tx
        .query(
            formatcp!(
                "SELECT r.id, t.tenant, t.name, r.state, r.cause, coalesce(r.dedup LIKE '{CONTINUES}%', false), \
                 r.created_at FROM (SELECT * FROM runs WHERE parent = $1 ORDER BY id LIMIT $2) r \
                 JOIN tasks t ON t.id = r.task ORDER BY r.id"
            ),
            &[&run.0, &to_sql(limit)],
        )
        .await?;
    rows.iter().map(child).collect()
}

fn child(row: &Row) -> Step<Child> {
    Ok(Child {
        run: RunId(row.get(0)),
        task: task_key(row, 1)?,
        state: state(row, 3)?,
        kind: child_kind(cause(row, 4)?, row.get(5)),
        created_at: instant(row, 6),
    })
}
