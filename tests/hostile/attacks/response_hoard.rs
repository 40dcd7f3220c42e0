//! Makes responses to no request, each with fields and a body, and keeps them: it must end as out of memory at its own limit.

use crate::prelude::*;
use wasip2::http::types::{Fields, OutgoingResponse};

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let chunk = vec![b'x'; 32 << 10];
    let mut kept = Vec::new();
    for _ in 0..600 {
        let fields = Fields::new();
        for n in 0..40 {
            black_box(fields.append(&format!("x-{n}"), b"v").is_ok());
        }
        let response = OutgoingResponse::new(fields);
        let body = response.body().map_err(|()| Failure::permanent("it has a body"))?;
        let stream = body.write().map_err(|()| Failure::permanent("it is written to"))?;
        black_box(stream.check_write().is_ok() && stream.write(&chunk).is_ok());
        drop((stream, body));
        kept.push(response);
    }
    Err(Failure::permanent(format_args!("the host holds {} responses", kept.len())))
}
