//! Takes locks that all hosts on the same store share.

use std::fmt;
use std::time::Duration;

use crate::bindings::sexton::task::locks as wit;
use crate::request::milliseconds;

/// The reason why a lock was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Another run holds it, and did so to the end of the wait; or this run holds it already.
    Held,
    /// The lock's holder waits, directly or through others, for this run. Release all locks and take them again, in an
    /// order that all tasks keep; the others can go on once they are released. The run's log shows which runs waited
    /// for which.
    Deadlock,
    /// The task's manifest does not grant this name.
    AccessDenied,
    /// The name is empty, or longer than 256 bytes.
    BadName,
    /// The host's store had an error.
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("the lock is held"),
            Self::Deadlock => f.write_str("waiting for the lock would be a deadlock: its holder waits for this run"),
            Self::AccessDenied => f.write_str("the task is not granted this lock"),
            Self::BadName => f.write_str("a lock's name has 1 to 256 bytes"),
            Self::Other(why) => write!(f, "cannot take the lock: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// Begins to take the lock `name`: exclusively and without waiting, unless changed.
///
/// ```no_run
/// # fn run() -> Result<(), sexton_task::Failure> {
/// use std::time::Duration;
///
/// let ledger = sexton_task::lock("ledger").wait(Duration::from_secs(5)).acquire()?;
/// println!("fence {}", ledger.fence());
/// // Released here, and at the end of the run, however it ends.
/// # Ok(())
/// # }
/// ```
pub fn lock(name: &str) -> Lock<'_> {
    Lock { name, wait: Duration::ZERO, mode: wit::Mode::Exclusive }
}

/// A lock that has not been taken.
#[derive(Clone, Debug)]
#[must_use = "nothing is locked before `acquire`"]
pub struct Lock<'a> {
    name: &'a str,
    wait: Duration,
    mode: wit::Mode,
}

impl Lock<'_> {
    /// Waits for at most this long for the lock's holder. The time counts towards the run's deadline.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Shares the lock with all runs that share it, too.
    pub fn shared(mut self) -> Self {
        self.mode = wit::Mode::Shared;
        self
    }

    /// Takes the lock.
    ///
    /// # Errors
    ///
    /// [`Error::Held`] if it is still held at the end of the wait. A run that requests a lock it holds gets that error
    /// at once, because it would wait for itself. [`Error::Deadlock`], at once, if runs would wait for one another in a
    /// circle.
    pub fn acquire(self) -> Result<Guard, Error> {
        match wit::acquire(self.name, self.mode, milliseconds(self.wait)) {
            Ok(lock) => Ok(Guard { lock }),
            Err(wit::Error::Held) => Err(Error::Held),
            Err(wit::Error::Deadlock) => Err(Error::Deadlock),
            Err(wit::Error::AccessDenied) => Err(Error::AccessDenied),
            Err(wit::Error::BadName) => Err(Error::BadName),
            Err(wit::Error::Other(why)) => Err(Error::Other(why)),
        }
    }
}

/// A lock that this run holds until this is dropped.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct Guard {
    lock: wit::Lock,
}

impl Guard {
    /// Returns a number that is greater for each later holder of the same name.
    ///
    /// Send it along with a write, so that the receiver can refuse a write from a holder that has since lost the lock.
    pub fn fence(&self) -> u64 {
        self.lock.fence()
    }

    /// Holds the lock until the end of the run. The host releases it together with storing how the run ended, so the
    /// next holder begins after this run's output is its task's result.
    pub fn keep(self) {
        // The host has the lock by its run, and needs no handle for it.
        std::mem::forget(self);
    }
}
