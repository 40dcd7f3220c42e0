//! A task that spins in its own `run`, which the compiler merges with its caller.

use sexton_task::{Failure, Output, Request};

sexton_task::task!(run);

fn run(_: Request) -> Result<Output, Failure> {
    let mut n = 0_u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}
