//! Cache entries: each is written whole, with a version from the counter of fences, so that a key's versions grow even
//! when it is deleted in between.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::claims::held;
use super::errors::Step;
use super::locks;
use super::rows::{instant, maybe_instant, name, number, to_sql};
use super::versions;
use super::writer::Writing;
use crate::rules::cache::{self as rules, Condition, Found, Keeping, Usage};
use crate::{CacheKey, CacheWrite, Entry, EntryInfo, WriteIf, WriteOutcome};
use sexton_domain::run::ClaimKey;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

fn find(conn: &Connection, key: &CacheKey, now: Timestamp) -> rusqlite::Result<Option<Found>> {
    conn.prepare_cached(
        "SELECT version, length(value), expires_at, writer, keep FROM entries WHERE tenant = ?1 AND key = ?2",
    )?
    .query_row(params![key.tenant.as_str(), key.key], |row| {
        let is_alive = maybe_instant(row, 2)?.is_none_or(|at| at > now);
        Ok(Found { version: number(row, 0)?, bytes: row.get(1)?, is_alive, writer: row.get(3)?, keep: row.get(4)? })
    })
    .optional()
}

/// See [`crate::Store::cache_write`].
pub(super) fn write(w: &mut Writing, write: &CacheWrite) -> Step<WriteOutcome> {
    let CacheKey { tenant, key } = &write.key;
    let writer = match write.claim {
        Some(claim) => Some(held(&w.conn, claim)?.task.0),
        None => None,
    };
    let found = find(&w.conn, &write.key, write.now)?;
    let allowed = match rules::condition(write, found) {
        Condition::Is(holds) => holds,
        Condition::IfHeld(lock, claim, fence) => locks::holds(&w.conn, &lock, claim, fence)?,
    };
    if !allowed {
        return Ok(WriteOutcome::Conflict);
    }
    let keeping = make_room(&w.conn, write, writer, found)?;
    versions::keep(&w.conn, &write.key, &keeping)?;
    let version = w.ledger.next_fence();
    w.conn
        .prepare_cached(
            "INSERT INTO entries (tenant, key, version, set_at, expires_at, value, writer, keep) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (tenant, key) DO UPDATE \
             SET version = ?3, set_at = ?4, expires_at = ?5, value = ?6, writer = ?7, keep = ?8",
        )?
        .execute(params![
            tenant.as_str(),
            key,
            version,
            write.now.as_millis(),
            write.expires_at.map(Timestamp::as_millis),
            write.value,
            writer,
            keeping.keep,
        ])?;
    if let (WriteIf::Refreshing(_), Some(claim)) = (write.only, write.claim) {
        locks::release(w, &rules::refresh_lock(&write.key), claim)?;
    }
    Ok(WriteOutcome::Yes(version.unsigned_abs()))
}

/// Counts the new value, in place of the old one unless that is kept. Fails if it is more than the tenant or the
/// `writer` may have.
fn make_room(conn: &Connection, write: &CacheWrite, writer: Option<i64>, found: Option<Found>) -> Step<Keeping> {
    let tenant = &write.key.tenant;
    let mut seen = usage_at(conn, write, writer, found)?;
    if rules::exceeded(write, writer, &seen).is_some() {
        // Expired entries are absent to all readers, so deleting them changes nothing that a refusal must not change.
        delete_expired(conn, Some(tenant.as_str()), write.now, i64::MAX)?;
        versions::delete_expired(conn, Some(tenant.as_str()), write.now, i64::MAX)?;
        seen = usage_at(conn, write, writer, find(conn, &write.key, write.now)?)?;
        if let Some(full) = rules::exceeded(write, writer, &seen) {
            return Err(full.into());
        }
    }
    let keeping = rules::keeping(write, &seen);
    if let Some(old) = seen.entry.filter(|_| !keeping.moves) {
        count(conn, tenant.as_str(), old.writer, -rules::size(&write.key, old.bytes))?;
    }
    count(conn, tenant.as_str(), writer, rules::size(&write.key, to_sql(write.value.len())))?;
    Ok(keeping)
}

/// Returns the usage that `write` by the task `writer` meets; `entry` is the one that it found.
fn usage_at(
    conn: &Connection,
    write: &CacheWrite,
    writer: Option<i64>,
    entry: Option<Found>,
) -> rusqlite::Result<Usage> {
    let of_task = writer.map(|task| usage_of_task(conn, task)).transpose()?.unwrap_or_default();
    let kept =
        if rules::looks_at_versions(write, entry) { versions::kept(conn, &write.key, write.now)? } else { Vec::new() };
    Ok(Usage { of_tenant: usage(conn, write.key.tenant.as_str())?, of_task, entry, kept })
}

/// Returns the bytes of a tenant's entries, including expired ones until they are deleted.
fn usage(conn: &Connection, tenant: &str) -> rusqlite::Result<i64> {
    conn.prepare_cached("SELECT bytes FROM cache_usage WHERE tenant = ?1")?
        .query_row([tenant], |row| row.get(0))
        .optional()
        .map(Option::unwrap_or_default)
}

