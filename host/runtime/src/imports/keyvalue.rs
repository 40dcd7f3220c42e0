//! The `wasi:keyvalue` imports: entries of the tenant's cache, for components that know nothing of Sexton.
//!
//! The only bucket is the cache of the task's tenant, with the name `default` or an empty one. A task may use the cache
//! keys that its manifest grants. Entries count against the same quota and budget, and a run that has lost its claim
//! changes nothing. Entries that are set this way do not expire. A number that `increment` adds to is kept as decimal
//! text.

use wasmtime::component::{Linker, Resource};

use sexton_domain::task::{Grants, Task};
use sexton_store::WriteIf;

use super::cache::{EntryError, MANIFEST_LINE, PAGE};
use super::call_error::CallError;
use super::capability::{Capability, Interface};
use super::{Imports, ImportsCtx, ImportsCtxView, ImportsView};
use bindings::wasi::keyvalue::atomics::{self, CasError, Host as HostAtomics, HostCas};
use bindings::wasi::keyvalue::batch::{self, Host as HostBatch};
use bindings::wasi::keyvalue::store::{self, Error, Host as HostStore, HostBucket, KeyResponse};
pub use handles::{Bucket, Cas};

mod handles {
    //! Defines the things that guests hold handles to.

    /// The tenant's cache. The handle needs no data.
    #[derive(Debug)]
    pub struct Bucket;

    /// A swap that has begun.
    #[derive(Debug)]
    pub struct Cas {
        pub(super) key: String,
        /// The version of the entry that the guest knows; `None` if there was no entry.
        pub(super) version: Option<u64>,
    }
}

mod bindings {
    //! Holds the interfaces in Rust, as wasmtime generates them.

    wasmtime::component::bindgen!({
        path: "../../wit/deps/wasi-keyvalue.wit",
        inline: "package sexton:keyvalue-imports; world imports {
            import wasi:keyvalue/store@0.2.0-draft2;
            import wasi:keyvalue/atomics@0.2.0-draft2;
            import wasi:keyvalue/batch@0.2.0-draft2;
        }",
        world: "sexton:keyvalue-imports/imports",
        imports: {
            "wasi:keyvalue/store.open": trappable,
            "wasi:keyvalue/store.[drop]bucket": trappable,
            "wasi:keyvalue/atomics.[drop]cas": trappable,
            default: async | trappable,
        },
        with: {
            "wasi:keyvalue/store.bucket": super::handles::Bucket,
            "wasi:keyvalue/atomics.cas": super::handles::Cas,
        },
        trappable_error_type: {
            "wasi:keyvalue/store.error" => super::StoreError,
            "wasi:keyvalue/atomics.cas-error" => super::SwapError,
        },
    });
}

/// The failure of a call.
pub type StoreError = CallError<Error>;

/// The failure of a swap.
pub type SwapError = CallError<CasError>;

/// Names of the bucket: none, and the name that is usual on other hosts.
const BUCKETS: [&str; 2] = ["", "default"];

/// The most keys that one call of `batch` may name. Each is a request to the store.
const MOST_KEYS: usize = 1000;

/// The number of times that an increment is tried when other runs change the number at the same time.
const MOST_TRIES: u32 = 100;

const VERSION: &str = "0.2.0-draft2";

/// The capability to use the tenant's cache through WASI's interfaces. It is granted with the keys of the cache.
#[derive(Debug)]
pub struct KeyValue;

impl<T: ImportsView> Capability<T> for KeyValue {
    fn interfaces(&self) -> &'static [Interface] {
        const fn of(name: &'static str) -> Interface {
            Interface { package: "wasi:keyvalue", name, version: VERSION }
        }
        const { &[of("store"), of("atomics"), of("batch")] }
    }

    fn is_granted(&self, grants: &Grants) -> bool {
        !grants.cache.is_empty()
    }

    fn manifest_line(&self, _: &Task) -> String {
        MANIFEST_LINE.to_owned()
    }

    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        store::add_to_linker::<T, Imports>(linker, T::imports)?;
        atomics::add_to_linker::<T, Imports>(linker, T::imports)?;
        batch::add_to_linker::<T, Imports>(linker, T::imports)
    }

    fn held_by(&self, entry: &(dyn std::any::Any + Send)) -> usize {
        entry.downcast_ref::<Cas>().map_or(0, |cas| cas.key.len())
    }
}

