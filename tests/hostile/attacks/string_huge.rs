//! Hands the host a string of 12 MiB: it must trap, before the host has copied it.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    black_box(settings::get(&"k".repeat(12 << 20)));
    Err(Failure::permanent("the host took a string of 12 MiB"))
}
