//! Tests runs that are asked for by the hundred, on both stores.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Host, SEXTON, list};
use crate::over_time::both;
use crate::pausing::does;

/// Returns the values that runs of the probe have echoed, once all are over.
fn echoed(host: &Host, runs: usize) -> Vec<Value> {
    let answer = host.eventually("all runs are over", || {
        let answer = host.get("/v1/runs?limit=1000");
        let over = list(&answer, "runs").iter().filter(|run| run["state"] == "succeeded").count();
        (over == runs).then_some(answer)
    });
    let mut ids: Vec<i64> = list(&answer, "runs").iter().map(|run| run["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    let value = |id: i64| serde_json::from_slice::<Value>(&host.output(id)).unwrap()["value"].clone();
    ids.into_iter().map(value).collect()
}

#[test]
fn runs_of_one_request_are_made_and_carried_out_in_their_order() {
    for host in both() {
        let run = |n: usize| json!({ "task": "probe", "input": { "do": "echo", "value": n } });
        let runs: Vec<Value> = (0..50).map(run).chain([json!({ "task": "prob" })]).collect();

        let (status, body) = host.request("POST", "/v1/runs", json!({ "runs": runs }).to_string().as_bytes());

        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &answer["created"], &answer["failed"]), (200, &json!(50), &json!(1)), "{answer}");
        assert_eq!(answer["runs"][50]["problem"]["code"], "no-such-task");
        assert_eq!(echoed(&host, 50), (0..50).map(Value::from).collect::<Vec<_>>());
    }
}

#[test]
fn each_line_of_a_file_makes_a_run_and_wrong_lines_are_reported_by_their_numbers() {
    for host in both() {
        let line = |n: usize| json!({ "task": "probe", "in": "1h", "input": { "do": "echo", "value": n } }).to_string();
        let mut lines: Vec<String> = (0..1203).map(line).collect();
        lines[6] = "{\"task\": \"probe\"".to_owned();
        lines[9] = String::new();
        lines[1100] = json!({ "task": "prob" }).to_string();
        fs::write(host.directory.path().join("runs.ndjson"), lines.join("\n")).unwrap();

        let done = host.cli(&["trigger", "--from", "runs.ndjson", "--key", "nightly"]);
        let again = host.cli(&["trigger", "--from", "runs.ndjson", "--key", "nightly"]);

        let [out, err] = [&done.stdout, &done.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert_eq!((done.status.code(), out.as_str()), (Some(1), "Created 1200 runs.\n"), "{err}");
        let told: Vec<&str> = err.lines().collect();
        assert!(told[0].starts_with("error: line 7: this is not JSON: EOF"), "{err}");
        assert!(told[1].starts_with("error: line 1101: there is no task `prob` (did you mean `probe`?"), "{err}");
        assert_eq!(told[2..], ["error: 2 of the lines made no run"], "{err}");
        let out = String::from_utf8_lossy(&again.stdout);
        assert_eq!((again.status.code(), &*out), (Some(1), "Created 0 runs; 1200 existed already.\n"));
        let waiting = does(&host, &["runs", "--limit", "1000", "--json"]).0;
        let first: Value = serde_json::from_str(&waiting).unwrap();
        let rest = host.get(&format!("/v1/runs?limit=1000&cursor={}", first["cursor"].as_str().unwrap()));
        let made = list(&first, "runs").len() + list(&rest, "runs").len();
        assert_eq!(made, 1200, "a file that is sent again with its key makes no further run");
    }
}

#[test]
fn runs_are_read_from_stdin_and_answered_as_json_with_their_lines() {
    let host = &both()[0];
    let mut command = Command::new(SEXTON);
    command.args(["trigger", "--from", "-", "--json"]).env("SEXTON_URL", &host.url);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\n{\"task\": \"probe\", \"in\": \"1h\"}\n{\"task\": \"x\"}\n").unwrap();

    let done = child.wait_with_output().unwrap();

    let told: Vec<Value> =
        String::from_utf8(done.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&told[0]["line"], &told[0]["run"]["created"]), (&json!(2), &json!(true)), "{told:?}");
    assert_eq!((&told[1]["line"], &told[1]["problem"]["code"]), (&json!(3), &json!("no-such-task")), "{told:?}");
    assert_eq!(done.status.code(), Some(1));
}
