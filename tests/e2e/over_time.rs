//! Tests what is said of a task over time, on both stores: its latest result, its latest run, and sums over its runs.

use serde_json::Value;
use sexton_testkit::postgres::{fresh_schema, shared};

use crate::harness::{Host, Setup, id, list, state};
use crate::outcomes::PROBE;
use crate::pausing::does;

/// Returns a host on SQLite and one on PostgreSQL, each with the probe and a task that is skipped at times.
pub(crate) fn both() -> [Host; 2] {
    let on_postgres = format!("[store]\nurl = {:?}\nschema = {:?}\n", shared().url(), fresh_schema());
    [String::new(), on_postgres].map(|config| {
        let host = Host::with(&Setup { config });
        host.add("probe", "probe", PROBE);
        host
    })
}

/// Returns the served result of the probe.
fn result(host: &Host, query: &str) -> Vec<u8> {
    let (status, body) = host.request("GET", &format!("/v1/tasks/probe/result{query}"), b"");
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    body
}

/// Waits until the attempt at `run` has been waiting in this call for a while.
fn waits_in(host: &Host, run: i64, call: &str) {
    host.eventually(&format!("run {run} waits in {call}"), || {
        let live = host.get("/v1/live");
        let waits = |attempt: &&Value| attempt["run"] == run && attempt["waiting"]["call"] == call;
        list(&live, "attempts").iter().find(waits).map(drop)
    });
}

