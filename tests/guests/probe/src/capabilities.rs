//! Actions that use a granted import.

use std::time::Duration;

use serde_json::{Value, json};
use sexton_task::{Failure, cache, http, lock, locks, schedule, section};

use crate::{sleep, spin};

pub(crate) fn deferred(ms: u64, key: Option<String>) -> Result<Value, Failure> {
    if let Some(key) = key {
        match cache::swap(&key, None, b"deferred", None) {
            Ok(_) => {}
            Err(cache::Error::Conflict) => return Ok(json!({ "deferred-before": true })),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::deferred(Duration::from_millis(ms)))
}

pub(crate) fn lock_hold(name: &str, shared: bool, wait_ms: u64, how: &str, ms: u64) -> Result<Value, Failure> {
    let asked = lock(name).wait(Duration::from_millis(wait_ms));
    let guard = if shared { asked.clone().shared() } else { asked.clone() }.acquire()?;
    match how {
        "sleep" => drop(sleep(ms)),
        "spin" => spin(),
        "panic" => panic!("told to panic with the lock `{name}`"),
        "fail" => return Err(Failure::permanent("told to fail with a lock")),
        "twice" => {
            let again = asked.acquire();
            if !matches!(again, Err(locks::Error::Held)) {
                return Err(Failure::permanent("was given a lock that it holds"));
            }
        }
        other => return Err(Failure::permanent(format_args!("cannot hold a lock by `{other}`"))),
    }
    Ok(json!({ "fence": guard.fence() }))
}

pub(crate) fn lock_wait(name: &str, shared: bool, ms: u64) -> Result<Value, Failure> {
    let asked = lock(name).wait(Duration::from_millis(ms));
    match if shared { asked.shared() } else { asked }.acquire() {
        Ok(guard) => Ok(json!({ "fence": guard.fence() })),
        Err(locks::Error::Held) => Ok(json!("held")),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn lock_both(first: &str, second: &str, ms: u64) -> Result<Value, Failure> {
    let take = |name| lock(name).wait(Duration::from_secs(3600)).acquire();
    let mut order = (first, second);
    let mut told = 0;
    loop {
        let both = take(order.0).and_then(|one| {
            drop(sleep(ms));
            take(order.1).map(|other| (one, other))
        });
        match both {
            Ok(_both) => return Ok(json!({ "deadlocks": told })),
            // The lock that was taken has been released by now.
            Err(locks::Error::Deadlock) => told += 1,
            Err(error) => return Err(error.into()),
        }
        order = (first.min(second), first.max(second));
    }
}

pub(crate) fn cache_get(key: &str) -> Result<Value, Failure> {
    Ok(match cache::get(key)? {
        Some(entry) => json!({
            "value": String::from_utf8_lossy(&entry.value),
            "version": entry.version,
            "age-ms": u64::try_from(entry.age.as_millis())?,
        }),
        None => Value::Null,
    })
}

pub(crate) fn cache_history(key: &str) -> Result<Value, Failure> {
    let versions = cache::history(key)?;
    Ok(versions.iter().map(|version| json!({ "version": version.version, "size": version.size })).collect())
}

pub(crate) fn refresh(key: &str, max_age_ms: u64, how: &str, ms: u64, value: Value) -> Result<Value, Failure> {
    let section = section(key).max_age(Duration::from_millis(max_age_ms)).refresh(|_last: Option<&Value>| {
        sleep(ms);
        match how {
            "publish" => Ok(value),
            "spin" => spin(),
            "panic" => panic!("told to panic while renewing `{key}`"),
            _ => Err("told to fail"),
        }
    })?;
    Ok(json!({
        "value": section.value,
        "age-ms": section.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        "state": section.state.to_string(),
    }))
}

pub(crate) fn http_get(url: &str, timeout_ms: Option<u64>) -> Result<Value, Failure> {
    let mut request = http::get(url);
    if let Some(ms) = timeout_ms {
        request = request.timeout(Duration::from_millis(ms));
    }
    Ok(described(&request.send()?))
}

pub(crate) fn http_post(url: &str, body: &Value, bytes: usize) -> Result<Value, Failure> {
    let mut body = body.to_string();
    body.push_str(&" ".repeat(bytes.saturating_sub(body.len())));
    Ok(described(&http::post(url).header("content-type", "application/json").body(body).send()?))
}

pub(crate) fn http_get_follow(mut url: String) -> Result<Value, Failure> {
    for _ in 0..10 {
        let response = http::get(&url).send()?;
        match response.header("location") {
            Some(next) if (300..400).contains(&response.status) => url = next.to_owned(),
            _ => return Ok(described(&response)),
        }
    }
    Err(Failure::permanent("more than 10 redirects"))
}

fn described(response: &http::Response) -> Value {
    let headers: Vec<_> = response.headers.iter().map(|(name, value)| (name, String::from_utf8_lossy(value))).collect();
    json!({ "status": response.status, "headers": headers, "body": String::from_utf8_lossy(&response.body) })
}

pub(crate) fn enqueue(
    task: &str,
    input: &Value,
    key: Option<&str>,
    after_ms: Option<u64>,
    times: u32,
) -> Result<Value, Failure> {
    let mut ids = Vec::new();
    for _ in 0..times {
        let mut run = schedule::enqueue(task).json(input);
        if let Some(key) = key {
            run = run.key(key);
        }
        if let Some(ms) = after_ms {
            run = run.after(Duration::from_millis(ms));
        }
        ids.push(run.send()?);
    }
    Ok(json!(ids))
}

pub(crate) fn add_schedule(
    key: &str,
    task: &str,
    every_ms: u64,
    input: &Value,
    replace: bool,
) -> Result<Value, Failure> {
    let mut schedule = schedule::every(key, task, Duration::from_millis(every_ms)).json(input)?;
    if replace {
        schedule = schedule.replace();
    }
    Ok(json!(schedule.add()?))
}

pub(crate) fn list_schedules() -> Result<Value, Failure> {
    let added = schedule::list()?;
    let shown = added.iter().map(|one| json!({ "key": one.key, "task": one.task, "due": one.next.is_some() }));
    Ok(shown.collect())
}

pub(crate) fn continue_later(left: u32, after_ms: Option<u64>) -> Result<Value, Failure> {
    let Some(left) = left.checked_sub(1) else { return Ok(json!("done")) };
    let next = json!({ "do": "continue", "left": left, "after-ms": after_ms });
    let mut run = schedule::continue_later(&next);
    if let Some(ms) = after_ms {
        run = run.after(Duration::from_millis(ms));
    }
    Ok(json!({ "next": run.send()? }))
}
