//! Rows to domain and back: the numbers that stand for words, and the clamping of what SQLite's integers cannot hold.

use rusqlite::Row;
use rusqlite::types::Type;

use crate::pause::PausedBy;
use crate::run::{Cause, Outcome, RunId, RunState};
use crate::store::{LockKind, LockMode, RunInfo};
use crate::supervision::{Pause, Standing};
use crate::task::{Name, TaskKey};
use crate::time::Timestamp;

/// `RunState` by its place in [`RunState::ALL`]: 0 waiting, 1 running, 2 succeeded, 3 failed, 4 cancelled.
pub(super) const fn state_code(state: RunState) -> i64 {
    match state {
        RunState::Waiting => 0,
        RunState::Running => 1,
        RunState::Succeeded => 2,
        RunState::Failed => 3,
        RunState::Cancelled => 4,
    }
}

/// The number that stands for a cause.
pub(super) const fn cause_code(cause: Cause) -> i64 {
    match cause {
        Cause::Schedule => 0,
        Cause::Start => 1,
        Cause::Demand => 2,
        Cause::Task => 3,
    }
}

/// The number that stands for an outcome: its place in [`Outcome::ALL`].
pub(super) const fn outcome_code(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::Succeeded => 0,
        Outcome::FailedTransient => 1,
        Outcome::FailedPermanent => 2,
        Outcome::Deferred => 3,
        Outcome::OutOfFuel => 4,
        Outcome::TimedOut => 5,
        Outcome::OutOfMemory => 6,
        Outcome::Trapped => 7,
        Outcome::Killed => 8,
        Outcome::Refused => 9,
        Outcome::Lost => 10,
    }
}

/// The number that stands for what a lock is for.
pub(super) const fn kind_code(kind: LockKind) -> i64 {
    match kind {
        LockKind::Named => 0,
        LockKind::Refresh => 1,
    }
}

/// The number that stands for a lock's mode.
pub(super) const fn mode_code(mode: LockMode) -> i64 {
    match mode {
        LockMode::Exclusive => 0,
        LockMode::Shared => 1,
    }
}

/// The word at place `code` of `words`, or an error that names the column: the file was written by something else.
fn word<T: Copy>(words: &[T], row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let code: i64 = row.get(column)?;
    usize::try_from(code)
        .ok()
        .and_then(|at| words.get(at).copied())
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(column, code))
}

/// The cause in `column`.
pub(super) fn cause(row: &Row<'_>, column: usize) -> rusqlite::Result<Cause> {
    word(&[Cause::Schedule, Cause::Start, Cause::Demand, Cause::Task], row, column)
}

/// The run state in `column`.
pub(super) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<RunState> {
    word(&RunState::ALL, row, column)
}

/// The outcome in `column`.
pub(super) fn outcome(row: &Row<'_>, column: usize) -> rusqlite::Result<Outcome> {
    word(&Outcome::ALL, row, column)
}

/// What the lock in `column` is for.
pub(super) fn kind(row: &Row<'_>, column: usize) -> rusqlite::Result<LockKind> {
    word(&[LockKind::Named, LockKind::Refresh], row, column)
}

/// The lock mode in `column`.
pub(super) fn mode(row: &Row<'_>, column: usize) -> rusqlite::Result<LockMode> {
    word(&[LockMode::Exclusive, LockMode::Shared], row, column)
}

/// The name in `column`.
pub(super) fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<Name> {
    Name::new(row.get_ref(column)?.as_str()?)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, e.into()))
}

/// Tenant and name of a task, in `column` and the one after it.
pub(super) fn task_key(row: &Row<'_>, column: usize) -> rusqlite::Result<TaskKey> {
    Ok(TaskKey { tenant: name(row, column)?, task: name(row, column + 1)? })
}

/// The instant in `column`.
pub(super) fn instant(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_millis(row.get(column)?))
}