impl From<EntryError> for Error {
    fn from(error: EntryError) -> Self {
        match error {
            EntryError::AccessDenied => Self::AccessDenied,
            EntryError::BadKey => Self::Other("a key has 1 to 256 bytes".to_owned()),
            EntryError::TooLarge => Self::Other(
                "the value is over 1 MiB, or the tenant's share of the cache, or the task's own, would be exceeded"
                    .to_owned(),
            ),
            EntryError::Conflict => Self::Other("other runs change the value all the time".to_owned()),
            EntryError::Other(message) => Self::Other(message),
        }
    }
}

impl From<EntryError> for StoreError {
    fn from(error: EntryError) -> Self {
        Self::Guest(error.into())
    }
}

impl From<CallError<EntryError>> for StoreError {
    fn from(error: CallError<EntryError>) -> Self {
        error.map(Error::from)
    }
}

impl From<StoreError> for SwapError {
    fn from(error: StoreError) -> Self {
        error.map(CasError::StoreError)
    }
}

fn other(message: impl Into<String>) -> StoreError {
    StoreError::Guest(Error::Other(message.into()))
}

impl HostStore for ImportsCtxView<'_> {
    fn open(&mut self, identifier: String) -> Result<Resource<Bucket>, StoreError> {
        if !BUCKETS.contains(&identifier.as_str()) {
            return Err(StoreError::Guest(Error::NoSuchStore));
        }
        Ok(self.table.push(Bucket)?)
    }

    fn convert_error(&mut self, error: StoreError) -> wasmtime::Result<Error> {
        error.into_guest()
    }
}

impl HostBucket for ImportsCtxView<'_> {
    async fn get(&mut self, _: Resource<Bucket>, key: String) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.ctx.value(&key, "keyvalue.get").await?.map(|(_, value)| value))
    }

    async fn set(&mut self, _: Resource<Bucket>, key: String, value: Vec<u8>) -> Result<(), StoreError> {
        self.ctx.set_value(key, value, "keyvalue.set").await
    }

    async fn delete(&mut self, _: Resource<Bucket>, key: String) -> Result<(), StoreError> {
        self.ctx.delete_value(key, "keyvalue.delete").await
    }

    async fn exists(&mut self, _: Resource<Bucket>, key: String) -> Result<bool, StoreError> {
        self.ctx.check_key(&key)?;
        Ok(self.ctx.read_entry(&key, "keyvalue.exists").await?.is_some())
    }

    async fn list_keys(&mut self, _: Resource<Bucket>, cursor: Option<String>) -> Result<KeyResponse, StoreError> {
        let keys = self.ctx.list_entries("", cursor, "keyvalue.list-keys").await?;
        let cursor = keys.last().filter(|_| keys.len() == PAGE).cloned();
        Ok(KeyResponse { keys, cursor })
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl HostAtomics for ImportsCtxView<'_> {
    async fn increment(&mut self, _: Resource<Bucket>, key: String, delta: i64) -> Result<i64, StoreError> {
        const CALL: &str = "keyvalue.increment";
        for _ in 0..MOST_TRIES {
            let (only, number) = match self.ctx.value(&key, CALL).await? {
                Some((version, value)) => (WriteIf::Version(version), number(&value).ok_or_else(|| other(NO_NUMBER))?),
                None => (WriteIf::Absent, 0),
            };
            let sum =
                number.checked_add(delta).ok_or_else(|| other("the sum does not fit a signed number of 64 bits"))?;
            match self.ctx.write_entry(key.clone(), sum.to_string().into_bytes(), None, only, CALL).await {
                Err(CallError::Guest(EntryError::Conflict)) => {}
                written => return Ok(written.map(|_| sum)?),
            }
        }
        Err(EntryError::Conflict.into())
    }

    async fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> Result<(), SwapError> {
        const CALL: &str = "keyvalue.swap";
        let Cas { key, version } = self.table.delete(cas)?;
        let only = version.map_or(WriteIf::Absent, WriteIf::Version);
        match self.ctx.write_entry(key.clone(), value, None, only, CALL).await {
            Ok(_) => Ok(()),
            Err(CallError::Guest(EntryError::Conflict)) => {
                let latest = self.ctx.begin_swap(key, CALL).await?;
                Err(SwapError::Guest(CasError::CasFailed(self.table.push(latest)?)))
            }
            Err(error) => Err(StoreError::from(error).into()),
        }
    }

    fn convert_cas_error(&mut self, error: SwapError) -> wasmtime::Result<CasError> {
        error.into_guest()
    }
}

