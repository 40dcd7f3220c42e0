//! Tests reruns, the inputs of runs, and the runs that came of a run, on both stores.

use serde_json::{Value, json};

use crate::harness::{Host, id, list, state};
use crate::over_time::both;
use crate::pausing::does;

/// Returns how the children of a run came of it, with their numbers.
fn children(host: &Host, run: i64) -> Vec<(String, i64)> {
    let shown = host.get(&format!("/v1/runs/{run}"));
    let child = |child: &Value| (child["kind"].as_str().unwrap().to_owned(), child["run"].as_i64().unwrap());
    list(&shown, "children").iter().map(child).collect()
}

#[test]
fn a_run_is_repeated_with_its_input_or_another_and_marked_with_what_it_repeats() {
    for host in both() {
        let run = id(&host.run("probe", r#"{"do": "echo", "value": "as before"}"#));
        let number = run.to_string();
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap()["value"].clone();

        let (same, _) = does(&host, &["rerun", &number, "--wait"]);
        let (other, _) = does(&host, &["rerun", &number, "--wait", "--input", r#"{"do": "echo", "value": "other"}"#]);
        let empty = host.cli(&["rerun", &number, "--input", "", "--key", "empty"]);
        assert!(empty.status.success(), "{empty:?}");
        let keyed =
            [does(&host, &["rerun", &number, "--key", "k"]).0, does(&host, &["rerun", &number, "--key", "k"]).0];

        assert_eq!((value(&same), value(&other)), (json!("as before"), json!("other")));
        assert!(keyed[0].ends_with(&format!("of `probe`, a rerun of run {run}.\n")), "{keyed:?}");
        assert!(keyed[1].ends_with("exists already for this key.\n"), "{keyed:?}");
        let reruns = children(&host, run);
        assert_eq!(reruns.len(), 4, "{reruns:?}");
        let shown = host.get(&format!("/v1/runs/{}", reruns[2].1));
        assert_eq!(shown["input"]["bytes"].as_u64().unwrap_or_default(), 0, "an empty input is another one: {shown}");
        assert!(reruns.iter().all(|(kind, _)| kind == "rerun"), "{reruns:?}");
        let shown = does(&host, &["show", &reruns[0].1.to_string()]).0;
        for part in [
            &format!("parent      run {run}, which this one repeats"),
            &format!("note        rerun of run {run}"),
            r#"input       {"do":"echo","value":"as before"} (36 bytes)"#,
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let shown = does(&host, &["show", &number]).0;
        assert!(
            shown.contains(&format!("Runs that came of it\n  run {} of probe: rerun, succeeded\n", reruns[0].1)),
            "{shown}"
        );
        let due = |run: i64| host.get(&format!("/v1/runs/{run}"))["run"]["due_at"].clone();
        assert_eq!(due(reruns[0].1), due(run), "the same piece of work");
    }
}

#[test]
fn a_run_that_goes_on_is_not_repeated() {
    for host in both() {
        let run = host.trigger("probe", r#"{"do": "sleep", "ms": 3600000}"#);

        let refused = host.cli(&["rerun", &run.to_string()]);

        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("run {run} is not over")) && said.contains("sexton kill"), "{said}");
        host.request("POST", &format!("/v1/runs/{run}/kill?now=true"), b"");
        assert_eq!(state(&host.wait(run)), "cancelled");
        does(&host, &["rerun", &run.to_string()]);
    }
}

#[test]
fn the_runs_that_a_run_enqueued_or_continues_in_are_shown_with_it() {
    for host in both() {
        let input = r#"{"do": "enqueue", "task": "probe", "input": {"do": "echo"}, "times": 2}"#;
        let enqueues = id(&host.run("probe", input));
        let continues = id(&host.run("probe", r#"{"do": "continue", "left": 1, "after-ms": 1}"#));

        let (enqueued, continued) = (children(&host, enqueues), children(&host, continues));

        let kinds = |children: &[(String, i64)]| children.iter().map(|(kind, _)| kind.clone()).collect::<Vec<_>>();
        assert_eq!(kinds(&enqueued), ["enqueued", "enqueued"]);
        assert_eq!(kinds(&continued), ["continuation"]);
        for (parent, child) in [(enqueues, enqueued[0].1), (continues, continued[0].1)] {
            assert_eq!(host.wait(child)["run"]["parent"], parent);
            assert!(does(&host, &["show", &child.to_string()]).0.contains(&format!("parent      run {parent}\n")));
        }
        assert!(does(&host, &["show", &continues.to_string()]).0.contains(": continuation, "));
    }
}

#[test]
fn the_input_of_a_run_is_shown_as_what_it_is() {
    for host in both() {
        let post = |body: &[u8]| {
            let (status, answer) = host.request("POST", "/v1/tasks/probe/runs", body);
            assert_eq!(status, 202);
            let run = id(&serde_json::from_slice(&answer).unwrap());
            host.wait(run);
            (host.get(&format!("/v1/runs/{run}"))["input"].clone(), does(&host, &["show", &run.to_string()]).0)
        };

        let (json, shown_json) = post(b"{\n  \"do\": \"echo\"\n}");
        let (text, shown_text) = post(b"no JSON");
        let (binary, shown_binary) = post(b"\0\xff");

        assert_eq!((&json["kind"], &json["json"]), (&json!("json"), &json!({"do": "echo"})));
        assert!(shown_json.contains(r#"input       {"do":"echo"} (18 bytes)"#), "{shown_json}");
        assert_eq!((&text["kind"], &text["text"]), (&json!("text"), &json!("no JSON")));
        assert!(shown_text.contains("input       no JSON (7 bytes)"), "{shown_text}");
        let digest = "06eb7d6a69ee19e5fbdf749018d3d2abfa04bcbd1365db312eb86dc7169389b8";
        assert_eq!(
            (&binary["kind"], &binary["bytes"], &binary["sha256"]),
            (&json!("binary"), &json!(2), &json!(digest))
        );
        assert!(shown_binary.contains(&format!("input       binary (2 bytes, SHA-256 {digest})")), "{shown_binary}");
    }
}
