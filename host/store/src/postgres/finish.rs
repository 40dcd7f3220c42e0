//! Ends attempts: many with a handful of statements, in one transaction.
//!
//! An end mostly changes nothing for its task (`supervision`), and then the task's row is only read. Otherwise the row
//! is locked and read again, so that the count of failures in a row is right on all hosts together.

mod attempts;
mod ended;
mod written;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio_postgres::Row;

pub(super) use self::ended::Ended;
use self::written::Ending;
use super::batcher::Work;
use super::counter_changes::CounterChanges;
use super::errors::Step;
use super::extend::columns;
use super::loss;
use super::prune;
use super::tasks::{self, STANDING_COLUMNS, pause, standing};
use super::tx::Tx;
use crate::rules::finish as rules;
use crate::{Finish, Result, StoreError};
use sexton_domain::run::{ClaimKey, RunState};
use sexton_domain::supervision::{self, Consequence, End, Standing};

/// Writes the ends of attempts. See [`crate::Store::finish`].
#[derive(Debug, Default)]
pub(super) struct Finishing {
    /// Ends that may have been written. If they are offered again, they are looked up.
    doubtful: Mutex<HashSet<ClaimKey>>,
}

/// A task's standing within the transaction.
#[derive(Clone, Debug)]
struct TaskStanding {
    standing: Standing,
    paused: bool,
}

#[async_trait]
impl Work for Finishing {
    type Item = Arc<Finish>;
    type Answer = Consequence;

    async fn run(&self, tx: &mut Tx, items: &[&Arc<Finish>]) -> Step<Vec<Result<Consequence>>> {
        let claims: Vec<ClaimKey> = items.iter().map(|finish| finish.claim).collect();
        if tx.doubt {
            self.unconfirmed().extend(claims.iter().copied());
        }
        let mut forgotten = HashMap::new();
        // Skips expired claims, whose leases may have been extended since.
        for claim in items.iter().filter(|finish| finish.expired_by.is_none()).map(|finish| finish.claim) {
            let bytes = prune::forget_attempts(tx, claim).await?;
            if bytes > 0 {
                forgotten.insert(claim, bytes);
            }
        }
        let ending: Vec<Ending<'_>> =
            items.iter().map(|item| Ending::of(item, forgotten.remove(&item.claim).unwrap_or(0))).collect();
        let (mut held, mut stands) = written::runs(tx, &ending).await?;
        let mut ended = Vec::with_capacity(items.len());
        let mut lost = Vec::new();
        for (place, ending) in ending.into_iter().enumerate() {
            match held.remove(&place) {
                Some(held) => ended.push((place, Ended::of(ending.finish, held))),
                None => lost.push(place),
            }
        }
        let mut answers: Vec<Result<Consequence>> =
            claims.iter().map(|claim| Err(StoreError::ClaimLost(*claim))).collect();
        for (place, consequence) in self.already_written(tx, &claims, &lost).await? {
            answers[place] = Ok(consequence);
        }
        if ended.is_empty() {
            return Ok(answers);
        }
        for (place, consequence) in consequences(tx, &ended, &mut stands).await? {
            answers[place] = Ok(consequence);
        }
        for (place, ended) in &ended {
            let has_paused = answers[*place].as_ref().is_ok_and(|consequence| consequence.paused.is_some());
            ended.tell(has_paused, &mut tx.events);
        }
        loss::count(tx, &ended).await?;
        let ended: Vec<Ended<'_>> = ended.into_iter().map(|(_, ended)| ended).collect();
        written::rest(tx, &ended, &tally(&ended)).await?;
        Ok(answers)
    }
}

