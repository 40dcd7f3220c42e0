//! Added schedules: rows that users write, and that make runs by the thousand in one transaction.

use const_format::formatcp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::added::{
    AddSchedule, Added, DueSchedule, FireAdded, FireScheduleOutcome, GuestSchedules, LoadedSchedule, Reset,
    RunDefaults, ScheduleError, ScheduleFilter, ScheduleInfo, ScheduleKey, ScheduleProgress,
};
use crate::codes::SUCCEEDED;
use crate::events::EventKind;
use crate::repairs::BroughtBack;
use crate::rules::added::{self as rules, DELETED_FOR, Decision, Firing, Move, Stored};
use crate::rules::events::NewEvent;
use crate::sql::schedules_of;
use crate::{NewRun, StoreError};
use sexton_domain::pause::PauseTarget;
use sexton_domain::run::ClaimKey;
use sexton_domain::schedule::routes::Target;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

use super::claims::held;
use super::errors::Step;
use super::ledger::TaskId;
use super::prune::PIECE;
use super::repairs;
use super::rows::{instant, maybe_instant, maybe_name, name, number, to_sql};
use super::runs::enqueue_one;
use super::writer::Writing;

/// Returns the condition for unfinished schedules of `target` whose cursors are later than an instant. Its parameters are
/// tenant and task, empty where `target` has none, and the instant.
fn ahead(target: &PauseTarget) -> String {
    let of = schedules_of(target, "?1", "?2");
    format!("{of} AND deleted = 0 AND finished_at IS NULL AND cursor_at > ?3")
}

/// Columns that [`info`] reads, in its order.
const INFO_COLUMNS: &str = "tenant, key, task, version, definition, length(data), created_at, cursor_at, fired, skipped, finished_at, type, added_by";

fn info(row: &Row<'_>) -> rusqlite::Result<ScheduleInfo> {
    Ok(ScheduleInfo {
        key: ScheduleKey { tenant: name(row, 0)?, key: name(row, 1)? },
        target: Target::of(name(row, 2)?, maybe_name(row, 11)?),
        added_by: maybe_name(row, 12)?,
        version: number(row, 3)?,
        definition: row.get(4)?,
        data_bytes: row.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs),
        created_at: instant(row, 6)?,
        cursor: instant(row, 7)?,
        fired: number(row, 8)?,
        skipped: number(row, 9)?,
        finished_at: maybe_instant(row, 10)?,
    })
}

/// Returns the row of `key`, deleted or not.
pub(super) fn find(conn: &Connection, key: &ScheduleKey) -> rusqlite::Result<Option<Stored>> {
    conn.prepare_cached(&format!(
        "SELECT {INFO_COLUMNS}, id, data, deleted FROM schedules WHERE tenant = ?1 AND key = ?2"
    ))?
    .query_row([key.tenant.as_str(), key.key.as_str()], |row| {
        Ok(Stored { info: info(row)?, id: row.get(13)?, data: row.get(14)?, deleted: row.get(15)? })
    })
    .optional()
}

/// See [`AddedSchedules::schedules`].
pub(super) fn list(conn: &Connection, filter: &ScheduleFilter) -> rusqlite::Result<Vec<ScheduleInfo>> {
    let (tenant, after) = (filter.tenant.as_str(), filter.after.as_ref().map_or("", Name::as_str));
    let by_tasks = if filter.by_tasks { " AND added_by IS NOT NULL" } else { "" };
    let select =
        format!("SELECT {INFO_COLUMNS} FROM schedules WHERE tenant = ?1 AND key > ?2 AND deleted = 0{by_tasks}");
    match &filter.task {
        None => conn
            .prepare_cached(&format!("{select} ORDER BY key LIMIT ?3"))?
            .query_map(params![tenant, after, to_sql(filter.limit)], info)?
            .collect(),
        Some(task) => conn
            .prepare_cached(&format!("{select} AND task = ?4 AND type IS NULL ORDER BY key LIMIT ?3"))?
            .query_map(params![tenant, after, to_sql(filter.limit), task.as_str()], info)?
            .collect(),
    }
}

