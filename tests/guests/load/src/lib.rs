//! Makes the load that is killed in `crash.rs`: under a lock, it writes an entry of one repeated byte, waits, and
//! counts itself.

use std::time::Duration;

use serde::Deserialize;
use sexton_task::{Failure, Output, Request, cache, lock};

sexton_task::task!(run);

#[derive(Deserialize)]
struct Load {
    lock: String,
    key: String,
    counter: String,
    ms: u64,
}

fn run(request: Request) -> Result<Output, Failure> {
    let load: Load = request.json()?;
    let _guard = lock(&load.lock).wait(Duration::from_secs(30)).acquire()?;
    let byte = request.run_id.bytes().fold(0, u8::wrapping_add);
    cache::set(&load.key, &vec![byte; 20_000], None)?;
    std::thread::sleep(Duration::from_millis(load.ms));
    cache::update(&load.counter, None, |count: Option<u64>| count.unwrap_or(0) + 1)?;
    Ok(Output::default())
}
