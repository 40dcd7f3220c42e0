//! Converts rows to domain types and back.

use std::borrow::Cow;

use const_format::formatcp;
use tokio_postgres::Row;

use super::errors::Step;
use super::schema::NOT_OVER;
use super::tasks::{pause, standing};
use crate::backfills::TURN_MS;
use crate::codes::{self, word};
use crate::labels;
use crate::rules::runs::chain_of;
use crate::rules::waiting::Facts;
use crate::{LockKind, LockMode, RunInfo, StoreError};
use sexton_domain::pause::PausedBy;
use sexton_domain::run::{Cause, Outcome, RunId, RunState};
use sexton_domain::supervision::Pause;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

/// Returns the error for a column with none of the words that it may have: another program wrote it.
fn unknown(what: &str, found: impl std::fmt::Display) -> StoreError {
    StoreError::Other(format!("the database has a {what} `{found}`, which this sexton does not know"))
}

fn coded<T: Copy>(words: &[T], row: &Row, column: usize, what: &str) -> Step<T> {
    let code = row.get::<_, i16>(column);
    Ok(word(words, code.into()).ok_or_else(|| unknown(what, code))?)
}

/// Returns the cause in `column`.
pub(super) fn cause(row: &Row, column: usize) -> Step<Cause> {
    coded(&codes::CAUSES, row, column, "cause")
}

/// Returns the run state in `column`.
pub(super) fn state(row: &Row, column: usize) -> Step<RunState> {
    coded(&RunState::ALL, row, column, "state")
}

/// Returns the outcome in `column`.
pub(super) fn outcome(row: &Row, column: usize) -> Step<Outcome> {
    coded(&Outcome::ALL, row, column, "outcome")
}

/// Returns the outcome in `column`, if there is one.
pub(super) fn maybe_outcome(row: &Row, column: usize) -> Step<Option<Outcome>> {
    match row.get::<_, Option<i16>>(column) {
        None => Ok(None),
        Some(_) => outcome(row, column).map(Some),
    }
}

/// Returns the kind of the lock in `column`.
pub(super) fn kind(row: &Row, column: usize) -> Step<LockKind> {
    coded(&codes::KINDS, row, column, "kind of lock")
}

/// Returns the lock mode in `column`.
pub(super) fn mode(row: &Row, column: usize) -> Step<LockMode> {
    coded(&codes::MODES, row, column, "mode of a lock")
}

/// Converts a code to the tables' type.
pub(super) fn code(code: i64) -> i16 {
    i16::try_from(code).expect("codes are few")
}

/// Returns the name in `column`.
pub(super) fn name(row: &Row, column: usize) -> Step<Name> {
    let text: &str = row.get(column);
    Ok(Name::new(text).map_err(|_| unknown("name", text))?)
}

/// Returns the name in `column`, if there is one.
pub(super) fn maybe_name(row: &Row, column: usize) -> Step<Option<Name>> {
    row.get::<_, Option<&str>>(column).map(|_| name(row, column)).transpose()
}

/// Returns the tenant and name of a task, in `column` and the next.
pub(super) fn task_key(row: &Row, column: usize) -> Step<TaskKey> {
    Ok(TaskKey { tenant: name(row, column)?, task: name(row, column + 1)? })
}

/// Returns the instant in `column`.
pub(super) fn instant(row: &Row, column: usize) -> Timestamp {
    Timestamp::from_millis(row.get(column))
}

/// Returns the instant in `column`, if there is one.
pub(super) fn maybe_instant(row: &Row, column: usize) -> Option<Timestamp> {
    row.get::<_, Option<i64>>(column).map(Timestamp::from_millis)
}

/// Returns when a run was over, from its `over_at` in `column`.
pub(super) fn over_at(row: &Row, column: usize) -> Option<Timestamp> {
    let at = row.get(column);
    (at != NOT_OVER).then(|| Timestamp::from_millis(at))
}

/// Returns the number in `column`, which was written by [`to_sql`].
pub(super) fn number(row: &Row, column: usize) -> u64 {
    row.get::<_, i64>(column).unsigned_abs()
}

