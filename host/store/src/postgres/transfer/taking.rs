//! Writes records to the database. Existing ones stay; new ones are added to the sums.

use std::collections::{BTreeSet, HashMap, HashSet};

use tokio_postgres::Row;

use crate::codes::{cause_code, outcome_code, state_code};
use crate::postgres::cache::Sums;
use crate::postgres::counter_changes::CounterChanges;
use crate::postgres::errors::Step;
use crate::postgres::labels;
use crate::postgres::rows::{code, to_int, to_sql};
use crate::postgres::schema::NOT_OVER;
use crate::postgres::tasks::intern;
use crate::postgres::tx::Tx;
use crate::rules::finish::is_result;
use crate::transfer::{
    AttemptRecord, ComponentRecord, EntryRecord, Page, PartRecord, PauseRecord, PluginRecord, RunRecord,
    ScheduleRecord, TaskRecord, VersionRecord,
};
use sexton_domain::run::{Accounts, CappedText, RunState};
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

/// See [`crate::transfer::Transfer::take`].
pub(super) async fn take(tx: &mut Tx, page: &Page) -> Step<()> {
    match page {
        Page::Tasks(records) => tasks(tx, records).await,
        Page::Pauses(records) => pauses(tx, records).await,
        Page::Schedules(records) => schedules(tx, records).await,
        Page::Entries(records) => entries(tx, records).await,
        Page::Versions(records) => versions(tx, records).await,
        Page::Components(records) => components(tx, records).await,
        Page::Parts(records) => parts(tx, records).await,
        Page::Plugins(records) => plugins(tx, records).await,
        Page::Runs(records) => runs(tx, records).await,
        Page::Attempts(records) => attempts(tx, records).await,
    }
}

/// Returns a column of all records.
fn each<'a, R, T>(records: &'a [R], column: impl Fn(&'a R) -> T) -> Vec<T> {
    records.iter().map(column).collect()
}

fn millis(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_millis)
}

async fn tasks(tx: &Tx, records: &[TaskRecord]) -> Step<()> {
    let ids = intern(tx, &each(records, |one| one.key.clone())).await?;
    tx.execute(
        "UPDATE tasks t SET cursor_at = n.cursor_at, fired = n.fired, memory = n.memory, schedule = n.schedule, \
         left_out = n.left_out, paused = n.paused, paused_at = n.paused_at, paused_why = n.paused_why, \
         failures = n.failures, crashes = n.crashes, held_until = n.held_until \
         FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::boolean[], \
         $8::bigint[], $9::text[], $10::int[], $11::int[], $12::bigint[]) AS n(id, cursor_at, fired, memory, schedule, \
         left_out, paused, paused_at, paused_why, failures, crashes, held_until) WHERE t.id = n.id",
        &[
            &ids,
            &each(records, |one| millis(one.cursor)),
            &each(records, |one| to_sql(one.fired)),
            &each(records, |one| one.memory.as_deref()),
            &each(records, |one| one.schedule.as_deref()),
            &each(records, |one| one.left_out.as_deref()),
            &each(records, |one| one.paused.is_some()),
            &each(records, |one| one.paused.as_ref().and_then(|pause| millis(pause.since))),
            &each(records, |one| one.paused.as_ref().and_then(|pause| pause.why.as_deref())),
            &each(records, |one| to_int(one.failures)),
            &each(records, |one| to_int(one.crashes)),
            &each(records, |one| millis(one.held_until)),
        ],
    )
    .await?;
    let mut tally = CounterChanges::default();
    for (task, record) in ids.iter().zip(records) {
        if let Some(at) = record.latest_failure {
            tally.of(*task).failed(at);
        }
        if let Some(at) = record.forgotten_until {
            tally.of(*task).forgot(at);
        }
    }
    tally.write(tx).await
}

async fn pauses(tx: &Tx, records: &[PauseRecord]) -> Step<()> {
    tx.execute(
        "INSERT INTO pauses (tenant, since_at, why) SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[]) \
         ON CONFLICT DO NOTHING",
        &[
            &each(records, |one| one.tenant.as_ref().map_or("", Name::as_str)),
            &each(records, |one| one.pause.since.unwrap_or_default().as_millis()),
            &each(records, |one| one.pause.why.as_deref()),
        ],
    )
    .await?;
    Ok(())
}

