//! Tests backfills, on both stores.

use serde_json::Value;
use sexton_testkit::postgres::{fresh_schema, shared};

use crate::harness::{Host, Setup, list};
use crate::over_time::both;
use crate::pausing::{at, does};
use crate::tenants::{add_acmes, with_acme};

/// A task that is due each hour of New Year's Day, and whose runs take a moment. Two may go at once.
pub(crate) const HOURLY: &str = "[tasks.hourly]\ncron = \"0 * 1 1 *\"\noverlap = \"allow(2)\"\ninput-json = { do = \"sleep\", ms = 150 }\n\
     [tasks.hourly.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n";

/// Six hours of such a day.
pub(crate) const RANGE: [&str; 4] = ["--from", "2026-01-01T00:00Z", "--to", "2026-01-01T06:00Z"];

fn backfill(host: &Host, more: &[&str]) -> String {
    does(host, &[&["backfill", "hourly"][..], &RANGE, more].concat()).0
}

/// Returns the runs of backfills, first to last.
pub(crate) fn runs(host: &Host) -> Vec<Value> {
    let runs = host.get("/v1/runs?task=hourly&limit=1000");
    let mut runs: Vec<Value> = list(&runs, "runs").iter().filter(|run| run["backfill"] == true).cloned().collect();
    runs.reverse();
    runs
}

/// Waits until `count` runs of backfills have succeeded, and returns all of them.
fn succeeded(host: &Host, count: usize) -> Vec<Value> {
    host.eventually(&format!("{count} runs of a backfill have succeeded"), || {
        let runs = runs(host);
        (runs.iter().filter(|run| run["state"] == "succeeded").count() >= count).then_some(runs)
    })
}

#[test]
fn a_backfill_is_shown_first_then_made_and_goes_on_one_run_at_a_time() {
    for host in both() {
        host.add("hourly", "probe", HOURLY);

        let plan = backfill(&host, &["--dry-run"]);
        let refused = host.cli(&[&["backfill", "hourly"][..], &RANGE].concat());
        let before = runs(&host).len();
        let made = backfill(&host, &["--yes"]);
        let all = succeeded(&host, 6);
        let again = backfill(&host, &["--yes"]);

        assert!(plan.contains("was due 6 times") && plan.contains("6 runs, one at a time: the first for "), "{plan}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && said.contains("--yes") && said.contains("--dry-run"), "{said}");
        assert_eq!(before, 0);
        assert!(made.contains("Made 6 runs."), "{made}");
        assert!(
            again.contains("6 of these instants have a run already") && again.contains("No run is missing"),
            "{again}"
        );
        let due: Vec<&str> = all.iter().map(|run| run["due_at"].as_str().unwrap()).collect();
        assert_eq!(due, (0..6).map(|hour| format!("2026-01-01T0{hour}:00:00.000Z")).collect::<Vec<_>>());
        for pair in all.windows(2) {
            assert!(at(&pair[0]["ended_at"]) <= at(&pair[1]["claimed_at"]), "one after the other: {pair:?}");
        }
        assert!(does(&host, &["show", &all[0]["id"].to_string()]).0.contains("note        backfill"));
        assert_eq!(
            host.get("/v1/tasks/hourly?statistics=true")["statistics"]["wait"],
            Value::Null,
            "their instants are long ago"
        );
    }
}

#[test]
fn as_many_runs_of_a_backfill_go_at_once_as_requested_within_the_limit_of_the_task() {
    for host in both() {
        host.add("hourly", "probe", HOURLY);

        let refused = host.cli(&[&["backfill", "hourly"][..], &RANGE, &["--yes", "--at-once", "3"]].concat());
        backfill(&host, &["--yes", "--at-once", "2"]);
        succeeded(&host, 6);

        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && said.contains("the 2 runs of `hourly`"), "{said}");
        assert_eq!(host.get("/v1/tasks/hourly?statistics=true")["statistics"]["at_once"]["most"], 2);
    }
}

#[test]
fn a_backfill_is_cancelled_as_far_as_it_has_not_begun_and_can_be_made_again() {
    let slow = HOURLY.replace("150", "3600000");
    for host in both() {
        host.add("hourly", "probe", &slow);
        backfill(&host, &["--yes"]);
        let waits = host.eventually("the first run is going", || {
            let runs = runs(&host);
            (runs[0]["state"] == "running").then(|| runs[1].clone())
        });

        let cancelled = does(&host, &["backfill", "hourly", "--cancel"]).0;

        assert!(waits["why"].as_str().unwrap().contains("waits for its turn in a backfill"), "{waits}");
        assert_eq!(cancelled, "Cancelled 5 runs of `hourly`; those that have begun go on.\n");
        assert_eq!(runs(&host).iter().filter(|run| run["state"] == "cancelled").count(), 5);
        assert!(backfill(&host, &["--dry-run"]).contains("5 runs, one at a time"));
        host.request("POST", &format!("/v1/runs/{}/kill?now=true", runs(&host)[0]["id"]), b"");
    }
}

