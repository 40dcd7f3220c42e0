//! Counts what a guest has used, and enforces what it may use.
//!
//! This module covers memory, tables, and the number of host calls; wasmtime counts fuel, and `watch` enforces the
//! deadline.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{CallHook, ResourceLimiter};

use crate::attempt::{ChargeError, Ledger};
use sexton_domain::task::Limits;

/// A limit that a guest reached in a host call, which ends it with a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    /// The guest made more calls than this.
    HostCalls(u64),
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostCalls(limit) => write!(f, "made more than {limit} host calls"),
        }
    }
}

impl std::error::Error for Breach {}

/// Bytes of tables and of core instances that no run is charged for. Components of compilers need less, and are charged
/// for what they do rather than for how they are built.
const FREE: u64 = 64 << 10;

/// An element of a table of functions, which is a pointer.
const ELEMENT: u64 = size_of::<usize>() as u64;

/// Linear memory and tables: how much is in use, and whether more was asked for than allowed.
#[derive(Debug)]
pub(super) struct Space {
    /// Linear memory, and what the host holds for the guest.
    pub(super) ledger: Arc<Ledger>,
    /// Bytes of tables and core instances.
    state: u64,
    elements: u64,
    elements_limit: u64,
    /// The reason that memory was refused, if it was.
    pub(super) memory_refused: Option<ChargeError>,
    /// Whether table elements were refused.
    pub(super) table_refused: bool,
}

impl Space {
    pub(super) fn new(limits: &Limits, ledger: Arc<Ledger>) -> Self {
        let elements_limit = limits.table_elements;
        Self { ledger, state: 0, elements: 0, elements_limit, memory_refused: None, table_refused: false }
    }

    /// Adds `bytes` of tables or core instances, which stay until the end of the attempt.
    ///
    /// # Errors
    ///
    /// [`ChargeError`] if that is more than the attempt may have.
    pub(super) fn holds(&mut self, bytes: u64) -> Result<(), ChargeError> {
        let state = self.state.saturating_add(bytes);
        let charged = |state: u64| state.saturating_sub(FREE);
        self.ledger.keep(charged(state) - charged(self.state)).map_err(|no_room| no_room.for_state(state))?;
        self.state = state;
        Ok(())
    }
}

/// Returns `total` after one part of it grows, or `None` if that is over the limit.
fn grown(total: u64, limit: u64, current: usize, desired: usize) -> Option<u64> {
    let total = total.saturating_sub(current as u64).checked_add(desired as u64)?;
    (total <= limit).then_some(total)
}

impl ResourceLimiter for Space {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            // A module that grows past the maximum it declared itself has not hit a limit of ours.
            return Ok(false);
        }
        let grown = self.ledger.grow(desired.saturating_sub(current) as u64);
        self.memory_refused = grown.err().or(self.memory_refused);
        Ok(grown.is_ok())
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // The task's limit allowed it, but the pool, which has `max_memory` for each, refused.
        self.memory_refused = Some(self.ledger.no_room());
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        let total = grown(self.elements, self.elements_limit, current, desired);
        match total.filter(|_| fits) {
            Some(total) => {
                let held = self.holds((desired.saturating_sub(current) as u64).saturating_mul(ELEMENT));
                self.memory_refused = held.err().or(self.memory_refused);
                if held.is_ok() {
                    self.elements = total;
                }
                Ok(held.is_ok())
            }
            None => {
                self.table_refused |= total.is_none();
                Ok(false)
            }
        }
    }
}

/// Counts calls to the host, and the time in them.
#[derive(Debug)]
pub(super) struct Meter {
    /// Calls, including yields.
    calls: u64,
    limit: u64,
    /// Time in host calls, including the time between a yield and its next turn.
    host: Duration,
    since: Option<Instant>,
    /// When the guest last went on after a call.
    went_on: Option<Instant>,
}

impl Meter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { calls: 0, limit: limits.host_calls, host: Duration::ZERO, since: None, went_on: None }
    }

    /// Counts a crossing between guest and host, after so many `yields` of the guest.
    ///
    /// # Errors
    ///
    /// [`Breach::HostCalls`] for the first call that is one too many.
    pub(super) fn count_crossing(&mut self, hook: CallHook, yields: u64) -> Result<(), Breach> {
        if hook.exiting_host() {
            if let Some(since) = self.since.take() {
                let now = Instant::now();
                self.host += now.duration_since(since);
                self.went_on = Some(now);
            }
            return Ok(());
        }
        self.since = Some(Instant::now());
        if matches!(hook, CallHook::CallingHost) {
            self.calls += 1;
            if self.calls.saturating_sub(yields) > self.limit {
                return Err(Breach::HostCalls(self.limit));
            }
        }
        Ok(())
    }

    /// Returns when the guest entered the host, if it is there.
    pub(super) fn in_host_since(&self) -> Option<Instant> {
        self.since
    }

    /// Returns when the guest last went on after a call.
    pub(super) fn resumed_at(&self) -> Option<Instant> {
        self.went_on
    }

    /// Returns the calls that the guest made itself, without its `yields`, which wasmtime counts as calls, too.
    pub(super) fn host_calls(&self, yields: u64) -> u64 {
        self.calls.saturating_sub(yields)
    }

    /// Returns the time in those calls, without the time in which the guest was `queued` for its next turn after a
    /// yield.
    pub(super) fn host_time(&self, queued: Duration) -> Duration {
        self.host.saturating_sub(queued)
    }
}
