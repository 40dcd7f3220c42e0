//! One task that does whatever its input says, for the end-to-end tests: `{"do": "spin"}`, `{"do": "sleep", "ms": 50}`.

mod capabilities;
mod files;
mod limits;
mod values;

use std::hash::BuildHasher as _;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use sexton_task::{Failure, Output, Request};

sexton_task::task!(run);

/// The action. Each variant documents its result.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
enum Do {
    /// The request as JSON, with the settings and the `value`.
    Echo {
        #[serde(default)]
        value: Value,
    },
    /// Fail; from attempt `until` on, succeed.
    FailTransient {
        #[serde(default = "forever")]
        until: u32,
    },
    /// Fail for good.
    FailPermanent,
    /// Defer for `ms`; with a `key`, only if that cache entry does not exist yet (it is made).
    Deferred { ms: u64, key: Option<String> },
    /// Changes files; the result of each step, `ok` or an error.
    Files { steps: Vec<files::Step> },
    /// Spin for ever.
    Spin,
    /// Sleeps for `ms`.
    Sleep { ms: u64 },
    /// The wall clock in milliseconds since the Unix epoch, and some random bytes.
    Now,
    /// Panic, with `message`.
    Panic { message: Option<String> },
    /// Execute `unreachable`.
    Unreachable,
    /// Recurse without end.
    Recurse,
    /// Exit with `code`, as a program would.
    Exit { code: i32 },
    /// Allocate without end.
    EatMemory,
    /// Copy `mb` (64) MiB of memory, again and again.
    CopyMemory { mb: Option<usize> },
    /// Write this many lines of this many bytes to the log.
    LogFlood { lines: u64, bytes: usize },
    /// Write this many bytes to stdout, and as many to stderr.
    StdoutFlood { bytes: usize },
    /// Return an output of this many bytes.
    OutputBig { bytes: usize },
    /// Hand the host one string of this many bytes.
    BigArgument { bytes: usize },
    /// Open this many handles at once: `pollables`, `locks` or `renewals`.
    Handles { kind: String, count: u32 },
    /// Call the host this many times.
    HostCalls { count: u64 },
    /// Takes the lock, then holds it: `how` is `sleep` (`ms`), `spin`, `panic`, `fail` or `twice` (requests it again).
    LockHold {
        name: String,
        #[serde(default)]
        shared: bool,
        #[serde(default)]
        wait_ms: u64,
        how: String,
        #[serde(default)]
        ms: u64,
    },
    /// Takes the lock and releases it; the fence, or `"held"`.
    LockWait {
        name: String,
        #[serde(default)]
        shared: bool,
        #[serde(default)]
        ms: u64,
    },
    /// Takes `first`, and after `ms` also `second`. On a deadlock it releases both and takes them in the order of their
    /// names. The number of deadlocks.
    LockBoth { first: String, second: String, ms: u64 },
    /// The entry as text, or `null`.
    CacheGet { key: String },
    /// Set the entry to a text.
    CacheSet { key: String, value: String, expires_ms: Option<u64> },
    /// The versions of the entry, the current one first.
    CacheHistory { key: String },
    /// The entry as text, as it was in a version, or `null`.
    CacheGetVersion { key: String, version: u64 },
    /// Give the entry the value that it had in a version; its new version.
    CacheRestore { key: String, version: u64 },
    /// Set the entry to `count` patterned values of `bytes` bytes, by `set` or (with `swap`) by `swap`; the number done.
    CacheWriteLoop {
        key: String,
        writer: u64,
        count: u64,
        bytes: usize,
        #[serde(default)]
        swap: bool,
    },
    /// Read the entry `count` times, and check that each value is whole and no version goes back.
    CacheReadCheck { key: String, count: u64 },
    /// Adds one to the JSON number in the entry; its new value.
    Incr { key: String },
    /// Renew the section: `how` is `publish` (of `value`, after `ms`), `fail`, `spin` or `panic`.
    Refresh {
        key: String,
        #[serde(default)]
        max_age_ms: u64,
        how: String,
        #[serde(default)]
        ms: u64,
        #[serde(default)]
        value: Value,
    },
    /// GET the URL; status, headers and body.
    HttpGet { url: String, timeout_ms: Option<u64> },
    /// POST the JSON `body`, padded to `bytes` bytes with spaces; as `http-get`.
    HttpPost {
        url: String,
        body: Value,
        #[serde(default)]
        bytes: usize,
    },
    /// GET the URL, and go where redirects point, up to 10 times.
    HttpGetFollow { url: String },
    /// GET the URL with the header `name`.
    HttpHeader { url: String, name: String },
    /// Connect to `address` by TCP.
    TcpConnect { address: String },
    /// Ask this many times for a lock that is not granted, then fail for good.
    Refused { times: u32 },
    /// Enqueue `times` runs of `task`; their ids.
    Enqueue {
        task: String,
        #[serde(default)]
        input: Value,
        key: Option<String>,
        after_ms: Option<u64>,
        times: Option<u32>,
    },
    /// Add a schedule of `task` under `key`; whether anything was changed.
    AddSchedule {
        key: String,
        task: String,
        every_ms: u64,
        #[serde(default)]
        input: Value,
        #[serde(default)]
        replace: bool,
    },
    /// The schedules that tasks have added.
    ListSchedules,
    /// Delete a schedule; whether there was one.
    DeleteSchedule { key: String },
    /// Continue later until nothing is `left`.
    Continue { left: u32, after_ms: Option<u64> },
    /// The file as text.
    ReadFile { path: String },
    /// Write the file.
    WriteFile { path: String, content: String },
    /// The environment.
    Env,
    /// The arguments.
    Args,
}

