//! Deletes history. A reader finds the runs to delete, so that the writer only deletes, a bounded piece at a time.

use const_format::formatcp;
use rusqlite::{Connection, OptionalExtension, params};

use super::errors::Step;
use super::ledger::TaskId;
use super::rows::{instant, state, to_sql};
use super::writer::Writing;
use crate::codes::RUNNING;
use crate::rules::retention::{ATTEMPTS, LOOK_BEHIND};
use crate::rules::runs::is_due_key;
use crate::{ROW_BYTES, Retention};
use sexton_domain::run::{ClaimKey, RunId};
use sexton_domain::time::Timestamp;

/// Runs (or entries) that are deleted in one command: about 2 ms of the writer's time, for which all others wait.
pub(super) const PIECE: usize = 128;

/// A task, with what it has beyond `retention`.
struct Task {
    id: i64,
    /// Excess runs.
    runs: i64,
    /// Excess bytes.
    bytes: i64,
    latest_success: Option<i64>,
}

/// Finds up to `limit` runs to delete: the oldest of each task, by number, by age and by bytes.
pub(super) fn surplus(
    conn: &Connection,
    retention: &Retention,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<RunId>> {
    let tasks = conn
        .prepare_cached(
            "SELECT id, succeeded + failed + cancelled - ?1, bytes - ?2, latest_success FROM tasks \
             WHERE succeeded + failed + cancelled > 0",
        )?
        .query_map([to_sql(retention.runs), to_sql(retention.bytes)], |row| {
            Ok(Task { id: row.get(0)?, runs: row.get(1)?, bytes: row.get(2)?, latest_success: row.get(3)? })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut found = Vec::new();
    for task in tasks {
        surplus_of(conn, task, now.minus(retention.age), limit, &mut found)?;
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

fn surplus_of(
    conn: &Connection,
    mut task: Task,
    oldest: Timestamp,
    limit: usize,
    found: &mut Vec<RunId>,
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached(formatcp!(
        "SELECT id, ended_at, bytes FROM runs INDEXED BY runs_of_task WHERE task = ?1 AND state > {RUNNING} \
         ORDER BY id"
    ))?;
    let mut rows = statement.query([task.id])?;
    let mut stay = 0;
    while let Some(row) = rows.next()?
        && found.len() < limit
        && stay < LOOK_BEHIND
    {
        let (run, ended_at, bytes) = (row.get::<_, i64>(0)?, instant(row, 1)?, row.get::<_, i64>(2)?);
        let too_many = task.runs > 0 || task.bytes > 0;
        if !too_many && ended_at > oldest {
            stay += 1;
            continue;
        }
        // The latest success counts as deleted although it stays: it costs no other run its place.
        task.runs -= 1;
        task.bytes -= bytes;
        if task.latest_success != Some(run) {
            found.push(RunId(run));
        }
    }
    Ok(())
}

/// Deletes attempts between the first one at a run and its latest [`ATTEMPTS`], that of `claim` included. Returns the
/// bytes that were kept of them.
pub(super) fn forget_attempts(conn: &Connection, claim: ClaimKey) -> rusqlite::Result<i64> {
    if claim.attempt <= ATTEMPTS + 1 {
        return Ok(0);
    }
    // There is more than one only if an earlier version has kept them all.
    let gone = conn
        .prepare_cached(
            "DELETE FROM attempts WHERE run = ?1 AND attempt IN (SELECT attempt FROM attempts \
             WHERE run = ?1 AND attempt > 1 AND attempt <= ?2 ORDER BY attempt LIMIT ?3) RETURNING attempt",
        )?
        .query_map(params![claim.run.0, claim.attempt - ATTEMPTS, to_sql(PIECE)], |row| row.get::<_, i64>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut bytes = 0;
    let mut logs = conn.prepare_cached(
        "DELETE FROM logs WHERE run = ?1 AND attempt = ?2 RETURNING length(CAST(log AS BLOB)) \
         + length(CAST(stdout AS BLOB)) + length(CAST(stderr AS BLOB)) + coalesce(length(CAST(backtrace AS BLOB)), 0)",
    )?;
    for attempt in gone {
        let freed = logs.query_row(params![claim.run.0, attempt], |row| row.get::<_, i64>(0)).optional()?;
        bytes += freed.map_or(0, |freed| freed + ROW_BYTES);
    }
    Ok(bytes)
}

/// Deletes runs that are over, and all that belongs to them. Returns their number.
pub(super) fn delete(w: &mut Writing, runs: &[RunId]) -> Step<u64> {
    let mut gone = 0;
    for run in runs {
        let row = w
            .conn
            .prepare_cached(formatcp!(
                "DELETE FROM runs WHERE id = ?1 AND state > {RUNNING} RETURNING task, state, bytes, attempt, dedup, due_at"
            ))?
            .query_row([run.0], |row| {
                let key: Option<String> = row.get(4)?;
                let due = key.filter(|key| is_due_key(key)).map(|_| instant(row, 5)).transpose()?;
                Ok((TaskId(row.get(0)?), state(row, 1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?, due))
            })
            .optional()?;
        let Some((task, state, bytes, attempts, due)) = row else { continue };
        if attempts > 0 {
            w.conn.prepare_cached("DELETE FROM attempts WHERE run = ?1")?.execute(params![run.0])?;
        }
        if bytes > 0 {
            for table in [
                "DELETE FROM inputs WHERE run = ?1",
                "DELETE FROM outputs WHERE run = ?1",
                "DELETE FROM logs WHERE run = ?1",
            ] {
                w.conn.prepare_cached(table)?.execute([run.0])?;
            }
        }
        let task = w.ledger.change(task);
        task.forgotten_until = task.forgotten_until.max(due);
        task.leave(state);
        task.bytes -= bytes;
        gone += 1;
    }
    w.hints.changes |= gone > 0;
    Ok(gone)
}
