//! Makes runs, and cancels them.

use const_format::formatcp;
use rusqlite::{OptionalExtension, params};

use super::backfills;
use super::errors::Step;
use super::ledger::TaskId;
use super::rows::{cause_code, outcome_code, state, state_code, to_sql};
use super::writer::Writing;
use crate::codes::{CANCELLED, RUNNING, WAITING};
use crate::rules::events::NewEvent;
use crate::{Admit, Cancelled, EnqueueOutcome, Fire, FireOutcome, NewRun, ROW_BYTES, StoreError};
use sexton_domain::run::{Outcome, RunId, RunState, replaced_by};
use sexton_domain::supervision::bypasses_brake;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// See [`crate::Store::enqueue`].
pub(super) fn enqueue(w: &mut Writing, runs: &[NewRun], now: Timestamp) -> Step<Vec<EnqueueOutcome>> {
    runs.iter().map(|run| enqueue_one(w, run, now)).collect()
}

/// See [`crate::Store::fire`].
pub(super) fn fire(w: &mut Writing, fire: &Fire) -> Step<FireOutcome> {
    let id = w.ledger.intern(&fire.task);
    if fire.expect.is_some_and(|expected| expected != w.ledger.row(id).fired) {
        return Ok(FireOutcome::Stale);
    }
    // Another host may have dealt with later instants already.
    if w.ledger.row(id).cursor.is_none_or(|before| before < fire.cursor) {
        w.ledger.change(id).cursor = Some(fire.cursor);
    }
    if w.ledger.is_paused(w.ledger.row(id)) {
        return Ok(FireOutcome::Paused);
    }
    let made = enqueue(w, &fire.runs, fire.now)?;
    let new = made.iter().filter(|made| !matches!(made, EnqueueOutcome::Existing(_))).count();
    if new > 0 || fire.memory.is_some() {
        let row = w.ledger.change(id);
        row.fired += new as u64;
        row.memory = fire.memory.clone().or(row.memory.take());
    }
    Ok(FireOutcome::Made(made))
}

pub(super) fn enqueue_one(w: &mut Writing, run: &NewRun, now: Timestamp) -> Step<EnqueueOutcome> {
    let task = w.ledger.intern(&run.task);
    if let Some(existing) = existing(w, task, run)? {
        return Ok(EnqueueOutcome::Existing(existing));
    }
    let skipped = match run.admit {
        Admit::Always | Admit::Replacing => None,
        Admit::Below(most) => {
            let others = not_over(w, task, i64::from(most), now)?;
            (others >= i64::from(most)).then(|| Admit::skipped(others))
        }
    };
    let id = w.ledger.next_run();
    let ended = match run.admit {
        Admit::Replacing => replace(w, task, id, now)?,
        _ => Vec::new(),
    };
    let entered = if skipped.is_some() { RunState::Cancelled } else { RunState::Waiting };
    let bytes = if run.input.is_empty() { 0 } else { to_sql(run.input.len()) + ROW_BYTES };
    let tenant = w.ledger.tenant(&w.conn, &run.task.tenant)?;
    let labels = w.ledger.label_set(&w.conn, tenant, &run.labels)?;
    w.conn
        .prepare_cached(
            "INSERT INTO runs (id, task, state, cause, attempt, failures, bytes, due_at, run_at, created_at, ended_at, \
             parent, dedup, message, note, start_by_at, forced, schedule, outcome, at_once, tenant, labels) \
             VALUES (?1, ?2, ?3, ?4, 0, 0, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
        )?
        .execute(params![
            id.0,
            task.0,
            state_code(entered),
            cause_code(run.cause),
            bytes,
            run.due_at.as_millis(),
            run.run_at.as_millis(),
            now.as_millis(),
            skipped.as_ref().map(|_| now.as_millis()),
            run.parent.map(|parent| parent.0),
            run.dedup.as_deref(),
            skipped.as_deref(),
            run.note.as_deref(),
            run.start_by.map(Timestamp::as_millis),
            run.forced,
            run.schedule.as_ref().map(Name::as_str),
            skipped.as_ref().map(|_| outcome_code(Outcome::Skipped)),
            run.at_once,
            tenant,
            labels,
        ])?;
    if let Some(start_by) = run.start_by.filter(|_| skipped.is_none()) {
        w.ledger.starts_by(start_by);
    }
    if bytes > 0 {
        w.conn.prepare_cached("INSERT INTO inputs (run, body) VALUES (?1, ?2)")?.execute(params![id.0, run.input])?;
    }
    w.events.tell(NewEvent::of_new_run(now, &run.task, id, skipped.is_some()));
    let row = w.ledger.change(task);
    row.enter(entered);
    w.hints.changes = true;
    if skipped.is_some() {
        row.bytes += bytes;
        return Ok(EnqueueOutcome::Skipped(id));
    }
    row.not_before = row.not_before.min(run.run_at);
    if bypasses_brake(run.cause, 0) {
        row.held_not_before = row.held_not_before.min(run.run_at);
    }
    w.hints.runs = true;
    Ok(if ended.is_empty() { EnqueueOutcome::New(id) } else { EnqueueOutcome::Replacing { run: id, ended } })
}

