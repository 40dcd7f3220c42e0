//! The smallest task there can be: what a run costs without what it does.

use sexton_task::{Failure, Output, Request};

sexton_task::task!(run);

fn run(_: Request) -> Result<Output, Failure> {
    Ok(Output::empty())
}
