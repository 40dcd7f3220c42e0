//! Aborts: it must end as trapped.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    std::process::abort()
}