/// Returns the run of the task that was made with the same key, if `run` has one.
fn existing(w: &Writing, task: TaskId, run: &NewRun) -> rusqlite::Result<Option<RunId>> {
    let Some(key) = &run.dedup else { return Ok(None) };
    w.conn
        .prepare_cached("SELECT id FROM runs WHERE task = ?1 AND dedup = ?2")?
        .query_row(params![task.0, key], |row| row.get(0).map(RunId))
        .optional()
}

/// Cancels all runs of a task that are not over, in the sense of [`Admit`], in favour of the run `by`. Returns them. Runs
/// of backfills stay.
fn replace(w: &mut Writing, task: TaskId, by: RunId, now: Timestamp) -> rusqlite::Result<Vec<RunId>> {
    let reason = replaced_by(by);
    let mut ended = Vec::new();
    if w.ledger.row(task).count(RunState::Waiting) > 0 {
        let mut bytes = 0;
        // Each condition has an index and a statement of its own, so that of a long list of later runs only these are
        // read.
        for which in ["run_at <= ?3", "attempt > 0 AND run_at > ?3"] {
            let mut statement = w.conn.prepare_cached(&format!(
                "UPDATE runs SET state = {CANCELLED}, ended_at = ?3, message = ?2 \
                 WHERE state = {WAITING} AND task = ?1 AND {which} AND at_once IS NULL RETURNING id, bytes"
            ))?;
            let mut rows = statement.query(params![task.0, reason, now.as_millis()])?;
            while let Some(row) = rows.next()? {
                ended.push(RunId(row.get(0)?));
                bytes += row.get::<_, i64>(1)?;
            }
        }
        for cancelled in &ended {
            w.events.tell(NewEvent::of_cancelled(now, &w.ledger.row(task).key, *cancelled));
        }
        let row = w.ledger.change(task);
        for _ in &ended {
            row.leave(RunState::Waiting);
            row.enter(RunState::Cancelled);
        }
        row.bytes += bytes;
    }
    if w.ledger.row(task).count(RunState::Running) > 0 {
        // The first reason stays, but the run is returned again: its host may have missed the first request.
        let mut statement = w.conn.prepare_cached(formatcp!(
            "UPDATE runs INDEXED BY runs_running SET cancel = coalesce(cancel, ?2) WHERE state = {RUNNING} \
             AND task = ?1 AND at_once IS NULL RETURNING id"
        ))?;
        let mut rows = statement.query(params![task.0, reason])?;
        while let Some(row) = rows.next()? {
            ended.push(RunId(row.get(0)?));
        }
    }
    ended.sort_unstable();
    Ok(ended)
}

/// Counts the runs of a task that are not over, in the sense of [`Admit`], without those of backfills; counting stops at
/// `most`.
fn not_over(w: &Writing, task: TaskId, most: i64, now: Timestamp) -> rusqlite::Result<i64> {
    let row = w.ledger.row(task);
    let (mut count, waiting) = (row.count(RunState::Running), row.count(RunState::Waiting));
    if count > 0 {
        count -= backfills::running(&w.conn, task)?;
    }
    if count >= most || waiting == 0 {
        return Ok(count.min(most));
    }
    count += w
        .conn
        .prepare_cached(formatcp!(
            "SELECT count(*) FROM (SELECT 1 FROM runs WHERE state = {WAITING} AND task = ?1 AND run_at <= ?2 \
             AND at_once IS NULL LIMIT ?3)"
        ))?
        .query_row(params![task.0, now.as_millis(), most - count], |row| row.get::<_, i64>(0))?;
    if count >= most {
        return Ok(count);
    }
    count += w
        .conn
        .prepare_cached(formatcp!(
            "SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_retrying \
             WHERE state = {WAITING} AND attempt > 0 AND task = ?1 AND run_at > ?2 AND at_once IS NULL LIMIT ?3)"
        ))?
        .query_row(params![task.0, now.as_millis(), most - count], |row| row.get::<_, i64>(0))?;
    Ok(count)
}

/// See [`crate::Store::cancel`].
pub(super) fn cancel(w: &mut Writing, run: RunId, reason: &str, now: Timestamp) -> Step<Cancelled> {
    let (task, found, bytes) = w
        .conn
        .prepare_cached("SELECT task, state, bytes FROM runs WHERE id = ?1")?
        .query_row([run.0], |row| Ok((TaskId(row.get(0)?), state(row, 1)?, row.get::<_, i64>(2)?)))
        .optional()?
        .ok_or(StoreError::NoRun(run))?;
    match found {
        RunState::Waiting => {
            w.conn
                .prepare_cached(formatcp!(
                    "UPDATE runs SET state = {CANCELLED}, ended_at = ?2, message = ?3 WHERE id = ?1"
                ))?
                .execute(params![run.0, now.as_millis(), reason])?;
            w.events.tell(NewEvent::of_cancelled(now, &w.ledger.row(task).key, run));
            let row = w.ledger.change(task);
            row.leave(RunState::Waiting);
            row.enter(RunState::Cancelled);
            row.bytes += bytes;
            w.hints.changes = true;
            Ok(Cancelled::Done)
        }
        RunState::Running => {
            // The first reason stays.
            w.conn
                .prepare_cached("UPDATE runs SET cancel = ?2 WHERE id = ?1 AND cancel IS NULL")?
                .execute(params![run.0, reason])?;
            w.hints.changes = true;
            Ok(Cancelled::Requested)
        }
        over => Ok(Cancelled::Over(over)),
    }
}
