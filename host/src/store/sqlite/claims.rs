//! How runs are taken, held and ended.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::errors::Step;
use super::ledger::TaskId;
use super::rows::{cause, instant, outcome_code, state_code, task_key, to_sql};
use super::runs::ROW_BYTES;
use super::writer::Writing;
use crate::lifecycle::Transition;
use crate::run::{Claim, ClaimKey, Output, Report, RunId, RunState};
use crate::store::{ClaimRequest, Claimed, Expired, Extended, Finish, StoreError};
use crate::task::Name;
use crate::time::Timestamp;

/// A run that waits, on its way to being claimed.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// Its place among its task's: a task with a long backlog gets its second place only after every other its first.
    rank: usize,
    run_at: Timestamp,
    run: RunId,
    task: TaskId,
}

/// See [`crate::store::Store::claim`].
pub(super) fn claim(w: &mut Writing, request: &ClaimRequest) -> Step<Claimed> {
    let mut next_run_at: Option<Timestamp> = None;
    let mut tasks = Vec::new();
    for (id, row) in w.ledger.tasks() {
        if row.paused || row.count(RunState::Waiting) == 0 {
            continue;
        }
        let Some(most) = request.tasks.get(&row.key) else { continue };
        if request.tenants.get(&row.key.tenant).is_some_and(|share| share.room == 0) {
            continue;
        }
        if row.not_before > request.now {
            next_run_at = Some(next_run_at.map_or(row.not_before, |at| at.min(row.not_before)));
        } else if let Ok(room @ 1..) = usize::try_from(i64::from(*most) - row.count(RunState::Running)) {
            tasks.push((row.not_before, id, room.min(request.limit)));
        }
    }
    let mut taken = match request.tenants.len() {
        0 => choose(w, &mut tasks, request.limit, request.now, &mut next_run_at)?,
        _ => choose_fairly(w, tasks, request, &mut next_run_at)?,
    };
    taken.sort_unstable_by_key(|candidate| (candidate.run_at, candidate.run));
    let claims = taken.into_iter().map(|c| take(w, c, request)).collect::<Step<Vec<_>>>()?;
    w.told.changes |= !claims.is_empty();
    Ok(Claimed { claims, next_run_at })
}

/// Which of the due runs of `tasks` are taken where tenants are told apart: each has its own choice of as many as it may, and
/// of all those chosen come first those of the tenants that have the fewest runs under way.
fn choose_fairly(
    w: &mut Writing,
    tasks: Vec<(Timestamp, TaskId, usize)>,
    request: &ClaimRequest,
    next_run_at: &mut Option<Timestamp>,
) -> Step<Vec<Candidate>> {
    let mut by_tenant: BTreeMap<Name, Vec<_>> = BTreeMap::new();
    for task in tasks {
        by_tenant.entry(w.ledger.row(task.1).key.tenant.clone()).or_default().push(task);
    }
    let mut found = Vec::new();
    for (tenant, mut tasks) in by_tenant {
        let share = request.tenants.get(&tenant);
        let room = share.map_or(request.limit, |share| request.limit.min(share.room as usize));
        let mut chosen = choose(w, &mut tasks, room, request.now, next_run_at)?;
        chosen.sort_unstable_by_key(|c| (c.rank, c.run_at, c.run));
        let running = share.map_or(0, |share| share.running as usize);
        found.extend(chosen.into_iter().zip(running..));
    }
    found.sort_unstable_by_key(|(c, under_way)| (*under_way, c.run_at, c.run));
    let mut taken: Vec<Candidate> = found.into_iter().map(|(candidate, _)| candidate).collect();
    leave_beyond(w, &mut taken, request.limit);
    Ok(taken)
}

/// Keep the first `limit` of those found.
fn leave_beyond(w: &mut Writing, found: &mut Vec<Candidate>, limit: usize) {
    for left in found.drain(limit.min(found.len())..) {
        // Looked at and not taken: it is what its task has next.
        let earliest = w.ledger.row(left.task).not_before.min(left.run_at);
        w.ledger.set_not_before(left.task, earliest);
    }
}

