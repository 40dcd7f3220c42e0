//! Reads pages of records from the file.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Params, Row, params};

use crate::labels;
use crate::sqlite::history::{ATTEMPT_COLUMNS, attempt};
use crate::sqlite::rows::{
    ALL, STANDING_COLUMNS, cause, instant, maybe_instant, maybe_name, name, number, outcome, pause, standing, state,
    task_key, to_sql,
};
use crate::transfer::{
    AttemptRecord, Bound, ComponentRecord, EntryRecord, Key, Kind, Page, PartRecord, PauseRecord, PluginRecord, Record,
    RunRecord, ScheduleRecord, TaskRecord, VersionRecord,
};
use sexton_domain::run::RunId;
use sexton_domain::supervision::Pause;

/// See [`crate::transfer::Transfer::page`].
pub(super) fn page(conn: &Connection, kind: Kind, after: Option<&Key>, bound: Bound) -> rusqlite::Result<Page> {
    let ((tenant, rest), (run, nth), (digest, of_it)) = (Key::names(after), Key::numbers(after), Key::part(after));
    let limit = to_sql(bound.records);
    Ok(match kind {
        Kind::Tasks => Page::Tasks(fill(conn, &tasks(), params![tenant, rest, limit], bound, task)?),
        Kind::Pauses => {
            Page::Pauses(fill(conn, PAUSES, params![after.is_none(), tenant, limit], bound, pause_of_many)?)
        }
        Kind::Schedules => Page::Schedules(fill(conn, SCHEDULES, params![run, limit], bound, schedule)?),
        Kind::Entries => Page::Entries(fill(conn, ENTRIES, params![tenant, rest, limit], bound, entry)?),
        Kind::Versions => Page::Versions(fill(conn, VERSIONS, params![run, limit], bound, version)?),
        Kind::Components => Page::Components(fill(conn, COMPONENTS, params![tenant, limit], bound, component)?),
        Kind::Parts => Page::Parts(fill(conn, PARTS, params![digest, of_it, limit], bound, part)?),
        Kind::Plugins => Page::Plugins(fill(conn, PLUGINS, params![tenant, rest, limit], bound, plugin)?),
        Kind::Runs => Page::Runs(fill(conn, RUNS, params![run, limit], bound, run_record)?),
        Kind::Attempts => Page::Attempts(fill(conn, &attempts(), params![run, nth, limit], bound, attempt_record)?),
    })
}

/// Reads rows until they fill a page, by their number or their bytes.
fn fill<R: Record>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    bound: Bound,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<R>,
) -> rusqlite::Result<Vec<R>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    while bytes < bound.bytes
        && let Some(row) = rows.next()?
    {
        let record = read(row)?;
        bytes += record.bytes();
        records.push(record);
    }
    Ok(records)
}

fn tasks() -> String {
    format!(
        "SELECT t.tenant, t.name, t.cursor_at, t.fired, t.memory, t.schedule, t.left_out, t.latest_failure_at, \
         t.forgotten_until, {STANDING_COLUMNS} FROM tasks t WHERE (t.tenant, t.name) > (?1, ?2) ORDER BY t.tenant, t.name LIMIT ?3"
    )
}

fn task(row: &Row<'_>) -> rusqlite::Result<TaskRecord> {
    let standing = standing(row, 9)?;
    Ok(TaskRecord {
        key: task_key(row, 0)?,
        cursor: maybe_instant(row, 2)?,
        fired: number(row, 3)?,
        memory: row.get(4)?,
        schedule: row.get(5)?,
        left_out: row.get(6)?,
        paused: pause(row, 9)?,
        failures: standing.failures,
        crashes: standing.crashes,
        held_until: standing.held_until,
        latest_failure: maybe_instant(row, 7)?,
        forgotten_until: maybe_instant(row, 8)?,
    })
}

/// The first pause, that of all tenants, has an empty name, which is greater than no name: `?1` includes it.
const PAUSES: &str = "SELECT tenant, since_at, why FROM pauses WHERE ?1 OR tenant > ?2 ORDER BY tenant LIMIT ?3";

