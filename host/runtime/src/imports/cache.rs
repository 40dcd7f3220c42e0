//! The `cache` import: small values that outlive a run, and the choice of the run that renews them.

mod entries;
mod renewal;

use std::collections::HashSet;
use std::time::Duration;

use wasmtime::component::{Linker, Resource};

use crate::imports::bindings::CacheError;
use crate::imports::bindings::sexton::task::cache::{self, Entry, Error, Host, HostRenewal, Refreshed, Version};
use sexton_domain::task::{Grants, Task};
use sexton_store::{self as store, LockKind, LockMode, LockTaken, WriteIf};

use super::call_error::CallError;
use super::capability::{Capability, Interface, of_sexton};
use super::{Imports, ImportsCtx, ImportsCtxView, ImportsView, State};
use entries::failure;
pub(super) use entries::{EntryError, EntryResult, PAGE};
pub use renewal::Renewal;
use sexton_domain::lengths;

const REFRESH: &str = "cache.refresh";

/// The line of a manifest that grants entries, to this interface and to others that build on the cache.
pub(super) const MANIFEST_LINE: &str = "cache = [\"*\"]";

/// The capability to read and write entries of the tenant's cache.
#[derive(Debug)]
pub struct Cache;

impl<T: ImportsView> Capability<T> for Cache {
    fn interfaces(&self) -> &'static [Interface] {
        const { &[of_sexton("cache")] }
    }

    fn is_granted(&self, grants: &Grants) -> bool {
        !grants.cache.is_empty()
    }

    fn manifest_line(&self, _: &Task) -> String {
        MANIFEST_LINE.to_owned()
    }

    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        cache::add_to_linker::<T, Imports>(linker, T::imports)
    }
}

impl From<EntryError> for Error {
    fn from(error: EntryError) -> Self {
        match error {
            EntryError::BadKey => Self::BadKey,
            EntryError::AccessDenied => Self::AccessDenied,
            EntryError::Conflict => Self::Conflict,
            EntryError::TooLarge => Self::TooLarge,
            EntryError::Other(message) => Self::Other(message),
        }
    }
}

impl From<CallError<EntryError>> for CacheError {
    fn from(error: CallError<EntryError>) -> Self {
        error.map(Error::from)
    }
}

impl From<EntryError> for CacheError {
    fn from(error: EntryError) -> Self {
        Self::Guest(error.into())
    }
}

/// The keys of the entries that the guest is renewing.
#[derive(Debug, Default)]
struct Renewals(HashSet<String>);

impl State for Renewals {
    fn begin(_: &ImportsCtx) -> Self {
        Self::default()
    }
}

impl Host for ImportsCtxView<'_> {
    async fn get(&mut self, key: String) -> Result<Option<Entry>, CacheError> {
        self.ctx.check_key(&key)?;
        let entry = self.ctx.read_entry(&key, "cache.get").await?;
        Ok(entry.map(|entry| self.ctx.shown(entry)))
    }

    async fn set(&mut self, key: String, value: Vec<u8>, expires_in: Option<u64>) -> Result<u64, CacheError> {
        self.ctx.check_key(&key)?;
        Ok(self.ctx.write_entry(key, value, expires_in, WriteIf::Always, "cache.set").await?)
    }

    async fn swap(
        &mut self,
        key: String,
        expected: Option<u64>,
        value: Vec<u8>,
        expires_in: Option<u64>,
    ) -> Result<u64, CacheError> {
        self.ctx.check_key(&key)?;
        let only = expected.map_or(WriteIf::Absent, WriteIf::Version);
        Ok(self.ctx.write_entry(key, value, expires_in, only, "cache.swap").await?)
    }

    async fn delete(&mut self, key: String) -> Result<(), CacheError> {
        self.ctx.check_key(&key)?;
        Ok(self.ctx.delete_entry(key, "cache.delete").await?)
    }

    async fn list(&mut self, prefix: String, after: Option<String>) -> Result<Vec<String>, CacheError> {
        Ok(self.ctx.list_entries(&prefix, after, "cache.list").await?)
    }

    async fn history(&mut self, key: String) -> Result<Vec<Version>, CacheError> {
        self.ctx.check_key(&key)?;
        let versions = self.ctx.read_history(&key, "cache.history").await?;
        let shown = versions.into_iter().map(|version| Version {
            version: version.version,
            size: version.size,
            set_at: u64::try_from(version.set_at.as_millis()).unwrap_or(0),
        });
        Ok(shown.collect())
    }

    async fn get_version(&mut self, key: String, version: u64) -> Result<Option<Entry>, CacheError> {
        self.ctx.check_key(&key)?;
        let entry = self.ctx.read_version(&key, version, "cache.get-version").await?;
        Ok(entry.map(|entry| self.ctx.shown(entry)))
    }

    async fn restore(&mut self, key: String, version: u64) -> Result<u64, CacheError> {
        self.ctx.check_key(&key)?;
        Ok(self.ctx.restore_entry(key, version, "cache.restore").await?)
    }

    async fn refresh(&mut self, key: String, max_age: u64) -> Result<Refreshed, CacheError> {
        self.ctx.check_key(&key)?;
        Ok(match self.ctx.find_renewer(&key, Duration::from_millis(max_age)).await? {
            Renewer::Nobody(entry) => Refreshed::Fresh(self.ctx.shown(entry)),
            Renewer::Another(last) => Refreshed::Held(last.map(|entry| self.ctx.shown(entry))),
            Renewer::This { fence, last } => {
                self.ctx.state::<Renewals>().0.insert(key.clone());
                // If there is no room for it, or the table is full, this is a trap, and the end of the run releases the
                // entry.
                let size = last.as_ref().map_or(0, |last| last.value.len());
                let charge = self.ctx.ledger.charge(2 * key.len() + size)?;
                Refreshed::Yours(self.table.push(Renewal { key, fence: Some(fence), last, charge })?)
            }
        })
    }

    fn convert_error(&mut self, error: CacheError) -> wasmtime::Result<Error> {
        error.into_guest()
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
    ) -> Result<u64, CacheError> {
        let held = self.table.get_mut(&renewal)?;
        let Some(fence) = held.fence else { return Err(EntryError::Conflict.into()) };
        let key = held.key.clone();
        let only = WriteIf::Refreshing(fence);
        let written = self.ctx.write_entry(key.clone(), value, expires_in, only, "cache.[method]renewal.publish").await;
        // After any other error this run still has the renewal and may try again with, say, a smaller value.
        if matches!(written, Ok(_) | Err(CallError::Guest(EntryError::Conflict))) {
            let published = self.table.get_mut(&renewal)?;
            published.fence = None;
            if let Some(last) = published.last.take() {
                published.charge.shrink(last.value.len());
            }
            self.ctx.state::<Renewals>().0.remove(&key);
        }
        Ok(written?)
    }

    async fn drop(&mut self, renewal: Resource<Renewal>) -> wasmtime::Result<()> {
        const DROP: &str = "cache.[drop]renewal";
        let Renewal { key, fence, .. } = self.table.delete(renewal)?;
        // After a publication the lock is released already, and if the run holds it again, that is by another renewal.
        if fence.is_some() {
            match self.ctx.release_refresh(&key, DROP).await {
                Ok(()) => {
                    self.ctx.state::<Renewals>().0.remove(&key);
                }
                // A drop has no error for the guest, and the end of the run releases the entry.
                Err(error) => {
                    error.into_guest()?;
                }
            }
        }
        Ok(())
    }
}

