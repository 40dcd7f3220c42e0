//! Reads pages of records from the database.

use tokio_postgres::Row;

use crate::labels;
use crate::postgres::errors::Step;
use crate::postgres::history::{ATTEMPT_COLUMNS, attempt};
use crate::postgres::rows::{
    cause, instant, maybe_instant, maybe_name, name, named, number, outcome, over_at, small, state, task_key, to_sql,
};
use crate::postgres::tasks::{STANDING_COLUMNS, pause, standing};
use crate::postgres::tx::{Params, Tx};
use crate::transfer::{
    AttemptRecord, Bound, ComponentRecord, EntryRecord, Key, Kind, Page, PartRecord, PauseRecord, PluginRecord,
    RunRecord, ScheduleRecord, TaskRecord, VersionRecord,
};
use sexton_domain::run::RunId;
use sexton_domain::supervision::Pause;

/// See [`crate::transfer::Transfer::page`].
pub(super) async fn page(tx: &Tx, kind: Kind, after: Option<&Key>, bound: Bound) -> Step<Page> {
    let ((tenant, rest), (run, nth), (digest, of_it)) = (Key::names(after), Key::numbers(after), Key::part(after));
    let (nth, of_it) = (i32::try_from(nth).unwrap_or(i32::MIN), i32::try_from(of_it).unwrap_or(i32::MAX));
    let (most, bytes) = (to_sql(bound.records), to_sql(bound.bytes));
    Ok(match kind {
        Kind::Tasks => Page::Tasks(read(tx, &tasks(), &[&most, &tenant, &rest], task).await?),
        Kind::Pauses => Page::Pauses(read(tx, PAUSES, &[&most, &after.is_none(), &tenant], pause_of_many).await?),
        Kind::Schedules => Page::Schedules(read(tx, &schedules(), &[&most, &bytes, &run], schedule).await?),
        Kind::Entries => Page::Entries(read(tx, &entries(), &[&most, &bytes, &tenant, &rest.as_bytes()], entry).await?),
        Kind::Versions => Page::Versions(read(tx, &versions(), &[&most, &bytes, &run], version).await?),
        Kind::Components => Page::Components(read(tx, COMPONENTS, &[&most, &tenant], component).await?),
        Kind::Parts => Page::Parts(read(tx, &parts(), &[&most, &bytes, &digest, &of_it], part).await?),
        Kind::Plugins => Page::Plugins(read(tx, PLUGINS, &[&most, &tenant, &rest], plugin).await?),
        Kind::Runs => Page::Runs(read(tx, &runs(), &[&most, &bytes, &run], run_record).await?),
        Kind::Attempts => Page::Attempts(read(tx, &attempts(), &[&most, &bytes, &run, &nth], attempt_record).await?),
    })
}

async fn read<R>(tx: &Tx, sql: &str, params: Params<'_>, record: fn(&Row) -> Step<R>) -> Step<Vec<R>> {
    tx.query(sql, params).await?.iter().map(record).collect()
}

/// Returns the rows of `table` that match `after`, in the order of `by`: at most `$1` of them, and no further one once
/// those before it have `$2` bytes of `size`. Large values of rows that are left out are not read.
fn bounded(table: &str, after: &str, by: &str, size: &str) -> String {
    format!(
        "(SELECT * FROM (SELECT b.*, sum({size}) OVER (ORDER BY {by} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) \
         AS so_far FROM (SELECT * FROM {table} WHERE {after} ORDER BY {by} LIMIT $1) b) c \
         WHERE coalesce(c.so_far, 0) < $2::bigint)"
    )
}

fn tasks() -> String {
    format!(
        "SELECT t.tenant, t.name, t.cursor_at, t.fired, t.memory, t.schedule, t.left_out, \
         (SELECT max(y.latest_failure_at) FROM tally y WHERE y.task = t.id), \
         (SELECT max(y.forgotten_until) FROM tally y WHERE y.task = t.id), {STANDING_COLUMNS} \
         FROM tasks t WHERE (t.tenant, t.name) > ($2::text, $3::text) ORDER BY t.tenant, t.name LIMIT $1"
    )
}