fn pause_of_many(row: &Row<'_>) -> rusqlite::Result<PauseRecord> {
    let tenant = match row.get_ref(0)?.as_str()? {
        ALL => None,
        _ => Some(name(row, 0)?),
    };
    Ok(PauseRecord { tenant, pause: Pause { since: maybe_instant(row, 1)?, why: row.get(2)? } })
}

const SCHEDULES: &str = "SELECT id, version, tenant, key, task, definition, data, created_at, cursor_at, fired, skipped, \
     finished_at, deleted, type, added_by FROM schedules WHERE id > ?1 ORDER BY id LIMIT ?2";

fn schedule(row: &Row<'_>) -> rusqlite::Result<ScheduleRecord> {
    Ok(ScheduleRecord {
        id: row.get(0)?,
        version: number(row, 1)?,
        tenant: name(row, 2)?,
        key: name(row, 3)?,
        task: name(row, 4)?,
        kind: maybe_name(row, 13)?,
        added_by: maybe_name(row, 14)?,
        definition: row.get(5)?,
        data: row.get(6)?,
        created_at: instant(row, 7)?,
        cursor: instant(row, 8)?,
        fired: number(row, 9)?,
        skipped: number(row, 10)?,
        finished_at: maybe_instant(row, 11)?,
        deleted: row.get(12)?,
    })
}

const ENTRIES: &str = "SELECT e.tenant, e.key, e.version, e.set_at, e.expires_at, e.value, t.tenant, t.name, e.keep \
     FROM entries e LEFT JOIN tasks t ON t.id = e.writer \
     WHERE (e.tenant, e.key) > (?1, ?2) ORDER BY e.tenant, e.key LIMIT ?3";

fn entry(row: &Row<'_>) -> rusqlite::Result<EntryRecord> {
    Ok(EntryRecord {
        tenant: name(row, 0)?,
        key: row.get(1)?,
        version: number(row, 2)?,
        set_at: instant(row, 3)?,
        expires_at: maybe_instant(row, 4)?,
        writer: if is_null(row, 6)? { None } else { Some(task_key(row, 6)?) },
        keep: row.get(8)?,
        value: row.get(5)?,
    })
}

const VERSIONS: &str = "SELECT v.version, v.tenant, v.key, v.set_at, v.expires_at, v.value, t.tenant, t.name \
     FROM entry_versions v LEFT JOIN tasks t ON t.id = v.writer WHERE v.version > ?1 ORDER BY v.version LIMIT ?2";

fn version(row: &Row<'_>) -> rusqlite::Result<VersionRecord> {
    Ok(VersionRecord {
        version: number(row, 0)?,
        tenant: name(row, 1)?,
        key: row.get(2)?,
        set_at: instant(row, 3)?,
        expires_at: maybe_instant(row, 4)?,
        writer: if is_null(row, 6)? { None } else { Some(task_key(row, 6)?) },
        value: row.get(5)?,
    })
}

const COMPONENTS: &str = "SELECT digest, size, kept_at FROM components WHERE digest > ?1 ORDER BY digest LIMIT ?2";

fn component(row: &Row<'_>) -> rusqlite::Result<ComponentRecord> {
    Ok(ComponentRecord { digest: row.get(0)?, size: number(row, 1)?, kept_at: instant(row, 2)? })
}

const PARTS: &str = "SELECT digest, part, body FROM component_parts WHERE (digest, part) > (?1, ?2) \
     ORDER BY digest, part LIMIT ?3";

fn part(row: &Row<'_>) -> rusqlite::Result<PartRecord> {
    Ok(PartRecord { digest: row.get(0)?, part: row.get(1)?, body: row.get(2)? })
}

const PLUGINS: &str = "SELECT tenant, plugin, version, digest, size, manifest, host, published_at, withdrawn_at \
     FROM published WHERE (tenant, plugin) > (?1, ?2) ORDER BY tenant, plugin LIMIT ?3";

