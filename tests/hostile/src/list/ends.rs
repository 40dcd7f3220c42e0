//! Lists attacks that do not end by themselves, or end as they must not.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::of;
use crate::attack::Attack;
use crate::host::Host;

pub(super) fn attacks() -> Vec<Attack> {
    let runs = Attack::runs;
    vec![
        runs(of!(rust "spin_in_run"), &["timed-out"]).says("while it was computing").hung_in("spin"),
        runs(of!(text "spin_in_start"), &["timed-out"]),
        runs(of!(text "spin_in_initialize"), &["timed-out"]),
        runs(of!(text "spin_in_realloc"), &["timed-out"]),
        runs(of!(text "spin_in_destructor"), &["timed-out"]),
        runs(of!(text "spin_in_post_return"), &["timed-out"]),
        runs(of!(text "trap_in_post_return"), &["trapped"]),
        runs(of!(text "trap_in_start"), &["trapped"]),
        runs(of!(text "destructor_left"), &["succeeded"]),
        runs(of!(rust "burn_fuel"), &["out-of-fuel"]).fuel(2_000_000).says("2000000 units"),
        runs(of!(rust "recurse"), &["trapped"]).says("stack"),
        runs(of!(rust "sleep_for_ever"), &["timed-out"]).hung_in("sleep"),
        runs(of!(rust "clock_spin"), &["timed-out", "trapped"]),
        runs(of!(rust "poll_spin"), &["timed-out", "trapped"]),
        runs(of!(rust "poll_crowd"), &["timed-out"]),
        runs(of!(rust "panic"), &["trapped"]).says("a panic in a guest").hung_in("panic"),
        runs(of!(rust "abort"), &["trapped"]),
        runs(of!(rust "exit_zero"), &["trapped", "failed-transient", "failed-permanent"]),
        runs(of!(rust "exit_one"), &["trapped", "failed-transient", "failed-permanent"]),
        runs(of!(rust "defer_for_ever"), &["deferred"]).endless().check(deferred_slowly),
        runs(of!(text "realloc_outside"), &["trapped"]),
        runs(of!(text "answer_outside"), &["trapped"]),
        runs(of!(text "answer_endless"), &["trapped"]),
        runs(of!(text "answer_not_text"), &["trapped"]),
    ]
}

/// Checks that each run was deferred a few times, and not more often than ten times a second.
fn deferred_slowly(host: &Host, _: &Attack, runs: &[Value]) -> Result<()> {
    for run in runs {
        let path = format!("/v1/runs/{}", run["run"]["id"]);
        let run = host.eventually("it was deferred five times", || {
            let run = host.get(&path)?;
            Ok((run["attempts"].as_array().map_or(0, Vec::len) >= 5).then_some(run))
        })?;
        let attempts = run["attempts"].as_array().context("it has attempts")?;
        ensure!(attempts.iter().all(|attempt| attempt["outcome"] == "deferred"), "{run}");
        for pair in attempts.windows(2) {
            let at = |value: &Value| chrono::DateTime::parse_from_rfc3339(value.as_str().unwrap_or_default());
            let pause = at(&pair[1]["started_at"])? - at(&pair[0]["ended_at"])?;
            ensure!(pause.num_milliseconds() >= 98, "it was run again after {pause}");
        }
    }
    Ok(())
}
