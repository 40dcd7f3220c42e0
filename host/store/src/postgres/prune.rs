//! Deletes history beyond its bounds. The runs to delete are found by reading, without a lock, and deleted a bounded
//! piece at a time. By age alone whole days go at once: see `partitions`.

use std::collections::BTreeSet;

use const_format::formatcp;

use crate::codes::{RUNNING, state_code};
use crate::rules::retention::{ATTEMPTS, LOOK_BEHIND};
use crate::rules::runs::is_due_key;
use crate::{ROW_BYTES, Retention};
use sexton_domain::run::{ClaimKey, RunId, RunState};
use sexton_domain::time::Timestamp;

use super::counter_changes::{CounterChanges, LATEST_SUCCESS};
use super::day::day_after;
use super::errors::Step;
use super::rows::{code, instant, state, to_int, to_sql};
use super::schema::NOT_OVER;
use super::tx::Tx;

/// Runs (or entries, or schedules) that are deleted in one transaction. One wait for the disk, and one search, serves
/// for as many; transactions that want the same rows wait for some ten milliseconds.
pub(super) const PIECE: usize = 512;

/// Finds up to `limit` runs to delete: the oldest of each task, by number, by bytes and by age.
pub(super) async fn surplus(tx: &Tx, retention: &Retention, now: Timestamp, limit: usize) -> Step<Vec<RunId>> {
    let mut found = too_many(tx, retention, limit).await?;
    if found.len() < limit {
        found.extend(too_old(tx, now.minus(retention.age), limit - found.len()).await?);
    }
    Ok(found.into_iter().collect())
}

/// Finds a task's oldest runs beyond its number of runs and of bytes. The latest success counts as deleted although it
/// stays: it costs no other run its place.
async fn too_many(tx: &Tx, retention: &Retention, limit: usize) -> Step<BTreeSet<RunId>> {
    let sql = format!(
        "SELECT r.id FROM (SELECT task, sum(succeeded + failed + cancelled) AS runs, sum(bytes) AS bytes, \
         {LATEST_SUCCESS} AS latest FROM tally GROUP BY task \
         HAVING sum(succeeded + failed + cancelled) > $1::bigint OR sum(bytes) > $2::bigint) y \
         CROSS JOIN LATERAL (SELECT o.id, row_number() OVER w AS place, sum(o.bytes) OVER w - o.bytes AS earlier \
         FROM (SELECT id, bytes FROM runs WHERE task = y.task AND over_at < {NOT_OVER} ORDER BY -id DESC LIMIT $3::bigint) o \
         WINDOW w AS (ORDER BY o.id)) r \
         WHERE (r.place <= y.runs - $1::bigint OR r.earlier < y.bytes - $2::bigint) AND r.id IS DISTINCT FROM y.latest \
         LIMIT $3::bigint"
    );
    let rows = tx.query(&sql, &[&to_sql(retention.runs), &to_sql(retention.bytes), &to_sql(limit)]).await?;
    Ok(rows.iter().map(|row| RunId(row.get(0))).collect())
}

/// Finds runs over before `oldest` that did not go with their day; reads only that day's partition and the default.
async fn too_old(tx: &Tx, oldest: Timestamp, limit: usize) -> Step<Vec<RunId>> {
    let sql = format!(
        "SELECT o.id FROM (SELECT task, {LATEST_SUCCESS} AS latest FROM tally GROUP BY task \
         HAVING sum(succeeded + failed + cancelled) > 0) y \
         CROSS JOIN LATERAL (SELECT id, over_at FROM runs WHERE task = y.task AND over_at < $2 \
         ORDER BY -id DESC LIMIT {LOOK_BEHIND}) o \
         WHERE o.over_at <= $1 AND o.id IS DISTINCT FROM y.latest LIMIT $3"
    );
    let rows = tx.query(&sql, &[&oldest.as_millis(), &day_after(oldest), &to_sql(limit)]).await?;
    Ok(rows.iter().map(|row| RunId(row.get(0))).collect())
}

