//! Instantiates a thousand modules, each with a memory and a table: it must be quarantined.

use super::{NOTHING, many, program};

pub(crate) fn component(_: usize) -> Vec<u8> {
    let instances = many(1000, |n| format!("(core instance $n{n} (instantiate $n))\n"));
    super::assemble(&program(&format!("(core module $n (memory 1) (table 1 funcref)) {instances}"), NOTHING))
}
