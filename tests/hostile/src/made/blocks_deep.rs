//! Has a function of 200,000 blocks, each inside the one before: it must be quarantined, or be loaded without the host's stack being used up.

use super::program;

pub(crate) fn component(_: usize) -> Vec<u8> {
    let (open, close) = ("block\n".repeat(200_000), "end\n".repeat(200_000));
    super::assemble(&program("", &format!("(func (export \"run\") (result i32)\n{open}{close}i32.const 0)")))
}
