//! Compares `sexton test` with a real host whose clock is set: the same schedule, downtimes and steps of the clock must
//! make the same runs.
//!
//! Time that passes is left out: instants are multiples of ten minutes, the clock always shows five minutes past one,
//! and a host needs far less to notice an instant.

use std::process::{Command, Stdio};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use tempfile::TempDir;

use crate::clock::{set_ahead, skewed};
use crate::harness::{Host, SEXTON, Setup, drop_in, guest, list, state};

/// The number of scenarios. Each has a host of its own, which takes some seconds.
const STORIES: u32 = 6;

/// The distance between two events of a host in the simulation, in which nothing is due.
const APART: i64 = 30;

/// An event of a host, in units of ten minutes. A clock that is set by more than an hour is not believed at once, which
/// the simulation does not know.
#[derive(Clone, Copy, Debug)]
enum HostEvent {
    Set(i64),
    Down(i64),
}

fn start() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2027-05-01T12:05:00Z").unwrap().to_utc()
}

fn ten_minutes(times: i64) -> TimeDelta {
    TimeDelta::minutes(10 * times)
}

/// A run in both reports: the ten minutes in which it was due, and its result. A run that is due some time after an
/// earlier one is due some seconds later on a real host.
type Run = (i64, String);

fn run(due: &Value, outcome: &str) -> Run {
    let due = DateTime::parse_from_rfc3339(due.as_str().unwrap()).unwrap();
    (due.timestamp().div_euclid(600), if outcome == "skipped" { "cancelled".into() } else { outcome.into() })
}

/// Simulates all of `blows`.
fn simulated(directory: &TempDir, blows: &[HostEvent]) -> Vec<Run> {
    let mut command = Command::new(SEXTON);
    command.args(["test", "plugins/it.wasm", "--json", "--at", &start().to_rfc3339()]);
    let mut at = start();
    for blow in blows {
        at += TimeDelta::seconds(APART);
        match *blow {
            HostEvent::Set(by) => {
                command.args(["--clock-step", &format!("{}={:+}m", at.to_rfc3339(), 10 * by)]);
            }
            HostEvent::Down(lasts) => {
                command.args(["--host-down", &format!("{}..{}m", at.to_rfc3339(), 10 * lasts)]);
                at += ten_minutes(lasts);
            }
        }
    }
    at += TimeDelta::seconds(APART);
    command.args(["--for", &format!("{}s", (at - start()).num_seconds())]);
    let output = command.current_dir(directory.path()).stdin(Stdio::null()).output().unwrap();
    let story: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let runs = story["lines"].as_array().unwrap().iter().filter(|line| line["kind"] == "run");
    runs.map(|line| run(&line["due"], line["outcome"].as_str().unwrap())).collect()
}

fn made(host: &Host) -> Vec<Run> {
    let answer = host.get("/v1/runs?task=it&limit=1000");
    list(&answer, "runs").iter().rev().map(|one| run(&one["due_at"], state(one))).collect()
}

/// Waits until the host has made exactly these runs, and they are over.
fn has_made(host: &Host, expected: &[Run], story: &str) {
    let start = std::time::Instant::now();
    while made(host) != expected {
        let waited = start.elapsed();
        assert!(waited < crate::harness::PATIENCE, "{story}: not {:?} but\n{expected:?}\n{}", made(host), host.log());
        std::thread::sleep(std::time::Duration::from_millis(50)); // nothing tells that a host has noticed its clock
    }
}

fn both_make_the_same_runs(schedule: &str, blows: &[HostEvent]) {
    let directory: Arc<TempDir> = Setup::default().directory();
    drop_in(directory.path(), "it", &guest("noop"), Some(&format!("[tasks.it]\n{schedule}\n")));
    let story = format!("{schedule} with {blows:?}");
    let mut ahead = (start() - Utc::now()).num_seconds();
    set_ahead(directory.path(), ahead);
    let mut host = skewed(&directory);
    host.loaded("it");
    has_made(&host, &simulated(&directory, &[]), &story);
    for (nth, blow) in blows.iter().enumerate() {
        match *blow {
            HostEvent::Set(by) => {
                ahead += ten_minutes(by).num_seconds();
                set_ahead(directory.path(), ahead);
            }
            HostEvent::Down(lasts) => {
                host.signal("TERM");
                let (content, log, _) = host.ended();
                assert!(content, "{log}");
                ahead += ten_minutes(lasts).num_seconds();
                set_ahead(directory.path(), ahead);
                host = skewed(&directory);
                host.loaded("it");
            }
        }
        has_made(&host, &simulated(&directory, &blows[..=nth]), &story);
    }
    // Every run of a late look at the clock precedes a run on demand, so the test waits for one.
    let asked = host.trigger("it", "");
    host.wait(asked);
    let runs = made(&host);
    assert_eq!(runs[..runs.len() - 1], simulated(&directory, blows), "{story}");
}

fn schedules() -> impl Strategy<Value = String> {
    let by_clock = prop_oneof![
        (1..=6_u32).prop_map(|tens| format!("every = \"{tens}0m\"")),
        (1..=3_u32).prop_map(|tens| format!("cron = \"*/{tens}0 * * * *\"")),
        Just("cron = \"30 */2 * * *\"".to_owned()),
    ];
    let catch_up = prop_oneof![Just("none"), Just("latest"), Just("all(3)")];
    let bounded = (by_clock, catch_up, prop::option::of(1..=6_u32)).prop_map(|(trigger, catch_up, times)| {
        let times = times.map(|times| format!("\ntimes = {times}")).unwrap_or_default();
        format!("{trigger}\ncatch-up = \"{catch_up}\"{times}")
    });
    // Some minutes from both ends of the ten minutes in which it is due.
    let after = (1..=5_u32).prop_map(|tens| format!("after = \"{tens}7m\""));
    prop_oneof![3 => bounded, 1 => after]
}

fn blows() -> impl Strategy<Value = Vec<HostEvent>> {
    let set = prop_oneof![3 => 1..=5_i64, 1 => -5..=-1_i64].prop_map(HostEvent::Set);
    prop::collection::vec(prop_oneof![3 => set, 1 => (1..=30_i64).prop_map(HostEvent::Down)], 2..=5)
}

#[test]
fn a_simulation_makes_the_runs_of_a_real_host_whose_clock_is_set() {
    let config = Config { cases: STORIES, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&(schedules(), blows()), |(schedule, blows)| {
            both_make_the_same_runs(&schedule, &blows);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_simulation_makes_the_runs_of_a_real_host_where_a_schedule_follows_its_own_runs() {
    let blows = [HostEvent::Set(1), HostEvent::Set(3), HostEvent::Set(-2), HostEvent::Down(6), HostEvent::Set(5)];

    both_make_the_same_runs("after = \"27m\"", &blows);
}
