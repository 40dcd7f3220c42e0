//! Makes runs: many at once if only a key can be in their way, one after the other under the lock of their task if it
//! depends on the task's other runs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use const_format::formatcp;
use tokio::sync::OnceCell;
use tokio_postgres::types::ToSql;

use crate::backfills::TURN_MS;
use crate::codes::{RUNNING, WAITING, cause_code, outcome_code, state_code};
use crate::rules::events::NewEvent;
use crate::{Admit, EnqueueOutcome, Fire, FireOutcome, NewRun, ROW_BYTES, Result};
use sexton_domain::labels::Labels;
use sexton_domain::run::{Outcome, RunId, RunState, replaced_by};
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

use super::archive::{ArchiveColumns, moving};
use super::batcher::Work;
use super::counter_changes::{self, CounterChanges};
use super::errors::Step;
use super::labels;
use super::policies;
use super::rows::{code, text, to_int, to_sql};
use super::schema::NOT_OVER;
use super::tasks::{self, intern};
use super::tx::Tx;

/// Runs that a caller wants made.
#[derive(Debug)]
pub(super) struct Enqueue {
    runs: Vec<NewRun>,
    now: Timestamp,
    /// The numbers of the runs, drawn once: if a commit is in doubt, they tell whether the runs were made.
    ids: OnceCell<Vec<i64>>,
}

impl Enqueue {
    pub(super) fn new(runs: Vec<NewRun>, now: Timestamp) -> Self {
        Self { runs, now, ids: OnceCell::new() }
    }
}

/// Makes runs. See [`crate::Store::enqueue`].
#[derive(Debug)]
pub(super) struct Enqueueing;

#[async_trait]
impl Work for Enqueueing {
    type Item = Enqueue;
    type Answer = Vec<EnqueueOutcome>;

    async fn run(&self, tx: &mut Tx, items: &[&Enqueue]) -> Step<Vec<Result<Vec<EnqueueOutcome>>>> {
        let new: Vec<&&Enqueue> = items.iter().filter(|item| !item.ids.initialized()).collect();
        let mut ids = tx.next("run_ids", new.iter().map(|item| item.runs.len()).sum()).await?;
        for item in new {
            let rest = ids.split_off(item.runs.len());
            // The lane alone has the item, so the cell is still empty.
            drop(item.ids.set(std::mem::replace(&mut ids, rest)));
        }
        let runs: Vec<(&NewRun, Timestamp)> =
            items.iter().flat_map(|item| item.runs.iter().map(|run| (run, item.now))).collect();
        let mut owners = owners(tx, &runs).await?.into_iter();
        let wanted: Vec<Vec<Wanted<'_>>> = items
            .iter()
            .map(|item| {
                let ids = item.ids.get().into_iter().flatten();
                let each = item.runs.iter().zip(ids).zip(owners.by_ref());
                each.map(|((run, id), owner)| Wanted { run, now: item.now, id: *id, owner, skipped: None }).collect()
            })
            .collect();
        let (sizes, all): (Vec<usize>, Vec<&Wanted<'_>>) =
            (wanted.iter().map(Vec::len).collect(), wanted.iter().flatten().collect());
        if !tx.doubt && all.iter().all(|one| one.run.admit == Admit::Always && one.run.dedup.is_none()) {
            insert_plain(tx, &all).await?;
            let mut made = all.iter().map(|one| EnqueueOutcome::New(RunId(one.id)));
            return Ok(sizes.into_iter().map(|size| Ok(made.by_ref().take(size).collect())).collect());
        }
        let mut tally = CounterChanges::default();
        let mut made = Vec::with_capacity(items.len());
        if all.iter().all(|one| one.run.admit == Admit::Always) {
            let all: Vec<Wanted<'_>> = all.into_iter().cloned().collect();
            let mut all = insert(tx, &mut tally, &all).await?.into_iter();
            made.extend(sizes.into_iter().map(|size| Ok(all.by_ref().take(size).collect())));
        } else {
            for wanted in wanted {
                made.push(Ok(admit(tx, &mut tally, wanted).await?));
            }
        }
        tally.write(tx).await?;
        Ok(made)
    }
}

/// Makes `runs` within a transaction that does more. The caller writes the tally.
pub(super) async fn make(
    tx: &mut Tx,
    tally: &mut CounterChanges,
    runs: &[NewRun],
    now: Timestamp,
) -> Step<Vec<EnqueueOutcome>> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let owners = owners(tx, &runs.iter().map(|run| (run, now)).collect::<Vec<_>>()).await?;
    let ids = tx.next("run_ids", runs.len()).await?;
    let each = runs.iter().zip(ids).zip(owners);
    admit(tx, tally, each.map(|((run, id), owner)| Wanted { run, now, id, owner, skipped: None }).collect()).await
}

