//! Waits for one timer twenty thousand times in a single call: it must end near its deadline, however long the list is.

use crate::prelude::*;
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::io::poll::poll;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let never = subscribe_duration(u64::MAX / 2);
    let crowd = vec![&never; 20_000];
    loop {
        black_box(poll(&crowd));
    }
}
