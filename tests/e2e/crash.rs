//! Tests `kill -9` at random moments, many times over: nothing is lost, written twice, or held for ever.

use std::collections::HashSet;
use std::time::Duration;

use crate::harness::{Host, Setup, attempts, id, list, run_of, state};

const RUNS: usize = 500;
const CRASHES: u32 = 20;

/// The load: takes a lock, writes cache entries under it, and counts itself.
const LOAD: &str = r#"
[tasks.load]
overlap = "allow(16)"
[tasks.load.retry]
attempts = 100
delay = "1ms"
[tasks.load.grants]
locks = ["*"]
cache = ["*"]
"#;

#[test]
fn after_twenty_kills_no_run_is_lost_no_outcome_doubled_no_lock_held_and_no_entry_torn() {
    // Runs that are under way at two kills are no suspects here, because this test kills the host on purpose.
    let mut host = Host::with(&Setup { config: "[machine]\nsuspect-after = 0\n".to_owned() });
    host.add("load", "load", LOAD);
    let mut runs = Vec::new();
    for n in 0..RUNS {
        let input =
            format!(r#"{{"lock": "lock-{}", "key": "entry-{}", "counter": "count-{n}", "ms": 400}}"#, n % 40, n % 10);
        runs.push(enqueue_once(&host, n, &input));
    }

    let mut under_way_at_a_kill = 0;
    for crash in 0..CRASHES {
        let running = host.eventually("some of the load is under way", || {
            let running = list(&host.get("/v1/runs?state=running&limit=1000"), "runs").len();
            (running > 0).then_some(running)
        });
        under_way_at_a_kill += running;
        let moment = Duration::from_millis(u64::from(rand::random::<u8>()) * 2);
        std::thread::sleep(moment); // the random moment that this test is about
        let directory = host.kill();
        host = Host::start_in(directory);
        println!("crash {crash} after {moment:?}");
    }
    println!("{under_way_at_a_kill} attempts were under way shortly before a kill");
    assert!(under_way_at_a_kill >= CRASHES as usize, "the load was over before the last kill");

    host.eventually("the load is worked off", || {
        let left = ["waiting", "running"]
            .iter()
            .any(|state| !list(&host.get(&format!("/v1/runs?state={state}&limit=1")), "runs").is_empty());
        (!left).then_some(())
    });
    let mut lost_attempts = 0;
    for (n, run) in runs.iter().enumerate() {
        let answer = host.get(&format!("/v1/runs/{run}"));
        assert_eq!(state(&answer), "succeeded", "{answer}");
        let attempts = attempts(&answer);
        let numbers: HashSet<u64> = attempts.iter().map(|attempt| attempt["attempt"].as_u64().unwrap()).collect();
        assert_eq!(numbers.len(), attempts.len(), "an attempt was written twice: {answer}");
        let succeeded = attempts.iter().filter(|attempt| attempt["outcome"] == "succeeded").count();
        assert_eq!(succeeded, 1, "{answer}");
        lost_attempts += attempts.len() - 1;
        let (status, count) = host.request("GET", &format!("/v1/cache/count-{n}"), b"");
        assert_eq!(status, 200, "the effect of run {run} is missing");
        assert!(String::from_utf8_lossy(&count).parse::<u64>().is_ok_and(|count| count >= 1), "{count:?}");
    }
    println!("{RUNS} runs, {CRASHES} kills, {lost_attempts} attempts lost and made again");
    assert!(list(&host.get("/v1/locks"), "locks").is_empty());
    for n in 0..10 {
        let (status, entry) = host.request("GET", &format!("/v1/cache/entry-{n}"), b"");
        assert_eq!(status, 200);
        assert!(entry.len() > 1000 && entry.iter().all(|byte| *byte == entry[0]), "entry {n} is torn");
    }
    // No slot was lost: as many runs as ever can be under way at once.
    let again: Vec<i64> = (0..16)
        .map(|_| host.trigger("load", r#"{"lock": "again", "key": "entry-0", "counter": "again", "ms": 60000}"#))
        .collect();
    host.eventually("16 runs at once", || {
        (list(&host.get("/v1/runs?state=running&limit=100"), "runs").len() == 16).then_some(())
    });
    for run in again {
        host.request("POST", &format!("/v1/runs/{run}/kill"), b"");
    }
}

/// A task whose run is under way until it is ended.
const LASTING: &str = r#"
[tasks.load]
[tasks.load.retry]
attempts = 3
[tasks.load.grants]
locks = ["*"]
cache = ["*"]
"#;

const FOR_LONG: &str = r#"{"lock": "one", "key": "one", "counter": "one", "ms": 600000}"#;

/// Waits until the run is under way with its attempt `number`, or does not start by itself. Returns the host's answer
/// about it.
fn under_way_or_not(host: &Host, run: i64, number: u64) -> serde_json::Value {
    host.eventually("the run is under way, held back or over", || {
        let answer = host.get(&format!("/v1/runs/{run}"));
        let (of_run, state) = (run_of(&answer).clone(), state(&answer).to_owned());
        let under_way = state == "running" && of_run["attempt"].as_u64() == Some(number);
        let held_back = state == "waiting" && of_run["suspected_at"].is_string();
        (under_way || held_back || state == "failed").then_some(of_run)
    })
}

#[test]
fn a_run_that_kills_its_host_is_tried_no_more_often_than_its_task_allows() {
    let mut host = Host::with(&Setup { config: "[machine]\nsuspect-after = 0\n".to_owned() });
    host.add("load", "load", LASTING);
    let run = host.trigger("load", FOR_LONG);

    for kills in 1..=5 {
        under_way_or_not(&host, run, kills);
        host = Host::start_in(host.kill());
    }

    let answer = host.wait(run);
    assert_eq!((state(&answer), attempts(&answer).len()), ("failed", 3), "{answer}");
}

#[test]
fn a_run_is_held_back_after_its_host_died_twice_until_an_operator_releases_it() {
    let mut host = Host::start();
    host.add("load", "load", LASTING);
    let run = host.trigger("load", FOR_LONG);

    const ALERT: &str = "is held back: it is suspected of killing its host";
    let mut told = 0;
    for kills in 1..=5 {
        under_way_or_not(&host, run, kills);
        host = Host::start_in(host.kill());
        let held_back = under_way_or_not(&host, run, kills + 1)["suspected_at"].is_string();
        if held_back && told == 0 {
            host.eventually("the alert is told", || host.log().contains(ALERT).then_some(()));
        }
        told += host.log().matches(ALERT).count();
    }

    assert_eq!(told, 1, "the alert is told once");
    let held = host.get(&format!("/v1/runs/{run}"));
    assert_eq!((state(&held), attempts(&held).len()), ("waiting", 2), "{held}");
    let hint = format!("`sexton release {run}`");
    for command in [&["show", &run.to_string()][..], &["runs"]] {
        let shown = String::from_utf8(host.cli(command).stdout).unwrap();
        assert!(shown.contains("suspected of killing its host") && shown.contains(&hint), "{shown}");
    }
    let page = String::from_utf8(host.request("GET", "/", b"").1).unwrap();
    assert!(page.contains("suspected of killing its host"), "{page}");

    assert!(host.cli(&["release", &run.to_string()]).status.success());
    host.eventually("the released run is under way", || {
        let answer = host.get(&format!("/v1/runs/{run}"));
        (state(&answer) == "running" && run_of(&answer)["attempt"] == 3).then_some(())
    });
    let again = host.cli(&["release", &run.to_string()]);
    assert!(
        !again.status.success() && String::from_utf8_lossy(&again.stderr).contains("is not held back"),
        "{again:?}"
    );
}

/// Enqueues as a careful client does: with a key, so that a repeated request makes no second run.
fn enqueue_once(host: &Host, n: usize, input: &str) -> i64 {
    let answer = ureq::post(format!("{}/v1/tasks/load/runs", host.url))
        .header("Idempotency-Key", format!("load-{n}"))
        .send(input)
        .unwrap();
    id(&serde_json::from_reader(answer.into_body().into_reader()).unwrap())
}
