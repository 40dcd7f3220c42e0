//! Cache entries: each is written whole, with a version from the sequence of fences, so that a key's versions grow even
//! when it is deleted in between.
//!
//! A transaction that changes a tenant's entries holds its row in `cache_usage` until the commit, and draws versions
//! after locking it. All transactions lock the run's row first, and tenants' rows by name, so that they never deadlock.

use std::collections::BTreeMap;

use super::errors::Step;
use super::locks::{self, HOLDER};
use super::rows::{instant, maybe_instant, name, named, number, to_int, to_sql};
use super::tx::{Params, Tx};
use super::versions;
use crate::rules::cache::{self as rules, Condition, Found, Usage};
use crate::{CacheKey, CacheWrite, Entry, EntryInfo, StoreError, WriteIf, WriteOutcome};
use sexton_domain::run::ClaimKey;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// Changes of byte counts: of tenants, and of the tasks that wrote the entries.
#[derive(Debug, Default)]
pub(super) struct Sums {
    tenants: BTreeMap<String, i64>,
    tasks: BTreeMap<i64, i64>,
}

impl Sums {
    pub(super) fn count(&mut self, tenant: &str, writer: Option<i64>, bytes: i64) {
        *self.tenants.entry(tenant.to_owned()).or_default() += bytes;
        if let Some(task) = writer {
            *self.tasks.entry(task).or_default() += bytes;
        }
    }

    /// Writes the changes, for tenants whose rows are locked.
    pub(super) async fn write(&self, tx: &Tx) -> Step<()> {
        if self.tenants.is_empty() {
            return Ok(()); // and no tasks, whose tenants are counted, too
        }
        let tenants: Vec<&String> = self.tenants.keys().collect();
        let bytes: Vec<i64> = self.tenants.values().copied().collect();
        tx.execute(
            "UPDATE cache_usage u SET bytes = u.bytes + n.bytes FROM unnest($1::text[], $2::bigint[]) AS n(tenant, bytes) \
             WHERE u.tenant = n.tenant",
            &[&tenants, &bytes],
        )
        .await?;
        if self.tasks.is_empty() {
            return Ok(());
        }
        let tasks: Vec<i64> = self.tasks.keys().copied().collect();
        let bytes: Vec<i64> = self.tasks.values().copied().collect();
        tx.execute(
            "INSERT INTO cache_usage_of_tasks AS u (task, bytes) SELECT * FROM unnest($1::bigint[], $2::bigint[]) \
             ON CONFLICT (task) DO UPDATE SET bytes = u.bytes + excluded.bytes",
            &[&tasks, &bytes],
        )
        .await?;
        Ok(())
    }
}

/// See [`crate::Store::cache_write`].
pub(super) async fn write(tx: &mut Tx, write: &CacheWrite) -> Step<WriteOutcome> {
    let writer = enter(tx, &write.key.tenant, write.claim).await?;
    // An earlier try that was committed must not be repeated: the version that it wrote would be kept as an earlier one.
    if tx.doubt
        && let written @ WriteOutcome::Yes(_) = already_written(tx, write, writer).await?
    {
        return Ok(written);
    }
    let mut seen = look(tx, write, writer).await?;
    if !is_allowed(tx, write, seen.entry).await? {
        return Ok(WriteOutcome::Conflict);
    }
    if rules::exceeded(write, writer, &seen).is_some() {
        // Expired entries are absent to all readers, so deleting them changes nothing that a refusal must not change.
        delete_expired(tx, Some(write.key.tenant.as_str()), write.now, usize::MAX).await?;
        versions::delete_expired(tx, Some(write.key.tenant.as_str()), write.now, usize::MAX).await?;
        seen = look(tx, write, writer).await?;
        if let Some(full) = rules::exceeded(write, writer, &seen) {
            return Err(full.into());
        }
    }
    let version = put(tx, write, writer, &seen).await?;
    if let (WriteIf::Refreshing(_), Some(claim)) = (write.only, write.claim) {
        locks::release(tx, &rules::refresh_lock(&write.key), claim).await?;
    }
    Ok(WriteOutcome::Yes(version))
}

