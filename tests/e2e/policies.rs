//! Tests tasks whose runs do not end, or end badly again and again: they are replaced, paused, held back.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use serde_json::Value;

use crate::harness::{Host, attempts, id, list, outcome, run_of, state};

/// Returns a task of the probe with these lines, one attempt a run and all grants.
fn manifest(task: &str, lines: &str) -> String {
    format!(
        "[tasks.{task}]\n{lines}\n[tasks.{task}.retry]\nattempts = 1\n[tasks.{task}.limits]\ndeadline = \"50s\"\n\
         [tasks.{task}.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n"
    )
}

/// Returns the runs of a task, oldest first.
fn runs(host: &Host, task: &str) -> Vec<Value> {
    let mut runs = list(&host.get(&format!("/v1/runs?task={task}&limit=1000")), "runs").to_vec();
    runs.reverse();
    runs
}

fn task(host: &Host, name: &str) -> Value {
    host.get(&format!("/v1/tasks/{name}"))
}

fn instant(value: &Value) -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339(value.as_str().unwrap_or_else(|| panic!("no instant: {value}"))).unwrap()
}

fn said(run: &Value) -> &str {
    run["message"].as_str().unwrap_or_default()
}

#[test]
fn a_run_that_does_not_end_is_replaced_by_the_next_which_gets_its_lock() {
    let lines =
        "every = \"500ms\"\noverlap = \"replace\"\ninput-json = { do = \"lock-hold\", name = \"one\", how = \"spin\" }";
    let host = Host::with_plugins(&[("spins", "probe", &manifest("spins", lines))]);
    let (fences, _) = passed_on(&host, BTreeMap::new(), 5);

    // If the host dies in the middle of it, the next one takes over.
    let host = Host::start_in(host.kill());
    let (fences, all) = passed_on(&host, fences, 7);

    assert!(fences.values().is_sorted_by(|a, b| a < b), "{fences:?}");
    let mut free_since = None;
    for (place, run) in all.iter().enumerate().filter(|(_, run)| run["ended_at"].is_string()) {
        assert_eq!(run["state"], "cancelled", "{run}");
        let next = &all.get(place + 1).unwrap_or_else(|| panic!("{run} has no successor in {all:?}"))["id"];
        assert_eq!(said(run), format!("replaced by run {next}"), "{run}");
        let answer = host.get(&format!("/v1/runs/{}", run["id"]));
        // A run that was replaced before its start has no attempt, and the one of the dead host may have two.
        for attempt in attempts(&answer) {
            assert!(["killed", "lost"].contains(&attempt["outcome"].as_str().unwrap()), "{answer}");
            let started = instant(&attempt["started_at"]);
            assert!(
                free_since.is_none_or(|ended| ended <= started),
                "{answer} began before the run before it was over"
            );
            free_since = Some(instant(&attempt["ended_at"]));
        }
    }
}

/// Waits until `most` runs of `spins` have held its lock. Returns the fence of each by its run, and all runs.
fn passed_on(host: &Host, mut fences: BTreeMap<i64, u64>, most: usize) -> (BTreeMap<i64, u64>, Vec<Value>) {
    // The guests request the lock without waiting, and fail if it is held.
    let all = host.eventually("the lock was passed on", || {
        for lock in list(&host.get("/v1/locks"), "locks") {
            fences.insert(lock["run"].as_i64().unwrap(), lock["fence"].as_u64().unwrap());
        }
        let all = runs(host, "spins");
        let running = all.iter().filter(|run| run["state"] == "running").count();
        assert!(running <= 1, "{all:?}");
        (fences.len() >= most).then_some(all)
    });
    (fences, all)
}

