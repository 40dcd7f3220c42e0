//! Tests the runs of a host that died, or that was gone for longer than its lease.

use std::time::Duration;

use super::{Fleet, course, has, is_held, probe, said, stand_aside, take_part};
use crate::harness::{Host, attempts, id, outcome, run_of};
use crate::pausing::at;

const LEASE: Duration = Duration::from_secs(3);

/// A load that takes a lock, writes an entry, waits, and counts itself, all of which needs its claim.
const LOAD: &str = "[tasks.load]\n[tasks.load.retry]\nattempts = 3\ndelay = \"1ms\"\n\
     [tasks.load.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\n";

fn fleet() -> Fleet {
    Fleet::new().with_lease("3s")
}

#[test]
fn a_run_whose_host_was_killed_is_taken_over_after_its_lease_and_the_attempt_is_lost() {
    let fleet = fleet();
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    a.add("probe", "probe", &probe("probe"));
    b.add("probe", "probe", &probe("probe"));
    stand_aside(&b);
    let run = a.trigger("probe", r#"{"do": "sleep", "ms": 5000}"#);
    has(&a, run);

    a.kill();
    take_part(&b);
    let answer = b.wait(run);

    assert_eq!(course(&answer), [("a", "lost"), ("b", "succeeded")], "{answer}");
    assert_eq!(run_of(&answer)["host"], "b");
    // The time counts from the request, a moment before the claim; the guest started later.
    let lost = at(&attempts(&answer)[0]["ended_at"]) - at(&run_of(&answer)["due_at"]);
    assert!(lost.to_std().unwrap() >= LEASE, "it was taken before its lease was over: {answer}");
}

#[test]
fn a_host_that_was_stopped_for_longer_than_its_lease_changes_nothing_when_it_wakes() {
    let fleet = fleet();
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    a.add("load", "load", LOAD);
    b.add("load", "load", LOAD);
    stand_aside(&b);
    let run = a.trigger("load", r#"{"lock": "ledger", "key": "page", "counter": "count", "ms": 4000}"#);
    is_held(&a, "ledger");

    a.signal("STOP");
    take_part(&b);
    let answer = b.wait(run);
    a.signal("CONT");

    assert_eq!(course(&answer), [("a", "lost"), ("b", "succeeded")], "{answer}");
    // Its guest has slept enough by now, tries to count itself, and has an outcome.
    a.eventually("it finds that the run is another's", || {
        a.log().contains("Lost the claim on a run of `load`").then_some(())
    });
    assert_eq!(b.get(&format!("/v1/runs/{run}")), answer);
    assert_eq!(b.request("GET", "/v1/cache/count", b"").1, b"1");
    let next = a.run("load", r#"{"lock": "ledger", "key": "page", "counter": "count", "ms": 1}"#);
    assert_eq!(outcome(&next), "succeeded", "{next}");
}

#[test]
fn the_death_of_a_host_that_was_only_stopped_is_taken_back_when_it_wakes() {
    let fleet = fleet();
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    a.add("load", "load", LOAD);
    stand_aside(&b);
    let run = a.trigger("load", r#"{"lock": "ledger", "key": "page", "counter": "count", "ms": 50000}"#);
    is_held(&a, "ledger");
    let deaths = || run_of(&b.get(&format!("/v1/runs/{run}")))["deaths"].clone();

    a.signal("STOP");
    b.eventually("the host is presumed dead", || (deaths() == 1).then_some(()));
    a.signal("CONT");

    b.eventually("the death is taken back", || deaths().is_null().then_some(()));
}

#[test]
fn a_lock_whose_holder_died_with_its_host_is_granted_to_a_run_on_another_host() {
    let fleet = fleet();
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    a.add("holds", "probe", &probe("holds"));
    b.add("waits", "probe", &probe("waits"));
    a.trigger("holds", r#"{"do": "lock-hold", "name": "ledger", "how": "sleep", "ms": 45000}"#);
    is_held(&b, "ledger");
    let waiter = b.trigger("waits", r#"{"do": "lock-wait", "name": "ledger", "ms": 40000}"#);
    has(&b, waiter);

    a.kill();
    let answer = b.wait(waiter);

    assert_eq!(course(&answer), [("b", "succeeded")], "{answer}");
    assert!(said(&b, id(&answer))["fence"].is_u64(), "it was not given the lock: {answer}");
}

#[test]
fn a_restarted_host_gives_back_its_claims_without_waiting_for_the_lease() {
    let fleet = Fleet::new().with_lease("1h");
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    a.add("probe", "probe", &probe("probe"));
    b.add("probe", "probe", &probe("probe"));
    stand_aside(&b);
    let run = a.trigger("probe", r#"{"do": "sleep", "ms": 5000}"#);
    has(&a, run);

    let again = Host::start_in(a.kill());
    take_part(&b);
    let answer = again.wait(run);

    // Chance decides which of the two did it.
    let course = course(&answer);
    assert_eq!((course.len(), course[0], course[1].1), (2, ("a", "lost"), "succeeded"), "{answer}");
}