#[test]
fn the_result_that_is_served_is_that_of_the_run_that_ended_last() {
    for host in both() {
        let holder = host.trigger("probe", r#"{"do": "lock-hold", "name": "door", "how": "sleep", "ms": 3600000}"#);
        waits_in(&host, holder, "wasi:io/poll");
        let patient = host.trigger("probe", r#"{"do": "lock-wait", "name": "door", "ms": 3600000}"#);
        waits_in(&host, patient, "locks.acquire");
        let quick = id(&host.run("probe", r#"{"do": "echo", "value": "quick"}"#));
        assert_eq!(result(&host, ""), host.output(quick));

        host.request("POST", &format!("/v1/runs/{holder}/kill?now=true"), b"");
        assert_eq!(state(&host.wait(patient)), "succeeded");

        assert!(patient < quick);
        let (of_patient, of_quick) = (host.output(patient), host.output(quick));
        assert_eq!(result(&host, ""), of_patient);
        assert_eq!(result(&host, &format!("?of_run={quick}")), of_quick);
        let cli = |args: &[&str]| does(&host, args).0.into_bytes();
        let number = quick.to_string();
        assert_eq!(cli(&["result", "probe"]), of_patient);
        assert_eq!(cli(&["result", "--of-run", &number]), of_quick);
        assert_eq!(cli(&["result", "probe", "--of-run", &number]), of_quick);
        let other = host.cli(&["result", "elsewhere", "--of-run", &number]);
        assert_eq!(other.status.code(), Some(4), "{}", String::from_utf8_lossy(&other.stderr));
    }
}

#[test]
fn the_latest_run_of_a_task_is_the_one_that_began_last() {
    for host in both() {
        let (status, body) = host.request("POST", "/v1/tasks/probe/runs?in=2s", br#"{"do": "echo", "value": "later"}"#);
        assert_eq!(status, 202);
        let later = id(&serde_json::from_slice(&body).unwrap());
        let now = id(&host.run("probe", r#"{"do": "echo"}"#));
        let last = || host.get("/v1/tasks/probe")["last"]["run"].clone();
        let before = last();

        host.wait(later);

        assert!(later < now);
        assert_eq!((before, last()), (now.into(), later.into()));
        let tasks = host.get("/v1/tasks");
        assert_eq!(list(&tasks, "tasks")[0]["last"]["run"], later);
        assert!(does(&host, &["show", "probe"]).0.starts_with(&format!("Run {later}\n")));
        assert!(does(&host, &["logs", "probe"]).0.contains(&format!("run {later}")));
    }
}

/// A task whose runs take longer than the time between them.
const BUSY: &str = "[tasks.busy]\nevery = \"100ms\"\ninput-json = { do = \"sleep\", ms = 250 }\n\
     [tasks.busy.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n";

#[test]
fn a_task_is_shown_with_counts_and_times_of_its_runs() {
    for host in both() {
        host.add("busy", "probe", BUSY);
        host.eventually("runs have ended and others were skipped", || {
            let sums = host.get("/v1/tasks/busy?statistics=true")["statistics"].clone();
            let enough = |word: &str| sums[word].as_u64().is_some_and(|count| count >= 3);
            (enough("succeeded") && enough("skipped")).then_some(())
        });

        let sums = host.get("/v1/tasks/busy?since=1h")["statistics"].clone();
        let shown = does(&host, &["tasks", "busy", "--since", "1h"]).0;
        let json: Value = serde_json::from_str(&does(&host, &["tasks", "busy", "--json"]).0).unwrap();

        assert_eq!([&sums["at_once"]["most"], &sums["at_once"]["limit"]], [1, 1], "{sums}");
        assert!(sums["at_once"]["at_limit"].as_u64() >= sums["succeeded"].as_u64(), "each start reaches it: {sums}");
        let number =
            |part: &str, word: &str| sums[part][word].as_u64().unwrap_or_else(|| panic!("{part} {word}: {sums}"));
        assert!(number("run", "mean_ms") >= 250 && number("run", "p95_ms") >= 250, "{sums}");
        assert!(number("interval", "mean_ms") >= 250, "{sums}");
        assert!(number("wait", "count") >= 3, "{sums}");
        assert!(json["statistics"]["runs"].as_u64() >= sums["runs"].as_u64());
        for part in [
            "Task busy\n",
            "  due         every ",
            " ago): ",
            "  ok  ",
            "  skipped  ",
            "  at once     1, of at most 1",
            "  at max      ",
            "P95",
            "interval",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let ahead = host.cli(&["tasks", "busy", "--since", "tomorrow"]);
        assert_eq!(ahead.status.code(), Some(2), "{}", String::from_utf8_lossy(&ahead.stderr));
    }
}

#[test]
fn failures_are_shown_as_they_came_changed_and_were_healed() {
    for host in both() {
        let run = |input: &str| id(&host.run("probe", input));
        run(r#"{"do": "echo"}"#);
        let first = run(r#"{"do": "fail-permanent"}"#);
        run(r#"{"do": "fail-permanent"}"#);
        let new = run(r#"{"do": "panic", "message": "out of paper"}"#);
        let open = host.get("/v1/tasks/probe?statistics=true")["statistics"].clone();
        let while_open = does(&host, &["tasks", "probe"]).0;
        let healer = run(r#"{"do": "echo"}"#);

        let healed = host.get("/v1/tasks/probe?statistics=true")["statistics"].clone();
        let shown = does(&host, &["tasks", "probe"]).0;

        let changes = |sums: &Value| -> Vec<(String, i64, u64)> {
            let change = |change: &Value| {
                let word = change["change"].as_str().unwrap().to_owned();
                (word, change["run"].as_i64().unwrap(), change["failures"].as_u64().unwrap())
            };
            list(sums, "changes").iter().map(change).collect()
        };
        let expected = [("first".to_owned(), first, 2), ("new".to_owned(), new, 1), ("healed".to_owned(), healer, 3)];
        assert_eq!((changes(&open), changes(&healed)), (expected[..2].to_vec(), expected.to_vec()));
        assert!(open["failing_since"].is_string() && healed["failing_since"].is_null(), "{open} {healed}");
        assert!(while_open.contains("Still failing, since") && while_open.contains("still"), "{while_open}");
        for part in ["FAILURES", "first", "new", "healed", "told to fail for good", "trapped"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains("Still failing"), "{shown}");
    }
}
