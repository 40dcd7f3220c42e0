//! Reads and changes entries of the cache for one attempt, for every interface through which guests use the cache.

use crate::attempt::Refusal;
use crate::imports::call_error::{CallError, store_failure};
use crate::imports::{ImportsCtx, LARGEST_VALUE, LONGEST_NAME, State, is_granted, is_name};
use sexton_domain::task::Pattern;
use sexton_domain::time::Timestamp;
use sexton_store::{self as store, CacheRestore, CacheWrite, StoreError, VersionInfo, WriteIf, WriteOutcome};

/// The most keys that one listing returns.
pub(in crate::imports) const PAGE: usize = 1000;

/// The reason why an entry is not read or changed.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::imports) enum EntryError {
    /// The key is empty or too long.
    BadKey,
    /// The task is not granted the key.
    AccessDenied,
    /// The entry is not at the version that the write expects.
    Conflict,
    /// The value is too large, or the cache has no room for it.
    TooLarge,
    /// The store failed. The text is for the guest.
    Other(String),
}

impl From<EntryError> for CallError<EntryError> {
    fn from(error: EntryError) -> Self {
        Self::Guest(error)
    }
}

/// The result of reading or changing entries for a guest.
pub(in crate::imports) type EntryResult<T> = Result<T, CallError<EntryError>>;

/// Whether the run's log says already that the cache has no more room for the guest.
struct Full {
    told: bool,
}

impl State for Full {
    fn begin(_: &ImportsCtx) -> Self {
        Self { told: false }
    }
}

impl ImportsCtx {
    /// Refuses a key that is not well formed or that the task is not granted.
    pub(in crate::imports) fn check_key(&self, key: &str) -> Result<(), EntryError> {
        if !is_name(key) {
            Err(EntryError::BadKey)
        } else if !is_granted(&self.task.grants.cache, key) {
            self.refuses(Refusal::CacheKey(key));
            Err(EntryError::AccessDenied)
        } else {
            Ok(())
        }
    }

    /// Returns the entry of a key that was checked.
    pub(in crate::imports) async fn read_entry(
        &self,
        key: &str,
        in_call: &'static str,
    ) -> EntryResult<Option<store::Entry>> {
        let now = self.services.clock.now();
        let read = self.services.store.cache_get(self.cache_key(key.to_owned()), now);
        self.until.run_until_ended(in_call, read).await?.map_err(|error| failure(error, in_call))
    }

    /// Counts an entry that the guest receives. An empty one is something, too.
    pub(in crate::imports) fn count_received(&self, entry: &store::Entry) {
        self.handle.usage.add_received(entry.value.len());
        self.handle.usage.acts();
    }

    /// Writes the entry of a key that was checked and returns its new version. It expires after `expires_in`
    /// milliseconds.
    pub(in crate::imports) async fn write_entry(
        &mut self,
        key: String,
        value: Vec<u8>,
        expires_in: Option<u64>,
        only: WriteIf,
        in_call: &'static str,
    ) -> EntryResult<u64> {
        if value.len() > LARGEST_VALUE {
            return Err(EntryError::TooLarge.into());
        }
        let now = self.services.clock.now();
        self.handle.usage.add_sent(value.len());
        let keep = self.task.grants.keep_of(&key);
        let write = CacheWrite {
            key: self.cache_key(key),
            value,
            expires_at: expires_in.and_then(|ms| expiry(now, ms)),
            claim: Some(self.claim),
            only,
            keep,
            quota: self.services.tenants.cache(&self.task.key.tenant),
            budget: self.task.budget.cache,
            now,
        };
        let written = self.until.run_until_ended(in_call, self.services.store.cache_write(write)).await?;
        self.written(written, in_call)
    }

    /// Returns the entry of a key that was checked as it was in `version`, if that is the current or a kept one.
    pub(in crate::imports) async fn read_version(
        &self,
        key: &str,
        version: u64,
        in_call: &'static str,
    ) -> EntryResult<Option<store::Entry>> {
        let now = self.services.clock.now();
        let read = self.services.store.cache_version(self.cache_key(key.to_owned()), version, now);
        self.until.run_until_ended(in_call, read).await?.map_err(|error| failure(error, in_call))
    }

    /// Returns the versions of the entry of a key that was checked, the current one first; none if there is no entry.
    pub(in crate::imports) async fn read_history(
        &self,
        key: &str,
        in_call: &'static str,
    ) -> EntryResult<Vec<VersionInfo>> {
        let now = self.services.clock.now();
        let read = self.services.store.cache_history(self.cache_key(key.to_owned()), now);
        let history = self.until.run_until_ended(in_call, read).await?.map_err(|error| failure(error, in_call))?;
        Ok(history.map(|history| history.versions).unwrap_or_default())
    }