/// The run that renews an entry.
enum Renewer {
    /// No run, because the entry is not old enough.
    Nobody(store::Entry),
    /// Another run, or this one with another handle.
    Another(Option<store::Entry>),
    /// This run.
    This { fence: u64, last: Option<store::Entry> },
}

impl ImportsCtx {
    /// Reads the entry and takes its refresh lock if it is too old. Then reads it again, because the run that held the
    /// lock may just have published.
    async fn find_renewer(&mut self, key: &str, max_age: Duration) -> EntryResult<Renewer> {
        let last = match self.if_fresh(self.read_entry(key, REFRESH).await?, max_age) {
            Ok(fresh) => return Ok(Renewer::Nobody(fresh)),
            Err(last) => last,
        };
        if self.state::<Renewals>().0.contains(key) {
            return Ok(Renewer::Another(last));
        }
        let lock = self.lock_name(LockKind::Refresh, key.to_owned());
        let now = self.services.clock.now();
        let asked = self.services.store.acquire_lock(lock, LockMode::Exclusive, self.claim, now);
        let asked = self.until.run_until_ended(REFRESH, asked).await?;
        let LockTaken::Yes { fence } = asked.map_err(|error| failure(error, REFRESH))? else {
            return Ok(Renewer::Another(last));
        };
        match self.read_entry(key, REFRESH).await.map(|entry| self.if_fresh(entry, max_age)) {
            Ok(Err(last)) => Ok(Renewer::This { fence, last }),
            Ok(Ok(fresh)) => self.release_refresh(key, REFRESH).await.map(|()| Renewer::Nobody(fresh)),
            // The guest will not know that it has the entry, so no other run may be kept waiting for it.
            Err(CallError::Guest(error)) => self.release_refresh(key, REFRESH).await.and(Err(error.into())),
            Err(trap) => Err(trap),
        }
    }

    /// Returns the entry as `Ok` if it is younger than `max_age`, and otherwise as `Err`, as the last good value.
    fn if_fresh(&self, entry: Option<store::Entry>, max_age: Duration) -> Result<store::Entry, Option<store::Entry>> {
        let now = self.services.clock.now();
        match entry {
            Some(entry) if now.since(entry.set_at) < max_age => Ok(entry),
            old => Err(old),
        }
    }

    async fn release_refresh(&self, key: &str, in_call: &'static str) -> EntryResult<()> {
        let lock = self.lock_name(LockKind::Refresh, key.to_owned());
        let released = self.until.run_until_ended(in_call, self.services.store.release_lock(lock, self.claim)).await?;
        released.map_err(|error| failure(error, in_call))
    }

    /// Returns the entry as guests see it.
    fn shown(&self, entry: store::Entry) -> Entry {
        let age = self.services.clock.now().since(entry.set_at);
        self.count_received(&entry);
        Entry {
            value: entry.value,
            version: entry.version,
            set_at: u64::try_from(entry.set_at.as_millis()).unwrap_or(0),
            age: lengths::millis(age),
        }
    }
}

#[cfg(test)]
mod tests;