/// See [`crate::Store::cache_usage`].
pub(super) fn usage_of_all(conn: &Connection) -> rusqlite::Result<BTreeMap<Name, u64>> {
    let mut statement = conn.prepare_cached("SELECT tenant, bytes FROM cache_usage")?;
    let rows = statement.query_map([], |row| Ok((name(row, 0)?, row.get::<_, i64>(1)?.max(0).unsigned_abs())))?;
    rows.collect()
}

/// Returns the bytes of the entries that a task wrote last, including expired ones until they are deleted.
fn usage_of_task(conn: &Connection, task: i64) -> rusqlite::Result<i64> {
    conn.prepare_cached("SELECT bytes FROM cache_usage_of_tasks WHERE task = ?1")?
        .query_row([task], |row| row.get(0))
        .optional()
        .map(Option::unwrap_or_default)
}

/// Adds bytes to a tenant's sum, and to that of the task `writer`, if it was a task that wrote them.
pub(super) fn count(conn: &Connection, tenant: &str, writer: Option<i64>, bytes: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO cache_usage (tenant, bytes) VALUES (?1, ?2) ON CONFLICT (tenant) DO UPDATE SET bytes = bytes + ?2",
    )?
    .execute(params![tenant, bytes])?;
    if let Some(task) = writer {
        conn.prepare_cached(
            "INSERT INTO cache_usage_of_tasks (task, bytes) VALUES (?1, ?2) \
             ON CONFLICT (task) DO UPDATE SET bytes = bytes + ?2",
        )?
        .execute(params![task, bytes])?;
    }
    Ok(())
}

/// See [`crate::Store::cache_delete`].
pub(super) fn delete(w: &mut Writing, key: &CacheKey, claim: Option<ClaimKey>, now: Timestamp) -> Step<bool> {
    if let Some(claim) = claim {
        held(&w.conn, claim)?;
    }
    let found = find(&w.conn, key, now)?;
    if let Some(found) = found {
        w.conn
            .prepare_cached("DELETE FROM entries WHERE tenant = ?1 AND key = ?2")?
            .execute(params![key.tenant.as_str(), key.key])?;
        count(&w.conn, key.tenant.as_str(), found.writer, -rules::size(key, found.bytes))?;
    }
    // Also without an entry: versions may be left over.
    versions::delete_all(&w.conn, key.tenant.as_str(), &key.key)?;
    Ok(found.is_some_and(|found| found.is_alive))
}

/// Deletes up to `limit` expired entries, with their versions, of one tenant or of all. Returns their number.
pub(super) fn delete_expired(
    conn: &Connection,
    tenant: Option<&str>,
    now: Timestamp,
    limit: i64,
) -> rusqlite::Result<usize> {
    let gone = conn
        .prepare_cached(
            "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries INDEXED BY entries_expiring \
             WHERE expires_at <= ?1 AND coalesce(tenant = ?2, true) LIMIT ?3) \
             RETURNING tenant, writer, length(CAST(key AS BLOB)) + length(value), key",
        )?
        .query_map(params![now.as_millis(), tenant, limit], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, i64>(2)?, row.get::<_, String>(3)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for (tenant, writer, bytes, key) in &gone {
        count(conn, tenant, *writer, -bytes)?;
        versions::delete_all(conn, tenant, key)?;
    }
    Ok(gone.len())
}

/// See [`crate::Store::cache_get`].
pub(super) fn get(conn: &Connection, key: &CacheKey, now: Timestamp) -> rusqlite::Result<Option<Entry>> {
    conn.prepare_cached(
        "SELECT value, version, set_at, expires_at FROM entries \
         WHERE tenant = ?1 AND key = ?2 AND (expires_at IS NULL OR expires_at > ?3)",
    )?
    .query_row(params![key.tenant.as_str(), key.key, now.as_millis()], |row| {
        Ok(Entry {
            value: row.get(0)?,
            version: number(row, 1)?,
            set_at: instant(row, 2)?,
            expires_at: maybe_instant(row, 3)?,
        })
    })
    .optional()
}

/// See [`crate::Store::cache_list`].
pub(super) fn list(
    conn: &Connection,
    prefix: &CacheKey,
    after: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> rusqlite::Result<Vec<EntryInfo>> {
    let mut statement = conn.prepare_cached(
        "SELECT key, length(value), version, set_at, expires_at FROM entries \
         WHERE tenant = ?1 AND key >= ?2 AND (?3 IS NULL OR key > ?3) AND (expires_at IS NULL OR expires_at > ?4) \
         ORDER BY key LIMIT ?5",
    )?;
    let from = after.map_or(prefix.key.as_str(), |after| after.max(&prefix.key));
    let mut rows = statement.query(params![prefix.tenant.as_str(), from, after, now.as_millis(), to_sql(limit)])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        // Keys are in the order of their bytes, so those that begin with the prefix are side by side.
        if !key.starts_with(&prefix.key) {
            break;
        }
        entries.push(EntryInfo {
            key,
            size: number(row, 1)?,
            version: number(row, 2)?,
            set_at: instant(row, 3)?,
            expires_at: maybe_instant(row, 4)?,
        });
    }
    Ok(entries)
}
