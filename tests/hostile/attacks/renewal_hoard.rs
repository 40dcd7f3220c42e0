//! Renews an entry of a megabyte again and again, and keeps each renewal with its last good value: the host must hold none of those that were published, and must not hold more of the others than its memory.

use crate::prelude::*;
use sexton_task::__private::bindings::sexton::task::cache::{self as host, Refreshed};

pub(crate) fn run(request: &Request) -> Result<Output, Failure> {
    let value = vec![b'v'; 1 << 20];
    let key = format!("hostile/renewal/{}", request.run_id);
    let mut kept = Vec::new();
    for _ in 0..40 {
        let Ok(Refreshed::Yours(renewal)) = host::refresh(&key, 0) else { break };
        // The cache is full at some time, because others do the same.
        if renewal.publish(&value, Some(2000)).is_err() {
            break;
        }
        kept.push(renewal);
    }
    Ok(Output::text(format!("{} renewals", kept.len())))
}
