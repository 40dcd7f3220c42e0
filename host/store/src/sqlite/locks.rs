//! Locks that runs hold. Those of a run are released when its attempt ends: see `finish`.

use rusqlite::{Connection, OptionalExtension, params};

use super::claims::held;
use super::errors::Step;
use super::rows::{instant, kind, kind_code, mode, mode_code, name, number, to_sql};
use super::writer::Writing;
use crate::{HeldLock, LockMode, LockName, LockTaken};
use sexton_domain::run::{ClaimKey, RunId};
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// See [`crate::Store::acquire_lock`].
pub(super) fn acquire(
    w: &mut Writing,
    lock: &LockName,
    wanted: LockMode,
    claim: ClaimKey,
    now: Timestamp,
) -> Step<LockTaken> {
    held(&w.conn, claim)?;
    {
        let mut statement = w
            .conn
            .prepare_cached("SELECT run, mode, fence FROM locks WHERE tenant = ?1 AND kind = ?2 AND name = ?3")?;
        let mut holders = statement.query(params![lock.tenant.as_str(), kind_code(lock.kind), lock.name])?;
        let mut other = None;
        while let Some(row) = holders.next()? {
            let (run, found) = (RunId(row.get(0)?), mode(row, 1)?);
            if run == claim.run && found == wanted {
                return Ok(LockTaken::Yes { fence: number(row, 2)? });
            }
            if found.excludes(wanted) {
                other = Some(run);
            }
        }
        if let Some(run) = other {
            return Ok(LockTaken::HeldBy(run));
        }
    }
    let fence = w.ledger.next_fence();
    w.conn
        .prepare_cached(
            "INSERT INTO locks (tenant, kind, name, run, claim, mode, fence, since_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            lock.tenant.as_str(),
            kind_code(lock.kind),
            lock.name,
            claim.run.0,
            to_sql(claim.fence),
            mode_code(wanted),
            fence,
            now.as_millis()
        ])?;
    Ok(LockTaken::Yes { fence: fence.unsigned_abs() })
}

/// See [`crate::Store::release_lock`].
pub(super) fn release(w: &mut Writing, lock: &LockName, claim: ClaimKey) -> Step<()> {
    let released = w
        .conn
        .prepare_cached("DELETE FROM locks WHERE tenant = ?1 AND kind = ?2 AND name = ?3 AND run = ?4 AND claim = ?5")?
        .execute(params![lock.tenant.as_str(), kind_code(lock.kind), lock.name, claim.run.0, to_sql(claim.fence)])?;
    w.hints.locks |= released > 0;
    Ok(())
}

/// Returns whether `claim` holds the lock with this fence.
pub(super) fn holds(conn: &Connection, lock: &LockName, claim: ClaimKey, fence: u64) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT 1 FROM locks WHERE tenant = ?1 AND kind = ?2 AND name = ?3 AND run = ?4 AND claim = ?5 AND fence = ?6",
    )?
    .query_row(
        params![lock.tenant.as_str(), kind_code(lock.kind), lock.name, claim.run.0, to_sql(claim.fence), to_sql(fence)],
        |_| Ok(()),
    )
    .optional()
    .map(|found| found.is_some())
}

/// See [`crate::Store::locks`].
pub(super) fn list(conn: &Connection, tenant: &Name) -> rusqlite::Result<Vec<HeldLock>> {
    conn.prepare_cached(
        "SELECT l.kind, l.name, l.mode, l.run, t.name, l.fence, l.since_at FROM locks l \
         JOIN runs r ON r.id = l.run JOIN tasks t ON t.id = r.task WHERE l.tenant = ?1 ORDER BY l.name, l.kind, l.run",
    )?
    .query_map([tenant.as_str()], |row| {
        Ok(HeldLock {
            lock: LockName { tenant: tenant.clone(), kind: kind(row, 0)?, name: row.get(1)? },
            mode: mode(row, 2)?,
            run: RunId(row.get(3)?),
            task: name(row, 4)?,
            fence: number(row, 5)?,
            since: instant(row, 6)?,
        })
    })?
    .collect()
}
