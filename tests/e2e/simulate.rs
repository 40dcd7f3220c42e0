//! Tests `sexton test`: schedules of days, tried in a moment, with real guests.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{SEXTON, guest};

/// A directory with a plugin in it.
struct Bench(tempfile::TempDir);

/// Returns a task of `probe` with everything granted.
fn task(name: &str, lines: &str) -> String {
    format!(
        "[tasks.{name}]\nzone = \"Europe/Berlin\"\n{lines}\n[tasks.{name}.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\n\
         schedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n"
    )
}

impl Bench {
    fn new(tasks: &[String]) -> Self {
        Self::with("probe", &tasks.concat())
    }

    fn with(component: &str, manifest: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("it.wasm"), guest(component)).unwrap();
        fs::write(directory.path().join("it.toml"), manifest).unwrap();
        Self(directory)
    }

    fn call(&self, args: &[&str]) -> Output {
        Command::new(SEXTON)
            .args(["test", "it.wasm"])
            .args(args)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .expect("the command line starts")
    }

    /// Returns the output and the exit code.
    fn text(&self, args: &[&str]) -> (String, i32) {
        let output = self.call(args);
        let printed = String::from_utf8(output.stdout).unwrap();
        let code = output.status.code().unwrap();
        assert!(code < 2, "{printed}{}", String::from_utf8_lossy(&output.stderr));
        (printed, code)
    }

    /// Returns the lines of the JSON.
    fn lines(&self, args: &[&str]) -> Vec<Value> {
        let (printed, _) = self.text(&[args, &["--json", "--show-output"]].concat());
        let story: Value = serde_json::from_str(&printed).unwrap();
        story["lines"].as_array().unwrap().clone()
    }

    /// Returns the error of a call that is refused.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.call(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{said}");
        said
    }
}

/// Returns the lines of a kind, with these fields.
fn told(lines: &[Value], kind: &str, fields: &[&str]) -> Vec<String> {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let of_kind = lines.iter().filter(|line| line["kind"] == kind);
    of_kind.map(|line| fields.iter().map(|field| word(&line[*field])).collect::<Vec<_>>().join(" ")).collect()
}

const ECHO: &str = "input-json = { do = \"echo\" }";

#[test]
fn a_run_due_in_a_gap_or_a_fold_of_local_time_runs_once() {
    let nightly = format!("cron = \"30 2 * * *\"\n{ECHO}");
    let bench = Bench::new(&[task("nightly", &nightly)]);

    let spring = bench.lines(&["--at", "2027-03-27T12:00+01:00", "--for", "3d"]);
    let autumn = bench.lines(&["--at", "2027-10-30T12:00+02:00", "--for", "3d"]);

    let fields = &["due", "outcome"];
    assert_eq!(
        told(&spring, "run", fields),
        [
            "2027-03-28T03:00:00+02:00 succeeded",
            "2027-03-29T02:30:00+02:00 succeeded",
            "2027-03-30T02:30:00+02:00 succeeded"
        ]
    );
    assert_eq!(
        told(&autumn, "run", fields),
        [
            "2027-10-31T02:30:00+02:00 succeeded",
            "2027-11-01T02:30:00+01:00 succeeded",
            "2027-11-02T02:30:00+01:00 succeeded"
        ]
    );
}

#[test]
fn an_hourly_task_runs_in_both_hours_of_a_fold_and_not_in_a_gap() {
    let hourly = format!("cron = \"0 * * * *\"\n{ECHO}");
    let bench = Bench::new(&[task("hourly", &hourly)]);

    let spring = bench.lines(&["--at", "2027-03-28T00:30+01:00", "--for", "3h"]);
    let autumn = bench.lines(&["--at", "2027-10-31T01:30+02:00", "--for", "3h"]);

    assert_eq!(
        told(&spring, "run", &["due"]),
        ["2027-03-28T01:00:00+01:00", "2027-03-28T03:00:00+02:00", "2027-03-28T04:00:00+02:00"]
    );
    assert_eq!(
        told(&autumn, "run", &["due"]),
        ["2027-10-31T02:00:00+02:00", "2027-10-31T02:00:00+01:00", "2027-10-31T03:00:00+01:00"]
    );
}

