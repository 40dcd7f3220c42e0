//! Decides which writes to the cache are admitted, and which versions of an entry are kept.

use crate::{CacheKey, CacheWrite, LockKind, LockName, MOST_KEPT, StoreError, WriteIf};
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
    /// The number of earlier versions to keep. Without it the entry has none, whatever rows there are: a program that
    /// knows nothing of versions has written the entry anew.
    pub(crate) keep: Option<u32>,
}

/// An earlier version of an entry, as found by a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptVersion {
    pub(crate) version: u64,
    /// The size of the value in bytes.
    pub(crate) bytes: i64,
    /// Whether the version has not expired.
    pub(crate) is_alive: bool,
    /// The number of the task that wrote the version, if a task did.
    pub(crate) writer: Option<i64>,
}

/// The usage of the cache before a write.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    /// The bytes of the tenant's entries and of their versions, expired ones included until they are deleted.
    pub(crate) of_tenant: i64,
    /// The bytes of the entries and versions that the writing task was the last to write.
    pub(crate) of_task: i64,
    /// The entry to be written.
    pub(crate) entry: Option<Found>,
    /// Its earlier versions, from the latest to the earliest.
    pub(crate) kept: Vec<KeptVersion>,
}

/// The consequence of a write for the versions of its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keeping {
    /// The number of earlier versions to keep from now on; `None` is none.
    pub(crate) keep: Option<u32>,
    /// Whether the version that the write replaces is kept.
    pub(crate) moves: bool,
    /// The kept versions that go.
    pub(crate) gone: Vec<KeptVersion>,
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

/// Returns whether a write must know the versions of the entry that it `found`.
pub(crate) fn looks_at_versions(write: &CacheWrite, found: Option<Found>) -> bool {
    write.keep.is_some() || found.is_some_and(|entry| entry.keep.is_some())
}

/// Decides which versions are kept when `write` replaces the entry that it found. An expired entry is absent, and so
/// are its versions.
pub(crate) fn keeping(write: &CacheWrite, usage: &Usage) -> Keeping {
    let alive = usage.entry.filter(|entry| entry.is_alive);
    let before = alive.and_then(|entry| entry.keep);
    let keep = write.keep.or(before).map(|keep| keep.min(MOST_KEPT)).filter(|keep| *keep > 0);
    let most = keep.map_or(0, |keep| keep as usize);
    let moves = alive.is_some() && most > 0;
    // Without an earlier word about versions the rows are left over from an entry that is gone.
    let stay = if before.is_some() { most - usize::from(moves) } else { 0 };
    let (living, expired): (Vec<KeptVersion>, Vec<KeptVersion>) =
        usage.kept.iter().copied().partition(|kept| kept.is_alive);
    let gone = expired.into_iter().chain(living.into_iter().skip(stay)).collect();
    Keeping { keep, moves, gone }
}

/// Returns the bytes that `write` frees: of all writers, and of the task `writer`.
fn freed(write: &CacheWrite, writer: Option<i64>, usage: &Usage) -> (i64, i64) {
    let Keeping { moves, gone, .. } = keeping(write, usage);
    let replaced = usage.entry.filter(|_| !moves).map(|entry| (entry.bytes, entry.writer));
    let all = replaced.into_iter().chain(gone.iter().map(|kept| (kept.bytes, kept.writer)));
    all.fold((0, 0), |(total, own), (bytes, by)| {
        let bytes = size(&write.key, bytes);
        (total + bytes, if by == writer { own + bytes } else { own })
    })
}

/// Returns the error if `write` by the task `writer` would exceed the quota or the budget.
pub(crate) fn exceeded(write: &CacheWrite, writer: Option<i64>, usage: &Usage) -> Option<StoreError> {
    let bytes = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let new = size(&write.key, bytes(write.value.len() as u64));
    let (old, own) = freed(write, writer, usage);
    // A value that shrinks is admitted even if the quota was lowered below the usage.
    if new > old && usage.of_tenant - old + new > bytes(write.quota) {
        return Some(StoreError::CacheFull { used: usage.of_tenant.unsigned_abs(), quota: write.quota });
    }
    let (Some(_), Some(budget)) = (writer, write.budget) else { return None };
    // An entry that another task has written counts as this task's from now on.
    if new > own && usage.of_task - own + new > bytes(budget) {
        return Some(StoreError::CacheBudget { used: usage.of_task.unsigned_abs(), budget });
    }
    None
}
