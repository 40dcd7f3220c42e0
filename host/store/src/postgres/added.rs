//! Added schedules: rows that users write, and that make runs by the thousand in one transaction (`added/firing.rs`).
//!
//! A transaction that adds, replaces or deletes one holds the row of `counters` from drawing a version until its
//! commit: so versions become visible in their order, and hosts that look for greater ones than they know miss none.

mod firing;

use std::sync::Arc;

use async_trait::async_trait;
use const_format::formatcp;
use tokio::sync::Notify;
use tokio_postgres::Row;

use crate::added::{
    AddSchedule, Added, AddedSchedules, FireAdded, FireScheduleOutcome, GuestSchedules, LoadedSchedule, Reset,
    ScheduleError, ScheduleFilter, ScheduleInfo, ScheduleKey, ScheduleProgress,
};
use crate::codes::RUNNING;
use crate::events::EventKind;
use crate::repairs::BroughtBack;
use crate::rules::added::{self as rules, DELETED_FOR, Decision, Move, Stored};
use crate::rules::events::NewEvent;
use crate::sql::schedules_of;
use crate::{Result, StoreError};
use sexton_domain::pause::PauseTarget;
use sexton_domain::run::ClaimKey;
use sexton_domain::schedule::routes::Target;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

use super::errors::Step;
use super::prune::PIECE;
use super::repairs;
use super::rows::{instant, maybe_instant, maybe_name, name, number, to_int, to_sql};
use super::tx::Tx;
use super::tx_actions::act;
use super::{PostgresStore, read};

#[async_trait]
impl AddedSchedules for PostgresStore {
    async fn add_schedule(&self, new: AddSchedule) -> Result<Added> {
        let new = Arc::new(new);
        act!(self.acts, [new], |tx| add(tx, &new))
    }

    async fn schedules(&self, filter: ScheduleFilter) -> Result<Vec<ScheduleInfo>> {
        read!(self, |tx| list(tx, &filter))
    }

    async fn schedule(&self, key: ScheduleKey) -> Result<Option<ScheduleInfo>> {
        let found = read!(self, |tx| find(tx, &key))?;
        Ok(found.filter(|found| !found.deleted).map(|found| found.info))
    }

    async fn schedule_data(&self, key: ScheduleKey, most: usize) -> Result<Option<Vec<u8>>> {
        read!(self, |tx| data(tx, &key, most))
    }

    async fn delete_schedule(
        &self,
        key: ScheduleKey,
        version: Option<u64>,
        claim: Option<ClaimKey>,
        now: Timestamp,
    ) -> Result<ScheduleInfo> {
        act!(self.acts, [key], |tx| delete(tx, &key, version, claim, now))
    }

    async fn reset_schedule(&self, key: ScheduleKey, now: Timestamp) -> Result<Reset> {
        act!(self.acts, [key], |tx| reset(tx, &key, now))
    }

    async fn fire_schedules(&self, due: FireAdded) -> Result<Vec<FireScheduleOutcome>> {
        let due = Arc::new(due);
        act!(self.acts, [due], |tx| firing::fire(tx, &due))
    }

    async fn load_schedules(&self, since: u64, limit: usize) -> Result<Vec<LoadedSchedule>> {
        read!(self, |tx| load(tx, since, limit))
    }

    fn schedules_hint(&self) -> Arc<Notify> {
        self.shared.hints.schedules.clone()
    }
}

/// Returns the condition for unfinished schedules of `target` whose cursors are later than an instant. Its parameters are
/// tenant and task, empty where `target` has none, and the instant.
fn ahead(target: &PauseTarget) -> String {
    let of = schedules_of(target, "$1::text", "$2::text");
    format!("{of} AND NOT deleted AND finished_at IS NULL AND cursor_at > $3")
}

/// Columns that [`info`] reads, in its order.
const INFO_COLUMNS: &str = "tenant, key, task, version, definition, octet_length(data)::bigint, created_at, cursor_at, \
     fired, skipped, finished_at, type, added_by";

fn info(row: &Row) -> Step<ScheduleInfo> {
    Ok(ScheduleInfo {
        key: ScheduleKey { tenant: name(row, 0)?, key: name(row, 1)? },
        target: Target::of(name(row, 2)?, maybe_name(row, 11)?),
        added_by: maybe_name(row, 12)?,
        version: number(row, 3),
        definition: row.get(4),
        data_bytes: row.get::<_, Option<i64>>(5).map(i64::unsigned_abs),
        created_at: instant(row, 6),
        cursor: instant(row, 7),
        fired: number(row, 8),
        skipped: number(row, 9),
        finished_at: maybe_instant(row, 10),
    })
}

