//! Tests that a run that must end is told first, if it can receive that, and interrupted after its grace.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Host, Setup, attempts, outcome, run_of, state, took_of_its_time};

/// A deadline that keeps a busy machine from hurrying the guest.
const LONG: &str = "1h";

/// A remote that is granted although no request is sent to it.
const NOBODY: &str = "127.0.0.1:1";

/// Longer than a guest that obeys takes, even here.
const PROMPT: Duration = Duration::from_secs(20);

fn manifest(name: &str, grace: &str, remote: &str) -> String {
    format!(
        r#"
[tasks.{name}]
overlap = "allow(100)"
[tasks.{name}.limits]
deadline = "1h"
fuel = 1_000_000_000_000_000
grace = "{grace}"
[tasks.{name}.grants]
locks = ["*"]
cache = ["*"]
schedule = ["*"]
http = ["{remote}"]
"#
    )
}

fn host(grace: &str) -> Host {
    Host::with_plugins(&[("heedful", "heedful", &manifest("heedful", grace, NOBODY))])
}

/// Triggers a run, and waits until its guest reports that it has started its work.
fn ready(host: &Host, task: &str, input: &str) -> i64 {
    let run = host.trigger(task, input);
    said(host, run, "ready");
    run
}

fn said(host: &Host, run: i64, word: &str) {
    host.eventually(&format!("run {run} says `{word}`"), || {
        let (status, log) = host.request("GET", &format!("/v1/runs/{run}/log"), b"");
        (status == 200 && String::from_utf8_lossy(&log).contains(word)).then_some(())
    });
}

