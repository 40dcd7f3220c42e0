//! Reads and writes files by every path that it can think of, without a directory being granted: nothing must be there.

use crate::prelude::*;
use std::fs;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    must(wasip2::filesystem::preopens::get_directories().is_empty(), "was given a directory")?;
    for path in ["/etc/passwd", "/proc/self/environ", "/", ".", "..", "../../../etc/passwd", "var/sexton.db", "\0"] {
        must(fs::read(path).is_err(), format_args!("read `{path}`"))?;
        must(fs::read_dir(path).is_err(), format_args!("listed `{path}`"))?;
        must(fs::write(path, "owned").is_err(), format_args!("wrote `{path}`"))?;
        must(fs::remove_file(path).is_err(), format_args!("removed `{path}`"))?;
    }
    must(true, "")
}
