//! Loads the lines of manifests that the page shows into a host, and compares what they do with what they say.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Line, lines};
use crate::harness::{Host, list, outcome};
use crate::outcomes::PROBE;

/// Returns the effect of each of the page's lines: the parts of `GET /v1/tasks/TASK` that the line is about.
fn effects() -> Vec<(&'static str, Value)> {
    let mut all = schedules();
    all.extend(bounds());
    all.extend(locks());
    all
}

fn trigger(kind: &str, text: &str) -> Value {
    json!({"trigger": {"kind": kind, "text": text}})
}

fn schedules() -> Vec<(&'static str, Value)> {
    let ran = json!({"trigger": {"kind": "start"}, "last": {"state": "succeeded"}});
    let retried = |attempts: u32| json!({"trigger": {"kind": "start"}, "retry": {"attempts": attempts}, "last": {"state": "succeeded"}});
    let berlin = json!({"zone": "Europe/Berlin", "words": "at 09:00, Monday to Friday"});
    let spread = |jitter: u32, spread: u32| json!({"trigger": {"kind": "every"}, "around": {"jitter_ms": jitter, "spread_ms": spread}});
    vec![
        (r#"cron = "*/5 * * * *""#, trigger("cron", "cron */5 * * * *")),
        (r#"cron = "0 9 * * mon-fri" zone = "Europe/Berlin""#, berlin),
        (r#"cron = "0 9 * * mon" zone = "Europe/Berlin""#, trigger("cron", "cron 0 9 * * mon")),
        (r#"cron = "@daily""#, json!({"trigger": {"kind": "cron"}, "words": "at 00:00 every day"})),
        (r#"cron = "daily""#, json!({"trigger": {"kind": "cron"}, "words": "at 00:00 every day"})),
        (r#"cron = "daily" catch-up = "latest""#, json!({"catch_up": "latest"})),
        ("on-start = true", ran),
        ("on-start = true retry = { attempts = 1 }", retried(1)),
        (r#"on-start = true retry = { attempts = 1000, delay = "1s" }"#, retried(1000)),
        (r#"cron = "*/5 * * * *" delay = "10s""#, json!({"around": {"delay_ms": 10_000}})),
        (r#"every = "10m""#, trigger("every", "every 10m")),
        (r#"every = "10m" jitter = "5m""#, spread(300_000, 0)),
        (r#"every = "10m" spread = "5m""#, spread(0, 300_000)),
        (r#"every = "10m" overlap = "skip""#, json!({"overlap": "skip"})),
        (r#"every = "10m" overlap = "queue-one""#, json!({"overlap": "queue-one"})),
        (r#"after = "10m""#, trigger("after", "10m after its end")),
        (r#"after = "1s""#, json!({"trigger": {"kind": "after"}, "fired": 3})),
        (r#"after = "1s" pause-after = 3"#, json!({"trigger": {"kind": "after"}, "pause_after": 3})),
        (
            r#"pace = { min = 1, max = 4, from = "1m", to = "10m" }"#,
            json!({"trigger": {"kind": "pace"}, "overlap": "allow(4)", "following": {"interval_ms": 60_000}}),
        ),
        (r#"[chains.up] links = ["nightly"]"#, json!({"last": {"state": "succeeded"}})),
        (r#"[routes] "mail-welcome" = "nightly""#, json!({"types": ["mail-welcome"]})),
        (r#"[routes] "mail-*" = "nightly""#, json!({"types": ["mail-*"]})),
    ]
}

fn bounds() -> Vec<(&'static str, Value)> {
    let limits = |limits: Value| json!({ "limits": limits });
    vec![
        ("env = { LANG = \"C\" }", json!({"env": ["LANG"]})),
        (r#"cron = "0 9 * * *" args = ["--all"] input = "first line""#, json!({"args": ["--all"], "input_bytes": 10})),
        (r#"args = ["-all"]"#, json!({"args": ["-all"]})),
        (r#"retry = { attempts = 10, delay = "5s" }"#, json!({"retry": {"attempts": 10, "delay_ms": 5000}})),
        (r#"retry = { attempts = 5, delay = "30s" }"#, json!({"retry": {"attempts": 5, "delay_ms": 30_000}})),
        ("pause-after = 3", json!({"pause_after": 3})),
        (r#"limits.deadline = "30s""#, limits(json!({"deadline_ms": 30_000}))),
        (r#"limits.grace = "5s""#, limits(json!({"grace_ms": 5000}))),
        (r#"limits.memory = "64 MiB""#, limits(json!({"memory": 64 << 20}))),
        (r#"limits.stdio = "16 KiB""#, limits(json!({"stdio": 16 << 10}))),
        (r#"limits.idle = "30s""#, limits(json!({"idle_ms": 30_000}))),
        (r#"limits.deadline = "30s" limits.grace = "5s""#, limits(json!({"deadline_ms": 30_000, "grace_ms": 5000}))),
        (
            r#"limits.deadline = "30s" limits.ladder = { insist = "3s", end = "8s" }"#,
            limits(json!({"deadline_ms": 30_000, "insist_ms": 3000, "grace_ms": 8000})),
        ),
        (
            r#"grants.cache = [{ keys = "x", keep = 5 }]"#,
            json!({"grants": {"cache": ["x"], "keep": [{"keys": "x", "versions": 5}]}}),
        ),
    ]
}

fn locks() -> Vec<(&'static str, Value)> {
    let lock = |lock: Value| json!({ "lock": lock });
    vec![
        (r#"lock = { name = "x", if-held = "skip" }"#, lock(json!({"name": "x", "wait_ms": 0, "if_held": "skip"}))),
        (r#"lock = { name = "x", if-held = "fail" }"#, lock(json!({"wait_ms": 0, "if_held": "fail"}))),
        (r#"lock = { name = "x", if-held = "succeed" }"#, lock(json!({"wait_ms": 0, "if_held": "succeed"}))),
        (r#"lock = { name = "x", wait = "10s" }"#, lock(json!({"wait_ms": 10_000, "if_held": "skip"}))),
        (r#"lock = { name = "x", mode = "shared" }"#, lock(json!({"name": "x", "mode": "shared"}))),
    ]
}

/// Returns whether an answer has all that is expected of it. A number that counts may have grown.
fn includes(answer: &Value, expected: &Value) -> bool {
    match (answer, expected) {
        (Value::Object(answer), Value::Object(expected)) => expected.iter().all(|(key, expected)| match key.as_str() {
            "fired" => answer[key].as_u64() >= expected.as_u64(),
            _ => answer.get(key).is_some_and(|answer| includes(answer, expected)),
        }),
        (answer, expected) => answer == expected,
    }
}

/// Returns the lines of manifests on the page, each once.
fn manifests() -> BTreeSet<String> {
    let of = |line| match line {
        Line::Manifest(lines) => Some(lines.join("\n")),
        Line::Commands(_) => None,
    };
    lines().into_iter().filter_map(|(_, line)| of(line)).collect()
}

/// Returns the manifest of a task `name` with these lines of the page.
fn manifest(name: &str, lines: &str) -> String {
    format!("[tasks.{name}]\n{}\n", lines.replace("nightly", name))
}

#[test]
fn the_lines_of_manifests_do_in_a_host_what_the_page_says() {
    let host = Host::start();
    let effects = effects();
    let loaded: Vec<(String, String)> =
        manifests().into_iter().enumerate().map(|(n, lines)| (format!("line-{n}"), lines)).collect();
    for (name, lines) in &loaded {
        host.add(name, "program", &manifest(name, lines));
    }

    let mut failed = Vec::new();
    for (name, lines) in &loaded {
        let row = lines.replace('\n', " ");
        let Some((_, expected)) = effects.iter().find(|(lines, _)| *lines == row) else {
            failed.push(format!("the test does not say what `{row}` does"));
            continue;
        };
        let shown = || host.get(&format!("/v1/tasks/{name}"));
        // The effects of runs are there once they have run, all others as soon as the task is loaded.
        if ["last", "fired", "following"].iter().any(|key| expected.get(key).is_some()) {
            host.eventually(&format!("`{row}` has its effect"), || includes(&shown(), expected).then_some(()));
        } else if !includes(&shown(), expected) {
            failed.push(format!("`{row}`: {expected} is not in {}", shown()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    for (row, _) in &effects {
        assert!(loaded.iter().any(|(_, lines)| lines.replace('\n', " ") == *row), "the page has no `{row}` any more");
    }
}

/// Returns a task of the probe with these lines of the page, and without further attempts.
fn probe(name: &str, lines: &str) -> String {
    let manifest = PROBE.replace("tasks.probe", &format!("tasks.{name}"));
    let (begin, rest) = manifest.split_once("[tasks").expect("a task");
    let (head, rest) = rest.split_once('\n').expect("a line");
    // The page's lines set the limits.
    let (before, grants) = rest.split_once(&format!("[tasks.{name}.limits]")).expect("limits");
    let grants = &grants[grants.find("[tasks").expect("grants")..];
    format!("{begin}[tasks{head}\n{lines}\n{before}{grants}")
}

/// Has a task run, and returns the exit code of `trigger --wait`, and the outcome of the run.
fn ends(host: &Host, task: &str, input: &str) -> (i32, String) {
    let output = host.cli(&["trigger", task, "--input", input, "--wait"]);
    let runs = host.get(&format!("/v1/runs?task={task}"));
    let answer = host.get(&format!("/v1/runs/{}", list(&runs, "runs")[0]["id"]));
    (output.status.code().unwrap_or_else(|| panic!("{output:?}")), outcome(&answer).to_owned())
}

#[test]
fn the_lines_for_those_who_come_from_lockrun_and_timeout_end_runs_as_those_do() {
    let host = Host::start();
    host.add("holder", "probe", &probe("holder", "lock = { name = \"x\" }\nlimits.deadline = \"1h\""));
    let holder = host.trigger("holder", r#"{"do": "sleep", "ms": 3600000}"#);
    host.eventually("the lock is held", || {
        list(&host.get("/v1/locks"), "locks").iter().any(|held| held["name"] == "x").then_some(())
    });
    let all = manifests();
    let sleep = r#"{"do": "sleep", "ms": 45000}"#;
    // Times are shorter than on the page, so that the test need not wait for long.
    for (n, (line, ends_as)) in [
        (r#"lock = { name = "x", if-held = "skip" }"#, (10, "skipped")),
        (r#"lock = { name = "x", if-held = "fail" }"#, (1, "failed-transient")),
        (r#"lock = { name = "x", if-held = "succeed" }"#, (0, "skipped")),
        (r#"lock = { name = "x", wait = "10s" }"#, (10, "skipped")),
        (r#"lock = { name = "x", mode = "shared" }"#, (10, "skipped")),
        (r#"limits.deadline = "30s""#, (13, "timed-out")),
        (r#"limits.idle = "30s""#, (14, "idle")),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(all.contains(line), "the page has no `{line}` any more");
        let short = line.replace("\"10s\"", "\"100ms\"").replace("\"30s\"", "\"1s\"");
        let name = format!("ends-{n}");
        host.add(&name, "probe", &probe(&name, &short));

        let (code, outcome) = ends(&host, &name, sleep);

        assert_eq!((code, outcome.as_str()), ends_as, "{line}");
    }
    host.request("POST", &format!("/v1/runs/{holder}/kill?now=true"), b"");
}
