//! Converts rows to domain types and back, and clamps numbers that SQLite's integers cannot hold.

use const_format::formatcp;
use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::types::Type;
use sexton_domain::pause::Pauses;

use crate::backfills::TURN_MS;
use crate::codes::{self, SUCCEEDED};
pub(super) use crate::codes::{cause_code, kind_code, mode_code, outcome_code, state_code};
use crate::labels;
use crate::rules::runs::chain_of;
use crate::rules::waiting::Facts;
use crate::{LockKind, LockMode, RunInfo};
use sexton_domain::pause::PausedBy;
use sexton_domain::run::{Cause, Outcome, RunId, RunState};
use sexton_domain::supervision::{Pause, Standing};
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

/// Returns the word at place `code` of `words`, or an error with the column: another program wrote the file.
fn word<T: Copy>(words: &[T], row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let code: i64 = row.get(column)?;
    codes::word(words, code).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, code))
}

/// Returns the cause in `column`.
pub(super) fn cause(row: &Row<'_>, column: usize) -> rusqlite::Result<Cause> {
    word(&codes::CAUSES, row, column)
}

/// Returns the run state in `column`.
pub(super) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<RunState> {
    word(&RunState::ALL, row, column)
}

/// Returns the outcome in `column`.
pub(super) fn outcome(row: &Row<'_>, column: usize) -> rusqlite::Result<Outcome> {
    word(&Outcome::ALL, row, column)
}

/// Returns the outcome in `column`, if there is one.
pub(super) fn maybe_outcome(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Outcome>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => outcome(row, column).map(Some),
    }
}

/// Returns the kind of the lock in `column`.
pub(super) fn kind(row: &Row<'_>, column: usize) -> rusqlite::Result<LockKind> {
    word(&codes::KINDS, row, column)
}

/// Returns the lock mode in `column`.
pub(super) fn mode(row: &Row<'_>, column: usize) -> rusqlite::Result<LockMode> {
    word(&codes::MODES, row, column)
}

/// Returns the name in `column`.
pub(super) fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<Name> {
    Name::new(row.get_ref(column)?.as_str()?)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, e.into()))
}

/// Returns the name in `column`, if there is one.
pub(super) fn maybe_name(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Name>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => name(row, column).map(Some),
    }
}

/// Returns the tenant and name of a task, in `column` and the next.
pub(super) fn task_key(row: &Row<'_>, column: usize) -> rusqlite::Result<TaskKey> {
    Ok(TaskKey { tenant: name(row, column)?, task: name(row, column + 1)? })
}

/// Returns the instant in `column`.
pub(super) fn instant(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_millis(row.get(column)?))
}

