//! Holds functions that most attacks need.

use std::fmt::Display;

pub(crate) use std::hint::black_box;
pub(crate) use std::time::Duration;

pub(crate) use sexton_task::{Begun, Failure, Output, Request, cache, http, lock, log, schedule, section, settings};

/// Spins for ever, in a function whose name a stack can show.
#[inline(never)]
pub(crate) fn spin() -> ! {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

/// Returns an empty output if `holds`. Otherwise the host let something happen that it must not.
pub(crate) fn must(holds: bool, otherwise: impl Display) -> Result<Output, Failure> {
    if holds { Ok(Output::empty()) } else { Err(Failure::permanent(otherwise)) }
}