/// Deletes attempts between the first one at a run and its latest [`ATTEMPTS`], that of `claim` included, if the claim
/// holds. Returns the bytes that were kept of them.
pub(super) async fn forget_attempts(tx: &Tx, claim: ClaimKey) -> Step<i64> {
    if claim.attempt <= ATTEMPTS + 1 {
        return Ok(0);
    }
    // The lock makes the claim hold until its end is written.
    let held = formatcp!(
        "SELECT true FROM runs_live WHERE id = $1 AND state + 0 = {RUNNING} AND attempt = $2 AND fence = $3 FOR UPDATE"
    );
    if tx.query(held, &[&claim.run.0, &to_int(claim.attempt), &to_sql(claim.fence)]).await?.is_empty() {
        return Ok(0);
    }
    // There is more than one only if the run was tried while more were kept. Bytes are counted as in `finish`.
    let sql = format!(
        "WITH old AS (SELECT attempt FROM attempts WHERE run = $1 AND over_at = {NOT_OVER} AND attempt > 1 AND attempt <= $2 \
         ORDER BY attempt LIMIT $3) \
         DELETE FROM attempts a USING old o WHERE a.run = $1 AND a.over_at = {NOT_OVER} AND a.attempt = o.attempt \
         RETURNING coalesce(octet_length(a.log), 0)::bigint + coalesce(octet_length(a.stdout), 0) \
         + coalesce(octet_length(a.stderr), 0) + coalesce(octet_length(a.backtrace), 0), \
         a.backtrace IS NOT NULL OR a.log_cut OR a.stdout_cut OR a.stderr_cut"
    );
    let rows = tx.query(&sql, &[&claim.run.0, &to_int(claim.attempt - ATTEMPTS), &to_sql(PIECE)]).await?;
    let bytes = rows.iter().map(|row| match (row.get::<_, i64>(0), row.get(1)) {
        (0, false) => 0,
        (bytes, _) => bytes + ROW_BYTES,
    });
    Ok(bytes.sum())
}

/// Deletes runs that are over, and all that belongs to them. Returns their number.
pub(super) async fn delete(tx: &mut Tx, runs: &[RunId]) -> Step<u64> {
    let runs: Vec<i64> = runs.iter().map(|run| run.0).collect();
    let sql = format!(
        "DELETE FROM runs WHERE id = ANY($1) AND over_at < {NOT_OVER} AND state > {} \
         RETURNING id, task, state, bytes, attempt, dedup, due_at",
        code(state_code(RunState::Running))
    );
    let gone = tx.query(&sql, &[&runs]).await?;
    if gone.is_empty() {
        return Ok(0);
    }
    let mut tally = CounterChanges::default();
    let (mut ids, mut tasks, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    let mut tried: Vec<i64> = Vec::new();
    for row in &gone {
        let (run, task): (i64, i64) = (row.get(0), row.get(1));
        let change = tally.of(task);
        change.leave(state(row, 2)?, 1);
        change.bytes -= row.get::<_, i64>(3);
        if row.get::<_, i32>(4) > 0 {
            tried.push(run);
        }
        if let Some(key) = row.get::<_, Option<&str>>(5) {
            if is_due_key(key) {
                change.forgot(instant(row, 6));
            }
            ids.push(run);
            tasks.push(task);
            keys.push(key);
        }
    }
    if !tried.is_empty() {
        tx.execute("DELETE FROM attempts WHERE run = ANY($1)", &[&tried]).await?;
    }
    if !ids.is_empty() {
        tx.execute(
            "DELETE FROM run_keys k USING unnest($1::bigint[], $2::text[], $3::bigint[]) AS n(task, key, run) \
             WHERE k.task = n.task AND k.key = n.key AND k.run = n.run",
            &[&tasks, &keys, &ids],
        )
        .await?;
    }
    tally.write(tx).await?;
    tx.hints.changes = true;
    Ok(gone.len() as u64)
}
