//! Calls itself for ever: it must trap when its own stack is used up, and the host's stack must not be.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    deeper(0);
    Err(Failure::permanent("endless recursion came to an end"))
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "this is the attack")]
fn deeper(depth: u64) -> u64 {
    // The addition after the call keeps it from being compiled to a loop.
    black_box(deeper(black_box(depth + 1))) + depth
}