/// Which of the due runs of `tasks` (not before, task, room) are taken, at most `limit`.
fn choose(
    w: &mut Writing,
    tasks: &mut [(Timestamp, TaskId, usize)],
    limit: usize,
    now: Timestamp,
    next_run_at: &mut Option<Timestamp>,
) -> Step<Vec<Candidate>> {
    tasks.sort_unstable();
    let mut found: Vec<Candidate> = Vec::new();
    // First each task's fair share, then all that those with more in store can give. Mostly the first is enough.
    let share = limit.div_ceil(tasks.len().max(1));
    let mut more = Vec::new();
    for (place, &(not_before, task, room)) in tasks.iter().enumerate() {
        // The heads of the tasks before are all earlier than whatever this one and those after it have.
        if place >= limit && found.iter().filter(|c| c.rank == 0 && c.run_at <= not_before).count() >= limit {
            break;
        }
        let wanted = room.min(share);
        let got = look(w, task, wanted, now, &mut found, next_run_at)?;
        if got == wanted && room > wanted {
            more.push((task, room));
        }
    }
    if found.len() < limit && !more.is_empty() {
        found.retain(|c| !more.iter().any(|(task, _)| *task == c.task));
        for (task, room) in more {
            look(w, task, room.min(limit), now, &mut found, next_run_at)?;
        }
    }
    if found.len() > limit {
        found.sort_unstable_by_key(|c| (c.rank, c.run_at, c.run));
        leave_beyond(w, &mut found, limit);
    }
    Ok(found)
}

/// Add up to `wanted` due runs of a task to `found`, and remember when it has the next. Returns how many there were.
fn look(
    w: &mut Writing,
    task: TaskId,
    wanted: usize,
    now: Timestamp,
    found: &mut Vec<Candidate>,
    next_run_at: &mut Option<Timestamp>,
) -> Step<usize> {
    let mut rank = 0;
    let mut after = None;
    {
        let mut statement = w
            .conn
            .prepare_cached("SELECT run_at, id FROM runs WHERE state = 0 AND task = ?1 ORDER BY run_at, id LIMIT ?2")?;
        let mut rows = statement.query(params![task.0, to_sql(wanted + 1)])?;
        while let Some(row) = rows.next()? {
            let run_at = instant(row, 0)?;
            if run_at > now || rank == wanted {
                after = Some(run_at);
                break;
            }
            found.push(Candidate { rank, run_at, run: RunId(row.get(1)?), task });
            rank += 1;
        }
    }
    if let Some(at) = after.filter(|at| *at > now) {
        *next_run_at = Some(next_run_at.map_or(at, |other| other.min(at)));
    }
    w.ledger.set_not_before(task, after.unwrap_or(Timestamp::from_millis(i64::MAX)));
    Ok(rank)
}

