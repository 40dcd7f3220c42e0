//! Tests the whole path: a component is dropped in, fired, run, stored and shown.

use crate::harness::{Host, attempts, id, list, outcome, run_of, state};
use crate::outcomes;

#[test]
fn a_component_dropped_in_is_fired_by_its_schedule_and_its_result_shown() {
    let host = Host::start();

    host.add("tick", "hello", "[tasks.tick]\nevery = \"1s\"\n");

    let run = host.eventually("the second run of `tick` succeeded", || {
        let runs = host.get("/v1/runs?task=tick&state=succeeded");
        let runs = list(&runs, "runs");
        (runs.len() >= 2).then(|| runs[0].clone())
    });
    assert_eq!(run_of(&run)["cause"], "schedule");
    let (status, page) = host.request("GET", "/v1/tasks/tick/result", b"");
    assert_eq!(status, 200);
    assert!(String::from_utf8_lossy(&page).contains("hello"), "{}", String::from_utf8_lossy(&page));
}

#[test]
fn a_component_without_a_manifest_is_one_task_on_demand_with_no_grants() {
    let host = Host::start();
    host.add_bytes("bare", &crate::harness::guest("hello"), None);
    host.loaded("bare");

    let answer = host.run("bare", "");

    assert_eq!(state(&answer), "succeeded", "{answer}");
    assert_eq!(run_of(&answer)["cause"], "demand");
}

#[test]
fn a_run_shows_its_instant_its_usage_and_its_output() {
    let host = Host::with_plugins(&[("probe", "probe", outcomes::PROBE)]);

    let answer = host.run("probe", r#"{"do": "echo", "value": "a word"}"#);

    let attempt = &attempts(&answer)[0];
    assert_eq!(outcome(&answer), "succeeded");
    assert!(attempt["accounts"]["fuel"].as_u64().unwrap() > 1000, "{attempt}");
    assert!(attempt["accounts"]["peak_memory"].as_u64().unwrap() >= 65536, "{attempt}");
    assert!(String::from_utf8_lossy(&host.output(id(&answer))).contains("a word"));
}

#[test]
fn a_program_gets_arguments_and_stdin_and_its_exit_code_decides() {
    const MANIFEST: &str = r#"
[tasks.program]
args = ["one", "two"]
env = { GIVEN = "by the manifest" }

[tasks.fails]
args = ["--exit", "3"]
[tasks.fails.retry]
attempts = 1
"#;
    let host = Host::with_plugins(&[("program", "program", MANIFEST)]);

    let good = host.run("program", "from stdin");
    let bad = host.run("fails", "");

    assert_eq!(state(&good), "succeeded", "{good}");
    let said = String::from_utf8(host.output(id(&good))).unwrap();
    for expected in ["one", "two", "from stdin", "by the manifest"] {
        assert!(said.contains(expected), "`{expected}` is not in {said}");
    }
    assert!(!said.contains("SECRET_OF_THE_HOST"), "{said}");
    assert_eq!(outcome(&bad), "failed-transient", "{bad}");
    // WASI 0.2 reports that a program failed, but not its exit code.
    let message = attempts(&bad)[0]["message"].as_str().unwrap();
    assert_eq!(message, "exit code other than 0; WASI 0.2 does not tell the host which", "it was 3, and arrives as 1");
}

#[test]
fn the_same_idempotency_key_makes_one_run() {
    let host = Host::with_plugins(&[("probe", "probe", outcomes::PROBE)]);

    let runs: Vec<i64> = (0..3)
        .map(|_| {
            let url = format!("{}/v1/tasks/probe/runs", host.url);
            let answer = ureq::post(url).header("Idempotency-Key", "once").send("{\"do\": \"echo\"}").unwrap();
            id(&serde_json::from_reader(answer.into_body().into_reader()).unwrap())
        })
        .collect();

    assert_eq!(runs[0], runs[1]);
    assert_eq!(runs[1], runs[2]);
}
