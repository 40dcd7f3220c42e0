//! A task that learns of its end, unlike the probe: `{"do": "heed"}`, `{"do": "ignore"}`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::Deserialize;
use sexton_task::cancellation::{self, Reason};
use sexton_task::{Failure, Output, http, log};

sexton_task::task!(run);

/// The action. Most log `ready` once they have begun.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
enum Do {
    /// Computes until told to end, and returns the reason.
    Heed,
    /// Waits until told to end, and returns the reason.
    Listen,
    /// Computes until told to end, and fails with the reason: `transient` or `permanent`.
    GiveUp { how: String },
    /// Waits for an answer that does not come, until told to end, and returns the reason.
    Ask { url: String },
    /// Logs the reason, once there is one, and goes on computing for ever.
    Ignore,
    /// Computes for ever, in two functions by turns.
    Wander,
    /// Waits until told to end and once more until the host insists, logs the time left each time, and returns it.
    Insisted,
    /// Logs a line every fifth of a second, for `ms`.
    Talk { ms: u64 },
}

fn run(input: Do) -> Result<Output, Failure> {
    log::info!("ready");
    let reason = match input {
        Do::Heed => heed(),
        Do::Listen => listen(),
        Do::GiveUp { how } if how == "permanent" => return Err(Failure::permanent(heed())),
        Do::GiveUp { .. } => return Err(heed().into()),
        Do::Ask { url } => ask(&url)?,
        Do::Ignore => ignore(),
        Do::Wander => wander(),
        Do::Insisted => return Ok(Output::text(insisted())),
        Do::Talk { ms } => return Ok(Output::text(talk(Duration::from_millis(ms)))),
    };
    Ok(Output::text(reason.to_string()))
}

fn heed() -> Reason {
    loop {
        if let Some(reason) = cancellation::cancelled() {
            return reason;
        }
        black_box(count(10_000));
    }
}

fn listen() -> Reason {
    match cancellation::sleep(Duration::MAX) {
        Ok(()) => unreachable!("nothing lasts that long"),
        Err(reason) => reason,
    }
}

fn insisted() -> String {
    listen();
    let asked = time_left();
    log::info!("asked with {asked} ms left");
    cancellation::subscribe_insisted().block();
    let insisted = time_left();
    log::info!("insisted with {insisted} ms left");
    format!("{asked} {insisted}")
}

fn talk(time: Duration) -> &'static str {
    let began = Instant::now();
    while began.elapsed() < time {
        log::info!("at it");
        std::thread::sleep(Duration::from_millis(200));
    }
    "talked"
}

fn time_left() -> u128 {
    cancellation::time_left().map_or(0, |left| left.as_millis())
}

fn ask(url: &str) -> Result<Reason, Failure> {
    let mut asked = [http::get(url).start()?];
    match http::wait_any_unless_cancelled(&mut asked, Duration::MAX) {
        Ok(_) => Err(Failure::permanent("there was an answer")),
        Err(reason) => Ok(reason),
    }
}

fn ignore() -> ! {
    log::info!("{}", heed());
    loop {
        black_box(count(10_000));
    }
}

fn wander() -> ! {
    loop {
        black_box(hither(2_000_000));
        black_box(thither(2_000_000));
    }
}

#[inline(never)]
fn count(to: u64) -> u64 {
    (0..to).fold(0, |sum, n| black_box(sum + n))
}

#[inline(never)]
fn hither(rounds: u64) -> u64 {
    (0..rounds).fold(1, |sum, n| black_box(sum ^ n))
}

#[inline(never)]
fn thither(rounds: u64) -> u64 {
    (0..rounds).fold(2, |sum, n| black_box(sum + n))
}
