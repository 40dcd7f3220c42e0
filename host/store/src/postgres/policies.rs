//! Records which schedule a task has and what it left out, and cancels runs before they start.

use std::collections::BTreeMap;

use const_format::formatcp;
use tokio_postgres::Row;

use super::archive::{ArchiveColumns, moving};
use super::counter_changes::CounterChanges;
use super::errors::Step;
use super::rows::{instant, maybe_instant, state, task_key, text, to_sql};
use super::schema::NOT_OVER;
use super::tasks;
use super::tx::Tx;
use crate::codes::WAITING;
use crate::rules::events::NewEvent;
use crate::rules::finish::started_too_late;
use crate::{Cancelled, ScheduleStart, StoreError};
use sexton_domain::run::{RunId, RunState};
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

/// Late runs that are cancelled in one transaction. The next one cancels more, so that a claim does not wait for a
/// million of them.
pub(super) const LATE: usize = 2000;

/// See [`crate::Store::begin_schedules`].
pub(super) async fn begin_schedules(tx: &mut Tx, begun: &[ScheduleStart]) -> Step<()> {
    let keys: Vec<TaskKey> = begun.iter().map(|begun| begun.task.clone()).collect();
    let ids = tasks::intern(tx, &keys).await?;
    let wanted: BTreeMap<i64, &ScheduleStart> = ids.into_iter().zip(begun).collect();
    // All transactions lock tasks in this order.
    let locked = tasks::lock(tx, &wanted.keys().copied().collect::<Vec<_>>()).await?;
    let (mut changed, mut schedules, mut nows) = (Vec::new(), Vec::new(), Vec::new());
    for row in &locked {
        let Some(begun) = wanted.get(&row.id) else { continue };
        let schedule = text(&begun.schedule);
        if row.schedule.as_deref() != Some(&*schedule) {
            changed.push(row.id);
            schedules.push(schedule);
            nows.push(begun.now.as_millis());
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    // A task that had no schedule keeps its progress.
    tx.execute(
        "UPDATE tasks t SET schedule = n.schedule, \
         cursor_at = CASE WHEN t.schedule IS NULL THEN t.cursor_at ELSE greatest(t.cursor_at, n.now_at) END, \
         fired = CASE WHEN t.schedule IS NULL THEN t.fired ELSE 0 END, \
         memory = CASE WHEN t.schedule IS NULL THEN t.memory END, \
         left_out = CASE WHEN t.schedule IS NULL THEN t.left_out END \
         FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS n(id, schedule, now_at) WHERE t.id = n.id",
        &[&changed, &schedules, &nows],
    )
    .await?;
    Ok(())
}

/// See [`crate::Store::record_missed`].
pub(super) async fn record_missed(tx: &mut Tx, task: &TaskKey, what: &str) -> Step<()> {
    let id = tasks::intern_one(tx, task).await?;
    tx.execute("UPDATE tasks SET left_out = $2 WHERE id = $1", &[&id, &text(what)]).await?;
    Ok(())
}

/// Asks for the first instant by which a run that waits for its first attempt must start.
pub(super) const FIRST_START_BY: &str = "SELECT min(start_by_at) FROM runs_live WHERE start_by_at IS NOT NULL";

/// Returns the answer to [`FIRST_START_BY`].
pub(super) async fn first_start_by(tx: &Tx) -> Step<Option<Timestamp>> {
    Ok(maybe_instant(&tx.query_one(FIRST_START_BY, &[]).await?, 0))
}

/// See [`crate::Store::cancel_late`]. Leaves alone runs that other transactions have locked, which are being
/// claimed or cancelled already.
pub(super) async fn cancel_late(tx: &mut Tx, now: Timestamp) -> Step<u64> {
    let late = tx.query(SOME_LATE, &[&now.as_millis(), &to_sql(LATE)]).await?;
    cancel_those(tx, &late, now).await
}

/// The tenant and the name of the task of a live run.
const KEY_OF_TASK: &str = "(SELECT t.tenant FROM tasks t WHERE t.id = runs_live.task), \
     (SELECT t.name FROM tasks t WHERE t.id = runs_live.task)";

/// Locks some late runs for [`cancel_those`]. Its parameters are the time, and [`LATE`]. A claimed run is never late.
pub(super) const SOME_LATE: &str = formatcp!(
    "SELECT id, task, bytes, run_at, start_by_at, {KEY_OF_TASK} FROM runs_live \
     WHERE start_by_at < $1 AND state + 0 = {WAITING} ORDER BY start_by_at, id LIMIT $2 FOR UPDATE SKIP LOCKED"
);

/// Cancels the runs that [`SOME_LATE`] has found.
pub(super) async fn cancel_those(tx: &mut Tx, late: &[Row], now: Timestamp) -> Step<u64> {
    if late.is_empty() {
        return Ok(0);
    }
    let mut tally = CounterChanges::default();
    let (mut runs, mut said) = (Vec::with_capacity(late.len()), Vec::with_capacity(late.len()));
    for row in late {
        let (run_at, start_by) = (instant(row, 3), instant(row, 4));
        runs.push(row.get::<_, i64>(0));
        said.push(started_too_late(start_by, run_at));
        count_cancelled(&mut tally, row.get(1), row.get(2));
        tx.events.tell(NewEvent::of_cancelled(now, &task_key(row, 5)?, RunId(row.get(0))));
    }
    cancel_waiting(tx, &runs, &said, now).await?;
    tally.write(tx).await?;
    tx.hints.changes = true;
    Ok(late.len() as u64)
}

/// Cancels waiting runs that are locked, each with its message.
async fn cancel_waiting(tx: &Tx, runs: &[i64], said: &[String], now: Timestamp) -> Step<()> {
    let which = "USING unnest($1::bigint[], $2::text[]) AS n(id, message) WHERE r.id = ANY (ARRAY[n.id])";
    let sql = format!("{} SELECT", moving(&ArchiveColumns::cancelled_unstarted("$3::bigint", "n.message"), which, ""));
    tx.query(&sql, &[&runs, &said, &now.as_millis()]).await?;
    Ok(())
}

/// Counts a waiting run as cancelled.
fn count_cancelled(tally: &mut CounterChanges, task: i64, bytes: i64) {
    let change = tally.of(task);
    change.leave(RunState::Waiting, 1);
    change.enter(RunState::Cancelled, 1);
    change.bytes += bytes;
}

/// Moves the attempts at runs that were over at `at` without a last attempt that would have moved them: attempts are
/// kept where their runs are.
pub(super) async fn move_attempts(tx: &Tx, runs: &[i64], at: Timestamp) -> Step<()> {
    let sql = format!("UPDATE attempts SET over_at = $2 WHERE run = ANY($1) AND over_at = {NOT_OVER}");
    tx.execute(&sql, &[&runs, &at.as_millis()]).await?;
    Ok(())
}

/// See [`crate::Store::cancel`].
pub(super) async fn cancel(tx: &mut Tx, run: RunId, reason: &str, now: Timestamp) -> Step<Cancelled> {
    let reason = text(reason);
    let sql = formatcp!("SELECT state, task, bytes, attempt, {KEY_OF_TASK} FROM runs_live WHERE id = $1 FOR UPDATE");
    let Some(row) = tx.query_opt(sql, &[&run.0]).await? else {
        return over(tx, run, &reason, now).await;
    };
    tx.hints.changes = true;
    if state(&row, 0)? == RunState::Running {
        // The first reason stays.
        tx.query("UPDATE runs_live SET cancel = $2 WHERE id = $1 AND cancel IS NULL", &[&run.0, &reason]).await?;
        return Ok(Cancelled::Requested);
    }
    cancel_waiting(tx, &[run.0], &[reason.into_owned()], now).await?;
    if row.get::<_, i32>(3) > 0 {
        move_attempts(tx, &[run.0], now).await?;
    }
    let mut tally = CounterChanges::default();
    count_cancelled(&mut tally, row.get(1), row.get(2));
    tx.events.tell(NewEvent::of_cancelled(now, &task_key(&row, 4)?, run));
    tally.write(tx).await?;
    Ok(Cancelled::Done)
}

/// Returns the answer for a run that is neither waiting nor running.
async fn over(tx: &Tx, run: RunId, reason: &str, now: Timestamp) -> Step<Cancelled> {
    let row = tx.query_opt("SELECT state, message, over_at FROM runs WHERE id = $1", &[&run.0]).await?;
    let row = row.ok_or(StoreError::NoRun(run))?;
    let state = state(&row, 0)?;
    // If the run may have been cancelled before, and the row says so, it was.
    let done = tx.doubt
        && state == RunState::Cancelled
        && row.get::<_, Option<&str>>(1) == Some(reason)
        && instant(&row, 2) == now;
    Ok(if done { Cancelled::Done } else { Cancelled::Over(state) })
}
