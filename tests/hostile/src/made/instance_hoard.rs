//! Has sixty instances of a module with thousands of passive table elements, of which the host keeps each sixteen bytes large: it must end as out of memory, before it is instantiated.

use super::{NOTHING, many, program};

pub(crate) fn component(_: usize) -> Vec<u8> {
    let elements = "$f ".repeat(5000);
    let instances = many(60, |n| format!("(core instance $n{n} (instantiate $n))\n"));
    super::assemble(&program(&format!("(core module $n (func $f) (elem func {elements})) {instances}"), NOTHING))
}
