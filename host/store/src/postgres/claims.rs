//! Claims runs.
//!
//! A look, without a transaction, tells whether there are runs to claim: mostly there are none. A transaction that
//! claims runs of a task holds the lock of the task's row until it commits; a task whose row another transaction has
//! locked is skipped, and looked at again in a moment. So a task's limit holds on all hosts, and no claim waits.

mod choice;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use const_format::formatcp;
use tokio_postgres::Row;

use self::choice::{Candidate, Group, Open};
use super::batcher::Work;
use super::counter_changes::{self, CounterChanges};
use super::errors::Step;
use super::policies;
use super::rows::{cause, instant, maybe_instant, small, task_key, to_int, to_sql};
use super::tasks::{STANDING_COLUMNS, pause, standing};
use super::tx::{Ask, Tx};
use crate::codes::{DEMAND, RUNNING, WAITING};
use crate::events::EventKind;
use crate::rules::claims::sooner;
use crate::rules::events::NewEvent;
use crate::{ClaimRequest, Claimed, LossPolicy, Result};
use sexton_domain::run::{Claim, ClaimKey, RunId, RunState};
use sexton_domain::supervision::Standing;
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

/// The result of a look.
#[derive(Debug)]
pub(super) enum Ready {
    /// No run can be claimed now; one may be at this instant.
    Nothing(Option<Timestamp>),
    /// Runs can be claimed, most likely.
    Something(Found),
}

/// Tasks that may have runs to claim.
#[derive(Clone, Debug)]
pub(super) struct Found {
    heads: Vec<Head>,
    next_run_at: Option<Timestamp>,
}

/// A task that has waiting runs, and is neither paused nor left out by the request.
#[derive(Clone, Debug)]
struct Head {
    id: i64,
    key: TaskKey,
    /// When its first waiting run is due, even if the task is held back.
    run_at: Timestamp,
    standing: Standing,
    /// The number of its running runs.
    running: i64,
    /// The most that may run at once.
    most: u32,
}

/// Returns the statement that finds each task with a waiting run, and the first of these runs: it steps from task to
/// task by index, so that a million runs of one task cost as much as one run.
fn heads_sql() -> String {
    format!(
        "WITH RECURSIVE found AS ( \
         (SELECT task, run_at FROM runs_live WHERE state = {WAITING} ORDER BY task, run_at LIMIT 1) \
         UNION ALL \
         SELECT next.task, next.run_at FROM found CROSS JOIN LATERAL \
         (SELECT r.task, r.run_at FROM runs_live r WHERE r.state = {WAITING} AND r.task > found.task \
         ORDER BY r.task, r.run_at LIMIT 1) next) \
         SELECT f.task, f.run_at, t.tenant, t.name, \
         (SELECT coalesce(sum(y.running), 0)::bigint FROM tally y WHERE y.task = f.task), \
         EXISTS (SELECT 1 FROM pauses p WHERE p.tenant IN ('', t.tenant)), {STANDING_COLUMNS} \
         FROM found f JOIN tasks t ON t.id = ANY (ARRAY[f.task])"
    )
}

/// Selects runs that go past limits, earliest first. Only a first attempt does: a retry waits like others.
const FORCED: &str = formatcp!(
    "SELECT r.run_at, r.id, r.task, t.tenant, t.name, nextval('fences') \
     FROM (SELECT run_at, id, task FROM runs_live WHERE forced AND state + 0 = {WAITING} AND attempt = 0 \
     AND (start_by_at IS NULL OR start_by_at >= $1) ORDER BY run_at, id LIMIT 1000) r \
     JOIN tasks t ON t.id = ANY (ARRAY[r.task]) ORDER BY r.run_at, r.id"
);

