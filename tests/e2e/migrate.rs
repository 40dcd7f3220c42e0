//! Tests moving a host's store from a file into a database, and back.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, TimeDelta};
use serde_json::Value;
use sexton_testkit::postgres::{fresh_schema, shared};
use tempfile::TempDir;

use crate::harness::{Host, SEXTON, Setup, id, list, state};
use crate::outcomes::PROBE;
use crate::pausing::{at, does};

/// A task that is due every second, and misses nothing.
const BEATS: &str = "[tasks.beat]\nevery = \"1s\"\noverlap = \"allow(100)\"\ncatch-up = \"all(1000)\"\n\
     input-json = { do = \"echo\" }\n[tasks.beat.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\n\
     http = [\"127.0.0.1:1\"]\n";

/// Returns the exit code and the output.
fn migrate(directory: &Path, from: &str, to: &str, schema: &str) -> (Option<i32>, String, String) {
    let done = Command::new(SEXTON)
        .args(["migrate", "--from", from, "--to", to, "--schema", schema])
        .current_dir(directory)
        .output()
        .unwrap();
    let [out, err] = [done.stdout, done.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (done.status.code(), out, err)
}

/// Moves everything.
fn moves(directory: &Path, from: &str, to: &str, schema: &str) {
    let (code, out, err) = migrate(directory, from, to, schema);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(out.lines().filter(|line| line.contains("verified")).count(), 10, "{out}");
    assert!(err.lines().any(|line| line.ends_with(" runs moved")), "{err}");
}

fn in_database(schema: &str) -> Setup {
    let config = format!("[host]\nname = \"bells\"\n[store]\nurl = {:?}\nschema = {schema:?}\n", shared().url());
    Setup { config }
}

/// Starts a host in place of another one, with another configuration.
fn start_again(directory: &Arc<TempDir>, setup: &Setup) -> Host {
    fs::copy(setup.directory().path().join("sexton.toml"), directory.path().join("sexton.toml")).unwrap();
    let host = Host::start_in(Arc::clone(directory));
    host.loaded("beat");
    host
}

fn stop(host: Host) -> Arc<TempDir> {
    host.signal("TERM");
    let (content, log, directory) = host.ended();
    assert!(content, "{log}");
    directory
}

/// Returns the instants of runs, earliest first.
fn due(runs: &[Value]) -> Vec<DateTime<FixedOffset>> {
    let mut due: Vec<_> = runs.iter().map(|run| at(&run["due_at"])).collect();
    due.sort_unstable();
    due
}

/// Waits until a second that is still to come has had its beat, and all before it.
fn beats_on(host: &Host) {
    let now = at(&host.get("/v1/host")["now"]);
    host.eventually("it beats on", || {
        let runs = host.get("/v1/runs?task=beat&state=succeeded&limit=1000");
        (*due(list(&runs, "runs")).last()? > now).then_some(())
    });
    host.eventually("nothing that was missed waits", || {
        let not_over = |state: &str| list(&host.get(&format!("/v1/runs?task=beat&state={state}")), "runs").len();
        (not_over("waiting") + not_over("running") <= 1).then_some(())
    });
}

#[test]
fn a_store_moves_from_a_file_to_a_database_and_back() {
    let schema = fresh_schema();
    let host = Host::with(&Setup::default());
    host.add("beat", "probe", BEATS);
    host.add("probe", "probe", PROBE);
    beats_on(&host);
    let run = id(&host.run("probe", r#"{"do": "echo", "value": "a word"}"#));
    let failed = host.run("probe", r#"{"do": "panic"}"#);
    does(&host, &["cache", "set", "page", "of before"]);
    does(&host, &["add", "monday", "--task", "probe", "--cron", "0 9 * * mon"]);
    does(&host, &["pause", "probe", "--why", "moving house"]);
    let both = |host: &Host| [run, id(&failed)].map(|run| host.get(&format!("/v1/runs/{run}")));
    let (before, made) = (both(&host), host.output(run));
    let told = |host: &Host| {
        host.loaded("probe");
        assert_eq!(both(host), before);
        assert_eq!(host.output(run), made);
        assert_eq!(does(host, &["cache", "get", "page"]).0, "of before");
        assert!(does(host, &["list"]).0.contains("monday"));
        assert!(does(host, &["tasks"]).0.contains("moving house"));
    };

    let directory = stop(host);
    moves(directory.path(), "sqlite:var/sexton.db", &shared().url(), &schema);
    let host = start_again(&directory, &in_database(&schema));
    told(&host);
    beats_on(&host);
    let waiting = host.trigger("probe", r#"{"do": "echo"}"#);
    assert!(waiting > id(&failed));
    stop(host);
    moves(directory.path(), &shared().url(), "sqlite:var/back.db", &schema);
    let host = start_again(&directory, &Setup { config: "[store]\npath = \"var/back.db\"\n".to_owned() });
    told(&host);
    beats_on(&host);

    does(&host, &["resume", "probe"]);
    assert_eq!(state(&host.wait(waiting)), "succeeded");
    let runs = host.get("/v1/runs?task=beat&limit=1000");
    let runs = list(&runs, "runs");
    let due = due(runs);
    for pair in due.windows(2) {
        assert_eq!(pair[1] - pair[0], TimeDelta::seconds(1), "a beat was missed or doubled: {due:?}");
    }
    assert!(runs.iter().all(|run| !matches!(state(run), "failed" | "cancelled")), "{runs:?}");
}

#[test]
fn a_run_that_was_under_way_when_its_host_died_is_tried_again_where_it_was_moved() {
    let schema = fresh_schema();
    let manifest = PROBE.replace("attempts = 1", "attempts = 2\ndelay = \"1ms\"");
    let host = Host::with_plugins(&[("beat", "probe", &manifest)]);
    let run = host.trigger("probe", r#"{"do": "sleep", "ms": 3000}"#);
    host.eventually("it runs", || (state(&host.get(&format!("/v1/runs/{run}"))) == "running").then_some(()));
    let directory = host.kill();

    let (code, out, err) = migrate(directory.path(), "sqlite:var/sexton.db", &shared().url(), &schema);
    assert_eq!(code, Some(0), "{err}");
    let host = start_again(&directory, &in_database(&schema));

    assert!(out.contains("1 run(s) were under way"), "{out}");
    let answer = host.wait(run);
    let outcomes: Vec<&str> =
        list(&answer, "attempts").iter().map(|attempt| attempt["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["lost", "succeeded"], "{answer}");
}

#[test]
fn a_store_that_a_host_uses_is_not_moved() {
    let schema = fresh_schema();
    let (in_file, bells) = (Host::with(&Setup::default()), Host::with(&in_database(&schema)));
    let directory = in_file.directory.path();

    let from_file = migrate(directory, "sqlite:var/sexton.db", &shared().url(), &fresh_schema());
    let from_database = migrate(directory, &shared().url(), "sqlite:other.db", &schema);

    assert_eq!(from_file.0, Some(1), "{from_file:?}");
    let pid = in_file.pid();
    assert!(from_file.2.contains(&format!("in use by the process with id {pid}")), "{from_file:?}");
    assert_eq!(from_database.0, Some(6), "{from_database:?}");
    assert!(from_database.2.contains("source is in use by host `bells`"), "{from_database:?}");
    stop(bells);
    moves(directory, &shared().url(), "sqlite:other.db", &schema);
}

#[test]
fn a_host_does_not_start_where_only_a_part_was_moved() {
    let schema = fresh_schema();
    drop(Host::with(&in_database(&schema)));
    shared().psql_in(&schema, "INSERT INTO transfer (kind, source) VALUES ('runs', 'sqlite:/somewhere')");
    let directory = in_database(&schema).directory();

    // The time is bounded, because a host that is up does not end.
    let refused = Command::new("timeout")
        .args(["60", SEXTON, "run", "--config", "sexton.toml"])
        .env_remove("SEXTON_STORE_URL")
        .current_dir(directory.path())
        .output()
        .unwrap();

    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("has only a part of `sqlite:/somewhere`"), "{said}");
}
