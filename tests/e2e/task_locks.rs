//! Tests tasks whose runs hold a lock, with the real binary.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Host, attempts, id, list, outcome, run_of, state};
use crate::outcomes::PROBE;

/// A task of `program`, which knows nothing of locks, under the lock `ledger`.
pub(crate) fn job(name: &str, lock: &str) -> String {
    format!(
        "[tasks.{name}]\nlock = {{ name = \"ledger\"{lock} }}\npause-after = 1\n\
         [tasks.{name}.retry]\nattempts = 2\ndelay = \"50ms\"\njitter = 0\n"
    )
}

/// A task of `probe` under the lock `ledger`, which may take locks itself.
pub(crate) fn holder(name: &str, mode: &str) -> String {
    PROBE
        .replace("tasks.probe", &format!("tasks.{name}"))
        .replace("overlap", &format!("lock = {{ name = \"ledger\", mode = \"{mode}\" }}\noverlap"))
}

const SLEEP: &str = r#"{"do": "sleep", "ms": 45000}"#;

/// Starts a run that holds the lock until it is killed.
pub(crate) fn held(host: &Host, task: &str) -> i64 {
    let run = host.trigger(task, SLEEP);
    host.eventually("the lock is held", || {
        let locks = host.get("/v1/locks");
        list(&locks, "locks").iter().any(|held| held["name"] == "ledger" && held["run"] == run).then_some(())
    });
    run
}

