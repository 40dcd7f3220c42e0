//! Allocates and fills memory until there is no more: it must end as out of memory, at its own limit.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let mut eaten = Vec::new();
    loop {
        eaten.push(black_box(vec![1_u8; 256 << 10]));
    }
}