async fn schedules(tx: &mut Tx, records: &[ScheduleRecord]) -> Step<()> {
    tx.execute(
        "INSERT INTO schedules (id, version, tenant, key, task, definition, data, created_at, cursor_at, fired, skipped, \
         finished_at, deleted, type, added_by) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], \
         $5::text[], $6::text[], $7::bytea[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], \
         $13::boolean[], $14::text[], $15::text[]) \
         ON CONFLICT (id) DO NOTHING",
        &[
            &each(records, |one| one.id),
            &each(records, |one| to_sql(one.version)),
            &each(records, |one| one.tenant.as_str()),
            &each(records, |one| one.key.as_str()),
            &each(records, |one| one.task.as_str()),
            &each(records, |one| one.definition.as_str()),
            &each(records, |one| one.data.as_deref()),
            &each(records, |one| one.created_at.as_millis()),
            &each(records, |one| one.cursor.as_millis()),
            &each(records, |one| to_sql(one.fired)),
            &each(records, |one| to_sql(one.skipped)),
            &each(records, |one| millis(one.finished_at)),
            &each(records, |one| one.deleted),
            &each(records, |one| one.kind.as_ref().map(Name::as_str)),
            &each(records, |one| one.added_by.as_ref().map(Name::as_str)),
        ],
    )
    .await?;
    tx.hints.schedules = true;
    Ok(())
}

/// Returns the numbers of the tasks that wrote records.
async fn writers<R>(tx: &Tx, records: &[R], writer: impl Fn(&R) -> Option<&TaskKey>) -> Step<Vec<Option<i64>>> {
    let keys: Vec<TaskKey> = records.iter().filter_map(|one| writer(one).cloned()).collect();
    let mut ids = intern(tx, &keys).await?.into_iter();
    Ok(records.iter().map(|one| writer(one).and_then(|_| ids.next())).collect())
}

/// Counts the bytes of rows (tenant, writer, bytes) that are new.
async fn count(tx: &Tx, new: &[Row], tenants: &[&str]) -> Step<()> {
    let mut usage = Sums::default();
    for row in new {
        usage.count(row.get(0), row.get(1), row.get(2));
    }
    tx.execute(
        "INSERT INTO cache_usage (tenant, bytes) SELECT DISTINCT tenant, 0 FROM unnest($1::text[]) AS n(tenant) \
         ON CONFLICT DO NOTHING",
        &[&tenants],
    )
    .await?;
    usage.write(tx).await
}

async fn entries(tx: &Tx, records: &[EntryRecord]) -> Step<()> {
    let writers = writers(tx, records, |one| one.writer.as_ref()).await?;
    let rows = tx
        .query(
            "INSERT INTO entries (tenant, key, version, set_at, expires_at, writer, value, keep) \
             SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], \
             $7::bytea[], $8::int[]) ON CONFLICT DO NOTHING \
             RETURNING tenant, writer, (octet_length(key) + octet_length(value))::bigint",
            &[
                &each(records, |one| one.tenant.as_str()),
                &each(records, |one| one.key.as_bytes()),
                &each(records, |one| to_sql(one.version)),
                &each(records, |one| one.set_at.as_millis()),
                &each(records, |one| millis(one.expires_at)),
                &writers,
                &each(records, |one| &one.value[..]),
                &each(records, |one| one.keep.map(to_int)),
            ],
        )
        .await?;
    count(tx, &rows, &each(records, |one| one.tenant.as_str())).await
}

async fn versions(tx: &Tx, records: &[VersionRecord]) -> Step<()> {
    let writers = writers(tx, records, |one| one.writer.as_ref()).await?;
    let rows = tx
        .query(
            "INSERT INTO entry_versions (version, tenant, key, set_at, expires_at, writer, value) \
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[], \
             $7::bytea[]) ON CONFLICT DO NOTHING \
             RETURNING tenant, writer, (octet_length(key) + octet_length(value))::bigint",
            &[
                &each(records, |one| to_sql(one.version)),
                &each(records, |one| one.tenant.as_str()),
                &each(records, |one| one.key.as_bytes()),
                &each(records, |one| one.set_at.as_millis()),
                &each(records, |one| millis(one.expires_at)),
                &writers,
                &each(records, |one| &one.value[..]),
            ],
        )
        .await?;
    count(tx, &rows, &each(records, |one| one.tenant.as_str())).await
}

