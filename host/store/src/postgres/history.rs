//! Answers the questions of people and the API, by reading only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use const_format::formatcp;
use tokio_postgres::Row;

use crate::codes::{SUCCEEDED, WAITING, state_code};
use crate::{AttemptInfo, LatestRuns, RunInfo, TaskState};
use sexton_domain::run::{Accounts, CappedText, Output, Report, RunId, RunState};
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

use super::errors::Step;
use super::rows::{PAUSE_OF_MANY, RUN_COLUMNS, instant, maybe_instant, number, outcome, run_info, small, task_key};
use super::schema::NOT_OVER;
use super::tasks::{STANDING_COLUMNS, pause, standing};
use super::tx::Tx;

/// See [`crate::Store::latest_runs`].
pub(super) async fn latest_runs(tx: &Tx, tasks: &[TaskKey]) -> Step<BTreeMap<TaskKey, LatestRuns>> {
    let all: Vec<&TaskKey> = tasks.iter().collect();
    let latest = "SELECT r.* FROM (SELECT y.latest_begun FROM tally y WHERE y.task = t.id AND y.latest_begun IS NOT NULL \
         ORDER BY y.latest_begun_at DESC, y.latest_begun DESC LIMIT 1) b JOIN runs r ON r.id = b.latest_begun";
    let mut begun = of_tasks(tx, &all, latest).await?;
    // The tasks whose latest run is no longer kept, or began before that was recorded.
    let known: BTreeSet<&TaskKey> = begun.iter().map(|run| &run.task).collect();
    let others: Vec<&TaskKey> = tasks.iter().filter(|task| !known.contains(task)).collect();
    let newest = "SELECT * FROM runs WHERE task = t.id AND attempt > 0 ORDER BY -id LIMIT 1";
    let others = of_tasks(tx, &others, newest).await?;
    begun.extend(others);
    let waiting = formatcp!(
        "SELECT * FROM runs WHERE task = t.id AND over_at = {NOT_OVER} AND state = {WAITING} AND attempt = 0 \
         ORDER BY run_at, id LIMIT 1"
    );
    Ok(LatestRuns::of(begun, of_tasks(tx, &all, waiting).await?))
}

/// Returns the run that `which` selects of each of `tasks`.
async fn of_tasks(tx: &Tx, tasks: &[&TaskKey], which: &str) -> Step<Vec<RunInfo>> {
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    let tenants: Vec<&str> = tasks.iter().map(|task| task.tenant.as_str()).collect();
    let names: Vec<&str> = tasks.iter().map(|task| task.task.as_str()).collect();
    let sql = format!(
        "SELECT {RUN_COLUMNS} FROM unnest($1::text[], $2::text[]) AS n(tenant, name) \
         JOIN tasks t ON t.tenant = n.tenant AND t.name = n.name CROSS JOIN LATERAL ({which}) r {PAUSE_OF_MANY}"
    );
    tx.query(&sql, &[&tenants, &names]).await?.iter().map(run_info).collect()
}

/// See [`crate::Store::run`].
pub(super) async fn run(tx: &Tx, run: RunId) -> Step<Option<RunInfo>> {
    let sql = format!("SELECT {RUN_COLUMNS} FROM runs r JOIN tasks t ON t.id = r.task {PAUSE_OF_MANY} WHERE r.id = $1");
    tx.query_opt(&sql, &[&run.0]).await?.as_ref().map(run_info).transpose()
}

/// See [`crate::Store::input`].
pub(super) async fn input(tx: &Tx, run: RunId) -> Step<Option<Vec<u8>>> {
    let row = tx.query_opt("SELECT input FROM runs WHERE id = $1", &[&run.0]).await?;
    Ok(row.map(|row| row.get::<_, Option<Vec<u8>>>(0).unwrap_or_default()))
}

/// See [`crate::Store::output`].
pub(super) async fn output(tx: &Tx, run: RunId) -> Step<Option<Output>> {
    let sql =
        format!("SELECT content_type, output FROM runs WHERE id = $1 AND over_at < {NOT_OVER} AND state = {SUCCEEDED}");
    let row = tx.query_opt(&sql, &[&run.0]).await?;
    Ok(row.map(|row| Output { content_type: row.get(0), body: row.get::<_, Option<Vec<u8>>>(1).unwrap_or_default() }))
}

/// See [`crate::Store::latest_success`].
pub(super) async fn latest_success(tx: &Tx, task: &TaskKey) -> Step<Option<(RunId, Timestamp)>> {
    let row = tx
        .query_opt(
            "SELECT y.latest_success, y.latest_success_at FROM tasks t JOIN tally y ON y.task = t.id \
             WHERE t.tenant = $1 AND t.name = $2 AND y.latest_success IS NOT NULL \
             ORDER BY y.latest_success_at DESC, y.latest_success DESC LIMIT 1",
            &[&task.tenant.as_str(), &task.task.as_str()],
        )
        .await?;
    Ok(row.map(|row| (RunId(row.get(0)), instant(&row, 1))))
}

/// See [`crate::Store::attempts`].
pub(super) async fn attempts(tx: &Tx, run: RunId) -> Step<Vec<AttemptInfo>> {
    let sql = format!("SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE run = $1 ORDER BY attempt");
    tx.query(&sql, &[&run.0]).await?.iter().map(attempt).collect()
}