/// See [`AddedSchedules::load_schedules`].
pub(super) fn load(conn: &Connection, since: u64, limit: usize) -> rusqlite::Result<Vec<LoadedSchedule>> {
    conn.prepare_cached(
        "SELECT tenant, task, id, version, definition, cursor_at, fired, deleted, type FROM schedules INDEXED BY schedules_version \
         WHERE version > ?1 AND (finished_at IS NULL OR deleted = 1) ORDER BY version LIMIT ?2",
    )?
    .query_map([to_sql(since), to_sql(limit)], |row| {
        Ok(LoadedSchedule {
            tenant: name(row, 0)?,
            target: Target::of(name(row, 1)?, maybe_name(row, 8)?),
            id: row.get(2)?,
            version: number(row, 3)?,
            definition: row.get(4)?,
            progress: ScheduleProgress { cursor: instant(row, 5)?, fired: number(row, 6)? },
            deleted: row.get(7)?,
        })
    })?
    .collect()
}

/// Draws a version that is greater than all before.
fn next_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("UPDATE counters SET schedules = schedules + 1 RETURNING schedules")?
        .query_row([], |row| row.get(0))
}

/// See [`AddedSchedules::add_schedule`].
pub(super) fn add(w: &mut Writing, new: &AddSchedule) -> Step<Added> {
    if let Some(guest) = &new.guest {
        held(&w.conn, guest.claim)?;
    }
    let found = find(&w.conn, &new.key)?;
    let others = if new.guest.is_some() { by_tasks(&w.conn, &new.key)? } else { GuestSchedules::default() };
    let replaces = match rules::add(new, found, others, false).map_err(StoreError::from)? {
        Decision::Keep(info) => return Ok(Added::Existing(info)),
        Decision::Write { replaces } => replaces,
    };
    // Each number is an id once, and a version once: a pruned row's number never comes back.
    let version = next_version(&w.conn)?;
    let info = w
        .conn
        .prepare_cached(&format!(
            "INSERT INTO schedules (id, version, tenant, key, task, definition, data, created_at, cursor_at, type, added_by) \
             VALUES (?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (tenant, key) DO UPDATE SET version = ?1, \
             task = ?4, definition = ?5, data = ?6, created_at = ?7, cursor_at = ?8, type = ?9, added_by = ?10, fired = 0, \
             skipped = 0, finished_at = NULL, deleted = 0 RETURNING {INFO_COLUMNS}"
        ))?
        .query_row(
            params![
                version,
                new.key.tenant.as_str(),
                new.key.key.as_str(),
                new.target.name().as_str(),
                new.definition,
                new.data,
                new.now.as_millis(),
                new.cursor.as_millis(),
                new.target.kind().map(Name::as_str),
                new.guest.as_ref().map(|guest| guest.task.as_str()),
            ],
            info,
        )?;
    let kind = if replaces { EventKind::ScheduleChanged } else { EventKind::ScheduleAdded };
    w.events.tell(NewEvent::of_named(kind, new.now, &new.key.tenant, &new.key.key));
    w.hints.schedules = true;
    Ok(if replaces { Added::Replaced(info) } else { Added::New(info) })
}

/// Returns how many schedules of the tenant tasks have added, besides the one with this key. Deleted ones have no data.
fn by_tasks(conn: &Connection, key: &ScheduleKey) -> rusqlite::Result<GuestSchedules> {
    conn.prepare_cached(
        "SELECT count(*) FILTER (WHERE deleted = 0), count(*) FILTER (WHERE deleted = 1), coalesce(sum(length(data)), 0) \
         FROM schedules INDEXED BY schedules_by_tasks WHERE tenant = ?1 AND key <> ?2 AND added_by IS NOT NULL",
    )?
    .query_row([key.tenant.as_str(), key.key.as_str()], |row| {
        Ok(GuestSchedules { schedules: number(row, 0)?, deleted: number(row, 1)?, bytes: number(row, 2)? })
    })
}

