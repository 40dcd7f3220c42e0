//! The `cache` import: small values that outlive a run, and who renews them.

use std::time::Duration;

use wasmtime::component::{Linker, Resource};

use crate::attempt::{Charge, Interrupt, LogLine, Refusal};
use crate::imports::bindings::sexton::task::cache::{self, Entry, Error, Host, HostRenewal, Refreshed};
use crate::store::{self, CacheWrite, LockKind, LockMode, LockTaken, StoreError, WriteIf, Written};
use crate::task::Pattern;
use crate::time::Timestamp;

use super::{
    Imports, ImportsCtx, ImportsCtxView, ImportsView, LARGEST_VALUE, LONGEST_NAME, granted, is_name, store_failure,
};

/// Keys that one `list` returns.
const PAGE: usize = 1000;

const REFRESH: &str = "cache.refresh";

/// A renewal that a guest holds a handle to.
#[derive(Debug)]
pub struct Renewal {
    key: String,
    /// Of the refresh lock; `None` once that is let go of.
    fence: Option<u64>,
    /// Until it is published.
    last: Option<store::Entry>,
    /// Of `last`, which may be a megabyte.
    charge: Charge,
}

/// Let a guest of `linker` use the cache.
///
/// # Errors
///
/// If something is linked by that name already.
pub fn add_to_linker<T: ImportsView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    cache::add_to_linker::<T, Imports>(linker, T::imports)
}

impl Host for ImportsCtxView<'_> {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Entry>, Error>> {
        const CALL: &str = "cache.get";
        if let Err(error) = self.ctx.check_key(&key) {
            return Ok(Err(error));
        }
        match self.ctx.read(&key, CALL).await? {
            Ok(entry) => Ok(Ok(entry.map(|entry| self.ctx.shown(entry)))),
            Err(error) => Ok(Err(wit_error(error, CALL)?)),
        }
    }

    async fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
        expires_in: Option<u64>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        if let Err(error) = self.ctx.check_key(&key) {
            return Ok(Err(error));
        }
        Ok(self.ctx.write(key, value, expires_in, WriteIf::Always, "cache.set").await?)
    }

    async fn swap(
        &mut self,
        key: String,
        expected: Option<u64>,
        value: Vec<u8>,
        expires_in: Option<u64>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        if let Err(error) = self.ctx.check_key(&key) {
            return Ok(Err(error));
        }
        let only = expected.map_or(WriteIf::Absent, WriteIf::Version);
        Ok(self.ctx.write(key, value, expires_in, only, "cache.swap").await?)
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), Error>> {
        const CALL: &str = "cache.delete";
        if let Err(error) = self.ctx.check_key(&key) {
            return Ok(Err(error));
        }
        let now = self.ctx.services.clock.now();
        let deleted = self.ctx.services.store.cache_delete(self.ctx.cache_key(key), Some(self.ctx.claim), now);
        match self.ctx.until.unless_ended(CALL, deleted).await? {
            Ok(_) => Ok(Ok(())),
            Err(error) => Ok(Err(wit_error(error, CALL)?)),
        }
    }

    async fn list(&mut self, prefix: String, after: Option<String>) -> wasmtime::Result<Result<Vec<String>, Error>> {
        const CALL: &str = "cache.list";
        if prefix.len() > LONGEST_NAME || after.as_ref().is_some_and(|after| after.len() > LONGEST_NAME) {
            return Ok(Err(Error::BadKey));
        }
        let now = self.ctx.services.clock.now();
        let mut keys = Vec::new();
        // Pattern by pattern, so that the store never reads past keys that this task may not see.
        for pattern in &self.ctx.task.grants.cache {
            let Some(range) = overlap(pattern, &prefix) else { continue };
            let page =
                self.ctx.services.store.cache_list(self.ctx.cache_key(range.to_owned()), after.clone(), PAGE, now);
            match self.ctx.until.unless_ended(CALL, page).await? {
                Ok(page) => keys.extend(page.into_iter().map(|info| info.key).filter(|key| pattern.matches(key))),
                Err(error) => return Ok(Err(wit_error(error, CALL)?)),
            }
            // Now, as a task may be granted many patterns.
            keys.sort_unstable();
            keys.dedup();
            keys.truncate(PAGE);
        }
        Ok(Ok(keys))
    }

    async fn refresh(&mut self, key: String, max_age: u64) -> wasmtime::Result<Result<Refreshed, Error>> {
        if let Err(error) = self.ctx.check_key(&key) {
            return Ok(Err(error));
        }
        match self.ctx.find_renewer(&key, Duration::from_millis(max_age)).await? {
            Ok(Renewer::Nobody(entry)) => Ok(Ok(Refreshed::Fresh(self.ctx.shown(entry)))),
            Ok(Renewer::Another(last)) => Ok(Ok(Refreshed::Held(last.map(|entry| self.ctx.shown(entry))))),
            Ok(Renewer::This { fence, last }) => {
                self.ctx.renewals.insert(key.clone());
                // With no room for it, or a full table, this is a trap, and the end of the run lets go of the entry.
                let size = last.as_ref().map_or(0, |last| last.value.len());
                let charge = self.ctx.ledger.charge(2 * key.len() + size)?;
                let renewal = self.table.push(Renewal { key, fence: Some(fence), last, charge })?;
                Ok(Ok(Refreshed::Yours(renewal)))
            }
            Err(error) => Ok(Err(wit_error(error, REFRESH)?)),
        }
    }
}

