//! Writes records to the file. Existing ones stay; new ones are added to the sums.

use rusqlite::params;

use crate::rules::finish::is_result;
use crate::rules::latest::later;
use crate::sqlite::cache::count;
use crate::sqlite::errors::Step;
use crate::sqlite::rows::{ALL, cause_code, outcome_code, state_code, to_sql};
use crate::sqlite::writer::Writing;
use crate::transfer::{
    AttemptRecord, ComponentRecord, EntryRecord, Page, PartRecord, PauseRecord, PluginRecord, RunRecord,
    ScheduleRecord, TaskRecord, VersionRecord,
};
use sexton_domain::run::RunState;
use sexton_domain::supervision::{Standing, bypasses_brake};
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// See [`crate::transfer::Transfer::take`].
pub(super) fn take(w: &mut Writing, page: &Page) -> Step<()> {
    match page {
        Page::Tasks(tasks) => tasks.iter().for_each(|record| task(w, record)),
        Page::Pauses(pauses) => pauses.iter().try_for_each(|record| pause(w, record))?,
        Page::Schedules(schedules) => schedules.iter().try_for_each(|record| schedule(w, record))?,
        Page::Entries(entries) => entries.iter().try_for_each(|record| entry(w, record))?,
        Page::Versions(versions) => versions.iter().try_for_each(|record| version(w, record))?,
        Page::Components(components) => components.iter().try_for_each(|record| component(w, record))?,
        Page::Parts(parts) => parts.iter().try_for_each(|record| part(w, record))?,
        Page::Plugins(plugins) => plugins.iter().try_for_each(|record| plugin(w, record))?,
        Page::Runs(runs) => runs.iter().try_for_each(|record| run(w, record))?,
        Page::Attempts(attempts) => attempts.iter().try_for_each(|record| attempt(w, record))?,
    }
    Ok(())
}

fn task(w: &mut Writing, record: &TaskRecord) {
    let id = w.ledger.intern(&record.key);
    let row = w.ledger.change(id);
    row.cursor = record.cursor;
    row.fired = record.fired;
    row.memory.clone_from(&record.memory);
    row.schedule.clone_from(&record.schedule);
    row.left_out.clone_from(&record.left_out);
    row.paused.clone_from(&record.paused);
    row.standing = Standing { failures: record.failures, crashes: record.crashes, held_until: record.held_until };
    row.latest_failure = record.latest_failure;
    row.forgotten_until = record.forgotten_until;
}

fn pause(w: &mut Writing, record: &PauseRecord) -> Step<()> {
    let PauseRecord { tenant, pause } = record;
    let insert = "INSERT OR IGNORE INTO pauses (tenant, since_at, why) VALUES (?1, ?2, ?3)";
    let new = w.conn.prepare_cached(insert)?.execute(params![
        tenant.as_ref().map_or(ALL, Name::as_str),
        pause.since.unwrap_or_default().as_millis(),
        pause.why.as_deref()
    ])?;
    if new == 0 {
        return Ok(());
    }
    match tenant {
        Some(tenant) => drop(w.ledger.pauses.tenants.insert(tenant.clone(), pause.clone())),
        None => w.ledger.pauses.all = Some(pause.clone()),
    }
    Ok(())
}

fn schedule(w: &mut Writing, record: &ScheduleRecord) -> Step<()> {
    w.conn
        .prepare_cached(
            "INSERT INTO schedules (id, version, tenant, key, task, definition, data, created_at, cursor_at, fired, \
             skipped, finished_at, deleted, type, added_by) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) \
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            record.id,
            to_sql(record.version),
            record.tenant.as_str(),
            record.key.as_str(),
            record.task.as_str(),
            record.definition,
            record.data,
            record.created_at.as_millis(),
            record.cursor.as_millis(),
            to_sql(record.fired),
            to_sql(record.skipped),
            record.finished_at.map(Timestamp::as_millis),
            record.deleted,
            record.kind.as_ref().map(Name::as_str),
            record.added_by.as_ref().map(Name::as_str),
        ])?;
    w.hints.schedules = true;
    Ok(())
}

fn entry(w: &mut Writing, record: &EntryRecord) -> Step<()> {
    let writer = record.writer.as_ref().map(|task| w.ledger.intern(task).0);
    let new = w
        .conn
        .prepare_cached(
            "INSERT INTO entries (tenant, key, version, set_at, expires_at, value, writer, keep) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (tenant, key) DO NOTHING",
        )?
        .execute(params![
            record.tenant.as_str(),
            record.key,
            to_sql(record.version),
            record.set_at.as_millis(),
            record.expires_at.map(Timestamp::as_millis),
            record.value,
            writer,
            record.keep,
        ])?;
    if new > 0 {
        let bytes = to_sql(record.key.len()) + to_sql(record.value.len());
        count(&w.conn, record.tenant.as_str(), writer, bytes)?;
    }
    Ok(())
}

fn version(w: &mut Writing, record: &VersionRecord) -> Step<()> {
    let writer = record.writer.as_ref().map(|task| w.ledger.intern(task).0);
    let new = w
        .conn
        .prepare_cached(
            "INSERT INTO entry_versions (version, tenant, key, set_at, expires_at, writer, value) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (version) DO NOTHING",
        )?
        .execute(params![
            to_sql(record.version),
            record.tenant.as_str(),
            record.key,
            record.set_at.as_millis(),
            record.expires_at.map(Timestamp::as_millis),
            writer,
            record.value,
        ])?;
    if new > 0 {
        let bytes = to_sql(record.key.len()) + to_sql(record.value.len());
        count(&w.conn, record.tenant.as_str(), writer, bytes)?;
    }
    Ok(())
}

