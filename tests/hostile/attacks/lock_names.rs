//! Takes and lets go of 100,000 locks, each by a name of its own: it must end at its deadline or be done, and no lock must be left.

use crate::prelude::*;

pub(crate) fn run(request: &Request) -> Result<Output, Failure> {
    for n in 0..100_000 {
        let _taken = lock(&format!("hostile/names/{}/{n}", request.run_id)).acquire()?;
    }
    Ok(Output::empty())
}