fn take(w: &mut Writing, candidate: Candidate, request: &ClaimRequest) -> Step<Claim> {
    let fence = w.ledger.next_fence();
    let (attempt, failures, cause, due_at, bytes) = w
        .conn
        .prepare_cached(
            "UPDATE runs SET state = 1, attempt = attempt + 1, fence = ?2, lease_until = ?3, claimed_at = ?4, host = ?5 \
             WHERE id = ?1 RETURNING attempt, failures, cause, due_at, bytes",
        )?
        .query_row(
            params![
                candidate.run.0,
                fence,
                request.now.plus(request.lease).as_millis(),
                request.now.as_millis(),
                request.host
            ],
            |row| Ok((row.get(0)?, row.get(1)?, cause(row, 2)?, instant(row, 3)?, row.get::<_, i64>(4)?)),
        )?;
    let input = if bytes > 0 { input(&w.conn, candidate.run)? } else { Vec::new() };
    let row = w.ledger.change(candidate.task);
    row.leave(RunState::Waiting);
    row.enter(RunState::Running);
    Ok(Claim {
        key: ClaimKey { run: candidate.run, attempt, fence: fence.unsigned_abs() },
        task: row.key.clone(),
        due_at,
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

/// What is known of a claim that holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) task: TaskId,
    lease_until: Timestamp,
    bytes: i64,
    host: Option<String>,
    cancel: Option<String>,
}

/// The run of `claim`, if it is still that claim's.
///
/// # Errors
///
/// [`StoreError::ClaimLost`] if it is not.
pub(super) fn held(conn: &Connection, claim: ClaimKey) -> Step<Held> {
    let held = conn
        .prepare_cached(
            "SELECT task, lease_until, bytes, host, cancel FROM runs \
             WHERE id = ?1 AND state = 1 AND attempt = ?2 AND fence = ?3",
        )?
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

/// See [`crate::store::Store::extend`].
pub(super) fn extend(w: &mut Writing, claims: &[ClaimKey], until: Timestamp) -> Step<Extended> {
    let mut extended = Extended::default();
    let mut statement = w.conn.prepare_cached(
        "UPDATE runs SET lease_until = ?4 WHERE id = ?1 AND state = 1 AND attempt = ?2 AND fence = ?3 \
         RETURNING cancel IS NOT NULL",
    )?;
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

/// See [`crate::store::Store::expired`].
pub(super) fn expired(conn: &Connection, now: Timestamp, limit: usize) -> rusqlite::Result<Vec<Expired>> {
    conn.prepare_cached(
        "SELECT r.id, r.attempt, r.fence, t.tenant, t.name, r.failures, r.claimed_at, r.host, r.cancel IS NOT NULL \
         FROM runs r INDEXED BY runs_running JOIN tasks t ON t.id = r.task \
         WHERE r.state = 1 AND r.lease_until < ?1 ORDER BY r.id LIMIT ?2",
    )?
    .query_map(params![now.as_millis(), to_sql(limit)], |row| {
        Ok(Expired {
            claim: ClaimKey { run: RunId(row.get(0)?), attempt: row.get(1)?, fence: super::rows::number(row, 2)? },
            task: task_key(row, 3)?,
            failures: row.get(5)?,
            claimed_at: instant(row, 6)?,
            host: row.get::<_, Option<String>>(7)?.unwrap_or_default(),
            cancel_requested: row.get(8)?,
        })
    })?
    .collect()
}

/// See [`crate::store::Store::abandon`]. With no host: the claims of all.
pub(super) fn abandon(conn: &Connection, host: Option<&str>) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "UPDATE runs INDEXED BY runs_running SET lease_until = ?1 WHERE state = 1 AND coalesce(?2 = host, true)",
    )?
    .execute(params![i64::MIN, host])
}

/// See [`crate::store::Store::finish`].
pub(super) fn finish(w: &mut Writing, finish: &Finish) -> Step<()> {
    let claim = finish.claim;
    let held = held(&w.conn, claim)?;
    if finish.expired_by.is_some_and(|by| held.lease_until >= by) {
        return Err(StoreError::ClaimLost(claim).into());
    }
    let report = &finish.report;
    let mut bytes = record(&w.conn, claim, held.host.as_deref().unwrap_or_default(), report)?;
    let message = report.message.as_deref().or(held.cancel.as_deref());
    let entered = match &finish.transition {
        Transition::Succeed(output) => {
            bytes += keep_output(&w.conn, claim.run, output)?;
            RunState::Succeeded
        }
        Transition::Fail => RunState::Failed,
        Transition::Cancel => RunState::Cancelled,
        // Who asked for its end may have done so after its host looked last.
        Transition::Wait { .. } if held.cancel.is_some() => RunState::Cancelled,
        Transition::Wait { run_at, failed } => {
            w.conn
                .prepare_cached(
                    "UPDATE runs SET state = 0, run_at = ?2, failures = failures + ?3, bytes = bytes + ?4, \
                     outcome = ?5, message = ?6, lease_until = NULL, cancel = NULL WHERE id = ?1",
                )?
                .execute(params![
                    claim.run.0,
                    run_at.as_millis(),
                    failed,
                    bytes,
                    outcome_code(report.outcome),
                    message
                ])?;
            let row = w.ledger.change(held.task);
            row.not_before = row.not_before.min(*run_at);
            RunState::Waiting
        }
    };
    if entered.is_over() {
        w.conn
            .prepare_cached(
                "UPDATE runs SET state = ?2, ended_at = ?3, failures = failures + ?4, bytes = bytes + ?5, outcome = ?6, \
                 message = ?7, lease_until = NULL, cancel = NULL WHERE id = ?1",
            )?
            .execute(params![
                claim.run.0,
                state_code(entered),
                report.ended_at.as_millis(),
                matches!(finish.transition, Transition::Fail | Transition::Wait { failed: true, .. }),
                bytes,
                outcome_code(report.outcome),
                message
            ])?;
    }
    count_finish(w, &held, claim.run, entered, bytes, report.ended_at);
    release_all(w, claim.run)
}

/// What a finish changes in the sums, and who is told.
fn count_finish(w: &mut Writing, held: &Held, run: RunId, entered: RunState, bytes: i64, ended_at: Timestamp) {
    let row = w.ledger.change(held.task);
    row.leave(RunState::Running);
    row.enter(entered);
    if entered.is_over() {
        row.bytes += held.bytes + bytes;
    }
    if entered == RunState::Succeeded && row.latest_success.is_none_or(|(latest, _)| latest < run) {
        row.latest_success = Some((run, ended_at));
    }
    // It may wait itself, or have made room for another.
    w.told.runs |= row.count(RunState::Waiting) > 0;
    w.told.changes = true;
}

/// Both kinds of locks that a run holds.
fn release_all(w: &mut Writing, run: RunId) -> Step<()> {
    let released = w.conn.prepare_cached("DELETE FROM locks WHERE run = ?1")?.execute([run.0])?;
    w.told.locks |= released > 0;
    Ok(())
}

/// Write an attempt down. Returns the bytes of its logs.
fn record(conn: &Connection, claim: ClaimKey, host: &str, report: &Report) -> rusqlite::Result<i64> {
    let accounts = &report.accounts;
    conn.prepare_cached(
        "INSERT INTO attempts (run, attempt, outcome, started_at, ended_at, fuel, peak_memory, guest_us, host_us, \
         queued_us, lock_wait_us, host_calls, bytes_in, bytes_out, host, message) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?
    .execute(params![
        claim.run.0,
        claim.attempt,
        outcome_code(report.outcome),
        report.started_at.as_millis(),
        report.ended_at.as_millis(),
        to_sql(accounts.fuel),
        to_sql(accounts.peak_memory),
        to_sql(accounts.guest.as_micros()),
        to_sql(accounts.host.as_micros()),
        to_sql(accounts.queued.as_micros()),
        to_sql(accounts.lock_wait.as_micros()),
        to_sql(accounts.host_calls),
        to_sql(accounts.bytes_in),
        to_sql(accounts.bytes_out),
        host,
        report.message.as_deref(),
    ])?;
    let kept = [&report.log, &report.stdout, &report.stderr];
    if report.backtrace.is_none() && kept.iter().all(|kept| kept.text.is_empty() && !kept.cut) {
        return Ok(0);
    }
    conn.prepare_cached(
        "INSERT INTO logs (run, attempt, backtrace, log, log_cut, stdout, stdout_cut, stderr, stderr_cut) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        claim.run.0,
        claim.attempt,
        report.backtrace.as_deref(),
        report.log.text,
        report.log.cut,
        report.stdout.text,
        report.stdout.cut,
        report.stderr.text,
        report.stderr.cut,
    ])?;
    let texts: usize = kept.iter().map(|kept| kept.text.len()).sum();
    Ok(to_sql(texts + report.backtrace.as_ref().map_or(0, String::len)) + ROW_BYTES)
}

/// Keep what a run made. Returns its bytes.
fn keep_output(conn: &Connection, run: RunId, output: &Output) -> rusqlite::Result<i64> {
    if output.body.is_empty() && output.content_type.is_none() {
        return Ok(0);
    }
    conn.prepare_cached("INSERT INTO outputs (run, content_type, body) VALUES (?1, ?2, ?3)")?.execute(params![
        run.0,
        output.content_type.as_deref(),
        output.body
    ])?;
    Ok(to_sql(output.body.len()) + ROW_BYTES)
}