/// Looks whether there are runs to claim.
pub(super) async fn look(tx: &Tx, request: &ClaimRequest) -> Step<Ready> {
    let now = request.now.as_millis();
    let asks: [Ask<'_>; 3] = [(policies::FIRST_START_BY, &[]), (FORCED, &[&now]), (&heads_sql(), &[])];
    let rows = tx.pipeline(&asks).await?;
    let [first, forced, heads] = &rows[..] else { unreachable!("there are as many answers as questions") };
    let first_start_by = first.first().and_then(|row| maybe_instant(row, 0));
    // A run may still start at that instant; it is late, and cancelled, a millisecond after it.
    let mut next_run_at = first_start_by.map(|at| at.plus(Duration::from_millis(1)));
    let mut something = first_start_by.is_some_and(|first| first < request.now);
    for row in forced {
        if request.tasks.contains_key(&task_key(row, 3)?) {
            match instant(row, 0) {
                at if at <= request.now => something = true,
                at => sooner(&mut next_run_at, at),
            }
        }
    }
    let mut found = Vec::new();
    for row in heads {
        let Some(head) = head(row, request)? else { continue };
        let held = head.standing.held_until.filter(|_| head.standing.holds(request.now));
        if let Some(until) = held {
            sooner(&mut next_run_at, head.run_at.max(until));
        }
        if head.run_at > request.now {
            sooner(&mut next_run_at, head.run_at);
            continue;
        }
        if i64::from(head.most) > head.running {
            something = true;
            found.push(head);
        }
    }
    Ok(match something {
        true => Ready::Something(Found { heads: found, next_run_at }),
        false => Ready::Nothing(next_run_at),
    })
}

/// Reads a task from a row of [`heads_sql`], unless none of its runs may be claimed.
fn head(row: &Row, request: &ClaimRequest) -> Step<Option<Head>> {
    let key = task_key(row, 2)?;
    let Some(most) = request.tasks.get(&key) else { return Ok(None) };
    let paused = row.get::<_, bool>(5) || pause(row, 6).is_some();
    if paused || request.tenants.get(&key.tenant).is_some_and(|share| share.room == 0) {
        return Ok(None);
    }
    Ok(Some(Head {
        id: row.get(0),
        key,
        run_at: instant(row, 1),
        standing: standing(row, 6),
        running: row.get(4),
        most: *most,
    }))
}

/// Claims runs. See [`crate::Store::claim`].
#[derive(Debug, Default)]
pub(super) struct Claiming {
    /// The fences drawn for the claim in progress: if its commit is in doubt, they tell whether it was done.
    drawn: Mutex<Vec<i64>>,
}

#[async_trait]
impl Work for Claiming {
    type Item = (ClaimRequest, Found);
    type Answer = Claimed;

    async fn run(&self, tx: &mut Tx, items: &[&(ClaimRequest, Found)]) -> Step<Vec<Result<Claimed>>> {
        let mut answers = Vec::with_capacity(items.len());
        for (request, found) in items {
            if tx.doubt {
                let drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let claims = taken(tx, request, &drawn).await?;
                if !claims.is_empty() {
                    answers.push(Ok(Claimed { claims, next_run_at: None }));
                    continue;
                }
            }
            answers.push(Ok(self.claim(tx, request, found).await?));
        }
        Ok(answers)
    }
}

impl Claiming {
    async fn claim(&self, tx: &mut Tx, request: &ClaimRequest, found: &Found) -> Step<Claimed> {
        let heads = wanted(request, &found.heads);
        let (now, late): (i64, i64) = (request.now.as_millis(), to_sql(policies::LATE));
        let ids: Vec<i64> = heads.iter().map(|head| head.id).collect();
        // In this order, running runs are counted while the tasks are locked.
        let asks: [Ask<'_>; 4] = [
            (policies::SOME_LATE, &[&now, &late]),
            (FORCED, &[&now]),
            (&lock_sql(), &[&ids]),
            (RUNNING_OF_TASKS, &[&ids]),
        ];
        let rows = tx.pipeline(&asks).await?;
        let [late, forced, locked, running] = &rows[..] else { unreachable!("there are as many answers as questions") };
        policies::cancel_those(tx, late, request.now).await?;
        let mut names: BTreeMap<i64, TaskKey> = heads.iter().map(|head| (head.id, head.key.clone())).collect();
        // Forced runs are claimed alone; the next claim sees the others.
        let forced = take_forced(forced, request, &mut names)?;
        if !forced.is_empty() {
            return Ok(Claimed { claims: self.take(tx, &forced, request, &names).await?, next_run_at: None });
        }
        let mut next_run_at = found.next_run_at;
        let open = open(request, &heads, locked, running, &mut next_run_at);
        let groups = Group::of(open, request);
        let mut candidates = choice::choose(tx, groups, request, &mut next_run_at).await?;
        candidates.sort_unstable_by_key(|candidate| (candidate.run_at, candidate.run));
        let claims = self.take(tx, &candidates, request, &names).await?;
        Ok(Claimed { claims, next_run_at })
    }

    /// Claims those candidates that were neither claimed nor cancelled since they were chosen, and commits. `names` are
    /// the names of their tasks. A forced run may even wait again, with a greater fence: the next claim looks at it.
    async fn take(
        &self,
        tx: &mut Tx,
        candidates: &[Candidate],
        request: &ClaimRequest,
        names: &BTreeMap<i64, TaskKey>,
    ) -> Step<Vec<Claim>> {
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let mut fences: Vec<i64> = candidates.iter().map(|candidate| candidate.fence).collect();
        // The claims get fences in their order, as if made one after the other.
        fences.sort_unstable();
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&fences);
        let runs: Vec<i64> = candidates.iter().map(|candidate| candidate.run.0).collect();
        let policies = names.iter().filter_map(|(task, key)| Some((*task, request.policies.get(key)?)));
        let (tasks, policies): (Vec<i64>, Vec<&LossPolicy>) = policies.unzip();
        let attempts: Vec<i32> = policies.iter().map(|policy| to_int(policy.attempts)).collect();
        let pause_after: Vec<Option<i32>> = policies.iter().map(|policy| policy.pause_after.map(to_int)).collect();
        let rows = tx
            .query(
                formatcp!(
                    "UPDATE runs_live r SET state = {RUNNING}, attempt = r.attempt + 1, fence = c.fence, \
                     lease_until = $3, claimed_at = $4, host = $5, start_by_at = NULL, \
                     attempts_limit = coalesce(($7::int[])[array_position($6::bigint[], r.task)], r.attempts_limit), \
                     pause_after = CASE WHEN array_position($6::bigint[], r.task) IS NULL THEN r.pause_after \
                     ELSE ($8::int[])[array_position($6::bigint[], r.task)] END \
                     FROM unnest($1::bigint[], $2::bigint[]) AS c(run, fence) \
                     WHERE r.id = ANY (ARRAY[c.run]) AND r.state + 0 = {WAITING} AND coalesce(r.fence, 0) < c.fence \
                     RETURNING r.id, r.attempt, r.fence, r.task, r.due_at, r.cause, r.input, r.failures, \
                     r.claimed_at, r.run_at"
                ),
                &[
                    &runs,
                    &fences,
                    &request.now.plus(request.lease).as_millis(),
                    &request.now.as_millis(),
                    &request.host,
                    &tasks,
                    &attempts,
                    &pause_after,
                ],
            )
            .await?;
        let mut tally = CounterChanges::default();
        let mut taken = HashMap::with_capacity(rows.len());
        for row in &rows {
            let task: i64 = row.get(3);
            let change = tally.of(task);
            change.leave(RunState::Waiting, 1);
            change.enter(RunState::Running, 1);
            change.begun(RunId(row.get(0)), request.now);
            let claim = claim(row, names[&task].clone())?;
            let run = claim.key.run;
            let started = NewEvent::of_run(EventKind::RunStarted, request.now, &claim.task, run, RunState::Running);
            tx.events.tell(started.attempt(claim.key.attempt, &request.host));
            taken.insert(run, claim);
        }
        tx.hints.changes |= !taken.is_empty();
        let sums = tally.columns(tx);
        tx.commit_with(&[(counter_changes::WRITE, &sums.params())]).await?;
        Ok(candidates.iter().filter_map(|candidate| taken.remove(&candidate.run)).collect())
    }
}