impl Finishing {
    fn unconfirmed(&self) -> MutexGuard<'_, HashSet<ClaimKey>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns those of the `lost` claims whose ends an earlier transaction has written, although its commit was in
    /// doubt. The consequence for the task is its present standing.
    async fn already_written(&self, tx: &Tx, claims: &[ClaimKey], lost: &[usize]) -> Step<Vec<(usize, Consequence)>> {
        let doubtful: Vec<(usize, ClaimKey)> = {
            let doubtful = self.unconfirmed();
            lost.iter().map(|place| (*place, claims[*place])).filter(|(_, claim)| doubtful.contains(claim)).collect()
        };
        if doubtful.is_empty() {
            return Ok(Vec::new());
        }
        let (runs, attempts, fences) = columns(&doubtful.iter().map(|(_, claim)| *claim).collect::<Vec<_>>());
        let rows = tx
            .query(
                &format!(
                    "SELECT a.run, a.attempt, {STANDING_COLUMNS} \
                     FROM unnest($1::bigint[], $2::int[], $3::bigint[]) AS c(run, attempt, fence) \
                     JOIN attempts a ON a.run = c.run AND a.attempt = c.attempt AND a.fence = c.fence \
                     JOIN runs r ON r.id = a.run JOIN tasks t ON t.id = r.task"
                ),
                &[&runs, &attempts, &fences],
            )
            .await?;
        let written: HashMap<(i64, i32), Standing> =
            rows.iter().map(|row| ((row.get(0), row.get(1)), standing(row, 2))).collect();
        let mut known = self.unconfirmed();
        let found = doubtful.into_iter().filter_map(|(place, claim)| {
            known.remove(&claim);
            let standing = *written.get(&(claim.run.0, i32::try_from(claim.attempt).ok()?))?;
            Some((place, Consequence { standing, ..Consequence::default() }))
        });
        Ok(found.collect())
    }
}

fn of_row(row: &Row, column: usize) -> TaskStanding {
    TaskStanding { standing: standing(row, column), paused: pause(row, column).is_some() }
}

/// Works out the consequences of the ends for their tasks, one after the other, and writes the tasks that change.
async fn consequences(
    tx: &Tx,
    ended: &[(usize, Ended<'_>)],
    stands: &mut BTreeMap<i64, TaskStanding>,
) -> Step<Vec<(usize, Consequence)>> {
    let first = follow(ended, stands);
    let changed: BTreeSet<i64> = stands
        .iter()
        .filter(|(task, now)| !first.1.get(*task).is_some_and(|then| same(then, now)))
        .map(|(task, _)| *task)
        .collect();
    if changed.is_empty() {
        return Ok(first.0);
    }
    let mut rows = tasks::lock(tx, &changed.iter().copied().collect::<Vec<_>>()).await?;
    for row in &rows {
        stands.insert(row.id, TaskStanding { standing: row.standing, paused: row.paused.is_some() });
    }
    // Tasks that are not locked stand as before: no end here changes them.
    let (consequences, after) = follow(ended, stands);
    for row in &mut rows {
        let Some(after) = after.get(&row.id) else { continue };
        row.standing = after.standing;
        for (place, consequence) in &consequences {
            let of_task = ended.iter().any(|(other, ended)| other == place && ended.task == row.id);
            if of_task && row.paused.is_none() {
                row.paused.clone_from(&consequence.paused);
            }
        }
        tasks::write(tx, row).await?;
    }
    Ok(consequences)
}

fn same(a: &TaskStanding, b: &TaskStanding) -> bool {
    a.standing == b.standing && a.paused == b.paused
}

/// Returns the consequences of the ends, and how the tasks stand after them.
fn follow(
    ended: &[(usize, Ended<'_>)],
    stands: &BTreeMap<i64, TaskStanding>,
) -> (Vec<(usize, Consequence)>, BTreeMap<i64, TaskStanding>) {
    let mut after = stands.clone();
    let mut consequences = Vec::with_capacity(ended.len());
    for (place, one) in ended {
        let Some(stands) = after.get_mut(&one.task) else { continue };
        let end = End { run: one.claim.run, outcome: one.outcome, state: one.entered, at: one.ended_at };
        let consequence = supervision::after(stands.standing, stands.paused, &end, &one.finish.supervision);
        stands.standing = consequence.standing;
        stands.paused |= consequence.paused.is_some();
        consequences.push((*place, consequence));
    }
    (consequences, after)
}

/// Returns the changes that the ends make to the sums.
fn tally(ended: &[Ended<'_>]) -> CounterChanges {
    let mut tally = CounterChanges::default();
    for one in ended {
        let change = tally.of(one.task);
        change.leave(RunState::Running, 1);
        change.enter(one.entered, 1);
        if one.entered.is_over() {
            change.bytes += one.bytes;
        }
        match one.entered {
            entered if rules::is_result(entered, Some(one.outcome)) => change.succeeded(one.claim.run, one.ended_at),
            RunState::Failed => change.failed(one.ended_at),
            _ => {}
        }
    }
    tally
}
