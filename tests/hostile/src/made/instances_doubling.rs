//! Instantiates a component twice that instantiates one twice, and so on, 2^24 in all from a few hundred bytes: it must be quarantined, before anything has grown.

use super::{NOTHING, program};

const DOUBLINGS: usize = 24;

pub(crate) fn component(_: usize) -> Vec<u8> {
    let mut inner = "(component $c (core module $m (memory 1)) (core instance (instantiate $m)))".to_owned();
    for _ in 0..DOUBLINGS {
        inner = format!("(component $c {inner} (instance (instantiate $c)) (instance (instantiate $c)))");
    }
    super::assemble(&program(&format!("{inner} (instance (instantiate $c))"), NOTHING))
}
