//! Enqueues itself twice, and so does each of those: how many runs wait must be bounded, and the host must stay prompt.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    for _ in 0..2 {
        schedule::enqueue("hostile-schedule-bomb").send()?;
    }
    Ok(Output::empty())
}
