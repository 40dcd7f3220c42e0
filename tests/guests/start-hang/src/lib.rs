//! Hangs in its start function, before `run` is ever called: in a static constructor, as C++ and others have them.

use sexton_task::{Failure, Request};

sexton_task::task!(run);

fn run(_: Request) -> Result<(), Failure> {
    Err(Failure::permanent("was called although its start function never returns"))
}

/// Called by the C runtime's `_initialize`, which the component runs as it is instantiated.
#[cfg(target_arch = "wasm32")]
#[used]
#[unsafe(link_section = ".init_array")]
#[expect(unsafe_code, reason = "the only way to have a static constructor")]
static CONSTRUCTOR: extern "C" fn() = spin_at_start;

/// Never inlined, so that the attempt's backtrace names it.
#[cfg(target_arch = "wasm32")]
#[inline(never)]
extern "C" fn spin_at_start() {
    loop {
        std::hint::spin_loop();
    }
}