/// Locks the tenant's row. Returns the number of the task whose claim it is.
///
/// # Errors
///
/// [`StoreError::ClaimLost`] if the claim does not hold.
pub(super) async fn enter(tx: &Tx, tenant: &Name, claim: Option<ClaimKey>) -> Step<Option<i64>> {
    const TENANT: &str = "SELECT true FROM cache_usage WHERE tenant = $1 FOR UPDATE";
    let writer = match claim {
        None => {
            if tx.query_opt(TENANT, &[&tenant.as_str()]).await?.is_some() {
                return Ok(None);
            }
            None
        }
        Some(claim) => {
            // This locks the run, then the tenant, whose row mostly exists.
            let both = format!("SELECT ({}), (SELECT true FROM cache_usage WHERE tenant = $4 FOR UPDATE)", HOLDER);
            let row = tx
                .query_one(&both, &[&claim.run.0, &to_int(claim.attempt), &to_sql(claim.fence), &tenant.as_str()])
                .await?;
            let writer = row.get::<_, Option<i64>>(0).ok_or(StoreError::ClaimLost(claim))?;
            if row.get::<_, Option<bool>>(1).is_some() {
                return Ok(Some(writer));
            }
            Some(writer)
        }
    };
    // Such a row is never deleted, so it exists after this, whichever transaction makes it.
    tx.execute("INSERT INTO cache_usage (tenant, bytes) VALUES ($1, 0) ON CONFLICT DO NOTHING", &[&tenant.as_str()])
        .await?;
    tx.query_one(TENANT, &[&tenant.as_str()]).await?;
    Ok(writer)
}

async fn look(tx: &Tx, write: &CacheWrite, writer: Option<i64>) -> Step<Usage> {
    let CacheKey { tenant, key } = &write.key;
    let row = tx
        .query_one(
            "SELECT u.bytes, coalesce((SELECT bytes FROM cache_usage_of_tasks WHERE task = $3::bigint), 0), e.version, \
             octet_length(e.value)::bigint, e.expires_at, e.writer, e.keep \
             FROM cache_usage u LEFT JOIN entries e ON e.tenant = u.tenant AND e.key = $2 WHERE u.tenant = $1",
            &[&tenant.as_str(), &key.as_bytes(), &writer],
        )
        .await?;
    let entry = row.get::<_, Option<i64>>(2).map(|version| Found {
        version: version.unsigned_abs(),
        bytes: row.get(3),
        is_alive: maybe_instant(&row, 4).is_none_or(|at| at > write.now),
        writer: row.get(5),
        keep: row.get::<_, Option<i32>>(6).map(i32::unsigned_abs),
    });
    let kept = if rules::looks_at_versions(write, entry) {
        versions::kept(tx, &write.key, write.now).await?
    } else {
        Vec::new()
    };
    Ok(Usage { of_tenant: row.get(0), of_task: row.get(1), entry, kept })
}

async fn is_allowed(tx: &Tx, write: &CacheWrite, found: Option<Found>) -> Step<bool> {
    Ok(match rules::condition(write, found) {
        Condition::Is(holds) => holds,
        Condition::IfHeld(lock, claim, fence) => locks::holds(tx, &lock, claim, fence).await?,
    })
}

/// Answers a write that may have been done before: if the entry is just as it would have been written, it was.
async fn already_written(tx: &Tx, write: &CacheWrite, writer: Option<i64>) -> Step<WriteOutcome> {
    let CacheKey { tenant, key } = &write.key;
    let row = tx
        .query_opt(
            "SELECT version FROM entries WHERE tenant = $1 AND key = $2 AND value = $3 AND set_at = $4 \
             AND expires_at IS NOT DISTINCT FROM $5 AND writer IS NOT DISTINCT FROM $6",
            &[
                &tenant.as_str(),
                &key.as_bytes(),
                &write.value,
                &write.now.as_millis(),
                &write.expires_at.map(Timestamp::as_millis),
                &writer,
            ],
        )
        .await?;
    Ok(row.map_or(WriteOutcome::Conflict, |row| WriteOutcome::Yes(number(&row, 0))))
}

