//! Lists attacks that pass the host, or have it keep, more than it should take.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::of;
use crate::attack::{Attack, REACHED};
use crate::conditions::end_all;
use crate::host::{CACHE_QUOTA, Host};

/// The runs of one task that may wait because tasks enqueued them: a thousand, and one for each attempt that asks at
/// the same moment.
const MOST_WAITING: usize = 1064;

pub(super) fn attacks() -> Vec<Attack> {
    let runs = Attack::runs;
    vec![
        runs(of!(rust "string_huge"), &["trapped"]).says("to the host in one call"),
        runs(of!(rust "list_huge"), &["trapped"]).says("to the host in one call"),
        runs(of!(rust "list_of_lists"), &["trapped", "succeeded"]),
        runs(of!(rust "name_flood"), &["succeeded"]),
        runs(of!(rust "handle_flood"), &["trapped"]).says("handles"),
        runs(of!(rust "field_flood"), &["timed-out", "trapped"]).deadline_ms(1500),
        runs(of!(rust "log_flood"), &["timed-out", "trapped"]).deadline_ms(1500).check(is_cut::<LOG>),
        runs(of!(rust "stdout_flood"), &["timed-out", "trapped"]).deadline_ms(1500).check(is_cut::<STDIO>),
        runs(of!(rust "output_flood"), &["failed-permanent"]).says("over its limit").check(made_nothing),
        runs(of!(rust "failure_flood"), &["failed-permanent"]),
        runs(of!(rust "escape_words"), &["failed-permanent"]).check(is_harmless),
        runs(of!(rust "header_words"), &["succeeded"]).check(is_plain),
        runs(of!(rust "lock_names"), &["timed-out", "succeeded"]),
        runs(of!(rust "lock_hoard"), &["timed-out", "trapped"]),
        runs(of!(rust "lock_queue"), &["timed-out"]),
        runs(of!(rust "lock_trap"), &["trapped"]).says("a panic with 20 locks"),
        runs(of!(rust "lock_ungranted"), &["succeeded"]),
        runs(of!(rust "cache_fill"), &["succeeded", "timed-out"]).deadline_ms(1000).check(quota_holds),
        runs(of!(rust "cache_crumbs"), &["timed-out"]),
        runs(of!(rust "cache_list"), &["timed-out", "trapped"]),
        runs(of!(rust "refresh_kept"), &["timed-out"]).deadline_ms(REACHED).before(last_good).check(last_good_stays),
        runs(of!(rust "renewal_hoard"), &["succeeded", "timed-out", "out-of-memory"]).deadline_ms(4000),
        runs(of!(rust "stale_version"), &["killed"]).deadline_ms(30_000).endless().check(stale_writes_nothing),
        runs(of!(rust "schedule_bomb"), &["succeeded"]).endless().check(queue_is_bounded),
        runs(of!(rust "schedule_far"), &["succeeded", "timed-out"])
            .deadline_ms(4000)
            .check(queue_is_bounded_and_emptied),
    ]
}

const LOG: u8 = 0;
const STDIO: u8 = 1;

fn is_cut<const WHICH: u8>(_: &Host, _: &Attack, runs: &[Value]) -> Result<()> {
    let fields: &[&str] = if WHICH == LOG { &["log"] } else { &["stdout", "stderr"] };
    for run in runs {
        for field in fields {
            let kept = &run["attempts"][0][field];
            // Fifty share so little time that some do not get that far.
            ensure!(kept["cut"] == true || runs.len() > 1, "{field} is not marked as cut");
            let bytes = kept["text"].as_str().unwrap_or_default().len();
            ensure!(bytes <= 320 << 10, "{bytes} bytes of {field} are kept");
        }
    }
    Ok(())
}

fn made_nothing(host: &Host, _: &Attack, runs: &[Value]) -> Result<()> {
    for run in runs {
        let status = host.ask("GET", &format!("/v1/runs/{}/output", run["run"]["id"]), b"")?.status();
        ensure!(status == 404, "it has an output: {status}");
    }
    Ok(())
}

/// Checks that nothing the command line prints acts on a terminal, and no line was forged.
fn is_harmless(host: &Host, _: &Attack, runs: &[Value]) -> Result<()> {
    let run = runs[0]["run"]["id"].to_string();
    let log = runs[0]["attempts"][0]["log"]["text"].as_str().unwrap_or_default();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).context("a line of the log is not JSON")?;
        ensure!(line["level"] != "error", "a line of the log was forged: {line}");
    }
    let Some(sexton) = &host.sexton else { return Ok(()) };
    for args in [&["show", &run][..], &["logs", &run], &["runs"]] {
        let said = Command::new(sexton).args(args).env("SEXTON_URL", host.url()).output()?;
        let text = String::from_utf8_lossy(&said.stdout);
        ensure!(said.status.success() && !text.is_empty(), "{args:?}: {said:?}");
        let acts = |c: char| (c.is_control() && c != '\n' && c != '\t') || ('\u{202a}'..='\u{202e}').contains(&c);
        ensure!(!text.contains(acts), "`sexton {}` prints {}", args.join(" "), text.escape_debug());
    }
    Ok(())
}

