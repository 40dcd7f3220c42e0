//! Mends instants that a wrong clock has left: see [`crate::repairs`].

use async_trait::async_trait;
use const_format::formatcp;
use rusqlite::params;

use super::SqliteStore;
use super::errors::Step;
use super::writer::Writing;
use crate::Result;
use crate::backfills::TURN_MS;
use crate::codes::{RUNNING, WAITING};
use crate::repairs::{BroughtBack, LONGEST_LEASE, Repaired, Repairs, limit};
use sexton_domain::time::Timestamp;

#[async_trait]
impl Repairs for SqliteStore {
    async fn repair_instants(&self, now: Timestamp) -> Result<Repaired> {
        self.write(move |w| repair(w, now)).await
    }
}

/// Moves waiting runs that were made by a clock that was ahead, by as much as it was. Runs that wait for their turn in a
/// backfill go on waiting.
const NOT_TRIED: &str = formatcp!(
    "UPDATE runs SET run_at = ?1 + (run_at - created_at), start_by_at = ?1 + (start_by_at - created_at), \
     created_at = ?1 WHERE state = {WAITING} AND attempt = 0 AND run_at > ?2 AND created_at > ?2 \
     AND run_at < {TURN_MS}"
);

/// Makes waiting runs that such a clock has tried due now.
const TRIED: &str = formatcp!(
    "UPDATE runs SET run_at = ?1 WHERE state = {WAITING} AND attempt > 0 AND run_at > ?2 AND claimed_at > ?2"
);

/// Selects the runs of [`BroughtBack`] by its names.
const BROUGHT_BACK: &str = "AND (?3 = '' OR task IN (SELECT id FROM tasks WHERE tenant = ?3 AND (?5 OR ?4 = '' OR name = ?4))) \
     AND (NOT ?5 OR schedule = ?4)";

/// Brings back waiting runs that a clock ahead of `now` has made or tried, however little it was ahead.
pub(super) fn bring_back(w: &mut Writing, runs: BroughtBack<'_>, now: Timestamp) -> rusqlite::Result<()> {
    let (now, (tenant, name, by_key)) = (now.as_millis(), runs.names());
    let mut changed = 0;
    for sql in [formatcp!("{NOT_TRIED} {BROUGHT_BACK}"), formatcp!("{TRIED} {BROUGHT_BACK}")] {
        changed += w.conn.prepare_cached(sql)?.execute(params![now, now, tenant, name, by_key])?;
    }
    if changed > 0 {
        w.ledger.forget_when_due();
        w.ledger.look_up_start_by(&w.conn)?;
        (w.hints.runs, w.hints.changes) = (true, true);
    }
    Ok(())
}

fn repair(w: &mut Writing, now: Timestamp) -> Step<Repaired> {
    let instants = [now.as_millis(), limit(now).as_millis()];
    let change = |sql: &str| Ok::<_, rusqlite::Error>(w.conn.execute(sql, instants)? as u64);
    let runs = change(NOT_TRIED)? + change(TRIED)?;
    let claims = w.conn.execute(
        formatcp!("UPDATE runs SET lease_until = ?1 WHERE state = {RUNNING} AND lease_until > ?2"),
        [now.plus(LONGEST_LEASE).as_millis(), limit(now).as_millis()],
    )? as u64;
    let schedules = change("UPDATE schedules SET cursor_at = ?1 WHERE cursor_at > ?2 AND finished_at IS NULL")?;
    let entries = change("UPDATE entries SET expires_at = ?1 + (expires_at - set_at), set_at = ?1 WHERE set_at > ?2")?;
    change("UPDATE entry_versions SET expires_at = ?1 + (expires_at - set_at), set_at = ?1 WHERE set_at > ?2")?;
    change("UPDATE hosts SET alive_until = ?1, seen_at = ?1 WHERE seen_at > ?2")?;
    let tasks = w.ledger.move_back(now, limit(now));
    w.ledger.look_up_start_by(&w.conn)?;
    (w.hints.runs, w.hints.changes, w.hints.schedules) = (true, true, true);
    Ok(Repaired { tasks, runs: runs + claims, schedules, entries })
}
