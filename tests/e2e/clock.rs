//! Tests hosts whose clock is years off for a while, and their schedules, runs and history after that.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use crate::harness::{Host, SEXTON, Setup, attempts, drop_in, guest, list, state};

const DAY: i64 = 86_400;

/// A task that is due every second, and one that fails until it is tried again.
const TASKS: &str = "[tasks.beat]\nevery = \"1s\"\noverlap = \"allow(9)\"\ninput-json = { do = \"echo\" }\n\
     [tasks.beat.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n\
     [tasks.once.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n\
     [tasks.once.retry]\nattempts = 2\ndelay = \"1h\"\n";

/// Starts a host whose clock is ahead by the seconds in the file `ahead` of its directory.
pub(crate) fn skewed(directory: &Arc<TempDir>) -> Host {
    skewed_with(directory, &[])
}

/// Does the same with further variables in its environment.
fn skewed_with(directory: &Arc<TempDir>, environment: &[(&str, &str)]) -> Host {
    let library = Path::new(SEXTON).with_file_name("libskewed_clock.so");
    assert!(library.exists(), "{} is missing; `cargo build -p skewed-clock` makes it", library.display());
    let ahead = directory.path().join("ahead");
    let (library, ahead) = (library.display().to_string(), ahead.display().to_string());
    let skewed = [("LD_PRELOAD", library.as_str()), ("SKEWED_CLOCK_FILE", ahead.as_str())];
    Host::start_in_with(Arc::clone(directory), &[&skewed[..], environment].concat())
}

/// Sets the clock. A reader never sees the file half written.
pub(crate) fn set_ahead(directory: &Path, seconds: i64) {
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
fn schedules_continue_after_a_clock_ten_years_ahead_was_corrected() {
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
fn a_task_ahead_of_the_clock_shows_that_and_continues_when_it_is_resumed() {
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
    assert_eq!(host.log().matches("waits, because the clock was set back by").count(), 1, "{}", host.log());
}

#[test]
fn added_schedules_ahead_of_the_clock_go_on_after_a_reset_or_a_resume() {
    let directory = directory(DAY);
    let host = skewed(&directory);
    host.loaded("probe");
    for key in ["one", "two", "three"] {
        let added =
            host.cli(&["schedule", "add", key, "--task", "once", "--every", "1s", "--input", r#"{"do": "echo"}"#]);
        assert!(added.status.success(), "{added:?}");
    }
    let fired = |host: &Host, key: &str| host.get(&format!("/v1/schedules/{key}"))["fired"].as_u64().unwrap();
    let goes_on = |host: &Host, key: &str| {
        let before = fired(host, key);
        host.eventually(&format!("`{key}` goes on"), || (fired(host, key) > before).then_some(()));
    };
    goes_on(&host, "three");
    host.signal("TERM");
    let (content, log, directory) = host.ended();
    assert!(content, "{log}");
    set_ahead(directory.path(), 0);

    let host = skewed(&directory);
    host.loaded("probe");
    let said = |key: &str| host.get(&format!("/v1/schedules/{key}"))["set_back"].as_str().map(str::to_owned);
    let why = said("one").expect("the schedule says why it makes no runs");
    assert!(why.contains("`sexton schedule reset one`"), "{why}");
    for shown in [host.cli(&["schedule", "list"]), host.cli(&["schedule", "show", "one"])] {
        assert!(String::from_utf8_lossy(&shown.stdout).contains(&why), "{shown:?}");
    }
    let listed = String::from_utf8(host.cli(&["schedule", "list"]).stdout).unwrap();
    assert!(
        listed.contains("2 more wait for the same reason; `sexton resume TASK` lets all schedules of a task continue"),
        "{listed}"
    );
    assert_eq!(listed.matches("ahead of the clock").count(), 3, "{listed}");
    host.eventually("the log says that they wait", || {
        host.log().contains("3 added schedule(s) wait, because the clock was set back").then_some(())
    });
    let reset = host.cli(&["schedule", "reset", "one"]);
    assert!(reset.status.success(), "{reset:?}");
    assert!(String::from_utf8_lossy(&reset.stdout).contains("`one` of `once` continues from now: next "), "{reset:?}");
    goes_on(&host, "one");
    assert_eq!((said("one"), said("two").is_some()), (None, true), "the others wait");
    let resumed = host.cli(&["resume", "once"]);
    assert!(resumed.status.success(), "{resumed:?}");

    goes_on(&host, "two");
    goes_on(&host, "three");
    assert_eq!((said("two"), said("three")), (None, None));
    let again = host.cli(&["schedule", "reset", "one"]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("is not ahead of the clock"), "{again:?}");
}

#[test]
fn an_intentionally_delayed_run_does_not_count_as_late() {
    let directory = Setup::default().directory();
    let manifest = "[tasks.it]\nat = \"2020-01-01T00:00:00Z\"\n[tasks.delayed]\non-start = true\ndelay = \"50m\"\n";
    drop_in(directory.path(), "it", &guest("hello"), Some(manifest));
    set_ahead(directory.path(), 0);
    let host = skewed_with(&directory, &[("SEXTON_LOG", "debug")]);
    let run = host.eventually("a run waits for its delay", || {
        let runs = host.get("/v1/runs?task=delayed");
        list(&runs, "runs").first().map(|run| run["id"].as_i64().unwrap())
    });

    // The step is less than an hour, so that the clock is believed at once.
    set_ahead(directory.path(), 50 * 60);
    assert_eq!(state(&host.wait(run)), "succeeded");
    host.signal("TERM");
    let (content, log, _directory) = host.ended();

    assert!(content, "{log}");
    let late = |before: &str| {
        let line = log.lines().find(|line| line.contains(before)).unwrap_or_else(|| panic!("no {before} in {log}"));
        let words: Vec<&str> = line.split_whitespace().skip_while(|word| *word != "started").collect();
        words[1..]
            .iter()
            .take_while(|word| **word != "late")
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    for said in [late("of `delayed` succeeded in "), late("ended in the last")] {
        // Some seconds for the test's own time; the step was fifty minutes.
        let in_minutes = |part: &str| part.strip_suffix('m')?.parse::<u64>().ok();
        let minutes = said.split(' ').find_map(in_minutes).unwrap_or_default();
        assert!(!said.contains('h') && minutes < 20, "{said}");
    }
}
