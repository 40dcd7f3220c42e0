//! Calls a server whose headers never end: it must get an error, or end at its deadline, and the host must not collect them.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    must(http::get(&settings::require("heads")?).send().is_err(), "headers without end came to an end")
}
