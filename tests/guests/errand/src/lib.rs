//! Makes the load of `tests/chaos`: under a lock it contacts a server outside, waits, and counts itself in the cache.

use std::time::Duration;

use serde::Deserialize;
use sexton_task::{Failure, Output, Request, cache, http, lock, settings};

sexton_task::task!(run);

#[derive(Deserialize)]
struct Errand {
    lock: String,
    ms: u64,
}

fn run(request: Request) -> Result<Output, Failure> {
    let errand: Errand = request.json()?;
    let server = settings::require("server")?;
    let guard = lock(&errand.lock).wait(Duration::from_secs(20)).acquire()?;
    let (run, attempt, fence) = (&request.run_id, request.attempt, guard.fence());
    http::get(&format!("{server}/{run}/{attempt}/{fence}")).timeout(Duration::from_secs(10)).send()?.ok()?;
    std::thread::sleep(Duration::from_millis(errand.ms));
    cache::update(&format!("count/{}", errand.lock), None, |count: Option<u64>| count.unwrap_or(0) + 1)?;
    Ok(Output::default())
}
