//! Answers the questions of people and the API, by reading only.

use std::collections::BTreeMap;
use std::time::Duration;

use const_format::formatcp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::codes::{SUCCEEDED, WAITING};
use crate::{AttemptInfo, LatestRuns, RunInfo, TaskState};
use sexton_domain::run::{Accounts, CappedText, Output, Report, RunId, RunState};
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

use super::rows::{
    RUN_COLUMNS, STANDING_COLUMNS, instant, maybe_instant, number, outcome, pause, run_info, standing, state_code,
    task_key,
};

/// See [`crate::Store::latest_runs`].
pub(super) fn latest_runs(conn: &Connection, tasks: &[TaskKey]) -> rusqlite::Result<BTreeMap<TaskKey, LatestRuns>> {
    // Each query has an index of its own: neither a long queue nor skipped runs are read through. The latest run may no
    // longer be kept, or have begun before that was recorded.
    let begun = "coalesce((SELECT id FROM runs WHERE id = t.latest_begun), \
         (SELECT max(id) FROM runs INDEXED BY runs_begun WHERE task = t.id AND attempt > 0))";
    let waiting = formatcp!(
        "(SELECT id FROM runs INDEXED BY runs_waiting WHERE task = t.id AND state = {WAITING} AND attempt = 0 \
         ORDER BY run_at, id LIMIT 1)"
    );
    let found = |which: &str| -> rusqlite::Result<Vec<RunInfo>> {
        let mut statement = conn.prepare_cached(&format!(
            "SELECT {RUN_COLUMNS} FROM tasks t CROSS JOIN runs r ON r.id = {which} \
             WHERE t.tenant = ?1 AND t.name = ?2"
        ))?;
        let mut found = Vec::new();
        for task in tasks {
            found.extend(statement.query_row([task.tenant.as_str(), task.task.as_str()], run_info).optional()?);
        }
        Ok(found)
    };
    Ok(LatestRuns::of(found(begun)?, found(waiting)?))
}

/// See [`crate::Store::run`].
pub(super) fn run(conn: &Connection, run: RunId) -> rusqlite::Result<Option<RunInfo>> {
    conn.prepare_cached(&format!("SELECT {RUN_COLUMNS} FROM runs r JOIN tasks t ON t.id = r.task WHERE r.id = ?1"))?
        .query_row([run.0], run_info)
        .optional()
}

/// See [`crate::Store::input`].
pub(super) fn input(conn: &Connection, run: RunId) -> rusqlite::Result<Option<Vec<u8>>> {
    conn.prepare_cached("SELECT i.body FROM runs r LEFT JOIN inputs i ON i.run = r.id WHERE r.id = ?1")?
        .query_row([run.0], |row| Ok(row.get::<_, Option<Vec<u8>>>(0)?.unwrap_or_default()))
        .optional()
}

/// See [`crate::Store::output`].
pub(super) fn output(conn: &Connection, run: RunId) -> rusqlite::Result<Option<Output>> {
    conn.prepare_cached(formatcp!(
        "SELECT o.content_type, o.body FROM runs r LEFT JOIN outputs o ON o.run = r.id WHERE r.id = ?1 \
         AND r.state = {SUCCEEDED}"
    ))?
    .query_row([run.0], |row| {
        Ok(Output { content_type: row.get(0)?, body: row.get::<_, Option<Vec<u8>>>(1)?.unwrap_or_default() })
    })
    .optional()
}

/// See [`crate::Store::latest_success`].
pub(super) fn latest_success(conn: &Connection, task: &TaskKey) -> rusqlite::Result<Option<(RunId, Timestamp)>> {
    conn.prepare_cached("SELECT latest_success, latest_success_at FROM tasks WHERE tenant = ?1 AND name = ?2")?
        .query_row([task.tenant.as_str(), task.task.as_str()], |row| {
            Ok(row.get::<_, Option<i64>>(0)?.map(RunId).zip(maybe_instant(row, 1)?))
        })
        .optional()
        .map(Option::flatten)
}

/// See [`crate::Store::attempts`].
pub(super) fn attempts(conn: &Connection, run: RunId) -> rusqlite::Result<Vec<AttemptInfo>> {
    conn.prepare_cached(&format!(
        "SELECT {ATTEMPT_COLUMNS} \
         FROM attempts a LEFT JOIN logs l ON l.run = a.run AND l.attempt = a.attempt WHERE a.run = ?1 ORDER BY a.attempt",
    ))?
    .query_map([run.0], attempt)?
    .collect()
}

