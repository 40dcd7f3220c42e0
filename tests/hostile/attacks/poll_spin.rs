//! Polls what is always ready, for ever: it must end at its deadline, or when it has made more host calls than it may.

use crate::prelude::*;
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::io::poll::poll;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let ready = subscribe_duration(0);
    loop {
        black_box(poll(&[&ready]));
    }
}
