//! Opens a pipe without another end, in a directory that it was granted, for reading and for writing, and sets its times: it must be refused at once each time, and files must open all the while.

use crate::prelude::*;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags};

/// The calls of each way are far more than a task has threads for files.
const TIMES: usize = 5;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let directories = get_directories();
    let (directory, _) = directories.first().ok_or_else(|| Failure::permanent("was given no directory"))?;
    let (follow, read, write) = (PathFlags::SYMLINK_FOLLOW, DescriptorFlags::READ, DescriptorFlags::WRITE);
    for _ in 0..TIMES {
        for flags in [read, write, read | write] {
            for open in [OpenFlags::empty(), OpenFlags::CREATE, OpenFlags::TRUNCATE] {
                let refused = directory.open_at(follow, "pipe", open, flags);
                must(matches!(refused, Err(ErrorCode::Unsupported)), "opened a pipe")?;
            }
        }
        let touched = directory.set_times_at(follow, "pipe", NewTimestamp::Now, NewTimestamp::Now);
        must(touched.is_err(), "set the times of a pipe")?;
    }
    must(directory.open_at(follow, "a", OpenFlags::empty(), read).is_ok(), "could not open a file after that")
}