/// Returns the small number in `column`.
pub(super) fn small(row: &Row, column: usize) -> u32 {
    row.get::<_, i32>(column).unsigned_abs()
}

/// Converts a number to a bigint, at most 2^63 - 1.
pub(super) fn to_sql(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Converts a number to an int, at most 2^31 - 1.
pub(super) fn to_int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Replaces each NUL, which a guest's text may have and PostgreSQL's texts cannot.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Returns a guest's name for something, from its bytes in `column`.
pub(super) fn named(row: &Row, column: usize) -> Step<String> {
    Ok(String::from_utf8(row.get(column)).map_err(|_| unknown("key", "(no UTF-8)"))?)
}

/// Columns that [`run_info`] reads of a run `r` and its task `t`, in its order.
pub(super) const RUN_COLUMNS: &str = formatcp!(
    "r.id, t.tenant, t.name, r.state, r.due_at, r.run_at, r.created_at, r.claimed_at, \
     r.over_at, r.cause, r.attempt, r.failures, r.parent, r.host, r.outcome, coalesce(r.cancel, r.message), \
     t.paused, t.paused_at, t.paused_why, t.failures, t.crashes, t.held_until, r.note, r.forced, p.tenant, p.since_at, p.why, r.deaths, r.suspected_at, \
     r.at_once, CASE WHEN r.run_at = {TURN_MS} THEN (SELECT b.id FROM runs_live b \
     WHERE b.at_once IS NOT NULL AND b.task = r.task AND b.run_at > {TURN_MS} ORDER BY b.run_at, b.id LIMIT 1) END, \
     r.schedule, r.dedup, (SELECT s.labels FROM label_sets s WHERE s.id = r.labels)"
);

/// The source of [`RUN_COLUMNS`] besides runs `r` and tasks `t`: the run's pause by tenant, or else that of all.
pub(super) const PAUSE_OF_MANY: &str = "LEFT JOIN LATERAL (SELECT tenant, since_at, why FROM pauses \
     WHERE tenant IN ('', t.tenant) ORDER BY tenant DESC LIMIT 1) p ON true";

/// Builds a run from a row of [`RUN_COLUMNS`].
pub(super) fn run_info(row: &Row) -> Step<RunInfo> {
    let outcome = maybe_outcome(row, 14)?;
    let of_many = row.get::<_, Option<&str>>(24).map(|tenant| {
        let by = if tenant.is_empty() { PausedBy::All } else { PausedBy::Tenant };
        (by, Pause { since: maybe_instant(row, 25), why: row.get(26) })
    });
    let facts = Facts {
        run: RunId(row.get(0)),
        state: state(row, 3)?,
        due_at: instant(row, 4),
        run_at: instant(row, 5),
        claimed_at: maybe_instant(row, 7),
        cause: cause(row, 9)?,
        attempt: small(row, 10),
        forced: row.get(23),
        deaths: small(row, 27),
        suspected_at: maybe_instant(row, 28),
        at_once: row.get::<_, Option<i32>>(29).map(i32::unsigned_abs),
        behind: row.get::<_, Option<i64>>(30).map(RunId),
        pause: pause(row, 16).map(|pause| (PausedBy::Task, pause)).or(of_many),
        standing: standing(row, 16),
    };
    Ok(RunInfo {
        id: facts.run,
        task: task_key(row, 1)?,
        state: facts.state,
        due_at: facts.due_at,
        run_at: facts.shown_run_at(),
        created_at: instant(row, 6),
        claimed_at: facts.claimed_at,
        ended_at: over_at(row, 8),
        cause: facts.cause,
        attempt: facts.attempt,
        failures: small(row, 11),
        parent: row.get::<_, Option<i64>>(12).map(RunId),
        host: row.get(13),
        outcome,
        message: row.get(15),
        note: row.get(22),
        forced: facts.forced,
        why: facts.why(),
        deaths: facts.deaths,
        suspected_at: facts.suspected_at(),
        at_once: facts.at_once,
        key: maybe_name(row, 31)?,
        chain: row.get::<_, Option<&str>>(32).and_then(chain_of),
        labels: row.get::<_, Option<&str>>(33).map(labels::read).unwrap_or_default(),
    })
}
