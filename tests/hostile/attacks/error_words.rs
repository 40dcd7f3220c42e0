//! Makes streams fail and reads all that their errors say, on a host that has `RUST_BACKTRACE` set: it must be the system's words, without stacks and paths of the host.

use crate::prelude::*;
use std::fs;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};
use wasip2::io::streams::{OutputStream, StreamError};

pub(crate) fn run(request: &Request) -> Result<Output, Failure> {
    let name = format!("{}-words", request.run_id);
    fs::write(format!("/box/{name}"), "mine")?;
    let mut told = Vec::new();
    for (directory, _) in get_directories() {
        // The directory may be written to, so the stream is created; the file that it writes to may only be read.
        let file = directory
            .open_at(PathFlags::empty(), &name, OpenFlags::empty(), DescriptorFlags::READ)
            .map_err(Failure::permanent)?;
        for stream in [file.write_via_stream(0), file.append_via_stream()] {
            told.extend(stream.ok().as_ref().and_then(words));
        }
    }
    fs::remove_file(format!("/box/{name}"))?;
    must(!told.is_empty(), "no stream failed")?;
    for words in &told {
        for of_host in ["stack", "backtrace", "/", ".rs", "::", "0:"] {
            must(!words.contains(of_host), format_args!("was told `{words}`"))?;
        }
        must(words.len() < 1000 && words.lines().count() == 1, format_args!("was told `{words}`"))?;
    }
    must(true, "")
}

/// Returns the words of the error that a write ends with.
fn words(stream: &OutputStream) -> Option<String> {
    match stream.blocking_write_and_flush(b"owned") {
        Err(StreamError::LastOperationFailed(error)) => Some(error.to_debug_string()),
        _ => None,
    }
}