#[test]
fn a_host_that_was_down_catches_up_by_the_tasks_policy_and_reports_what_was_left_out() {
    let lines =
        |catch_up: &str| format!("cron = \"0 * * * *\"\ncatch-up = \"{catch_up}\"\noverlap = \"queue-one\"\n{ECHO}");
    let bench = Bench::new(&[task("latest", &lines("latest")), task("none", &lines("none"))]);
    let down = ["--at", "2027-01-10T00:30+01:00", "--for", "8h", "--host-down", "2027-01-10T01:30+01:00..4h"];

    let story = bench.lines(&down);

    let run_of = |task: &str| -> Vec<String> {
        let runs = told(&story, "run", &["task", "due", "started"]);
        runs.into_iter().filter(|run| run.starts_with(task)).map(|run| run.replace("2027-01-10T", "")).collect()
    };
    assert_eq!(run_of("none").len(), 4, "{story:?}");
    let latest = run_of("latest");
    assert_eq!(latest.len(), 5, "{story:?}");
    assert_eq!(latest[1], "latest 05:00:00+01:00 05:30:00+01:00");
    assert_eq!(
        told(&story, "left-out", &["task", "first", "last", "count"]),
        [
            "latest 2027-01-10T02:00:00+01:00 2027-01-10T04:00:00+01:00 3",
            "none 2027-01-10T02:00:00+01:00 2027-01-10T05:00:00+01:00 4"
        ]
    );
    let events = told(&story, "event", &["what"]);
    assert_eq!(events, ["the host goes down, for 4h", "the host is up again"]);
}

#[test]
fn a_run_that_was_under_way_when_the_host_went_down_is_lost_and_tried_again() {
    let lines = "cron = \"0 1 * * *\"\ninput-json = { do = \"sleep\", ms = 3600000 }\n";
    let bench = Bench::new(&[task("long", &format!("{lines}limits = {{ deadline = \"2h\" }}"))]);

    let story = bench.lines(&[
        "--at",
        "2027-01-10T00:30+01:00",
        "--for",
        "8h",
        "--host-down",
        "2027-01-10T01:30+01:00..2027-01-10T03:00+01:00",
    ]);

    let run = story.iter().find(|line| line["kind"] == "run").unwrap();
    assert_eq!(run["outcome"], "succeeded", "{run}");
    let attempts = run["attempts"].as_array().unwrap();
    let ended: Vec<_> = attempts.iter().map(|attempt| (&attempt["outcome"], &attempt["ended"])).collect();
    let at = |text: &str| Value::from(format!("2027-01-10T0{text}:00:00+01:00"));
    assert_eq!(ended, [(&"lost".into(), &at("3")), (&"succeeded".into(), &at("4"))], "{run}");
}

#[test]
fn a_clock_that_is_set_back_or_forward_makes_no_instant_run_twice() {
    let hourly = format!("cron = \"0 * * * *\"\n{ECHO}");
    let bench = Bench::new(&[task("hourly", &hourly)]);
    let day = ["--at", "2027-01-10T00:30+01:00", "--for", "6h", "--clock-step"];

    let back = bench.lines(&[&day[..], &["2027-01-10T03:30+01:00=-2h"]].concat());
    let forward = bench.lines(&[&day[..], &["2027-01-10T03:30+01:00=+2h"]].concat());

    let hours = |story: &[Value]| -> Vec<String> {
        told(story, "run", &["due"]).iter().map(|due| due["2027-01-10T".len()..][..2].to_owned()).collect()
    };
    // The clock shows 4:30 at the end.
    assert_eq!(hours(&back), ["01", "02", "03", "04"], "{back:?}");
    assert_eq!(told(&back, "event", &["what"]), ["the clock is set back by 2h"]);
    // The clock shows 8:30 at the end.
    assert_eq!(hours(&forward), ["01", "02", "03", "06", "07", "08"], "{forward:?}");
    assert_eq!(told(&forward, "left-out", &["count", "last"]), ["2 2027-01-10T05:00:00+01:00"]);
}

#[test]
fn retries_wait_for_their_delays() {
    let retry = "[tasks.again.retry]\nattempts = 4\ndelay = \"1m\"\nfactor = 3.0\njitter = 0.0\n";
    let again =
        task("again", "at = \"2027-06-01T12:00:00+02:00\"\ninput-json = { do = \"fail-transient\", until = 4 }");
    let bench = Bench::new(&[again + retry]);

    let story = bench.lines(&["--at", "2027-06-01T11:00+02:00", "--for", "1d"]);

    let attempts = story[0]["attempts"].as_array().unwrap();
    let started: Vec<_> = attempts.iter().map(|attempt| &attempt["started"].as_str().unwrap()[11..16]).collect();
    assert_eq!(started, ["12:00", "12:01", "12:04", "12:13"], "{story:?}");
    assert_eq!(story[0]["outcome"], "succeeded");
}

