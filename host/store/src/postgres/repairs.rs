//! Mends instants that a wrong clock has left: see [`crate::repairs`].

use async_trait::async_trait;
use const_format::formatcp;

use crate::Result;
use crate::backfills::TURN_MS;
use crate::codes::{RUNNING, WAITING};
use crate::repairs::{BroughtBack, LONGEST_LEASE, Repaired, Repairs, limit};
use sexton_domain::time::Timestamp;

use super::PostgresStore;
use super::errors::Step;
use super::tx::Tx;
use super::tx_actions::act;

#[async_trait]
impl Repairs for PostgresStore {
    async fn repair_instants(&self, now: Timestamp) -> Result<Repaired> {
        act!(self.acts, [], |tx| repair(tx, now))
    }
}

/// The rows are locked in the order of all transactions, which an UPDATE does not keep to.
const TASKS: &str = "WITH ahead AS (SELECT id FROM tasks WHERE cursor_at > $2 OR held_until > $2 ORDER BY id FOR UPDATE) \
     UPDATE tasks t SET cursor_at = CASE WHEN cursor_at > $2 THEN $1 ELSE cursor_at END, \
     held_until = CASE WHEN held_until > $2 THEN $1 ELSE held_until END FROM ahead WHERE t.id = ahead.id";

/// Locks the rows of the runs' tasks, as claims do.
const OF_RUNS: &str = "SELECT id FROM tasks WHERE id IN (SELECT task FROM runs_live WHERE run_at > $1 OR lease_until > $1) \
     ORDER BY id FOR UPDATE";

/// Moves waiting runs that were made by a clock that was ahead, by as much as it was. Runs that wait for their turn in a
/// backfill go on waiting.
const NOT_TRIED: &str = formatcp!(
    "UPDATE runs_live SET run_at = $1 + (run_at - created_at), start_by_at = $1 + (start_by_at - created_at), \
     created_at = $1 WHERE state = {WAITING} AND attempt = 0 AND run_at > $2 AND created_at > $2 \
     AND run_at < {TURN_MS}"
);

/// Makes waiting runs that such a clock has tried due now.
const TRIED: &str = formatcp!(
    "UPDATE runs_live SET run_at = $1 WHERE state = {WAITING} AND attempt > 0 AND run_at > $2 AND claimed_at > $2"
);

/// Selects the runs of [`BroughtBack`] by its names.
const BROUGHT_BACK: &str = "AND ($3::text = '' OR task IN \
     (SELECT id FROM tasks WHERE tenant = $3 AND ($5::bool OR $4::text = '' OR name = $4))) \
     AND (NOT $5 OR schedule = $4)";

/// Locks the rows of the tasks of such runs, as claims do.
const OF_BROUGHT_BACK: &str = formatcp!(
    "SELECT id FROM tasks WHERE id IN (SELECT task FROM runs_live WHERE state = {WAITING} AND run_at > $1 \
     AND (created_at > $2 OR claimed_at > $2) {BROUGHT_BACK}) ORDER BY id FOR UPDATE"
);

/// Brings back waiting runs that a clock ahead of `now` has made or tried, however little it was ahead.
pub(super) async fn bring_back(tx: &mut Tx, runs: BroughtBack<'_>, now: Timestamp) -> Step<()> {
    let (now, (tenant, name, by_key)) = (now.as_millis(), runs.names());
    tx.query(OF_BROUGHT_BACK, &[&now, &now, &tenant, &name, &by_key]).await?;
    let mut changed = 0;
    for sql in [formatcp!("{NOT_TRIED} {BROUGHT_BACK}"), formatcp!("{TRIED} {BROUGHT_BACK}")] {
        changed += tx.execute(sql, &[&now, &now, &tenant, &name, &by_key]).await?;
    }
    tx.hints.runs |= changed > 0;
    tx.hints.changes |= changed > 0;
    Ok(())
}

async fn repair(tx: &mut Tx, now: Timestamp) -> Step<Repaired> {
    let (at, limit, lease) = (now.as_millis(), limit(now).as_millis(), now.plus(LONGEST_LEASE).as_millis());
    let tasks = tx.execute(TASKS, &[&at, &limit]).await?;
    tx.query(OF_RUNS, &[&limit]).await?;
    let runs = tx.execute(NOT_TRIED, &[&at, &limit]).await?
        + tx.execute(TRIED, &[&at, &limit]).await?
        + tx.execute(
            formatcp!("UPDATE runs_live SET lease_until = $1 WHERE state = {RUNNING} AND lease_until > $2"),
            &[&lease, &limit],
        )
        .await?;
    let schedules = tx
        .execute("UPDATE schedules SET cursor_at = $1 WHERE cursor_at > $2 AND finished_at IS NULL", &[&at, &limit])
        .await?;
    let entries = tx
        .execute(
            "UPDATE entries SET expires_at = $1 + (expires_at - set_at), set_at = $1 WHERE set_at > $2",
            &[&at, &limit],
        )
        .await?;
    tx.execute(
        "UPDATE entry_versions SET expires_at = $1 + (expires_at - set_at), set_at = $1 WHERE set_at > $2",
        &[&at, &limit],
    )
    .await?;
    tx.execute("UPDATE hosts SET alive_until = $1, seen_at = $1 WHERE seen_at > $2", &[&at, &limit]).await?;
    (tx.hints.runs, tx.hints.changes, tx.hints.schedules) = (true, true, true);
    Ok(Repaired { tasks, runs, schedules, entries })
}
