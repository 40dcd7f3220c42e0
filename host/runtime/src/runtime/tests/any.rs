//! Tests components that are a little wrong: a child's work on one ends, and a failure has a reason of one line.
//!
//! `PROPTEST_CASES=100000` tries for longer. `fuzz/` does the same, guided by coverage.

use proptest::prelude::*;

use super::rig::program;
use crate::runtime::compile_in_process;

/// Makes a program with names, and with consistent debug information.
fn whole() -> Vec<u8> {
    let section = |name: &str, bytes: &[u8]| {
        let bytes: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        format!("(@custom \"{name}\" \"{bytes}\")")
    };
    let abbreviations = [1, 0x11, 0, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0, 0];
    let unit = [20, 0, 0, 0, 4, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0];
    let lines = [
        0x31, 0, 0, 0, 4, 0, 0x1b, 0, 0, 0, 1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0, b'a', b'.',
        b'c', 0, 0, 0, 0, 0, 0, 5, 2, 0, 0, 0, 0, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20, 0, 1, 1,
    ];
    let debug = [(".debug_abbrev", &abbreviations[..]), (".debug_info", &unit), (".debug_line", &lines)];
    let debug: String = debug.map(|(name, bytes)| section(name, bytes)).concat();
    let fields = format!("(memory 1) (func $nap (param i32) (drop (local.get 0))) {debug}");
    program(&fields, "(call $nap (i32.const 7)) i32.const 0")
}

/// Generates changes: the position of a byte, and its new value.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_slightly_damaged_component_compiles_or_fails_with_a_reason(changes in changes(), end in any::<prop::sample::Index>(), whole_length in any::<bool>()) {
        let mut wasm = whole();
        for (at, byte) in changes {
            let at = at.index(wasm.len());
            wasm[at] = byte;
        }
        if !whole_length {
            wasm.truncate(end.index(wasm.len()));
        }

        match compile_in_process(&wasm) {
            Ok((code, _)) => prop_assert!(code > 0),
            Err(reason) => prop_assert!(reason.len() < 4000 && !reason.contains(['\n', '\r']), "{:?}", reason),
        }
    }
}

#[test]
fn a_whole_component_compiles_and_its_debug_information_is_read() {
    let (code, readable) = compile_in_process(&whole()).unwrap();

    assert!(code > 1000 && readable, "{code} bytes of code, and lines: {readable}");
}
