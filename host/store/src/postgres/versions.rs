//! Earlier versions of cache entries, which stay when an entry is written anew. A transaction that changes a tenant's
//! versions holds the tenant's row in `cache_usage`, as one that changes its entries does.

use tokio_postgres::Row;

use super::cache::{self, Sums, enter, lock_expired, lock_tenants};
use super::errors::Step;
use super::rows::{instant, maybe_instant, number, small, to_sql};
use super::tx::Tx;
use crate::leftovers::PAGE;
use crate::rules::cache::{self as rules, Keeping, KeptVersion};
use crate::{CacheKey, CacheRestore, Entry, EntryHistory, MOST_KEPT, VersionInfo, WriteOutcome};
use sexton_domain::time::Timestamp;

/// Returns the kept versions of a key, from the latest to the earliest.
pub(super) async fn kept(tx: &Tx, key: &CacheKey, now: Timestamp) -> Step<Vec<KeptVersion>> {
    let rows = tx
        .query(
            "SELECT version, octet_length(value)::bigint, expires_at, writer FROM entry_versions \
             WHERE tenant = $1 AND key = $2 ORDER BY version DESC",
            &[&key.tenant.as_str(), &key.key.as_bytes()],
        )
        .await?;
    let each = rows.iter().map(|row| KeptVersion {
        version: number(row, 0),
        bytes: row.get(1),
        is_alive: maybe_instant(row, 2).is_none_or(|at| at > now),
        writer: row.get(3),
    });
    Ok(each.collect())
}

/// Keeps the current version of an entry that is about to be written anew, and deletes those that go, as `keeping` has
/// it. Their bytes are taken off `usage`; those of the current version are counted already.
pub(super) async fn keep(tx: &Tx, key: &CacheKey, keeping: &Keeping, usage: &mut Sums) -> Step<()> {
    if keeping.moves {
        tx.execute(
            "INSERT INTO entry_versions (version, tenant, key, set_at, expires_at, writer, value) \
             SELECT version, tenant, key, set_at, expires_at, writer, value FROM entries WHERE tenant = $1 AND key = $2",
            &[&key.tenant.as_str(), &key.key.as_bytes()],
        )
        .await?;
    }
    if keeping.gone.is_empty() {
        return Ok(());
    }
    let gone: Vec<i64> = keeping.gone.iter().map(|kept| to_sql(kept.version)).collect();
    tx.execute("DELETE FROM entry_versions WHERE version = ANY($1)", &[&gone]).await?;
    for kept in &keeping.gone {
        usage.count(key.tenant.as_str(), kept.writer, -rules::size(key, kept.bytes));
    }
    Ok(())
}

/// Deletes all kept versions of entries, whose tenants' rows are locked. Their bytes are taken off `usage`.
pub(super) async fn delete_all(tx: &Tx, tenants: &[&str], keys: &[&[u8]], usage: &mut Sums) -> Step<()> {
    let gone = tx
        .query(
            "DELETE FROM entry_versions v USING unnest($1::text[], $2::bytea[]) AS n(tenant, key) \
             WHERE v.tenant = n.tenant AND v.key = n.key \
             RETURNING v.tenant, v.writer, octet_length(v.key)::bigint + octet_length(v.value)",
            &[&tenants, &keys],
        )
        .await?;
    take_off(&gone, usage);
    Ok(())
}

/// Deletes up to `limit` kept versions that have expired, of one tenant or of all. Returns their number.
pub(super) async fn delete_expired(tx: &mut Tx, tenant: Option<&str>, now: Timestamp, limit: usize) -> Step<u64> {
    let (now, limit) = (now.as_millis(), to_sql(limit));
    let expired = "SELECT DISTINCT tenant FROM (SELECT tenant FROM entry_versions WHERE expires_at <= $1 \
                   ORDER BY expires_at LIMIT $2) expired";
    let tenants = lock_expired(tx, tenant, expired, &[&now, &limit]).await?;
    if tenants.is_empty() {
        return Ok(0);
    }
    let gone = tx
        .query(
            "WITH expired AS (SELECT version FROM entry_versions WHERE expires_at <= $1 AND tenant = ANY($2) \
             ORDER BY expires_at LIMIT $3) \
             DELETE FROM entry_versions v USING expired x WHERE v.version = x.version \
             RETURNING v.tenant, v.writer, octet_length(v.key)::bigint + octet_length(v.value)",
            &[&now, &tenants, &limit],
        )
        .await?;
    let mut usage = Sums::default();
    take_off(&gone, &mut usage);
    usage.write(tx).await?;
    Ok(gone.len() as u64)
}

