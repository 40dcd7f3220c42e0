//! Locks that runs hold, and the queues for them. A run's locks and places are deleted when its attempt ends or is
//! found lost: see `finish`.
//!
//! A transaction that takes a lock, or queues for it, holds the row of its name in `lock_names` until the commit. All
//! transactions lock the run's row first and then the name's, so that they never deadlock.

use const_format::formatcp;

use super::errors::Step;
use super::rows::{code, instant, kind, mode, name, named, number, to_int, to_sql};
use super::tx::Tx;
use crate::codes::{RUNNING, kind_code, mode_code};
use crate::{HeldLock, LockMode, LockName, LockTaken, StoreError};
use sexton_domain::run::{ClaimKey, RunId};
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// Names that are deleted in one transaction.
pub(super) const PIECE: u64 = 1000;

/// A row that an act locks besides runs, in the order in which all transactions lock them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LockedRow {
    /// The row of a task.
    Task(i64),
    /// A lock's name.
    Lock(Name, i64, String),
    /// A tenant's cache.
    Cache(Name),
}

impl From<&LockName> for LockedRow {
    fn from(lock: &LockName) -> Self {
        Self::Lock(lock.tenant.clone(), kind_code(lock.kind), lock.name.clone())
    }
}

/// Selects the task whose run has a claim, as a part of a statement whose first parameters are the claim. Until the
/// transaction has ended no other one ends the attempt, because that locks the run's row as if it were deleted; extending
/// the claim does not have to wait.
pub(super) const HOLDER: &str = formatcp!(
    "SELECT task FROM runs_live WHERE id = $1 AND state + 0 = {RUNNING} AND attempt = $2 AND fence = $3 \
     FOR KEY SHARE"
);

/// A run that has a lock, or a place in its queue.
#[derive(Clone, Copy, Debug)]
struct Party {
    run: RunId,
    mode: LockMode,
    /// The lock's fence, or the ticket.
    number: i64,
}

/// The holders of a lock, and the runs that wait for it, first to last.
#[derive(Debug, Default)]
struct Parties {
    holders: Vec<Party>,
    waits: Vec<Party>,
}

/// The answer to a run that wants a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The run has it, with this fence.
    Mine(i64),
    /// No run is in the way.
    Free,
    /// This run is in the way.
    Behind(RunId),
}

impl Parties {
    /// Returns the place of a run that waits for the lock in this mode.
    fn place(&self, run: RunId, wanted: LockMode) -> Option<&Party> {
        self.waits.iter().find(|wait| wait.run == run && wait.mode == wanted)
    }

    fn find(&self, run: RunId, wanted: LockMode) -> Found {
        if let Some(mine) = self.holders.iter().find(|holder| holder.run == run && holder.mode == wanted) {
            return Found::Mine(mine.number);
        }
        // A run never passes those that have waited longer, not even if the lock is free.
        let ticket = self.place(run, wanted).map_or(i64::MAX, |place| place.number);
        let before = self.waits.iter().filter(|wait| wait.run != run && wait.number < ticket);
        match self.holders.iter().chain(before).find(|other| other.mode.excludes(wanted)) {
            Some(other) => Found::Behind(other.run),
            None => Found::Free,
        }
    }
}

/// See [`crate::Store::acquire_lock`].
pub(super) async fn acquire(
    tx: &mut Tx,
    lock: &LockName,
    wanted: LockMode,
    claim: ClaimKey,
    now: Timestamp,
) -> Step<LockTaken> {
    let parties = enter(tx, lock, claim, now).await?;
    take(tx, &parties, lock, wanted, claim, now).await
}

/// See [`crate::Store::wait_for_lock`].
pub(super) async fn wait(
    tx: &mut Tx,
    lock: &LockName,
    wanted: LockMode,
    claim: ClaimKey,
    now: Timestamp,
) -> Step<LockTaken> {
    let parties = enter(tx, lock, claim, now).await?;
    let taken = take(tx, &parties, lock, wanted, claim, now).await?;
    if matches!(taken, LockTaken::HeldBy(_)) && parties.place(claim.run, wanted).is_none() {
        // The run gives up a place that it has for another mode.
        give_up(tx, lock, claim).await?;
        tx.execute(
            "INSERT INTO lock_waits (tenant, kind, name, run, claim, mode, since_at, ticket) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, nextval('fences'))",
            &[
                &lock.tenant.as_str(),
                &code(kind_code(lock.kind)),
                &lock.name.as_bytes(),
                &claim.run.0,
                &to_sql(claim.fence),
                &code(mode_code(wanted)),
                &now.as_millis(),
            ],
        )
        .await?;
    }
    Ok(taken)
}

