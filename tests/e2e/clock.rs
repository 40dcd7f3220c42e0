//! Hosts whose clock is years off for a while, and what becomes of their schedules, runs and history.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use crate::harness::{Host, SEXTON, Setup, attempts, drop_in, guest, list, state};

const DAY: i64 = 86_400;

/// Due every second, and a task that fails until it is tried again.
const TASKS: &str = "[tasks.beat]\nevery = \"1s\"\noverlap = \"allow(9)\"\ninput-json = { do = \"echo\" }\n\
     [tasks.beat.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n\
     [tasks.once.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n\
     [tasks.once.retry]\nattempts = 2\ndelay = \"1h\"\n";

/// A host whose clock is ahead by the seconds in the file `ahead` of its directory.
fn skewed(directory: &Arc<TempDir>) -> Host {
    let library = Path::new(SEXTON).with_file_name("libskewed_clock.so");
    assert!(library.exists(), "{} is missing; `cargo build -p skewed-clock` makes it", library.display());
    let ahead = directory.path().join("ahead");
    let (library, ahead) = (library.display().to_string(), ahead.display().to_string());
    Host::start_in_with(Arc::clone(directory), &[("LD_PRELOAD", &library), ("SKEWED_CLOCK_FILE", &ahead)])
}

/// Sets the clock. The file is never seen half written.
fn set_ahead(directory: &Path, seconds: i64) {
    fs::write(directory.join("ahead.new"), seconds.to_string()).unwrap();
    fs::rename(directory.join("ahead.new"), directory.join("ahead")).unwrap();
}

fn directory(ahead: i64) -> Arc<TempDir> {
    let directory = Setup::default().directory();
    drop_in(directory.path(), "probe", &guest("probe"), Some(TASKS));
    set_ahead(directory.path(), ahead);
    directory
}

/// Waits until `beat` makes a run that is not among those so far, and returns the latest.
fn beats_on(host: &Host) -> i64 {
    let latest = || {
        let runs = host.get("/v1/runs?task=beat&limit=1");
        list(&runs, "runs").first().and_then(|run| run["id"].as_i64()).unwrap_or(0)
    };
    let before = latest();
    host.eventually("it beats on", || Some(latest()).filter(|run| *run > before + 1))
}

#[test]
fn a_clock_that_is_ten_years_ahead_for_a_moment_changes_nothing() {
    let directory = directory(0);
    let host = skewed(&directory);
    host.loaded("probe");
    let first = host.run("beat", r#"{"do": "echo"}"#);
    beats_on(&host);

    set_ahead(directory.path(), 3650 * DAY);
    host.eventually("the host says that its clock is not believed", || {
        host.get("/v1/health")["clock"].as_str().map(str::to_owned)
    });
    set_ahead(directory.path(), 0);

    host.eventually("its clock is right again", || host.log().contains("is right again").then_some(()));
    assert_eq!(host.get("/v1/health"), serde_json::json!({ "status": "ok" }));
    beats_on(&host);
    let again = host.get(&format!("/v1/runs/{}", crate::harness::id(&first)));
    assert_eq!(state(&again), "succeeded", "its history is still there");
}

#[test]
fn what_a_host_wrote_whose_clock_was_ten_years_ahead_goes_on_after_it_was_set_right() {
    let directory = directory(3650 * DAY);
    let host = skewed(&directory);
    host.loaded("probe");
    beats_on(&host);
    let retried = host.trigger("once", r#"{"do": "fail-transient", "until": 2}"#);
    host.eventually("its first attempt is over, and it waits for the next", || {
        let run = host.get(&format!("/v1/runs/{retried}"));
        (attempts(&run).len() == 1 && state(&run) == "waiting").then_some(())
    });
    host.signal("TERM");
    let (content, log, directory) = host.ended();
    assert!(content, "{log}");

    set_ahead(directory.path(), 0);
    let host = skewed(&directory);
    host.loaded("probe");

    beats_on(&host);
    let now = host.get("/v1/host")["now"].as_str().unwrap().to_owned();
    let next = host.get("/v1/tasks/beat")["next"][0]["at"].as_str().unwrap().to_owned();
    assert_eq!(next[..4], now[..4], "the year of the next instant");
    host.eventually("what waits goes on, once the clock has stood for a while", || {
        (state(&host.get(&format!("/v1/runs/{retried}"))) == "succeeded").then_some(())
    });
}

#[test]
fn a_task_whose_clock_was_set_back_says_so_and_goes_on_when_it_is_resumed() {
    let directory = directory(DAY);
    let host = skewed(&directory);
    host.loaded("probe");
    beats_on(&host);
    host.signal("TERM");
    let (content, log, directory) = host.ended();
    assert!(content, "{log}");
    set_ahead(directory.path(), 0);

    let host = skewed(&directory);
    host.loaded("probe");
    let said = host.eventually("the task says why it does not run", || {
        host.get("/v1/tasks/beat")["set_back"].as_str().map(str::to_owned)
    });
    assert!(said.contains("`sexton resume beat`"), "{said}");
    let listed = host.cli(&["tasks"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains(&said), "{listed:?}");
    assert!(String::from_utf8_lossy(&host.request("GET", "/", b"").1).contains("the clock was set back by"));
    let resumed = host.cli(&["resume", "beat"]);
    assert!(resumed.status.success(), "{resumed:?}");

    beats_on(&host);
    assert_eq!(host.get("/v1/tasks/beat")["set_back"].as_str(), None);
    assert_eq!(host.log().matches("waits: the clock was set back by").count(), 1, "{}", host.log());
}
