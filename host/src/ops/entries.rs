//! Writes and deletes cache entries for people. Guests change entries under the claim of their run (`imports::cache`).

use std::time::Duration;

use tracing::debug;

use super::{OpError, Ops, Principal, Result};
use sexton_store::{CacheKey, CacheRestore, CacheWrite, WriteIf, WriteOutcome};

/// A cache entry to be written.
#[derive(Clone, Debug)]
pub struct WriteEntry {
    /// The tenant, and the key of the entry.
    pub key: CacheKey,
    /// The value.
    pub value: Vec<u8>,
    /// The time after which the entry expires; `None` for never.
    pub lives_for: Option<Duration>,
    /// The condition for the write.
    pub only: WriteIf,
    /// The number of earlier versions to keep from now on; `None` for as many as before.
    pub keep: Option<u32>,
}

impl Ops {
    /// Writes a cache entry within the quota of its tenant, and returns its new version.
    ///
    /// # Errors
    ///
    /// [`OpError::EntryDiffers`]; the store's errors.
    pub async fn write_entry(&self, by: &Principal, entry: WriteEntry) -> Result<u64> {
        let WriteEntry { key, value, lives_for, only, keep } = entry;
        let now = self.clock.now();
        let write = CacheWrite {
            key: key.clone(),
            value,
            expires_at: lives_for.map(|time| now.plus(time)),
            claim: None,
            only,
            keep,
            quota: self.tenants.cache(&key.tenant),
            // Budgets are for tasks.
            budget: None,
            now,
        };
        let WriteOutcome::Yes(version) = self.store.cache_write(write).await? else {
            return Err(OpError::EntryDiffers(key.key));
        };
        debug!(cache.key = %key.key, tenant = %key.tenant, version, principal = %by, "Wrote a cache entry");
        Ok(version)
    }

    /// Writes the value of an earlier version of a cache entry anew, within the quota of its tenant. Returns the version
    /// that the entry has now.
    ///
    /// # Errors
    ///
    /// [`OpError::NoVersion`]; the store's errors.
    pub async fn restore_entry(&self, by: &Principal, key: CacheKey, version: u64) -> Result<u64> {
        let restore = CacheRestore {
            key: key.clone(),
            version,
            claim: None,
            keep: None,
            quota: self.tenants.cache(&key.tenant),
            // Budgets are for tasks.
            budget: None,
            now: self.clock.now(),
        };
        let WriteOutcome::Yes(written) = self.store.cache_restore(restore).await? else {
            return Err(OpError::NoVersion(key.key, version));
        };
        debug!(cache.key = %key.key, tenant = %key.tenant, version, principal = %by, "Restored a cache entry");
        Ok(written)
    }

    /// Deletes a cache entry.
    ///
    /// # Errors
    ///
    /// [`OpError::NoEntry`]; the store's errors.
    pub async fn delete_entry(&self, by: &Principal, key: CacheKey) -> Result<()> {
        if !self.store.cache_delete(key.clone(), None, self.clock.now()).await? {
            return Err(OpError::NoEntry(key.key));
        }
        debug!(cache.key = %key.key, tenant = %key.tenant, principal = %by, "Deleted a cache entry");
        Ok(())
    }
}
