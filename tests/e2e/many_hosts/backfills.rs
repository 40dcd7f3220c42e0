//! Tests backfills whose runs go on several hosts.

use std::collections::BTreeSet;

use super::Fleet;
use crate::backfill::{HOURLY, RANGE, runs};
use crate::harness::attempts;
use crate::pausing::{at, does};

#[test]
fn each_turn_of_a_backfill_is_given_out_once_though_two_hosts_do_so() {
    let fleet = Fleet::new();
    let hosts = ["a", "b"].map(|name| fleet.host(name));
    for host in &hosts {
        host.add("hourly", "probe", HOURLY);
    }

    does(&hosts[0], &[&["backfill", "hourly"][..], &RANGE, &["--yes"]].concat());
    // Both are asked for the same range, and only one makes its runs.
    does(&hosts[1], &[&["backfill", "hourly"][..], &RANGE, &["--yes"]].concat());
    let all = hosts[1].eventually("all runs have succeeded", || {
        let runs = runs(&hosts[1]);
        runs.iter().all(|run| run["state"] == "succeeded").then_some(runs)
    });

    let due: Vec<&str> = all.iter().map(|run| run["due_at"].as_str().unwrap()).collect();
    assert_eq!(due, (0..6).map(|hour| format!("2026-01-01T0{hour}:00:00.000Z")).collect::<Vec<_>>());
    for pair in all.windows(2) {
        assert!(at(&pair[0]["ended_at"]) <= at(&pair[1]["claimed_at"]), "one after the other: {pair:?}");
    }
    let of = |run: &serde_json::Value| attempts(&hosts[0].get(&format!("/v1/runs/{}", run["id"]))).len();
    assert_eq!(all.iter().map(of).collect::<BTreeSet<_>>(), BTreeSet::from([1]), "each was started once");
}