#[test]
fn a_guest_sees_the_virtual_date_and_the_same_chance_each_time() {
    let bench = Bench::new(&[task("looks", "cron = \"0 3 * * *\"\ninput-json = { do = \"now\" }")]);
    let args = ["--at", "2027-03-28T00:30Z", "--for", "3d", "--clock-step", "2027-03-29T12:00Z=+10m"];

    let story = bench.lines(&args);

    let outputs: Vec<Value> =
        told(&story, "run", &["output"]).iter().map(|output| serde_json::from_str(output).unwrap()).collect();
    let at = |text: &str| Value::from(chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis());
    let seen: Vec<_> = outputs.iter().map(|output| &output["now-ms"]).collect();
    let instants = ["2027-03-28T01:00:00Z", "2027-03-29T01:00:00Z", "2027-03-30T01:00:00Z"].map(at);
    assert_eq!(seen, instants.iter().collect::<Vec<_>>());
    assert_ne!(outputs[0]["chance"], outputs[1]["chance"]);
    assert_eq!(bench.lines(&args), story);
}

#[test]
fn a_guest_that_sleeps_for_hours_takes_them_and_runs_due_in_that_time_are_skipped() {
    let lines = "cron = \"0 * * * *\"\noverlap = \"skip\"\ninput-json = { do = \"sleep\", ms = 5400000 }\n";
    let bench = Bench::new(&[task("long", &format!("{lines}limits = {{ deadline = \"2h\" }}"))]);

    let story = bench.lines(&["--at", "2027-06-01T00:30+02:00", "--for", "4h"]);

    assert_eq!(
        told(&story, "run", &["due", "outcome", "ended"]),
        [
            "2027-06-01T01:00:00+02:00 succeeded 2027-06-01T02:30:00+02:00",
            "2027-06-01T02:00:00+02:00 skipped 2027-06-01T02:00:00+02:00",
            "2027-06-01T03:00:00+02:00 succeeded 2027-06-01T04:30:00+02:00",
            "2027-06-01T04:00:00+02:00 skipped 2027-06-01T04:00:00+02:00",
        ]
    );
    assert_eq!(story[0]["output"], "{\"slept-ms\":5400000}", "its own clock says the same");
}

#[test]
fn a_deadline_counts_in_virtual_time_for_a_guest_that_sleeps_and_in_real_time_for_one_that_spins() {
    let retry = "retry = { attempts = 1 }";
    let sleeps = format!("{retry}\nlimits = {{ deadline = \"1h\" }}\ninput-json = {{ do = \"sleep\", ms = 7200000 }}");
    let spins = format!("{retry}\nlimits = {{ deadline = \"300ms\" }}\ninput-json = {{ do = \"spin\" }}");
    let bench = Bench::new(&[task("sleeps", &sleeps), task("spins", &spins)]);
    let args = ["--at", "2027-06-01T00:00+02:00", "--for", "4h", "--trigger", "sleeps", "--trigger", "spins"];

    let story = bench.lines(&args);

    assert_eq!(
        told(&story, "run", &["task", "outcome", "ended", "message"]),
        [
            "sleeps timed-out 2027-06-01T01:00:00+02:00 still running at its deadline of 1h, while it was waiting in a host call",
            "spins timed-out 2027-06-01T00:00:00+02:00 still running at its deadline of 300ms, while it was computing",
        ]
    );
    assert_eq!(bench.text(&args).1, 1, "a run failed");
}

#[test]
fn requested_runs_come_at_their_instants_with_their_input() {
    let bench = Bench::new(&[task("asked", ECHO), task("other", "every = \"1h\"\ninput-json = { do = \"echo\" }")]);

    let story = bench.lines(&[
        "--at",
        "2027-06-01T00:00+02:00",
        "--for",
        "4h",
        "--task",
        "asked",
        "--trigger",
        "asked@2027-06-01T02:30+02:00={\"do\": \"env\"}",
        "--trigger",
        "asked",
    ]);

    assert_eq!(
        told(&story, "run", &["task", "cause", "started", "outcome"]),
        ["asked demand 2027-06-01T00:00:00+02:00 succeeded", "asked demand 2027-06-01T02:30:00+02:00 succeeded"]
    );
    assert_eq!(story[1]["output"], "{}");
}

