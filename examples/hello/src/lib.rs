//! Says hello: the smallest useful task.

use sexton_task::{Failure, Output, Request, log};

sexton_task::task!(run);

fn run(request: Request) -> Result<Output, Failure> {
    log::info!("hello from `{}`, run {}, attempt {}", request.task, request.run_id, request.attempt);
    Ok(Output::text("hello"))
}