/// The instant in `column`, if there is one.
pub(super) fn maybe_instant(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

/// The number in `column`, which was written by [`to_sql`].
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

/// A number as SQLite can hold it: what is beyond 2^63 - 1 becomes that.
pub(super) fn to_sql(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// What [`pause`] and [`standing`] read of a task `t`, in their order.
pub(super) const STANDING_COLUMNS: &str = "t.paused, t.paused_at, t.paused_why, t.failures, t.crashes, t.held_until";

/// Whether a task is paused, from a row with [`STANDING_COLUMNS`] from `column` on.
pub(super) fn pause(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Pause>> {
    if !row.get::<_, bool>(column)? {
        return Ok(None);
    }
    Ok(Some(Pause { since: maybe_instant(row, column + 1)?, why: row.get(column + 2)? }))
}

/// How a task stands, from the same.
pub(super) fn standing(row: &Row<'_>, column: usize) -> rusqlite::Result<Standing> {
    Ok(Standing {
        failures: row.get(column + 3)?,
        crashes: row.get(column + 4)?,
        held_until: maybe_instant(row, column + 5)?,
    })
}

/// The narrowest pause of many that is about a run: whose it is (the empty name: of all), since when and why, from `column` on.
fn pause_of_many(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<(PausedBy, Pause)>> {
    let by = match row.get_ref(column)?.as_str_or_null()? {
        None => return Ok(None),
        Some("") => PausedBy::All,
        Some(_) => PausedBy::Tenant,
    };
    Ok(Some((by, Pause { since: maybe_instant(row, column + 1)?, why: row.get(column + 2)? })))
}

/// What [`run_info`] reads of a run `r` and its task `t`, in its order.
pub(super) const RUN_COLUMNS: &str = "r.id, t.tenant, t.name, r.state, r.due_at, r.run_at, r.created_at, r.claimed_at, \
     r.ended_at, r.cause, r.attempt, r.failures, r.parent, r.host, r.outcome, coalesce(r.cancel, r.message), \
     t.paused, t.paused_at, t.paused_why, t.failures, t.crashes, t.held_until, r.note, r.forced, \
     (SELECT tenant FROM pauses WHERE tenant IN ('', t.tenant) ORDER BY tenant DESC LIMIT 1), \
     (SELECT since_at FROM pauses WHERE tenant IN ('', t.tenant) ORDER BY tenant DESC LIMIT 1), \
     (SELECT why FROM pauses WHERE tenant IN ('', t.tenant) ORDER BY tenant DESC LIMIT 1)";

/// A run from a row of [`RUN_COLUMNS`].
pub(super) fn run_info(row: &Row<'_>) -> rusqlite::Result<RunInfo> {
    let outcome = match row.get_ref(14)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(outcome(row, 14)?),
    };
    let (state, run_at, cause, attempt) = (state(row, 3)?, instant(row, 5)?, cause(row, 9)?, row.get(10)?);
    let forced = row.get(23)?;
    let why = match pause(row, 16)?.map(|pause| (PausedBy::Task, pause)).or(pause_of_many(row, 24)?) {
        // Nothing but a place keeps it.
        _ if state != RunState::Waiting || (forced && attempt == 0) => None,
        Some((by, pause)) => Some(by.why(&pause)),
        None => standing(row, 16)?.why_held(run_at, cause, attempt),
    };
    Ok(RunInfo {
        id: RunId(row.get(0)?),
        task: task_key(row, 1)?,
        state,
        due_at: instant(row, 4)?,
        run_at,
        created_at: instant(row, 6)?,
        claimed_at: maybe_instant(row, 7)?,
        ended_at: maybe_instant(row, 8)?,
        cause,
        attempt,
        failures: row.get(11)?,
        parent: row.get::<_, Option<i64>>(12)?.map(RunId),
        host: row.get(13)?,
        outcome,
        message: row.get(15)?,
        note: row.get(22)?,
        forced,
        why,
        held_back: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_and_outcome_has_the_number_of_its_place() {
        for (place, state) in RunState::ALL.into_iter().enumerate() {
            assert_eq!(state_code(state), to_sql(place));
        }
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome_code(outcome), to_sql(place));
        }
    }

    #[test]
    fn a_number_too_great_for_sqlite_becomes_the_greatest() {
        assert_eq!(to_sql(u64::MAX), i64::MAX);
    }
}
