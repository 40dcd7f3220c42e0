//! Claims runs, and extends claims. `finish` ends them.

use std::collections::BTreeMap;
use std::time::Duration;

use const_format::formatcp;
use rusqlite::{Connection, OptionalExtension, params};

use super::errors::Step;
use super::forced::take_forced;
use super::ledger::TaskId;
use super::policies;
use super::rows::{cause, instant, maybe_instant, task_key, to_sql};
use super::writer::Writing;
use crate::codes::{DEMAND, RUNNING, WAITING};
use crate::events::EventKind;
use crate::rules::claims::{Places, sooner};
use crate::rules::events::NewEvent;
use crate::rules::latest::later;
use crate::{ClaimRequest, Claimed, Death, Expired, Extended, LossPolicy, StoreError};
use sexton_domain::run::{Claim, ClaimKey, RunId, RunState};
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// A waiting run that may be claimed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Its place among its task's runs: a task with a long backlog gets its second place only after every other its
    /// first.
    pub(super) rank: usize,
    pub(super) run_at: Timestamp,
    pub(super) run: RunId,
    pub(super) task: TaskId,
    pub(super) held: bool,
}

/// A task that may have runs to claim, in the order in which tasks are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Open {
    /// It has no usable run that is due earlier.
    not_before: Timestamp,
    task: TaskId,
    /// The number of its runs that may be claimed.
    room: usize,
    /// Only runs that start although their task is held back may be claimed.
    held: bool,
}

/// See [`crate::Store::claim`].
pub(super) fn claim(w: &mut Writing, request: &ClaimRequest) -> Step<Claimed> {
    policies::cancel_late(w, request.now)?;
    let mut next_run_at = w.ledger.start_by().map(|at| at.plus(Duration::from_millis(1)));
    // Forced runs are claimed alone; the next claim sees the others.
    let forced = take_forced(w, request, &mut next_run_at)?;
    if !forced.is_empty() {
        w.hints.changes = true;
        return Ok(Claimed { claims: forced, next_run_at: None });
    }
    let mut tasks = Vec::new();
    w.ledger.list_waiting();
    for (id, row) in w.ledger.waiting() {
        if w.ledger.is_paused(row) {
            continue;
        }
        let Some(most) = request.tasks.get(&row.key) else { continue };
        if request.tenants.get(&row.key.tenant).is_some_and(|share| share.room == 0) {
            continue;
        }
        let held = row.standing.held_until.filter(|_| row.standing.holds(request.now));
        if held.is_none() && row.not_before > request.now {
            // Runs of the tasks after this one are due no earlier, however many tasks they are.
            sooner(&mut next_run_at, row.not_before);
            break;
        }
        if let Some(until) = held {
            sooner(&mut next_run_at, row.not_before.max(until));
        }
        let not_before = if held.is_some() { row.held_not_before } else { row.not_before };
        if not_before > request.now {
            sooner(&mut next_run_at, not_before);
        } else if let Ok(room @ 1..) = usize::try_from(i64::from(*most) - row.count(RunState::Running)) {
            tasks.push(Open { not_before, task: id, room: room.min(request.limit), held: held.is_some() });
        }
    }
    let mut taken = match request.tenants.len() {
        0 => choose(w, &mut tasks, request.limit, request.now, &mut next_run_at)?,
        _ => choose_fairly(w, tasks, request, &mut next_run_at)?,
    };
    taken.sort_unstable_by_key(|candidate| (candidate.run_at, candidate.run));
    let claims = taken.into_iter().map(|c| take(w, c, request)).collect::<Step<Vec<_>>>()?;
    w.hints.changes |= !claims.is_empty();
    Ok(Claimed { claims, next_run_at })
}