fn kill(host: &Host, run: i64, query: &str) -> Value {
    let (status, body) = host.request("POST", &format!("/v1/runs/{run}/kill{query}"), b"");
    assert_eq!(status, 202, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

fn message(answer: &Value) -> &str {
    attempts(answer)[0]["message"].as_str().unwrap_or_default()
}

#[test]
fn a_guest_that_obeys_a_kill_ends_by_itself_and_its_neighbour_continues() {
    let host = host(LONG);
    for verb in [r#"{"do": "heed"}"#, r#"{"do": "listen"}"#] {
        let neighbour = ready(&host, "heedful", r#"{"do": "heed"}"#);
        let run = ready(&host, "heedful", verb);

        let start = Instant::now();
        let killed = kill(&host, run, "?reason=enough");
        let answer = host.wait(run);

        assert_eq!(killed["grace_ms"], 3_600_000, "{killed}");
        assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
        assert_eq!((state(&answer), outcome(&answer)), ("cancelled", "killed"), "{answer}");
        assert_eq!(message(&answer), "enough; then succeeded", "it ended by itself");
        assert_eq!(host.request("GET", &format!("/v1/runs/{run}/output"), b"").0, 404, "what was killed made nothing");
        assert_eq!(state(&host.get(&format!("/v1/runs/{neighbour}"))), "running");
        kill(&host, neighbour, "?now=true");
    }
}

#[test]
fn a_guest_that_waits_for_a_remote_hears_of_its_end_beside_it() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap(); // accepts in the kernel, and never says a word
    let address = silent.local_addr().unwrap();
    let host = Host::with_plugins(&[("heedful", "heedful", &manifest("heedful", LONG, &address.to_string()))]);
    let run = ready(&host, "heedful", &format!(r#"{{"do": "ask", "url": "http://{address}/"}}"#));

    kill(&host, run, "");

    assert_eq!(message(&host.wait(run)), "killed by an operator; then succeeded");
}

#[test]
fn a_guest_that_does_not_heed_is_interrupted_after_its_grace_and_not_before() {
    let host = host("700ms");
    let run = ready(&host, "heedful", r#"{"do": "ignore"}"#);

    let start = Instant::now();
    let told = host.cli(&["kill", &run.to_string(), "--reason", "enough"]);
    let answer = host.wait(run);

    assert_eq!(
        String::from_utf8_lossy(&told.stdout),
        format!("Run {run} was asked to end, and will be interrupted after 700ms.\n")
    );
    assert!(start.elapsed() >= Duration::from_millis(700), "{:?}", start.elapsed());
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
    assert_eq!((state(&answer), message(&answer)), ("cancelled", "enough"), "{answer}");
    let attempt = &attempts(&answer)[0];
    assert!(attempt["log"]["text"].as_str().unwrap().contains("the run was killed"), "it was told: {attempt}");
    assert!(attempt["backtrace"].as_str().unwrap().contains("ignore"), "{attempt}");
    assert!(attempt["accounts"]["fuel"].as_u64().unwrap() > 1_000_000, "it is billed: {attempt}");
}

#[test]
fn kill_now_skips_the_grace_also_after_a_kill_that_did_not() {
    let host = host(LONG);
    let at_once = ready(&host, "heedful", r#"{"do": "ignore"}"#);
    let told = ready(&host, "heedful", r#"{"do": "ignore"}"#);

    let said_first = host.cli(&["kill", &at_once.to_string(), "--now"]);
    kill(&host, told, "");
    said(&host, told, "the run was killed");
    assert_eq!(state(&host.get(&format!("/v1/runs/{told}"))), "running", "it has an hour");
    kill(&host, told, "?now=true");

    assert_eq!(String::from_utf8_lossy(&said_first.stdout), format!("Run {at_once} is being ended.\n"));
    for run in [at_once, told] {
        assert_eq!(state(&host.wait(run)), "cancelled");
    }
    let log = attempts(&host.wait(at_once))[0]["log"]["text"].as_str().unwrap().to_owned();
    assert!(!log.contains("killed"), "it was not told: {log}");
}

#[test]
fn a_guest_that_cannot_hear_of_its_end_is_interrupted_at_once() {
    let host = Host::with_plugins(&[("probe", "probe", &manifest("probe", LONG, NOBODY))]);
    let run = host.trigger("probe", r#"{"do": "sleep", "ms": 3600000}"#);
    host.eventually("it runs", || (state(&host.get(&format!("/v1/runs/{run}"))) == "running").then_some(()));

    let killed = kill(&host, run, "");

    assert_eq!(killed["grace_ms"], 0, "{killed}");
    assert_eq!(state(&host.wait(run)), "cancelled");
}

#[test]
fn a_guest_is_notified_before_its_deadline_which_stays_the_same() {
    let limits = manifest("heedful", "1500ms", NOBODY)
        .replace("\"1h\"", "\"3s\"")
        .replace("[tasks.heedful]", "[tasks.heedful]\nretry = { attempts = 1 }");
    let host = Host::with_plugins(&[("heedful", "heedful", &limits)]);

    let heeds = host.run("heedful", r#"{"do": "listen"}"#);
    let ignores = host.run("heedful", r#"{"do": "ignore"}"#);

    assert_eq!(state(&heeds), "succeeded", "{heeds}");
    assert_eq!(host.output(crate::harness::id(&heeds)), b"the deadline is near");
    let early = took_of_its_time(&heeds);
    assert!(early + Duration::from_millis(2) >= Duration::from_millis(1500), "{early:?}");
    assert_eq!(outcome(&ignores), "timed-out", "{ignores}");
    assert!(attempts(&ignores)[0]["log"]["text"].as_str().unwrap().contains("the deadline is near"), "{ignores}");
    assert!(took_of_its_time(&ignores) + Duration::from_millis(2) >= Duration::from_secs(3), "{ignores}");
}

#[test]
fn the_result_of_a_guest_that_obeyed_a_shutdown_counts() {
    let host = Host::with(&Setup { config: "[machine]\ngrace = \"50s\"".to_owned() });
    host.add("heedful", "heedful", &manifest("heedful", "1s", NOBODY));
    let done = ready(&host, "heedful", r#"{"do": "listen"}"#);
    let gave_up = ready(&host, "heedful", r#"{"do": "give-up", "how": "transient"}"#);
    let failed = ready(&host, "heedful", r#"{"do": "give-up", "how": "permanent"}"#);

    host.signal("TERM");
    let (content, log, directory) = host.ended();

    assert!(content, "{log}");
    let host = Host::start_in(directory);
    assert_eq!(state(&host.wait(done)), "succeeded");
    assert_eq!(host.output(done), b"the host is being shut down");
    assert_eq!(state(&host.wait(failed)), "failed", "a permanent failure is one at any time");
    // The run waits for its next turn, or has it already; the attempt does not count against it.
    let answer = host.get(&format!("/v1/runs/{gave_up}"));
    assert_eq!(attempts(&answer)[0]["outcome"], "failed-transient", "{answer}");
    assert_eq!(run_of(&answer)["failures"], 0, "{answer}");
    host.request("POST", &format!("/v1/runs/{gave_up}/kill?now=true"), b"");
}
