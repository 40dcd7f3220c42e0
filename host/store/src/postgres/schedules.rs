//! Answers questions of schedules that depend on how earlier runs went.

use std::collections::BTreeMap;

use tokio_postgres::Row;

use crate::codes::WAITING;
use crate::events::EventKind;
use crate::rules::events::NewEvent;
use crate::rules::pausing;
use crate::{AwaitedRunState, RunKey, TaskState, TriggerState, UpdateMemory};
use sexton_domain::run::RunId;
use sexton_domain::schedule::Going;
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

use super::errors::Step;
use super::rows::{maybe_instant, maybe_outcome, number, over_at, state, text};
use super::tasks::{self, STANDING_COLUMNS, pause, standing};
use super::tx::Tx;

/// See [`crate::Store::watch`].
pub(super) async fn watch(tx: &Tx, tasks: &[TaskKey], now: Timestamp) -> Step<BTreeMap<TaskKey, TriggerState>> {
    let tenants: Vec<&str> = tasks.iter().map(|task| task.tenant.as_str()).collect();
    let names: Vec<&str> = tasks.iter().map(|task| task.task.as_str()).collect();
    // Counts the waiting runs that are due and those that were tried before, each by an index of its own.
    let sql = format!(
        "SELECT n.place, t.cursor_at, {STANDING_COLUMNS}, t.fired, t.memory, t.schedule, t.left_out, y.failed_at, \
         y.running + CASE WHEN y.waiting > 0 THEN \
         (SELECT count(*) FROM runs_live r WHERE r.state = {WAITING} AND r.task = t.id AND r.run_at <= $3) + \
         (SELECT count(*) FROM runs_live r WHERE r.state = {WAITING} AND r.attempt > 0 AND r.task = t.id \
         AND r.run_at > $3) ELSE 0 END \
         FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS n(tenant, name, place) \
         JOIN tasks t ON t.tenant = n.tenant AND t.name = n.name CROSS JOIN LATERAL \
         (SELECT coalesce(sum(running), 0)::bigint AS running, coalesce(sum(waiting), 0)::bigint AS waiting, \
         max(latest_failure_at) AS failed_at FROM tally WHERE task = t.id) y"
    );
    let rows = tx.query(&sql, &[&tenants, &names, &now.as_millis()]).await?;
    Ok(rows.iter().filter_map(|row| Some((asked(tasks, row)?.clone(), watched(row)))).collect())
}

/// Returns the question that a row answers: its first column counts them from 1.
fn asked<'a, T>(all: &'a [T], row: &Row) -> Option<&'a T> {
    usize::try_from(row.get::<_, i64>(0) - 1).ok().and_then(|place| all.get(place))
}

fn watched(row: &Row) -> TriggerState {
    let state = TaskState {
        cursor: maybe_instant(row, 1),
        paused: pause(row, 2),
        standing: standing(row, 2),
        fired: number(row, 8),
        memory: row.get(9),
        schedule: row.get(10),
        left_out: row.get(11),
    };
    let alive = u32::try_from(row.get::<_, i64>(13).max(0)).unwrap_or(u32::MAX);
    TriggerState { state, going: Going { failed: maybe_instant(row, 12), alive } }
}

/// See [`crate::Store::run_states`].
pub(super) async fn run_states(tx: &Tx, runs: &[RunKey]) -> Step<BTreeMap<RunKey, AwaitedRunState>> {
    let tenants: Vec<&str> = runs.iter().map(|(task, _)| task.tenant.as_str()).collect();
    let names: Vec<&str> = runs.iter().map(|(task, _)| task.task.as_str()).collect();
    let keys: Vec<_> = runs.iter().map(|(_, key)| text(key)).collect();
    let rows = tx
        .query(
            "SELECT n.place, r.id, r.state, r.outcome, r.over_at \
             FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS n(tenant, name, key, place) \
             JOIN tasks t ON t.tenant = n.tenant AND t.name = n.name \
             JOIN run_keys k ON k.task = t.id AND k.key = n.key JOIN runs r ON r.id = k.run",
            &[&tenants, &names, &keys],
        )
        .await?;
    let mut found = BTreeMap::new();
    for row in &rows {
        if let Some(key) = asked(runs, row) {
            let stands = AwaitedRunState {
                run: RunId(row.get(1)),
                state: state(row, 2)?,
                outcome: maybe_outcome(row, 3)?,
                ended_at: over_at(row, 4),
            };
            found.insert(key.clone(), stands);
        }
    }
    Ok(found)
}

/// See [`crate::Store::update_memory`].
pub(super) async fn update_memory(tx: &mut Tx, remember: &UpdateMemory) -> Step<bool> {
    let mut row = tasks::lock_one(tx, &remember.task).await?;
    let to = text(&remember.to);
    if row.memory != remember.from {
        // If it may have been written before, and the row says so, it was.
        return Ok(tx.doubt && row.memory.as_deref() == Some(&*to));
    }
    row.memory = Some(to.into_owned());
    let pause = remember.pause.as_deref().map(|why| text(why).into_owned());
    let remember = UpdateMemory { pause, ..remember.clone() };
    if pausing::update_memory(&remember, &mut row.cursor, &mut row.paused) {
        tx.events.tell(NewEvent::of_task(EventKind::TaskPaused, remember.now, &remember.task));
        tx.hints.changes = true;
    }
    tasks::write(tx, &row).await?;
    Ok(true)
}