/// Returns the instant in `column`, if there is one.
pub(super) fn maybe_instant(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

/// Returns the number in `column`, which was written by [`to_sql`].
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

/// Converts a number to SQLite's integers, at most 2^63 - 1.
pub(super) fn to_sql(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Columns that [`pause`] and [`standing`] read of a task `t`, in their order.
pub(super) const STANDING_COLUMNS: &str = "t.paused, t.paused_at, t.paused_why, t.failures, t.crashes, t.held_until";

/// Returns the pause of a task, if it is paused, from a row with [`STANDING_COLUMNS`] from `column` on.
pub(super) fn pause(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Pause>> {
    if !row.get::<_, bool>(column)? {
        return Ok(None);
    }
    Ok(Some(Pause { since: maybe_instant(row, column + 1)?, why: row.get(column + 2)? }))
}

/// Returns the standing of a task, from the same columns.
pub(super) fn standing(row: &Row<'_>, column: usize) -> rusqlite::Result<Standing> {
    Ok(Standing {
        failures: row.get(column + 3)?,
        crashes: row.get(column + 4)?,
        held_until: maybe_instant(row, column + 5)?,
    })
}

/// Returns a run's pause by tenant, or else that of all (the empty name), from the columns from `column` on.
fn pause_of_many(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<(PausedBy, Pause)>> {
    let by = match row.get_ref(column)?.as_str_or_null()? {
        None => return Ok(None),
        Some("") => PausedBy::All,
        Some(_) => PausedBy::Tenant,
    };
    Ok(Some((by, Pause { since: maybe_instant(row, column + 1)?, why: row.get(column + 2)? })))
}

/// Columns that [`run_info`] reads of a run `r` and its task `t`, in its order.
pub(super) const RUN_COLUMNS: &str = formatcp!(
    "r.id, t.tenant, t.name, r.state, r.due_at, r.run_at, r.created_at, r.claimed_at, \
     r.ended_at, r.cause, r.attempt, r.failures, r.parent, r.host, r.outcome, coalesce(r.cancel, r.message), \
     t.paused, t.paused_at, t.paused_why, t.failures, t.crashes, t.held_until, r.note, r.forced, \
     (SELECT tenant FROM pauses WHERE tenant IN ('', t.tenant) ORDER BY tenant DESC LIMIT 1), \
     (SELECT since_at FROM pauses WHERE tenant IN ('', t.tenant) ORDER BY tenant DESC LIMIT 1), \
     (SELECT why FROM pauses WHERE tenant IN ('', t.tenant) ORDER BY tenant DESC LIMIT 1), r.deaths, r.suspected_at, \
     r.at_once, CASE WHEN r.run_at = {TURN_MS} THEN (SELECT b.id FROM runs b INDEXED BY runs_backfilling \
     WHERE b.state < {SUCCEEDED} AND b.at_once IS NOT NULL AND b.task = r.task AND b.run_at > {TURN_MS} \
     ORDER BY b.run_at, b.id LIMIT 1) END, r.schedule, r.dedup, (SELECT labels FROM label_sets WHERE id = r.labels)"
);

/// Builds a run from a row of [`RUN_COLUMNS`].
pub(super) fn run_info(row: &Row<'_>) -> rusqlite::Result<RunInfo> {
    let outcome = maybe_outcome(row, 14)?;
    let pause = pause(row, 16)?.map(|pause| (PausedBy::Task, pause)).or(pause_of_many(row, 24)?);
    let facts = Facts {
        run: RunId(row.get(0)?),
        state: state(row, 3)?,
        due_at: instant(row, 4)?,
        run_at: instant(row, 5)?,
        claimed_at: maybe_instant(row, 7)?,
        cause: cause(row, 9)?,
        attempt: row.get(10)?,
        forced: row.get(23)?,
        deaths: row.get(27)?,
        suspected_at: maybe_instant(row, 28)?,
        at_once: row.get(29)?,
        behind: row.get::<_, Option<i64>>(30)?.map(RunId),
        pause,
        standing: standing(row, 16)?,
    };
    Ok(RunInfo {
        id: facts.run,
        task: task_key(row, 1)?,
        state: facts.state,
        due_at: facts.due_at,
        run_at: facts.shown_run_at(),
        created_at: instant(row, 6)?,
        claimed_at: facts.claimed_at,
        ended_at: maybe_instant(row, 8)?,
        cause: facts.cause,
        attempt: facts.attempt,
        failures: row.get(11)?,
        parent: row.get::<_, Option<i64>>(12)?.map(RunId),
        host: row.get(13)?,
        outcome,
        message: row.get(15)?,
        note: row.get(22)?,
        forced: facts.forced,
        why: facts.why(),
        deaths: facts.deaths,
        suspected_at: facts.suspected_at(),
        at_once: facts.at_once,
        key: maybe_name(row, 31)?,
        chain: row.get_ref(32)?.as_str_or_null()?.and_then(chain_of),
        labels: row.get_ref(33)?.as_str_or_null()?.map(labels::read).unwrap_or_default(),
    })
}

/// The tenant that stands for all.
pub(super) const ALL: &str = "";

/// See [`crate::Store::pauses`].
pub(super) fn pauses(conn: &Connection) -> rusqlite::Result<Pauses> {
    let mut pauses = Pauses::default();
    let mut statement = conn.prepare_cached("SELECT tenant, since_at, why FROM pauses")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let pause = Pause { since: maybe_instant(row, 1)?, why: row.get(2)? };
        if row.get_ref(0)?.as_str()? == ALL {
            pauses.all = Some(pause);
        } else {
            pauses.tenants.insert(name(row, 0)?, pause);
        }
    }
    Ok(pauses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_too_great_for_sqlite_becomes_the_greatest() {
        assert_eq!(to_sql(u64::MAX), i64::MAX);
    }
}
