//! Ends attempts: everything that is written with an end is in one transaction.

use const_format::formatcp;
use rusqlite::{Connection, params};

use super::claims::{Held, held};
use super::errors::Step;
use super::loss;
use super::prune;
use super::rows::{outcome_code, state_code, to_sql};
use super::writer::Writing;
use crate::codes::WAITING;
use crate::events::EventKind;
use crate::rules::events::{NewEvent, of_end};
use crate::rules::finish as rules;
use crate::rules::latest::later;
use crate::{Finish, ROW_BYTES, StoreError};
use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{ClaimKey, Output, Report, RunId, RunState};
use sexton_domain::supervision::{self, Consequence, End};

/// See [`crate::Store::finish`].
pub(super) fn finish(w: &mut Writing, finish: &Finish) -> Step<Consequence> {
    let claim = finish.claim;
    let held = held(&w.conn, claim)?;
    if finish.expired_by.is_some_and(|by| held.lease_until >= by) {
        return Err(StoreError::ClaimLost(claim).into());
    }
    let report = &finish.report;
    let mut bytes = record(&w.conn, claim, held.host.as_deref().unwrap_or_default(), report)?;
    bytes -= prune::forget_attempts(&w.conn, claim)?;
    let asked = held.cancel.as_deref();
    let message = rules::message(report, asked);
    if let Transition::Succeed(output) = &finish.transition {
        bytes += keep_output(&w.conn, claim.run, output)?;
    }
    let entered = rules::state_after(&finish.transition, asked.is_some());
    if let Some(run_at) = rules::starts_again_at(&finish.transition).filter(|_| !entered.is_over()) {
        w.conn
            .prepare_cached(formatcp!(
                "UPDATE runs SET state = {WAITING}, run_at = ?2, failures = failures + ?3, bytes = bytes + ?4, \
                 outcome = ?5, message = ?6, lease_until = NULL, cancel = NULL WHERE id = ?1"
            ))?
            .execute(params![
                claim.run.0,
                run_at.as_millis(),
                rules::is_failure(&finish.transition),
                bytes,
                outcome_code(report.outcome),
                message
            ])?;
        let row = w.ledger.change(held.task);
        row.not_before = row.not_before.min(run_at);
        if let Some(death) = &finish.death {
            let suspected_at = (finish.transition == Transition::HoldBack).then_some(report.ended_at);
            loss::count(&w.conn, claim, death, suspected_at)?;
        }
    }
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
                rules::is_failure(&finish.transition),
                bytes,
                outcome_code(report.outcome),
                message
            ])?;
    }
    let consequence = count_finish(w, &held, finish, entered, bytes);
    let (task, ended_at) = (&w.ledger.row(held.task).key, report.ended_at);
    let end = NewEvent::of_run(of_end(entered), ended_at, task, claim.run, entered).outcome(report.outcome);
    w.events.tell(end.attempt(claim.attempt, held.host.as_deref().unwrap_or_default()));
    if consequence.paused.is_some() {
        w.events.tell(NewEvent::of_task(EventKind::TaskPaused, ended_at, task));
    }
    release_all(w, claim.run)?;
    Ok(consequence)
}

/// Changes the sums and the task for a finish, and notes which hints to send.
fn count_finish(w: &mut Writing, held: &Held, finish: &Finish, entered: RunState, bytes: i64) -> Consequence {
    let (run, ended_at) = (finish.claim.run, finish.report.ended_at);
    let row = w.ledger.change(held.task);
    row.leave(RunState::Running);
    row.enter(entered);
    if entered.is_over() {
        row.bytes += held.bytes + bytes;
    }
    if rules::is_result(entered, Some(finish.report.outcome)) {
        row.latest_success = Some(later(row.latest_success, (run, ended_at)));
    }
    if entered == RunState::Failed {
        row.latest_failure = row.latest_failure.max(Some(ended_at));
    }
    let end = End { run, outcome: finish.report.outcome, state: entered, at: ended_at };
    let consequence = supervision::after(row.standing, row.paused.is_some(), &end, &finish.supervision);
    row.standing = consequence.standing;
    row.paused = row.paused.take().or_else(|| consequence.paused.clone());
    // The run may wait itself, or have made room for another.
    w.hints.runs |= row.count(RunState::Waiting) > 0;
    w.hints.changes = true;
    consequence
}

/// Releases both kinds of locks that a run holds.
fn release_all(w: &mut Writing, run: RunId) -> Step<()> {
    let released = w.conn.prepare_cached("DELETE FROM locks WHERE run = ?1")?.execute([run.0])?;
    w.hints.locks |= released > 0;
    Ok(())
}

/// Writes an attempt. Returns the bytes of its logs.
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

/// Keeps a run's output. Returns its bytes.
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
