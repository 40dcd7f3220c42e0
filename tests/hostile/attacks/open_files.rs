//! Opens hundreds of files and sits on them: it must end, and the host must have files left for others all the time, although it was started with few.

use crate::prelude::*;
use std::fs::File;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let mut open = Vec::new();
    while let Ok(file) = File::open("/box/a") {
        open.push(file);
        if open.len() == 300 {
            break;
        }
    }
    log::info!("{} files are open", open.len());
    spin()
}