/// Columns that [`attempt`] reads of an attempt `a` and its logs `l`, in its order.
pub(super) const ATTEMPT_COLUMNS: &str = "a.attempt, a.host, a.outcome, a.started_at, a.ended_at, a.message, a.fuel, \
     a.peak_memory, a.guest_us, a.host_us, a.queued_us, a.lock_wait_us, a.host_calls, a.bytes_in, a.bytes_out, l.backtrace, \
     l.log, l.log_cut, l.stdout, l.stdout_cut, l.stderr, l.stderr_cut";

/// Builds an attempt from a row of [`ATTEMPT_COLUMNS`].
pub(super) fn attempt(row: &Row<'_>) -> rusqlite::Result<AttemptInfo> {
    let kept = |column| -> rusqlite::Result<CappedText> {
        Ok(CappedText {
            text: row.get::<_, Option<String>>(column)?.unwrap_or_default(),
            cut: row.get::<_, Option<bool>>(column + 1)?.unwrap_or_default(),
        })
    };
    Ok(AttemptInfo {
        attempt: row.get(0)?,
        host: row.get(1)?,
        report: Report {
            outcome: outcome(row, 2)?,
            started_at: instant(row, 3)?,
            ended_at: instant(row, 4)?,
            message: row.get(5)?,
            accounts: Accounts {
                fuel: number(row, 6)?,
                peak_memory: number(row, 7)?,
                guest: Duration::from_micros(number(row, 8)?),
                host: Duration::from_micros(number(row, 9)?),
                queued: Duration::from_micros(number(row, 10)?),
                lock_wait: Duration::from_micros(number(row, 11)?),
                host_calls: number(row, 12)?,
                bytes_in: number(row, 13)?,
                bytes_out: number(row, 14)?,
            },
            backtrace: row.get(15)?,
            log: kept(16)?,
            stdout: kept(18)?,
            stderr: kept(20)?,
        },
    })
}

/// See [`crate::Store::counts`].
pub(super) fn counts(conn: &Connection) -> rusqlite::Result<BTreeMap<RunState, u64>> {
    conn.prepare_cached(
        "SELECT total(waiting), total(running), total(succeeded), total(failed), total(cancelled) FROM tasks",
    )?
    .query_row([], |row| {
        // `total` returns a float, which is exact far beyond any number of runs, and 0 without rows.
        RunState::ALL.iter().enumerate().map(|(place, state)| Ok((*state, row.get::<_, f64>(place)? as u64))).collect()
    })
}

/// See [`crate::history::History::count`].
pub(super) fn count(conn: &Connection, task: &TaskKey, state: RunState) -> rusqlite::Result<u64> {
    conn.prepare_cached(
        "SELECT waiting, running, succeeded, failed, cancelled FROM tasks WHERE tenant = ?1 AND name = ?2",
    )?
    .query_row(params![task.tenant.as_str(), task.task.as_str()], |row| number(row, state_code(state) as usize))
    .optional()
    .map(Option::unwrap_or_default)
}

/// Returns the query for the rows that [`state`] reads.
fn select() -> String {
    format!("SELECT tenant, name, cursor_at, {STANDING_COLUMNS}, fired, memory, schedule, left_out FROM tasks t")
}

/// Condition for a task that has a state.
const HAS_STATE: &str = "(cursor_at IS NOT NULL OR schedule IS NOT NULL OR paused OR failures > 0 OR crashes > 0)";

/// See [`crate::tasks::Tasks::task_states`].
pub(super) fn task_states(conn: &Connection) -> rusqlite::Result<BTreeMap<TaskKey, TaskState>> {
    conn.prepare_cached(&format!("{} WHERE {HAS_STATE}", select()))?.query_map([], state)?.collect()
}

/// See [`crate::tasks::Tasks::task_state`].
pub(super) fn task_state(conn: &Connection, task: &TaskKey) -> rusqlite::Result<Option<TaskState>> {
    Ok(task_states_of(conn, std::slice::from_ref(task))?.remove(task))
}

/// See [`crate::tasks::Tasks::task_states_of`].
pub(super) fn task_states_of(conn: &Connection, tasks: &[TaskKey]) -> rusqlite::Result<BTreeMap<TaskKey, TaskState>> {
    let mut statement =
        conn.prepare_cached(&format!("{} WHERE tenant = ?1 AND name = ?2 AND {HAS_STATE}", select()))?;
    let mut found = BTreeMap::new();
    for task in tasks {
        found.extend(statement.query_row([task.tenant.as_str(), task.task.as_str()], state).optional()?);
    }
    Ok(found)
}

fn state(row: &Row<'_>) -> rusqlite::Result<(TaskKey, TaskState)> {
    let state = TaskState {
        cursor: maybe_instant(row, 2)?,
        fired: number(row, 9)?,
        memory: row.get(10)?,
        schedule: row.get(11)?,
        left_out: row.get(12)?,
        paused: pause(row, 3)?,
        standing: standing(row, 3)?,
    };
    Ok((task_key(row, 0)?, state))
}
