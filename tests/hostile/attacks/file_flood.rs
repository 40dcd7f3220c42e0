//! Opens files without end and keeps them, by handles or by streams alone: it must be refused beyond its limit, and the host must have files left for others.

use crate::prelude::*;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags};

/// The default limit of a task.
const LIMIT: usize = 64;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let directories = get_directories();
    let (directory, _) = directories.first().ok_or_else(|| Failure::permanent("was given no directory"))?;
    let open = || directory.open_at(PathFlags::empty(), "a", OpenFlags::empty(), DescriptorFlags::READ);
    let mut files: Vec<Descriptor> = Vec::new();
    while let Ok(file) = open() {
        files.push(file);
        must(files.len() <= LIMIT, "opened more files than it may")?;
    }
    let count = files.len();
    // Each stream keeps its file open although the handle is gone.
    let streams: Result<Vec<_>, _> = files.iter().map(|file| file.read_via_stream(0)).collect();
    drop(files);
    must(streams.is_ok(), "could not read a file that it had opened")?;
    must(open().is_err(), "opened more files than it may, as it had only streams left of some")?;
    drop(streams);
    must(open().is_ok(), "could not open a file when it had closed all others")?;
    log::info!("{count} files were open");
    must(count > 0, "could not open one file")
}
