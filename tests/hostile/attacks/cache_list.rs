//! Lists a thousand keys in a tight loop: it must end at its deadline, or when it has made more host calls than it may.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    loop {
        black_box(cache::list("hostile/", None)?);
    }
}
