//! Looks for what is not its own in its environment and arguments: it must find nothing but its name.

use crate::prelude::*;

pub(crate) fn run(request: &Request) -> Result<Output, Failure> {
    let (vars, args): (Vec<_>, Vec<_>) = (std::env::vars().collect(), std::env::args().collect());
    must(vars.is_empty(), format_args!("found the variables {vars:?}"))?;
    must(args == [request.task.clone()], format_args!("found the arguments {args:?}"))?;
    must(std::io::read_to_string(std::io::stdin())?.is_empty(), "found something on stdin")
}
