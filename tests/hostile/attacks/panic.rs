//! Panics: it must end as trapped, with its words and where it was, and the host must go on.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    panic!("a panic in a guest")
}
