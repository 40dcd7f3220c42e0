//! Tests when runs are made, and what happens to those that come due while others have not ended.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::harness::{Host, attempts, id, list, run_of, state};
use crate::outcomes::PROBE;

fn runs(host: &Host, task: &str) -> Vec<Value> {
    list(&host.get(&format!("/v1/runs?task={task}&limit=200")), "runs").to_vec()
}

fn manifest(task: &str, schedule: &str) -> String {
    format!(
        "[tasks.{task}]\n{schedule}\n[tasks.{task}.retry]\nattempts = 1\n[tasks.{task}.limits]\ndeadline = \"50s\"\n\
         [tasks.{task}.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n"
    )
}

/// Returns how many of the runs in `state` were made by the schedule.
fn scheduled(runs: &[Value], state: &str) -> usize {
    runs.iter().filter(|run| run["cause"] == "schedule" && run["state"] == state).count()
}

#[test]
fn a_run_due_before_the_last_has_ended_is_skipped_with_the_reason() {
    let schedule = "every = \"500ms\"\noverlap = \"skip\"\ninput-json = { do = \"sleep\", ms = 30000 }";
    let host = Host::with_plugins(&[("skips", "probe", &manifest("skips", schedule))]);

    let all = host.eventually("three instants were skipped", || {
        let all = runs(&host, "skips");
        (scheduled(&all, "cancelled") >= 3).then_some(all)
    });

    assert_eq!(scheduled(&all, "running"), 1, "{all:?}");
    assert_eq!(scheduled(&all, "waiting"), 0, "{all:?}");
    let skipped = all.iter().find(|run| run["state"] == "cancelled").unwrap();
    assert!(skipped["message"].as_str().unwrap().starts_with("skipped"), "{skipped}");
}

#[test]
fn one_run_waits_for_the_one_that_is_going_and_no_more_than_one() {
    let schedule = "every = \"500ms\"\noverlap = \"queue-one\"\ninput-json = { do = \"sleep\", ms = 30000 }";
    let host = Host::with_plugins(&[("queues", "probe", &manifest("queues", schedule))]);

    let all = host.eventually("three instants were skipped", || {
        let all = runs(&host, "queues");
        (scheduled(&all, "cancelled") >= 3).then_some(all)
    });

    assert_eq!((scheduled(&all, "running"), scheduled(&all, "waiting")), (1, 1), "{all:?}");
}

#[test]
fn so_many_runs_as_are_allowed_go_at_once_and_no_more() {
    let schedule = "every = \"300ms\"\noverlap = \"allow(3)\"\ninput-json = { do = \"sleep\", ms = 30000 }";
    let host = Host::with_plugins(&[("allows", "probe", &manifest("allows", schedule))]);

    let all = host.eventually("three instants were skipped", || {
        let all = runs(&host, "allows");
        (scheduled(&all, "cancelled") >= 3).then_some(all)
    });

    assert_eq!((scheduled(&all, "running"), scheduled(&all, "waiting")), (3, 0), "{all:?}");
}

