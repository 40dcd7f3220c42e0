//! Runs whose hosts died, and those of them that are held back. See `store/loss.rs`.

use const_format::formatcp;
use rusqlite::{Connection, OptionalExtension, params};

use super::errors::Step;
use super::ledger::TaskId;
use super::rows::{state, to_sql};
use super::writer::Writing;
use crate::codes::{SUCCEEDED, WAITING};
use crate::{Death, Released, StoreError};
use sexton_domain::run::{ClaimKey, RunId};
use sexton_domain::time::Timestamp;

/// Counts a death for the run of `claim`, which waits again, or is held back since `suspected_at`.
pub(super) fn count(
    conn: &Connection,
    claim: ClaimKey,
    death: &Death,
    suspected_at: Option<Timestamp>,
) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE runs SET deaths = deaths + 1, suspected_at = ?2 WHERE id = ?1")?
        .execute(params![claim.run.0, suspected_at.map(Timestamp::as_millis)])?;
    if let Some(instance) = death.presumed {
        conn.prepare_cached("INSERT OR IGNORE INTO presumed_deaths VALUES (?1, ?2, ?3, ?4)")?.execute(params![
            death.host,
            instance,
            claim.run.0,
            to_sql(claim.fence)
        ])?;
    }
    Ok(())
}

/// Takes back the deaths presumed of a life of `host` that is alive, and releases the runs held back for them.
pub(super) fn retract_deaths(w: &mut Writing, host: &str, instance: i64, now: Timestamp) -> rusqlite::Result<()> {
    let runs: Vec<i64> = w
        .conn
        .prepare_cached("DELETE FROM presumed_deaths WHERE host = ?1 AND instance = ?2 RETURNING run")?
        .query_map(params![host, instance], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for run in runs {
        w.conn
            .prepare_cached(formatcp!(
                "UPDATE runs SET deaths = max(deaths - 1, 0) WHERE id = ?1 AND state < {SUCCEEDED}"
            ))?
            .execute([run])?;
        release_held_back(w, RunId(run), now)?;
    }
    Ok(())
}

/// Releases a run that is held back; returns whether it was.
fn release_held_back(w: &mut Writing, run: RunId, now: Timestamp) -> rusqlite::Result<bool> {
    let task = w
        .conn
        .prepare_cached(formatcp!(
            "UPDATE runs SET run_at = ?2, suspected_at = NULL WHERE id = ?1 AND state = {WAITING} \
             AND suspected_at IS NOT NULL RETURNING task"
        ))?
        .query_row(params![run.0, now.as_millis()], |row| row.get(0))
        .optional()?;
    let Some(task) = task else { return Ok(false) };
    let row = w.ledger.change(TaskId(task));
    row.not_before = row.not_before.min(now);
    w.hints.runs = true;
    w.hints.changes = true;
    Ok(true)
}

/// See [`crate::Store::release_run`].
pub(super) fn release(w: &mut Writing, run: RunId, now: Timestamp) -> Step<Released> {
    if release_held_back(w, run, now)? {
        return Ok(Released::Done);
    }
    let found = w
        .conn
        .prepare_cached("SELECT state FROM runs WHERE id = ?1")?
        .query_row([run.0], |row| state(row, 0))
        .optional()?;
    Ok(Released::NotHeld(found.ok_or(StoreError::NoRun(run))?))
}

/// Forgets the deaths presumed of `host`: its name has a later life, so they are certain.
pub(super) fn confirm(conn: &Connection, host: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM presumed_deaths WHERE host = ?1")?.execute([host]).map(drop)
}

/// Forgets the deaths presumed of all hosts that are no longer listed.
pub(super) fn confirm_unlisted(conn: &Connection) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM presumed_deaths WHERE host NOT IN (SELECT name FROM hosts)")?.execute([]).map(drop)
}