fn component(w: &mut Writing, record: &ComponentRecord) -> Step<()> {
    w.conn
        .prepare_cached("INSERT OR IGNORE INTO components (digest, size, kept_at) VALUES (?1, ?2, ?3)")?
        .execute(params![record.digest, to_sql(record.size), record.kept_at.as_millis()])?;
    Ok(())
}

fn part(w: &mut Writing, record: &PartRecord) -> Step<()> {
    w.conn
        .prepare_cached("INSERT OR IGNORE INTO component_parts (digest, part, body) VALUES (?1, ?2, ?3)")?
        .execute(params![record.digest, record.part, record.body])?;
    Ok(())
}

fn plugin(w: &mut Writing, record: &PluginRecord) -> Step<()> {
    w.conn
        .prepare_cached(
            "INSERT INTO published (tenant, plugin, version, digest, size, manifest, host, published_at, withdrawn_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (tenant, plugin) DO NOTHING",
        )?
        .execute(params![
            record.tenant.as_str(),
            record.plugin.as_str(),
            to_sql(record.version),
            record.digest,
            to_sql(record.size),
            record.manifest,
            record.host,
            record.published_at.as_millis(),
            record.withdrawn_at.map(Timestamp::as_millis),
        ])?;
    w.hints.plugins = true;
    Ok(())
}

fn run(w: &mut Writing, record: &RunRecord) -> Step<()> {
    let task = w.ledger.intern(&record.task);
    let tenant = w.ledger.tenant(&w.conn, &record.task.tenant)?;
    let labels = w.ledger.label_set(&w.conn, tenant, &record.labels)?;
    let new = w
        .conn
        .prepare_cached(
            "INSERT INTO runs (id, task, state, cause, forced, attempt, failures, outcome, bytes, due_at, run_at, \
             created_at, claimed_at, ended_at, fence, lease_until, start_by_at, parent, host, dedup, schedule, message, \
             note, cancel, attempts_limit, pause_after, deaths, suspected_at, at_once, tenant, labels) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, \
             ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31) \
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            record.id.0,
            task.0,
            state_code(record.state),
            cause_code(record.cause),
            record.forced,
            record.attempt,
            record.failures,
            record.outcome.map(outcome_code),
            to_sql(record.bytes),
            record.due_at.as_millis(),
            record.run_at.as_millis(),
            record.created_at.as_millis(),
            record.claimed_at.map(Timestamp::as_millis),
            record.ended_at.map(Timestamp::as_millis),
            record.fence.map(to_sql),
            // The claim of a run that was in progress is no longer held by a host.
            (record.state == RunState::Running).then_some(i64::MIN),
            record.start_by.map(Timestamp::as_millis),
            record.parent.map(|parent| parent.0),
            record.host,
            record.dedup,
            record.made_by.as_ref().map(Name::as_str),
            record.message,
            record.note,
            record.cancel,
            record.attempts_limit,
            record.pause_after,
            record.deaths,
            record.suspected_at.map(Timestamp::as_millis),
            record.at_once,
            tenant,
            labels,
        ])?;
    if new == 0 {
        return Ok(());
    }
    if !record.input.is_empty() {
        w.conn
            .prepare_cached("INSERT INTO inputs (run, body) VALUES (?1, ?2)")?
            .execute(params![record.id.0, record.input])?;
    }
    if record.has_output() {
        w.conn
            .prepare_cached("INSERT INTO outputs (run, content_type, body) VALUES (?1, ?2, ?3)")?
            .execute(params![record.id.0, record.content_type, record.output])?;
    }
    count_in(w, record);
    Ok(())
}

/// Counts a new run for its task.
fn count_in(w: &mut Writing, record: &RunRecord) {
    let task = w.ledger.intern(&record.task);
    let row = w.ledger.change(task);
    row.enter(record.state);
    match record.state {
        RunState::Waiting => {
            row.not_before = row.not_before.min(record.run_at);
            if bypasses_brake(record.cause, record.attempt) {
                row.held_not_before = row.held_not_before.min(record.run_at);
            }
        }
        RunState::Running => {}
        RunState::Succeeded | RunState::Failed | RunState::Cancelled => row.bytes += to_sql(record.bytes),
    }
    if let Some(ended_at) = record.ended_at.filter(|_| is_result(record.state, record.outcome)) {
        row.latest_success = Some(later(row.latest_success, (record.id, ended_at)));
    }
    if let Some(claimed_at) = record.claimed_at {
        row.latest_begun = Some(later(row.latest_begun, (record.id, claimed_at)));
    }
    if let Some(start_by) = record.start_by.filter(|_| record.state == RunState::Waiting) {
        w.ledger.starts_by(start_by);
    }
    w.hints.runs = true;
    w.hints.changes = true;
}

fn attempt(w: &mut Writing, record: &AttemptRecord) -> Step<()> {
    let (report, accounts) = (&record.report, &record.report.accounts);
    let new = w
        .conn
        .prepare_cached(
            "INSERT INTO attempts (run, attempt, outcome, started_at, ended_at, fuel, peak_memory, guest_us, host_us, \
             queued_us, lock_wait_us, host_calls, bytes_in, bytes_out, host, message) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) \
             ON CONFLICT (run, attempt) DO NOTHING",
        )?
        .execute(params![
            record.run.0,
            record.attempt,
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
            record.host,
            report.message,
        ])?;
    if new == 0 || !record.report.has_logs() {
        return Ok(());
    }
    w.conn
        .prepare_cached(
            "INSERT INTO logs (run, attempt, backtrace, log, log_cut, stdout, stdout_cut, stderr, stderr_cut) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            record.run.0,
            record.attempt,
            report.backtrace,
            report.log.text,
            report.log.cut,
            report.stdout.text,
            report.stdout.cut,
            report.stderr.text,
            report.stderr.cut,
        ])?;
    Ok(())
}
