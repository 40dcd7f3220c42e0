//! Opens streams of one file without end, has each read ahead, and keeps them: it must be refused when its memory is used up, or have no more handles, and the host must not hold more than that.

use crate::prelude::*;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let directories = get_directories();
    let (open, _) = directories.first().ok_or_else(|| Failure::permanent("no directory"))?;
    let file = open.open_at(PathFlags::empty(), "a", OpenFlags::empty(), DescriptorFlags::READ)?;
    let mut kept = Vec::new();
    while let Ok(stream) = file.read_via_stream(0) {
        black_box(stream.read(64 << 10).is_ok());
        kept.push(stream);
    }
    must(kept.len() < 900, "it has as many streams as it likes")
}
