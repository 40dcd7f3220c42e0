//! Waits a year for a lock that another run has, or spins with it: each must end at its deadline, and no run must be left in the queue.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let _taken = lock("hostile/queue").wait(Duration::from_secs(365 * 24 * 3600)).acquire()?;
    spin()
}
