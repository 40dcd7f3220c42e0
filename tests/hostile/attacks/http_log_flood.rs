//! Sends requests that are none, as fast as it can, so that the host's libraries complain of each: the host's log must not grow by more than some lines.

use crate::prelude::*;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, OutgoingRequest};

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    loop {
        // Without a path it is not a valid request.
        let request = OutgoingRequest::new(Fields::new());
        black_box(request.set_authority(Some("127.0.0.1:1")).is_ok());
        black_box(handle(request, None).is_ok());
    }
}
