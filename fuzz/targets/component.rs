//! Tests any bytes that begin like a component: reading them ends without a panic, and with one line if they are
//! refused.
//!
//! All readers of the host's own (names, debug information, imports) see every input. The compiler, which is wasmtime's
//! and takes a hundred times as long, sees only valid ones, so it does not limit how many are tried.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use sexton_runtime::runtime::{ComponentSummary, compile_in_process};

/// The bytes that every component begins with; without them the first check would refuse everything.
const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let wasm = if bytes.starts_with(b"\0asm") { bytes.to_vec() } else { [PREAMBLE, bytes].concat() };
    let glance = ComponentSummary::of(&wasm, 1 << 20);
    if let Err(wrong) = &glance {
        assert_one_line(&wrong.to_string());
    }
    match compile_in_process(&wasm) {
        Ok((code, _)) => assert!(code > 0),
        Err(reason) => assert_one_line(&reason),
    }
    Corpus::Keep
});

fn assert_one_line(message: &str) {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    assert!(!message.is_empty() && message.len() < 4000 && !message.contains(breaks), "{message:?}");
}