#[test]
fn a_run_waits_for_a_lock_in_virtual_time() {
    let hold = "at = \"2027-06-01T01:00:00+02:00\"\nlimits = { deadline = \"3h\" }\n\
                input-json = { do = \"lock-hold\", name = \"l\", how = \"sleep\", ms = 3600000 }";
    let wait = |ms: u64| {
        format!(
            "at = \"2027-06-01T01:10:00+02:00\"\nlimits = {{ deadline = \"3h\" }}\n\
             input-json = {{ do = \"lock-wait\", name = \"l\", ms = {ms} }}"
        )
    };
    let bench =
        Bench::new(&[task("holds", hold), task("impatient", &wait(600_000)), task("patient", &wait(7_200_000))]);

    let story = bench.lines(&["--at", "2027-06-01T00:00+02:00", "--for", "4h"]);

    let ended: Vec<_> = told(&story, "run", &["task", "outcome", "ended"]);
    assert_eq!(
        ended,
        [
            "holds succeeded 2027-06-01T02:00:00+02:00",
            "impatient succeeded 2027-06-01T01:20:00+02:00",
            "patient succeeded 2027-06-01T02:00:00+02:00",
        ],
        "{story:?}"
    );
    assert_eq!(story[1]["output"], "\"held\"");
}

#[test]
fn a_run_that_is_replaced_ends_when_its_successor_is_due() {
    let lines = "cron = \"0 * * * *\"\noverlap = \"replace\"\ninput-json = { do = \"sleep\", ms = 5400000 }\n";
    let bench = Bench::new(&[task("long", &format!("{lines}limits = {{ deadline = \"2h\" }}"))]);

    let story = bench.lines(&["--at", "2027-06-01T00:30+02:00", "--for", "3h"]);

    assert_eq!(
        told(&story, "run", &["outcome", "ended"]),
        ["cancelled 2027-06-01T02:00:00+02:00", "cancelled 2027-06-01T03:00:00+02:00", "running null"],
        "{story:?}"
    );
}

#[test]
fn a_guest_that_hears_of_its_end_has_its_grace_in_virtual_time() {
    let manifest = |what: &str| {
        format!(
            "[tasks.{what}]\ncron = \"0 1,2 * * *\"\noverlap = \"replace\"\ninput-json = {{ do = \"{what}\" }}\n\
             limits = {{ deadline = \"3h\", grace = \"10m\" }}\ngrants = {{ http = [\"127.0.0.1:1\"] }}\n"
        )
    };
    let bench = Bench::with("heedful", &manifest("listen"));

    let story = bench.lines(&["--at", "2027-06-01T00:30Z", "--for", "6h"]);

    // The first run is told at once that another replaces it; the second only that its deadline is near.
    assert_eq!(
        told(&story, "run", &["due", "outcome", "ended", "output"]),
        [
            "2027-06-01T01:00:00Z cancelled 2027-06-01T02:00:00Z null",
            "2027-06-01T02:00:00Z succeeded 2027-06-01T04:50:00Z the deadline is near"
        ],
        "{story:?}"
    );
}

#[test]
fn locks_of_tasks_and_idle_limits_hold_in_virtual_time() {
    let lock = |lines: &str| format!("lock = {{ name = \"ledger\"{lines} }}\n");
    let sleeps = "input-json = { do = \"sleep\", ms = 1800000 }\nretry = { attempts = 1 }\n";
    let echoes = "input-json = { do = \"echo\" }\n";
    let bench = Bench::new(&[
        task("holds", &format!("cron = \"0 1 * * *\"\n{sleeps}limits = {{ deadline = \"2h\" }}\n{}", lock(""))),
        task("skips", &format!("after = {{ success = \"15m\", fail = \"1m\" }}\n{echoes}{}", lock(""))),
        task("waits", &format!("cron = \"10 1 * * *\"\n{echoes}{}", lock(", wait = \"1h\""))),
        task("gives-up", &format!("cron = \"12 1 * * *\"\n{echoes}{}", lock(", wait = \"5m\""))),
        task("idles", &format!("cron = \"0 2 * * *\"\n{sleeps}limits = {{ deadline = \"2h\", idle = \"10m\" }}\n")),
    ]);

    let story = bench.lines(&["--at", "2027-06-01T00:35+02:00", "--for", "100m"]);

    let at = |name: &str| {
        let runs: Vec<String> = told(&story, "run", &["task", "due", "outcome", "ended"]);
        let of_task = runs.into_iter().filter_map(|run| run.strip_prefix(&format!("{name} ")).map(str::to_owned));
        of_task.map(|run| run.replace("2027-06-01T", "").replace(":00+02:00", "")).collect::<Vec<_>>()
    };
    assert_eq!(at("holds"), ["01:00 succeeded 01:30"], "{story:?}");
    assert_eq!(at("waits"), ["01:10 succeeded 01:30"], "{story:?}");
    assert_eq!(at("gives-up"), ["01:12 skipped 01:17"], "{story:?}");
    assert_eq!(at("idles"), ["02:00 idle 02:10"], "{story:?}");
    // A skipped run is no failure, so the next one comes as after a success.
    let skips = at("skips");
    assert_eq!(
        skips[..5],
        [
            "00:35 succeeded 00:35",
            "00:50 succeeded 00:50",
            "01:05 skipped 01:05",
            "01:20 skipped 01:20",
            "01:35 succeeded 01:35"
        ],
        "{story:?}"
    );
}