/// Builds a claim from its row.
fn claim(row: &Row, task: TaskKey) -> Step<Claim> {
    Ok(Claim {
        key: ClaimKey { run: RunId(row.get(0)), attempt: small(row, 1), fence: row.get::<_, i64>(2).unsigned_abs() },
        task,
        due_at: instant(row, 4),
        run_at: instant(row, 9),
        cause: cause(row, 5)?,
        input: row.get::<_, Option<Vec<u8>>>(6).unwrap_or_default(),
        failures: small(row, 7),
        claimed_at: maybe_instant(row, 8).unwrap_or_default(),
    })
}

/// Returns the runs that the requesting host claimed with these fences and still holds.
async fn taken(tx: &Tx, request: &ClaimRequest, fences: &[i64]) -> Step<Vec<Claim>> {
    let rows = tx
        .query(
            formatcp!(
                "SELECT id, attempt, fence, task, due_at, cause, input, failures, claimed_at, run_at FROM runs_live \
                 WHERE state = {RUNNING} AND host = $1 AND fence = ANY($2) ORDER BY fence"
            ),
            &[&request.host, &fences],
        )
        .await?;
    let names = keys(tx, rows.iter().map(|row| row.get(3)).collect()).await?;
    rows.iter().map(|row| claim(row, names[&row.get::<_, i64>(3)].clone())).collect()
}