/// The rows to which a run belongs, by their numbers.
#[derive(Clone, Copy, Debug)]
struct Owner {
    task: i64,
    tenant: i64,
    labels: Option<i64>,
}

/// Returns the tasks, the tenants and the sets of labels of runs, in their order.
async fn owners(tx: &Tx, runs: &[(&NewRun, Timestamp)]) -> Step<Vec<Owner>> {
    let keys: Vec<TaskKey> = runs.iter().map(|(run, _)| run.task.clone()).collect();
    let tasks = intern(tx, &keys).await?;
    let tenants = labels::tenants(tx, &keys.iter().map(|key| &key.tenant).collect::<Vec<_>>()).await?;
    let sets: Vec<(i64, &Labels)> =
        runs.iter().zip(&tenants).map(|((run, _), tenant)| (*tenant, &run.labels)).collect();
    let now = runs.iter().map(|(_, now)| *now).max().unwrap_or_default();
    let sets = labels::sets(tx, &sets, now).await?;
    let each = tasks.into_iter().zip(tenants).zip(sets);
    Ok(each.map(|((task, tenant), labels)| Owner { task, tenant, labels }).collect())
}

/// See [`crate::Store::fire`].
pub(super) async fn fire(tx: &mut Tx, fire: &Fire) -> Step<FireOutcome> {
    let mut row = tasks::lock_one(tx, &fire.task).await?;
    if fire.expect.is_some_and(|expected| expected != row.fired) {
        return Ok(FireOutcome::Stale);
    }
    // Another host may have dealt with later instants already.
    row.cursor = row.cursor.max(Some(fire.cursor));
    if row.is_paused() {
        tasks::write(tx, &row).await?;
        return Ok(FireOutcome::Paused);
    }
    let mut tally = CounterChanges::default();
    let made = make(tx, &mut tally, &fire.runs, fire.now).await?;
    let new = made.iter().filter(|made| !matches!(made, EnqueueOutcome::Existing(_))).count();
    row.fired += new as u64;
    if let Some(memory) = &fire.memory {
        row.memory = Some(memory.clone());
    }
    tasks::write(tx, &row).await?;
    tally.write(tx).await?;
    Ok(FireOutcome::Made(made))
}

/// A run that is about to be written.
#[derive(Clone, Debug)]
struct Wanted<'a> {
    run: &'a NewRun,
    now: Timestamp,
    id: i64,
    owner: Owner,
    /// The reason for which it is written as cancelled.
    skipped: Option<String>,
}

impl Wanted<'_> {
    fn key(&self) -> Option<Cow<'_, str>> {
        self.run.dedup.as_deref().map(text)
    }

    fn event(&self) -> NewEvent<'_> {
        NewEvent::of_new_run(self.now, &self.run.task, RunId(self.id), self.skipped.is_some())
    }

    fn bytes(&self) -> i64 {
        if self.run.input.is_empty() { 0 } else { to_sql(self.run.input.len()) + ROW_BYTES }
    }
}

/// Makes runs one after the other where that matters, else together.
async fn admit(tx: &mut Tx, tally: &mut CounterChanges, wanted: Vec<Wanted<'_>>) -> Step<Vec<EnqueueOutcome>> {
    if wanted.iter().all(|wanted| wanted.run.admit == Admit::Always) {
        return insert(tx, tally, &wanted).await;
    }
    let bound: BTreeSet<i64> =
        wanted.iter().filter(|wanted| wanted.run.admit != Admit::Always).map(|wanted| wanted.owner.task).collect();
    tasks::lock(tx, &bound.into_iter().collect::<Vec<_>>()).await?;
    let mut made = Vec::with_capacity(wanted.len());
    for mut one in wanted {
        if let Some(run) = existing(tx, &one).await? {
            made.push(EnqueueOutcome::Existing(run));
            continue;
        }
        let mut ended = Vec::new();
        match one.run.admit {
            Admit::Always => {}
            Admit::Below(most) => {
                let others = not_over(tx, one.owner.task, i64::from(most), one.now).await?;
                one.skipped = (others >= i64::from(most)).then(|| Admit::skipped(others));
            }
            Admit::Replacing => ended = replace(tx, tally, &one).await?,
        }
        let entered = insert(tx, tally, std::slice::from_ref(&one)).await?.remove(0);
        made.push(match entered {
            EnqueueOutcome::New(run) if !ended.is_empty() => EnqueueOutcome::Replacing { run, ended },
            other => other,
        });
    }
    Ok(made)
}

