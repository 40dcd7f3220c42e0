//! Lets the runs of backfills take turns. Hosts that do so at once wait for each other at the rows of the tasks, so that
//! no turn is given out twice.

use std::collections::BTreeMap;

use async_trait::async_trait;
use const_format::formatcp;

use crate::Result;
use crate::backfills::{Backfills, DueRuns, PIECE, TURN_MS, Turns};
use crate::codes::WAITING;
use crate::rules::backfills::Starting;
use crate::rules::events::NewEvent;
use crate::rules::runs::due_key;
use sexton_domain::run::{RunId, RunState};
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

use super::archive::{ArchiveColumns, moving};
use super::counter_changes::CounterChanges;
use super::errors::Step;
use super::rows::{maybe_instant, number, small};
use super::tasks;
use super::tx::Tx;
use super::tx_actions::act;
use super::{PostgresStore, read};

#[async_trait]
impl Backfills for PostgresStore {
    async fn take_turns(&self, now: Timestamp) -> Result<Turns> {
        // Mostly no turn has come, and then there is no transaction.
        let seen = read!(self, |tx| look(tx))?;
        match seen.runs.is_empty() {
            true => Ok(Turns { started: 0, waiting: seen.waiting }),
            false => act!(self.acts, [], |tx| take_turns(tx, now)),
        }
    }

    async fn due_runs(&self, task: TaskKey, instants: Vec<Timestamp>) -> Result<DueRuns> {
        read!(self, |tx| due_runs(tx, &task, &instants))
    }

    async fn cancel_backfill(&self, task: TaskKey, why: &str, now: Timestamp) -> Result<u64> {
        let why = why.to_owned();
        act!(self.acts, [task, why], |tx| cancel(tx, &task, &why, now))
    }
}

/// Selects, of each task with runs of backfills that are not over, those that wait for their turn, first to last, and
/// how many have had theirs. It steps from task to task by index, so that a long backfill costs as much as a short one.
/// (For `run_at = ...` the planner could go through all live runs by their numbers instead.)
const LOOK: &str = formatcp!(
    "WITH RECURSIVE found AS ( \
     (SELECT task FROM runs_live WHERE at_once IS NOT NULL ORDER BY task LIMIT 1) \
     UNION ALL \
     SELECT next.task FROM found CROSS JOIN LATERAL \
     (SELECT r.task FROM runs_live r WHERE r.at_once IS NOT NULL AND r.task > found.task ORDER BY r.task LIMIT 1) next) \
     SELECT f.task, early.count + late.count, w.id, w.at_once FROM found f \
     CROSS JOIN LATERAL \
     (SELECT count(*) FROM runs_live r WHERE r.at_once IS NOT NULL AND r.task = f.task AND r.run_at < {TURN_MS}) early \
     CROSS JOIN LATERAL \
     (SELECT count(*) FROM runs_live r WHERE r.at_once IS NOT NULL AND r.task = f.task AND r.run_at > {TURN_MS}) late \
     CROSS JOIN LATERAL \
     (SELECT r.id, r.at_once FROM runs_live r WHERE r.at_once IS NOT NULL AND r.task = f.task \
     AND r.run_at BETWEEN {TURN_MS} AND {TURN_MS} ORDER BY r.run_at, r.id LIMIT {PIECE}) w ORDER BY f.task, w.id"
);

async fn look(tx: &Tx) -> Step<Starting<i64>> {
    let mut tasks: BTreeMap<i64, (u64, Vec<(RunId, u32)>)> = BTreeMap::new();
    for row in tx.query(LOOK, &[]).await? {
        let (_, waits) = tasks.entry(row.get(0)).or_insert((number(&row, 1), Vec::new()));
        waits.push((RunId(row.get(2)), small(&row, 3)));
    }
    Ok(Starting::of(tasks))
}

