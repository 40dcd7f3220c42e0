//! Tests many hosts on one database, with the real binary and a real PostgreSQL.

mod backfills;
mod clocks;
mod outages;
mod published;
mod refused;
mod taking_over;
mod task_locks;

use std::collections::BTreeSet;

use serde_json::Value;
use sexton_testkit::postgres::{fresh_schema, shared};

use crate::harness::{Host, Setup, attempts, id, list, outcome, run_of, state};
use crate::outcomes::PROBE;
use crate::pausing::{at, does};

/// Hosts that share a database.
struct Fleet {
    url: String,
    schema: String,
    lease: &'static str,
}

impl Fleet {
    /// Creates a fleet on the server that all tests share, in a schema of its own.
    fn new() -> Self {
        Self::on(shared().url())
    }

    fn on(url: String) -> Self {
        Self { url, schema: fresh_schema(), lease: "15s" }
    }

    /// Sets a lease that is short enough to be waited for.
    fn with_lease(self, lease: &'static str) -> Self {
        Self { lease, ..self }
    }

    fn host(&self, name: &str) -> Host {
        Host::with(&self.setup(name))
    }

    fn setup(&self, name: &str) -> Setup {
        let Self { url, schema, lease } = self;
        let config = format!(
            "[host]\nname = {name:?}\n[store]\nurl = {url:?}\nschema = {schema:?}\n[machine]\nlease = {lease:?}\n"
        );
        Setup { config }
    }
}

/// Returns a probe that may do anything, as the task `name`, for as long as a test needs.
fn probe(name: &str) -> String {
    PROBE.replace("tasks.probe", &format!("tasks.{name}"))
}

/// Has a host take nothing from now on, so that others do.
fn stand_aside(host: &Host) {
    host.signal("USR1");
    host.eventually("it stands aside", || host.get("/v1/host")["paused_at"].as_str().map(drop));
}

/// Has it take runs again.
fn take_part(host: &Host) {
    host.signal("USR2");
    host.eventually("it takes part", || host.get("/v1/host")["paused_at"].is_null().then_some(()));
}

/// Waits until a host has a run.
fn has(host: &Host, run: i64) {
    host.eventually("it runs there", || {
        let live = host.get("/v1/live");
        list(&live, "attempts").iter().any(|attempt| attempt["run"] == run).then_some(())
    });
}

/// Waits until a host sees that a lock is held, wherever.
fn is_held(host: &Host, lock: &str) {
    host.eventually("the lock is held", || {
        let locks = host.get("/v1/locks");
        list(&locks, "locks").iter().any(|held| held["name"] == lock).then_some(())
    });
}

/// Returns the hosts and the outcomes of the attempts at a run, first to last.
fn course(answer: &Value) -> Vec<(&str, &str)> {
    attempts(answer)
        .iter()
        .map(|attempt| (attempt["host"].as_str().unwrap(), attempt["outcome"].as_str().unwrap()))
        .collect()
}

/// Returns the output of a run.
fn said(host: &Host, run: i64) -> Value {
    serde_json::from_slice(&host.output(run)).unwrap()
}

#[test]
fn a_due_run_is_made_once_and_run_once_though_three_hosts_are_up() {
    const BEATS: &str = "[tasks.beat]\nevery = \"200ms\"\noverlap = \"allow(100)\"\n\
         input-json = { do = \"incr\", key = \"beats\" }\n[tasks.beat.limits]\ndeadline = \"50s\"\n\
         [tasks.beat.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n";
    let fleet = Fleet::new();
    let hosts = ["a", "b", "c"].map(|name| fleet.host(name));
    for host in &hosts {
        host.add("beat", "probe", BEATS);
    }

    hosts[0].eventually("all three have beaten for a while", || {
        let beats = hosts[0].get("/v1/runs?task=beat&state=succeeded&limit=1000");
        (list(&beats, "runs").len() >= 50).then_some(())
    });
    does(&hosts[1], &["pause", "beat"]);
    hosts[2].eventually("nothing of it runs any more", || {
        list(&hosts[2].get("/v1/runs?task=beat&state=running"), "runs").is_empty().then_some(())
    });

    let beats = hosts[0].get("/v1/runs?task=beat&limit=1000");
    let beats = list(&beats, "runs");
    let instants: BTreeSet<&str> = beats.iter().map(|run| run["due_at"].as_str().unwrap()).collect();
    assert_eq!(instants.len(), beats.len(), "two runs were due at one instant");
    let ran: Vec<&Value> = beats.iter().filter(|run| run["state"] == "succeeded").collect();
    assert!(ran.iter().all(|run| run["attempt"] == 1), "{ran:?}");
    let counted = hosts[2].request("GET", "/v1/cache/beats", b"").1;
    assert_eq!(String::from_utf8(counted).unwrap(), ran.len().to_string(), "a run was run twice");
}

