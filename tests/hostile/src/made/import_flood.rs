//! Imports 300 interfaces that no host has, by names of a thousand letters: it must be quarantined, for a reason that can be read.

use super::{NOTHING, many, program};

pub(crate) fn component(_: usize) -> Vec<u8> {
    let long = "x".repeat(1000);
    let imports = many(300, |n| format!("(import \"evil:host/{long}-n{n}@1.0.0\" (instance))\n"));
    super::assemble(&program(&imports, NOTHING))
}