/// Returns the run that has the key already.
async fn existing(tx: &Tx, wanted: &Wanted<'_>) -> Step<Option<RunId>> {
    let Some(key) = wanted.key() else { return Ok(None) };
    let row =
        tx.query_opt("SELECT run FROM run_keys WHERE task = $1 AND key = $2", &[&wanted.owner.task, &key]).await?;
    Ok(row.map(|row| RunId(row.get(0))))
}

const COLUMNS: &str = "id, task, state, cause, bytes, due_at, run_at, created_at, over_at, parent, dedup, message, note, \
     start_by_at, forced, schedule, at_once, input, outcome, tenant, labels";

const ARRAYS: &str = "unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::smallint[], $5::bigint[], $6::bigint[], \
     $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::text[], $14::bigint[], \
     $15::boolean[], $16::text[], $17::int[], $18::bytea[], $19::smallint[], $20::bigint[], $21::bigint[])";

/// Returns the statement that writes runs without keys.
fn plain_sql() -> String {
    format!("INSERT INTO runs ({COLUMNS}) SELECT * FROM {ARRAYS}")
}

/// Writes runs, all with one statement. For a run whose key is taken (by another, or by an earlier one of these) the
/// answer is the run that has it.
async fn insert(tx: &mut Tx, tally: &mut CounterChanges, wanted: &[Wanted<'_>]) -> Step<Vec<EnqueueOutcome>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let known = if tx.doubt { known(tx, wanted).await? } else { BTreeSet::new() };
    let new: Vec<&Wanted<'_>> = wanted.iter().filter(|wanted| !known.contains(&wanted.id)).collect();
    let keyed = new.iter().any(|wanted| wanted.run.dedup.is_some());
    let written = match (new.is_empty(), keyed) {
        (true, _) => BTreeSet::new(),
        (false, false) => {
            write(tx, &new, &plain_sql()).await?;
            new.iter().map(|wanted| wanted.id).collect()
        }
        (false, true) => {
            // All transactions write keys in their order, so that waits for each other's commits never deadlock.
            let rows = write(
                tx,
                &new,
                &format!(
                    "WITH n AS (SELECT * FROM {ARRAYS} AS n({COLUMNS})), \
                     k AS (INSERT INTO run_keys (task, key, run) SELECT task, dedup, id FROM n WHERE dedup IS NOT NULL \
                     ORDER BY task, dedup, id ON CONFLICT DO NOTHING RETURNING run) \
                     INSERT INTO runs ({COLUMNS}) SELECT n.* FROM n \
                     WHERE n.dedup IS NULL OR n.id IN (SELECT run FROM k) RETURNING id"
                ),
            )
            .await?;
            rows.into_iter().collect()
        }
    };
    for wanted in new.iter().filter(|wanted| written.contains(&wanted.id)) {
        let change = tally.of(wanted.owner.task);
        match wanted.skipped {
            None => change.enter(RunState::Waiting, 1),
            Some(_) => {
                change.enter(RunState::Cancelled, 1);
                change.bytes += wanted.bytes();
            }
        }
        tx.events.tell(wanted.event());
        tx.hints.runs |= wanted.skipped.is_none();
        tx.hints.changes = true;
    }
    let taken: Vec<&Wanted<'_>> = new.iter().filter(|wanted| !written.contains(&wanted.id)).copied().collect();
    let others = holders(tx, &taken).await?;
    let answer = |wanted: &Wanted<'_>| match others.get(&wanted.id) {
        Some(other) => EnqueueOutcome::Existing(*other),
        None if wanted.skipped.is_some() => EnqueueOutcome::Skipped(RunId(wanted.id)),
        None => EnqueueOutcome::New(RunId(wanted.id)),
    };
    Ok(wanted.iter().map(answer).collect())
}