#[test]
fn the_same_test_prints_the_same_and_can_be_compared_with_its_output() {
    let lines = "every = \"7m\"\noverlap = \"skip\"\ninput-json = { do = \"sleep\", ms = 700000 }\n\
                 limits = { deadline = \"1h\" }";
    let fails = "every = \"1h\"\ninput-json = { do = \"fail-transient\" }\nretry = { attempts = 3, jitter = 0.5 }";
    let bench = Bench::new(&[task("sleeps", lines), task("fails", fails)]);
    let args = ["--at", "2027-06-01T00:30+02:00", "--for", "5h", "--seed", "7"];

    let (first, code) = bench.text(&args);
    let (again, _) = bench.text(&args);

    assert_eq!(code, 1, "{first}");
    assert_eq!(first, again);
    assert!(first.starts_with("DUE ") && first.contains("fails: 5 runs: 5 failed-transient"), "{first}");
    let (other, _) = bench.text(&["--at", "2027-06-01T00:30+02:00", "--for", "5h", "--seed", "8"]);
    assert_ne!(first, other, "the retries' jitter follows from the seed");

    fs::write(bench.0.path().join("expected"), &first).unwrap();
    let expecting = [&args[..], &["--expect", "expected"]].concat();
    assert_eq!(bench.text(&expecting), (first.clone(), 0), "what failed was expected to");
    fs::write(bench.0.path().join("expected"), first.replacen("skipped", "succeeded", 1)).unwrap();
    let output = bench.call(&expecting);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("differs from `expected`: `") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_plan_that_cannot_be_simulated_is_an_error_of_one_line() {
    let bench = Bench::new(&[task("good", ECHO)]);
    let week = ["--at", "2027-06-01T00:30+02:00", "--for", "7d"];
    let with = |more: &[&str]| bench.refused(&[&week[..], more].concat());

    assert!(
        bench.refused(&["--at", "tomorrow", "--for", "1d"]).contains("`tomorrow` is not an instant with its offset")
    );
    assert!(with(&["--trigger", "absent"]).contains("there is no task `absent`; there is `good`"));
    assert!(with(&["--task", "absent"]).contains("has no task `absent`; it has `good`"));
    assert!(with(&["--host-down", "2028-01-01T00:00Z..1h"]).contains("`2028-01-01T00:00:00.000Z` is not between"));
    assert!(with(&["--expect", "nowhere"]).contains("cannot read `nowhere`"));
    fs::write(bench.0.path().join("it.toml"), "[tasks.good]\nevry = \"1s\"\n").unwrap();
    let bad = with(&[]);
    assert!(bad.contains("it.toml:2") && bad.contains("evry"), "{bad}");
    fs::write(bench.0.path().join("it.wasm"), "nothing").unwrap();
    fs::remove_file(bench.0.path().join("it.toml")).unwrap();
    let bad = with(&[]);
    assert!(bad.starts_with("error: it.wasm: ") && bad.lines().count() == 1, "{bad}");
}

#[test]
fn schedules_that_depend_on_earlier_runs_are_simulated() {
    let hour = |lines: &str| {
        format!("{lines}\ninput-json = {{ do = \"sleep\", ms = 3600000 }}\nlimits = {{ deadline = \"2h\" }}")
    };
    let chain = "[chains.both]\nlinks = [\"one\", { task = \"two\", success-cooldown = \"15m\" }]\nsuccess-cooldown = \"45m\"\n";
    let tasks = [task("follows", &hour("after = \"30m\"")), task("one", &hour("")), task("two", &hour(""))];
    let bench = Bench::with("probe", &[tasks.concat(), chain.to_owned()].concat());

    let story = bench.lines(&["--at", "2027-06-01T00:00+02:00", "--for", "5h"]);

    let mut runs = told(&story, "run", &["task", "due"]);
    runs.sort();
    insta::assert_snapshot!(runs.join("\n"), @"
    follows 2027-06-01T00:00:00+02:00
    follows 2027-06-01T01:30:00+02:00
    follows 2027-06-01T03:00:00+02:00
    follows 2027-06-01T04:30:00+02:00
    one 2027-06-01T00:00:00+02:00
    one 2027-06-01T03:00:00+02:00
    two 2027-06-01T01:00:00+02:00
    two 2027-06-01T04:00:00+02:00
    ");
}
