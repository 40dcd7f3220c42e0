//! Asks for more runs than it may, far in the future: the hundred-and-first must be refused, and so must one that no calendar knows.

use crate::prelude::*;

/// Far in the future, and within the default horizon of a host.
const YEARS: Duration = Duration::from_secs(9 * 365 * 24 * 3600);

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    if schedule::enqueue("hostile-schedule-far").after(Duration::MAX).send().is_ok() {
        return Err(Failure::permanent("a run was made that is due at no instant"));
    }
    let mut made = 0;
    while made <= 100 {
        match schedule::enqueue("hostile-schedule-far").after(YEARS).input(vec![0; 1 << 10]).send() {
            Ok(_) => made += 1,
            Err(schedule::Error::TooLarge) => return Ok(Output::empty()),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::permanent(format_args!("one attempt made {made} runs")))
}
