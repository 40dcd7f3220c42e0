//! Tests locks of tasks, and limits of idle time, on a simulated host: a wait takes virtual time, as a guest's does.

use std::time::Duration;

use super::rig::at;
use crate::simulation::{Plan, simulate};
use sexton_domain::task::Name;

/// A program that sleeps for half an hour, and succeeds.
const SLEEPS: &str = r#"(component
    (import "wasi:io/poll@0.2.0" (instance $poll
      (export "pollable" (type $pollable (sub resource)))
      (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
      (alias outer 1 $pollable (type $outer))
      (export "pollable" (type $pollable (eq $outer)))
      (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
    (core func $after (canon lower (func $clock "subscribe-duration")))
    (core func $block (canon lower (func $poll "[method]pollable.block")))
    (core module $m
      (func $after (import "host" "after") (param i64) (result i32))
      (func $block (import "host" "block") (param i32))
      (func (export "run") (result i32) (call $block (call $after (i64.const 1800000000000))) i32.const 0))
    (core instance $i (instantiate $m
      (with "host" (instance (export "after" (func $after)) (export "block" (func $block))))))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance $export (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $export)))"#;

const TASKS: &str = r#"
[tasks.gives-up]
cron = "12 1 * * *"
lock = { name = "x", wait = "5m" }

[tasks.holds]
cron = "0 1 * * *"
lock = { name = "x" }
limits = { deadline = "2h" }

[tasks.idles]
cron = "0 1 * * *"
retry = { attempts = 1 }
limits = { deadline = "2h", idle = "10m" }

[tasks.waits]
cron = "10 1 * * *"
lock = { name = "x", wait = "1h" }
limits = { deadline = "40m" }
"#;

#[tokio::test]
async fn a_wait_for_the_lock_of_a_task_takes_virtual_time_and_none_of_the_guests() {
    let place = tempfile::tempdir().unwrap();
    let plugin = place.path().join("t.wasm");
    std::fs::write(&plugin, wat::parse_str(SLEEPS).unwrap()).unwrap();
    std::fs::write(place.path().join("t.toml"), TASKS).unwrap();
    let plan = Plan {
        plugin,
        start: at("05-01 00:30:00"),
        length: Duration::from_secs(2 * 3600),
        only: ["gives-up", "holds", "idles", "waits"].map(|name| Name::new(name).unwrap()).into(),
        asked: Vec::new(),
        down: Vec::new(),
        steps: Vec::new(),
        seed: 1,
        outputs: false,
    };

    let report = simulate(&plan).await.unwrap();

    let time = |at: &str| at.split(['T', 'Z']).nth(1).unwrap_or_default().to_owned();
    let mut ends: Vec<_> = report
        .runs()
        .map(|run| format!("{} {} {}", run.task, run.outcome, run.ended.as_deref().map(time).unwrap_or_default()))
        .collect();
    ends.sort();
    let expected =
        ["gives-up skipped 01:17:00", "holds succeeded 01:30:00", "idles idle 01:10:00", "waits succeeded 02:00:00"];
    assert_eq!(ends, expected, "{report:?}");
}
