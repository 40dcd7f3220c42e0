//! Tests runs that are ended because they are idle, and the steps by which runs are ended.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Host, attempts, id, outcome, state, took};
use crate::outcomes::PROBE;

/// A task that hears of its end, with these limits.
fn heedful(limits: &str) -> String {
    format!(
        "[tasks.heedful]\noverlap = \"allow(100)\"\n[tasks.heedful.retry]\nattempts = 1\n\
         [tasks.heedful.limits]\nfuel = 1_000_000_000_000_000\n{limits}\n\
         [tasks.heedful.grants]\nhttp = [\"127.0.0.1:1\"]\n"
    )
}

fn log(answer: &Value) -> &str {
    attempts(answer)[0]["log"]["text"].as_str().unwrap_or_default()
}

#[test]
fn a_run_that_says_and_receives_nothing_ends_as_idle_whatever_it_does() {
    let manifest = PROBE.replace("deadline = \"50s\"", "deadline = \"50s\"\nidle = \"1s\"");
    let host = Host::with_plugins(&[("probe", "probe", &manifest)]);

    for input in [r#"{"do": "sleep", "ms": 45000}"#, r#"{"do": "spin"}"#] {
        let output = host.cli(&["trigger", "probe", "--input", input, "--wait"]);

        assert_eq!(output.status.code(), Some(14), "{output:?}");
        let runs = host.get("/v1/runs?task=probe");
        let answer = host.get(&format!("/v1/runs/{}", id(&runs["runs"][0])));
        assert_eq!((state(&answer), outcome(&answer)), ("failed", "idle"), "{input}: {answer}");
        let attempt = &attempts(&answer)[0];
        assert!(attempt["message"].as_str().unwrap().starts_with("was idle for 1s, while it was"), "{attempt}");
        assert!(took(attempt) >= Duration::from_millis(998), "{attempt}");
    }
}

#[test]
fn a_run_that_waits_for_a_lock_is_idle() {
    let manifest = PROBE.replace("deadline = \"50s\"", "deadline = \"50s\"\nidle = \"1s\"");
    let host = Host::with_plugins(&[
        ("probe", "probe", PROBE),
        ("idle", "probe", &manifest.replace("tasks.probe", "tasks.idle")),
    ]);
    let holder = host.trigger("probe", r#"{"do": "lock-hold", "name": "ledger", "how": "sleep", "ms": 45000}"#);
    host.eventually("the lock is held", || host.get("/v1/locks").to_string().contains("ledger").then_some(()));

    let answer = host.run("idle", r#"{"do": "lock-wait", "name": "ledger", "ms": 45000}"#);

    assert_eq!(outcome(&answer), "idle", "{answer}");
    assert!(attempts(&answer)[0]["message"].as_str().unwrap().contains("in `locks.acquire`"), "{answer}");
    host.request("POST", &format!("/v1/runs/{holder}/kill"), b"");
}

#[test]
fn a_run_that_goes_on_talking_is_not_idle() {
    let host = Host::with_plugins(&[("heedful", "heedful", &heedful("deadline = \"2m\"\nidle = \"5s\""))]);

    let answer = host.run("heedful", r#"{"do": "talk", "ms": 12000}"#);

    assert_eq!((state(&answer), outcome(&answer)), ("succeeded", "succeeded"), "{answer}");
}

#[test]
fn an_idle_guest_that_hears_of_its_end_may_still_return() {
    let limits = "deadline = \"2m\"\nidle = \"1s\"\ngrace = \"50s\"";
    let host = Host::with_plugins(&[("heedful", "heedful", &heedful(limits))]);

    let answer = host.run("heedful", r#"{"do": "listen"}"#);

    assert_eq!(state(&answer), "succeeded", "{answer}");
    assert_eq!(host.output(id(&answer)), b"the deadline is near");
    assert!(took(&attempts(&answer)[0]) >= Duration::from_millis(998), "{answer}");
}

/// Returns the two numbers that a guest returned: the milliseconds left when it was asked, and when the host insisted.
fn left(host: &Host, answer: &Value) -> (u64, u64) {
    let said = String::from_utf8(host.output(id(answer))).unwrap();
    let (asked, insisted) = said.split_once(' ').unwrap_or_else(|| panic!("{said}"));
    (asked.parse().unwrap(), insisted.parse().unwrap())
}

#[test]
fn a_guest_is_asked_before_its_deadline_and_the_host_insists_with_the_time_that_is_left() {
    let limits = "deadline = \"20s\"\nladder = { insist = \"2s\", end = \"10s\" }";
    let host = Host::with_plugins(&[("heedful", "heedful", &heedful(limits))]);

    let answer = host.run("heedful", r#"{"do": "insisted"}"#);

    assert_eq!(state(&answer), "succeeded", "{answer}");
    let (asked, insisted) = left(&host, &answer);
    assert!((1..=10_000).contains(&asked) && insisted <= 8_000 && insisted < asked, "{asked} {insisted}");
}

#[test]
fn a_killed_guest_is_asked_when_its_ladder_says_and_then_the_host_insists() {
    let limits = "deadline = \"10m\"\nladder = { ask = \"300ms\", insist = \"600ms\", end = \"5m\" }";
    let host = Host::with_plugins(&[("heedful", "heedful", &heedful(limits))]);
    let run = host.trigger("heedful", r#"{"do": "insisted"}"#);
    host.eventually("it has begun", || {
        let (status, log) = host.request("GET", &format!("/v1/runs/{run}/log"), b"");
        (status == 200 && String::from_utf8_lossy(&log).contains("ready")).then_some(())
    });

    host.request("POST", &format!("/v1/runs/{run}/kill?reason=enough"), b"");
    let answer = host.wait(run);

    assert_eq!((state(&answer), outcome(&answer)), ("cancelled", "killed"), "{answer}");
    let left = |word: &str| -> u64 {
        let (_, after) = log(&answer).split_once(&format!("{word} with ")).unwrap_or_else(|| panic!("{answer}"));
        after.split_once(' ').unwrap().0.parse().unwrap()
    };
    let (asked, insisted) = (left("asked"), left("insisted"));
    assert!(asked <= 299_700 && insisted <= 299_400 && insisted < asked, "{asked} {insisted}");
}
