//! Runs that go past limits because a person wants to see them run: they are claimed before all others, whatever else
//! holds their tasks and tenants back.

use const_format::formatcp;

use super::claims::{Candidate, take};
use super::errors::Step;
use super::ledger::TaskId;
use super::rows::instant;
use super::writer::Writing;
use crate::ClaimRequest;
use crate::codes::WAITING;
use crate::rules::claims::sooner;
use sexton_domain::run::{Claim, RunId};
use sexton_domain::time::Timestamp;

/// Selects all that wait, earliest first. Only a first attempt is one: a retry or a deferral waits like others, so that
/// no guest can stay past its limits for longer than one attempt.
const FORCED: &str = formatcp!(
    "SELECT run_at, id, task FROM runs INDEXED BY runs_forced \
     WHERE state = {WAITING} AND forced = 1 AND attempt = 0 ORDER BY run_at, id"
);

/// Claims those that are due, at most as many as requested.
pub(super) fn take_forced(
    w: &mut Writing,
    request: &ClaimRequest,
    next_run_at: &mut Option<Timestamp>,
) -> Step<Vec<Claim>> {
    let mut found = Vec::new();
    {
        let mut statement = w.conn.prepare_cached(FORCED)?;
        let mut rows = statement.query([])?;
        while found.len() < request.limit
            && let Some(row) = rows.next()?
        {
            let (run_at, run, task) = (instant(row, 0)?, RunId(row.get(1)?), TaskId(row.get(2)?));
            if !request.tasks.contains_key(&w.ledger.row(task).key) {
                continue;
            }
            if run_at > request.now {
                sooner(next_run_at, run_at);
                break;
            }
            found.push(Candidate { rank: 0, run_at, run, task, held: false });
        }
    }
    found.into_iter().map(|candidate| take(w, candidate, request)).collect()
}