#[test]
fn runs_on_demand_are_never_skipped() {
    let host = Host::with_plugins(&[("one", "probe", &manifest("one", "overlap = \"skip\""))]);

    let asked: Vec<i64> = (0..5).map(|_| host.trigger("one", r#"{"do": "sleep", "ms": 50}"#)).collect();

    for run in asked {
        assert_eq!(state(&host.wait(run)), "succeeded");
    }
}

#[test]
fn an_instant_makes_one_run_however_often_the_host_is_started() {
    let mut host = Host::with_plugins(&[("tick", "hello", "[tasks.tick]\nevery = \"1s\"\noverlap = \"allow(5)\"\n")]);
    for _ in 0..3 {
        host.eventually("it has run", || (scheduled(&runs(&host, "tick"), "succeeded") >= 2).then_some(()));
        host = Host::start_in(host.kill());
    }
    host.eventually("it has run again", || (scheduled(&runs(&host, "tick"), "succeeded") >= 5).then_some(()));

    let all = runs(&host, "tick");
    let mut due: Vec<&str> = all.iter().map(|run| run["due_at"].as_str().unwrap()).collect();
    let runs = due.len();
    due.sort_unstable();
    due.dedup();
    assert_eq!(due.len(), runs, "an instant was run twice: {all:?}");
    assert!(due.iter().all(|due| due.ends_with(".000Z")), "{due:?}");
}

#[test]
fn a_crontab_with_seconds_is_due_at_the_seconds_that_it_names() {
    let manifest = "[tasks.tick]\ncron-seconds = \"*/2 * * * * *\"\ndst = \"utc\"\noverlap = \"allow(5)\"\n";
    let host = Host::with_plugins(&[("tick", "hello", manifest)]);

    host.eventually("it has run", || (scheduled(&runs(&host, "tick"), "succeeded") >= 3).then_some(()));

    let all = runs(&host, "tick");
    let due: Vec<&str> = all.iter().map(|run| run["due_at"].as_str().unwrap()).collect();
    let even = |due: &&str| ["0.000Z", "2.000Z", "4.000Z", "6.000Z", "8.000Z"].iter().any(|end| due.ends_with(end));
    assert!(due.iter().all(even), "{due:?}");
}

#[test]
fn instants_missed_during_a_downtime_are_treated_by_the_catch_up_policy() {
    let each = |name: &str, catch_up: &str| {
        (
            name.to_owned(),
            format!("[tasks.{name}]\nevery = \"1s\"\noverlap = \"allow(50)\"\ncatch-up = \"{catch_up}\"\n"),
        )
    };
    let tasks = [each("none", "none"), each("latest", "latest"), each("all", "all(4)")];
    let plugins: Vec<(&str, &str, &str)> =
        tasks.iter().map(|(name, manifest)| (name.as_str(), "hello", manifest.as_str())).collect();
    let host = Host::with_plugins(&plugins);
    for (name, ..) in &plugins {
        host.eventually("it has run", || (!runs(&host, name).is_empty()).then_some(()));
    }

    let directory = host.kill();
    // The test is about a downtime: at least six instants are missed, more than are caught up.
    std::thread::sleep(std::time::Duration::from_secs(8));
    let host = Host::start_in(directory);

    for (name, most) in [("none", 0), ("latest", 1), ("all", 4)] {
        let missed = host.eventually("it says what was missed", || missed(&host.log(), name));
        let last = host.eventually("it goes on", || {
            let due = due(&host, name);
            due.last().is_some_and(|last| last > missed.last().unwrap()).then_some(due)
        });
        let caught_up: Vec<_> = missed.iter().filter(|at| last.contains(at)).collect();
        assert!(missed.len() > 4, "{name}: {missed:?}");
        assert_eq!(caught_up, missed[missed.len() - most..].iter().collect::<Vec<_>>(), "{name}: {missed:?}");
    }
}

/// Returns the instants of a task, due each second, that the host reports as missed: `9 missed since
/// 2026-11-30T03:19:17.000Z`.
fn missed(log: &str, task: &str) -> Option<Vec<DateTime<Utc>>> {
    let said = log.split_once(&format!("`{task}`: "))?.1;
    let (count, said) = said.split_once(" missed since ")?;
    let since: DateTime<Utc> = said.split_once(", ")?.0.parse().ok()?;
    Some((0..count.parse().ok()?).map(|second| since + TimeDelta::seconds(second)).collect())
}

/// Returns when the runs of a task were due, the first one first.
fn due(host: &Host, task: &str) -> Vec<DateTime<Utc>> {
    let mut due: Vec<_> = runs(host, task).iter().map(|run| run["due_at"].as_str().unwrap().parse().unwrap()).collect();
    due.sort_unstable();
    due
}

#[test]
fn a_task_that_is_due_at_the_start_runs_once_with_every_start() {
    let host = Host::with_plugins(&[("boot", "hello", "[tasks.boot]\non-start = true\n")]);
    host.eventually("it ran", || (runs(&host, "boot").iter().any(|run| run["state"] == "succeeded")).then_some(()));
    host.add("boot", "hello", "[tasks.boot]\non-start = true\ndescription = \"another version\"\n");

    let host = Host::start_in(host.kill());
    let all = host.eventually("it ran again", || {
        let all = runs(&host, "boot");
        (all.len() >= 2 && all.iter().all(|run| run["state"] == "succeeded")).then_some(all)
    });

    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.iter().all(|run| run["cause"] == "start"), "{all:?}");
}

#[test]
fn a_task_that_is_due_at_an_instant_runs_then_and_once() {
    // The host is up and the code is compiled, so little is left to do before that instant.
    let host = Host::with_plugins(&[("warm", "hello", "[tasks.warm]\n")]);
    let at = Utc::now() + TimeDelta::seconds(5);
    let manifest = format!("[tasks.once]\nat = \"{}\"\n", at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    host.add("once", "hello", &manifest);

    let all = host.eventually("it ran", || {
        Some(runs(&host, "once")).filter(|runs| runs.iter().any(|run| run["state"] == "succeeded"))
    });
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["due_at"].as_str().unwrap()[..19], at.to_rfc3339()[..19]);

    let host = Host::start_in(host.kill());
    host.loaded("once");
    host.add("other", "hello", "[tasks.other]\n");
    assert_eq!(state(&host.run("other", "")), "succeeded"); // the scheduler has been round
    assert_eq!(runs(&host, "once").len(), 1);
}

#[test]
fn a_run_can_be_requested_for_later_and_shows_when_it_was_due() {
    let host = Host::with_plugins(&[("probe", "probe", PROBE)]);
    let (status, body) = host.request("POST", "/v1/tasks/probe/runs?after=1s", br#"{"do": "echo"}"#);
    assert_eq!(status, 202, "{}", String::from_utf8_lossy(&body));
    let run = id(&serde_json::from_slice(&body).unwrap());
    assert_eq!(state(&host.get(&format!("/v1/runs/{run}"))), "waiting");

    let answer = host.wait(run);

    let told: Value = serde_json::from_slice(&host.output(run)).unwrap();
    let due = DateTime::parse_from_rfc3339(run_of(&answer)["due_at"].as_str().unwrap()).unwrap();
    assert_eq!(told["due-at"], due.timestamp_millis());
    let started = DateTime::parse_from_rfc3339(attempts(&answer)[0]["started_at"].as_str().unwrap()).unwrap();
    assert!(started >= due);
}

#[test]
fn a_task_that_has_had_all_its_runs_is_shown_as_done() {
    let times = "[tasks.thrice]\nevery = \"200ms\"\ntimes = 3\noverlap = \"queue-all\"\n";
    let mut host = Host::with_plugins(&[("thrice", "hello", times)]);
    // The list also answers before the plugin is loaded again.
    let shown = |host: &Host| list(&host.get("/v1/tasks"), "tasks").first().cloned();
    let done = |host: &Host| shown(host)?["done"].as_str().map(str::to_owned);
    let all = host.eventually("three have run", || {
        let all = runs(&host, "thrice");
        (scheduled(&all, "succeeded") == 3).then_some(all)
    });
    assert_eq!((all.len(), done(&host).as_deref()), (3, Some("ran 3 of 3 times")));

    host = Host::start_in(host.kill());
    let told = host.eventually("it is known again", || done(&host));

    assert_eq!(told, "ran 3 of 3 times");
    assert_eq!(shown(&host).unwrap()["next"], Value::Array(vec![]));
    assert_eq!(runs(&host, "thrice").len(), 3);
}

#[test]
fn a_run_that_finds_no_place_in_time_is_cancelled_and_says_why() {
    let late = "every = \"500ms\"\noverlap = \"queue-all\"\nstart-within = \"300ms\"\ninput-json = { do = \"sleep\", ms = 30000 }";
    let host = Host::with_plugins(&[("late", "probe", &manifest("late", late))]);

    let all = host.eventually("two were late", || {
        let all = runs(&host, "late");
        (scheduled(&all, "cancelled") >= 2).then_some(all)
    });

    assert_eq!(scheduled(&all, "running"), 1, "{all:?}");
    let late = all.iter().find(|run| run["state"] == "cancelled").unwrap();
    let said = late["message"].as_str().unwrap();
    assert!(said.starts_with("not started by 2") && said.ends_with(": its start-within of 300ms was over"), "{late}");
}