/// The error for adding to a value that is not a number.
const NO_NUMBER: &str = "the value is not a decimal number";

/// Returns the number that a value contains.
fn number(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

impl HostCas for ImportsCtxView<'_> {
    async fn new(&mut self, _: Resource<Bucket>, key: String) -> Result<Resource<Cas>, StoreError> {
        let cas = self.ctx.begin_swap(key, "keyvalue.cas.new").await?;
        Ok(self.table.push(cas)?)
    }

    /// Reads the value again, so that the host keeps nothing of it. The swap then replaces the value that was returned.
    async fn current(&mut self, cas: Resource<Cas>) -> Result<Option<Vec<u8>>, StoreError> {
        let key = self.table.get(&cas)?.key.clone();
        let (version, value) = self.ctx.value(&key, "keyvalue.cas.current").await?.unzip();
        self.table.get_mut(&cas)?.version = version;
        Ok(value)
    }

    fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}

impl HostBatch for ImportsCtxView<'_> {
    async fn get_many(
        &mut self,
        _: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, StoreError> {
        check_count(keys.len())?;
        let mut values = Vec::with_capacity(keys.len());
        // The host holds the values until it has read them all.
        let mut charges = Vec::new();
        for key in keys {
            let value = self.ctx.value(&key, "keyvalue.get-many").await?;
            charges.push(self.ctx.ledger.charge(value.as_ref().map_or(0, |(_, value)| value.len()))?);
            values.push(value.map(|(_, value)| (key, value)));
        }
        Ok(values)
    }

    async fn set_many(&mut self, _: Resource<Bucket>, values: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        check_count(values.len())?;
        for (key, value) in values {
            self.ctx.set_value(key, value, "keyvalue.set-many").await?;
        }
        Ok(())
    }

    async fn delete_many(&mut self, _: Resource<Bucket>, keys: Vec<String>) -> Result<(), StoreError> {
        check_count(keys.len())?;
        for key in keys {
            self.ctx.delete_value(key, "keyvalue.delete-many").await?;
        }
        Ok(())
    }
}

fn check_count(keys: usize) -> Result<(), StoreError> {
    if keys > MOST_KEYS {
        return Err(other(format!("one call may name at most {MOST_KEYS} keys")));
    }
    Ok(())
}

impl ImportsCtx {
    /// Returns the version and the value of `key`.
    async fn value(&self, key: &str, in_call: &'static str) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        self.check_key(key)?;
        let entry = self.read_entry(key, in_call).await?;
        Ok(entry.inspect(|entry| self.count_received(entry)).map(|entry| (entry.version, entry.value)))
    }

    async fn set_value(&mut self, key: String, value: Vec<u8>, in_call: &'static str) -> Result<(), StoreError> {
        self.check_key(&key)?;
        self.write_entry(key, value, None, WriteIf::Always, in_call).await?;
        Ok(())
    }

    async fn delete_value(&self, key: String, in_call: &'static str) -> Result<(), StoreError> {
        self.check_key(&key)?;
        Ok(self.delete_entry(key, in_call).await?)
    }

    /// Begins a swap of the present value.
    async fn begin_swap(&self, key: String, in_call: &'static str) -> Result<Cas, StoreError> {
        self.check_key(&key)?;
        let version = self.read_entry(&key, in_call).await?.map(|entry| entry.version);
        Ok(Cas { key, version })
    }
}

#[cfg(test)]
mod tests;
