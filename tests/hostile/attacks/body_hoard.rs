//! Writes bodies of requests that it never sends and keeps them, without a grant for HTTP: it must end as out of memory at its own limit, as the host holds them for it.

use crate::prelude::*;
use wasip2::http::types::{Fields, OutgoingRequest};

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let chunk = vec![b'x'; 64 << 10];
    let mut kept = Vec::new();
    for _ in 0..400 {
        let request = OutgoingRequest::new(Fields::new());
        let body = request.body().map_err(|()| Failure::permanent("it has a body"))?;
        let stream = body.write().map_err(|()| Failure::permanent("it is written to"))?;
        while let Ok(room @ 1..) = stream.check_write() {
            if stream.write(&chunk[..chunk.len().min(usize::try_from(room)?)]).is_err() {
                break;
            }
        }
        kept.push((stream, body, request));
    }
    Err(Failure::permanent(format_args!("the host holds {} bodies", kept.len())))
}
