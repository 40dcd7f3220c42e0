//! Calls a name that it was granted and that leads to a private address: it must be refused, and no connection must be made there.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let url = settings::require("inside")?;
    must(matches!(http::get(&url).send(), Err(http::Error::Denied)), "a private address was called by a name")
}
