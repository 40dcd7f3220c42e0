//! Traps while it holds twenty locks and a refresh: it must end as trapped, and all of them must be free when it is said to be over.

use crate::prelude::*;

pub(crate) fn run(request: &Request) -> Result<Output, Failure> {
    let held: Vec<_> = (0..20)
        .map(|n| lock(&format!("hostile/trap/{}/{n}", request.run_id)).acquire())
        .collect::<Result<_, _>>()?;
    let _refresh = section(&format!("hostile/trap/{}", request.run_id)).begin::<u32>()?;
    panic!("a panic with {} locks", held.len())
}
