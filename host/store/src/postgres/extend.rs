//! Extends claims, finds those that have expired, and ends the claims of a host's earlier lives.

use std::collections::HashMap;

use const_format::formatcp;
use tokio_postgres::Row;

use super::errors::Step;
use super::rows::{instant, maybe_instant, number, small, task_key, to_int, to_sql};
use super::tx::Tx;
use crate::codes::RUNNING;
use crate::{Death, Expired, Extended, LossPolicy};
use sexton_domain::run::{ClaimKey, RunId};
use sexton_domain::time::Timestamp;

/// Returns claims as three columns.
pub(super) fn columns(claims: &[ClaimKey]) -> (Vec<i64>, Vec<i32>, Vec<i64>) {
    let runs = claims.iter().map(|claim| claim.run.0).collect();
    let attempts = claims.iter().map(|claim| to_int(claim.attempt)).collect();
    let fences = claims.iter().map(|claim| to_sql(claim.fence)).collect();
    (runs, attempts, fences)
}

/// See [`crate::Store::extend`].
pub(super) async fn extend(tx: &mut Tx, claims: &[ClaimKey], until: Timestamp) -> Step<Extended> {
    let mut sorted = claims.to_vec();
    // All transactions lock runs in this order.
    sorted.sort_unstable_by_key(|claim| claim.run);
    let (runs, attempts, fences) = columns(&sorted);
    let rows = tx
        .query(
            formatcp!(
                "UPDATE runs_live r SET lease_until = $4 \
                 FROM unnest($1::bigint[], $2::int[], $3::bigint[]) AS c(run, attempt, fence) \
                 WHERE r.id = ANY (ARRAY[c.run]) AND r.state + 0 = {RUNNING} AND r.attempt = c.attempt \
                 AND r.fence = c.fence \
                 RETURNING r.id, r.attempt, r.fence, r.cancel IS NOT NULL"
            ),
            &[&runs, &attempts, &fences, &until.as_millis()],
        )
        .await?;
    let key = |row: &Row| ClaimKey { run: RunId(row.get(0)), attempt: small(row, 1), fence: number(row, 2) };
    let held: HashMap<ClaimKey, bool> = rows.iter().map(|row| (key(row), row.get(3))).collect();
    let mut extended = Extended::default();
    for claim in claims {
        match held.get(claim) {
            None => extended.lost.push(*claim),
            Some(true) => extended.cancelled.push(*claim),
            Some(false) => {}
        }
    }
    Ok(extended)
}

/// See [`crate::Store::expired`].
pub(super) async fn expired(tx: &Tx, now: Timestamp, limit: usize) -> Step<Vec<Expired>> {
    let rows = tx
        .query(
            formatcp!(
                "SELECT r.id, r.attempt, r.fence, t.tenant, t.name, r.failures, r.claimed_at, r.host, \
                 r.cancel IS NOT NULL, r.attempts_limit, r.pause_after, r.deaths, r.lease_until, \
                 h.instance, h.alive_until \
                 FROM runs_live r JOIN tasks t ON t.id = ANY (ARRAY[r.task]) \
                 LEFT JOIN hosts h ON h.name = r.host COLLATE \"C\" \
                 WHERE r.state = {RUNNING} AND r.lease_until < $1 ORDER BY r.id LIMIT $2"
            ),
            &[&now.as_millis(), &to_sql(limit)],
        )
        .await?;
    let each = rows.iter().map(|row| {
        let host = row.get::<_, Option<String>>(7).unwrap_or_default();
        let announced = row.get::<_, Option<i64>>(13).zip(maybe_instant(row, 14));
        let some = |column| row.get::<_, Option<i32>>(column).map(i32::unsigned_abs);
        let policy = some(9).map(|attempts| LossPolicy { attempts, pause_after: some(10) });
        Ok(Expired {
            claim: ClaimKey {
                run: RunId(row.get(0)),
                attempt: small(row, 1),
                fence: row.get::<_, i64>(2).unsigned_abs(),
            },
            task: task_key(row, 3)?,
            failures: small(row, 5),
            claimed_at: instant(row, 6),
            cancel_requested: row.get(8),
            policy,
            deaths: small(row, 11),
            death: Death::of(&host, row.get(12), announced, now),
            host,
        })
    });
    each.collect()
}

/// See [`crate::Store::abandon`].
pub(super) async fn abandon(tx: &mut Tx, host: &str) -> Step<u64> {
    let sql = formatcp!("UPDATE runs_live SET lease_until = $2 WHERE state = {RUNNING} AND host = $1");
    tx.execute(sql, &[&host, &i64::MIN]).await
}
