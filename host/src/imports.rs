//! What a guest may use: one file per WIT interface. Each checks what the guest sends before anything else.
//!
//! The runtime keeps an [`ImportsCtx`] in its store's data, says so with [`ImportsView`], and links, interface by
//! interface, what a task is granted ([`log::add_to_linker`], [`locks::add_to_linker`], ...). What is granted inside an
//! interface (which locks, which keys, which hosts) is checked here, at every call.
//!
//! Errors that a guest can act on are the WIT errors of each interface. What ends the run instead, the deadline, a kill
//! or a lost claim, is an [`Interrupt`], raised inside the host function so that the trap carries the guest's stack.

pub mod bindings;
pub mod cache;
pub mod cancellation;
pub(crate) mod held_stream;
pub mod http;
pub mod locks;
pub mod log;
pub mod schedule;
mod services;
pub mod settings;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::{HasData, ResourceTable};

pub use services::Services;

use crate::attempt::{Interrupt, Ledger, Order, Refusal, Refusals, RunHandle, Stop, Until, Why};
use crate::run::ClaimKey;
use crate::store::{CacheKey, LockKind, LockMode, LockName, StoreError};
use crate::task::{Pattern, Task};

/// What the imports of one attempt work on. Lives as long as the attempt's wasmtime store.
pub struct ImportsCtx {
    services: Arc<Services>,
    task: Arc<Task>,
    claim: ClaimKey,
    handle: Arc<RunHandle>,
    /// What the host holds for the guest is charged to it.
    ledger: Arc<Ledger>,
    until: Until,
    refusals: Refusals,
    http: http::HttpCtx,
    /// The locks that the guest has handles to: asking for one of these again would be waiting for itself.
    locks: HashMap<Arc<LockName>, LockMode>,
    /// Keys of the entries that the guest is renewing.
    renewals: HashSet<String>,
    /// Whether its log says that it may not have more of the cache.
    told_full: bool,
    /// Whether its log says that no further run may wait.
    told_backlog: bool,
    /// Runs that it has asked for.
    enqueued: u32,
    /// How often it has asked to be continued.
    continued: u32,
}

impl ImportsCtx {
    /// The context of the attempt `order`, which is over at `deadline`, however it goes, and whose memory is that of `ledger`.
    pub(crate) fn new(services: Arc<Services>, order: &Order, deadline: Instant, ledger: Arc<Ledger>) -> Self {
        let until = Until::new(Arc::clone(&order.handle), deadline);
        let (task, handle) = (Arc::clone(&order.task), Arc::clone(&order.handle));
        let refusals = Refusals::new(task, handle, Arc::clone(&services.clock));
        let real_until = Until::by_real_time(Arc::clone(&order.handle), deadline);
        Self {
            http: http::HttpCtx::new(&order.task.grants.http, real_until, Arc::clone(&ledger), refusals.clone()),
            ledger,
            refusals,
            services,
            task: Arc::clone(&order.task),
            claim: order.claim.key,
            handle: Arc::clone(&order.handle),
            until,
            locks: HashMap::new(),
            renewals: HashSet::new(),
            told_full: false,
            told_backlog: false,
            enqueued: 0,
            continued: 0,
        }
    }

    /// What ends the attempt from outside, for waits that are not in this module (`wasi:io/poll`, clocks).
    pub fn until(&self) -> Until {
        self.until.clone()
    }

    /// Notes that the guest was refused something that its task is not granted.
    pub(crate) fn refuses(&self, refusal: Refusal<'_>) {
        self.refusals.note(refusal);
    }

    fn lock_name(&self, kind: LockKind, name: String) -> LockName {
        LockName { tenant: self.task.key.tenant.clone(), kind, name }
    }

    fn cache_key(&self, key: String) -> CacheKey {
        CacheKey { tenant: self.task.key.tenant.clone(), key }
    }
}

impl fmt::Debug for ImportsCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportsCtx").field("task", &self.task.key).field("claim", &self.claim).finish_non_exhaustive()
    }
}

/// The context together with the table that the guest's handles point into.
#[derive(Debug)]
pub struct ImportsCtxView<'a> {
    /// What the imports work on.
    pub ctx: &'a mut ImportsCtx,
    /// The guest's handles. Its capacity bounds how many locks and renewals a guest may hold.
    pub table: &'a mut ResourceTable,
}

/// How the imports find their context in a store's data.
pub trait ImportsView: Send {
    /// The context and the table.
    fn imports(&mut self) -> ImportsCtxView<'_>;
}

/// Says to the generated bindings that the host's side of every interface is an [`ImportsCtxView`].
struct Imports;

impl HasData for Imports {
    type Data<'a> = ImportsCtxView<'a>;
}

/// What the host takes for a handle, in bytes, whatever that is of: places in two tables, and a small thing of its own.
pub(crate) const HANDLE: usize = 512;

/// What the host holds in a table of handles, in bytes, besides what is charged where it is made.
pub(crate) fn held_by(table: &mut ResourceTable) -> u64 {
    table.iter_mut().map(|entry| (HANDLE + http::held_by(entry) + locks::held_by(entry)) as u64).sum()
}

/// Longest lock name, cache key or idempotency key that a guest may send, in bytes: they become keys of the store.
const LONGEST_NAME: usize = 256;

/// Largest cache value and input of a run that a guest may send, in bytes.
const LARGEST_VALUE: usize = 1 << 20;

fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
}

fn granted(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

/// The guest's word for a failure of the store, or the trap where the claim is lost.
///
/// The store's own words stay with the host: they may name its files.
fn store_failure(error: StoreError, in_call: &'static str) -> Result<String, Interrupt> {
    match error {
        StoreError::ClaimLost(_) => Err(Interrupt { why: Why::Stopped(Stop::ClaimLost), in_call }),
        StoreError::DiskFull(_) => Ok("the host's disk is full".to_owned()),
        error => {
            tracing::warn!(call = in_call, error = %error, "The store failed a guest's call");
            Ok("the host's store failed".to_owned())
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use wasmtime::Engine;
    use wasmtime::component::Linker;

    use super::*;

    #[test]
    fn all_interfaces_can_be_linked_side_by_side() {
        let mut linker: Linker<testing::Guest> = Linker::new(&Engine::default());

        log::add_to_linker(&mut linker).unwrap();
        settings::add_to_linker(&mut linker).unwrap();
        cancellation::add_to_linker(&mut linker).unwrap();
        locks::add_to_linker(&mut linker).unwrap();
        cache::add_to_linker(&mut linker).unwrap();
        schedule::add_to_linker(&mut linker).unwrap();
        http::add_types_to_linker(&mut linker).unwrap();
        http::add_to_linker(&mut linker).unwrap();
    }
}
