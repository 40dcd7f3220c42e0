//! Writes entries of a megabyte without end: it must be refused at the cache's quota, or end at its deadline, and the quota must hold.

use crate::prelude::*;

pub(crate) fn run(request: &Request) -> Result<Output, Failure> {
    let value = vec![b'c'; 1 << 20];
    for n in 0_u64.. {
        match cache::set(&format!("hostile/fill/{}/{n}", request.run_id), &value, None) {
            Ok(_) => {}
            Err(cache::Error::TooLarge) => return Ok(Output::empty()),
            Err(error) => return Err(error.into()),
        }
    }
    unreachable!()
}
