//! Asks for more runs than it may, far in the future: the hundred-and-first must be refused, and so must one that no calendar knows.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let mut made = 0;
    while made <= 100 {
        match schedule::enqueue("hostile-schedule-far").after(Duration::MAX).input(vec![0; 1 << 10]).send() {
            Ok(_) => made += 1,
            Err(schedule::Error::TooLarge) => return Ok(Output::empty()),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::permanent(format_args!("one attempt made {made} runs")))
}
