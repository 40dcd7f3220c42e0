//! Holds the state of an attempt in progress. Other parts of the host end it, watch it and read its log through its
//! [`RunHandle`]. The memory that the host holds for its guest is charged to its ledger. [`RunEnd`] ends the guest's
//! waits together with the attempt.
//!
//! The guests' imports and the runtime build on this module. It knows no wasmtime.

mod all_memory;
mod handle;
mod interrupt;
mod ledger;
mod order;
mod pulse;
mod refusal_log;
mod refusals;
mod sampler;
pub(crate) mod stack;
mod usage;
mod virtual_time;

pub(crate) use handle::HowItEnds;
pub use handle::{CancelReason, LogLine, RunHandle, Stop};
pub use interrupt::{Interrupt, InterruptReason, RunEnd};
pub use order::{Ended, Order};
pub use sampler::{Activity, TooManyObservers};
pub use usage::{Lane, Snapshot, Usage, Waiting};
pub use virtual_time::{Busy, Sleeper, VirtualTime};

pub(crate) use all_memory::AllMemory;
pub(crate) use ledger::{Charge, ChargeError, Ledger};
pub(crate) use refusals::{Refusal, Refusals};
#[cfg(test)]
pub(crate) use sampler::Sampler;
pub(crate) use sampler::{Observation, Sample, Samples};
pub(crate) use virtual_time::sleep_while;
