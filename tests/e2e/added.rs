//! Tests schedules that are added, listed and deleted while a host runs.

use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{Host, list, request, state};

/// A task that does what its input says, sixteen at a time.
const TASK: &str = "[tasks.probe]\ninput-json = { do = \"echo\", value = \"own\" }\noverlap = \"allow(16)\"\n\
     [tasks.probe.retry]\nattempts = 1\n\
     [tasks.probe.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n";

fn host() -> Host {
    Host::with_plugins(&[("probe", "probe", TASK)])
}

/// Returns the runs that a schedule made, newest first.
fn runs(host: &Host, key: &str) -> Vec<Value> {
    let note = format!("added schedule `{key}`");
    let all = host.get("/v1/runs?task=probe&limit=1000");
    let of_key = |run: &&Value| run["note"].as_str().is_some_and(|said| said.starts_with(&note));
    list(&all, "runs").iter().filter(of_key).cloned().collect()
}

/// Waits until a schedule has made a run that succeeded, and returns that run.
fn succeeded(host: &Host, key: &str) -> Value {
    host.eventually(&format!("a run of `{key}` succeeded"), || {
        runs(host, key).into_iter().find(|run| run["state"] == "succeeded")
    })
}

fn value(host: &Host, run: &Value) -> Value {
    let output: Value = serde_json::from_slice(&host.output(run["id"].as_i64().unwrap())).unwrap();
    output["value"].clone()
}

#[track_caller]
fn said(output: &Output, code: i32) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

fn put(host: &Host, key: &str, body: &Value) -> (u16, Value) {
    let (status, answer) = host.request("PUT", &format!("/v1/schedules/{key}"), body.to_string().as_bytes());
    (status, serde_json::from_slice(&answer).unwrap())
}

#[test]
fn a_schedule_makes_runs_of_its_task_with_its_data() {
    let host = host();
    let data = r#"{"do": "echo", "value": "for you"}"#;
    std::fs::write(host.directory.path().join("data"), r#"{"do": "echo", "value": "from a file"}"#).unwrap();

    said(&host.cli(&["add", "often", "--task", "probe", "--every", "300ms", "--data", data]), 0);
    said(&host.cli(&["add", "once", "--plugin", "probe", "--in", "100ms", "--data", "@data"]), 0);
    said(&host.cli(&["add", "own", "--task", "probe", "--every", "300ms", "--delay", "100ms"]), 0);

    let (often, once, own) = (succeeded(&host, "often"), succeeded(&host, "once"), succeeded(&host, "own"));
    assert_eq!((value(&host, &often), value(&host, &once)), (json!("for you"), json!("from a file")));
    assert_eq!(value(&host, &own), json!("own"), "without data it gets what the manifest says");
    assert_eq!((often["cause"].as_str(), often["task"].as_str()), (Some("schedule"), Some("probe")));
    let tasks = host.get("/v1/tasks");
    assert_eq!(list(&tasks, "tasks").len(), 1, "a schedule is no task");
    let listed = said(&host.cli(&["list"]), 0);
    assert!(listed.contains("every 300ms") && listed.contains("finished"), "{listed}");
}

#[test]
fn adding_the_same_schedule_twice_changes_nothing_and_another_one_is_refused() {
    let host = host();
    let add = |more: &[&str]| {
        let mut line = vec!["add", "monday", "--task", "probe", "--cron", "0 9 * * mon"];
        line.extend(more);
        host.cli(&line)
    };

    let first = said(&add(&[]), 0);
    let again = said(&add(&[]), 0);
    let other = said(&add(&["--timezone", "Europe/Berlin"]), 6);
    let listed = said(&host.cli(&["list", "--task", "probe", "--json"]), 0);
    let replaced = said(&add(&["--timezone", "Europe/Berlin", "--replace"]), 0);
    let preempted = said(&add(&["--replace", "--if-version", "1"]), 6);
    let deleted = said(&host.cli(&["delete", "monday"]), 0);
    let absent = said(&host.cli(&["delete", "monday"]), 4);
    let no_task = said(&host.cli(&["add", "x", "--task", "nothing", "--every", "1s"]), 4);
    let wrong = said(&host.cli(&["add", "x", "--task", "probe", "--cron", "61 * * * *"]), 2);

    assert!(first.contains("is added: cron 0 9 * * mon"), "{first}");
    assert!(again.contains("is there already"), "{again}");
    assert!(other.contains("another schedule `monday`") && other.contains("replace"), "{other}");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let schedule = &list(&listed, "schedules")[0];
    assert_eq!(
        (&schedule["zone"], &schedule["state"], &schedule["fired"]),
        (&json!("UTC"), &json!("active"), &json!(0))
    );
    assert!(schedule["next"]["at"].as_str().unwrap().ends_with("T09:00:00.000Z"), "{schedule}");
    assert!(replaced.contains("is replaced"), "{replaced}");
    assert!(preempted.contains("was changed by another request"), "{preempted}");
    assert!(deleted.contains("Deleted `monday` of `probe`: cron 0 9 * * mon"), "{deleted}");
    assert!(absent.contains("no schedule `monday`"), "{absent}");
    assert!(no_task.contains("no task `nothing`"), "{no_task}");
    assert!(wrong.contains("minute"), "{wrong}");
}

#[test]
fn of_many_concurrent_additions_of_a_key_one_succeeds() {
    let host = host();
    let at_once = |key: &str, body: &(dyn Fn(u64) -> Value + Sync)| -> Vec<u16> {
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|n| {
                    let (url, body) = (format!("{}/v1/schedules/{key}", host.url), body(n).to_string());
                    scope.spawn(move || request(&url, "PUT", body.as_bytes()).0)
                })
                .collect();
            let mut all: Vec<u16> = all.into_iter().map(|asked| asked.join().unwrap()).collect();
            all.sort_unstable();
            all
        })
    };

    let same = at_once("same", &|_| json!({"task": "probe", "every": "1h"}));
    let other = at_once("other", &|n| json!({"task": "probe", "every": format!("{}h", n + 1)}));

    assert_eq!(same, [200, 200, 200, 200, 200, 200, 200, 201]);
    assert_eq!(other, [201, 409, 409, 409, 409, 409, 409, 409]);
}