/// See [`AddedSchedules::schedule_data`].
pub(super) fn data(conn: &Connection, key: &ScheduleKey, most: usize) -> rusqlite::Result<Option<Vec<u8>>> {
    let found = conn
        .prepare_cached("SELECT substr(data, 1, ?3) FROM schedules WHERE tenant = ?1 AND key = ?2 AND deleted = 0")?
        .query_row(params![key.tenant.as_str(), key.key.as_str(), to_sql(most)], |row| row.get(0))
        .optional()?;
    Ok(found.flatten())
}

/// See [`AddedSchedules::delete_schedule`].
pub(super) fn delete(
    w: &mut Writing,
    key: &ScheduleKey,
    version: Option<u64>,
    claim: Option<ClaimKey>,
    now: Timestamp,
) -> Step<ScheduleInfo> {
    if let Some(claim) = claim {
        held(&w.conn, claim)?;
    }
    let Some(found) = find(&w.conn, key)?.filter(|found| !found.deleted) else {
        return Err(StoreError::from(ScheduleError::NotFound(key.key.clone())).into());
    };
    rules::expect(&found.info, version).map_err(StoreError::from)?;
    let version = next_version(&w.conn)?;
    w.conn
        .prepare_cached("UPDATE schedules SET version = ?2, data = NULL, finished_at = ?3, deleted = 1 WHERE id = ?1")?
        .execute(params![found.id, version, now.as_millis()])?;
    w.events.tell(NewEvent::of_named(EventKind::ScheduleDeleted, now, &key.tenant, &key.key));
    w.hints.schedules = true;
    Ok(found.info)
}

/// See [`AddedSchedules::reset_schedule`].
pub(super) fn reset(w: &mut Writing, key: &ScheduleKey, now: Timestamp) -> Step<Reset> {
    let Some(found) = find(&w.conn, key)?.filter(|found| !found.deleted) else {
        return Err(StoreError::from(ScheduleError::NotFound(key.key.clone())).into());
    };
    if rules::reset(&found.info, now, false).map_err(StoreError::from)? != Move::Due {
        return Ok(Reset::Unchanged(found.info));
    }
    // A new version makes all hosts load the schedule again, and makes a fire that a host is about to write stale.
    let version = next_version(&w.conn)?;
    let info = w
        .conn
        .prepare_cached(&format!(
            "UPDATE schedules SET version = ?2, cursor_at = ?3 WHERE id = ?1 RETURNING {INFO_COLUMNS}"
        ))?
        .query_row(params![found.id, version, now.as_millis()], info)?;
    repairs::bring_back(w, BroughtBack::MadeBy(key), now)?;
    w.hints.schedules = true;
    Ok(Reset::Moved(info))
}

/// Moves the cursors of the schedules of `target` that are later than `now` back to `now`. Their versions are drawn
/// together, as there may be a million of them. Returns whether there were any.
pub(super) fn reset_all_of(w: &mut Writing, target: &PauseTarget, now: Timestamp) -> rusqlite::Result<bool> {
    let ((tenant, task), now, is_ahead) = (target.names(), now.as_millis(), ahead(target));
    let ahead: i64 = w
        .conn
        .prepare_cached(&format!("SELECT count(*) FROM schedules WHERE {is_ahead}"))?
        .query_row(params![tenant, task, now], |row| row.get(0))?;
    if ahead == 0 {
        return Ok(false);
    }
    let latest: i64 = w
        .conn
        .prepare_cached("UPDATE counters SET schedules = schedules + ?1 RETURNING schedules")?
        .query_row([ahead], |row| row.get(0))?;
    w.conn
        .prepare_cached(&format!(
            "UPDATE schedules SET cursor_at = ?3, version = ?4 + late.place \
             FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM schedules WHERE {is_ahead}) AS late \
             WHERE schedules.id = late.id"
        ))?
        .execute(params![tenant, task, now, latest - ahead])?;
    w.hints.schedules = true;
    Ok(true)
}