fn task(row: &Row) -> Step<TaskRecord> {
    let standing = standing(row, 9);
    Ok(TaskRecord {
        key: task_key(row, 0)?,
        cursor: maybe_instant(row, 2),
        fired: number(row, 3),
        memory: row.get(4),
        schedule: row.get(5),
        left_out: row.get(6),
        paused: pause(row, 9),
        failures: standing.failures,
        crashes: standing.crashes,
        held_until: standing.held_until,
        latest_failure: maybe_instant(row, 7),
        forgotten_until: maybe_instant(row, 8),
    })
}

/// The first pause, that of all tenants, has an empty name, which is greater than no name: `$2` includes it.
const PAUSES: &str =
    "SELECT tenant, since_at, why FROM pauses WHERE $2::boolean OR tenant > $3::text ORDER BY tenant LIMIT $1";

fn pause_of_many(row: &Row) -> Step<PauseRecord> {
    let tenant = match row.get::<_, &str>(0) {
        "" => None,
        _ => Some(name(row, 0)?),
    };
    Ok(PauseRecord { tenant, pause: Pause { since: maybe_instant(row, 1), why: row.get(2) } })
}

fn schedules() -> String {
    let page = bounded("schedules", "id > $3", "id", "octet_length(definition) + coalesce(octet_length(data), 0)");
    format!(
        "SELECT id, version, tenant, key, task, definition, data, created_at, cursor_at, fired, skipped, finished_at, deleted, \
         type, added_by FROM {page} s ORDER BY id"
    )
}

fn schedule(row: &Row) -> Step<ScheduleRecord> {
    Ok(ScheduleRecord {
        id: row.get(0),
        version: number(row, 1),
        tenant: name(row, 2)?,
        key: name(row, 3)?,
        task: name(row, 4)?,
        kind: maybe_name(row, 13)?,
        added_by: maybe_name(row, 14)?,
        definition: row.get(5),
        data: row.get(6),
        created_at: instant(row, 7),
        cursor: instant(row, 8),
        fired: number(row, 9),
        skipped: number(row, 10),
        finished_at: maybe_instant(row, 11),
        deleted: row.get(12),
    })
}

fn entries() -> String {
    let page = bounded(
        "entries",
        "(tenant, key) > ($3::text, $4::bytea)",
        "tenant, key",
        "octet_length(key) + octet_length(value)",
    );
    format!(
        "SELECT e.tenant, e.key, e.version, e.set_at, e.expires_at, e.value, t.tenant, t.name, e.keep \
         FROM {page} e LEFT JOIN tasks t ON t.id = e.writer ORDER BY e.tenant, e.key"
    )
}

fn entry(row: &Row) -> Step<EntryRecord> {
    Ok(EntryRecord {
        tenant: name(row, 0)?,
        key: named(row, 1)?,
        version: number(row, 2),
        set_at: instant(row, 3),
        expires_at: maybe_instant(row, 4),
        writer: row.get::<_, Option<&str>>(6).map(|_| task_key(row, 6)).transpose()?,
        keep: row.get::<_, Option<i32>>(8).map(i32::unsigned_abs),
        value: row.get(5),
    })
}

fn versions() -> String {
    let page = bounded("entry_versions", "version > $3", "version", "octet_length(key) + octet_length(value)");
    format!(
        "SELECT v.version, v.tenant, v.key, v.set_at, v.expires_at, v.value, t.tenant, t.name \
         FROM {page} v LEFT JOIN tasks t ON t.id = v.writer ORDER BY v.version"
    )
}

fn version(row: &Row) -> Step<VersionRecord> {
    Ok(VersionRecord {
        version: number(row, 0),
        tenant: name(row, 1)?,
        key: named(row, 2)?,
        set_at: instant(row, 3),
        expires_at: maybe_instant(row, 4),
        writer: row.get::<_, Option<&str>>(6).map(|_| task_key(row, 6)).transpose()?,
        value: row.get(5),
    })
}

const COMPONENTS: &str =
    "SELECT digest, size, kept_at FROM components WHERE digest > $2::text ORDER BY digest LIMIT $1";

fn component(row: &Row) -> Step<ComponentRecord> {
    Ok(ComponentRecord { digest: row.get(0), size: number(row, 1), kept_at: instant(row, 2) })
}