#[test]
fn a_schedule_is_over_after_its_instant_or_its_runs() {
    let host = host();
    said(&host.cli(&["add", "once", "--task", "probe", "--in", "200ms"]), 0);
    said(&host.cli(&["add", "twice", "--task", "probe", "--every", "100ms", "--times", "2"]), 0);

    for key in ["once", "twice"] {
        host.eventually(&format!("`{key}` is over"), || {
            (host.get(&format!("/v1/schedules/{key}"))["state"] == "finished").then_some(())
        });
    }

    assert_eq!((runs(&host, "once").len(), runs(&host, "twice").len()), (1, 2));
    let again = said(&host.cli(&["add", "twice", "--task", "probe", "--every", "100ms", "--times", "2"]), 6);
    assert!(again.contains("schedule `twice` has finished"), "{again}");
    said(&host.cli(&["add", "twice", "--task", "probe", "--every", "100ms", "--times", "2", "--replace"]), 0);
    host.eventually("it has begun anew, and is over", || (runs(&host, "twice").len() == 4).then_some(()));
    said(&host.cli(&["delete", "once"]), 0);
}

#[test]
fn schedules_continue_after_a_crash() {
    let host = host();
    said(&host.cli(&["add", "often", "--task", "probe", "--every", "200ms"]), 0);
    said(&host.cli(&["add", "later", "--task", "probe", "--in", "1h"]), 0);
    succeeded(&host, "often");

    let host = Host::start_in(host.kill());
    host.loaded("probe");

    let before = runs(&host, "often").first().map_or(0, |run| run["id"].as_i64().unwrap());
    host.eventually("it goes on", || {
        runs(&host, "often").into_iter().find(|run| run["id"].as_i64() > Some(before) && run["state"] == "succeeded")
    });
    let later = host.get("/v1/schedules/later");
    assert_eq!((&later["state"], &later["fired"]), (&json!("active"), &json!(0)));
    assert!(host.log().contains("Loaded 2 schedule(s) that were added"), "{}", host.log());
}

#[test]
fn a_key_has_one_run_at_a_time_which_continues_after_the_key_is_deleted() {
    let host = host();
    let data = r#"{"do": "sleep", "ms": 3000}"#;
    said(&host.cli(&["add", "slow", "--task", "probe", "--every", "100ms", "--data", data]), 0);
    said(&host.cli(&["add", "quick", "--task", "probe", "--every", "100ms"]), 0);
    host.eventually("three instants were skipped", || {
        (host.get("/v1/schedules/slow")["skipped"].as_u64() >= Some(3)).then_some(())
    });
    host.eventually("the other one goes on", || (runs(&host, "quick").len() >= 3).then_some(()));

    said(&host.cli(&["delete", "slow"]), 0);

    let all = runs(&host, "slow");
    assert_eq!(all.len(), 1, "{all:?}");
    let ended = host.wait(all[0]["id"].as_i64().unwrap());
    assert_eq!(state(&ended), "succeeded", "{ended}");
    let so_far = runs(&host, "quick").len();
    host.eventually("the other one goes on", || (runs(&host, "quick").len() >= so_far + 3).then_some(()));
    assert_eq!(runs(&host, "slow").len(), 1);
    assert_eq!(host.request("GET", "/v1/schedules/slow", b"").0, 404);
}

#[test]
fn a_schedule_rests_while_its_plugin_is_away() {
    let host = host();
    said(&host.cli(&["add", "often", "--task", "probe", "--every", "200ms"]), 0);
    succeeded(&host, "often");

    for kind in ["wasm", "toml"] {
        std::fs::remove_file(host.plugin_path(&format!("probe.{kind}"))).unwrap();
    }
    host.eventually("it rests", || (host.get("/v1/schedules/often")["state"] == "resting").then_some(()));
    let listed = said(&host.cli(&["list"]), 0);
    host.add("probe", "probe", TASK);
    let before = runs(&host, "often").first().unwrap()["id"].as_i64();

    host.eventually("it goes on", || runs(&host, "often").into_iter().find(|run| run["id"].as_i64() > before));
    assert!(listed.contains("resting: no task `probe`"), "{listed}");
    assert_eq!(host.get("/v1/schedules/often")["state"], "active");
}

