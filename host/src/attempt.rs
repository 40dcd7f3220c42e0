//! What an attempt under way is: others end it, look at it and read its log through its [`RunHandle`]; what the host holds for its
//! guest is charged to its ledger; what its guest waits for ends with it by [`Until`].
//!
//! The guests' imports and the runtime stand on it. It knows no wasmtime.

mod all_memory;
mod handle;
mod interrupt;
mod ledger;
mod order;
mod refusals;
mod refused;
mod sampler;
pub(crate) mod stack;
mod usage;
mod virtual_time;

pub use handle::{LogLine, RunHandle, Stop, Wish};
pub use interrupt::{Interrupt, Until, Why};
pub use order::{Ended, Order};
pub use sampler::{Doing, TooManyWatch};
pub use usage::{Lane, Snapshot, Usage, Waiting};
pub use virtual_time::{Busy, Sleeper, VirtualTime};

pub(crate) use all_memory::AllMemory;
pub(crate) use ledger::{Charge, Ledger, NoRoom};
pub(crate) use refusals::{Refusal, Refusals};
#[cfg(test)]
pub(crate) use sampler::Sampler;
pub(crate) use sampler::{Looking, Sample, Taken};
pub(crate) use virtual_time::nap;
