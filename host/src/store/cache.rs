//! What is kept in the cache, and how it is changed.

use crate::store::Result;
use async_trait::async_trait;
use std::collections::BTreeMap;

use crate::run::ClaimKey;
use crate::task::Name;
use crate::time::Timestamp;

/// A value in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes.
    pub value: Vec<u8>,
    /// Greater after every change of the key, deletion included.
    pub version: u64,
    /// When it was set.
    pub set_at: Timestamp,
    /// When it ceases to be; `None` is never.
    pub expires_at: Option<Timestamp>,
}

/// A key of the cache, without its value.
#[derive(Clone, Debug)]
pub struct EntryInfo {
    /// The key.
    pub key: String,
    /// Bytes of the value.
    pub size: u64,
    /// Its version.
    pub version: u64,
    /// When it was set.
    pub set_at: Timestamp,
    /// When it ceases to be; `None` is never.
    pub expires_at: Option<Timestamp>,
}

/// Which key of whose cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    /// Whose.
    pub tenant: Name,
    /// The key.
    pub key: String,
}

/// A change of one cache entry.
#[derive(Clone, Debug)]
pub struct CacheWrite {
    /// Which entry.
    pub key: CacheKey,
    /// The value.
    pub value: Vec<u8>,
    /// When the entry ceases to be.
    pub expires_at: Option<Timestamp>,
    /// The run that writes; `None` for an operator. A stale claim changes nothing.
    pub claim: Option<ClaimKey>,
    /// When to write at all.
    pub only: WriteIf,
    /// Bytes (keys and values) that the tenant's entries may have together.
    pub quota: u64,
    /// Bytes (keys and values) that the entries which the writing run's task was the last to write may have together; `None`
    /// is no bound but the quota.
    pub budget: Option<u64>,
    /// The time it is; expired entries count as absent.
    pub now: Timestamp,
}

/// The condition of a [`CacheWrite`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteIf {
    /// None.
    Always,
    /// The entry is absent.
    Absent,
    /// The entry has this version.
    Version(u64),
    /// The writer holds the refresh lock on the key with this fence, and lets go of it with this write.
    Refreshing(u64),
}

/// What became of a [`CacheWrite`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is written, with this version.
    Yes(u64),
    /// Its condition did not hold; nothing was changed.
    Conflict,
}

/// Entries that outlive their runs.
#[async_trait]
pub trait Cache: Send + Sync {
    /// Read an entry; `None` if it is absent or expired.
    async fn cache_get(&self, key: CacheKey, now: Timestamp) -> Result<Option<Entry>>;

    /// Change an entry.
    async fn cache_write(&self, write: CacheWrite) -> Result<Written>;

    /// Delete an entry; whether there was one.
    async fn cache_delete(&self, key: CacheKey, claim: Option<ClaimKey>, now: Timestamp) -> Result<bool>;

    /// The bytes that each tenant's entries take of its quota, expired ones included until they are deleted. A tenant that never
    /// wrote one may be left out.
    async fn cache_usage(&self) -> Result<BTreeMap<Name, u64>>;

    /// The keys of a tenant that begin with `prefix`, in order, after `after`, at most `limit`.
    async fn cache_list(
        &self,
        prefix: CacheKey,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<EntryInfo>>;
}
