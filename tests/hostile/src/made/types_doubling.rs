//! Imports a function that takes a pair of pairs of pairs, 2^40 numbers from a few hundred bytes: it must be quarantined, before anything has grown.

use super::{NOTHING, many, program};

pub(crate) fn component(_: usize) -> Vec<u8> {
    let types = many(40, |n| format!("(type $t{} (tuple $t{n} $t{n}))", n + 1));
    let import = r#"(import "evil:host/pairs@1.0.0" (instance (alias outer 1 $t40 (type $t)) (export "take" (func (param "all" $t)))))"#;
    // Written without the assembler's own check, because the host must find the fault.
    super::assemble(&program(&format!("(type $t0 (tuple u64 u64)) {types} {import}"), NOTHING))
}
