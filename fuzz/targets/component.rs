//! Any bytes that begin like a component: what children do with them ends without a panic, and with one line if it is refused.
//!
//! All readers of the host's own (names, debug information, imports) see every input. The compiler, which is wasmtime's and takes
//! a hundred times as long, sees those that hold together, and so does not bound how many are tried.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use sexton::runtime::{Glance, as_children_do};

/// What every component begins with; without it all would be refused by the first look.
const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let wasm = if bytes.starts_with(b"\0asm") { bytes.to_vec() } else { [PREAMBLE, bytes].concat() };
    let glance = Glance::of(&wasm, 1 << 20);
    if let Err(wrong) = &glance {
        assert_one_line(&wrong.to_string());
    }
    match as_children_do(&wasm) {
        Ok((code, _)) => assert!(code > 0),
        Err(reason) => assert_one_line(&reason),
    }
    Corpus::Keep
});

fn assert_one_line(message: &str) {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    assert!(!message.is_empty() && message.len() < 4000 && !message.contains(breaks), "{message:?}");
}
