//! Answers questions of schedules that depend on how earlier runs went.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::codes::WAITING;
use crate::events::EventKind;
use crate::rules::events::NewEvent;
use crate::rules::pausing;
use crate::{AwaitedRunState, RunKey, TaskState, TriggerState, UpdateMemory};
use sexton_domain::run::RunId;
use sexton_domain::schedule::Going;
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

use super::rows::{STANDING_COLUMNS, maybe_instant, maybe_outcome, number, pause, standing, state};
use super::writer::Writing;

/// See [`crate::Store::watch`].
pub(super) fn watch(
    conn: &Connection,
    tasks: Vec<TaskKey>,
    now: Timestamp,
) -> rusqlite::Result<BTreeMap<TaskKey, TriggerState>> {
    // Counts the waiting runs that are due and those that were tried before, each by an index of its own.
    let mut statement = conn.prepare_cached(&format!(
        "SELECT cursor_at, {STANDING_COLUMNS}, fired, memory, latest_failure_at, running + CASE waiting WHEN 0 THEN 0 ELSE \
         (SELECT count(*) FROM runs r WHERE r.state = {WAITING} AND r.task = t.id AND r.run_at <= ?3) + \
         (SELECT count(*) FROM runs r INDEXED BY runs_retrying \
          WHERE r.state = {WAITING} AND r.attempt > 0 AND r.task = t.id AND r.run_at > ?3) END, \
         schedule, left_out \
         FROM tasks t WHERE tenant = ?1 AND name = ?2"
    ))?;
    let mut found = BTreeMap::new();
    for task in tasks {
        let row = statement.query_row(params![task.tenant.as_str(), task.task.as_str(), now.as_millis()], watched);
        if let Some(watched) = row.optional()? {
            found.insert(task, watched);
        }
    }
    Ok(found)
}

fn watched(row: &Row<'_>) -> rusqlite::Result<TriggerState> {
    let state = TaskState {
        cursor: maybe_instant(row, 0)?,
        paused: pause(row, 1)?,
        standing: standing(row, 1)?,
        fired: number(row, 7)?,
        memory: row.get(8)?,
        schedule: row.get(11)?,
        left_out: row.get(12)?,
    };
    Ok(TriggerState { state, going: Going { failed: maybe_instant(row, 9)?, alive: row.get(10)? } })
}

/// See [`crate::Store::run_states`].
pub(super) fn run_states(conn: &Connection, runs: Vec<RunKey>) -> rusqlite::Result<BTreeMap<RunKey, AwaitedRunState>> {
    let mut statement = conn.prepare_cached(
        "SELECT r.id, r.state, r.outcome, r.ended_at FROM tasks t CROSS JOIN runs r ON r.task = t.id AND r.dedup = ?3 \
         WHERE t.tenant = ?1 AND t.name = ?2",
    )?;
    let mut found = BTreeMap::new();
    for key in runs {
        let (task, dedup) = &key;
        let stands = statement
            .query_row(params![task.tenant.as_str(), task.task.as_str(), dedup], |row| {
                Ok(AwaitedRunState {
                    run: RunId(row.get(0)?),
                    state: state(row, 1)?,
                    outcome: maybe_outcome(row, 2)?,
                    ended_at: maybe_instant(row, 3)?,
                })
            })
            .optional()?;
        if let Some(stands) = stands {
            found.insert(key, stands);
        }
    }
    Ok(found)
}

/// See [`crate::Store::update_memory`].
pub(super) fn update_memory(w: &mut Writing, remember: &UpdateMemory) -> bool {
    let id = w.ledger.intern(&remember.task);
    if w.ledger.row(id).memory != remember.from {
        return false;
    }
    let row = w.ledger.change(id);
    row.memory = Some(remember.to.clone());
    if pausing::update_memory(remember, &mut row.cursor, &mut row.paused) {
        w.events.tell(NewEvent::of_task(EventKind::TaskPaused, remember.now, &remember.task));
        w.hints.changes = true;
    }
    true
}