/// Returns the row of `key`, deleted or not.
async fn find(tx: &Tx, key: &ScheduleKey) -> Step<Option<Stored>> {
    let sql = format!("SELECT {INFO_COLUMNS}, id, data, deleted FROM schedules WHERE tenant = $1 AND key = $2");
    let Some(row) = tx.query_opt(&sql, &[&key.tenant.as_str(), &key.key.as_str()]).await? else { return Ok(None) };
    Ok(Some(Stored { info: info(&row)?, id: row.get(13), data: row.get(14), deleted: row.get(15) }))
}

/// See [`AddedSchedules::schedules`].
async fn list(tx: &Tx, filter: &ScheduleFilter) -> Step<Vec<ScheduleInfo>> {
    let (tenant, after) = (filter.tenant.as_str(), filter.after.as_ref().map_or("", Name::as_str));
    let limit = to_sql(filter.limit);
    let by_tasks = if filter.by_tasks { " AND added_by IS NOT NULL" } else { "" };
    let select =
        format!("SELECT {INFO_COLUMNS} FROM schedules WHERE tenant = $1 AND key > $2 AND NOT deleted{by_tasks}");
    let rows = match &filter.task {
        None => tx.query(&format!("{select} ORDER BY key LIMIT $3"), &[&tenant, &after, &limit]).await?,
        Some(task) => {
            let sql = format!("{select} AND task = $4 AND type IS NULL ORDER BY key LIMIT $3");
            tx.query(&sql, &[&tenant, &after, &limit, &task.as_str()]).await?
        }
    };
    rows.iter().map(info).collect()
}

/// See [`AddedSchedules::load_schedules`].
async fn load(tx: &Tx, since: u64, limit: usize) -> Step<Vec<LoadedSchedule>> {
    let rows = tx
        .query(
            "SELECT tenant, task, id, version, definition, cursor_at, fired, deleted, type FROM schedules \
             WHERE version > $1 AND (finished_at IS NULL OR deleted) ORDER BY version LIMIT $2",
            &[&to_sql(since), &to_sql(limit)],
        )
        .await?;
    let each = rows.iter().map(|row| {
        Ok(LoadedSchedule {
            tenant: name(row, 0)?,
            target: Target::of(name(row, 1)?, maybe_name(row, 8)?),
            id: row.get(2),
            version: number(row, 3),
            definition: row.get(4),
            progress: ScheduleProgress { cursor: instant(row, 5), fired: number(row, 6) },
            deleted: row.get(7),
        })
    });
    each.collect()
}

/// Draws a version that is greater than all before. No other transaction draws one until this one has ended.
async fn next_version(tx: &Tx) -> Step<i64> {
    Ok(tx.query_one("UPDATE counters SET schedules = schedules + 1 RETURNING schedules", &[]).await?.get(0))
}

/// Selects a run if a claim of it holds.
const HOLDS: &str =
    formatcp!("SELECT true FROM runs_live WHERE id = $1 AND state + 0 = {RUNNING} AND attempt = $2 AND fence = $3");

/// Checks that a claim holds. The run's row is not locked: a transaction that waits for `counters` would keep its claim
/// from ending.
async fn holds(tx: &Tx, claim: ClaimKey) -> Step<()> {
    look(tx, claim, HOLDS).await
}

/// Checks that a claim holds, and keeps it from ending until the transaction has ended. It never waits, as this
/// transaction has `counters`, and may have rows of tasks, which others lock after those of runs: a row that another
/// transaction has locked is that of a run that ends, or that is being cancelled.
async fn still_holds(tx: &Tx, claim: ClaimKey) -> Step<()> {
    look(tx, claim, formatcp!("{HOLDS} FOR KEY SHARE SKIP LOCKED")).await
}

async fn look(tx: &Tx, claim: ClaimKey, sql: &str) -> Step<()> {
    match tx.query_opt(sql, &[&claim.run.0, &to_int(claim.attempt), &to_sql(claim.fence)]).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::ClaimLost(claim).into()),
    }
}

