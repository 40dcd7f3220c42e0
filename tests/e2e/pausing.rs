//! Tests pausing a task, a tenant, and all tasks, and forced runs.

use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use serde_json::Value;

use crate::harness::{Host, attempts, list, run_of, state};
use crate::outcomes::PROBE;
use crate::tenants::{acmes, acmes_when_over, add_acmes, trigger_acmes, with_acme};

/// A task that is due ten times a second.
pub(crate) const BEATS: &str = "[tasks.beat]\nevery = \"100ms\"\noverlap = \"allow(50)\"\ninput-json = { do = \"echo\" }\n\
     [tasks.beat.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n";

pub(crate) fn at(field: &Value) -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339(field.as_str().unwrap_or_else(|| panic!("{field} is no instant"))).unwrap()
}

/// Runs the command line, which must succeed. Returns its output and its remarks.
pub(crate) fn does(host: &Host, args: &[&str]) -> (String, String) {
    let done = host.cli(args);
    let [out, err] = [done.stdout, done.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(done.status.success(), "{args:?}: {err}");
    (out, err)
}

/// Returns the runs of a task that its schedule made, and that were due after `since`.
pub(crate) fn scheduled(host: &Host, task: &str, since: DateTime<FixedOffset>) -> Vec<Value> {
    let runs = host.get(&format!("/v1/runs?limit=1000&task={task}"));
    let by_schedule = |run: &&Value| run["cause"] == "schedule" && at(&run["due_at"]) > since;
    list(&runs, "runs").iter().filter(by_schedule).cloned().collect()
}

pub(crate) fn now(host: &Host) -> DateTime<FixedOffset> {
    at(&host.get("/v1/host")["now"])
}

/// An instant at the moment of the pause may still get its run.
const MOMENT: chrono::Duration = chrono::Duration::milliseconds(1000);

#[test]
fn a_paused_tenant_stays_paused_over_a_restart_while_others_run() {
    let host = with_acme("");
    host.add("beat", "probe", BEATS);
    add_acmes(&host, "beat", "probe", BEATS);
    host.eventually("acme's task runs", || {
        (!list(&host.get("/v1/runs?tenant=acme&state=succeeded"), "runs").is_empty()).then_some(())
    });

    let (said, _) = does(&host, &["pause", "--tenant", "acme", "--why", "moving house"]);
    assert_eq!(said, "Paused all tasks of tenant `acme`. Runs in progress continue.\n");
    let paused = now(&host);
    let asked = trigger_acmes(&host, "beat", r#"{"do": "echo"}"#);
    let host = Host::start_in(host.kill());
    host.loaded("beat");
    let restarted = now(&host);
    host.eventually("the others beat on", || {
        (scheduled(&host, "beat", restarted + MOMENT * 2).len() > 5).then_some(())
    });

    let waits = acmes(&host, asked);
    let why = run_of(&waits)["why"].as_str().unwrap_or_default();
    assert_eq!(state(&waits), "waiting");
    assert!(why.starts_with("its tenant is paused since ") && why.ends_with("Z: moving house"), "{why}");
    assert!(does(&host, &["tenants"]).0.contains("moving house"));
    assert!(does(&host, &["--tenant", "acme", "tasks"]).0.contains("the tenant's tasks start nothing: its tenant is"));
    let (_, note) = does(&host, &["--tenant", "acme", "trigger", "beat", "--input", r#"{"do": "echo"}"#]);
    assert!(note.contains("so its runs wait until `sexton resume --tenant acme`"), "{note}");

    let resumed = now(&host);
    let (said, _) = does(&host, &["resume", "--tenant", "acme"]);
    assert!(said.starts_with("Resumed all tasks of tenant `acme`"), "{said}");
    assert_eq!(state(&acmes_when_over(&host, asked)), "succeeded");
    let first = host.eventually("its schedule goes on", || {
        let runs = host.get("/v1/runs?tenant=acme&limit=1000");
        let since = |run: &&Value| run["cause"] == "schedule" && at(&run["due_at"]) > paused + MOMENT;
        list(&runs, "runs").iter().rfind(since).map(|run| at(&run["due_at"]))
    });
    assert!(first > resumed - chrono::Duration::milliseconds(200), "what was due meanwhile is left out: {first}");
}

#[test]
fn all_are_paused_those_that_come_later_too_and_what_was_paused_by_itself_stays_so() {
    let host = Host::with_plugins(&[
        ("beat", "probe", BEATS),
        ("still", "probe", &BEATS.replace("beat", "still")),
        ("probe", "probe", PROBE),
    ]);
    does(&host, &["pause", "still"]);
    let under_way = host.trigger("probe", r#"{"do": "sleep", "ms": 2000}"#);
    host.eventually("it runs", || (state(&host.get(&format!("/v1/runs/{under_way}"))) == "running").then_some(()));

    assert_eq!(does(&host, &["pause", "--all"]).0, "Paused all tasks. Runs in progress continue.\n");
    let paused = now(&host);
    host.add("later", "probe", &BEATS.replace("beat", "later"));
    assert_eq!(state(&host.wait(under_way)), "succeeded", "what runs goes on");
    // The length of a forced run, in which many instants come due.
    let (_, note) =
        does(&host, &["trigger", "probe", "--past-limits", "--wait", "--input", r#"{"do": "sleep", "ms": 2000}"#]);
    assert!(note.contains("past its limits: all tasks are paused since "), "{note}");
    for task in ["beat", "still", "later"] {
        assert_eq!(scheduled(&host, task, paused + MOMENT), Vec::<Value>::new());
    }
    assert!(host.get("/v1/host")["all_paused"]["since"].is_string());
    assert!(
        does(&host, &["resume", "still"]).0.starts_with("`still` still starts nothing, because all tasks are paused")
    );
    does(&host, &["pause", "still"]);

    let (said, _) = does(&host, &["resume", "--all"]);
    assert!(said.starts_with("Resumed all tasks, except those that were paused one by one"), "{said}");
    for task in ["beat", "later"] {
        host.eventually("it goes on", || (scheduled(&host, task, paused + MOMENT).len() > 5).then_some(()));
    }
    assert_eq!(scheduled(&host, "still", paused + MOMENT), Vec::<Value>::new());
    assert_eq!(host.get("/v1/tasks/still")["paused_by"], "task");
}

#[test]
fn a_pause_must_name_a_task_a_tenant_or_all() {
    let host = Host::start();

    let done = host.cli(&["pause"]);

    assert_eq!(done.status.code(), Some(2));
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.starts_with("error: say what to pause: a task, --tenant NAME, or --all"), "{said}");
}

#[test]
fn a_run_past_its_limits_runs_beside_what_holds_others_back() {
    let host = with_acme("runs = 1\n");
    add_acmes(&host, "page", "probe", &PROBE.replace("probe", "page").replace("allow(200)", "skip"));
    let page = |input: &'static str, more: &[&'static str]| {
        let mut args = vec!["--tenant", "acme", "trigger", "page", "--input", input];
        args.extend(more);
        does(&host, &args)
    };
    let long = trigger_acmes(&host, "page", r#"{"do": "sleep", "ms": 40000}"#);
    host.eventually("it runs", || (state(&acmes(&host, long)) == "running").then_some(()));
    does(&host, &["--tenant", "acme", "pause", "page"]);
    let waits = trigger_acmes(&host, "page", r#"{"do": "echo"}"#);

    let (made, note) = page(r#"{"do": "echo", "value": "here"}"#, &["--past-limits", "--wait"]);

    assert!(made.contains("here"), "{made}");
    for part in [
        "past its limits: `page` is paused; ",
        "tenant `acme` has 1 of at most 1 concurrent runs under way on this host; ",
        "`page` has reached its limit of 1 concurrent runs",
    ] {
        assert!(note.contains(part), "`{part}` is not in {note}");
    }
    assert_eq!([state(&acmes(&host, long)), state(&acmes(&host, waits))], ["running", "waiting"]);
    let runs = host.get("/v1/runs?tenant=acme&state=succeeded");
    let forced = &list(&runs, "runs")[0];
    assert_eq!(forced["forced"], true, "{forced}");
    let shown = does(&host, &["--tenant", "acme", "show", &forced["id"].to_string()]).0;
    assert!(shown.contains("past its limits: `page` is paused"), "{shown}");
    // The limits of an attempt are the same as ever.
    let spent = host.cli(&[
        "--tenant",
        "acme",
        "trigger",
        "page",
        "--past-limits",
        "--wait",
        "--input",
        r#"{"do": "eat-memory"}"#,
    ]);
    let said = String::from_utf8(spent.stderr).unwrap();
    assert!(!spent.status.success(), "{said}");
    let last = host.get("/v1/runs?tenant=acme&limit=1");
    let answer = acmes(&host, list(&last, "runs")[0]["id"].as_i64().unwrap());
    assert_eq!(attempts(&answer)[0]["outcome"], "out-of-memory", "{answer}");
    host.request("POST", &format!("/v1/runs/{long}/kill?tenant=acme&now=true"), b"");
    assert!(acmes_when_over(&host, long)["run"]["ended_at"].is_string());
}

#[test]
fn a_task_over_its_budget_runs_if_it_is_forced() {
    let thrifty = format!("{PROBE}[tasks.probe.budget]\nfuel-per-minute = 30000000\n");
    let host = Host::with_plugins(&[("probe", "probe", &thrifty)]);
    // A minute's worth of fuel, and then as much again: it would wait for a minute.
    for _ in 0..2 {
        host.run("probe", r#"{"do": "spin"}"#);
    }
    let waits = host.trigger("probe", r#"{"do": "echo"}"#);
    host.eventually("it is held back", || {
        run_of(&host.get(&format!("/v1/runs/{waits}")))["held_back"].is_object().then_some(())
    });

    let (_, note) = does(&host, &["trigger", "probe", "--past-limits", "--wait", "--input", r#"{"do": "echo"}"#]);

    assert!(note.contains("past its limits: over its budget of 30000000 fuel a minute"), "{note}");
    let answer = host.get(&format!("/v1/runs/{waits}"));
    assert_eq!(state(&answer), "waiting", "{answer}");
    let forced = host.get("/v1/runs?limit=1");
    let (due, claimed) = (at(&forced["runs"][0]["due_at"]), at(&forced["runs"][0]["claimed_at"]));
    assert!((claimed - due).to_std().unwrap_or_default() < Duration::from_secs(20), "{forced}");
}
