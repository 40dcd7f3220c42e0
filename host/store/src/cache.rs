//! Defines the entries of the cache and their changes.

use crate::Result;
use async_trait::async_trait;
use std::collections::BTreeMap;

use sexton_domain::run::ClaimKey;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// A value in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub value: Vec<u8>,
    /// The version, which grows with every change of the key, including deletion.
    pub version: u64,
    pub set_at: Timestamp,
    /// When the entry expires; `None` is never.
    pub expires_at: Option<Timestamp>,
}

/// A key of the cache, without its value.
#[derive(Clone, Debug)]
pub struct EntryInfo {
    pub key: String,
    /// The size of the value in bytes.
    pub size: u64,
    pub version: u64,
    pub set_at: Timestamp,
    /// When the entry expires; `None` is never.
    pub expires_at: Option<Timestamp>,
}

/// The most earlier versions that are kept beside an entry. Each of them may take a mebibyte, and a write reads the
/// sizes of all of them.
pub const MOST_KEPT: u32 = 100;

/// A version of an entry, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    pub version: u64,
    /// The size of the value in bytes.
    pub size: u64,
    pub set_at: Timestamp,
    /// When the version expires; `None` is never.
    pub expires_at: Option<Timestamp>,
}

/// The versions of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryHistory {
    /// The number of earlier versions that are kept beside the current one.
    pub keep: u32,
    /// The current version, and then the kept ones from the latest to the earliest.
    pub versions: Vec<VersionInfo>,
}

/// Names a cache entry by its tenant and its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    pub tenant: Name,
    pub key: String,
}

/// A change of one cache entry.
#[derive(Clone, Debug)]
pub struct CacheWrite {
    pub key: CacheKey,
    pub value: Vec<u8>,
    /// When the entry expires; `None` is never.
    pub expires_at: Option<Timestamp>,
    /// The claim of the run that writes; `None` for an operator. A stale claim changes nothing.
    pub claim: Option<ClaimKey>,
    pub only: WriteIf,
    /// The number of earlier versions to keep beside this one, up to [`MOST_KEPT`]; `None` leaves it as it is for the
    /// entry: none, unless an earlier write said otherwise.
    pub keep: Option<u32>,
    /// The most bytes (keys and values) that the tenant's entries may have together.
    pub quota: u64,
    /// The most bytes (keys and values) that the entries last written by the writing run's task may have together;
    /// `None` leaves only the quota.
    pub budget: Option<u64>,
    /// The current time; expired entries count as absent.
    pub now: Timestamp,
}

/// A return of a cache entry to one of its versions.
#[derive(Clone, Debug)]
pub struct CacheRestore {
    pub key: CacheKey,
    /// The version whose value and expiry the entry gets.
    pub version: u64,
    /// See [`CacheWrite::claim`].
    pub claim: Option<ClaimKey>,
    /// See [`CacheWrite::keep`].
    pub keep: Option<u32>,
    /// See [`CacheWrite::quota`].
    pub quota: u64,
    /// See [`CacheWrite::budget`].
    pub budget: Option<u64>,
    pub now: Timestamp,
}

impl CacheRestore {
    /// Returns the write that gives the entry the value of `version`.
    pub(super) fn write_of(&self, version: Entry) -> CacheWrite {
        CacheWrite {
            key: self.key.clone(),
            value: version.value,
            expires_at: version.expires_at,
            claim: self.claim,
            only: WriteIf::Always,
            keep: self.keep,
            quota: self.quota,
            budget: self.budget,
            now: self.now,
        }
    }
}

/// The condition of a [`CacheWrite`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteIf {
    /// There is no condition.
    Always,
    /// The entry must be absent.
    Absent,
    /// The entry must have this version.
    Version(u64),
    /// The writer must hold the refresh lock on the key with this fence; the write releases the lock.
    Refreshing(u64),
}

/// The result of a [`CacheWrite`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The entry was written, with this version.
    Yes(u64),
    /// The condition did not hold; nothing was changed.
    Conflict,
}

/// Keeps entries that outlive their runs.
#[async_trait]
pub trait Cache: Send + Sync {
    /// Returns an entry; `None` if it is absent or expired.
    async fn cache_get(&self, key: CacheKey, now: Timestamp) -> Result<Option<Entry>>;

    /// Changes an entry.
    async fn cache_write(&self, write: CacheWrite) -> Result<WriteOutcome>;

    /// Returns an entry as it was in `version`: the current one, or one that is kept. `None` if the entry is absent or
    /// has no such version.
    async fn cache_version(&self, key: CacheKey, version: u64, now: Timestamp) -> Result<Option<Entry>>;

    /// Returns the versions of an entry; `None` if it is absent or expired.
    async fn cache_history(&self, key: CacheKey, now: Timestamp) -> Result<Option<EntryHistory>>;

    /// Gives an entry the value that it had in one of its versions, with a new version, in one transaction.
    /// [`WriteOutcome::Conflict`] if the entry is absent or has no such version.
    async fn cache_restore(&self, restore: CacheRestore) -> Result<WriteOutcome>;

    /// Deletes an entry, with all versions that are kept of it, and returns whether it existed.
    async fn cache_delete(&self, key: CacheKey, claim: Option<ClaimKey>, now: Timestamp) -> Result<bool>;

    /// Returns the bytes that each tenant's entries take of its quota, including kept versions, and expired ones until
    /// they are deleted. A tenant that never wrote an entry may be left out.
    async fn cache_usage(&self) -> Result<BTreeMap<Name, u64>>;

    /// Returns the keys of a tenant that begin with `prefix` and come after `after`, in order, at most `limit`.
    async fn cache_list(
        &self,
        prefix: CacheKey,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<EntryInfo>>;
}
