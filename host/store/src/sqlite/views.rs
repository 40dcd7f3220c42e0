//! Reads views over several runs.

use async_trait::async_trait;
use const_format::formatcp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::rows::{cause, instant, maybe_instant, outcome, state, task_key, to_sql};
use crate::Result;
use crate::codes::{CANCELLED, DEMAND, FAILED, SKIPPED_OUTCOME};
use crate::rules::runs::{CONTINUES, child_kind};
use crate::runs::SKIPPED;
use crate::views::{Child, MESSAGE, RunTimes, Views, Window};
use sexton_domain::run::RunId;
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

#[async_trait]
impl Views for SqliteStore {
    async fn window(&self, task: TaskKey, since: Timestamp, limit: usize) -> Result<Window> {
        self.read(move |conn| window(conn, &task, since, limit)).await
    }

    async fn children(&self, run: RunId, limit: usize) -> Result<Vec<Child>> {
        self.read(move |conn| children(conn, run, limit)).await
    }
}

/// Whether a run was skipped. Before the outcome `skipped` was known, the message said so.
const WAS_SKIPPED: &str = formatcp!(
    "coalesce(r.outcome = {SKIPPED_OUTCOME}, false) \
     OR r.state = {CANCELLED} AND coalesce(r.message, '') LIKE '{SKIPPED}%'"
);

/// Reads a task's runs, newest first, by index; the caller stops when it has enough. The first attempt's start is looked
/// up only for a run that was tried again.
const WINDOW: &str = formatcp!(
    "SELECT r.id, r.state, r.cause, r.due_at, r.created_at, \
     CASE WHEN r.attempt > 1 THEN (SELECT a.started_at FROM attempts a WHERE a.run = r.id AND a.attempt = 1) \
     ELSE r.claimed_at END, r.claimed_at, r.ended_at, r.outcome, \
     CASE WHEN r.state = {FAILED} THEN substr(r.message, 1, {MESSAGE}) END, \
     {WAS_SKIPPED}, \
     r.at_once IS NOT NULL OR (r.parent IS NOT NULL AND r.cause = {DEMAND}) \
     FROM runs r INDEXED BY runs_of_task WHERE r.task = ?1 ORDER BY r.id DESC LIMIT ?2"
);

fn window(conn: &Connection, task: &TaskKey, since: Timestamp, limit: usize) -> rusqlite::Result<Window> {
    let id = conn
        .prepare_cached("SELECT id FROM tasks WHERE tenant = ?1 AND name = ?2")?
        .query_row([task.tenant.as_str(), task.task.as_str()], |row| row.get::<_, i64>(0))
        .optional()?;
    let Some(id) = id else { return Ok(Window::default()) };
    let mut window = Window::default();
    let mut statement = conn.prepare_cached(WINDOW)?;
    let mut rows = statement.query(params![id, to_sql(limit.saturating_add(1))])?;
    while let Some(row) = rows.next()? {
        let run = times(row)?;
        // Runs are numbered in the order in which they are made, so that those before it were made earlier.
        if run.created_at < since {
            break;
        }
        if window.runs.len() == limit {
            window.cut = true;
            break;
        }
        window.runs.push(run);
    }
    Ok(window)
}

fn times(row: &Row<'_>) -> rusqlite::Result<RunTimes> {
    let outcome = match row.get_ref(8)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(outcome(row, 8)?),
    };
    Ok(RunTimes {
        run: RunId(row.get(0)?),
        state: state(row, 1)?,
        cause: cause(row, 2)?,
        due_at: instant(row, 3)?,
        created_at: instant(row, 4)?,
        started_at: maybe_instant(row, 5)?,
        claimed_at: maybe_instant(row, 6)?,
        ended_at: maybe_instant(row, 7)?,
        outcome,
        message: row.get(9)?,
        skipped: row.get(10)?,
        belated: row.get(11)?,
    })
}

fn children(conn: &Connection, run: RunId, limit: usize) -> rusqlite::Result<Vec<Child>> {
    conn.prepare_cached(formatcp!(
        "SELECT r.id, t.tenant, t.name, r.state, r.cause, coalesce(r.dedup LIKE '{CONTINUES}%', false), r.created_at \
         FROM runs r INDEXED BY runs_of_parent CROSS JOIN tasks t ON t.id = r.task WHERE r.parent = ?1 \
         ORDER BY r.id LIMIT ?2"
    ))?
    .query_map(params![run.0, to_sql(limit)], |row| {
        Ok(Child {
            run: RunId(row.get(0)?),
            task: task_key(row, 1)?,
            state: state(row, 3)?,
            kind: child_kind(cause(row, 4)?, row.get(5)?),
            created_at: instant(row, 6)?,
        })
    })?
    .collect()
}