#[test]
fn a_paused_task_makes_no_runs_of_its_schedules() {
    let host = host();
    said(&host.cli(&["pause", "probe"]), 0);
    let (status, added) = put(&host, "once", &json!({"task": "probe", "in": "100ms"}));

    assert_eq!((status, &added["schedule"]["state"]), (201, &json!("paused")));
    host.eventually("its instant is dealt with", || {
        (host.get("/v1/schedules/once")["state"] == "finished").then_some(())
    });
    assert!(runs(&host, "once").is_empty());
}

#[test]
fn values_that_a_name_spreads_fall_where_schedule_explain_shows_them_for_task_and_key() {
    let host = host();
    let added = |key: &str| {
        let (status, answer) = put(&host, key, &json!({"task": "probe", "cron": "H H * * *"}));
        assert_eq!(status, 201, "{answer}");
        answer["schedule"]["next"]["at"].as_str().unwrap().to_owned()
    };

    let (nightly, weekly) = (added("nightly"), added("weekly"));

    assert_ne!(nightly, weekly, "each falls by its own key");
    let explained = host.get("/v1/schedule/explain?schedule=H%20H%20*%20*%20*&task=probe/nightly&next=1");
    assert!(explained.to_string().contains(&nightly), "{nightly} is not in {explained}");
    let offline = said(&host.cli(&["schedule", "explain", "H H * * *", "--task", "probe/nightly", "--json"]), 0);
    assert!(offline.contains(&nightly), "{nightly} is not in {offline}");
    assert_eq!(host.get("/v1/schedules/nightly")["trigger"]["text"], "cron H H * * *");
    assert_eq!(host.get("/v1/schedules/nightly")["next"]["at"], json!(nightly), "read again it is the same");
}

#[test]
fn a_schedule_that_makes_no_sense_is_refused_with_a_reason() {
    let host = host();
    let over = "2020-01-01T00:00:00Z";
    for (body, status, code) in [
        (json!({"task": "probe"}), 400, "bad-schedule"),
        (json!({"every": "1s"}), 400, "bad-schedule"),
        (json!({"task": "probe", "every": "1s", "at": over}), 400, "bad-schedule"),
        (json!({"task": "probe", "plugin": "probe", "every": "1s"}), 400, "bad-schedule"),
        (json!({"task": "probe", "every": "1s", "times": 0}), 400, "bad-schedule"),
        (json!({"task": "probe", "every": "1s", "end": over}), 400, "bad-schedule"),
        (json!({"task": "probe", "every": "1s", "colour": "red"}), 400, "bad-schedule"),
        (json!({"task": "probe", "every": "1s", "key": "another"}), 400, "bad-schedule"),
        (json!([]), 400, "bad-schedule"),
        (json!({"task": "probe", "every": "1"}), 400, "bad-duration"),
        (json!({"task": "probe", "every": "1ms"}), 400, "bad-duration"),
        (json!({"task": "probe", "every": "1s", "delay": "9y"}), 400, "bad-duration"),
        (json!({"task": "probe", "at": over}), 400, "bad-instant"),
        (json!({"task": "probe", "at": "noon-ish"}), 400, "bad-instant"),
        (json!({"task": "probe", "cron": "* * *"}), 400, "bad-crontab"),
        (json!({"task": "probe", "cron": "* * * * *", "zone": "Mars/Base"}), 400, "bad-zone"),
        (json!({"task": "Probe", "every": "1s"}), 400, "bad-name"),
        (json!({"task": "nothing", "every": "1s"}), 404, "no-such-task"),
        (json!({"task": "probe", "after": {"success": "1s"}}), 400, "not-supported"),
        (json!({"task": "probe", "pace": {}}), 400, "not-supported"),
        (json!({"task": "probe", "every": "1s", "replace": true, "version": 1}), 404, "no-such-schedule"),
    ] {
        let (told, answer) = put(&host, "key", &body);
        assert_eq!((told, &answer["error"]["code"]), (status, &json!(code)), "{body}: {answer}");
    }
    let (told, _) = host.request("PUT", "/v1/schedules/A%20key", b"{}");
    assert_eq!(told, 400);
    let (told, answer) = host.request("POST", "/v1/schedules", br#"{"task": "probe", "every": "1h"}"#);
    assert_eq!(told, 400, "{}", String::from_utf8_lossy(&answer));
    let (told, _) = host.request(
        "POST",
        "/v1/schedules",
        br#"{"key": "k", "task": "probe", "every": "1h", "data": {"do": "echo"}}"#,
    );
    assert_eq!(told, 201);
    assert_eq!(host.get("/v1/schedules/k")["data_bytes"], 13);
    assert_eq!(host.request("GET", "/v1/schedules?limit=0", b"").0, 400);
    assert_eq!(list(&host.get("/v1/schedules?task=probe&limit=1"), "schedules").len(), 1);
}
