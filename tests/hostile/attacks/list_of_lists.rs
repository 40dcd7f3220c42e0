//! Hands the host a list of half a million pairs of lists: it must trap, or be refused, and the host must not grow by it.

use crate::prelude::*;
use wasip2::http::types::Fields;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let pairs = vec![(String::new(), Vec::new()); 500_000];
    must(Fields::from_list(&pairs).is_err(), "the host took half a million nameless fields")
}
