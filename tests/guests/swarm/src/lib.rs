//! What the host is loaded with where hung guests are measured: the input says how to hang.

use std::hint::black_box;
use std::time::Duration;

use sexton_task::{Failure, Request, lock};

sexton_task::task!(run);

fn run(request: Request) -> Result<(), Failure> {
    match request.input.as_slice() {
        b"spin" => spin(),
        b"fill" => {
            let _memory = fill();
            spin()
        }
        // Not a hang, but what must stay quick beside them.
        b"lock" => Ok(drop(lock("bench").wait(Duration::from_secs(1)).acquire()?)),
        _ => Err(Failure::permanent("say `spin`, `fill` or `lock`")),
    }
}

fn spin() -> ! {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

/// All the memory that there is, touched.
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
