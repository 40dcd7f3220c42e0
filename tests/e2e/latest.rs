//! Tests that a task's latest run is the latest that has begun, with a waiting run shown beside it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use serde_json::Value;

use crate::harness::{Host, PATIENCE, SEXTON, id, list};

fn host() -> Host {
    Host::with_plugins(&[("hello", "hello", "[tasks.hello]\noverlap = \"allow(10)\"\n")])
}

/// Makes a run that waits for an instant far ahead.
fn waits_for_tomorrow(host: &Host) -> i64 {
    let (status, body) = host.request("POST", "/v1/tasks/hello/runs?after=20h", b"");
    assert_eq!(status, 202, "{}", String::from_utf8_lossy(&body));
    id(&serde_json::from_slice(&body).unwrap())
}

fn cli(host: &Host, args: &[&str]) -> String {
    let output = host.cli(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_run_that_waits_hides_neither_the_outcome_nor_the_log_of_the_latest_that_began() {
    let host = host();
    let begun = id(&host.run("hello", ""));
    let waiting = waits_for_tomorrow(&host);

    let task = list(&host.get("/v1/tasks"), "tasks")[0].clone();
    let detail = host.get("/v1/tasks/hello");
    let begun_only = host.get("/v1/runs?task=hello&begun=true");

    for task in [&task, &detail] {
        assert_eq!((&task["last"]["run"], &task["last"]["state"]), (&begun.into(), &"succeeded".into()), "{task}");
        assert_eq!(task["waiting"]["run"], waiting, "{task}");
    }
    let ids: Vec<&Value> = list(&begun_only, "runs").iter().map(|run| &run["id"]).collect();
    assert_eq!(ids, [begun]);
    let tasks = cli(&host, &["tasks"]);
    for part in ["succeeded", "WAITING RUN", &format!("{waiting} (in 19h 5")] {
        assert!(tasks.contains(part), "{part}: {tasks}");
    }
    assert!(cli(&host, &["logs", "hello"]).contains("hello from"));
    let shown = cli(&host, &["show", "hello"]);
    assert!(shown.starts_with(&format!("Run {begun}\n")), "{shown}");
    let (_, page) = host.request("GET", "/tasks", b"");
    let page = String::from_utf8_lossy(&page);
    assert!(page.contains(&format!(">run {waiting} waits, starts in ")) && page.contains("succeeded"), "{page}");
}

#[test]
fn logs_of_a_task_show_runs_in_progress_while_another_waits_for_a_future_instant() {
    let host = host();
    waits_for_tomorrow(&host);
    let mut followed = Command::new(SEXTON)
        .args(["logs", "-f", "hello"])
        .env("SEXTON_URL", &host.url)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (line, lines) = mpsc::channel();
    let stdout = BufReader::new(followed.stdout.take().unwrap());
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|text| line.send(text)));

    for _ in 0..2 {
        let run = id(&host.run("hello", ""));
        let header = format!("-- run {run}");
        let mut seen = Vec::new();
        while !seen.iter().any(|line: &String| line.contains("attempt 1 succeeded")) {
            seen.push(lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nothing of run {run}; {seen:?}")));
        }
        assert!(seen.contains(&header) && seen.iter().any(|line| line.contains("hello from")), "{seen:?}");
    }
    followed.kill().unwrap();
    followed.wait().unwrap();
}
