//! Opens handles and keeps them: it must trap when it has more than it may.

use crate::prelude::*;
use wasip2::clocks::monotonic_clock::subscribe_duration;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let kept: Vec<_> = (0..1_000_000).map(|_| subscribe_duration(u64::MAX / 2)).collect();
    Err(Failure::permanent(format_args!("holds {} handles", kept.len())))
}