impl HostRenewal for ImportsCtxView<'_> {
    fn last(&mut self, renewal: Resource<Renewal>) -> wasmtime::Result<Option<Entry>> {
        let last = self.table.get(&renewal)?.last.clone();
        Ok(last.map(|entry| self.ctx.shown(entry)))
    }

    async fn publish(
        &mut self,
        renewal: Resource<Renewal>,
        value: Vec<u8>,
        expires_in: Option<u64>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let held = self.table.get_mut(&renewal)?;
        let Some(fence) = held.fence else { return Ok(Err(Error::Conflict)) };
        let key = held.key.clone();
        let only = WriteIf::Refreshing(fence);
        let written = self.ctx.write(key.clone(), value, expires_in, only, "cache.[method]renewal.publish").await?;
        // After any other error the renewal is still this run's, and it may try again with, say, a smaller value.
        if matches!(written, Ok(_) | Err(Error::Conflict)) {
            let published = self.table.get_mut(&renewal)?;
            published.fence = None;
            if let Some(last) = published.last.take() {
                published.charge.shrink(last.value.len());
            }
            self.ctx.renewals.remove(&key);
        }
        Ok(written)
    }

    async fn drop(&mut self, renewal: Resource<Renewal>) -> wasmtime::Result<()> {
        let Renewal { key, fence, .. } = self.table.delete(renewal)?;
        // Published: the lock went with it, and if the run holds it again it is by another renewal.
        if fence.is_some() {
            match self.ctx.let_go(&key, "cache.[drop]renewal").await? {
                Ok(()) => {
                    self.ctx.renewals.remove(&key);
                }
                // Nobody can be told from a drop. The end of the run lets go.
                Err(error) => {
                    store_failure(error, "cache.[drop]renewal")?;
                }
            }
        }
        Ok(())
    }
}

/// Who renews an entry.
enum Renewer {
    /// It is not old enough.
    Nobody(store::Entry),
    /// Another run, or another handle of this one.
    Another(Option<store::Entry>),
    /// This run.
    This { fence: u64, last: Option<store::Entry> },
}

impl ImportsCtx {
    fn check_key(&self, key: &str) -> Result<(), Error> {
        if !is_name(key) {
            Err(Error::BadKey)
        } else if !granted(&self.task.grants.cache, key) {
            self.refuses(Refusal::CacheKey(key));
            Err(Error::AccessDenied)
        } else {
            Ok(())
        }
    }

    async fn read(&self, key: &str, in_call: &'static str) -> Result<store::Result<Option<store::Entry>>, Interrupt> {
        let now = self.services.clock.now();
        self.until.unless_ended(in_call, self.services.store.cache_get(self.cache_key(key.to_owned()), now)).await
    }

    async fn write(
        &mut self,
        key: String,
        value: Vec<u8>,
        expires_in: Option<u64>,
        only: WriteIf,
        in_call: &'static str,
    ) -> Result<Result<u64, Error>, Interrupt> {
        if value.len() > LARGEST_VALUE {
            return Ok(Err(Error::TooLarge));
        }
        let now = self.services.clock.now();
        self.handle.usage.handed_over(value.len());
        let write = CacheWrite {
            key: self.cache_key(key),
            value,
            expires_at: expires_in.and_then(|ms| expiry(now, ms)),
            claim: Some(self.claim),
            only,
            quota: self.services.tenants.cache(&self.task.key.tenant),
            budget: self.task.budget.cache,
            now,
        };
        match self.until.unless_ended(in_call, self.services.store.cache_write(write)).await? {
            Ok(Written::Yes(version)) => Ok(Ok(version)),
            Ok(Written::Conflict) => Ok(Err(Error::Conflict)),
            Err(error) => {
                self.say_if_full(&error, now);
                Ok(Err(wit_error(error, in_call)?))
            }
        }
    }

