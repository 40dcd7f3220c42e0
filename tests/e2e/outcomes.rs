//! Tests the ends of attempts, each with its own outcome, with the real host.

use serde_json::Value;

use crate::harness::{Host, attempts, guest, list, outcome, state};

/// A probe that may do anything, once, and has time for it on a busy machine.
pub(crate) const PROBE: &str = r#"
[tasks.probe]
overlap = "allow(200)"
[tasks.probe.retry]
attempts = 1
[tasks.probe.limits]
deadline = "50s"
memory = "32 MiB"
[tasks.probe.grants]
locks = ["*"]
cache = ["*"]
schedule = ["probe"]
http = ["127.0.0.1:1"]
"#;

fn ends_like(input: &str, expected: &str) -> Value {
    let host = Host::with_plugins(&[("probe", "probe", PROBE)]);
    let answer = host.run("probe", input);
    assert_eq!(outcome(&answer), expected, "{input}: {answer}");
    attempts(&answer)[0].clone()
}

#[test]
fn outcomes_are_distinguished() {
    let late = PROBE.replace("tasks.probe", "tasks.late").replace("\"50s\"", "\"2s\"");
    let host = Host::with_plugins(&[("probe", "probe", PROBE), ("late", "probe", &late)]);
    let cases = [
        (r#"{"do": "echo"}"#, "succeeded", "succeeded"),
        (r#"{"do": "fail-transient"}"#, "failed-transient", "failed"),
        (r#"{"do": "fail-permanent"}"#, "failed-permanent", "failed"),
        (r#"{"do": "spin"}"#, "timed-out", "failed"),
        (r#"{"do": "sleep", "ms": 60000}"#, "timed-out", "failed"),
        (r#"{"do": "panic"}"#, "trapped", "failed"),
        (r#"{"do": "unreachable"}"#, "trapped", "failed"),
        (r#"{"do": "recurse"}"#, "trapped", "failed"),
        (r#"{"do": "exit", "code": 0}"#, "trapped", "failed"), // it gave no answer
        (r#"{"do": "eat-memory"}"#, "out-of-memory", "failed"),
        (r#"{"do": "output-big", "bytes": 2000000}"#, "failed-permanent", "failed"),
    ];
    let task = |outcome: &str| if outcome == "timed-out" { "late" } else { "probe" };
    let runs: Vec<i64> = cases.iter().map(|(input, outcome, _)| host.trigger(task(outcome), input)).collect();

    for ((input, expected_outcome, expected_state), run) in cases.into_iter().zip(runs) {
        let answer = host.wait(run);
        assert_eq!(outcome(&answer), expected_outcome, "{input}: {answer}");
        assert_eq!(state(&answer), expected_state, "{input}: {answer}");
    }
}

#[test]
fn running_out_of_fuel_and_running_out_of_time_are_different_outcomes() {
    let manifest = "[tasks.probe]\n[tasks.probe.retry]\nattempts = 1\n[tasks.probe.limits]\nfuel = 50_000_000\n[tasks.probe.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n";
    let host = Host::with_plugins(&[("probe", "probe", manifest)]);

    let answer = host.run("probe", r#"{"do": "spin"}"#);

    assert_eq!(outcome(&answer), "out-of-fuel", "{answer}");
    let fuel = attempts(&answer)[0]["accounts"]["fuel"].as_u64().unwrap();
    assert!((49_000_000..=50_100_000).contains(&fuel), "{fuel} of 50,000,000 units are accounted for");
}

#[test]
fn a_trap_says_where_with_file_and_line() {
    let attempt = ends_like(r#"{"do": "panic"}"#, "trapped");

    let stack = attempt["backtrace"].as_str().unwrap();
    assert!(stack.contains("probe") && stack.contains(".rs:"), "{stack}");
    assert!(attempt["stderr"]["text"].as_str().unwrap().contains("panicked"), "{attempt}");
}

#[test]
fn floods_are_cut_and_marked_as_cut() {
    let log = ends_like(r#"{"do": "log-flood", "lines": 10000, "bytes": 200}"#, "succeeded");
    assert_eq!(log["log"]["cut"], true);
    assert!(log["log"]["text"].as_str().unwrap().len() <= 300 << 10);

    let stdout = ends_like(r#"{"do": "stdout-flood", "bytes": 3000000}"#, "succeeded");
    assert_eq!(stdout["stdout"]["cut"], true);
    assert!(stdout["stdout"]["text"].as_str().unwrap().len() <= 300 << 10);
}

#[test]
fn a_run_that_is_deferred_uses_up_no_attempt() {
    let host = Host::with_plugins(&[("probe", "probe", PROBE)]);
    let run = host.trigger("probe", r#"{"do": "deferred", "ms": 100}"#);

    host.eventually("it was deferred three times", || {
        let answer = host.get(&format!("/v1/runs/{run}"));
        (attempts(&answer).len() >= 3).then_some(())
    });
    let answer = host.get(&format!("/v1/runs/{run}"));

    assert!(attempts(&answer).iter().all(|attempt| attempt["outcome"] == "deferred"), "{answer}");
    assert_eq!(crate::harness::run_of(&answer)["failures"], 0);
}

#[test]
fn a_transient_failure_is_tried_again_as_the_policy_says() {
    let manifest = PROBE.replace("attempts = 1", "attempts = 3\ndelay = \"50ms\"\njitter = 0.0");
    let host = Host::with_plugins(&[("probe", "probe", &manifest)]);

    let answer = host.run("probe", r#"{"do": "fail-transient"}"#);

    assert_eq!(state(&answer), "failed");
    assert_eq!(attempts(&answer).len(), 3, "{answer}");
}

#[test]
fn a_kill_ends_that_run_and_no_other() {
    let host = Host::with_plugins(&[("probe", "probe", &PROBE.replace("\"50s\"", "\"1h\""))]);
    let victim = host.trigger("probe", r#"{"do": "spin"}"#);
    let neighbour = host.trigger("probe", r#"{"do": "sleep", "ms": 1500}"#);
    for run in [victim, neighbour] {
        host.eventually("both run", || (state(&host.get(&format!("/v1/runs/{run}"))) == "running").then_some(()));
    }

    let killed = host.cli(&["kill", &victim.to_string()]);

    assert!(killed.status.success(), "{killed:?}");
    let answer = host.wait(victim);
    assert_eq!((state(&answer), outcome(&answer)), ("cancelled", "killed"), "{answer}");
    assert_eq!(state(&host.wait(neighbour)), "succeeded");
}

#[test]
fn a_task_that_is_paused_does_not_start_until_it_is_resumed() {
    let host = Host::with_plugins(&[("tick", "hello", "[tasks.tick]\nevery = \"1s\"\n")]);
    host.eventually("it ran", || {
        (!list(&host.get("/v1/runs?task=tick&state=succeeded"), "runs").is_empty()).then_some(())
    });
    assert!(host.cli(&["pause", "tick"]).status.success());

    let asked = host.trigger("tick", "");
    let other = Host::with_plugins(&[("hello", "hello", "[tasks.hello]\n")]);
    assert_eq!(state(&other.run("hello", "")), "succeeded"); // a while passes in which nothing of `tick` may start
    assert_eq!(state(&host.get(&format!("/v1/runs/{asked}"))), "waiting");

    assert!(host.cli(&["resume", "tick"]).status.success());
    assert_eq!(state(&host.wait(asked)), "succeeded");
}

#[test]
fn a_task_enqueues_others_and_continues_itself() {
    let host = Host::with_plugins(&[("probe", "probe", PROBE)]);

    let parent = host.run("probe", r#"{"do": "enqueue", "task": "probe", "input": {"do": "echo"}}"#);

    assert_eq!(state(&parent), "succeeded", "{parent}");
    let child = host.eventually("the child is over", || {
        let runs = host.get("/v1/runs?task=probe&state=succeeded");
        list(&runs, "runs").iter().find(|run| run["cause"] == "task").cloned()
    });
    assert_eq!(child["parent"], crate::harness::id(&parent), "{child}");
}

#[test]
fn the_environment_of_the_host_is_not_the_guests() {
    let host = Host::with_plugins(&[("probe", "probe", PROBE)]);

    let answer = host.run("probe", r#"{"do": "env"}"#);

    let seen = String::from_utf8(host.output(crate::harness::id(&answer))).unwrap();
    assert!(!seen.contains("SECRET") && !seen.contains("PATH"), "{seen}");
}

#[test]
fn guests_of_any_kind_leave_the_host_standing() {
    let host = Host::with_plugins(&[("probe", "probe", PROBE)]);
    host.add_bytes("junk", &guest("noop")[..100], None);
    for input in [
        "",
        "{",
        "[]",
        r#"{"do": "no such thing"}"#,
        r#"{"do": "handles", "kind": "pollables", "count": 100000}"#,
        r#"{"do": "host-calls", "count": 100000000}"#,
    ] {
        host.wait(host.trigger("probe", input));
    }

    assert_eq!(outcome(&host.run("probe", r#"{"do": "echo"}"#)), "succeeded");
}
