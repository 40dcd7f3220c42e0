//! Hands the host a list of 12 MiB: it must trap, before the host has copied it.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    black_box(cache::set("hostile/list", &vec![7; 12 << 20], None).is_ok());
    Err(Failure::permanent("the host took a list of 12 MiB"))
}