#[test]
fn a_run_that_was_asked_for_on_one_host_is_done_by_another() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    a.add("probe", "probe", &probe("probe"));
    b.add("probe", "probe", &probe("probe"));
    stand_aside(&a);

    let answer = a.run("probe", r#"{"do": "echo", "value": "a word"}"#);

    assert_eq!(course(&answer), [("b", "succeeded")]);
    assert_eq!(said(&a, id(&answer))["value"], "a word");
}

#[test]
fn a_host_without_the_plugin_leaves_its_runs_to_those_that_have_it() {
    let fleet = Fleet::new();
    let (has_it, has_another) = (fleet.host("has-it"), fleet.host("has-another"));
    has_it.add("probe", "probe", &probe("probe"));
    has_another.add("another", "probe", &probe("another"));

    let runs: Vec<i64> = (0..20).map(|_| has_it.trigger("probe", r#"{"do": "sleep", "ms": 50}"#)).collect();
    let others: Vec<i64> = (0..20).map(|_| has_another.trigger("another", r#"{"do": "sleep", "ms": 50}"#)).collect();

    for run in runs {
        assert_eq!(course(&has_another.wait(run)), [("has-it", "succeeded")]);
    }
    for run in others {
        assert_eq!(course(&has_it.wait(run)), [("has-another", "succeeded")]);
    }
}

#[test]
fn an_entry_that_one_hosts_run_wrote_is_read_by_anothers() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    a.add("writes", "probe", &probe("writes"));
    b.add("reads", "probe", &probe("reads"));

    let written = a.run("writes", r#"{"do": "cache-set", "key": "page", "value": "of host a"}"#);
    let read = b.run("reads", r#"{"do": "cache-get", "key": "page"}"#);

    assert_eq!(outcome(&written), "succeeded", "{written}");
    assert_eq!(said(&b, id(&read))["value"], "of host a");
    assert_eq!((course(&written)[0].0, course(&read)[0].0), ("a", "b"));
}

#[test]
fn a_lock_that_is_held_on_one_host_makes_a_run_on_another_wait_until_it_is_released() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    let patient = |name: &str| probe(name).replace("\"50s\"", "\"5m\"");
    a.add("holds", "probe", &patient("holds"));
    b.add("waits", "probe", &patient("waits"));
    // The lock is held for longer on a busy machine, but the first duration is mostly enough.
    let contend = |ms: u32| {
        let input = format!(r#"{{"do": "lock-hold", "name": "ledger", "how": "sleep", "ms": {ms}}}"#);
        let holder = a.trigger("holds", &input);
        is_held(&b, "ledger");
        let refused = b.run("waits", r#"{"do": "lock-wait", "name": "ledger", "ms": 0}"#);
        let waiter = b.wait(b.trigger("waits", r#"{"do": "lock-wait", "name": "ledger", "ms": 170000}"#));
        let waited = attempts(&waiter)[0]["accounts"]["lock_wait_us"].as_u64().unwrap() > 0;
        (said(&b, id(&refused)) == "held" && waited).then_some((holder, waiter))
    };

    let (holder, waiter) =
        [10_000, 30_000, 120_000].into_iter().find_map(contend).expect("one run is refused, and another waits");

    let held = a.wait(holder);
    // The guest released it before its attempt was over.
    assert!(at(&attempts(&waiter)[0]["ended_at"]) > at(&attempts(&held)[0]["started_at"]), "{held} {waiter}");
    let fence = |run: &Value| said(&b, id(run))["fence"].as_u64().unwrap();
    assert!(fence(&waiter) > fence(&held), "the later holder has the greater fence");
}

#[test]
fn a_run_is_ended_and_awaited_through_a_host_that_does_not_have_it() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    a.add("probe", "probe", &probe("probe"));
    let run = a.trigger("probe", r#"{"do": "spin"}"#);
    has(&a, run);

    let (status, _) = b.request("POST", &format!("/v1/runs/{run}/kill?reason=enough"), b"");
    let answer = b.wait(run);

    assert_eq!(status, 202);
    assert_eq!((state(&answer), outcome(&answer)), ("cancelled", "killed"), "{answer}");
    assert_eq!(run_of(&answer)["host"], "a");
    assert_eq!(run_of(&answer)["message"], "enough", "{answer}");
}