#[test]
fn a_backfill_goes_on_after_its_host_was_killed() {
    let host = Host::start();
    host.add("hourly", "probe", HOURLY);
    backfill(&host, &["--yes"]);
    succeeded(&host, 2);

    let host = Host::start_in(host.kill());

    let all = succeeded(&host, 6);
    assert_eq!(all.len(), 6);
}

/// Returns what a backfill of three hours of such a day would do, or does.
fn three_hours(host: &Host, from: u32, more: &[&str]) -> String {
    let [from, to] = [from, from + 3].map(|hour| format!("2026-01-01T{hour:02}:00Z"));
    does(host, &[&["backfill", "hourly", "--from", &from, "--to", &to][..], more].concat()).0
}

#[test]
fn instants_whose_runs_were_deleted_are_filled_in_again_only_on_request() {
    let on_postgres = format!("[store]\nurl = {:?}\nschema = {:?}\n", shared().url(), fresh_schema());
    for config in [String::new(), on_postgres] {
        let host = Host::with(&Setup { config: format!("{config}[retention]\nruns = 3\n") });
        host.add("hourly", "probe", HOURLY);
        let too_many = host.cli(&[&["backfill", "hourly"][..], &RANGE, &["--yes"]].concat());
        let said = String::from_utf8_lossy(&too_many.stderr).into_owned();
        assert!(said.contains("6 runs are more than the latest 3 that are kept of a task"), "{said}");
        assert_eq!(too_many.status.code(), Some(2));

        three_hours(&host, 0, &["--yes"]);
        succeeded(&host, 3);
        three_hours(&host, 3, &["--yes"]);
        host.eventually("the later three have succeeded, too", || {
            let runs = runs(&host);
            let ended = runs.iter().filter(|run| run["state"] == "succeeded");
            (ended.filter(|run| run["due_at"].as_str() >= Some("2026-01-01T03")).count() == 3).then_some(())
        });
        // A host deletes what is too much when it starts, and once a minute.
        let host = Host::start_in(host.kill());
        host.loaded("hourly");
        host.eventually("the first three are deleted", || (runs(&host).len() == 3).then_some(()));

        let plan = three_hours(&host, 0, &["--dry-run"]);
        let without = three_hours(&host, 0, &["--yes"]);
        let later = three_hours(&host, 3, &["--yes"]);
        let again = three_hours(&host, 0, &["--yes", "--also-forgotten"]);

        assert!(plan.contains("3 of these instants may have had a run"), "{plan}");
        assert!(without.contains("No run is made.") && !without.contains("Made"), "{without}");
        assert!(
            later.contains("3 of these instants have a run already") && later.contains("No run is missing"),
            "{later}"
        );
        assert!(again.contains("Made 3 runs."), "{again}");
    }
}

#[test]
fn the_runs_of_a_backfill_wait_while_their_task_is_paused() {
    for host in both() {
        host.add("hourly", "probe", HOURLY);
        does(&host, &["pause", "hourly"]);

        backfill(&host, &["--yes"]);
        let waits = host.eventually("the first has had its turn", || {
            let first = runs(&host).first()?.clone();
            let why = first["why"].as_str()?.to_owned();
            why.contains("paused").then_some(why)
        });
        let begun = runs(&host).iter().filter(|run| run["state"] != "waiting").count();
        does(&host, &["resume", "hourly"]);

        assert_eq!(begun, 0, "{waits}");
        assert_eq!(succeeded(&host, 6).len(), 6);
    }
}

#[test]
fn a_backfill_has_no_more_runs_at_once_than_its_tenant_may() {
    let host = with_acme("runs = 2\n");
    let wide = HOURLY.replace("allow(2)", "allow(9)");
    add_acmes(&host, "hourly", "probe", &wide);
    let all = [&["--tenant", "acme", "backfill", "hourly"][..], &RANGE, &["--yes", "--at-once", "6"]].concat();

    does(&host, &all);
    let sums = host.eventually("all have succeeded", || {
        let sums = host.get("/v1/tasks/hourly?tenant=acme&statistics=true")["statistics"].clone();
        (sums["succeeded"] == 6).then_some(sums)
    });

    assert_eq!(sums["at_once"]["most"], 2, "{sums}");
    assert_eq!(list(&host.get("/v1/runs?limit=1000"), "runs").len(), 0, "the runs are those of the tenant");
}
