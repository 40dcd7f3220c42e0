//! Lets the runs of backfills take turns.

use std::collections::BTreeSet;

use async_trait::async_trait;
use const_format::formatcp;
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::errors::Step;
use super::ledger::TaskId;
use super::rows::{maybe_instant, number};
use super::writer::Writing;
use crate::Result;
use crate::backfills::{Backfills, DueRuns, PIECE, TURN_MS, Turns};
use crate::codes::{CANCELLED, RUNNING, SUCCEEDED, WAITING};
use crate::rules::backfills::Starting;
use crate::rules::events::NewEvent;
use crate::rules::runs::due_key;
use sexton_domain::run::{RunId, RunState};
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

/// Selects runs of backfills that are not over, by their index.
const NOT_OVER: &str =
    formatcp!("FROM runs r INDEXED BY runs_backfilling WHERE r.state < {SUCCEEDED} AND r.at_once IS NOT NULL");

#[async_trait]
impl Backfills for SqliteStore {
    async fn take_turns(&self, now: Timestamp) -> Result<Turns> {
        // Mostly no turn has come, and then nothing is written.
        let seen = self.read(look).await?;
        match seen.runs.is_empty() {
            true => Ok(Turns { started: 0, waiting: seen.waiting }),
            false => self.write(move |w| take_turns(w, now)).await,
        }
    }

    async fn due_runs(&self, task: TaskKey, instants: Vec<Timestamp>) -> Result<DueRuns> {
        self.read(move |conn| due_runs(conn, &task, &instants)).await
    }

    async fn cancel_backfill(&self, task: TaskKey, why: &str, now: Timestamp) -> Result<u64> {
        let why = why.to_owned();
        self.write(move |w| cancel(w, &task, &why, now)).await
    }
}

/// Decides whose turn has come. It steps from task to task by index, so that a long backfill costs as much as a short
/// one.
fn look(conn: &Connection) -> rusqlite::Result<Starting<TaskId>> {
    let mut tasks = conn.prepare_cached(formatcp!(
        "WITH RECURSIVE found AS (SELECT min(r.task) AS task {NOT_OVER} \
         UNION ALL SELECT (SELECT min(r.task) {NOT_OVER} AND r.task > found.task) FROM found WHERE task IS NOT NULL) \
         SELECT task FROM found WHERE task IS NOT NULL"
    ))?;
    let tasks = tasks.query_map([], |row| row.get::<_, i64>(0))?;
    let of_task = |task: rusqlite::Result<i64>| {
        let task = task?;
        Ok((TaskId(task), (gone_on(conn, task)?, waits(conn, task)?)))
    };
    Ok(Starting::of(tasks.map(of_task).collect::<rusqlite::Result<Vec<_>>>()?))
}

/// Counts the runs of a task that have had their turn and are not over.
fn gone_on(conn: &Connection, task: i64) -> rusqlite::Result<u64> {
    conn.prepare_cached(formatcp!(
        "SELECT (SELECT count(*) {NOT_OVER} AND r.task = ?1 AND r.run_at < {TURN_MS}) \
         + (SELECT count(*) {NOT_OVER} AND r.task = ?1 AND r.run_at > {TURN_MS})"
    ))?
    .query_row([task], |row| number(row, 0))
}

/// Returns the runs of a task that wait for their turn, first to last.
fn waits(conn: &Connection, task: i64) -> rusqlite::Result<Vec<(RunId, u32)>> {
    conn.prepare_cached(formatcp!(
        "SELECT r.id, r.at_once {NOT_OVER} AND r.task = ?1 AND r.run_at = {TURN_MS} ORDER BY r.id LIMIT {PIECE}"
    ))?
    .query_map([task], |row| Ok((RunId(row.get(0)?), row.get(1)?)))?
    .collect()
}

fn take_turns(w: &mut Writing, now: Timestamp) -> Step<Turns> {
    let Starting { runs, waiting } = look(&w.conn)?;
    let mut started = 0;
    for (task, runs) in runs {
        let mut statement = w.conn.prepare_cached("UPDATE runs SET run_at = ?2 WHERE id = ?1")?;
        for run in runs {
            started += statement.execute(params![run.0, now.as_millis()])? as u64;
        }
        let row = w.ledger.change(task);
        row.not_before = row.not_before.min(now);
        (w.hints.runs, w.hints.changes) = (true, true);
    }
    Ok(Turns { started, waiting })
}

/// Counts the running runs of a task that belong to backfills.
pub(super) fn running(conn: &Connection, task: TaskId) -> rusqlite::Result<i64> {
    conn.prepare_cached(formatcp!(
        "SELECT count(*) {NOT_OVER} AND r.task = ?1 AND r.run_at < {TURN_MS} AND r.state = {RUNNING}"
    ))?
    .query_row([task.0], |row| row.get(0))
}

/// Counts the runs of a task that wait for their turn.
pub(super) fn waiting(conn: &Connection, task: i64) -> rusqlite::Result<u64> {
    conn.prepare_cached(formatcp!("SELECT count(*) {NOT_OVER} AND r.task = ?1 AND r.run_at = {TURN_MS}"))?
        .query_row([task], |row| number(row, 0))
}

fn due_runs(conn: &Connection, task: &TaskKey, instants: &[Timestamp]) -> rusqlite::Result<DueRuns> {
    let row = conn
        .prepare_cached("SELECT id, forgotten_until FROM tasks WHERE tenant = ?1 AND name = ?2")?
        .query_row([task.tenant.as_str(), task.task.as_str()], |row| {
            Ok((row.get::<_, i64>(0)?, maybe_instant(row, 1)?))
        })
        .optional()?;
    let Some((id, forgotten_until)) = row else { return Ok(DueRuns::default()) };
    let mut statement = conn.prepare_cached("SELECT 1 FROM runs WHERE task = ?1 AND dedup = ?2")?;
    let mut found = BTreeSet::new();
    for at in instants {
        if statement.exists(params![id, due_key(*at)])? {
            found.insert(*at);
        }
    }
    Ok(DueRuns { found, forgotten_until })
}

fn cancel(w: &mut Writing, task: &TaskKey, why: &str, now: Timestamp) -> Step<u64> {
    let Some(task) = w.ledger.find(task) else { return Ok(0) };
    let (mut count, mut bytes) = (0, 0);
    {
        let mut statement = w.conn.prepare_cached(formatcp!(
            "UPDATE runs SET state = {CANCELLED}, ended_at = ?2, message = ?3, dedup = NULL WHERE id IN \
             (SELECT r.id {NOT_OVER} AND r.task = ?1 AND r.run_at = {TURN_MS} AND r.state = {WAITING} LIMIT {PIECE}) \
             RETURNING bytes, id"
        ))?;
        let mut rows = statement.query(params![task.0, now.as_millis(), why])?;
        while let Some(row) = rows.next()? {
            count += 1;
            bytes += row.get::<_, i64>(0)?;
            w.events.tell(NewEvent::of_cancelled(now, &w.ledger.row(task).key, RunId(row.get(1)?)));
        }
    }
    if count > 0 {
        let row = w.ledger.change(task);
        for _ in 0..count {
            row.leave(RunState::Waiting);
            row.enter(RunState::Cancelled);
        }
        row.bytes += bytes;
        w.hints.changes = true;
    }
    Ok(count)
}
