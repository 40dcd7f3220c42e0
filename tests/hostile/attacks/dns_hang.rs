//! Calls names whose look-up hangs: it must end at its deadline, and other tasks' names must be looked up all the same.

use crate::prelude::*;

pub(crate) fn run(request: &Request) -> Result<Output, Failure> {
    let names: Vec<_> = (0..8)
        .map(|n| http::get(&format!("http://{n}-{}.hangs.invalid/", request.run_id)).start())
        .collect::<Result<_, _>>()?;
    for name in names {
        must(name.finish().is_err(), "a name that hangs has an address")?;
    }
    must(true, "")
}