/// Deletes rows that are no longer needed: of deleted schedules after a while, and of those that finished before
/// `oldest`; at most a piece of each. Returns their number.
pub(super) fn prune(conn: &Connection, oldest: Timestamp, now: Timestamp) -> rusqlite::Result<usize> {
    let mut statement = conn.prepare_cached(
        "DELETE FROM schedules WHERE id IN (SELECT id FROM schedules INDEXED BY schedules_over \
         WHERE deleted = ?1 AND finished_at IS NOT NULL AND finished_at < ?2 LIMIT ?3)",
    )?;
    let deleted = statement.execute(params![true, now.minus(DELETED_FOR).as_millis(), to_sql(PIECE)])?;
    Ok(deleted + statement.execute(params![false, oldest.as_millis(), to_sql(PIECE)])?)
}

/// See [`AddedSchedules::fire_schedules`].
pub(super) fn fire(w: &mut Writing, fire: &FireAdded) -> Step<Vec<FireScheduleOutcome>> {
    let ids: Vec<TaskId> = fire.tasks.iter().map(|task| w.ledger.intern(&task.key)).collect();
    fire.due.iter().map(|due| fire_one(w, due, ids[due.task], &fire.tasks[due.task], fire.now)).collect()
}

/// A schedule as it is when it is fired.
struct Current {
    version: u64,
    progress: ScheduleProgress,
    key: Name,
    data: Option<Vec<u8>>,
}

fn fire_one(
    w: &mut Writing,
    due: &DueSchedule,
    id: TaskId,
    task: &RunDefaults,
    now: Timestamp,
) -> Step<FireScheduleOutcome> {
    let current = w
        .conn
        .prepare_cached(
            "SELECT version, cursor_at, fired, key, data FROM schedules WHERE id = ?1 AND finished_at IS NULL",
        )?
        .query_row([due.id], |row| {
            let progress = ScheduleProgress { cursor: instant(row, 1)?, fired: number(row, 2)? };
            Ok(Current { version: number(row, 0)?, progress, key: name(row, 3)?, data: row.get(4)? })
        })
        .optional()?;
    let Some(current) = current else { return Ok(FireScheduleOutcome::Stale(None)) };
    let Current { version, progress, key, data } = current;
    let is_paused = w.ledger.is_paused(w.ledger.row(id));
    let is_busy = due.due_at.is_some() && !is_paused && busy(w, &key, &task.key.tenant)?;
    let (run, skipped) = match rules::fire(due, version, progress, is_paused, is_busy) {
        Firing::Stale => return Ok(FireScheduleOutcome::Stale(Some((version, progress)))),
        Firing::Move { skipped } => (None, skipped),
        Firing::Make(due_at) => {
            let made = NewRun::added(task, due, due_at, &key, data, now);
            (Some(enqueue_one(w, &made, now)?.run()), false)
        }
    };
    let fired = progress.fired + u64::from(run.is_some());
    let finished = rules::is_finished(due, run.is_some(), fired);
    w.conn
        .prepare_cached(
            "UPDATE schedules SET cursor_at = ?2, fired = ?3, skipped = skipped + ?4, finished_at = ?5 WHERE id = ?1",
        )?
        .execute(params![
            due.id,
            due.cursor.as_millis(),
            to_sql(fired),
            skipped,
            finished.then_some(now.as_millis())
        ])?;
    Ok(FireScheduleOutcome::Done { run, fired, finished })
}

/// Returns whether the key of a tenant has a run that is not over. By key, so that this holds across a deletion.
fn busy(w: &Writing, key: &Name, tenant: &Name) -> rusqlite::Result<bool> {
    let mut statement = w.conn.prepare_cached(formatcp!(
        "SELECT task FROM runs INDEXED BY runs_of_schedule WHERE state < {SUCCEEDED} AND schedule = ?1"
    ))?;
    let mut rows = statement.query([key.as_str()])?;
    while let Some(row) = rows.next()? {
        if w.ledger.row(TaskId(row.get(0)?)).key.tenant == *tenant {
            return Ok(true);
        }
    }
    Ok(false)
}
