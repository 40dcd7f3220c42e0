//! Spins for ever. The host ends it at its deadline; nothing else notices.

use sexton_task::{Failure, Request, log};

sexton_task::task!(run);

fn run(_: Request) -> Result<(), Failure> {
    log::warn!("about to spin for ever");
    spin()
}

/// The function is never inlined, so that the attempt's backtrace names it.
#[inline(never)]
fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}
