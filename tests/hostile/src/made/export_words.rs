//! Exports nothing that can be run, by names of 20,000 letters: it must be quarantined, for a reason that can be read.

use super::many;

pub(crate) fn component(_: usize) -> Vec<u8> {
    let long = "x".repeat(20_000);
    let exports = many(8, |n| format!("(export \"{long}-n{n}\" (instance $nothing))\n"));
    super::assemble(&format!("(component (instance $nothing) {exports})"))
}
