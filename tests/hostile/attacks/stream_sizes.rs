//! Reads, skips and splices 2^64 - 1 bytes of a stream: it must get the bytes that exist, and no more.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let (stdin, stdout) = (wasip2::cli::stdin::get_stdin(), wasip2::cli::stdout::get_stdout());
    let read = stdin.read(u64::MAX).map_or(0, |bytes| bytes.len() as u64);
    let skipped = stdin.skip(u64::MAX).unwrap_or(0);
    let spliced = stdout.splice(&stdin, u64::MAX).unwrap_or(0);
    must(read + skipped + spliced == 0, "stdin of a task is not empty")
}
