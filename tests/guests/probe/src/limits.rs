//! Actions that run into a limit.

use std::hint::black_box;
use std::io::Write;

use serde_json::{Value, json};
use sexton_task::{Begun, Failure, lock, log, section, settings};

/// Execute `unreachable`, without the message that a panic prints.
pub(crate) fn unreachable() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort()
}

/// Recurse until the stack is used up.
#[inline(never)]
#[expect(unconditional_recursion, reason = "this is what is tested")]
pub(crate) fn recurse(depth: u64) -> u64 {
    // The addition after the call keeps it from being compiled to a loop.
    black_box(recurse(black_box(depth + 1))) + depth
}

/// Allocate and touch memory until there is no more.
pub(crate) fn eat_memory() -> ! {
    let mut eaten = Vec::new();
    loop {
        eaten.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Copy memory by `memory.copy`, the instruction that an interrupt cannot stop half-way.
pub(crate) fn copy_memory(mb: usize) -> ! {
    let half = (mb << 20) / 2;
    let mut memory = vec![1_u8; half * 2];
    loop {
        black_box(&mut memory).copy_within(..half, half);
    }
}

pub(crate) fn log_flood(lines: u64, bytes: usize) -> Value {
    let line = "l".repeat(bytes);
    for n in 0..lines {
        log::info!("{n} {line}");
    }
    json!({ "lines": lines })
}

pub(crate) fn stdout_flood(bytes: usize) -> Result<Value, Failure> {
    let line = format!("{}\n", "s".repeat(1023));
    let (mut stdout, mut stderr) = (std::io::stdout().lock(), std::io::stderr().lock());
    for _ in 0..bytes.div_ceil(line.len()) {
        stdout.write_all(line.as_bytes())?;
        stderr.write_all(line.as_bytes())?;
    }
    stdout.flush()?;
    Ok(json!({ "bytes": bytes }))
}

pub(crate) fn handles(kind: &str, count: u32) -> Result<Value, Failure> {
    let (mut locks, mut renewals, mut pollables) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..count {
        match kind {
            "locks" => locks.push(lock(&format!("handle-{n}")).acquire()?),
            "renewals" => {
                if let Begun::Yours(renewal) = section(&format!("handle-{n}")).begin::<()>()? {
                    renewals.push(renewal);
                }
            }
            "pollables" => pollables.push(wasip2::clocks::monotonic_clock::subscribe_duration(u64::MAX / 2)),
            other => return Err(Failure::permanent(format_args!("no handles of kind `{other}`"))),
        }
    }
    Ok(json!({ "open": locks.len() + renewals.len() + pollables.len() }))
}

pub(crate) fn host_calls(count: u64) -> Value {
    for _ in 0..count {
        black_box(settings::get("no-such-setting"));
    }
    json!({ "calls": count })
}

/// Ask for locks that are not granted.
pub(crate) fn refused(times: u32) -> Failure {
    for n in 0..times {
        if lock(&format!("c{n}")).acquire().is_ok() {
            return Failure::permanent("was given a lock that is not granted");
        }
    }
    Failure::permanent("was refused")
}
