//! Prints without end to stdout and stderr: it must end at its deadline, and both must be cut at their limit, and be marked as cut.

use crate::prelude::*;
use std::io::Write;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let line = format!("{}\n", "s".repeat(1000));
    let (mut stdout, mut stderr) = (std::io::stdout().lock(), std::io::stderr().lock());
    loop {
        stdout.write_all(line.as_bytes())?;
        stderr.write_all(line.as_bytes())?;
    }
}