    /// Gives the entry of a key that was checked the value of one of its versions. Returns the new version.
    pub(in crate::imports) async fn restore_entry(
        &mut self,
        key: String,
        version: u64,
        in_call: &'static str,
    ) -> EntryResult<u64> {
        let restore = CacheRestore {
            keep: self.task.grants.keep_of(&key),
            key: self.cache_key(key),
            version,
            claim: Some(self.claim),
            quota: self.services.tenants.cache(&self.task.key.tenant),
            budget: self.task.budget.cache,
            now: self.services.clock.now(),
        };
        let restored = self.until.run_until_ended(in_call, self.services.store.cache_restore(restore)).await?;
        self.written(restored, in_call)
    }

    /// Returns the new version of an entry, or the guest's error if it was not written.
    fn written(&mut self, written: store::Result<WriteOutcome>, in_call: &'static str) -> EntryResult<u64> {
        match written {
            Ok(WriteOutcome::Yes(version)) => {
                // Also if the guest sent nothing: a version that is restored, or an empty value.
                self.handle.usage.acts();
                Ok(version)
            }
            Ok(WriteOutcome::Conflict) => Err(EntryError::Conflict.into()),
            Err(error) => {
                self.log_if_full(&error);
                Err(failure(error, in_call))
            }
        }
    }

    /// Deletes the entry of a key that was checked, if there is one, with its versions.
    pub(in crate::imports) async fn delete_entry(&self, key: String, in_call: &'static str) -> EntryResult<()> {
        let now = self.services.clock.now();
        let deleted = self.services.store.cache_delete(self.cache_key(key), Some(self.claim), now);
        self.until.run_until_ended(in_call, deleted).await?.map_err(|error| failure(error, in_call))?;
        Ok(())
    }

    /// Returns the first keys, up to [`PAGE`], that begin with `prefix`, follow `after`, and are granted to the task,
    /// in order.
    pub(in crate::imports) async fn list_entries(
        &self,
        prefix: &str,
        after: Option<String>,
        in_call: &'static str,
    ) -> EntryResult<Vec<String>> {
        if prefix.len() > LONGEST_NAME || after.as_ref().is_some_and(|after| after.len() > LONGEST_NAME) {
            return Err(EntryError::BadKey.into());
        }
        let now = self.services.clock.now();
        let mut keys = Vec::new();
        // Each pattern is listed by itself, so that the store never reads past keys that this task may not see.
        for pattern in &self.task.grants.cache {
            let Some(range) = overlap(pattern, prefix) else { continue };
            let page = self.services.store.cache_list(self.cache_key(range.to_owned()), after.clone(), PAGE, now);
            let page = self.until.run_until_ended(in_call, page).await?.map_err(|error| failure(error, in_call))?;
            keys.extend(page.into_iter().map(|info| info.key).filter(|key| pattern.matches(key)));
            // Truncating after each pattern bounds the list even if a task is granted many patterns.
            keys.sort_unstable();
            keys.dedup();
            keys.truncate(PAGE);
        }
        Ok(keys)
    }

    /// Writes into the run's log which share of the cache is used up, because the guest is told only that its value is
    /// too large. Writes it once, because guests try again.
    fn log_if_full(&mut self, error: &StoreError) {
        if matches!(error, StoreError::CacheFull { .. } | StoreError::CacheBudget { .. })
            && !std::mem::replace(&mut self.state::<Full>().told, true)
        {
            self.warn(error.to_string());
        }
    }
}

/// Returns the guest's error for a failure of the store, or a trap if the claim is lost.
pub(super) fn failure(error: StoreError, in_call: &'static str) -> CallError<EntryError> {
    match error {
        StoreError::CacheFull { .. } | StoreError::CacheBudget { .. } => EntryError::TooLarge.into(),
        error => store_failure(error, in_call, EntryError::Other),
    }
}

/// Returns the instant at which an entry expires, or `None` for never if an instant cannot express it.
fn expiry(now: Timestamp, ms: u64) -> Option<Timestamp> {
    let ms = i64::try_from(ms).ok()?;
    now.as_millis().checked_add(ms).map(Timestamp::from_millis)
}

/// Returns the prefix of the keys that both begin with `prefix` and are granted by `pattern`, or `None` if there are
/// none.
fn overlap<'a>(pattern: &'a Pattern, prefix: &'a str) -> Option<&'a str> {
    let granted = pattern.0.strip_suffix('*').unwrap_or(&pattern.0);
    if granted.starts_with(prefix) { Some(granted) } else { prefix.starts_with(granted).then_some(prefix) }
}
