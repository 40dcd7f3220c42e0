//! Has the host write 2^60 zeroes to stdout: it must trap, and the host must not make them.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let stdout = wasip2::cli::stdout::get_stdout();
    black_box(stdout.write_zeroes(1 << 60).is_ok());
    Err(Failure::permanent("wrote 2^60 zeroes"))
}