fn kill(host: &Host, run: i64) {
    host.request("POST", &format!("/v1/runs/{run}/kill?now=true"), b"");
    assert_eq!(outcome(&host.wait(run)), "killed");
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn message(answer: &Value) -> &str {
    run_of(answer)["message"].as_str().unwrap_or_default()
}

#[test]
fn a_program_whose_lock_is_held_is_skipped_or_fails_or_counts_as_a_success() {
    let jobs = [
        job("skips", ""),
        job("fails", ", wait = \"10ms\", if-held = \"fail\""),
        job("succeeds", ", if-held = \"succeed\""),
    ];
    let host =
        Host::with_plugins(&[("holder", "probe", &holder("holder", "exclusive")), ("job", "program", &jobs.concat())]);
    let holder = held(&host, "holder");
    let not_free = format!("lock `ledger` was not free: run {holder} has it");

    let skipped = host.cli(&["trigger", "skips", "--wait"]);
    let failed = host.cli(&["trigger", "fails", "--wait"]);
    let succeeded = host.cli(&["trigger", "succeeds", "--wait"]);

    assert_eq!((code(&skipped), code(&failed), code(&succeeded)), (10, 1, 0));
    assert!(said(&skipped).contains(&format!("cancelled (skipped): skipped: {not_free}")), "{skipped:?}");
    assert!(said(&succeeded).contains(&format!("was skipped: {not_free}")), "{succeeded:?}");
    assert!(succeeded.stdout.is_empty(), "{succeeded:?}");
    let latest = |task: &str| {
        let runs = host.get(&format!("/v1/runs?task={task}"));
        let run = id(&list(&runs, "runs")[0]);
        host.get(&format!("/v1/runs/{run}"))
    };
    let skips = latest("skips");
    assert_eq!((state(&skips), outcome(&skips), attempts(&skips).len()), ("cancelled", "skipped", 1), "{skips}");
    assert_eq!(run_of(&skips)["failures"], 0, "{skips}");
    let fails = latest("fails");
    assert_eq!((state(&fails), outcome(&fails), attempts(&fails).len()), ("failed", "failed-transient", 2), "{fails}");
    assert_eq!(message(&fails), format!("lock `ledger` was not free within 10ms: run {holder} has it"));
    let succeeds = latest("succeeds");
    assert_eq!((state(&succeeds), outcome(&succeeds)), ("succeeded", "skipped"), "{succeeds}");
    assert_eq!(host.request("GET", "/v1/tasks/succeeds/result", b"").0, 404, "a skipped run is no result");
    let paused = |task: &str| host.get(&format!("/v1/tasks/{task}"))["paused"] == true;
    assert_eq!(["skips", "fails", "succeeds"].map(paused), [false, true, false], "only a failure counts as one");
    kill(&host, holder);
}

#[test]
fn a_run_that_waits_for_the_lock_of_its_task_is_shown_as_waiting() {
    let host = Host::with_plugins(&[
        ("holder", "probe", &holder("holder", "exclusive")),
        ("job", "program", &format!("{}[tasks.waits.limits]\ndeadline = \"20s\"\n", job("waits", ", wait = \"1h\""))),
    ]);
    let holder = held(&host, "holder");
    let waits = host.trigger("waits", "in");
    let waiter: Value = host.eventually("it is waited for", || {
        let graph = host.get("/v1/locks/graph");
        list(&graph["locks"][0], "waiters").first().cloned()
    });
    assert_eq!(waiter["run"], waits, "{waiter}");
    let stack = host.cli(&["stack", &waits.to_string(), "--samples", "2"]);
    let shown = String::from_utf8_lossy(&stack.stdout).into_owned();
    assert!(shown.contains("waiting in `task.lock` for `ledger`"), "{stack:?}");

    kill(&host, holder);
    let answer = host.wait(waits);

    assert_eq!((state(&answer), outcome(&answer)), ("succeeded", "succeeded"), "{answer}");
    assert_eq!(host.output(waits), b"stdin in\n");
    assert!(attempts(&answer)[0]["accounts"]["lock_wait_us"].as_u64().unwrap() > 0, "{answer}");
    assert!(host.get("/v1/locks").to_string().contains(r#""locks":[]"#), "it is released");
}

/// Waits until a run waits for the lock of its task.
fn waited_for(host: &Host) {
    host.eventually("it waits", || {
        (!list(&host.get("/v1/locks/graph")["locks"][0], "waiters").is_empty()).then_some(())
    });
}

#[test]
fn a_guest_has_all_of_its_time_however_long_its_run_waited_for_the_lock() {
    let limits = "[tasks.waits.limits]\ndeadline = \"2s\"\n";
    let host = Host::with_plugins(&[
        ("holder", "probe", &holder("holder", "exclusive")),
        ("job", "program", &format!("{}{limits}", job("waits", ", wait = \"10m\""))),
    ]);
    let holder = held(&host, "holder");
    let waits = host.trigger("waits", "in");
    waited_for(&host);

    std::thread::sleep(Duration::from_secs(3)); // longer than the deadline, which must not pass meanwhile
    kill(&host, holder);
    let answer = host.wait(waits);

    assert_eq!((state(&answer), outcome(&answer), attempts(&answer).len()), ("succeeded", "succeeded", 1), "{answer}");
}

/// A task under the lock `ledger` that holds it until its guest hears that it must end.
const HEEDFUL: &str = "[tasks.heedful]\nlock = { name = \"ledger\" }\n[tasks.heedful.limits]\ndeadline = \"2m\"\n\
    [tasks.heedful.grants]\nhttp = [\"127.0.0.1:1\"]\n";

#[test]
fn a_run_that_waits_for_its_lock_does_not_begin_while_its_host_stops() {
    let host = Host::with_plugins(&[
        ("heedful", "heedful", HEEDFUL),
        ("job", "program", &job("waits", ", wait = \"1h\"")),
        ("next", "program", &job("next", ", wait = \"1h\"")),
    ]);
    let holder = host.trigger("heedful", r#"{"do": "listen"}"#);
    host.eventually("the lock is held", || host.get("/v1/locks").to_string().contains("ledger").then_some(()));
    let waits = ["waits", "next"].map(|task| host.trigger(task, "in"));
    host.eventually("both wait", || {
        (list(&host.get("/v1/locks/graph")["locks"][0], "waiters").len() == 2).then_some(())
    });

    host.signal("TERM");
    let (content, log, directory) = host.ended();

    assert!(content, "{log}");
    // Without their plugins the runs go on to wait, so that their state is seen.
    for plugin in ["job", "next"] {
        std::fs::remove_file(directory.path().join(format!("plugins/{plugin}.wasm"))).unwrap();
    }
    let host = Host::start_in(directory);
    assert_eq!(state(&host.get(&format!("/v1/runs/{holder}"))), "succeeded");
    for run in waits {
        let answer = host.get(&format!("/v1/runs/{run}"));
        assert_eq!((state(&answer), attempts(&answer).len()), ("waiting", 1), "{answer}\n{log}");
        assert_eq!(run_of(&answer)["failures"], 0, "{answer}");
        let attempt = &attempts(&answer)[0];
        assert_eq!(attempt["outcome"], "lost", "{attempt}");
        assert_eq!(attempt["message"], "ended while it waited for lock `ledger`: its host takes no more runs");
        assert_eq!((&attempt["log"]["text"], &attempt["stdout"]["text"]), (&"".into(), &"".into()), "{attempt}");
    }
}

#[test]
fn a_run_that_waits_for_its_lock_goes_back_when_its_host_drains() {
    let host = Host::with_plugins(&[
        ("holder", "probe", &holder("holder", "exclusive")),
        ("job", "program", &job("waits", ", wait = \"1h\"")),
    ]);
    let holder = held(&host, "holder");
    let waits = host.trigger("waits", "in");
    waited_for(&host);

    assert_eq!(code(&host.cli(&["drain"])), 0);
    host.eventually("it goes back", || (state(&host.get(&format!("/v1/runs/{waits}"))) == "waiting").then_some(()));
    assert_eq!(state(&host.get(&format!("/v1/runs/{holder}"))), "running", "what has begun goes on");
    kill(&host, holder);
    let drained = host.cli(&["drain", "--wait"]);
    assert!(String::from_utf8_lossy(&drained.stdout).ends_with("has nothing under way.\n"), "{drained:?}");
    assert_eq!(state(&host.get(&format!("/v1/runs/{waits}"))), "waiting");

    assert_eq!(code(&host.cli(&["drain", "--undo"])), 0);
    let answer = host.wait(waits);
    assert_eq!((state(&answer), run_of(&answer)["failures"].as_u64()), ("succeeded", Some(0)), "{answer}");
}

#[test]
fn a_run_that_waits_for_its_lock_can_be_killed() {
    let host = Host::with_plugins(&[
        ("holder", "probe", &holder("holder", "exclusive")),
        ("job", "program", &job("waits", ", wait = \"1h\"")),
    ]);
    let holder = held(&host, "holder");
    let waits = host.trigger("waits", "");
    host.eventually("it waits", || {
        (!list(&host.get("/v1/locks/graph")["locks"][0], "waiters").is_empty()).then_some(())
    });

    let wait = std::thread::scope(|scope| {
        let wait = scope.spawn(|| host.cli(&["trigger", "waits", "--wait"]));
        host.eventually("both wait", || {
            (list(&host.get("/v1/locks/graph")["locks"][0], "waiters").len() == 2).then_some(())
        });
        for run in [waits, waits + 1] {
            host.request("POST", &format!("/v1/runs/{run}/kill?reason=enough"), b"");
        }
        wait.join().unwrap()
    });

    assert_eq!(code(&wait), 12, "{wait:?}");
    let answer = host.wait(waits);
    assert_eq!((state(&answer), outcome(&answer), message(&answer)), ("cancelled", "killed", "enough"), "{answer}");
    kill(&host, holder);
}

#[test]
fn runs_that_share_the_lock_go_together_and_keep_others_out() {
    let host = Host::with_plugins(&[
        ("readers", "probe", &holder("readers", "shared")),
        ("job", "program", &job("writes", "")),
    ]);

    let readers = [held(&host, "readers"), held(&host, "readers")];
    let kept_out = host.cli(&["trigger", "writes", "--wait"]);
    for run in readers {
        kill(&host, run);
    }
    let let_in = host.cli(&["trigger", "writes", "--wait"]);

    assert_eq!((code(&kept_out), code(&let_in)), (10, 0), "{kept_out:?} {let_in:?}");
}

#[test]
fn a_guest_that_asks_for_the_lock_of_its_task_is_told_that_it_holds_it() {
    let host = Host::with_plugins(&[("holder", "probe", &holder("holder", "exclusive"))]);

    let answer = host.run("holder", r#"{"do": "lock-wait", "name": "ledger", "ms": 40000}"#);

    assert_eq!(host.output(id(&answer)), br#""held""#, "{answer}");
}

#[test]
fn the_lock_is_free_while_a_run_waits_for_its_retry() {
    let manifest = holder("again", "exclusive").replace("attempts = 1", "attempts = 2\ndelay = \"1h\"");
    let host = Host::with_plugins(&[("again", "probe", &manifest), ("job", "program", &job("other", ""))]);
    let run = host.trigger("again", r#"{"do": "fail-transient"}"#);
    host.eventually("it waits for its retry", || {
        let answer = host.get(&format!("/v1/runs/{run}"));
        (state(&answer) == "waiting" && attempts(&answer).len() == 1).then_some(())
    });

    let other = host.cli(&["trigger", "other", "--wait"]);

    assert_eq!(code(&other), 0, "{other:?}");
}

#[test]
fn a_run_that_its_overlap_skips_is_as_skipped_as_any() {
    let host = Host::with_plugins(&[(
        "slow",
        "probe",
        &PROBE
            .replace("tasks.probe", "tasks.slow")
            .replace("overlap = \"allow(200)\"", "every = \"300ms\"\ninput-json = { do = \"sleep\", ms = 45000 }"),
    )]);

    let skipped = host.eventually("a run is skipped", || {
        let runs = host.get("/v1/runs?task=slow&state=cancelled");
        list(&runs, "runs").first().cloned()
    });

    assert_eq!((&skipped["outcome"], &skipped["attempt"]), (&"skipped".into(), &0.into()), "{skipped}");
}

#[test]
fn exit_codes_of_awaited_runs_say_how_they_ended() {
    let limited = |name: &str, limit: &str| {
        PROBE.replace("tasks.probe", &format!("tasks.{name}")).replace("deadline = \"50s\"", limit)
    };
    let host = Host::with_plugins(&[
        ("probe", "probe", PROBE),
        ("late", "probe", &limited("late", "deadline = \"1s\"")),
        ("little", "probe", &limited("little", "fuel = 50_000_000")),
    ]);

    for (task, input, expected) in [
        ("probe", r#"{"do": "echo"}"#, 0),
        ("probe", r#"{"do": "fail-permanent"}"#, 1),
        ("late", r#"{"do": "sleep", "ms": 40000}"#, 13),
        ("probe", r#"{"do": "eat-memory"}"#, 15),
        ("little", r#"{"do": "spin"}"#, 16),
        ("probe", r#"{"do": "panic"}"#, 17),
    ] {
        let output = host.cli(&["trigger", task, "--input", input, "--wait"]);
        assert_eq!(code(&output), expected, "{task} {input}: {output:?}");
    }
    let help = host.cli(&["trigger", "--help"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("10 skipped"), "{help:?}");
}
