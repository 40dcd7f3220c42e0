//! `kill -9` at random moments, many times over: nothing is lost, nothing is written twice, nothing stays held.

use std::collections::HashSet;
use std::time::Duration;

use crate::harness::{Host, Setup, attempts, id, list, state};

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
    let mut host = Host::with(&Setup::default());
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
    // No slot was lost: as many as ever can run at once.
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

/// As a careful client does it: with a key, so that asking again makes no second run.
fn enqueue_once(host: &Host, n: usize, input: &str) -> i64 {
    let answer = ureq::post(format!("{}/v1/tasks/load/runs", host.url))
        .header("Idempotency-Key", format!("load-{n}"))
        .send(input)
        .unwrap();
    id(&serde_json::from_reader(answer.into_body().into_reader()).unwrap())
}