/// Writes the entry, and counts it, in place of the one before unless that is kept. Returns its version.
async fn put(tx: &Tx, write: &CacheWrite, writer: Option<i64>, seen: &Usage) -> Step<u64> {
    let CacheKey { tenant, key } = &write.key;
    let keeping = rules::keeping(write, seen);
    let mut usage = Sums::default();
    versions::keep(tx, &write.key, &keeping, &mut usage).await?;
    if let Some(old) = seen.entry.filter(|_| !keeping.moves) {
        usage.count(tenant.as_str(), old.writer, -rules::size(&write.key, old.bytes));
    }
    usage.count(tenant.as_str(), writer, rules::size(&write.key, to_sql(write.value.len())));
    usage.write(tx).await?;
    let row = tx
        .query_one(
            "INSERT INTO entries (tenant, key, set_at, expires_at, value, writer, keep, version) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, nextval('fences')) ON CONFLICT (tenant, key) DO UPDATE \
             SET version = excluded.version, set_at = excluded.set_at, expires_at = excluded.expires_at, \
             value = excluded.value, writer = excluded.writer, keep = excluded.keep RETURNING version",
            &[
                &tenant.as_str(),
                &key.as_bytes(),
                &write.now.as_millis(),
                &write.expires_at.map(Timestamp::as_millis),
                &write.value,
                &writer,
                &keeping.keep.map(to_int),
            ],
        )
        .await?;
    Ok(number(&row, 0))
}

/// See [`crate::Store::cache_delete`].
pub(super) async fn delete(tx: &mut Tx, key: &CacheKey, claim: Option<ClaimKey>, now: Timestamp) -> Step<bool> {
    enter(tx, &key.tenant, claim).await?;
    let row = tx
        .query_opt(
            "DELETE FROM entries WHERE tenant = $1 AND key = $2 \
             RETURNING octet_length(key)::bigint + octet_length(value), writer, expires_at",
            &[&key.tenant.as_str(), &key.key.as_bytes()],
        )
        .await?;
    let mut usage = Sums::default();
    if let Some(row) = &row {
        usage.count(key.tenant.as_str(), row.get(1), -row.get::<_, i64>(0));
    }
    // Also without an entry, because an older program leaves the versions of one that it deletes.
    versions::delete_all(tx, &[key.tenant.as_str()], &[key.key.as_bytes()], &mut usage).await?;
    usage.write(tx).await?;
    Ok(row.is_some_and(|row| maybe_instant(&row, 2).is_none_or(|at| at > now)))
}

/// Locks the rows of tenants whose entries will be changed, in the order of all transactions.
pub(super) async fn lock_tenants(tx: &Tx, tenants: &[String]) -> Step<()> {
    tx.query("SELECT true FROM cache_usage WHERE tenant = ANY($1) ORDER BY tenant FOR UPDATE", &[&tenants]).await?;
    Ok(())
}

/// Locks the rows of the tenants of what has expired, before anything of it is deleted: of one tenant, or of those that
/// the statement `expired` selects. Returns them.
pub(super) async fn lock_expired(
    tx: &Tx,
    tenant: Option<&str>,
    expired: &str,
    params: Params<'_>,
) -> Step<Vec<String>> {
    let tenants: Vec<String> = match tenant {
        Some(tenant) => vec![tenant.to_owned()],
        None => tx.query(expired, params).await?.iter().map(|row| row.get(0)).collect(),
    };
    if !tenants.is_empty() {
        lock_tenants(tx, &tenants).await?;
    }
    Ok(tenants)
}

