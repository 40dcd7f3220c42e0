//! Lists attacks that want more room than there is.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::of;
use crate::attack::Attack;
use crate::host::Host;

/// The outcomes of an attack that has the host hold more than its memory; fifty share so little time that some do not
/// get that far.
const HOARDED: &[&str] = &["out-of-memory", "timed-out"];

pub(super) fn attacks() -> Vec<Attack> {
    let (runs, quarantined) = (Attack::runs, Attack::quarantined);
    vec![
        runs(of!(rust "memory_bomb"), &["out-of-memory"]).says("33554432 bytes of memory"),
        runs(of!(text "memory_declared"), &["out-of-memory"]),
        quarantined(of!(text "memory_declared_huge"), "memory"),
        // They have little memory, because using it up in small pieces takes time.
        runs(of!(rust "body_hoard"), HOARDED).memory_mib(4).deadline_ms(10_000).check(is_told_what_was_held),
        runs(of!(rust "response_hoard"), HOARDED).memory_mib(4).deadline_ms(10_000).check(is_told_what_was_held),
        runs(of!(rust "request_words"), HOARDED).memory_mib(16).deadline_ms(10_000).check(is_told_what_was_held),
        runs(of!(made instance_hoard), &["out-of-memory"]).memory_mib(4).says("in tables and core instances"),
        quarantined(of!(text "memory_many"), "memories"),
        runs(of!(text "memory_grow_loop"), &["timed-out"]),
        runs(of!(rust "memory_copy"), &["timed-out", "out-of-fuel"]),
        runs(of!(text "memory_fill"), &["timed-out", "out-of-fuel"]),
        quarantined(of!(text "table_declared_huge"), "table"),
        runs(of!(text "table_grow_loop"), &["trapped"]).says("table elements"),
        runs(of!(text "table_fill"), &["timed-out", "out-of-fuel"]),
        runs(of!(text "resource_flood"), &["timed-out", "out-of-fuel", "trapped"]),
        quarantined(of!(made instances_many), "instances"),
        // The compiler takes as much as it may for each.
        quarantined(of!(made instances_doubling), "").most_at_once(4),
        quarantined(of!(made types_doubling), "type"),
        runs(of!(rust "random_flood"), &["timed-out", "trapped", "out-of-memory"]),
        runs(of!(rust "random_huge"), &["trapped"]),
        runs(of!(rust "zeroes_huge"), &["trapped"]),
        runs(of!(rust "stream_sizes"), &["succeeded"]),
    ]
}

/// Checks that a run which reaches its memory limit reports how much of that the host held; alone it must.
fn is_told_what_was_held(_: &Host, _: &Attack, runs: &[Value]) -> Result<()> {
    for run in runs {
        let attempt = run["attempts"].as_array().and_then(|all| all.last()).context("it was tried")?;
        let message = attempt["message"].as_str().unwrap_or_default();
        let ended = attempt["outcome"] == "out-of-memory";
        ensure!(ended || runs.len() > 1, "it did not come to the end of its memory: {message}");
        ensure!(!ended || message.contains("of which the host held"), "it is not told what the host held: {message}");
    }
    Ok(())
}
