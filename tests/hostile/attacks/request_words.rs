//! Gives requests methods, schemes and authorities of megabytes, and then keeps requests with the longest paths there are: each word must be refused, and it must end as out of memory.

use crate::prelude::*;
use wasip2::http::types::{Fields, Method, OutgoingRequest, Scheme};

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let long = "m".repeat(2 << 20);
    let request = OutgoingRequest::new(Fields::new());
    let taken = [
        request.set_method(&Method::Other(long.clone())).is_ok(),
        request.set_scheme(Some(&Scheme::Other(long.clone()))).is_ok(),
        request.set_authority(Some(&long)).is_ok(),
        request.set_path_with_query(Some(&format!("/{long}"))).is_ok(),
    ];
    if taken != [false; 4] {
        return Err(Failure::permanent(format_args!("the host has taken words of megabytes: {taken:?}")));
    }
    drop(long);
    let path = format!("/{}", "p".repeat(60_000));
    let kept: Vec<_> = (0..900)
        .map(|_| {
            let request = OutgoingRequest::new(Fields::new());
            black_box(request.set_path_with_query(Some(&path)).is_ok());
            request
        })
        .collect();
    Err(Failure::permanent(format_args!("the host holds {} requests", kept.len())))
}
