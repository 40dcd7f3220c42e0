//! Has 10,000 functions: it must be loaded and run like any other.

use super::{many, program};

pub(crate) fn component(_: usize) -> Vec<u8> {
    let functions =
        many(10_000, |n| format!("(func $f{n} (param i32) (result i32) local.get 0 i32.const {n} i32.add)\n"));
    let run = r#"(func (export "run") (result i32) (drop (call $f9999 (i32.const 1))) i32.const 0)"#;
    super::assemble(&program("", &format!("{functions}{run}")))
}