/// Takes the lock if no run is in the way, and gives up a place in the queue.
async fn take(
    tx: &mut Tx,
    parties: &Parties,
    lock: &LockName,
    wanted: LockMode,
    claim: ClaimKey,
    now: Timestamp,
) -> Step<LockTaken> {
    let fence = match parties.find(claim.run, wanted) {
        Found::Behind(run) => return Ok(LockTaken::HeldBy(run)),
        Found::Mine(fence) => fence,
        Found::Free => {
            let row = tx
                .query_one(
                    "INSERT INTO locks (tenant, kind, name, run, claim, mode, since_at, fence) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, nextval('fences')) RETURNING fence",
                    &[
                        &lock.tenant.as_str(),
                        &code(kind_code(lock.kind)),
                        &lock.name.as_bytes(),
                        &claim.run.0,
                        &to_sql(claim.fence),
                        &code(mode_code(wanted)),
                        &now.as_millis(),
                    ],
                )
                .await?;
            row.get(0)
        }
    };
    if parties.waits.iter().any(|wait| wait.run == claim.run) {
        // No hint is needed: the runs behind are now kept out by the lock.
        give_up(tx, lock, claim).await?;
    }
    Ok(LockTaken::Yes { fence: fence.unsigned_abs() })
}

/// Locks the name, and returns the lock's holders and the runs that wait for it.
///
/// # Errors
///
/// [`StoreError::ClaimLost`] if the claim does not hold.
async fn enter(tx: &Tx, lock: &LockName, claim: ClaimKey, now: Timestamp) -> Step<Parties> {
    let (tenant, kind, name) = (lock.tenant.as_str(), code(kind_code(lock.kind)), lock.name.as_bytes());
    // This locks the run, then the name, whose row mostly exists.
    let both = format!(
        "SELECT ({}), (SELECT true FROM lock_names WHERE tenant = $4 AND kind = $5 AND name = $6 FOR UPDATE)",
        HOLDER
    );
    let fence = to_sql(claim.fence);
    loop {
        let row = tx.query_one(&both, &[&claim.run.0, &to_int(claim.attempt), &fence, &tenant, &kind, &name]).await?;
        row.get::<_, Option<i64>>(0).ok_or(StoreError::ClaimLost(claim))?;
        if row.get::<_, Option<bool>>(1).is_some() {
            break;
        }
        let made = tx
            .execute(
                "INSERT INTO lock_names (tenant, kind, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                &[&tenant, &kind, &name],
            )
            .await?;
        if made > 0 {
            break;
        }
        // Another transaction has made the row since: it must still be locked.
    }
    // A place lasts as long as its claim, and counts while the lease does: a run whose host is gone asks no more.
    let sql = formatcp!(
        "SELECT true, run, mode, fence FROM locks WHERE tenant = $1 AND kind = $2 AND name = $3 \
         UNION ALL \
         SELECT false, w.run, w.mode, w.ticket FROM lock_waits w JOIN runs_live r ON r.id = ANY (ARRAY[w.run]) \
         AND r.state + 0 = {RUNNING} AND r.fence = w.claim AND (r.lease_until >= $4 OR r.id = $5) \
         WHERE w.tenant = $1 AND w.kind = $2 AND w.name = $3 ORDER BY 4"
    );
    let mut parties = Parties::default();
    for row in tx.query(sql, &[&tenant, &kind, &name, &now.as_millis(), &claim.run.0]).await? {
        let party = Party { run: RunId(row.get(1)), mode: mode(&row, 2)?, number: row.get(3) };
        if row.get(0) { parties.holders.push(party) } else { parties.waits.push(party) }
    }
    Ok(parties)
}

/// See [`crate::Store::release_lock`].
pub(super) async fn release(tx: &mut Tx, lock: &LockName, claim: ClaimKey) -> Step<()> {
    let released = tx
        .execute(
            "DELETE FROM locks WHERE tenant = $1 AND kind = $2 AND name = $3 AND run = $4 AND claim = $5",
            &[
                &lock.tenant.as_str(),
                &code(kind_code(lock.kind)),
                &lock.name.as_bytes(),
                &claim.run.0,
                &to_sql(claim.fence),
            ],
        )
        .await?;
    tx.hints.locks |= released > 0;
    Ok(())
}

/// See [`crate::Store::leave_lock_queue`]. A run behind may take a lock that is free.
pub(super) async fn leave(tx: &mut Tx, lock: &LockName, claim: ClaimKey) -> Step<()> {
    let left = give_up(tx, lock, claim).await?;
    tx.hints.locks |= left > 0;
    Ok(())
}

