//! Answers the questions of people and the API, by reading only.

use std::collections::BTreeMap;
use std::time::Duration;

use const_format::formatcp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::codes::{RUNNING, SUCCEEDED, WAITING};
use crate::{AttemptInfo, LatestRuns, RunFilter, RunInfo, TaskState};
use sexton_domain::run::{Accounts, CappedText, Output, Report, RunId, RunState};
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

use super::rows::{
    RUN_COLUMNS, STANDING_COLUMNS, instant, maybe_instant, number, outcome, pause, run_info, standing, state_code,
    task_key, to_sql,
};

/// Newest runs of all tenants that are searched for those of one, before each of its tasks is read.
const SEEN: usize = 500;

/// Columns of a task with the numbers of its runs, each at the place of its state.
const SUMS: [&str; 5] = ["waiting", "running", "succeeded", "failed", "cancelled"];

/// See [`crate::Store::runs`].
pub(super) fn runs(conn: &Connection, filter: &RunFilter) -> rusqlite::Result<Vec<RunInfo>> {
    let ids = match (&filter.tenant, &filter.task) {
        (None, None) => newest(conn, filter)?,
        (Some(tenant), None) => newest_of_tenant(conn, filter, tenant)?,
        (_, Some(_)) => newest_of_tasks(conn, filter)?,
    };
    ids.into_iter().filter_map(|id| run(conn, RunId(id)).transpose()).collect()
}

/// Returns how runs that a filter lets pass are read: by an index of their own if they are few, otherwise by `over`; and
/// the condition that they meet, in which `?1` is the id before which they are.
fn selection(filter: &RunFilter, over: &'static str) -> (&'static str, String) {
    let (index, state) = match filter.state {
        Some(RunState::Waiting) => ("INDEXED BY runs_waiting", format!("r.state = {WAITING}")),
        Some(RunState::Running) => ("INDEXED BY runs_running", format!("r.state = {RUNNING}")),
        Some(state) => (over, format!("r.state = {}", state_code(state))),
        None => (over, "true".to_owned()),
    };
    let begun = if filter.begun { " AND r.attempt > 0" } else { "" };
    (index, format!("r.id < ?1 AND {state}{begun}"))
}

/// Returns the id before which the runs of a page are.
fn before(filter: &RunFilter) -> i64 {
    filter.before.map_or(i64::MAX, |run| run.0)
}

/// Finds the newest runs of all tenants.
fn newest(conn: &Connection, filter: &RunFilter) -> rusqlite::Result<Vec<i64>> {
    let (index, condition) = selection(filter, "NOT INDEXED");
    conn.prepare_cached(&format!("SELECT r.id FROM runs r {index} WHERE {condition} ORDER BY r.id DESC LIMIT ?2"))?
        .query_map([before(filter), to_sql(filter.limit)], |row| row.get(0))?
        .collect()
}

/// Finds the newest runs of a tenant, which may have any number of tasks.
fn newest_of_tenant(conn: &Connection, filter: &RunFilter, tenant: &Name) -> rusqlite::Result<Vec<i64>> {
    let (index, condition) = selection(filter, "NOT INDEXED");
    let select = format!("FROM runs r {index} CROSS JOIN tasks t ON t.id = r.task WHERE {condition}");
    match filter.state {
        // They are few, and read all.
        Some(RunState::Waiting | RunState::Running) => {
            let sql = format!("SELECT r.id {select} AND t.tenant = ?3 ORDER BY r.id DESC LIMIT ?2");
            conn.prepare_cached(&sql)?
                .query_map(params![before(filter), to_sql(filter.limit), tenant.as_str()], |row| row.get(0))?
                .collect()
        }
        // They may be far apart in the history.
        Some(_) => newest_of_tasks(conn, filter),
        None => {
            // Most of the newest runs are usually its own.
            let most = filter.limit.saturating_mul(2).max(SEEN);
            let mut statement =
                conn.prepare_cached(&format!("SELECT r.id, t.tenant {select} ORDER BY r.id DESC LIMIT ?2"))?;
            let mut rows = statement.query([before(filter), to_sql(most)])?;
            let (mut found, mut seen) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                seen += 1;
                if row.get_ref(1)?.as_str()? == tenant.as_str() {
                    found.push(row.get(0)?);
                    if found.len() == filter.limit {
                        return Ok(found);
                    }
                }
            }
            if seen < most { Ok(found) } else { newest_of_tasks(conn, filter) }
        }
    }
}

/// Finds the newest runs of the tasks that a filter names, by reading each of those that have such runs.
fn newest_of_tasks(conn: &Connection, filter: &RunFilter) -> rusqlite::Result<Vec<i64>> {
    let (tenant, task) = (filter.tenant.as_ref().map(Name::as_str), filter.task.as_ref().map(Name::as_str));
    // A comparison with what may be absent would keep the statement from finding the tasks by their index.
    let named = |column: &str, place: u8, name: Option<&str>| match name {
        Some(_) => format!("{column} = ?{place}"),
        None => format!("?{place} IS NULL"),
    };
    let (of_tenant, of_task) = (named("tenant", 1, tenant), named("name", 2, task));
    let sum = filter.state.map_or_else(|| SUMS.join(" + "), |state| SUMS[state_code(state) as usize].to_owned());
    let tasks = conn
        .prepare_cached(&format!("SELECT id FROM tasks WHERE {of_tenant} AND {of_task} AND {sum} > 0"))?
        .query_map([tenant, task], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    let by_task = if filter.begun { "INDEXED BY runs_begun" } else { "INDEXED BY runs_of_task" };
    let (index, condition) = selection(filter, by_task);
    let sql = format!("SELECT r.id FROM runs r {index} WHERE {condition} AND r.task = ?3 ORDER BY r.id DESC LIMIT ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut found: Vec<i64> = Vec::new();
    for task in tasks {
        for run in statement.query_map([before(filter), to_sql(filter.limit), task], |row| row.get(0))? {
            found.push(run?);
        }
    }
    found.sort_unstable_by_key(|run| std::cmp::Reverse(*run));
    found.truncate(filter.limit);
    Ok(found)
}

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
