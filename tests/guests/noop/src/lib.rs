//! The smallest possible task, which shows the cost of a run without its work.

use sexton_task::{Failure, Output, Request};

sexton_task::task!(run);

fn run(_: Request) -> Result<Output, Failure> {
    Ok(Output::empty())
}
