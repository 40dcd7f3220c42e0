//! Compares `sexton test` with a host: the same schedules, downtimes and set clocks, once simulated and once by a
//! scheduler whose clock this test moves. Both must make the same runs, and count as many missed instants.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::rig::{Rig, at};
use crate::simulation::{Down, Line, Plan, Step, simulate};
use sexton_domain::run::RunState;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);

/// A program that succeeds at once.
const PROGRAM: &str = r#"(component
    (core module $m (func (export "run") (result i32) i32.const 0))
    (core instance $i (instantiate $m))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance $export (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $export)))"#;

/// An event in the life of a host, at a time after its start by a right clock.
#[derive(Clone, Copy, Debug)]
enum HostEvent {
    Down(Duration, Duration),
    Step(Duration, i64),
}

/// The result: the runs in order, each with the instant at which it was due and its state, and the number of instants
/// that were left out.
type Outcomes = (Vec<(Timestamp, String)>, u64);

async fn simulated(text: &str, start: Timestamp, length: Duration, events: &[HostEvent]) -> Outcomes {
    let place = tempfile::tempdir().unwrap();
    let plugin = place.path().join("t.wasm");
    std::fs::write(&plugin, wat::parse_str(PROGRAM).unwrap()).unwrap();
    std::fs::write(place.path().join("t.toml"), format!("[tasks.t]\n{text}\n")).unwrap();
    let mut plan = plan(&plugin, start, length);
    for event in events {
        match *event {
            HostEvent::Down(after, lasts) => {
                plan.down.push(Down { from: start.plus(after), to: start.plus(after).plus(lasts) });
            }
            HostEvent::Step(after, by) => plan.steps.push(Step { at: start.plus(after), by }),
        }
    }
    let report = simulate(&plan).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    let runs = report.runs().map(|run| {
        let due = chrono::DateTime::parse_from_rfc3339(&run.due).unwrap().to_utc().into();
        let state = if run.outcome == "skipped" { "cancelled".to_owned() } else { run.outcome.clone() };
        (due, state)
    });
    let left_out = report.lines.iter().map(|line| if let Line::LeftOut(left_out) = line { left_out.count } else { 0 });
    (runs.collect(), left_out.sum())
}

fn plan(plugin: &Path, start: Timestamp, length: Duration) -> Plan {
    Plan {
        plugin: plugin.to_owned(),
        start,
        length,
        only: [Name::new("t").unwrap()].into(),
        asked: Vec::new(),
        down: Vec::new(),
        steps: Vec::new(),
        seed: 1,
        outputs: false,
    }
}

async fn hosted(text: &str, start: &str, length: Duration, events: &[HostEvent]) -> Outcomes {
    let mut rig = Rig::new(start);
    let begin = rig.now();
    let mut host = rig.host(text).await;
    let (mut set, mut left_out, mut said) = (0_i64, 0, None);
    // Returns the time that the host's clock shows when a right clock has advanced by `after`.
    let shown = |after: Duration, set: i64| Timestamp::from_millis(begin.plus(after).as_millis() + set);
    for event in events {
        match *event {
            HostEvent::Down(after, lasts) => {
                rig.pass_to_just_before(&mut host, shown(after, set)).await;
                drop(host);
                rig.set(shown(after + lasts, set));
                host = rig.host(text).await;
            }
            HostEvent::Step(after, by) => {
                rig.pass_to_just_before(&mut host, shown(after, set)).await;
                set += by;
                rig.set(shown(after, set));
                host.look().await;
            }
        }
        rig.work(Duration::ZERO).await;
        let now = rig.state().await.left_out;
        if now != said {
            left_out += now.as_deref().map_or(0, sum_of_left_out);
            said = now;
        }
    }
    rig.pass(&mut host, shown(length, set), Duration::ZERO).await;
    let mut runs = Vec::new();
    for run in rig.runs().await {
        assert!(!matches!(run.state, RunState::Running), "{run:?}");
        runs.push((run.due_at, run.state.as_str().to_owned()));
    }
    (runs, left_out)
}

/// Returns the last number of `72 missed since 2027-05-01T13:00:00.000Z, 1 run, 71 left out`.
fn sum_of_left_out(said: &str) -> u64 {
    said.strip_suffix(" left out").and_then(|rest| rest.rsplit(' ').next()).and_then(|n| n.parse().ok()).unwrap()
}

async fn both_come_to_the_same(
    text: &str,
    start: &str,
    length: Duration,
    events: &[HostEvent],
) -> Result<(), TestCaseError> {
    let simulated = simulated(text, at(start), length, events).await;
    let hosted = hosted(text, start, length, events).await;
    prop_assert_eq!(&simulated.0, &hosted.0, "runs of\n{}\nwith {:?} from {}", text, events, start);
    prop_assert_eq!(simulated.1, hosted.1, "missed of\n{}\nwith {:?} from {}", text, events, start);
    Ok(())
}

#[tokio::test]
async fn a_schedule_whose_times_are_used_up_misses_nothing_in_a_downtime_that_follows() {
    let down = [HostEvent::Down(5 * MINUTE + MINUTE / 2, 3 * MINUTE)];
    let came = simulated("every = \"1m\"\ntimes = 3", at("05-01 12:00:30"), 10 * MINUTE, &down).await;

    assert_eq!((came.0.len(), came.1), (3, 0));
    both_come_to_the_same("every = \"1m\"\ntimes = 3", "05-01 12:00:30", 10 * MINUTE, &down).await.unwrap();
    // With one run to come, the instants in the downtime are missed.
    both_come_to_the_same("every = \"1m\"\ntimes = 7", "05-01 12:00:30", 10 * MINUTE, &down).await.unwrap();
}

