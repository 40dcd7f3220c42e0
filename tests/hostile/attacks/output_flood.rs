//! Returns an output of 4 MiB: it must fail for good, and nothing of the output must be kept.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    Ok(Output::bytes(vec![b'o'; 4 << 20]))
}