async fn take_turns(tx: &mut Tx, now: Timestamp) -> Step<Turns> {
    let tasks: Vec<i64> = look(tx).await?.runs.into_keys().collect();
    tasks::lock(tx, &tasks).await?;
    // Another host may have given out these turns before it let go of the locks.
    let Starting { runs, waiting } = look(tx).await?;
    let locked = runs.into_iter().filter(|(task, _)| tasks.contains(task));
    let mut runs: Vec<i64> = locked.flat_map(|(_, runs)| runs).map(|run| run.0).collect();
    if runs.is_empty() {
        return Ok(Turns { started: 0, waiting });
    }
    // All transactions lock runs in this order.
    runs.sort_unstable();
    let started = tx
        .execute(
            formatcp!(
                "UPDATE runs_live r SET run_at = $2 FROM (SELECT id FROM unnest($1::bigint[]) AS u(id) ORDER BY id) n \
                 WHERE r.id = ANY (ARRAY[n.id]) AND r.state + 0 = {WAITING} AND r.run_at = {TURN_MS}"
            ),
            &[&runs, &now.as_millis()],
        )
        .await?;
    (tx.hints.runs, tx.hints.changes) = (true, true);
    Ok(Turns { started, waiting })
}

/// Counts the runs of a task that wait for their turn.
pub(super) async fn waiting(tx: &Tx, task: i64) -> Step<u64> {
    let sql =
        formatcp!("SELECT count(*) FROM runs_live WHERE at_once IS NOT NULL AND task = $1 AND run_at = {TURN_MS}");
    Ok(number(&tx.query_one(sql, &[&task]).await?, 0))
}

async fn due_runs(tx: &Tx, task: &TaskKey, instants: &[Timestamp]) -> Step<DueRuns> {
    let row = tx
        .query_opt(
            "SELECT t.id, (SELECT max(y.forgotten_until) FROM tally y WHERE y.task = t.id) FROM tasks t \
             WHERE t.tenant = $1 AND t.name = $2",
            &[&task.tenant.as_str(), &task.task.as_str()],
        )
        .await?;
    let Some(row) = row else { return Ok(DueRuns::default()) };
    let by_key: BTreeMap<String, Timestamp> = instants.iter().map(|at| (due_key(*at), *at)).collect();
    let keys: Vec<&str> = by_key.keys().map(String::as_str).collect();
    let rows = tx
        .query(
            "SELECT n.key FROM unnest($2::text[]) AS n(key) CROSS JOIN LATERAL \
             (SELECT 1 FROM run_keys k WHERE k.task = $1 AND k.key = n.key LIMIT 1) k",
            &[&row.get::<_, i64>(0), &keys],
        )
        .await?;
    let found = rows.iter().filter_map(|row| by_key.get(row.get::<_, &str>(0)).copied()).collect();
    Ok(DueRuns { found, forgotten_until: maybe_instant(&row, 1) })
}

async fn cancel(tx: &mut Tx, task: &TaskKey, why: &str, now: Timestamp) -> Step<u64> {
    let key = task;
    let Some(task) = tasks::find(tx, key).await? else { return Ok(0) };
    tasks::lock(tx, &[task]).await?;
    let waits = tx
        .query(
            formatcp!(
                "SELECT id FROM runs_live WHERE at_once IS NOT NULL AND task = $1 \
                 AND run_at BETWEEN {TURN_MS} AND {TURN_MS} ORDER BY run_at, id LIMIT {PIECE} FOR UPDATE"
            ),
            &[&task],
        )
        .await?;
    if waits.is_empty() {
        return Ok(0);
    }
    let runs: Vec<i64> = waits.iter().map(|row| row.get(0)).collect();
    tx.execute(
        "DELETE FROM run_keys k USING runs_live r \
         WHERE r.id = ANY ($1) AND k.task = r.task AND k.key = r.dedup AND k.run = r.id",
        &[&runs],
    )
    .await?;
    tx.execute("UPDATE runs_live SET dedup = NULL WHERE id = ANY ($1)", &[&runs]).await?;
    let which = formatcp!("WHERE r.id = ANY ($1) AND r.state = {WAITING}");
    let called_off = moving(&ArchiveColumns::cancelled_unstarted("$3::bigint", "$2::text"), which, "");
    let gone = tx.query(&format!("{called_off} SELECT bytes, id FROM gone"), &[&runs, &why, &now.as_millis()]).await?;
    let mut tally = CounterChanges::default();
    let change = tally.of(task);
    change.leave(RunState::Waiting, gone.len());
    change.enter(RunState::Cancelled, gone.len());
    change.bytes += gone.iter().map(|row| row.get::<_, i64>(0)).sum::<i64>();
    for row in &gone {
        tx.events.tell(NewEvent::of_cancelled(now, key, RunId(row.get(1))));
    }
    tally.write(tx).await?;
    tx.hints.changes = true;
    Ok(gone.len() as u64)
}
