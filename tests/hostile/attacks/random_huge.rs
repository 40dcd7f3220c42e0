//! Asks for 2^40 random bytes at once: it must trap, and the host must not even try.

use crate::prelude::*;
use wasip2::random::random::get_random_bytes;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    black_box(get_random_bytes(1 << 40));
    Err(Failure::permanent("was given 2^40 bytes"))
}
