//! Fills as many HTTP field lists as it may hold, each as far as it goes: it must be refused or end, and the host must not grow by more than the guest may.

use crate::prelude::*;
use wasip2::http::types::Fields;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let value = vec![b'v'; 60 << 10];
    let mut kept = Vec::new();
    for _ in 0..900 {
        let fields = Fields::new();
        for name in ["a", "b"] {
            black_box(fields.append(name, &value).is_ok());
        }
        kept.push(fields);
    }
    spin()
}