/// Chooses which due runs of `tasks` to claim if tenants are told apart: each tenant has its own choice of as many as
/// it may, and of all these come first those of the tenants that have the fewest running runs.
fn choose_fairly(
    w: &mut Writing,
    tasks: Vec<Open>,
    request: &ClaimRequest,
    next_run_at: &mut Option<Timestamp>,
) -> Step<Vec<Candidate>> {
    let mut by_tenant: BTreeMap<Name, Vec<_>> = BTreeMap::new();
    for task in tasks {
        by_tenant.entry(w.ledger.row(task.task).key.tenant.clone()).or_default().push(task);
    }
    let mut found = Vec::new();
    for (tenant, mut tasks) in by_tenant {
        let Places { running, room } = Places::of_tenant(request, &tenant);
        let mut chosen = choose(w, &mut tasks, room, request.now, next_run_at)?;
        chosen.sort_unstable_by_key(|c| (c.rank, c.run_at, c.run));
        found.extend(chosen.into_iter().zip(running..));
    }
    found.sort_unstable_by_key(|(c, under_way)| (*under_way, c.run_at, c.run));
    let mut taken: Vec<Candidate> = found.into_iter().map(|(candidate, _)| candidate).collect();
    leave_beyond(w, &mut taken, request.limit);
    Ok(taken)
}

/// Keeps the first `limit` of the runs that were found.
fn leave_beyond(w: &mut Writing, found: &mut Vec<Candidate>, limit: usize) {
    for left in found.drain(limit.min(found.len())..) {
        // A run that was looked at and not claimed is the next of its task.
        let row = w.ledger.row(left.task);
        let (not_before, held_not_before) = (row.not_before, row.held_not_before);
        if left.held {
            w.ledger.set_held_not_before(left.task, held_not_before.min(left.run_at));
        } else {
            w.ledger.set_not_before(left.task, not_before.min(left.run_at));
        }
    }
}

/// Chooses which due runs of `tasks` to claim, at most `limit`.
fn choose(
    w: &mut Writing,
    tasks: &mut [Open],
    limit: usize,
    now: Timestamp,
    next_run_at: &mut Option<Timestamp>,
) -> Step<Vec<Candidate>> {
    tasks.sort_unstable();
    let mut found: Vec<Candidate> = Vec::new();
    // First comes each task's fair share, then all that tasks with more can give. Mostly the first is enough.
    let share = Places { running: 0, room: limit }.share_of_each(tasks.len());
    let mut more = Vec::new();
    for (place, open) in tasks.iter().enumerate() {
        // The first runs of the tasks before are all earlier than any of this task and those after it.
        if place >= limit && found.iter().filter(|c| c.rank == 0 && c.run_at <= open.not_before).count() >= limit {
            break;
        }
        let wanted = open.room.min(share);
        let got = look(w, open, wanted, now, &mut found, next_run_at)?;
        if got == wanted && open.room > wanted {
            more.push(*open);
        }
    }
    if found.len() < limit && !more.is_empty() {
        found.retain(|c| !more.iter().any(|open| open.task == c.task));
        for open in more {
            look(w, &open, open.room.min(limit), now, &mut found, next_run_at)?;
        }
    }
    if found.len() > limit {
        found.sort_unstable_by_key(|c| (c.rank, c.run_at, c.run));
        leave_beyond(w, &mut found, limit);
    }
    Ok(found)
}

/// Selects waiting runs of a task, earliest first.
const LOOK: &str =
    formatcp!("SELECT run_at, id FROM runs WHERE state = {WAITING} AND task = ?1 ORDER BY run_at, id LIMIT ?2");

/// Selects those of them that start while their task is held back: see [`sexton_domain::supervision::bypasses_brake`].
const LOOK_WHILE_HELD: &str = formatcp!(
    "SELECT run_at, id FROM runs WHERE state = {WAITING} AND task = ?1 AND cause = {DEMAND} AND attempt = 0 \
     ORDER BY run_at, id LIMIT ?2"
);