/// Returns the names of tasks.
async fn keys(tx: &Tx, mut tasks: Vec<i64>) -> Step<BTreeMap<i64, TaskKey>> {
    tasks.sort_unstable();
    tasks.dedup();
    let rows = tx.query("SELECT id, tenant, name FROM tasks WHERE id = ANY($1)", &[&tasks]).await?;
    rows.iter().map(|row| Ok((row.get(0), task_key(row, 1)?))).collect()
}

/// Returns the runs to claim of those that [`FORCED`] has found; adds the names of their tasks to `names`.
fn take_forced(rows: &[Row], request: &ClaimRequest, names: &mut BTreeMap<i64, TaskKey>) -> Step<Vec<Candidate>> {
    let mut found = Vec::new();
    for row in rows {
        let (run_at, task) = (instant(row, 0), task_key(row, 3)?);
        if run_at <= request.now && found.len() < request.limit && request.tasks.contains_key(&task) {
            names.insert(row.get(2), task);
            found.push(Candidate { rank: 0, run_at, run: RunId(row.get(1)), fence: row.get(5) });
        }
    }
    Ok(found)
}

/// Returns the tasks that may be needed, sorted by their first run. No more tasks than wanted runs are needed, because
/// each task's first run is earlier than all runs of later tasks. If the request names tenants, this holds for each.
fn wanted<'a>(request: &ClaimRequest, heads: &'a [Head]) -> Vec<&'a Head> {
    let mut heads: Vec<&Head> = heads.iter().collect();
    heads.sort_unstable_by_key(|head| (head.run_at, head.id));
    let mut of_tenant: BTreeMap<&str, usize> = BTreeMap::new();
    heads.retain(|head| {
        let tenant = if request.tenants.is_empty() { "" } else { head.key.tenant.as_str() };
        let count = of_tenant.entry(tenant).or_default();
        *count += 1;
        *count <= request.limit
    });
    heads
}

/// Returns the statement that locks tasks, except those that other transactions have locked.
fn lock_sql() -> String {
    format!("SELECT t.id, {STANDING_COLUMNS} FROM tasks t WHERE t.id = ANY($1) ORDER BY t.id FOR UPDATE SKIP LOCKED")
}

/// Sums the running runs of tasks.
const RUNNING_OF_TASKS: &str = "SELECT task, sum(running)::bigint FROM tally WHERE task = ANY($1) GROUP BY task";

/// Returns the tasks that have room, now that they are `locked`: their room may have changed since the look.
fn open(
    request: &ClaimRequest,
    heads: &[&Head],
    locked: &[Row],
    running: &[Row],
    next_run_at: &mut Option<Timestamp>,
) -> Vec<Open> {
    let locked: BTreeMap<i64, &Row> = locked.iter().map(|row| (row.get(0), row)).collect();
    let running: BTreeMap<i64, i64> = running.iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut open = Vec::new();
    for head in heads {
        let Some(row) = locked.get(&head.id) else {
            // Another transaction works on the task, and will be done in a moment.
            sooner(next_run_at, request.now.plus(Duration::from_millis(1)));
            continue;
        };
        let room = i64::from(head.most) - running.get(&head.id).copied().unwrap_or(0);
        if let Ok(room @ 1..) = usize::try_from(room)
            && pause(row, 1).is_none()
        {
            let held = standing(row, 1).holds(request.now);
            let tenant = head.key.tenant.clone();
            open.push(Open { task: head.id, tenant, room: room.min(request.limit), held });
        }
    }
    open
}

/// Reads waiting runs of tasks that are not too late to start, earliest first, at most `most` and one more of each, and
/// draws a fence for each, which those that are claimed get.
async fn due(tx: &Tx, open: &[&Open], most: usize, now: Timestamp) -> Step<Vec<Row>> {
    let tasks: Vec<i64> = open.iter().map(|open| open.task).collect();
    let held: Vec<bool> = open.iter().map(|open| open.held).collect();
    tx.query(
        formatcp!(
            "SELECT o.task, l.run_at, l.id, nextval('fences') \
             FROM unnest($1::bigint[], $2::boolean[]) AS o(task, held) CROSS JOIN LATERAL \
             (SELECT r.run_at, r.id FROM runs_live r WHERE r.state = {WAITING} AND r.task = o.task \
             AND (NOT o.held OR (r.cause = {DEMAND} AND r.attempt = 0)) \
             AND (r.start_by_at IS NULL OR r.start_by_at >= $4) \
             ORDER BY r.run_at, r.id LIMIT $3) l"
        ),
        &[&tasks, &held, &to_sql(most.saturating_add(1)), &now.as_millis()],
    )
    .await
}