fn parts() -> String {
    let page = bounded("component_parts", "(digest, part) > ($3::text, $4::int)", "digest, part", "octet_length(body)");
    format!("SELECT digest, part, body FROM {page} p ORDER BY digest, part")
}

fn part(row: &Row) -> Step<PartRecord> {
    Ok(PartRecord { digest: row.get(0), part: small(row, 1), body: row.get(2) })
}

const PLUGINS: &str = "SELECT tenant, plugin, version, digest, size, manifest, host, published_at, withdrawn_at \
     FROM published WHERE (tenant, plugin) > ($2::text, $3::text) ORDER BY tenant, plugin LIMIT $1";

fn plugin(row: &Row) -> Step<PluginRecord> {
    Ok(PluginRecord {
        tenant: name(row, 0)?,
        plugin: name(row, 1)?,
        version: number(row, 2),
        digest: row.get(3),
        size: number(row, 4),
        manifest: row.get(5),
        host: row.get(6),
        published_at: instant(row, 7),
        withdrawn_at: maybe_instant(row, 8),
    })
}

fn runs() -> String {
    let page = bounded("runs", "id > $3", "id", "coalesce(octet_length(input), 0) + coalesce(octet_length(output), 0)");
    format!(
        "SELECT r.id, t.tenant, t.name, r.state, r.cause, r.forced, r.attempt, r.failures, r.outcome, r.bytes, r.due_at, \
         r.run_at, r.created_at, r.claimed_at, r.over_at, r.fence, r.start_by_at, r.parent, r.host, r.dedup, r.schedule, \
         r.message, r.note, r.cancel, r.input, r.content_type, r.output, r.attempts_limit, r.pause_after, r.deaths, \
         r.suspected_at, r.at_once, (SELECT s.labels FROM label_sets s WHERE s.id = r.labels) \
         FROM {page} r JOIN tasks t ON t.id = r.task ORDER BY r.id"
    )
}

fn run_record(row: &Row) -> Step<RunRecord> {
    Ok(RunRecord {
        id: RunId(row.get(0)),
        task: task_key(row, 1)?,
        state: state(row, 3)?,
        cause: cause(row, 4)?,
        forced: row.get(5),
        attempt: small(row, 6),
        failures: small(row, 7),
        outcome: row.get::<_, Option<i16>>(8).map(|_| outcome(row, 8)).transpose()?,
        bytes: number(row, 9),
        due_at: instant(row, 10),
        run_at: instant(row, 11),
        created_at: instant(row, 12),
        claimed_at: maybe_instant(row, 13),
        ended_at: over_at(row, 14),
        fence: row.get::<_, Option<i64>>(15).map(i64::unsigned_abs),
        start_by: maybe_instant(row, 16),
        parent: row.get::<_, Option<i64>>(17).map(RunId),
        host: row.get(18),
        dedup: row.get(19),
        made_by: row.get::<_, Option<&str>>(20).map(|_| name(row, 20)).transpose()?,
        message: row.get(21),
        note: row.get(22),
        cancel: row.get(23),
        input: row.get::<_, Option<Vec<u8>>>(24).unwrap_or_default(),
        content_type: row.get(25),
        output: row.get::<_, Option<Vec<u8>>>(26).unwrap_or_default(),
        attempts_limit: row.get::<_, Option<i32>>(27).map(i32::unsigned_abs),
        pause_after: row.get::<_, Option<i32>>(28).map(i32::unsigned_abs),
        deaths: small(row, 29),
        suspected_at: maybe_instant(row, 30),
        at_once: row.get::<_, Option<i32>>(31).map(i32::unsigned_abs),
        labels: row.get::<_, Option<&str>>(32).map(labels::read).unwrap_or_default(),
    })
}

fn attempts() -> String {
    let size = ["log", "stdout", "stderr", "backtrace"].map(|text| format!("coalesce(octet_length({text}), 0)"));
    let page = bounded("attempts", "(run, attempt) > ($3::bigint, $4::int)", "run, attempt", &size.join(" + "));
    format!("SELECT {ATTEMPT_COLUMNS}, run FROM {page} a ORDER BY run, attempt")
}

fn attempt_record(row: &Row) -> Step<AttemptRecord> {
    let info = attempt(row)?;
    Ok(AttemptRecord { run: RunId(row.get("run")), attempt: info.attempt, host: info.host, report: info.report })
}