async fn components(tx: &Tx, records: &[ComponentRecord]) -> Step<()> {
    tx.execute(
        "INSERT INTO components (digest, size, kept_at) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]) \
         ON CONFLICT DO NOTHING",
        &[
            &each(records, |one| one.digest.as_str()),
            &each(records, |one| to_sql(one.size)),
            &each(records, |one| one.kept_at.as_millis()),
        ],
    )
    .await?;
    Ok(())
}

async fn parts(tx: &Tx, records: &[PartRecord]) -> Step<()> {
    tx.execute(
        "INSERT INTO component_parts (digest, part, body) SELECT * FROM unnest($1::text[], $2::int[], $3::bytea[]) \
         ON CONFLICT DO NOTHING",
        &[
            &each(records, |one| one.digest.as_str()),
            &each(records, |one| to_int(one.part)),
            &each(records, |one| &one.body[..]),
        ],
    )
    .await?;
    Ok(())
}

async fn plugins(tx: &mut Tx, records: &[PluginRecord]) -> Step<()> {
    tx.execute(
        "INSERT INTO published (tenant, plugin, version, digest, size, manifest, host, published_at, withdrawn_at) \
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::text[], \
         $8::bigint[], $9::bigint[]) ON CONFLICT (tenant, plugin) DO NOTHING",
        &[
            &each(records, |one| one.tenant.as_str()),
            &each(records, |one| one.plugin.as_str()),
            &each(records, |one| to_sql(one.version)),
            &each(records, |one| one.digest.as_str()),
            &each(records, |one| to_sql(one.size)),
            &each(records, |one| one.manifest.as_str()),
            &each(records, |one| one.host.as_str()),
            &each(records, |one| one.published_at.as_millis()),
            &each(records, |one| millis(one.withdrawn_at)),
        ],
    )
    .await?;
    tx.hints.plugins = true;
    Ok(())
}

