//! Hangs in its start function, before `run` is ever called.

use sexton_task::{Failure, Request};

sexton_task::task!(run);

fn run(_: Request) -> Result<(), Failure> {
    Err(Failure::permanent("was called although its start function never returns"))
}

/// A component of this kind calls this function when it is instantiated, before any export is called.
#[cfg(target_arch = "wasm32")]
#[unsafe(export_name = "_initialize")]
#[expect(unsafe_code, reason = "the linker and the component know the start function by this name only")]
extern "C" fn spin_at_start() {
    loop {
        std::hint::spin_loop();
    }
}