/// Adds up to `wanted` due runs of a task to `found`, and remembers when its next is due. Returns how many were added.
fn look(
    w: &mut Writing,
    open: &Open,
    wanted: usize,
    now: Timestamp,
    found: &mut Vec<Candidate>,
    next_run_at: &mut Option<Timestamp>,
) -> Step<usize> {
    let mut rank = 0;
    let mut after = None;
    {
        let mut statement = w.conn.prepare_cached(if open.held { LOOK_WHILE_HELD } else { LOOK })?;
        let mut rows = statement.query(params![open.task.0, to_sql(wanted + 1)])?;
        while let Some(row) = rows.next()? {
            let run_at = instant(row, 0)?;
            if run_at > now || rank == wanted {
                after = Some(run_at);
                break;
            }
            found.push(Candidate { rank, run_at, run: RunId(row.get(1)?), task: open.task, held: open.held });
            rank += 1;
        }
    }
    if let Some(at) = after.filter(|at| *at > now) {
        sooner(next_run_at, at);
    }
    let next = after.unwrap_or(Timestamp::from_millis(i64::MAX));
    if open.held {
        w.ledger.set_held_not_before(open.task, next);
    } else {
        w.ledger.set_not_before(open.task, next);
    }
    Ok(rank)
}

pub(super) fn take(w: &mut Writing, candidate: Candidate, request: &ClaimRequest) -> Step<Claim> {
    let fence = w.ledger.next_fence();
    let policy = request.policies.get(&w.ledger.row(candidate.task).key);
    let (attempt, failures, cause, due_at, run_at, bytes) = w
        .conn
        .prepare_cached(formatcp!(
            "UPDATE runs SET state = {RUNNING}, attempt = attempt + 1, fence = ?2, lease_until = ?3, \
             claimed_at = ?4, host = ?5, start_by_at = NULL, attempts_limit = coalesce(?6, attempts_limit), \
             pause_after = CASE WHEN ?6 IS NULL THEN pause_after ELSE ?7 END \
             WHERE id = ?1 RETURNING attempt, failures, cause, due_at, run_at, bytes"
        ))?
        .query_row(
            params![
                candidate.run.0,
                fence,
                request.now.plus(request.lease).as_millis(),
                request.now.as_millis(),
                request.host,
                policy.map(|policy| policy.attempts),
                policy.and_then(|policy| policy.pause_after)
            ],
            |row| {
                let (due_at, run_at) = (instant(row, 3)?, instant(row, 4)?);
                Ok((row.get(0)?, row.get(1)?, cause(row, 2)?, due_at, run_at, row.get::<_, i64>(5)?))
            },
        )?;
    let input = if bytes > 0 { input(&w.conn, candidate.run)? } else { Vec::new() };
    let row = w.ledger.change(candidate.task);
    row.leave(RunState::Waiting);
    row.enter(RunState::Running);
    row.latest_begun = Some(later(row.latest_begun, (candidate.run, request.now)));
    let started = NewEvent::of_run(EventKind::RunStarted, request.now, &row.key, candidate.run, RunState::Running);
    w.events.tell(started.attempt(attempt, &request.host));
    Ok(Claim {
        key: ClaimKey { run: candidate.run, attempt, fence: fence.unsigned_abs() },
        task: row.key.clone(),
        due_at,
        run_at,
        cause,
        input,
        failures,
        claimed_at: request.now,
    })
}

fn input(conn: &Connection, run: RunId) -> rusqlite::Result<Vec<u8>> {
    let input = conn
        .prepare_cached("SELECT body FROM inputs WHERE run = ?1")?
        .query_row([run.0], |row| row.get(0))
        .optional()?;
    Ok(input.unwrap_or_default())
}

/// The data of a run whose claim holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) task: TaskId,
    pub(super) lease_until: Timestamp,
    pub(super) bytes: i64,
    pub(super) host: Option<String>,
    pub(super) cancel: Option<String>,
}

