//! Runs components within limits. With `imports`, the only place that knows wasmtime.
//!
//! It knows nothing of retries, schedules, or what a run is for: it loads a component, checks what it imports against
//! what its task is granted, and runs it once per [`Order`], to an [`Ended`].

pub mod bindings;
mod handle;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use handle::{LogLine, RunHandle, Stop};

use crate::catalog::Catalog;
use crate::imports::locks::LockWaits;
use crate::lifecycle::Ending;
use crate::run::{Claim, Report};
use crate::store::Store;
use crate::task::Task;
use crate::time::Clock;

/// How the runtime is set up.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Where compiled code is kept, by digest. Only this host may be able to write there: what lies in it is executed.
    pub code_cache: PathBuf,
    /// Threads that run guests. Fewer than cores starves guests, more makes them fight; 0 is one per core.
    pub guest_threads: usize,
    /// Runs at once, and instances that memory is reserved for.
    pub slots: u32,
    /// The most memory that any task may be given, in bytes (address space is reserved for it, per slot).
    pub max_memory: u64,
    /// How often a guest that does not yield is asked to. Longer is less overhead, and later ends.
    pub tick: Duration,
    /// Largest component file that is read, in bytes.
    pub max_component: u64,
}

/// What guests' imports work on.
#[derive(Debug)]
pub struct Services {
    /// Runs, locks and the cache.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The tasks there are, for the `schedule` import.
    pub catalog: Arc<Catalog>,
    /// Bytes that a tenant's cache entries may have together.
    pub cache_quota: u64,
    /// Who waits for which lock, on this host.
    pub lock_waits: Arc<LockWaits>,
}

/// One attempt to be made.
#[derive(Clone, Debug)]
pub struct Order {
    /// What was claimed.
    pub claim: Claim,
    /// The task, as it was when it was claimed.
    pub task: Arc<Task>,
    /// How others watch and end it.
    pub handle: Arc<RunHandle>,
}

/// An attempt that is over. Nothing of its guest is left.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What follows from it.
    pub ending: Ending,
    /// What is written down about it.
    pub report: Report,
    /// Set if the attempt was ended because its claim was lost: nothing may be written for it.
    pub claim_lost: bool,
}