/// Gives up a claim's places in the queue of a lock. Returns their number.
async fn give_up(tx: &Tx, lock: &LockName, claim: ClaimKey) -> Step<u64> {
    tx.execute(
        "DELETE FROM lock_waits WHERE tenant = $1 AND kind = $2 AND name = $3 AND run = $4 AND claim = $5",
        &[
            &lock.tenant.as_str(),
            &code(kind_code(lock.kind)),
            &lock.name.as_bytes(),
            &claim.run.0,
            &to_sql(claim.fence),
        ],
    )
    .await
}

/// Returns whether `claim` holds the lock with this fence.
pub(super) async fn holds(tx: &Tx, lock: &LockName, claim: ClaimKey, fence: u64) -> Step<bool> {
    let found = tx
        .query_opt(
            "SELECT 1 FROM locks WHERE tenant = $1 AND kind = $2 AND name = $3 AND run = $4 AND claim = $5 AND fence = $6",
            &[
                &lock.tenant.as_str(),
                &code(kind_code(lock.kind)),
                &lock.name.as_bytes(),
                &claim.run.0,
                &to_sql(claim.fence),
                &to_sql(fence),
            ],
        )
        .await?;
    Ok(found.is_some())
}

/// See [`crate::Store::locks`].
pub(super) async fn list(tx: &Tx, tenant: &Name) -> Step<Vec<HeldLock>> {
    let sql = "SELECT l.kind, l.name, l.mode, l.run, t.name, l.fence, l.since_at FROM locks l \
         JOIN runs_live r ON r.id = ANY (ARRAY[l.run]) JOIN tasks t ON t.id = ANY (ARRAY[r.task]) \
         WHERE l.tenant = $1 ORDER BY l.name, l.kind, l.run";
    let rows = tx.query(sql, &[&tenant.as_str()]).await?;
    let each = rows.iter().map(|row| {
        Ok(HeldLock {
            lock: LockName { tenant: tenant.clone(), kind: kind(row, 0)?, name: named(row, 1)? },
            mode: mode(row, 2)?,
            run: RunId(row.get(3)),
            task: name(row, 4)?,
            fence: number(row, 5),
            since: instant(row, 6),
        })
    });
    each.collect()
}

/// Deletes names that no run has or waits for, up to [`PIECE`] of them. Returns their number. Names that other
/// transactions have locked are left alone; one that is taken right afterwards is made anew.
pub(super) async fn forget(tx: &Tx) -> Step<u64> {
    tx.execute(
        "WITH idle AS (SELECT n.tenant, n.kind, n.name FROM lock_names n \
         WHERE NOT EXISTS (SELECT 1 FROM locks l WHERE l.tenant = n.tenant AND l.kind = n.kind AND l.name = n.name) \
         AND NOT EXISTS (SELECT 1 FROM lock_waits w WHERE w.tenant = n.tenant AND w.kind = n.kind AND w.name = n.name) \
         LIMIT $1 FOR UPDATE OF n SKIP LOCKED) \
         DELETE FROM lock_names n USING idle i WHERE n.tenant = i.tenant AND n.kind = i.kind AND n.name = i.name",
        &[&to_sql(PIECE)],
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::LockMode::{Exclusive, Shared};
    use super::*;

    /// Builds parties from holders and waiting runs, each `(run, mode)`; tickets are by place.
    fn parties(holders: &[(i64, LockMode)], waits: &[(i64, LockMode)]) -> Parties {
        let party = |number: i64, (run, mode): &(i64, LockMode)| Party { run: RunId(*run), mode: *mode, number };
        let all = |from: &[(i64, LockMode)]| (1..).zip(from).map(|(number, one)| party(number, one)).collect();
        Parties { holders: all(holders), waits: all(waits) }
    }

    #[test]
    fn a_run_never_passes_one_that_has_waited_longer() {
        let queue = parties(&[], &[(1, Exclusive), (2, Exclusive)]);

        let found = [1, 2, 3].map(|run| queue.find(RunId(run), Exclusive));

        assert_eq!(found, [Found::Free, Found::Behind(RunId(1)), Found::Behind(RunId(1))]);
        assert_eq!(queue.find(RunId(3), Shared), Found::Behind(RunId(1)));
    }

    #[test]
    fn shared_waiters_pass_shared_holders_but_not_an_exclusive_waiter() {
        let queue = parties(&[(9, Shared)], &[(1, Shared), (2, Exclusive), (3, Shared)]);

        let found = [1, 3, 4].map(|run| queue.find(RunId(run), Shared));

        assert_eq!(found, [Found::Free, Found::Behind(RunId(2)), Found::Behind(RunId(2))]);
        assert_eq!(queue.find(RunId(2), Exclusive), Found::Behind(RunId(9)));
        assert_eq!(queue.find(RunId(9), Shared), Found::Mine(1));
        assert_eq!(queue.find(RunId(9), Exclusive), Found::Behind(RunId(9)));
    }
}
