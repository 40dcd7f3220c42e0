//! Takes as many locks as it can and sits on them: it must end, by its handles or at its deadline, and all of them must be free then.

use crate::prelude::*;

pub(crate) fn run(request: &Request) -> Result<Output, Failure> {
    let mut hoard = Vec::new();
    for n in 0..100_000 {
        hoard.push(lock(&format!("hostile/hoard/{}/{n}", request.run_id)).acquire()?);
    }
    spin()
}