/// Returns the next versions after `after`, each with whether it is left over.
pub(super) async fn page(tx: &Tx, after: i64) -> Step<Vec<(i64, bool)>> {
    let rows = tx
        .query(
            "SELECT v.version, e.keep IS NULL FROM (SELECT version, tenant, key FROM entry_versions \
             WHERE version > $1 ORDER BY version LIMIT $2) v \
             LEFT JOIN entries e ON e.tenant = v.tenant AND e.key = v.key ORDER BY v.version",
            &[&after, &to_sql(PAGE)],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Deletes those of `versions` that are left over.
pub(super) async fn delete_leftovers(tx: &mut Tx, versions: &[i64]) -> Step<()> {
    let rows = tx.query("SELECT DISTINCT tenant FROM entry_versions WHERE version = ANY($1)", &[&versions]).await?;
    let tenants: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lock_tenants(tx, &tenants).await?;
    let gone = tx
        .query(
            "DELETE FROM entry_versions v WHERE v.version = ANY($1) AND v.tenant = ANY($2) AND NOT EXISTS \
             (SELECT FROM entries e WHERE e.tenant = v.tenant AND e.key = v.key AND e.keep IS NOT NULL) \
             RETURNING v.tenant, v.writer, octet_length(v.key)::bigint + octet_length(v.value)",
            &[&versions, &tenants],
        )
        .await?;
    let mut usage = Sums::default();
    take_off(&gone, &mut usage);
    usage.write(tx).await
}

/// Takes the bytes of rows (tenant, writer, bytes) off `usage`.
fn take_off(gone: &[Row], usage: &mut Sums) {
    for row in gone {
        usage.count(row.get(0), row.get(1), -row.get::<_, i64>(2));
    }
}

/// See [`crate::cache::Cache::cache_version`].
pub(super) async fn get(tx: &Tx, key: &CacheKey, version: u64, now: Timestamp) -> Step<Option<Entry>> {
    let row = tx
        .query_opt(
            "SELECT value, version, set_at, expires_at FROM entries \
             WHERE tenant = $1 AND key = $2 AND version = $3 AND (expires_at IS NULL OR expires_at > $4) \
             UNION ALL \
             SELECT v.value, v.version, v.set_at, v.expires_at FROM entry_versions v \
             JOIN entries e ON e.tenant = v.tenant AND e.key = v.key \
             WHERE v.version = $3 AND v.tenant = $1 AND v.key = $2 AND e.keep IS NOT NULL \
             AND (e.expires_at IS NULL OR e.expires_at > $4) AND (v.expires_at IS NULL OR v.expires_at > $4)",
            &[&key.tenant.as_str(), &key.key.as_bytes(), &to_sql(version), &now.as_millis()],
        )
        .await?;
    Ok(row.map(|row| Entry {
        value: row.get(0),
        version: number(&row, 1),
        set_at: instant(&row, 2),
        expires_at: maybe_instant(&row, 3),
    }))
}

/// See [`crate::cache::Cache::cache_history`].
pub(super) async fn history(tx: &Tx, key: &CacheKey, now: Timestamp) -> Step<Option<EntryHistory>> {
    // One statement reads one state of the database, in which each version is in one place.
    let rows = tx
        .query(
            "WITH entry AS (SELECT version, value, set_at, expires_at, coalesce(keep, 0) AS keep FROM entries \
             WHERE tenant = $1 AND key = $2 AND (expires_at IS NULL OR expires_at > $3)) \
             SELECT version, octet_length(value)::bigint, set_at, expires_at, keep FROM entry \
             UNION ALL \
             SELECT * FROM (SELECT v.version, octet_length(v.value)::bigint, v.set_at, v.expires_at, e.keep \
             FROM entry e JOIN entry_versions v ON e.keep > 0 AND v.tenant = $1 AND v.key = $2 \
             AND (v.expires_at IS NULL OR v.expires_at > $3) ORDER BY v.version DESC LIMIT $4) kept \
             ORDER BY version DESC",
            &[&key.tenant.as_str(), &key.key.as_bytes(), &now.as_millis(), &i64::from(MOST_KEPT)],
        )
        .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let keep = small(first, 4);
    let versions = rows.iter().map(|row| VersionInfo {
        version: number(row, 0),
        size: number(row, 1),
        set_at: instant(row, 2),
        expires_at: maybe_instant(row, 3),
    });
    Ok(Some(EntryHistory { keep, versions: versions.collect() }))
}

/// See [`crate::cache::Cache::cache_restore`].
pub(super) async fn restore(tx: &mut Tx, restore: &CacheRestore) -> Step<WriteOutcome> {
    let writer = enter(tx, &restore.key.tenant, restore.claim).await?;
    if let Some(version) = get(tx, &restore.key, restore.version, restore.now).await? {
        return cache::write(tx, &restore.write_of(version)).await;
    }
    if !tx.doubt {
        return Ok(WriteOutcome::Conflict);
    }
    // An earlier try may have restored the version and, to make room for the one that it replaced, deleted it.
    let row = tx
        .query_opt(
            "SELECT version FROM entries WHERE tenant = $1 AND key = $2 AND set_at = $3 \
             AND writer IS NOT DISTINCT FROM $4",
            &[&restore.key.tenant.as_str(), &restore.key.key.as_bytes(), &restore.now.as_millis(), &writer],
        )
        .await?;
    Ok(row.map_or(WriteOutcome::Conflict, |row| WriteOutcome::Yes(number(&row, 0))))
}
