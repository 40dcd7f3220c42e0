//! Tries to get out of the directory that it was granted, by links, dots and roots: files beside it must not be read, changed or even seen.

use crate::prelude::*;
use std::fs;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};

pub(crate) fn run(request: &Request) -> Result<Output, Failure> {
    fs::write(format!("/box/{}", request.run_id), "mine")?;
    let links = links(&request.run_id);
    for path in ["/box/../secret", "/box/planted", "/box/planted-root", "/secret", "/box/./../secret", "/box/up/secret"]
        .into_iter()
        .map(str::to_owned)
        .chain(links)
    {
        let read = fs::read_to_string(&path).unwrap_or_default();
        must(read.is_empty(), format_args!("read `{path}`"))?;
        must(fs::write(&path, "owned").is_err(), format_args!("wrote `{path}`"))?;
        must(fs::metadata(&path).is_err(), format_args!("saw `{path}`"))?;
    }
    // A new name for a file outside would be an escape as well.
    must(fs::hard_link("/box/../secret", format!("/box/{}-hard", request.run_id)).is_err(), "linked what is outside")?;
    must(fs::rename(format!("/box/{}", request.run_id), "/box/../moved").is_err(), "moved a file outside")?;
    fs::remove_file(format!("/box/{}", request.run_id))?;
    must(true, "")
}

/// Makes links of its own, as far as it can.
fn links(run: &str) -> Vec<String> {
    let mut made = Vec::new();
    for (directory, _) in get_directories() {
        for (n, target) in ["../secret", "/", "..", "../../../../../../etc/passwd", "up/../../secret"].iter().enumerate() {
            let name = format!("{run}-link-{n}");
            if directory.symlink_at(target, &name).is_ok() {
                // Links that the host follows for it must stay inside, too.
                let _ = directory.open_at(PathFlags::SYMLINK_FOLLOW, &name, OpenFlags::empty(), DescriptorFlags::READ);
                made.push(match *target {
                    "/" | ".." => format!("/box/{name}/etc/passwd"),
                    _ => format!("/box/{name}"),
                });
            }
        }
    }
    made
}
