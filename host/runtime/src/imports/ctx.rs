//! Holds the context of the imports of one attempt.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::StoreContextMut;
use wasmtime::component::{HasData, ResourceTable};

use crate::attempt::{Ledger, LogLine, Order, Refusal, Refusals, RunEnd, RunHandle};
use sexton_domain::run::ClaimKey;
use sexton_domain::task::{Pattern, Task};
use sexton_store::{CacheKey, LockKind, LockName};

use super::Services;

/// The context of the imports of one attempt. It lives as long as the attempt's wasmtime store.
pub struct ImportsCtx {
    pub(super) services: Arc<Services>,
    pub(super) task: Arc<Task>,
    pub(super) claim: ClaimKey,
    pub(super) handle: Arc<RunHandle>,
    /// The account of the bytes that the host holds for the guest.
    pub(super) ledger: Arc<Ledger>,
    pub(super) until: RunEnd,
    /// The end of the attempt by the real clock, which differs from `until` if the guest lives in virtual time.
    pub(super) real_deadline: Instant,
    pub(super) refusals: Refusals,
    /// The states of the capabilities that the guest has used and that keep one.
    states: Vec<Box<dyn Any + Send + Sync>>,
}

/// The state of one capability in one attempt, created when the guest first uses the capability.
pub(super) trait State: Any + Send + Sync {
    /// Creates the state in the attempt of `ctx`.
    fn begin(ctx: &ImportsCtx) -> Self;
}

impl ImportsCtx {
    /// Creates the context of the attempt `order`, which ends at `deadline` at the latest and charges its memory to
    /// `ledger`.
    pub(crate) fn new(services: Arc<Services>, order: &Order, deadline: Instant, ledger: Arc<Ledger>) -> Self {
        let (task, handle) = (Arc::clone(&order.task), Arc::clone(&order.handle));
        Self {
            until: RunEnd::new(Arc::clone(&handle), deadline),
            real_deadline: deadline,
            refusals: Refusals::new(Arc::clone(&task), Arc::clone(&handle), Arc::clone(&services.clock)),
            ledger,
            services,
            task,
            claim: order.claim.key,
            handle,
            states: Vec::new(),
        }
    }

    /// Notes that the guest was refused something that its task is not granted.
    pub(crate) fn refuses(&self, refusal: Refusal<'_>) {
        self.refusals.note(refusal);
    }

    /// Returns the state of a capability in this attempt, and creates it at the first use.
    pub(super) fn state<S: State>(&mut self) -> &mut S {
        let place = match self.states.iter().position(|state| state.is::<S>()) {
            Some(place) => place,
            None => {
                let state = S::begin(self);
                self.states.push(Box::new(state));
                self.states.len() - 1
            }
        };
        self.states[place].downcast_mut().expect("the place of a state of this type was looked up")
    }

    /// Returns the state of a capability in this attempt for reading, or `None` before the first use.
    pub(super) fn known_state<S: State>(&self) -> Option<&S> {
        self.states.iter().find_map(|state| state.downcast_ref())
    }

    /// Writes a warning of the host into the run's log.
    pub(super) fn warn(&self, message: String) {
        self.handle.log(LogLine { at: self.services.clock.now(), level: "warn".to_owned(), message });
    }

    pub(super) fn lock_name(&self, kind: LockKind, name: String) -> LockName {
        LockName { tenant: self.task.key.tenant.clone(), kind, name }
    }

    pub(super) fn cache_key(&self, key: String) -> CacheKey {
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
    /// The context.
    pub ctx: &'a mut ImportsCtx,
    /// The guest's handles. Its capacity bounds how many locks and renewals a guest may hold.
    pub table: &'a mut ResourceTable,
}

/// Gives the imports their context in a store's data.
pub trait ImportsView: Send + 'static {
    /// Returns the context and the table.
    fn imports(&mut self) -> ImportsCtxView<'_>;

    /// Captures the stack of a guest for the runtime. Imports call it before a long wait in a host call.
    fn rests(_guest: &mut StoreContextMut<'_, Self>)
    where
        Self: Sized,
    {
    }
}

/// Tells generated bindings that an [`ImportsCtxView`] implements every interface for the host.
pub(super) struct Imports;

impl HasData for Imports {
    type Data<'a> = ImportsCtxView<'a>;
}

/// The longest lock name, cache key or idempotency key that a guest may send, in bytes, because they become keys of the
/// store.
pub(super) const LONGEST_NAME: usize = 256;

/// The largest cache value and run input that a guest may send, in bytes.
pub const LARGEST_VALUE: usize = 1 << 20;

/// Returns whether a guest may use `text` as a name. Keys of the store are neither empty nor long.
pub(super) fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
}

/// Returns whether one of a task's granted patterns covers `name`.
pub(super) fn is_granted(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}