/// Columns that [`attempt`] reads of an attempt, in its order.
pub(super) const ATTEMPT_COLUMNS: &str = "attempt, host, outcome, started_at, ended_at, message, fuel, peak_memory, guest_us, \
     host_us, queued_us, lock_wait_us, host_calls, bytes_in, bytes_out, backtrace, log, log_cut, stdout, stdout_cut, stderr, \
     stderr_cut";

/// Builds an attempt from a row of [`ATTEMPT_COLUMNS`].
pub(super) fn attempt(row: &Row) -> Step<AttemptInfo> {
    let time = |column| Duration::from_micros(number(row, column));
    let kept = |column: usize| CappedText {
        text: row.get::<_, Option<String>>(column).unwrap_or_default(),
        cut: row.get(column + 1),
    };
    Ok(AttemptInfo {
        attempt: small(row, 0),
        host: row.get(1),
        report: Report {
            outcome: outcome(row, 2)?,
            started_at: instant(row, 3),
            ended_at: instant(row, 4),
            message: row.get(5),
            accounts: Accounts {
                fuel: number(row, 6),
                peak_memory: number(row, 7),
                guest: time(8),
                host: time(9),
                queued: time(10),
                lock_wait: time(11),
                host_calls: number(row, 12),
                bytes_in: number(row, 13),
                bytes_out: number(row, 14),
            },
            backtrace: row.get(15),
            log: kept(16),
            stdout: kept(18),
            stderr: kept(20),
        },
    })
}

/// The number of runs in each state, in the order of [`RunState::ALL`].
const SUMS: &str = "coalesce(sum(waiting), 0)::bigint, coalesce(sum(running), 0)::bigint, \
     coalesce(sum(succeeded), 0)::bigint, coalesce(sum(failed), 0)::bigint, coalesce(sum(cancelled), 0)::bigint";

/// See [`crate::Store::counts`].
pub(super) async fn counts(tx: &Tx) -> Step<BTreeMap<RunState, u64>> {
    let row = tx.query_one(&format!("SELECT {SUMS} FROM tally"), &[]).await?;
    Ok(RunState::ALL.iter().enumerate().map(|(place, state)| (*state, number(&row, place))).collect())
}

/// See [`crate::history::History::count`].
pub(super) async fn count(tx: &Tx, task: &TaskKey, state: RunState) -> Step<u64> {
    let row = tx
        .query_one(
            &format!("SELECT {SUMS} FROM tasks t JOIN tally y ON y.task = t.id WHERE t.tenant = $1 AND t.name = $2"),
            &[&task.tenant.as_str(), &task.task.as_str()],
        )
        .await?;
    Ok(number(&row, state_code(state) as usize))
}

/// Returns the query for the rows that [`state`] reads.
fn select() -> String {
    format!(
        "SELECT t.tenant, t.name, t.cursor_at, {STANDING_COLUMNS}, t.fired, t.memory, t.schedule, t.left_out FROM tasks t"
    )
}

/// Condition for a task that has a state.
const HAS_STATE: &str =
    "(t.cursor_at IS NOT NULL OR t.schedule IS NOT NULL OR t.paused OR t.failures > 0 OR t.crashes > 0)";

/// See [`crate::tasks::Tasks::task_states`].
pub(super) async fn task_states(tx: &Tx) -> Step<BTreeMap<TaskKey, TaskState>> {
    let rows = tx.query(&format!("{} WHERE {HAS_STATE}", select()), &[]).await?;
    rows.iter().map(state).collect()
}

/// See [`crate::tasks::Tasks::task_state`].
pub(super) async fn task_state(tx: &Tx, task: &TaskKey) -> Step<Option<TaskState>> {
    let sql = format!("{} WHERE t.tenant = $1 AND t.name = $2 AND {HAS_STATE}", select());
    let row = tx.query_opt(&sql, &[&task.tenant.as_str(), &task.task.as_str()]).await?;
    Ok(row.as_ref().map(state).transpose()?.map(|(_, state)| state))
}

/// See [`crate::tasks::Tasks::task_states_of`].
pub(super) async fn task_states_of(tx: &Tx, tasks: &[TaskKey]) -> Step<BTreeMap<TaskKey, TaskState>> {
    let tenants: Vec<&str> = tasks.iter().map(|task| task.tenant.as_str()).collect();
    let names: Vec<&str> = tasks.iter().map(|task| task.task.as_str()).collect();
    let sql = format!(
        "{} JOIN unnest($1::text[], $2::text[]) AS n(tenant, name) ON t.tenant = n.tenant AND t.name = n.name \
         WHERE {HAS_STATE}",
        select()
    );
    tx.query(&sql, &[&tenants, &names]).await?.iter().map(state).collect()
}

fn state(row: &Row) -> Step<(TaskKey, TaskState)> {
    let state = TaskState {
        cursor: maybe_instant(row, 2),
        fired: number(row, 9),
        memory: row.get(10),
        schedule: row.get(11),
        left_out: row.get(12),
        paused: pause(row, 3),
        standing: standing(row, 3),
    };
    Ok((task_key(row, 0)?, state))
}

/// Milliseconds since the Unix epoch by the database's clock. No other SQL reads a clock.
pub(super) const TIME: &str = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// See [`crate::Store::time`].
pub(super) async fn time(tx: &Tx) -> Step<Timestamp> {
    Ok(instant(&tx.query_one(TIME, &[]).await?, 0))
}