async fn runs(tx: &mut Tx, records: &[RunRecord]) -> Step<()> {
    let ids = each(records, |one| one.id.0);
    let rows = tx.query("SELECT id FROM runs WHERE id = ANY($1)", &[&ids]).await?;
    let known: HashSet<i64> = rows.iter().map(|row| row.get(0)).collect();
    let tasks = intern(tx, &each(records, |one| one.task.clone())).await?;
    let new: Vec<(&RunRecord, i64)> =
        records.iter().zip(tasks).filter(|(record, _)| !known.contains(&record.id.0)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let tenants = labels::tenants(tx, &each(&new, |(one, _)| &one.task.tenant)).await?;
    let sets: Vec<_> = new.iter().zip(&tenants).map(|((one, _), tenant)| (*tenant, &one.labels)).collect();
    let made_at = new.iter().map(|(one, _)| one.created_at).max().unwrap_or_default();
    let sets = labels::sets(tx, &sets, made_at).await?;
    write_runs(tx, &new, &tenants, &sets).await?;
    let keyed: Vec<(&str, i64, i64)> =
        new.iter().filter_map(|(one, task)| Some((one.dedup.as_deref()?, *task, one.id.0))).collect();
    tx.execute(
        "INSERT INTO run_keys (task, key, run) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[])",
        &[&each(&keyed, |(_, task, _)| *task), &each(&keyed, |(key, ..)| *key), &each(&keyed, |(_, _, run)| *run)],
    )
    .await?;
    let mut tally = CounterChanges::default();
    for (one, task) in new {
        let change = tally.of(task);
        change.enter(one.state, 1);
        if one.state.is_over() {
            change.bytes += to_sql(one.bytes);
        }
        if let Some(at) = one.ended_at.filter(|_| is_result(one.state, one.outcome)) {
            change.succeeded(one.id, at);
        }
        if let Some(at) = one.claimed_at {
            change.begun(one.id, at);
        }
    }
    tally.write(tx).await?;
    tx.hints.runs = true;
    tx.hints.changes = true;
    Ok(())
}

fn over_at(one: &RunRecord) -> i64 {
    match one.state.is_over() {
        true => one.ended_at.unwrap_or(one.created_at).as_millis(),
        false => NOT_OVER,
    }
}

/// The claim of a run that was in progress is no longer held by a host.
fn lease_until(one: &RunRecord) -> Option<i64> {
    (one.state == RunState::Running).then_some(i64::MIN)
}

/// Writes runs, each with the number of its task, and those of their tenants and of their sets of labels.
async fn write_runs(tx: &Tx, new: &[(&RunRecord, i64)], tenants: &[i64], sets: &[Option<i64>]) -> Step<()> {
    tx.execute(
        "INSERT INTO runs (id, over_at, task, state, cause, forced, attempt, failures, outcome, bytes, due_at, run_at, \
         created_at, claimed_at, fence, lease_until, start_by_at, parent, host, dedup, schedule, message, note, cancel, \
         input, content_type, output, attempts_limit, pause_after, deaths, suspected_at, at_once, tenant, labels) \
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], \
         $5::smallint[], $6::boolean[], $7::int[], $8::int[], $9::smallint[], $10::bigint[], $11::bigint[], $12::bigint[], \
         $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[], $19::text[], $20::text[], \
         $21::text[], $22::text[], $23::text[], $24::text[], $25::bytea[], $26::text[], $27::bytea[], $28::int[], $29::int[], $30::int[], \
         $31::bigint[], $32::int[], $33::bigint[], $34::bigint[])",
        &[
            &each(new, |(one, _)| one.id.0),
            &each(new, |(one, _)| over_at(one)),
            &each(new, |(_, task)| *task),
            &each(new, |(one, _)| code(state_code(one.state))),
            &each(new, |(one, _)| code(cause_code(one.cause))),
            &each(new, |(one, _)| one.forced),
            &each(new, |(one, _)| to_int(one.attempt)),
            &each(new, |(one, _)| to_int(one.failures)),
            &each(new, |(one, _)| one.outcome.map(|outcome| code(outcome_code(outcome)))),
            &each(new, |(one, _)| to_sql(one.bytes)),
            &each(new, |(one, _)| one.due_at.as_millis()),
            &each(new, |(one, _)| one.run_at.as_millis()),
            &each(new, |(one, _)| one.created_at.as_millis()),
            &each(new, |(one, _)| millis(one.claimed_at)),
            &each(new, |(one, _)| one.fence.map(to_sql)),
            &each(new, |(one, _)| lease_until(one)),
            &each(new, |(one, _)| millis(one.start_by)),
            &each(new, |(one, _)| one.parent.map(|parent| parent.0)),
            &each(new, |(one, _)| one.host.as_deref()),
            &each(new, |(one, _)| one.dedup.as_deref()),
            &each(new, |(one, _)| one.made_by.as_ref().map(Name::as_str)),
            &each(new, |(one, _)| one.message.as_deref()),
            &each(new, |(one, _)| one.note.as_deref()),
            &each(new, |(one, _)| one.cancel.as_deref()),
            &each(new, |(one, _)| (!one.input.is_empty()).then_some(&one.input[..])),
            &each(new, |(one, _)| one.content_type.as_deref()),
            &each(new, |(one, _)| one.has_output().then_some(&one.output[..])),
            &each(new, |(one, _)| one.attempts_limit.map(to_int)),
            &each(new, |(one, _)| one.pause_after.map(to_int)),
            &each(new, |(one, _)| to_int(one.deaths)),
            &each(new, |(one, _)| millis(one.suspected_at)),
            &each(new, |(one, _)| one.at_once.map(to_int)),
            &tenants,
            &sets,
        ],
    )
    .await?;
    Ok(())
}

async fn attempts(tx: &Tx, records: &[AttemptRecord]) -> Step<()> {
    let runs: Vec<i64> = records.iter().map(|one| one.run.0).collect::<BTreeSet<_>>().into_iter().collect();
    let rows = tx.query("SELECT run, attempt FROM attempts WHERE run = ANY($1)", &[&runs]).await?;
    let known: HashSet<(i64, i32)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    // Attempts are kept where their run is.
    let rows = tx.query("SELECT id, over_at FROM runs WHERE id = ANY($1)", &[&runs]).await?;
    let over_at: HashMap<i64, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let new: Vec<&AttemptRecord> =
        records.iter().filter(|one| !known.contains(&(one.run.0, to_int(one.attempt)))).collect();
    let over_at = each(&new, |one| over_at.get(&one.run.0).copied().unwrap_or(NOT_OVER));
    write_attempts(tx, &new, &over_at).await
}

/// Writes attempts. No host holds the claims that wrote them first, so they have no fence that could be looked up.
async fn write_attempts(tx: &Tx, new: &[&AttemptRecord], over_at: &[i64]) -> Step<()> {
    fn kept<'a>(
        new: &'a [&'a AttemptRecord],
        which: impl Fn(&'a AttemptRecord) -> &'a CappedText,
    ) -> (Vec<Option<&'a str>>, Vec<bool>) {
        let text = |kept: &'a CappedText| Some(kept.text.as_str()).filter(|text| !text.is_empty());
        new.iter().map(|one| which(one)).map(|kept| (text(kept), kept.cut)).unzip()
    }
    let accounts = |column: fn(&Accounts) -> i64| each(new, move |one| column(&one.report.accounts));
    let (log, log_cut) = kept(new, |one| &one.report.log);
    let (stdout, stdout_cut) = kept(new, |one| &one.report.stdout);
    let (stderr, stderr_cut) = kept(new, |one| &one.report.stderr);
    tx.execute(
        "INSERT INTO attempts (run, attempt, over_at, fence, outcome, started_at, ended_at, fuel, peak_memory, guest_us, \
         host_us, queued_us, lock_wait_us, host_calls, bytes_in, bytes_out, host, message, backtrace, log, log_cut, stdout, \
         stdout_cut, stderr, stderr_cut) \
         SELECT n.run, n.attempt, n.over_at, 0, n.outcome, n.started_at, n.ended_at, n.fuel, n.peak_memory, n.guest_us, \
         n.host_us, n.queued_us, n.lock_wait_us, n.host_calls, n.bytes_in, n.bytes_out, n.host, n.message, n.backtrace, \
         n.log, n.log_cut, n.stdout, n.stdout_cut, n.stderr, n.stderr_cut \
         FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::smallint[], $5::bigint[], $6::bigint[], $7::bigint[], \
         $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], \
         $15::bigint[], $16::text[], $17::text[], $18::text[], $19::text[], $20::boolean[], $21::text[], $22::boolean[], \
         $23::text[], $24::boolean[]) AS n(run, attempt, over_at, outcome, started_at, ended_at, fuel, peak_memory, \
         guest_us, host_us, queued_us, lock_wait_us, host_calls, bytes_in, bytes_out, host, message, backtrace, log, \
         log_cut, stdout, stdout_cut, stderr, stderr_cut)",
        &[
            &each(new, |one| one.run.0),
            &each(new, |one| to_int(one.attempt)),
            &over_at,
            &each(new, |one| code(outcome_code(one.report.outcome))),
            &each(new, |one| one.report.started_at.as_millis()),
            &each(new, |one| one.report.ended_at.as_millis()),
            &accounts(|a| to_sql(a.fuel)),
            &accounts(|a| to_sql(a.peak_memory)),
            &accounts(|a| to_sql(a.guest.as_micros())),
            &accounts(|a| to_sql(a.host.as_micros())),
            &accounts(|a| to_sql(a.queued.as_micros())),
            &accounts(|a| to_sql(a.lock_wait.as_micros())),
            &accounts(|a| to_sql(a.host_calls)),
            &accounts(|a| to_sql(a.bytes_in)),
            &accounts(|a| to_sql(a.bytes_out)),
            &each(new, |one| one.host.as_str()),
            &each(new, |one| one.report.message.as_deref()),
            &each(new, |one| one.report.backtrace.as_deref()),
            &log,
            &log_cut,
            &stdout,
            &stdout_cut,
            &stderr,
            &stderr_cut,
        ],
    )
    .await?;
    Ok(())
}
