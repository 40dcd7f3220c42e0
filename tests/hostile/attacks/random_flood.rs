//! Asks for 64 MiB of random bytes at a time, for ever: it must end near its deadline, and the host must not make them all.

use crate::prelude::*;
use wasip2::random::random::get_random_bytes;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    loop {
        black_box(get_random_bytes(64 << 20));
    }
}