fn plugin(row: &Row<'_>) -> rusqlite::Result<PluginRecord> {
    Ok(PluginRecord {
        tenant: name(row, 0)?,
        plugin: name(row, 1)?,
        version: number(row, 2)?,
        digest: row.get(3)?,
        size: number(row, 4)?,
        manifest: row.get(5)?,
        host: row.get(6)?,
        published_at: instant(row, 7)?,
        withdrawn_at: maybe_instant(row, 8)?,
    })
}

/// The order of joins is fixed, not left to the planner, so that runs are read one after the other.
const RUNS: &str = "SELECT r.id, t.tenant, t.name, r.state, r.cause, r.forced, r.attempt, r.failures, r.outcome, r.bytes, \
     r.due_at, r.run_at, r.created_at, r.claimed_at, r.ended_at, r.fence, r.start_by_at, r.parent, r.host, r.dedup, \
     r.schedule, r.message, r.note, r.cancel, i.body, o.content_type, o.body, r.attempts_limit, r.pause_after, r.deaths, \
     r.suspected_at, r.at_once, (SELECT labels FROM label_sets WHERE id = r.labels) \
     FROM runs r CROSS JOIN tasks t ON t.id = r.task LEFT JOIN inputs i ON i.run = r.id LEFT JOIN outputs o ON o.run = r.id \
     WHERE r.id > ?1 ORDER BY r.id LIMIT ?2";

fn run_record(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    Ok(RunRecord {
        id: RunId(row.get(0)?),
        task: task_key(row, 1)?,
        state: state(row, 3)?,
        cause: cause(row, 4)?,
        forced: row.get(5)?,
        attempt: row.get(6)?,
        failures: row.get(7)?,
        outcome: if is_null(row, 8)? { None } else { Some(outcome(row, 8)?) },
        bytes: number(row, 9)?,
        due_at: instant(row, 10)?,
        run_at: instant(row, 11)?,
        created_at: instant(row, 12)?,
        claimed_at: maybe_instant(row, 13)?,
        ended_at: maybe_instant(row, 14)?,
        fence: row.get::<_, Option<i64>>(15)?.map(i64::unsigned_abs),
        start_by: maybe_instant(row, 16)?,
        parent: row.get::<_, Option<i64>>(17)?.map(RunId),
        host: row.get(18)?,
        dedup: row.get(19)?,
        made_by: if is_null(row, 20)? { None } else { Some(name(row, 20)?) },
        message: row.get(21)?,
        note: row.get(22)?,
        cancel: row.get(23)?,
        input: row.get::<_, Option<Vec<u8>>>(24)?.unwrap_or_default(),
        content_type: row.get(25)?,
        output: row.get::<_, Option<Vec<u8>>>(26)?.unwrap_or_default(),
        attempts_limit: row.get(27)?,
        pause_after: row.get(28)?,
        deaths: row.get(29)?,
        suspected_at: maybe_instant(row, 30)?,
        at_once: row.get(31)?,
        labels: row.get_ref(32)?.as_str_or_null()?.map(labels::read).unwrap_or_default(),
    })
}

fn attempts() -> String {
    format!(
        "SELECT {ATTEMPT_COLUMNS}, a.run AS run FROM attempts a LEFT JOIN logs l ON l.run = a.run AND l.attempt = a.attempt \
         WHERE (a.run, a.attempt) > (?1, ?2) ORDER BY a.run, a.attempt LIMIT ?3"
    )
}

fn attempt_record(row: &Row<'_>) -> rusqlite::Result<AttemptRecord> {
    let info = attempt(row)?;
    Ok(AttemptRecord { run: RunId(row.get("run")?), attempt: info.attempt, host: info.host, report: info.report })
}

fn is_null(row: &Row<'_>, column: usize) -> rusqlite::Result<bool> {
    Ok(matches!(row.get_ref(column)?, ValueRef::Null))
}
