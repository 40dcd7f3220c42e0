//! Traps deep in functions whose names have millions of letters: it must end as trapped, its stack must tell numbers in their place, and the next guest must not wait while they are read.

use super::program;

pub(crate) fn component(_: usize) -> Vec<u8> {
    let [a, b, c] = ["a", "b", "c"].map(|letter| letter.repeat(3 << 20));
    let functions = format!(
        "(func ${a} (param i32) (call ${b} (local.get 0)))
         (func ${b} (param i32) (call ${c} (local.get 0)))
         (func ${c} (param i32)
           (if (i32.eqz (local.get 0)) (then unreachable))
           (call ${a} (i32.sub (local.get 0) (i32.const 1))))
         (func (export \"run\") (result i32) (call ${a} (i32.const 100)) i32.const 0)"
    );
    super::assemble(&program("", &functions))
}
