//! Tests waits for locks, and deadlocks.

use serde_json::Value;

use crate::harness::{Host, attempts, list, outcome};
use crate::outcomes::PROBE;

fn patient() -> Host {
    Host::with_plugins(&[("probe", "probe", PROBE)])
}

/// Returns how often a deadlock was reported to the run before it had both locks.
fn deadlocks(host: &Host, run: i64) -> u64 {
    let said: Value = serde_json::from_slice(&host.output(run)).unwrap();
    said["deadlocks"].as_u64().unwrap()
}

#[test]
fn deadlocked_runs_both_finish_after_one_is_refused() {
    let host = patient();
    // Each would wait for an hour if it had the time; the deadline is far longer than the waits here.
    let runs = [("ink", "pen"), ("pen", "ink")].map(|(first, second)| {
        host.trigger(
            "probe",
            &format!(r#"{{"do": "lock-both", "first": "{first}", "second": "{second}", "ms": 1000}}"#),
        )
    });

    let answers = runs.map(|run| host.wait(run));

    let told = runs.map(|run| deadlocks(&host, run));
    assert!(told == [0, 1] || told == [1, 0], "{told:?}");
    let told = told.iter().position(|told| *told == 1).unwrap();
    let log = attempts(&answers[told])[0]["log"]["text"].as_str().unwrap().to_owned();
    for expected in ["deadlock: run", "waits for lock `ink`", "waits for lock `pen`", "warn"] {
        assert!(log.contains(expected), "`{expected}` is not in {log}");
    }
    assert!(host.get("/v1/locks").to_string().contains(r#""locks":[]"#));
}

#[test]
fn twelve_philosophers_all_get_to_eat() {
    let host = patient();
    let runs: Vec<i64> = (0..12)
        .map(|n| {
            let (first, second) = (n, (n + 1) % 12);
            let forks = format!(r#""first": "fork {first:02}", "second": "fork {second:02}""#);
            host.trigger("probe", &format!(r#"{{"do": "lock-both", {forks}, "ms": 500}}"#))
        })
        .collect();

    let told: u64 = runs
        .iter()
        .map(|run| {
            assert_eq!(outcome(&host.wait(*run)), "succeeded");
            deadlocks(&host, *run)
        })
        .sum();

    assert!(told >= 1, "each had taken its first fork when it asked for its second");
}

#[test]
fn the_graph_shows_holders_and_waiters_of_a_lock_with_their_times() {
    let host = patient();
    let holder = host.trigger("probe", r#"{"do": "lock-hold", "name": "ledger", "how": "sleep", "ms": 40000}"#);
    host.eventually("the lock is held", || host.get("/v1/locks").to_string().contains("ledger").then_some(()));
    let waiter = host.trigger("probe", r#"{"do": "lock-wait", "name": "ledger", "ms": 40000}"#);

    let graph: Value = host.eventually("it is waited for", || {
        let graph = host.get("/v1/locks/graph");
        (!list(&graph["locks"][0], "waiters").is_empty()).then_some(graph)
    });
    let node = &graph["locks"][0];
    assert_eq!((&node["name"], &node["holders"][0]["run"]), (&"ledger".into(), &holder.into()));
    assert_eq!((&node["waiters"][0]["run"], &node["waiters"][0]["place"]), (&waiter.into(), &1.into()));
    let tree = String::from_utf8(host.cli(&["locks", "--graph"]).stdout).unwrap();
    let lines: Vec<&str> = tree.lines().map(|line| line.split(", since").next().unwrap_or_default()).collect();
    let [held, waits] =
        [format!("  held by run {holder} of probe, exclusive"), format!("  1. run {waiter} of probe waits, exclusive")];
    assert_eq!(lines, ["ledger", &held, &waits]);
    assert!(host.cli(&["locks", "--graph", "--dot"]).stdout.starts_with(b"digraph"));

    host.cli(&["kill", &holder.to_string()]);
    let answer = host.wait(waiter);
    assert_eq!(outcome(&answer), "succeeded");
    assert!(attempts(&answer)[0]["accounts"]["lock_wait_us"].as_u64().unwrap() > 0, "{answer}");
}
