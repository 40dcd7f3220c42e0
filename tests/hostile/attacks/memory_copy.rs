//! Copies all the memory it may have with one instruction, again and again: it must end at its deadline, or out of fuel.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let half = 14 << 20;
    let mut memory = vec![1_u8; half * 2];
    loop {
        black_box(&mut memory).copy_within(..half, half);
    }
}
