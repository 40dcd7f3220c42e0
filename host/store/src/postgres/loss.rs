//! Runs whose hosts died, and those of them that are held back. See `store/loss.rs`.

use const_format::formatcp;

use super::errors::Step;
use super::finish::Ended;
use super::rows::{state, to_sql};
use super::tx::{Ask, Tx};
use crate::codes::WAITING;
use crate::{Released, StoreError};
use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{RunId, RunState};
use sexton_domain::time::Timestamp;

/// Counts the deaths of the runs that wait again or are held back.
pub(super) async fn count(tx: &Tx, ended: &[(usize, Ended<'_>)]) -> Step<()> {
    let (mut runs, mut suspected, mut hosts, mut presumed) =
        (Vec::new(), Vec::new(), Vec::new(), [const { Vec::new() }; 3]);
    for (_, one) in ended.iter().filter(|(_, one)| one.entered == RunState::Waiting) {
        let Some(death) = &one.finish.death else { continue };
        runs.push(one.claim.run.0);
        suspected.push((one.finish.transition == Transition::HoldBack).then(|| one.ended_at.as_millis()));
        if let Some(instance) = death.presumed {
            hosts.push(death.host.as_str());
            presumed[0].push(instance);
            presumed[1].push(one.claim.run.0);
            presumed[2].push(to_sql(one.claim.fence));
        }
    }
    if runs.is_empty() {
        return Ok(());
    }
    let asks: [Ask<'_>; 2] = [
        (
            "UPDATE runs_live r SET deaths = r.deaths + 1, suspected_at = n.suspected_at \
             FROM unnest($1::bigint[], $2::bigint[]) AS n(id, suspected_at) WHERE r.id = ANY (ARRAY[n.id])",
            &[&runs, &suspected],
        ),
        (
            "INSERT INTO presumed_deaths SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) \
             ON CONFLICT DO NOTHING",
            &[&hosts, &presumed[0], &presumed[1], &presumed[2]],
        ),
    ];
    tx.pipeline(&asks).await?;
    Ok(())
}

/// Takes back the deaths presumed of a life of `host` that is alive, and releases the runs held back for them.
pub(super) async fn retract_deaths(tx: &mut Tx, host: &str, instance: i64, now: Timestamp) -> Step<()> {
    let rows = tx
        .query("DELETE FROM presumed_deaths WHERE host = $1 AND instance = $2 RETURNING run", &[&host, &instance])
        .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut runs: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    // All transactions lock runs in this order.
    runs.sort_unstable();
    tx.execute(
        "UPDATE runs_live r SET deaths = greatest(r.deaths - b.times, 0), suspected_at = NULL, \
         run_at = CASE WHEN r.suspected_at IS NULL THEN r.run_at ELSE $2 END \
         FROM (SELECT id, count(*)::int AS times FROM unnest($1::bigint[]) AS u(id) GROUP BY id ORDER BY id) b \
         WHERE r.id = ANY (ARRAY[b.id])",
        &[&runs, &now.as_millis()],
    )
    .await?;
    tx.hints.runs = true;
    tx.hints.changes = true;
    Ok(())
}

/// See [`crate::Store::release_run`].
pub(super) async fn release(tx: &mut Tx, run: RunId, now: Timestamp) -> Step<Released> {
    let released = tx
        .execute(
            formatcp!(
                "UPDATE runs_live SET run_at = $2, suspected_at = NULL \
                 WHERE id = $1 AND state + 0 = {WAITING} AND suspected_at IS NOT NULL"
            ),
            &[&run.0, &now.as_millis()],
        )
        .await?;
    if released > 0 {
        tx.hints.runs = true;
        tx.hints.changes = true;
        return Ok(Released::Done);
    }
    match tx.query_opt("SELECT state FROM runs WHERE id = $1", &[&run.0]).await? {
        Some(row) => Ok(Released::NotHeld(state(&row, 0)?)),
        None => Err(StoreError::NoRun(run).into()),
    }
}

/// Forgets the deaths presumed of `host`: its name has a later life, so they are certain.
pub(super) async fn confirm(tx: &Tx, host: &str) -> Step<()> {
    tx.execute("DELETE FROM presumed_deaths WHERE host = $1", &[&host]).await.map(drop)
}

/// Forgets the deaths presumed of all hosts that are no longer listed.
pub(super) async fn confirm_unlisted(tx: &Tx) -> Step<()> {
    let sql = "DELETE FROM presumed_deaths p WHERE NOT EXISTS (SELECT 1 FROM hosts h WHERE h.name = p.host)";
    tx.execute(sql, &[]).await.map(drop)
}