/// Deletes up to `limit` expired entries, with their versions, of one tenant or of all. Returns their number.
pub(super) async fn delete_expired(tx: &mut Tx, tenant: Option<&str>, now: Timestamp, limit: usize) -> Step<u64> {
    let (now, limit) = (now.as_millis(), to_sql(limit));
    let expired = "SELECT DISTINCT tenant FROM (SELECT tenant FROM entries WHERE expires_at <= $1 \
                   ORDER BY expires_at LIMIT $2) expired";
    let tenants = lock_expired(tx, tenant, expired, &[&now, &limit]).await?;
    if tenants.is_empty() {
        return Ok(0);
    }
    let gone = tx
        .query(
            "WITH expired AS (SELECT tenant, key FROM entries WHERE expires_at <= $1 AND tenant = ANY($2) \
             ORDER BY expires_at LIMIT $3) \
             DELETE FROM entries e USING expired x WHERE e.tenant = x.tenant AND e.key = x.key \
             RETURNING e.tenant, e.writer, octet_length(e.key)::bigint + octet_length(e.value), e.key",
            &[&now, &tenants, &limit],
        )
        .await?;
    if gone.is_empty() {
        return Ok(0);
    }
    let mut usage = Sums::default();
    for row in &gone {
        usage.count(row.get(0), row.get(1), -row.get::<_, i64>(2));
    }
    let tenants: Vec<&str> = gone.iter().map(|row| row.get(0)).collect();
    let keys: Vec<&[u8]> = gone.iter().map(|row| row.get(3)).collect();
    versions::delete_all(tx, &tenants, &keys, &mut usage).await?;
    usage.write(tx).await?;
    Ok(gone.len() as u64)
}

/// See [`crate::Store::cache_get`].
pub(super) async fn get(tx: &Tx, key: &CacheKey, now: Timestamp) -> Step<Option<Entry>> {
    let row = tx
        .query_opt(
            "SELECT value, version, set_at, expires_at FROM entries \
             WHERE tenant = $1 AND key = $2 AND (expires_at IS NULL OR expires_at > $3)",
            &[&key.tenant.as_str(), &key.key.as_bytes(), &now.as_millis()],
        )
        .await?;
    Ok(row.map(|row| Entry {
        value: row.get(0),
        version: number(&row, 1),
        set_at: instant(&row, 2),
        expires_at: maybe_instant(&row, 3),
    }))
}

/// See [`crate::Store::cache_usage`].
pub(super) async fn usage_of_all(tx: &Tx) -> Step<BTreeMap<Name, u64>> {
    let rows = tx.query("SELECT tenant, bytes FROM cache_usage", &[]).await?;
    rows.iter().map(|row| Ok((name(row, 0)?, row.get::<_, i64>(1).max(0).unsigned_abs()))).collect()
}

/// See [`crate::Store::cache_list`].
pub(super) async fn list(
    tx: &Tx,
    prefix: &CacheKey,
    after: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> Step<Vec<EntryInfo>> {
    let from = after.map_or(prefix.key.as_str(), |after| after.max(&prefix.key));
    let rows = tx
        .query(
            "SELECT key, octet_length(value)::bigint, version, set_at, expires_at FROM entries \
             WHERE tenant = $1 AND key >= $2 AND ($3::bytea IS NULL OR key > $3) \
             AND (expires_at IS NULL OR expires_at > $4) ORDER BY key LIMIT $5",
            &[&prefix.tenant.as_str(), &from.as_bytes(), &after.map(str::as_bytes), &now.as_millis(), &to_sql(limit)],
        )
        .await?;
    // Keys are in the order of their bytes, so those that begin with the prefix are side by side.
    let ours = rows.iter().take_while(|row| row.get::<_, &[u8]>(0).starts_with(prefix.key.as_bytes()));
    let each = ours.map(|row| {
        Ok(EntryInfo {
            key: named(row, 0)?,
            size: number(row, 1),
            version: number(row, 2),
            set_at: instant(row, 3),
            expires_at: maybe_instant(row, 4),
        })
    });
    each.collect()
}
