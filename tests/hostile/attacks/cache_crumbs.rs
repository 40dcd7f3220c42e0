//! Writes small entries in a tight loop: it must end at its deadline, and a well-behaved task's runs must be written down in time all the same.

use crate::prelude::*;

pub(crate) fn run(request: &Request) -> Result<Output, Failure> {
    for n in 0_u64.. {
        cache::set(&format!("hostile/crumbs/{}", n % 1000), request.run_id.as_bytes(), Some(Duration::from_secs(5)))?;
    }
    unreachable!()
}
