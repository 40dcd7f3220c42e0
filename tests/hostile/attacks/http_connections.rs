//! Opens as many connections as it can and keeps them: it must be refused beyond a number, and all of them must be closed at its end.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let url = settings::require("silent")?;
    let mut open = Vec::new();
    for _ in 0..300 {
        open.push(http::get(&url).start()?);
    }
    let refused = http::wait_any(&mut open, Duration::from_millis(100));
    must(refused.is_some(), "holds 300 connections")?;
    spin()
}
