//! Decides which writes to the cache are admitted.

use crate::{CacheKey, CacheWrite, LockKind, LockName, StoreError, WriteIf};
use sexton_domain::run::ClaimKey;

/// An entry as found by a write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) version: u64,
    /// The size of the value in bytes.
    pub(crate) bytes: i64,
    /// Whether the entry has not expired.
    pub(crate) is_alive: bool,
    /// The number of the task that wrote the entry, if a task did.
    pub(crate) writer: Option<i64>,
}

/// The usage of the cache before a write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// The bytes of the tenant's entries, expired ones included until they are deleted.
    pub(crate) of_tenant: i64,
    /// The bytes of the entries that the writing task was the last to write.
    pub(crate) of_task: i64,
    /// The entry to be written.
    pub(crate) entry: Option<Found>,
}

/// Whether the condition of a write holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The condition holds, or does not.
    Is(bool),
    /// The condition holds if the claim holds this lock, the entry's refresh lock, with this fence.
    IfHeld(LockName, ClaimKey, u64),
}

/// Returns the lock that a run holds while it refreshes an entry.
pub(crate) fn refresh_lock(key: &CacheKey) -> LockName {
    LockName { tenant: key.tenant.clone(), kind: LockKind::Refresh, name: key.key.clone() }
}

/// Decides whether the condition of `write` holds for the entry that was `found`.
pub(crate) fn condition(write: &CacheWrite, found: Option<Found>) -> Condition {
    match (write.only, write.claim) {
        (WriteIf::Always, _) => Condition::Is(true),
        (WriteIf::Absent, _) => Condition::Is(found.is_none_or(|entry| !entry.is_alive)),
        (WriteIf::Version(version), _) => {
            Condition::Is(found.is_some_and(|entry| entry.is_alive && entry.version == version))
        }
        (WriteIf::Refreshing(fence), Some(claim)) => Condition::IfHeld(refresh_lock(&write.key), claim, fence),
        (WriteIf::Refreshing(_), None) => Condition::Is(false),
    }
}

/// Returns the bytes that an entry counts for: its key and its value.
pub(crate) fn size(key: &CacheKey, value: i64) -> i64 {
    i64::try_from(key.key.len()).unwrap_or(i64::MAX).saturating_add(value)
}

/// Returns the error if `write` by the task `writer` would exceed the quota or the budget.
pub(crate) fn exceeded(write: &CacheWrite, writer: Option<i64>, usage: &Usage) -> Option<StoreError> {
    let bytes = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let new = size(&write.key, bytes(write.value.len() as u64));
    let old = usage.entry.map_or(0, |entry| size(&write.key, entry.bytes));
    // A value that shrinks is admitted even if the quota was lowered below the usage.
    if new > old && usage.of_tenant - old + new > bytes(write.quota) {
        return Some(StoreError::CacheFull { used: usage.of_tenant.unsigned_abs(), quota: write.quota });
    }
    let (Some(_), Some(budget)) = (writer, write.budget) else { return None };
    // An entry that another task has written counts as this task's from now on.
    let old = if usage.entry.is_some_and(|entry| entry.writer == writer) { old } else { 0 };
    if new > old && usage.of_task - old + new > bytes(budget) {
        return Some(StoreError::CacheBudget { used: usage.of_task.unsigned_abs(), budget });
    }
    None
}