#[tokio::test]
async fn instants_dealt_with_before_the_clock_was_set_back_are_not_missed() {
    let events = [HostEvent::Step(MINUTE, -4_294_000), HostEvent::Down(2 * MINUTE, 3 * MINUTE)];
    both_come_to_the_same("cron = \"*/20 * * * *\"", "03-27 11:07:00", 3 * 60 * MINUTE, &events).await.unwrap();
}

#[tokio::test]
async fn minutes_that_two_blows_at_once_hide_are_left_out_once() {
    let events = [HostEvent::Step(2 * MINUTE, 3_600_000), HostEvent::Down(2 * MINUTE, 60 * MINUTE)];

    let came = simulated("cron = \"* * * * *\"", at("05-01 12:00:30"), 200 * MINUTE, &events).await;

    // The host was down from 12:03 to 14:02, and is back at 14:02:30 by its own clock.
    assert_eq!(came.1, 120);
}

#[tokio::test]
async fn a_host_that_is_down_before_its_first_look_has_missed_nothing() {
    let down = [HostEvent::Down(Duration::ZERO, 120 * MINUTE)];

    let came = simulated("cron = \"* * * * *\"", at("05-01 12:00:00"), 130 * MINUTE, &down).await;

    assert_eq!((came.0.len(), came.0[0].0, came.1), (10, at("05-01 14:01:00"), 0));
}

#[tokio::test]
async fn a_year_of_minutes_that_a_simulated_host_leaves_out_is_summed_exactly() {
    let year = 365 * 24 * 60;
    let down = [HostEvent::Down(2 * MINUTE, year * MINUTE)];

    let came = simulated("cron = \"* * * * *\"", at("05-01 12:00:30"), (year + 5) * MINUTE, &down).await;

    assert_eq!((came.0.len(), came.1), (5, u64::from(year)));
}

/// Makes a trigger with bounds: instants of the weekend on which the clocks of Berlin are set forward.
fn schedule() -> impl Strategy<Value = String> {
    let trigger = prop::sample::select(vec![
        "every = \"7m\"",
        "every = \"1h\"",
        "every = \"1d\"\nstart = \"2027-03-27 02:30\"",
        "every = \"25m\"\nstart = \"2027-03-27 22:11\"",
        "cron = \"*/20 * * * *\"",
        "cron = \"30 2 * * *\"",
        "cron = \"30 2 * * *\"\ndst = \"skip\"",
        "cron = \"0,30 1-3 * * sunL\"",
        "cron = \"*/10 2 * * *\"",
        "cron = \"@every 40m\"",
        "cron-seconds = \"30 */15 * * * *\"",
        "cron = \"hourly\"",
    ]);
    let end = prop::option::weighted(0.2, Just("end = \"2027-03-28 11:00\""));
    let times = prop::option::weighted(0.4, (1_u32..40).prop_map(|times| format!("times = {times}")));
    let catch_up = prop::sample::select(vec![
        "",
        "",
        "catch-up = \"latest\"",
        "catch-up = \"all(3)\"",
        "catch-up = \"all(1000)\"",
        "catch-up = \"all(1000)\"\ncatch-up-within = \"90m\"",
    ]);
    let later = prop::sample::select(vec!["", "", "", "delay = \"90s\"", "spread = \"4m\"", "jitter = \"3m\""]);
    (trigger, end, times, catch_up, later).prop_map(|(trigger, end, times, catch_up, later)| {
        let lines =
            [trigger, end.unwrap_or(""), times.as_deref().unwrap_or(""), catch_up, later, "zone = \"Europe/Berlin\""];
        lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    })
}

/// Makes downtimes and steps of the clock that follow one another, at full minutes or between them.
fn events() -> impl Strategy<Value = Vec<HostEvent>> {
    let event = (
        1_u64..400,
        0_u64..60,
        prop_oneof![
            3 => (1_u64..300, 0_u64..60).prop_map(|(minutes, seconds)| HostEvent::Down(Duration::ZERO, Duration::from_secs(minutes * 60 + seconds))),
            1 => (-7200_i64..7200).prop_map(|seconds| HostEvent::Step(Duration::ZERO, seconds * 1000)),
        ],
    );
    prop::collection::vec(event, 0..4).prop_map(|events| {
        let mut after = Duration::ZERO;
        let placed = events.into_iter().map(|(minutes, seconds, event)| {
            after += Duration::from_secs(minutes * 60 + seconds);
            let placed = match event {
                HostEvent::Down(_, lasts) => HostEvent::Down(after, lasts),
                HostEvent::Step(_, by) => HostEvent::Step(after, by),
            };
            if let HostEvent::Down(_, lasts) = placed {
                after += lasts;
            }
            placed
        });
        placed.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_simulated_host_makes_the_runs_of_a_real_one(text in schedule(), events in events(), start in 0_u32..60) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let length = Duration::from_secs(30 * 3600) + Duration::from_millis(500);
        runtime.block_on(both_come_to_the_same(&text, &format!("03-27 11:07:{start:02}"), length, &events))?;
    }
}
