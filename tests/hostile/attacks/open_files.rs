//! Opens files until it may hold no more handles, and sits on them: it must end, and the host must have files left to open for others all the time.

use crate::prelude::*;
use std::fs::File;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let mut open = Vec::new();
    while let Ok(file) = File::open("/box/a") {
        open.push(file);
        if open.len() == 900 {
            break;
        }
    }
    spin()
}
