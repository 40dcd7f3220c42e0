//! Earlier versions of cache entries, which stay when an entry is written anew.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::cache::{self, count};
use super::claims::held;
use super::errors::Step;
use super::rows::{instant, maybe_instant, number, to_sql};
use super::writer::Writing;
use crate::leftovers::PAGE;
use crate::rules::cache::{self as rules, Keeping, KeptVersion};
use crate::{CacheKey, CacheRestore, Entry, EntryHistory, MOST_KEPT, VersionInfo, WriteOutcome};
use sexton_domain::time::Timestamp;

/// Returns the kept versions of a key, from the latest to the earliest.
pub(super) fn kept(conn: &Connection, key: &CacheKey, now: Timestamp) -> rusqlite::Result<Vec<KeptVersion>> {
    conn.prepare_cached(
        "SELECT version, length(value), expires_at, writer FROM entry_versions WHERE tenant = ?1 AND key = ?2 \
         ORDER BY version DESC",
    )?
    .query_map(params![key.tenant.as_str(), key.key], |row| {
        let is_alive = maybe_instant(row, 2)?.is_none_or(|at| at > now);
        Ok(KeptVersion { version: number(row, 0)?, bytes: row.get(1)?, is_alive, writer: row.get(3)? })
    })?
    .collect()
}

/// Keeps the current version of an entry that is about to be written anew, and deletes those that go, as `keeping` has
/// it. The bytes of the current version are counted already.
pub(super) fn keep(conn: &Connection, key: &CacheKey, keeping: &Keeping) -> rusqlite::Result<()> {
    if keeping.moves {
        conn.prepare_cached(
            "INSERT INTO entry_versions (version, tenant, key, set_at, expires_at, writer, value) \
             SELECT version, tenant, key, set_at, expires_at, writer, value FROM entries WHERE tenant = ?1 AND key = ?2",
        )?
        .execute(params![key.tenant.as_str(), key.key])?;
    }
    for gone in &keeping.gone {
        conn.prepare_cached("DELETE FROM entry_versions WHERE version = ?1")?.execute([to_sql(gone.version)])?;
        count(conn, key.tenant.as_str(), gone.writer, -rules::size(key, gone.bytes))?;
    }
    Ok(())
}

