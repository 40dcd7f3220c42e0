//! Tests that a missing object is explained: a plugin in quarantine, one that was removed, a name that is almost right.

use crate::harness::{Host, guest};
use crate::pausing::does;

fn said(host: &Host, args: &[&str]) -> String {
    let output = host.cli(args);
    assert_eq!(output.status.code(), Some(4), "{args:?}: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_task_of_a_plugin_in_quarantine_is_not_taken_for_a_typo() {
    let host = Host::start();
    host.add_bytes("nogrant", &guest("probe"), Some("[tasks.nogrant]\n"));
    host.quarantined("nogrant");
    host.add("hello", "hello", "[tasks.hello]\n");

    for command in [&["trigger", "nogrant"][..], &["logs", "nogrant"], &["show", "nogrant"], &["result", "nogrant"]] {
        let error = said(&host, command);
        for part in ["there is no task `nogrant`: the plugin `nogrant` is in quarantine", "[tasks.nogrant.grants]"] {
            assert!(error.contains(part), "{command:?}: `{part}` is not in {error}");
        }
    }
    let tasks = String::from_utf8(host.cli(&["tasks"]).stdout).unwrap();
    assert!(tasks.contains("1 plugin is in quarantine"), "{tasks}");
}

#[test]
fn a_run_of_a_removed_plugin_shows_what_it_waits_for() {
    let host = Host::with_plugins(&[("hello", "hello", "[tasks.hello]\n"), ("other", "hello", "[tasks.other]\n")]);
    let (_, body) = host.request("POST", "/v1/tasks/hello/runs?after=1h", b"");
    let run = crate::harness::id(&serde_json::from_slice(&body).unwrap());
    for file in ["hello.wasm", "hello.toml"] {
        std::fs::remove_file(host.plugin_path(file)).unwrap();
    }
    host.eventually("the plugin is gone", || host.plugin("hello").is_none().then_some(()));

    let shown = String::from_utf8(host.cli(&["show", &run.to_string()]).stdout).unwrap();
    let listed = host.get("/v1/runs?state=waiting");
    let error = said(&host, &["trigger", "hello"]);

    let why = "no plugin of this host offers the task `hello`: its plugin was removed";
    assert!(shown.contains(why), "{shown}");
    assert_eq!(listed["runs"][0]["why"], why, "{listed}");
    assert!(error.contains("there is no task `hello` any more: its plugin was removed"), "{error}");
    let (kept, told) = does(&host, &["tasks", "hello"]);
    assert!(told.contains("no plugin offers a task `hello` now; these are its latest runs that are kept"), "{told}");
    assert!(kept.contains("waiting") && kept.contains(&run.to_string()), "{kept}");
    let json: serde_json::Value = serde_json::from_str(&does(&host, &["tasks", "hello", "--json"]).0).unwrap();
    assert_eq!(json["runs"][0]["id"], run, "{json}");
    assert!(said(&host, &["tasks", "never"]).contains("there is no task `never`"));
}

#[test]
fn a_misspelt_name_gets_a_suggestion() {
    let host = Host::with_plugins(&[("hello", "hello", "[tasks.hello]\n")]);

    assert!(said(&host, &["trigger", "helo"]).contains("did you mean `hello`?"));
    assert!(!said(&host, &["trigger", "zzz"]).contains("did you mean"));
}