/// Returns the run of `claim`, if the claim still holds.
///
/// # Errors
///
/// [`StoreError::ClaimLost`] if it does not.
pub(super) fn held(conn: &Connection, claim: ClaimKey) -> Step<Held> {
    let held = conn
        .prepare_cached(formatcp!(
            "SELECT task, lease_until, bytes, host, cancel FROM runs \
             WHERE id = ?1 AND state = {RUNNING} AND attempt = ?2 AND fence = ?3"
        ))?
        .query_row(params![claim.run.0, claim.attempt, to_sql(claim.fence)], |row| {
            Ok(Held {
                task: TaskId(row.get(0)?),
                lease_until: instant(row, 1)?,
                bytes: row.get(2)?,
                host: row.get(3)?,
                cancel: row.get(4)?,
            })
        })
        .optional()?;
    Ok(held.ok_or(StoreError::ClaimLost(claim))?)
}

/// See [`crate::Store::extend`].
pub(super) fn extend(w: &mut Writing, claims: &[ClaimKey], until: Timestamp) -> Step<Extended> {
    let mut extended = Extended::default();
    let mut statement = w.conn.prepare_cached(formatcp!(
        "UPDATE runs SET lease_until = ?4 WHERE id = ?1 AND state = {RUNNING} AND attempt = ?2 AND fence = ?3 \
         RETURNING cancel IS NOT NULL"
    ))?;
    for claim in claims {
        let cancelled = statement
            .query_row(params![claim.run.0, claim.attempt, to_sql(claim.fence), until.as_millis()], |row| row.get(0))
            .optional()?;
        match cancelled {
            None => extended.lost.push(*claim),
            Some(true) => extended.cancelled.push(*claim),
            Some(false) => {}
        }
    }
    Ok(extended)
}

/// See [`crate::Store::expired`].
pub(super) fn expired(conn: &Connection, now: Timestamp, limit: usize) -> rusqlite::Result<Vec<Expired>> {
    conn.prepare_cached(formatcp!(
        "SELECT r.id, r.attempt, r.fence, t.tenant, t.name, r.failures, r.claimed_at, r.host, r.cancel IS NOT NULL, \
         r.attempts_limit, r.pause_after, r.deaths, r.lease_until, h.instance, h.alive_until \
         FROM runs r INDEXED BY runs_running JOIN tasks t ON t.id = r.task LEFT JOIN hosts h ON h.name = r.host \
         WHERE r.state = {RUNNING} AND r.lease_until < ?1 ORDER BY r.id LIMIT ?2"
    ))?
    .query_map(params![now.as_millis(), to_sql(limit)], |row| {
        let host = row.get::<_, Option<String>>(7)?.unwrap_or_default();
        let announced = row.get::<_, Option<i64>>(13)?.zip(maybe_instant(row, 14)?);
        let pause_after = row.get(10)?;
        let policy = row.get::<_, Option<u32>>(9)?.map(|attempts| LossPolicy { attempts, pause_after });
        Ok(Expired {
            claim: ClaimKey { run: RunId(row.get(0)?), attempt: row.get(1)?, fence: super::rows::number(row, 2)? },
            task: task_key(row, 3)?,
            failures: row.get(5)?,
            claimed_at: instant(row, 6)?,
            cancel_requested: row.get(8)?,
            policy,
            deaths: row.get(11)?,
            death: Death::of(&host, row.get(12)?, announced, now),
            host,
        })
    })?
    .collect()
}

/// See [`crate::Store::abandon`]. Without a host it ends the claims of all.
pub(super) fn abandon(conn: &Connection, host: Option<&str>) -> rusqlite::Result<usize> {
    conn.prepare_cached(formatcp!(
        "UPDATE runs INDEXED BY runs_running SET lease_until = ?1 WHERE state = {RUNNING} \
         AND coalesce(?2 = host, true)"
    ))?
    .execute(params![i64::MIN, host])
}
