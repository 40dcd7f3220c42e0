//! Learns that the run must end, before it is interrupted.
//!
//! A run that must end is told first, and interrupted after its grace (`grace` among the limits in its manifest). This
//! is for tasks that have something to put in order by then. All others do not need this module, and are interrupted at
//! once.
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

/// The reason why the run must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A user ended the run. Its return value is not its result, and it is not tried again.
    Killed,
    /// The host is shutting down. The run's return value is its result; without one the run is repeated when a host is
    /// up.
    Shutdown,
    /// Less time is left than the grace: the deadline is near, or the run was idle for as long as it may be.
    DeadlineNear,
    /// Another run replaces this one. Its return value is not its result, and it is not tried again.
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

/// Lets `?` return the reason as a transient failure.
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

/// Returns the reason why the run must end; `None` while there is none. It is cheap enough to be called in every round
/// of a loop.
pub fn cancelled() -> Option<Reason> {
    wit::cancelled().map(Reason::from)
}

/// Returns a pollable to wait for beside others. It is ready as soon as [`cancelled`] returns a reason.
pub fn subscribe() -> Pollable {
    wit::subscribe()
}

/// Returns the time until the run is interrupted; `None` while there is no reason to end. A host that shuts down may
/// interrupt the run earlier.
pub fn time_left() -> Option<Duration> {
    wit::time_left().map(Duration::from_millis)
}

/// Returns a pollable to wait for beside others. It is ready as soon as the host insists, which it does if the task's
/// `ladder` says when.
pub fn subscribe_insisted() -> Pollable {
    wit::subscribe_insisted()
}

/// Sleeps for this long.
///
/// # Errors
///
/// The reason, as soon as there is one, if the run must end.
pub fn sleep(time: Duration) -> Result<(), Reason> {
    let (told, over) = (subscribe(), monotonic_clock::subscribe_duration(nanoseconds(time)));
    poll(&[&told, &over]);
    cancelled().map_or(Ok(()), Err)
}