fn forever() -> u32 {
    u32::MAX
}

fn run(request: Request) -> Result<Output, Failure> {
    let value = match request.json()? {
        Do::Echo { value } => echo(&request, &value)?,
        Do::FailTransient { until } if request.attempt >= until => json!({ "attempt": request.attempt }),
        Do::FailTransient { .. } => return Err(Failure::transient("told to fail")),
        Do::FailPermanent => return Err(Failure::permanent("told to fail for good")),
        Do::Deferred { ms, key } => capabilities::deferred(ms, key)?,
        Do::Spin => spin(),
        Do::Sleep { ms } => sleep(ms),
        Do::Now => now()?,
        Do::Panic { message } => panic!("{}", message.as_deref().unwrap_or("told to panic")),
        Do::Unreachable => limits::unreachable(),
        Do::Recurse => json!(limits::recurse(0)),
        Do::Exit { code } => std::process::exit(code),
        Do::EatMemory => limits::eat_memory(),
        Do::CopyMemory { mb } => limits::copy_memory(mb.unwrap_or(64)),
        Do::LogFlood { lines, bytes } => limits::log_flood(lines, bytes),
        Do::StdoutFlood { bytes } => limits::stdout_flood(bytes)?,
        Do::OutputBig { bytes } => return Ok(Output::bytes(vec![b'o'; bytes])),
        Do::BigArgument { bytes } => json!(sexton_task::settings::get(&"k".repeat(bytes))),
        Do::Handles { kind, count } => limits::handles(&kind, count)?,
        Do::HostCalls { count } => limits::host_calls(count),
        Do::LockHold { name, shared, wait_ms, how, ms } => capabilities::lock_hold(&name, shared, wait_ms, &how, ms)?,
        Do::LockWait { name, shared, ms } => capabilities::lock_wait(&name, shared, ms)?,
        Do::LockBoth { first, second, ms } => capabilities::lock_both(&first, &second, ms)?,
        Do::CacheGet { key } => capabilities::cache_get(&key)?,
        Do::CacheSet { key, value, expires_ms } => {
            json!(sexton_task::cache::set(&key, value.as_bytes(), expires_ms.map(Duration::from_millis))?)
        }
        Do::CacheHistory { key } => capabilities::cache_history(&key)?,
        Do::CacheGetVersion { key, version } => {
            let entry = sexton_task::cache::get_version(&key, version)?;
            json!(entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned()))
        }
        Do::CacheRestore { key, version } => json!(sexton_task::cache::restore(&key, version)?),
        Do::CacheWriteLoop { key, writer, count, bytes, swap } => values::write_loop(&key, writer, count, bytes, swap)?,
        Do::CacheReadCheck { key, count } => values::read_check(&key, count)?,
        Do::Incr { key } => json!(sexton_task::cache::update(&key, None, |n: Option<u64>| n.unwrap_or(0) + 1)?),
        Do::Refresh { key, max_age_ms, how, ms, value } => capabilities::refresh(&key, max_age_ms, &how, ms, value)?,
        Do::HttpGet { url, timeout_ms } => capabilities::http_get(&url, timeout_ms)?,
        Do::HttpPost { url, body, bytes } => capabilities::http_post(&url, &body, bytes)?,
        Do::HttpGetFollow { url } => capabilities::http_get_follow(url)?,
        Do::HttpHeader { url, name } => {
            json!(sexton_task::http::get(&url).header(&name, "x").send().map_err(Failure::permanent)?.status)
        }
        Do::TcpConnect { address } => json!(std::net::TcpStream::connect(address).map(drop)?),
        Do::Refused { times } => return Err(limits::refused(times)),
        Do::Enqueue { task, input, key, after_ms, times } => {
            capabilities::enqueue(&task, &input, key.as_deref(), after_ms, times.unwrap_or(1))?
        }
        Do::AddSchedule { key, task, every_ms, input, replace } => {
            capabilities::add_schedule(&key, &task, every_ms, &input, replace)?
        }
        Do::ListSchedules => capabilities::list_schedules()?,
        Do::DeleteSchedule { key } => json!(sexton_task::schedule::delete(&key)?),
        Do::Continue { left, after_ms } => capabilities::continue_later(left, after_ms)?,
        Do::ReadFile { path } => json!(std::fs::read_to_string(path)?),
        Do::WriteFile { path, content } => json!(std::fs::write(path, content)?),
        Do::Files { steps } => files::steps(steps),
        Do::Env => json!(std::env::vars().collect::<std::collections::BTreeMap<_, _>>()),
        Do::Args => json!(std::env::args().collect::<Vec<_>>()),
    };
    Output::json(&value)
}

fn echo(request: &Request, value: &Value) -> Result<Value, Failure> {
    let due_at = request.due_at.duration_since(std::time::SystemTime::UNIX_EPOCH)?;
    Ok(json!({
        "run-id": request.run_id,
        "task": request.task,
        "attempt": request.attempt,
        "due-at": u64::try_from(due_at.as_millis())?,
        "cause": format!("{:?}", request.cause).to_lowercase(),
        "value": value,
        "settings": sexton_task::settings::all(),
    }))
}

/// Spin for ever, in a function whose name a backtrace can show.
#[inline(never)]
fn spin() -> ! {
    let mut n = 0_u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

fn now() -> Result<Value, Failure> {
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH)?;
    let chance = std::collections::hash_map::RandomState::new().hash_one(0);
    Ok(json!({ "now-ms": u64::try_from(now.as_millis())?, "chance": chance }))
}

/// Sleeps, and returns for how long.
fn sleep(ms: u64) -> Value {
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(ms));
    json!({ "slept-ms": u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX) })
}
