//! Tests a week of runs that take longer than their interval, with each overlap policy.

use super::rig::{DAY, HOUR, MINUTE, Rig, at, key};
use sexton_domain::run::RunState;
use sexton_domain::task::Overlap;

/// Runs a week of an hourly task whose runs take 90 minutes; from the third day to the fourth it is paused.
async fn week(overlap: &str) -> Rig {
    let mut rig = Rig::new("05-03 00:30:00");
    let mut host = rig.host(&format!("every = \"1h\"\noverlap = \"{overlap}\"")).await;
    let day = |days: u32| at("05-03 00:30:00").plus(DAY * days);
    rig.pass(&mut host, day(3), MINUTE * 90).await;
    rig.store.set_paused(key(), true, rig.now()).await.unwrap();
    rig.pass(&mut host, day(4), MINUTE * 90).await;
    rig.store.set_paused(key(), false, rig.now()).await.unwrap();
    rig.pass(&mut host, day(7), MINUTE * 90).await;
    let runs = rig.runs().await;
    assert_eq!(runs.len(), 6 * 24, "each instant of six days is accounted for");
    assert!(runs.is_sorted_by(|a, b| a.due_at < b.due_at));
    rig
}

/// Returns the number of its runs that started, and checks that none started before the previous one had ended.
async fn started_one_by_one(rig: &Rig) -> usize {
    let runs = rig.runs().await;
    let started: Vec<_> = runs.iter().filter(|run| run.claimed_at.is_some()).collect();
    for pair in started.windows(2) {
        assert!(pair[0].ended_at <= pair[1].claimed_at, "{pair:?}");
    }
    started.len()
}

#[tokio::test]
async fn with_skip_every_other_instant_of_a_week_is_run() {
    let rig = week("skip").await;

    // A run takes an hour and a half, so one starts at every second instant.
    assert_eq!((started_one_by_one(&rig).await, rig.count(RunState::Cancelled).await), (72, 72));
    let skipped = rig.runs().await.into_iter().find(|run| run.state == RunState::Cancelled).unwrap();
    assert_eq!(skipped.message.as_deref(), Some("skipped: the previous run had not finished"));
}

#[tokio::test]
async fn with_queue_one_a_week_has_no_pause_between_two_runs() {
    let rig = week("queue-one").await;

    let runs = rig.runs().await;
    let waits = runs.iter().filter(|run| run.state == RunState::Waiting).count();
    assert!(waits <= 1, "{waits}");
    // Sixteen runs of an hour and a half fill a day.
    let started = started_one_by_one(&rig).await;
    assert!((94..=97).contains(&started), "{started}");
}

#[tokio::test]
async fn with_queue_all_nothing_of_a_week_is_skipped_and_all_wait_for_their_turn() {
    let mut rig = week("queue-all").await;

    assert_eq!(rig.count(RunState::Cancelled).await, 0);
    let started = started_one_by_one(&rig).await;
    assert!((94..=97).contains(&started), "{started}");
    // With no further instants all runs finish, in the order in which they were due.
    while rig.count(RunState::Waiting).await + rig.count(RunState::Running).await > 0 {
        rig.set(rig.now().plus(MINUTE * 90));
        rig.work(MINUTE * 90).await;
    }
    let runs = rig.runs().await;
    assert!(runs.is_sorted_by(|a, b| a.claimed_at < b.claimed_at));
    assert_eq!(started_one_by_one(&rig).await, runs.len());
}

#[tokio::test]
async fn with_queue_all_a_thousand_may_wait_and_what_is_due_beyond_is_skipped() {
    let mut rig = Rig::new("05-03 00:00:30");
    let mut host = rig.host("every = \"1m\"\noverlap = \"queue-all\"").await;
    rig.pass(&mut host, at("05-03 00:00:30").plus(MINUTE * 1010), DAY).await;

    assert_eq!(rig.count(RunState::Running).await, 1);
    assert_eq!(rig.count(RunState::Waiting).await, Overlap::MOST_QUEUED as usize);
    assert_eq!(rig.count(RunState::Cancelled).await, 9);
    let last = rig.runs().await.pop().unwrap();
    assert_eq!(last.message.as_deref(), Some("skipped: 1001 earlier runs had not finished"));
}

#[tokio::test]
async fn with_replace_every_instant_of_a_week_takes_the_place_of_the_one_before() {
    let rig = week("replace").await;

    let runs = rig.runs().await;
    assert!(runs.iter().all(|run| run.claimed_at == Some(run.due_at)), "each starts when it is due");
    for pair in runs.windows(2) {
        let (before, next) = (&pair[0], &pair[1]);
        if before.due_at.plus(HOUR) == next.due_at {
            let said = format!("replaced by run {}", next.id);
            assert_eq!((before.state, before.message.as_deref()), (RunState::Cancelled, Some(&*said)), "{before:?}");
            assert_eq!(before.ended_at, Some(next.due_at));
        } else {
            assert_eq!(before.state, RunState::Succeeded, "nothing is due while the task is paused");
        }
    }
}

#[tokio::test]
async fn with_allow_so_many_go_at_once_and_no_instant_of_a_day_is_skipped_that_finds_a_place() {
    for (allowed, skipped) in [(1, 12), (2, 0), (3, 0)] {
        let rig = Rig::new("05-03 00:30:00");
        let mut host = rig.host(&format!("every = \"1h\"\noverlap = \"allow({allowed})\"")).await;
        let mut rig = rig.with_at_once(allowed);
        rig.pass(&mut host, at("05-04 00:30:00"), MINUTE * 90).await;

        let runs = rig.runs().await;
        assert_eq!((runs.len(), rig.count(RunState::Cancelled).await), (24, skipped), "{allowed}");
        assert!(runs.iter().all(|run| run.state == RunState::Cancelled || run.claimed_at == Some(run.due_at)));
    }
}