/// See [`AddedSchedules::add_schedule`].
async fn add(tx: &mut Tx, new: &AddSchedule) -> Step<Added> {
    if let Some(guest) = &new.guest {
        holds(tx, guest.claim).await?;
    }
    // This look draws no version, so that an addition that writes nothing blocks no other.
    let found = find(tx, &new.key).await?;
    if let Decision::Keep(info) =
        rules::add(new, found, GuestSchedules::default(), tx.doubt).map_err(StoreError::from)?
    {
        return Ok(Added::Existing(info));
    }
    // Each number is an id once, and a version once: a pruned row's number never comes back.
    let version = next_version(tx).await?;
    if let Some(guest) = &new.guest {
        // The claim may have been lost while this transaction waited for the others.
        still_holds(tx, guest.claim).await?;
    }
    // All earlier additions are visible now, and further ones wait for this transaction.
    let found = find(tx, &new.key).await?;
    let others = if new.guest.is_some() { by_tasks(tx, &new.key).await? } else { GuestSchedules::default() };
    let replaces = match rules::add(new, found, others, tx.doubt).map_err(StoreError::from)? {
        Decision::Keep(info) => return Ok(Added::Existing(info)),
        Decision::Write { replaces } => replaces,
    };
    let sql = format!(
        "INSERT INTO schedules (id, version, tenant, key, task, definition, data, created_at, cursor_at, type, added_by) \
         VALUES ($1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (tenant, key) DO UPDATE \
         SET version = excluded.version, task = excluded.task, definition = excluded.definition, data = excluded.data, \
         created_at = excluded.created_at, cursor_at = excluded.cursor_at, type = excluded.type, \
         added_by = excluded.added_by, fired = 0, skipped = 0, finished_at = NULL, deleted = false RETURNING {INFO_COLUMNS}"
    );
    let row = tx
        .query_one(
            &sql,
            &[
                &version,
                &new.key.tenant.as_str(),
                &new.key.key.as_str(),
                &new.target.name().as_str(),
                &new.definition,
                &new.data,
                &new.now.as_millis(),
                &new.cursor.as_millis(),
                &new.target.kind().map(Name::as_str),
                &new.guest.as_ref().map(|guest| guest.task.as_str()),
            ],
        )
        .await?;
    let kind = if replaces { EventKind::ScheduleChanged } else { EventKind::ScheduleAdded };
    tx.events.tell(NewEvent::of_named(kind, new.now, &new.key.tenant, &new.key.key));
    tx.hints.schedules = true;
    let info = info(&row)?;
    Ok(if replaces { Added::Replaced(info) } else { Added::New(info) })
}

/// Returns how many schedules of the tenant tasks have added, besides the one with this key. Deleted ones have no data.
async fn by_tasks(tx: &Tx, key: &ScheduleKey) -> Step<GuestSchedules> {
    let sql = "SELECT count(*) FILTER (WHERE NOT deleted), count(*) FILTER (WHERE deleted), \
               coalesce(sum(octet_length(data)), 0)::bigint FROM schedules \
               WHERE tenant = $1 AND key <> $2 AND added_by IS NOT NULL";
    let row = tx.query_one(sql, &[&key.tenant.as_str(), &key.key.as_str()]).await?;
    Ok(GuestSchedules { schedules: number(&row, 0), deleted: number(&row, 1), bytes: number(&row, 2) })
}

/// See [`AddedSchedules::schedule_data`].
async fn data(tx: &Tx, key: &ScheduleKey, most: usize) -> Step<Option<Vec<u8>>> {
    let sql = "SELECT substr(data, 1, $3::int) FROM schedules WHERE tenant = $1 AND key = $2 AND NOT deleted";
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    let row = tx.query_opt(sql, &[&key.tenant.as_str(), &key.key.as_str(), &most]).await?;
    Ok(row.and_then(|row| row.get(0)))
}

/// See [`AddedSchedules::delete_schedule`].
async fn delete(
    tx: &mut Tx,
    key: &ScheduleKey,
    version: Option<u64>,
    claim: Option<ClaimKey>,
    now: Timestamp,
) -> Step<ScheduleInfo> {
    if let Some(claim) = claim {
        holds(tx, claim).await?;
    }
    let doubt = tx.doubt;
    let there = |found: Option<Stored>| match found {
        Some(found) if !found.deleted => rules::expect(&found.info, version).map(|()| found),
        // If the schedule may have been deleted before, and the row says so, it was.
        Some(found) if doubt && found.info.finished_at == Some(now) => Ok(found),
        _ => Err(ScheduleError::NotFound(key.key.clone())),
    };
    there(find(tx, key).await?).map_err(StoreError::from)?;
    let next = next_version(tx).await?;
    if let Some(claim) = claim {
        still_holds(tx, claim).await?;
    }
    let found = there(find(tx, key).await?).map_err(StoreError::from)?;
    if !found.deleted {
        tx.execute(
            "UPDATE schedules SET version = $2, data = NULL, finished_at = $3, deleted = true WHERE id = $1",
            &[&found.id, &next, &now.as_millis()],
        )
        .await?;
        tx.events.tell(NewEvent::of_named(EventKind::ScheduleDeleted, now, &key.tenant, &key.key));
        tx.hints.schedules = true;
    }
    Ok(found.info)
}