/// Writes runs that nothing can be in the way of, and commits.
async fn insert_plain(tx: &mut Tx, wanted: &[&Wanted<'_>]) -> Step<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mut tally = CounterChanges::default();
    for one in wanted {
        tally.of(one.owner.task).enter(RunState::Waiting, 1);
        tx.events.tell(one.event());
    }
    (tx.hints.runs, tx.hints.changes) = (true, true);
    let (rows, sums) = (Columns::of(wanted), tally.columns(tx));
    let insert = plain_sql();
    tx.commit_with(&[(&insert, &rows.params()), (counter_changes::WRITE, &sums.params())]).await?;
    Ok(())
}

/// Returns those of the runs that exist already, from an earlier try whose commit was in doubt.
async fn known(tx: &Tx, wanted: &[Wanted<'_>]) -> Step<BTreeSet<i64>> {
    let ids: Vec<i64> = wanted.iter().map(|wanted| wanted.id).collect();
    let rows = tx.query("SELECT id FROM runs WHERE id = ANY($1)", &[&ids]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Returns the runs that have the keys of runs that were not written, by the numbers of the latter.
async fn holders(tx: &Tx, taken: &[&Wanted<'_>]) -> Step<BTreeMap<i64, RunId>> {
    if taken.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<i64> = taken.iter().map(|wanted| wanted.id).collect();
    let tasks: Vec<i64> = taken.iter().map(|wanted| wanted.owner.task).collect();
    let keys: Vec<_> = taken.iter().map(|wanted| wanted.key()).collect();
    let rows = tx
        .query(
            "SELECT n.id, k.run FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS n(id, task, key) \
             JOIN run_keys k ON k.task = n.task AND k.key = n.key",
            &[&ids, &tasks, &keys],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), RunId(row.get(1)))).collect())
}

/// Passes the runs to a statement that takes [`ARRAYS`]. Returns the first column of its answer.
async fn write(tx: &Tx, wanted: &[&Wanted<'_>], sql: &str) -> Step<Vec<i64>> {
    let rows = tx.query(sql, &Columns::of(wanted).params()).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Runs as the columns of [`ARRAYS`], in its order.
struct Columns<'a> {
    ids: Vec<i64>,
    tasks: Vec<i64>,
    states: Vec<i16>,
    causes: Vec<i16>,
    bytes: Vec<i64>,
    due: Vec<i64>,
    run: Vec<i64>,
    created: Vec<i64>,
    over: Vec<i64>,
    parents: Vec<Option<i64>>,
    keys: Vec<Option<Cow<'a, str>>>,
    messages: Vec<Option<&'a str>>,
    notes: Vec<Option<Cow<'a, str>>>,
    start_by: Vec<Option<i64>>,
    forced: Vec<bool>,
    schedules: Vec<Option<&'a str>>,
    at_once: Vec<Option<i32>>,
    inputs: Vec<Option<&'a [u8]>>,
    outcomes: Vec<Option<i16>>,
    tenants: Vec<i64>,
    labels: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    fn of(wanted: &[&'a Wanted<'_>]) -> Self {
        fn each<'a, T>(wanted: &[&'a Wanted<'_>], column: impl Fn(&'a Wanted<'_>) -> T) -> Vec<T> {
            wanted.iter().map(|one| column(one)).collect()
        }
        let entered = |skipped| if skipped { RunState::Cancelled } else { RunState::Waiting };
        Self {
            ids: each(wanted, |one| one.id),
            tasks: each(wanted, |one| one.owner.task),
            states: each(wanted, |one| code(state_code(entered(one.skipped.is_some())))),
            causes: each(wanted, |one| code(cause_code(one.run.cause))),
            bytes: each(wanted, |one| one.bytes()),
            due: each(wanted, |one| one.run.due_at.as_millis()),
            run: each(wanted, |one| one.run.run_at.as_millis()),
            created: each(wanted, |one| one.now.as_millis()),
            over: each(wanted, |one| if one.skipped.is_some() { one.now.as_millis() } else { NOT_OVER }),
            parents: each(wanted, |one| one.run.parent.map(|parent| parent.0)),
            keys: each(wanted, |one| one.key()),
            messages: each(wanted, |one| one.skipped.as_deref()),
            notes: each(wanted, |one| one.run.note.as_deref().map(text)),
            start_by: each(wanted, |one| one.run.start_by.map(Timestamp::as_millis)),
            forced: each(wanted, |one| one.run.forced),
            schedules: each(wanted, |one| one.run.schedule.as_ref().map(Name::as_str)),
            at_once: each(wanted, |one| one.run.at_once.map(to_int)),
            inputs: each(wanted, |one| (!one.run.input.is_empty()).then_some(&one.run.input[..])),
            outcomes: each(wanted, |one| one.skipped.as_ref().map(|_| code(outcome_code(Outcome::Skipped)))),
            tenants: each(wanted, |one| one.owner.tenant),
            labels: each(wanted, |one| one.owner.labels),
        }
    }

    fn params(&self) -> [&(dyn ToSql + Sync); 21] {
        [
            &self.ids,
            &self.tasks,
            &self.states,
            &self.causes,
            &self.bytes,
            &self.due,
            &self.run,
            &self.created,
            &self.over,
            &self.parents,
            &self.keys,
            &self.messages,
            &self.notes,
            &self.start_by,
            &self.forced,
            &self.schedules,
            &self.at_once,
            &self.inputs,
            &self.outcomes,
            &self.tenants,
            &self.labels,
        ]
    }
}

/// Cancels all runs of a task that are not over, in the sense of [`Admit`], in favour of the run `by`. Returns them. Runs
/// of backfills stay.
async fn replace(tx: &mut Tx, tally: &mut CounterChanges, by: &Wanted<'_>) -> Step<Vec<RunId>> {
    let (task, now, reason) = (by.owner.task, by.now, replaced_by(RunId(by.id)));
    let which = formatcp!(
        "WHERE r.state = {WAITING} AND r.task = $1 AND (r.run_at <= $3 OR r.attempt > 0) \
         AND r.at_once IS NULL"
    );
    let called_off = moving(&ArchiveColumns::cancelled_unstarted("$3::bigint", "$2::text"), which, "");
    let sql = format!("{called_off} SELECT id, bytes FROM gone");
    let waited = tx.query(&sql, &[&task, &reason, &now.as_millis()]).await?;
    if !waited.is_empty() {
        let change = tally.of(task);
        change.leave(RunState::Waiting, waited.len());
        change.enter(RunState::Cancelled, waited.len());
        change.bytes += waited.iter().map(|row| row.get::<_, i64>(1)).sum::<i64>();
        let runs: Vec<i64> = waited.iter().map(|row| row.get(0)).collect();
        policies::move_attempts(tx, &runs, now).await?;
        for run in runs {
            tx.events.tell(NewEvent::of_cancelled(now, &by.run.task, RunId(run)));
        }
    }
    // The first reason stays, but the run is returned again: its host may have missed the first request.
    let running = tx
        .query(
            formatcp!(
                "UPDATE runs_live SET cancel = coalesce(cancel, $2) WHERE state = {RUNNING} AND task = $1 \
                 AND at_once IS NULL RETURNING id"
            ),
            &[&task, &reason],
        )
        .await?;
    let mut ended: Vec<RunId> = waited.iter().chain(&running).map(|row| RunId(row.get(0))).collect();
    ended.sort_unstable();
    Ok(ended)
}

/// Counts the runs of a task that are not over, in the sense of [`Admit`], without those of backfills; counting stops at
/// `most`.
async fn not_over(tx: &Tx, task: i64, most: i64, now: Timestamp) -> Step<i64> {
    let row = tx
        .query_one(
            formatcp!(
                "SELECT (SELECT coalesce(sum(running), 0)::bigint FROM tally WHERE task = $1) \
                 - (SELECT count(*) FROM runs_live WHERE at_once IS NOT NULL AND task = $1 AND run_at < {TURN_MS} \
                 AND state + 0 = {RUNNING}) \
                 + (SELECT count(*) FROM (SELECT 1 FROM runs_live WHERE state = {WAITING} AND task = $1 \
                 AND run_at <= $2 AND at_once IS NULL LIMIT $3) due) \
                 + (SELECT count(*) FROM (SELECT 1 FROM runs_live WHERE state = {WAITING} AND attempt > 0 \
                 AND task = $1 AND run_at > $2 AND at_once IS NULL LIMIT $3) again)"
            ),
            &[&task, &now.as_millis(), &most],
        )
        .await?;
    // Counting one by one would stop at `most`.
    Ok(row.get::<_, i64>(0).min(most))
}
