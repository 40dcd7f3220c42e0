//! Computes until its fuel is used up: it must end as out of fuel, whatever time it has left.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    spin()
}