/// Deletes all kept versions of a key.
pub(super) fn delete_all(conn: &Connection, tenant: &str, key: &str) -> rusqlite::Result<()> {
    let gone = conn
        .prepare_cached(
            "DELETE FROM entry_versions WHERE tenant = ?1 AND key = ?2 \
             RETURNING writer, length(CAST(key AS BLOB)) + length(value)",
        )?
        .query_map([tenant, key], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for (writer, bytes) in gone {
        count(conn, tenant, writer, -bytes)?;
    }
    Ok(())
}

/// Deletes up to `limit` kept versions that have expired, of one tenant or of all. Returns their number.
pub(super) fn delete_expired(
    conn: &Connection,
    tenant: Option<&str>,
    now: Timestamp,
    limit: i64,
) -> rusqlite::Result<usize> {
    let gone = conn
        .prepare_cached(
            "DELETE FROM entry_versions WHERE version IN (SELECT version FROM entry_versions \
             INDEXED BY entry_versions_expiring WHERE expires_at <= ?1 AND coalesce(tenant = ?2, true) LIMIT ?3) \
             RETURNING tenant, writer, length(CAST(key AS BLOB)) + length(value)",
        )?
        .query_map(params![now.as_millis(), tenant, limit], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, i64>(2)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for (tenant, writer, bytes) in &gone {
        count(conn, tenant, *writer, -bytes)?;
    }
    Ok(gone.len())
}

/// Returns the next versions after `after`, each with whether it is left over.
pub(super) fn page(conn: &Connection, after: i64) -> rusqlite::Result<Vec<(i64, bool)>> {
    conn.prepare_cached(
        "SELECT v.version, e.keep IS NULL FROM (SELECT version, tenant, key FROM entry_versions \
         WHERE version > ?1 ORDER BY version LIMIT ?2) v \
         LEFT JOIN entries e ON e.tenant = v.tenant AND e.key = v.key ORDER BY v.version",
    )?
    .query_map([after, to_sql(PAGE)], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}

/// Deletes those of `versions` that are left over.
pub(super) fn delete_leftovers(conn: &Connection, versions: &[i64]) -> rusqlite::Result<()> {
    let mut delete = conn.prepare_cached(
        "DELETE FROM entry_versions AS v WHERE version = ?1 AND NOT EXISTS \
         (SELECT 1 FROM entries e WHERE e.tenant = v.tenant AND e.key = v.key AND e.keep IS NOT NULL) \
         RETURNING tenant, writer, length(CAST(key AS BLOB)) + length(value)",
    )?;
    for version in versions {
        let gone = delete
            .query_row([version], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, i64>(2)?)))
            .optional()?;
        if let Some((tenant, writer, bytes)) = gone {
            count(conn, &tenant, writer, -bytes)?;
        }
    }
    Ok(())
}

/// See [`crate::cache::Cache::cache_version`].
pub(super) fn get(conn: &Connection, key: &CacheKey, version: u64, now: Timestamp) -> rusqlite::Result<Option<Entry>> {
    conn.prepare_cached(
        "SELECT value, version, set_at, expires_at FROM entries \
         WHERE tenant = ?1 AND key = ?2 AND version = ?3 AND (expires_at IS NULL OR expires_at > ?4) \
         UNION ALL \
         SELECT v.value, v.version, v.set_at, v.expires_at FROM entry_versions v \
         JOIN entries e ON e.tenant = v.tenant AND e.key = v.key \
         WHERE v.version = ?3 AND v.tenant = ?1 AND v.key = ?2 AND e.keep IS NOT NULL \
         AND (e.expires_at IS NULL OR e.expires_at > ?4) AND (v.expires_at IS NULL OR v.expires_at > ?4)",
    )?
    .query_row(params![key.tenant.as_str(), key.key, to_sql(version), now.as_millis()], |row| {
        Ok(Entry {
            value: row.get(0)?,
            version: number(row, 1)?,
            set_at: instant(row, 2)?,
            expires_at: maybe_instant(row, 3)?,
        })
    })
    .optional()
}

/// See [`crate::cache::Cache::cache_history`].
pub(super) fn history(conn: &Connection, key: &CacheKey, now: Timestamp) -> rusqlite::Result<Option<EntryHistory>> {
    let current = conn
        .prepare_cached(
            "SELECT version, length(value), set_at, expires_at, coalesce(keep, 0) FROM entries \
             WHERE tenant = ?1 AND key = ?2 AND (expires_at IS NULL OR expires_at > ?3)",
        )?
        .query_row(params![key.tenant.as_str(), key.key, now.as_millis()], |row| Ok((info(row)?, row.get(4)?)))
        .optional()?;
    let Some((current, keep)) = current else { return Ok(None) };
    let mut versions = vec![current];
    if keep > 0 {
        let mut statement = conn.prepare_cached(
            "SELECT version, length(value), set_at, expires_at FROM entry_versions \
             WHERE tenant = ?1 AND key = ?2 AND (expires_at IS NULL OR expires_at > ?3) ORDER BY version DESC LIMIT ?4",
        )?;
        let kept = statement.query_map(params![key.tenant.as_str(), key.key, now.as_millis(), MOST_KEPT], info)?;
        for version in kept {
            versions.push(version?);
        }
    }
    Ok(Some(EntryHistory { keep, versions }))
}

fn info(row: &Row<'_>) -> rusqlite::Result<VersionInfo> {
    Ok(VersionInfo {
        version: number(row, 0)?,
        size: number(row, 1)?,
        set_at: instant(row, 2)?,
        expires_at: maybe_instant(row, 3)?,
    })
}

/// See [`crate::cache::Cache::cache_restore`].
pub(super) fn restore(w: &mut Writing, restore: &CacheRestore) -> Step<WriteOutcome> {
    if let Some(claim) = restore.claim {
        held(&w.conn, claim)?;
    }
    match get(&w.conn, &restore.key, restore.version, restore.now)? {
        Some(version) => cache::write(w, &restore.write_of(version)),
        None => Ok(WriteOutcome::Conflict),
    }
}