    /// A guest is told only that it is too much: whose share of the cache is used up is for those who read its log. Once, as
    /// guests try again.
    fn say_if_full(&mut self, error: &StoreError, now: Timestamp) {
        if matches!(error, StoreError::CacheFull { .. } | StoreError::CacheBudget { .. }) && !self.told_full {
            self.told_full = true;
            self.handle.log(LogLine { at: now, level: "warn".to_owned(), message: error.to_string() });
        }
    }

    /// Look, take the refresh lock if the entry is too old, and look again: whoever held it may just have published.
    async fn find_renewer(&self, key: &str, max_age: Duration) -> Result<store::Result<Renewer>, Interrupt> {
        let last = match self.read(key, REFRESH).await? {
            Ok(last) => last,
            Err(error) => return Ok(Err(error)),
        };
        let last = match self.if_fresh(last, max_age) {
            Ok(fresh) => return Ok(Ok(Renewer::Nobody(fresh))),
            Err(last) => last,
        };
        if self.renewals.contains(key) {
            return Ok(Ok(Renewer::Another(last)));
        }
        let lock = self.lock_name(LockKind::Refresh, key.to_owned());
        let now = self.services.clock.now();
        let asked = self.services.store.acquire_lock(lock, LockMode::Exclusive, self.claim, now);
        let fence = match self.until.unless_ended(REFRESH, asked).await? {
            Ok(LockTaken::Yes { fence }) => fence,
            Ok(LockTaken::HeldBy(_)) => return Ok(Ok(Renewer::Another(last))),
            Err(error) => return Ok(Err(error)),
        };
        match self.read(key, REFRESH).await? {
            Ok(last) => match self.if_fresh(last, max_age) {
                Err(last) => Ok(Ok(Renewer::This { fence, last })),
                Ok(fresh) => Ok(self.let_go(key, REFRESH).await?.map(|()| Renewer::Nobody(fresh))),
            },
            // The guest will not know that it has the entry, so nobody may be kept waiting for it.
            Err(error) => Ok(self.let_go(key, REFRESH).await?.and(Err(error))),
        }
    }

    /// The entry, if it is younger than `max_age`; else back, as the last good value.
    fn if_fresh(&self, entry: Option<store::Entry>, max_age: Duration) -> Result<store::Entry, Option<store::Entry>> {
        let now = self.services.clock.now();
        match entry {
            Some(entry) if now.since(entry.set_at) < max_age => Ok(entry),
            old => Err(old),
        }
    }

    async fn let_go(&self, key: &str, in_call: &'static str) -> Result<store::Result<()>, Interrupt> {
        let lock = self.lock_name(LockKind::Refresh, key.to_owned());
        self.until.unless_ended(in_call, self.services.store.release_lock(lock, self.claim)).await
    }

    /// The entry as guests see it.
    fn shown(&self, entry: store::Entry) -> Entry {
        let age = self.services.clock.now().since(entry.set_at);
        self.handle.usage.was_given(entry.value.len());
        Entry {
            value: entry.value,
            version: entry.version,
            set_at: u64::try_from(entry.set_at.as_millis()).unwrap_or(0),
            age: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// The instant at which an entry ceases to be; `None`, never, for one beyond what an instant can say.
fn expiry(now: Timestamp, ms: u64) -> Option<Timestamp> {
    let ms = i64::try_from(ms).ok()?;
    now.as_millis().checked_add(ms).map(Timestamp::from_millis)
}

/// The beginning of the keys that both begin with `prefix` and are granted by `pattern`; `None` if there are none.
fn overlap<'a>(pattern: &'a Pattern, prefix: &'a str) -> Option<&'a str> {
    let granted = pattern.0.strip_suffix('*').unwrap_or(&pattern.0);
    if granted.starts_with(prefix) { Some(granted) } else { prefix.starts_with(granted).then_some(prefix) }
}

fn wit_error(error: StoreError, in_call: &'static str) -> Result<Error, Interrupt> {
    match error {
        StoreError::CacheFull { .. } | StoreError::CacheBudget { .. } => Ok(Error::TooLarge),
        error => Ok(Error::Other(store_failure(error, in_call)?)),
    }
}

#[cfg(test)]
mod tests;
