//! Tests the command line with a real host.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{Host, SEXTON, Setup, state};
use crate::outcomes::PROBE;

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(host: &Host, args: &[&str]) -> Value {
    let output = host.cli(args);
    assert!(output.status.success(), "{args:?}: {}", err(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {}", out(&output)))
}

#[test]
fn lists_are_shown_as_tables_and_as_json() {
    let host = Host::with_plugins(&[
        ("probe", "probe", PROBE),
        ("tick", "hello", "[tasks.tick]\nevery = \"1h\"\nzone = \"Europe/Berlin\"\n"),
    ]);
    host.run("probe", r#"{"do": "cache-set", "key": "some/key", "value": "v"}"#);
    host.run("probe", r#"{"do": "panic"}"#);
    let holder = host.trigger("probe", r#"{"do": "lock-hold", "name": "a-lock", "how": "sleep", "ms": 60000}"#);
    host.eventually("the lock is held", || host.get("/v1/locks").to_string().contains("a-lock").then_some(()));

    for (args, shown) in [
        (&["plugins"][..], &["probe", "tick", "ok"][..]),
        (&["tasks"], &["probe", "tick", "every 1h", "Europe/Berlin"]),
        (&["runs"], &["probe", "succeeded", "trapped", "running"]),
        (&["runs", "--state", "failed"], &["trapped"]),
        (&["locks"], &["a-lock", "exclusive"]),
        (&["cache", "list"], &["some/key"]),
        (&["show", "2"], &["trapped", "panicked", ".rs:", "fuel"]),
        (&["show", "1"], &["succeeded"]),
    ] {
        let output = host.cli(args);
        assert!(output.status.success(), "{args:?}: {}", err(&output));
        for word in shown {
            assert!(out(&output).contains(word), "{args:?}: `{word}` is not in:\n{}", out(&output));
        }
    }
    for args in [
        &["plugins", "--json"][..],
        &["tasks", "--json"],
        &["runs", "--json"],
        &["locks", "--json"],
        &["cache", "list", "--json"],
        &["show", "1", "--json"],
    ] {
        json(&host, args);
    }
    assert!(host.cli(&["kill", &holder.to_string()]).status.success());
}

#[test]
fn a_trigger_that_waits_prints_the_result_and_exits_with_its_outcome() {
    let host = Host::with_plugins(&[
        ("probe", "probe", &PROBE.replace("\"50s\"", "\"30s\"")),
        ("hello", "hello", "[tasks.hello]\n"),
    ]);

    let good = host.cli(&["trigger", "hello", "--wait"]);
    let bad = host.cli(&["trigger", "probe", "--input", r#"{"do": "fail-permanent"}"#, "--wait"]);
    let slow =
        host.cli(&["trigger", "probe", "--input", r#"{"do": "sleep", "ms": 20000}"#, "--wait", "--timeout", "200ms"]);
    let unknown = host.cli(&["trigger", "nobody"]);
    let wrong = host.cli(&["trigger"]);
    let unreachable = Command::new(SEXTON).args(["--url", "http://127.0.0.1:1", "runs"]).output().unwrap();

    assert_eq!((good.status.code(), out(&good).trim()), (Some(0), "hello"), "{}", err(&good));
    assert_eq!(bad.status.code(), Some(1), "{}", err(&bad));
    assert_eq!(slow.status.code(), Some(5), "{}", err(&slow));
    assert_eq!(unknown.status.code(), Some(4), "{}", err(&unknown));
    assert_eq!(wrong.status.code(), Some(2));
    assert_eq!(unreachable.status.code(), Some(3));
    for output in [&bad, &slow, &unknown, &unreachable] {
        assert!(err(output).starts_with("error: "), "{}", err(output));
    }
}

#[test]
fn a_log_is_followed_as_it_grows_and_ends_with_the_run() {
    let host = Host::with_plugins(&[
        ("probe", "probe", &PROBE.replace("\"50s\"", "\"30s\"")),
        ("hello", "hello", "[tasks.hello]\n"),
    ]);
    let run = host.trigger("hello", "");

    let followed = host.cli(&["logs", "-f", &run.to_string()]);

    assert!(followed.status.success(), "{}", err(&followed));
    assert!(out(&followed).contains("hello from `hello`"), "{}", out(&followed));
    assert_eq!(state(&host.wait(run)), "succeeded");
    assert!(out(&host.cli(&["logs", "hello"])).contains("hello from"));
}

#[test]
fn cache_entries_are_set_listed_got_and_deleted() {
    let host = Host::start();

    assert!(host.cli(&["cache", "set", "a/b", "one"]).status.success());
    assert!(host.cli(&["cache", "set", "a/c", "two", "--ttl", "1h"]).status.success());

    assert_eq!(host.cli(&["cache", "get", "a/b"]).stdout, b"one");
    let listed = out(&host.cli(&["cache", "list", "a/"]));
    assert!(listed.contains("a/b") && listed.contains("a/c"), "{listed}");
    assert!(host.cli(&["cache", "delete", "a/b"]).status.success());
    assert_eq!(host.cli(&["cache", "get", "a/b"]).status.code(), Some(4));
}

#[test]
fn check_reads_manifests_offline_and_shows_when_their_tasks_are_due() {
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("good.toml");
    let bad = directory.path().join("bad.toml");
    fs::write(&good, "[tasks.report]\ncron = \"30 2 * * mon\"\nzone = \"Europe/Berlin\"\n").unwrap();
    fs::write(&bad, "[tasks.report]\ncron = \"30 2 * *\"\n").unwrap();

    let fine = Command::new(SEXTON).arg("check").arg(&good).output().unwrap();
    let broken = Command::new(SEXTON).arg("check").arg(&bad).output().unwrap();

    let shown = out(&fine);
    assert!(fine.status.success(), "{}", err(&fine));
    assert!(shown.contains("02:30:00") && shown.contains("Europe/Berlin"), "{shown}");
    assert_eq!(broken.status.code(), Some(1));
    let said = out(&broken) + &err(&broken);
    assert!(said.contains("bad.toml:2:") && said.contains("five"), "{said}");
}

/// The name decides for ever where `H` falls: this one is due at 07:31.
#[test]
fn check_shows_where_an_h_falls_by_the_clocks_that_the_crontab_names() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = directory.path().join("spread.toml");
    fs::write(&manifest, "[tasks.report]\ncron = \"CRON_TZ=Asia/Tokyo H H * * *\"\nzone = \"UTC\"\n").unwrap();

    let checked = Command::new(SEXTON).arg("check").arg(&manifest).output().unwrap();

    let shown = out(&checked);
    assert!(checked.status.success(), "{}", err(&checked));
    for part in ["CRON_TZ=Asia/Tokyo H H * * *", "T07:31:00+09:00", "T22:31:00"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn shells_get_completions_and_editors_a_schema() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(SEXTON).args(["completions", shell]).output().unwrap();
        assert!(out(&output).contains("trigger"), "{shell}");
    }
    let schema: Value = serde_json::from_slice(&Command::new(SEXTON).arg("schema").output().unwrap().stdout).unwrap();
    assert!(schema.to_string().contains("catch-up"), "{schema}");
}

#[test]
fn new_writes_a_task_that_builds_runs_and_succeeds() {
    let host = Host::start();
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk").canonicalize().unwrap();
    let place = host.directory.path();
    let written = host.cli(&["new", "greet", "--sdk-path", sdk.to_str().unwrap()]);
    assert!(written.status.success(), "{}", err(&written));
    let again = host.cli(&["new", "greet", "--sdk-path", sdk.to_str().unwrap()]);
    assert!(!again.status.success() && err(&again).starts_with("error: "), "it overwrites nothing: {}", err(&again));

    let target = crate::harness::guests().with_file_name("new-task");
    // The versions that this workspace was tested with.
    fs::copy(sdk.with_file_name("Cargo.lock"), place.join("greet/Cargo.lock")).unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--target", "wasm32-wasip2"])
        .current_dir(place.join("greet"))
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", err(&built));
    let component = fs::read(target.join("wasm32-wasip2/release/greet.wasm")).unwrap();
    let manifest = fs::read_to_string(place.join("greet/greet.toml")).unwrap();
    host.add_bytes("greet", &component, Some(&manifest));

    // `--wait` also waits for a new plugin, but not for as long as a busy machine may take to compile it.
    host.loaded("greet");
    let ran = host.cli(&["trigger", "greet", "--wait"]);

    assert!(ran.status.success(), "{}{}", out(&ran), err(&ran));
}

#[test]
fn a_host_that_gets_too_little_address_space_says_what_to_lower_and_what_to_lift() {
    let directory = Setup::default().directory();
    let script = "ulimit -v 4000000; exec \"$0\" run --config sexton.toml";

    let ended = Command::new("bash").args(["-c", script, SEXTON]).current_dir(directory.path()).output().unwrap();

    assert_eq!(ended.status.code(), Some(1), "{}", err(&ended));
    for part in ["`[runtime] slots`", "`max-memory`", "`ulimit -v unlimited`", "`LimitAS=infinity`"] {
        assert!(err(&ended).contains(part), "{part}: {}", err(&ended));
    }
}

#[test]
fn a_plugin_directory_that_is_named_and_not_there_is_not_made() {
    let directory = Setup::default().directory();

    let ended =
        Command::new(SEXTON).args(["run", "--plugins", "plugns"]).current_dir(directory.path()).output().unwrap();

    assert_eq!(ended.status.code(), Some(2), "{}", err(&ended));
    assert!(err(&ended).contains("hint: did you mean `plugins`?"), "{}", err(&ended));
    assert!(!directory.path().join("plugns").exists());
}

#[test]
fn an_empty_variable_names_no_tenant_and_an_error_names_the_variable() {
    let host = Host::with_plugins(&[("hello", "hello", "[tasks.hello]\n")]);
    let tasks = |tenant: &str| {
        let mut command = Command::new(SEXTON);
        command.arg("tasks").env("SEXTON_URL", &host.url).env("SEXTON_TENANT", tenant).output().unwrap()
    };

    assert!(out(&tasks("")).contains("hello"), "{}", err(&tasks("")));
    let wrong = tasks("No Tenant");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(err(&wrong).starts_with("error: `SEXTON_TENANT` does not name a tenant"), "{}", err(&wrong));
}
