//! Loads a host on which hung guests are measured: the input says how to misbehave.

use std::hint::black_box;
use std::time::Duration;

use sexton_task::{Failure, Output, Request, cache, lock, log};

sexton_task::task!(run);

fn run(request: Request) -> Result<Output, Failure> {
    match request.input.as_slice() {
        // This is no misbehaviour, but must go well beside it.
        b"lock" => drop(lock("bench").wait(Duration::from_secs(10)).acquire()?),
        b"count" => {
            let _guard = lock("count").wait(Duration::from_secs(10)).acquire()?;
            cache::update("count", None, |count: Option<u64>| count.unwrap_or(0) + 1)?;
        }
        b"spin" => spin(),
        b"fill" => {
            let _memory = fill();
            spin()
        }
        b"hoard" => {
            let _guards: Vec<_> = (0..50).filter_map(|n| lock(&format!("hoard-{n}")).acquire().ok()).collect();
            spin()
        }
        b"sleep" => std::thread::sleep(Duration::from_secs(3600)),
        b"recurse" => drop(black_box(recurse(0))),
        b"panic" => panic!("told to panic"),
        b"flood" => loop {
            log::info!("{}", "flood ".repeat(100));
        },
        _ => return Err(Failure::permanent("say how to misbehave")),
    }
    Ok(Output::default())
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "this is what is tested")]
fn recurse(depth: u64) -> u64 {
    // The addition after the call keeps it from being compiled to a loop.
    black_box(recurse(black_box(depth + 1))) + depth
}

fn spin() -> ! {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

/// Allocates and touches all the memory that it can get.
fn fill() -> Vec<Vec<u8>> {
    const PIECE: usize = 256 << 10;
    let mut pieces = Vec::new();
    loop {
        let mut piece = Vec::new();
        if piece.try_reserve_exact(PIECE).is_err() {
            return pieces;
        }
        piece.resize(PIECE, 1);
        pieces.push(piece);
    }
}
