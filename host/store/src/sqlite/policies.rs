//! Records which schedule a task has and what it left out, and cancels runs that are too late to start.

use const_format::formatcp;
use rusqlite::params;

use super::errors::Step;
use super::ledger::TaskId;
use super::rows::instant;
use super::writer::Writing;
use crate::ScheduleStart;
use crate::codes::{CANCELLED, WAITING};
use crate::rules::events::NewEvent;
use crate::rules::finish::started_too_late;
use sexton_domain::run::{RunId, RunState};
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

/// See [`crate::Store::begin_schedules`].
pub(super) fn begin_schedules(w: &mut Writing, begun: &[ScheduleStart]) -> Step<()> {
    for ScheduleStart { task, schedule, now } in begun {
        let id = w.ledger.intern(task);
        if w.ledger.row(id).schedule.as_ref() == Some(schedule) {
            continue;
        }
        let row = w.ledger.change(id);
        if row.schedule.replace(schedule.clone()).is_some() {
            row.cursor = row.cursor.max(Some(*now));
            row.fired = 0;
            row.memory = None;
            row.left_out = None;
        }
    }
    Ok(())
}

/// See [`crate::Store::record_missed`].
pub(super) fn record_missed(w: &mut Writing, task: &TaskKey, what: &str) -> Step<()> {
    let id = w.ledger.intern(task);
    w.ledger.change(id).left_out = Some(what.to_owned());
    Ok(())
}

/// See [`crate::Store::cancel_late`]. Costs nothing if no run is late.
pub(super) fn cancel_late(w: &mut Writing, now: Timestamp) -> Step<u64> {
    if w.ledger.start_by().is_none_or(|first| first >= now) {
        return Ok(0);
    }
    let late = w
        .conn
        .prepare_cached(formatcp!(
            "SELECT id, task, bytes, run_at, start_by_at FROM runs INDEXED BY runs_starting_by \
             WHERE state = {WAITING} AND start_by_at < ?1 ORDER BY start_by_at, id"
        ))?
        .query_map([now.as_millis()], |row| {
            Ok((row.get::<_, i64>(0)?, TaskId(row.get(1)?), row.get::<_, i64>(2)?, instant(row, 3)?, instant(row, 4)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for (run, task, bytes, run_at, start_by) in &late {
        let message = started_too_late(*start_by, *run_at);
        w.conn
            .prepare_cached(formatcp!(
                "UPDATE runs SET state = {CANCELLED}, ended_at = ?2, message = ?3 WHERE id = ?1"
            ))?
            .execute(params![run, now.as_millis(), message])?;
        w.events.tell(NewEvent::of_cancelled(now, &w.ledger.row(*task).key, RunId(*run)));
        let row = w.ledger.change(*task);
        row.leave(RunState::Waiting);
        row.enter(RunState::Cancelled);
        row.bytes += bytes;
        w.hints.changes = true;
    }
    w.ledger.look_up_start_by(&w.conn)?;
    Ok(late.len() as u64)
}