fn is_plain(host: &Host, _: &Attack, runs: &[Value]) -> Result<()> {
    for run in runs {
        let answer = host.ask("GET", &format!("/v1/runs/{}/output", run["run"]["id"]), b"")?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        ensure!(answer.status() == 200 && header("x-forged").is_empty(), "{:?}", answer.headers());
        ensure!(header("content-type") == "application/octet-stream", "{:?}", answer.headers());
        ensure!(header("content-security-policy").contains("sandbox"), "{:?}", answer.headers());
    }
    Ok(())
}

fn quota_holds(host: &Host, _: &Attack, _: &[Value]) -> Result<()> {
    let entries = host.list("/v1/cache?prefix=hostile/fill", "entries")?;
    let size = |entry: &Value| entry["size"].as_u64().unwrap_or(u64::MAX);
    let bytes: u64 = entries.iter().map(size).sum();
    ensure!(!host.is_own() || bytes <= CACHE_QUOTA, "{bytes} bytes are in a cache of {CACHE_QUOTA}");
    for entry in &entries {
        let key = entry["key"].as_str().unwrap_or_default();
        host.ask("DELETE", &format!("/v1/cache/{key}"), b"")?;
    }
    Ok(())
}

fn last_good(host: &Host) -> Result<()> {
    let put = host.ask("PUT", "/v1/cache/hostile/kept", b"7")?;
    ensure!(put.status().is_success(), "cannot set an entry: {}", put.status());
    Ok(())
}

fn last_good_stays(host: &Host, _: &Attack, runs: &[Value]) -> Result<()> {
    ensure!(host.ask("GET", "/v1/cache/hostile/kept", b"")?.body() == b"7", "the last good value is gone");
    let renews = |run: &Value| run["attempts"][0]["log"]["text"].as_str().unwrap_or_default().contains("it is mine");
    ensure!(runs.iter().any(renews), "nobody was let renew it");
    Ok(())
}

/// Checks that the old version is replaced and killed while it writes, and that the value of the new one stays.
fn stale_writes_nothing(host: &Host, attack: &Attack, runs: &[Value]) -> Result<()> {
    let task = attack.task();
    let entry = || host.ask("GET", "/v1/cache/hostile/stale", b"");
    host.eventually("the old version writes", || {
        let began = host.ask("GET", "/v1/cache/hostile/stale-began", b"")?.status() == 200;
        Ok((began && entry()?.status() == 200).then_some(()))
    })?;
    let loaded_at = || -> Result<Value> { Ok(host.plugin(&task)?.context("it is there")?["loaded_at"].clone()) };
    let before = loaded_at()?;
    let old = attack.manifest(&task, &host.ground);
    host.put(
        &task,
        &host.guest,
        &old.replace(
            "[tasks.hostile-stale-version.settings]\n",
            "[tasks.hostile-stale-version.settings]\nversion = \"2\"\n",
        ),
    )?;
    let replaced = host.eventually("it is replaced", || Ok(Some(loaded_at()?).filter(|at: &Value| *at != before)))?;
    for run in runs {
        // The runs that were not allowed to renew it are over already.
        host.ask("POST", &format!("/v1/runs/{}/kill", run["run"]["id"]), b"")?;
    }
    for run in runs {
        host.wait(run["run"]["id"].as_i64().context("a run has an id")?)?;
    }

    let fresh = host.wait(host.trigger(&task)?)?;
    ensure!(fresh["run"]["state"] == "succeeded", "the new version could not renew it: {fresh}");
    let published = entry()?;
    ensure!(
        published.body() == b"\"fresh\"",
        "the new version's value is {:?}",
        published.body().escape_ascii().to_string()
    );
    for _ in 0..20 {
        let now = entry()?;
        ensure!(now.headers()["etag"] == published.headers()["etag"], "it was written after its run was over");
    }

    host.put(&task, &host.guest, &old)?;
    host.eventually("the old version is back", || Ok((loaded_at()? != replaced).then_some(())))?;
    for key in ["stale", "stale-began"] {
        host.ask("DELETE", &format!("/v1/cache/hostile/{key}"), b"")?;
    }
    Ok(())
}

fn waiting(host: &Host, task: &str) -> Result<usize> {
    let mut count = 0;
    let mut before = String::new();
    loop {
        let page = host.get(&format!("/v1/runs?task={task}&state=waiting&limit=1000{before}"))?;
        count += page["runs"].as_array().map_or(0, Vec::len);
        if page["next"].is_null() || count > MOST_WAITING {
            return Ok(count);
        }
        before = format!("&before={}", page["next"]);
    }
}

/// Checks that no more runs wait than may, however long it goes on.
fn queue_is_bounded(host: &Host, attack: &Attack, _: &[Value]) -> Result<()> {
    let start = std::time::Instant::now();
    let mut most = 0;
    while most <= MOST_WAITING && start.elapsed().as_millis() < 1500 {
        most = most.max(waiting(host, &attack.task())?);
        std::thread::sleep(std::time::Duration::from_millis(50)); // the bomb is given its time
    }
    ensure!(most <= MOST_WAITING, "more than {MOST_WAITING} of its runs wait");
    Ok(())
}

fn queue_is_bounded_and_emptied(host: &Host, attack: &Attack, _: &[Value]) -> Result<()> {
    let waiting = waiting(host, &attack.task())?;
    end_all(host, &attack.task())?;
    ensure!(waiting <= MOST_WAITING, "more than {MOST_WAITING} of its runs wait");
    Ok(())
}