/// See [`AddedSchedules::reset_schedule`].
async fn reset(tx: &mut Tx, key: &ScheduleKey, now: Timestamp) -> Step<Reset> {
    let doubt = tx.doubt;
    let decide = |found: Option<Stored>| {
        let Some(found) = found.filter(|found| !found.deleted) else {
            return Err(ScheduleError::NotFound(key.key.clone()));
        };
        rules::reset(&found.info, now, doubt).map(|to_do| (found, to_do))
    };
    let answer = |(found, to_do): (Stored, Move)| match to_do {
        Move::Done => Reset::Moved(found.info),
        Move::Due | Move::None => Reset::Unchanged(found.info),
    };
    // This look draws no version, so that a reset that writes nothing blocks no other.
    let looked = decide(find(tx, key).await?).map_err(StoreError::from)?;
    if looked.1 != Move::Due {
        return Ok(answer(looked));
    }
    // A new version makes all hosts load the schedule again, and makes a fire that a host is about to write stale.
    let version = next_version(tx).await?;
    let sql = format!(
        "UPDATE schedules SET version = $2, cursor_at = $3 WHERE id = $1 AND NOT deleted AND finished_at IS NULL \
         AND cursor_at > $3 RETURNING {INFO_COLUMNS}"
    );
    match tx.query_opt(&sql, &[&looked.0.id, &version, &now.as_millis()]).await? {
        Some(row) => {
            repairs::bring_back(tx, BroughtBack::MadeBy(key), now).await?;
            tx.hints.schedules = true;
            Ok(Reset::Moved(info(&row)?))
        }
        // The schedule has changed since the look.
        None => Ok(answer(decide(find(tx, key).await?).map_err(StoreError::from)?)),
    }
}

/// Moves the cursors of the schedules of `target` that are later than `now` back to `now`. Their versions are drawn
/// together, as there may be a million of them; their rows are locked in the order in which hosts that fire them do it.
/// Returns whether there were any.
pub(super) async fn reset_all_of(tx: &mut Tx, target: &PauseTarget, now: Timestamp) -> Step<bool> {
    let ((tenant, task), now, is_ahead) = (target.names(), now.as_millis(), ahead(target));
    let sql = format!("SELECT count(*) FROM schedules WHERE {is_ahead}");
    let ahead: i64 = tx.query_one(&sql, &[&tenant, &task, &now]).await?.get(0);
    if ahead == 0 {
        return Ok(false);
    }
    // No schedule is added or replaced from here on, so that there are no more than were counted.
    let latest = tx.query_one("UPDATE counters SET schedules = schedules + $1 RETURNING schedules", &[&ahead]).await?;
    let sql = format!(
        "WITH ahead AS (SELECT id FROM schedules WHERE {is_ahead} ORDER BY id LIMIT $5 FOR UPDATE), \
         placed AS (SELECT id, row_number() OVER (ORDER BY id) AS place FROM ahead) \
         UPDATE schedules s SET cursor_at = $3, version = $4 + p.place FROM placed p WHERE s.id = p.id"
    );
    let before = latest.get::<_, i64>(0) - ahead;
    tx.execute(&sql, &[&tenant, &task, &now, &before, &ahead]).await?;
    tx.hints.schedules = true;
    Ok(true)
}

/// Deletes rows that are no longer needed: of deleted schedules after a while, and of those that finished before
/// `oldest`; at most a piece of each. Returns their number.
pub(super) async fn prune(tx: &mut Tx, oldest: Timestamp, now: Timestamp) -> Step<u64> {
    let mut gone = 0;
    for (deleted, before) in [(true, now.minus(DELETED_FOR)), (false, oldest)] {
        gone += tx
            .execute(
                "WITH idle AS (SELECT id FROM schedules \
                 WHERE deleted = $1 AND finished_at IS NOT NULL AND finished_at < $2 LIMIT $3 FOR UPDATE SKIP LOCKED) \
                 DELETE FROM schedules s USING idle i WHERE s.id = i.id",
                &[&deleted, &before.as_millis(), &to_sql(PIECE)],
            )
            .await?;
    }
    Ok(gone)
}
