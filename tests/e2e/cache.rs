//! Tests that values are whole or missing, however many runs write and read.

use crate::harness::{Host, attempts, outcome, state};
use crate::outcomes::PROBE;

#[test]
fn two_writers_of_one_key_and_a_reader_never_see_a_torn_or_lost_value() {
    // A hundred runs that swap the same value take long on a busy machine.
    let host = Host::with_plugins(&[("probe", "probe", &PROBE.replace("\"50s\"", "\"10m\""))]);
    // Each of the hundred adds one by swapping, and repeats while another was faster.
    let writers: Vec<i64> = (0..100).map(|_| host.trigger("probe", r#"{"do": "incr", "key": "count"}"#)).collect();
    let patterns: Vec<i64> = [(1, false), (2, true)]
        .map(|(writer, swap)| {
            let what = format!(r#""key": "pattern", "writer": {writer}, "swap": {swap}"#);
            host.trigger("probe", &format!(r#"{{"do": "cache-write-loop", {what}, "count": 300, "bytes": 20000}}"#))
        })
        .to_vec();
    let reader = host.trigger("probe", r#"{"do": "cache-read-check", "key": "pattern", "count": 3000}"#);

    for run in writers.into_iter().chain(patterns).chain([reader]) {
        let answer = host.wait(run);
        assert_eq!(outcome(&answer), "succeeded", "{answer}");
    }
    let (_, count) = host.request("GET", "/v1/cache/count", b"");
    assert_eq!(String::from_utf8_lossy(&count), "100");
}

#[test]
fn a_killed_run_releases_its_refresh_and_keeps_the_last_good_value() {
    let host = Host::with_plugins(&[("probe", "probe", PROBE)]);
    assert!(host.cli(&["cache", "set", "section", "\"good\""]).status.success());
    let holder = host.trigger("probe", r#"{"do": "refresh", "key": "section", "how": "spin"}"#);
    host.eventually("it holds the refresh", || {
        let locks = host.get("/v1/locks");
        locks.to_string().contains("section").then_some(())
    });
    let held = host.run("probe", r#"{"do": "refresh", "key": "section", "how": "publish", "value": "not now"}"#);
    let said = |run: &serde_json::Value| String::from_utf8(host.output(crate::harness::id(run))).unwrap();
    assert!(said(&held).contains("renewed by another run") && said(&held).contains("good"), "{}", said(&held));

    host.cli(&["kill", &holder.to_string()]);
    assert_eq!(state(&host.wait(holder)), "cancelled");
    let next = host.run("probe", r#"{"do": "refresh", "key": "section", "how": "publish", "value": "better"}"#);

    assert!(said(&next).contains("better"), "{}", said(&next));
    assert_eq!(host.cli(&["cache", "get", "section"]).stdout, b"\"better\"");
}

#[test]
fn a_task_that_is_over_its_budget_of_the_cache_is_refused_and_its_log_says_why() {
    let manifest = format!("{PROBE}[tasks.probe.budget]\ncache = \"1 KiB\"\n");
    let host = Host::with_plugins(&[("probe", "probe", &manifest)]);
    let set = |key: &str, bytes: usize| {
        let value = "v".repeat(bytes);
        host.run("probe", &format!(r#"{{"do": "cache-set", "key": "{key}", "value": "{value}"}}"#))
    };
    // An operator's entries do not count as the task's.
    assert!(host.cli(&["cache", "set", "theirs", &"x".repeat(5000)]).status.success());
    assert_eq!(outcome(&set("one", 600)), "succeeded");

    let over = set("two", 600);

    assert_ne!(outcome(&over), "succeeded", "{over}");
    let log = attempts(&over)[0]["log"]["text"].as_str().unwrap();
    assert!(log.contains("the task's budget of the cache is used up: 603 of 1024 bytes are in use"), "{log}");
    let run = crate::harness::id(&over).to_string();
    assert!(String::from_utf8_lossy(&host.cli(&["logs", &run]).stdout).contains("budget of the cache"), "{over}");
    assert_eq!(outcome(&set("one", 10)), "succeeded");
    assert_eq!(outcome(&set("two", 600)), "succeeded");
}