#[test]
fn a_run_that_a_person_asks_for_replaces_what_is_running_and_one_for_later_does_not() {
    let host = Host::with_plugins(&[("newest", "probe", &manifest("newest", "overlap = \"replace\""))]);
    let old = host.trigger("newest", r#"{"do": "sleep", "ms": 40000}"#);
    host.eventually("it runs", || (state(&host.get(&format!("/v1/runs/{old}"))) == "running").then_some(()));

    let (status, body) = host.request("POST", "/v1/tasks/newest/runs?after=5s", br#"{"do": "echo"}"#);
    assert_eq!(status, 202);
    let later: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&later["replaced"], state(&host.get(&format!("/v1/runs/{old}")))), (&serde_json::json!([]), "running"));
    let asked = host.cli(&["trigger", "newest", "--input", r#"{"do": "echo"}"#]);

    let printed = String::from_utf8(asked.stdout).unwrap();
    assert!(printed.contains(&format!("in the place of run {old}")), "{printed}");
    let answer = host.wait(old);
    assert_eq!((state(&answer), outcome(&answer)), ("cancelled", "killed"), "{answer}");
    let new = runs(&host, "newest").pop().unwrap();
    assert_eq!(said(run_of(&answer)), format!("replaced by run {}", new["id"]));
    assert_eq!(state(&host.wait(id(&new))), "succeeded");
    assert_eq!(state(&host.wait(id(&later))), "succeeded");
}

#[test]
fn a_task_that_fails_again_and_again_is_paused_and_that_is_shown_everywhere() {
    let lines = "every = \"200ms\"\npause-after = 3\ninput-json = { do = \"fail-permanent\" }";
    let host = Host::with_plugins(&[("fails", "probe", &manifest("fails", lines))]);

    host.eventually("it is paused", || (task(&host, "fails")["paused"] == true).then_some(()));

    let failed = |host: &Host| -> Vec<_> {
        runs(host, "fails").into_iter().filter(|run| run["state"] == "failed").map(|run| id(&run)).collect()
    };
    let three = failed(&host);
    let last = three.last().unwrap();
    let why = &format!("3 runs failed one after another, the last was run {last} (failed-permanent)")[..];
    let shown = task(&host, "fails");
    assert_eq!((&shown["paused_why"], &shown["failures"]), (&why.into(), &3.into()), "{shown}");
    assert!(shown["paused_at"].is_string(), "{shown}");
    let line = host.eventually("the alert is in the log", || {
        host.log().lines().find(|line| line.contains("task-paused")).map(str::to_owned)
    });
    for part in ["ERROR", "alert=\"task-paused\"", "task.name=fails", "failures=3", why, "sexton resume fails"] {
        assert!(line.contains(part), "`{part}` is not in {line}");
    }
    let printed = String::from_utf8(host.cli(&["tasks"]).stdout).unwrap();
    assert!(printed.contains("paused") && printed.contains(&format!("`fails` is paused: {why}")), "{printed}");
    let (_, page) = host.request("GET", "/", b"");
    assert!(String::from_utf8_lossy(&page).contains(why));
    let waits = host.trigger("fails", r#"{"do": "echo"}"#);
    let run = host.get(&format!("/v1/runs/{waits}"));
    assert_eq!((state(&run), &run_of(&run)["why"]), ("waiting", &format!("its task is paused: {why}").into()));
    assert_eq!((three.len(), failed(&host)), (3, three.clone()));

    let host = Host::start_in(host.kill());
    host.loaded("fails");
    assert_eq!(task(&host, "fails")["paused_why"], why, "a pause outlives its host");
    assert!(host.cli(&["resume", "fails"]).status.success());

    assert_eq!(state(&host.wait(waits)), "succeeded");
    let again = host.eventually("it is paused again", || {
        let shown = task(&host, "fails");
        (shown["paused"] == true).then_some(shown)
    });
    // Earlier failures, and the success of the run above, do not count: there were three more.
    assert_eq!(again["failures"], 3, "{again}");
    let failed = failed(&host).len();
    assert!((6..=8).contains(&failed), "{failed}: up to two more may have failed before the success");
}

#[test]
fn a_task_that_crashes_at_once_is_held_back_for_longer_and_longer_under_every_schedule() {
    let lines = "every = \"100ms\"\ninput-json = { do = \"panic\" }";
    let host = Host::with_plugins(&[("crashes", "probe", &manifest("crashes", lines))]);

    // Each hold is long enough for the checks below.
    let held = host.eventually("the sixth has crashed, and another is held back", || {
        let all = runs(&host, "crashes");
        let crashed = all.iter().filter(|run| run["outcome"] == "trapped").count();
        all.into_iter().rfind(|run| crashed >= 6 && run["state"] == "waiting")
    });

    let why = held["why"].as_str().unwrap_or_else(|| panic!("{held}"));
    assert!(why.starts_with("held back until ") && why.ends_with(" after 6 crashes in a row"), "{why}");
    let shown = task(&host, "crashes");
    assert_eq!((&shown["crashes"], &shown["paused"]), (&6.into(), &false.into()), "{shown}");
    assert!(shown["held_until"].is_string(), "{shown}");
    let crashes: Vec<_> = runs(&host, "crashes").into_iter().filter(|run| run["outcome"] == "trapped").collect();
    let gap = |place: usize| {
        let (ended, next) = (instant(&crashes[place - 1]["ended_at"]), instant(&crashes[place]["claimed_at"]));
        (next - ended).to_std().unwrap_or_default()
    };
    // The third crash holds the fourth back, and that the fifth.
    assert!(gap(3) >= Duration::from_secs(1) && gap(4) >= Duration::from_secs(2), "{crashes:?}");
    host.eventually("the log tells it", || {
        host.log().contains("alert=\"task-held-back\" task.name=crashes crashes=6").then_some(())
    });

    // An operator who wants to see whether it works now need not wait; if it does, the schedule goes on.
    assert_eq!(state(&host.run("crashes", r#"{"do": "echo"}"#)), "succeeded");
    let freed = host.eventually("the one that was held back has run", || {
        let answer = host.get(&format!("/v1/runs/{}", held["id"]));
        (state(&answer) == "failed").then_some(answer)
    });
    assert!(instant(&run_of(&freed)["claimed_at"]) < instant(&shown["held_until"]), "{freed}");
}

#[test]
fn a_task_without_a_brake_crashes_as_often_as_it_is_due() {
    let lines = "every = \"100ms\"\nbrake = \"off\"\ninput-json = { do = \"panic\" }";
    let host = Host::with_plugins(&[("crashes", "probe", &manifest("crashes", lines))]);

    host.eventually("it has crashed ten times", || {
        (runs(&host, "crashes").iter().filter(|run| run["outcome"] == "trapped").count() >= 10).then_some(())
    });

    let shown = task(&host, "crashes");
    assert!(shown["crashes"].as_u64().unwrap() >= 10 && shown["held_until"].is_null(), "{shown}");
    assert!(shown["brake_ms"].is_null(), "{shown}");
    assert!(runs(&host, "crashes").iter().all(|run| run["why"].is_null()), "no run is held back");
}
