//! Any bytes that begin like a component: what children do with them ends without a panic, and with one line if it is refused.
//!
//! The compiler itself is not looked for here, only that nothing of the host's own reading (names, debug information, sections)
//! breaks before or after it. Each input is small, so that compiling it is quick.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sexton::runtime::as_children_do;

/// What every component begins with; without it all would be refused by the first look.
const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";

fuzz_target!(|bytes: &[u8]| {
    let wasm = if bytes.starts_with(b"\0asm") { bytes.to_vec() } else { [PREAMBLE, bytes].concat() };
    match as_children_do(&wasm) {
        Ok((code, _)) => assert!(code > 0),
        Err(reason) => assert!(reason.len() < 4000 && !reason.contains(['\n', '\r']), "{reason:?}"),
    }
});
