//! Has 5,000 components, each inside the one before: it must be quarantined without the host's stack being used up.

use super::{PREAMBLE, section};

pub(crate) fn component(_: usize) -> Vec<u8> {
    let mut inner = PREAMBLE.to_vec();
    for _ in 0..5_000 {
        let around = section(4, &inner);
        inner = PREAMBLE.to_vec();
        inner.extend(around);
    }
    inner
}
