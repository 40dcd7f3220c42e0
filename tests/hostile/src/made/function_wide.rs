//! Has one function of megabytes with a thousand variables that are all alive: it must be quarantined, or be loaded within the compiler's limits.

use super::{many, program};

pub(crate) fn component(nth: usize) -> Vec<u8> {
    let locals = "(local i32)".repeat(1000);
    let body = many(60_000, |n| {
        let (a, b, c) = (n * 7 % 1000, n * 13 % 1000, (n + nth) * 31 % 1000);
        format!(
            "(if (local.get {a}) (then (local.set {b} (i32.add (local.get {c}) (local.get {b})))) (else (local.set {c} (local.get {a}))))\n"
        )
    });
    super::assemble(&program("", &format!(r#"(func (export "run") (result i32) {locals} {body} i32.const 0)"#)))
}
