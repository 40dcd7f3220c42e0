//! Hearing of the run's end before it comes.
//!
//! A run that is to end is told first, and interrupted after its grace (`grace` among the limits in its manifest). This is
//! for tasks that have something to put in order by then; all others need nothing of it, and are interrupted at once.
//!
//! ```no_run
//! use sexton_task::{Failure, cancellation};
//!
//! # fn next_page() -> Option<u32> { None }
//! # fn copy(_: u32) {}
//! fn run(_from: u32) -> Result<(), Failure> {
//!     while let Some(page) = next_page() {
//!         if let Some(reason) = cancellation::cancelled() {
//!             return Err(Failure::transient(format!("stopped before page {page}: {reason}")));
//!         }
//!         copy(page);
//!     }
//!     Ok(())
//! }
//! ```

use std::fmt;
use std::time::Duration;

use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::{Pollable, poll};

use crate::bindings::sexton::task::cancellation as wit;
use crate::request::nanoseconds;

/// Why the run is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Somebody asked for its end. What it returns is not its result, and it is not tried again.
    Killed,
    /// The host is being shut down. What it returns is its result; without one it is run again when a host is up.
    Shutdown,
    /// Less of its time is left than its grace.
    DeadlineNear,
    /// Another run takes its place. What it returns is not its result, and it is not tried again.
    Replaced,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "the run was killed",
            Self::Shutdown => "the host is being shut down",
            Self::DeadlineNear => "the deadline is near",
            Self::Replaced => "another run takes its place",
        })
    }
}

/// So that `?` gives up with it: a transient failure.
impl std::error::Error for Reason {}

impl From<wit::Reason> for Reason {
    fn from(reason: wit::Reason) -> Self {
        match reason {
            wit::Reason::Killed => Self::Killed,
            wit::Reason::Shutdown => Self::Shutdown,
            wit::Reason::DeadlineNear => Self::DeadlineNear,
            wit::Reason::Replaced => Self::Replaced,
        }
    }
}

/// Why the run is to end; `None` as long as nobody wants that. Cheap: a loop may ask in every round.
pub fn cancelled() -> Option<Reason> {
    wit::cancelled().map(Reason::from)
}

/// Something to wait for beside other pollables: ready as soon as [`cancelled`] gives a reason.
pub fn subscribe() -> Pollable {
    wit::subscribe()
}

/// Sleep for this long.
///
/// # Errors
///
/// The reason, as soon as there is one, if the run is to end.
pub fn sleep(time: Duration) -> Result<(), Reason> {
    let (told, over) = (subscribe(), monotonic_clock::subscribe_duration(nanoseconds(time)));
    poll(&[&told, &over]);
    cancelled().map_or(Ok(()), Err)
}
