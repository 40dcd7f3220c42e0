//! Tests locks of tasks whose runs are on several hosts.

use super::Fleet;
use crate::harness::{attempts, list, outcome, state};
use crate::task_locks::{held, holder, job};

#[test]
fn the_lock_of_a_task_keeps_runs_on_other_hosts_out_and_lets_them_in_when_it_is_free() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    // Each plugin is on one host only, so the runs are there.
    a.add("holder", "probe", &holder("holder", "exclusive"));
    b.add("job", "program", &[job("skips", ""), job("waits", ", wait = \"1h\"")].concat());
    let holder = held(&a, "holder");

    let skipped = b.cli(&["trigger", "skips", "--wait"]);
    let waits = b.trigger("waits", "");
    b.eventually("it waits", || (!list(&b.get("/v1/locks/graph")["locks"][0], "waiters").is_empty()).then_some(()));
    a.request("POST", &format!("/v1/runs/{holder}/kill?now=true"), b"");
    let answer = b.wait(waits);

    assert_eq!(skipped.status.code(), Some(10), "{skipped:?}");
    let runs = b.get("/v1/runs?task=skips");
    assert_eq!(list(&runs, "runs")[0]["outcome"], "skipped", "{runs}");
    assert_eq!((state(&answer), outcome(&answer), attempts(&answer).len()), ("succeeded", "succeeded", 1), "{answer}");
}

#[test]
fn a_lock_whose_host_died_is_free_after_its_lease() {
    let fleet = Fleet::new().with_lease("3s");
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    a.add("holder", "probe", &holder("holder", "exclusive"));
    b.add("job", "program", &job("waits", ", wait = \"1h\""));
    held(&a, "holder");

    let waits = b.trigger("waits", "");
    a.kill();

    assert_eq!(outcome(&b.wait(waits)), "succeeded");
}
