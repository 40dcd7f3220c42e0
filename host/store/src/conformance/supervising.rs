//! Tests tasks that fail repeatedly. `sexton_domain::supervision` decides what follows; these tests check that it is stored,
//! for all hosts, and enforced.

use std::time::Duration;

use super::*;
use sexton_domain::run::RunState;
use sexton_domain::supervision::{Pause, Standing};

/// Creates a supervised end: the task is paused after two failed runs, and held back for at most a minute.
fn watched(finish: Finish) -> Arc<Finish> {
    let supervision = Supervision { pause_after: Some(2), brake: Some(Duration::from_secs(60)) };
    Finish { supervision, ..finish }.into()
}

/// Creates a crash in second 1, after which the run waits until `seconds`.
fn crash(claim: ClaimKey, seconds: i64) -> Arc<Finish> {
    ending(claim, Outcome::Trapped, Transition::Wait { run_at: at(seconds), failed: true }).into()
}

/// Crashes three times in second 1, so that the task `text` is held back until second 2; the run waits since second 0.
async fn held(store: &Tested, text: &str) -> RunId {
    let first = running(store, text).await.key;
    store.finish(crash(first, 0)).await.unwrap();
    for _ in 0..2 {
        let again = claim(store, &[(text, 9)], 9, 1).await.claims.remove(0).key;
        store.finish(crash(again, 0)).await.unwrap();
    }
    assert_eq!(standing(store, text).await, Standing { failures: 0, crashes: 3, held_until: Some(at(2)) });
    first.run
}

async fn standing(store: &Tested, text: &str) -> Standing {
    store.task_states().await.unwrap().remove(&task(text)).unwrap_or_default().standing
}

async fn pause(store: &Tested, text: &str) -> Option<Pause> {
    store.task_states().await.unwrap().remove(&task(text)).unwrap_or_default().paused
}

fn runs(claimed: &Claimed) -> Vec<RunId> {
    claimed.claims.iter().map(|claim| claim.key.run).collect()
}

/// Creates a run of the task `text` that its schedule made.
fn scheduled(text: &str) -> NewRun {
    NewRun { cause: Cause::Schedule, ..new(text) }
}

pub(crate) async fn runs_that_fail_in_a_row_pause_their_task_once(store: Tested) {
    let first = running(&store, "a").await.key;
    let second = NewRun { task: task("a"), ..new("a") };
    let second = {
        enqueue(&store, vec![second]).await;
        claim(&store, &[("a", 9)], 1, 0).await.claims.remove(0)
    };
    let third = running(&store, "a").await.key;
    let waiting = enqueue(&store, vec![new("a")]).await[0];

    let after_one = store.finish(watched(failure(first))).await.unwrap();
    assert_eq!((after_one.paused, pause(&store, "a").await), (None, None));
    let after_two = store.finish(watched(failure(second.key))).await.unwrap();
    let after_three = store.finish(watched(failure(third))).await.unwrap();

    let paused = pause(&store, "a").await;
    assert!(paused.is_some() && paused == after_two.paused, "{paused:?} {after_two:?}");
    assert_eq!((after_three.paused, after_three.standing.failures), (None, 3));
    assert_eq!(standing(&store, "a").await.failures, 3);
    assert!(claim(&store, &[("a", 9)], 9, 9).await.claims.is_empty());
    assert_eq!(store.fire(fire("a", vec![scheduled("a")], at(9), at(9))).await.unwrap(), FireOutcome::Paused);
    let info = store.run(waiting).await.unwrap().unwrap();
    assert_eq!(info.why, Some(format!("its task is {}", paused.unwrap())));
}

pub(crate) async fn a_success_resets_the_count_of_failures(store: Tested) {
    for end in [failure, success, failure] {
        let claim = running(&store, "a").await.key;
        assert_eq!(store.finish(watched(end(claim))).await.unwrap().paused, None);
    }

    assert_eq!(standing(&store, "a").await.failures, 1);
    assert_eq!(pause(&store, "a").await, None);
}

pub(crate) async fn failures_are_counted_for_each_task(store: Tested) {
    for text in ["a", "b"] {
        let claim = running(&store, text).await.key;
        assert_eq!(store.finish(watched(failure(claim))).await.unwrap().paused, None);
    }
}

pub(crate) async fn a_stale_outcome_is_not_counted(store: Tested) {
    let claim = running(&store, "a").await.key;
    store.finish(watched(failure(claim))).await.unwrap();

    assert_lost(store.finish(watched(failure(claim))).await, claim);

    assert_eq!((standing(&store, "a").await.failures, pause(&store, "a").await), (1, None));
}

pub(crate) async fn resuming_clears_failures_and_moves_the_cursor(store: Tested) {
    for _ in 0..2 {
        let claim = running(&store, "a").await.key;
        store.finish(watched(failure(claim))).await.unwrap();
    }
    let waiting = enqueue(&store, vec![new("a")]).await[0];
    store.set_paused(task("a"), true, at(5)).await.unwrap();
    assert!(pause(&store, "a").await.unwrap().why.is_some(), "a pause that is there stays as it is");

    store.set_paused(task("a"), false, at(9)).await.unwrap();

    let state = store.task_states().await.unwrap().remove(&task("a")).unwrap();
    assert_eq!((state.paused, state.standing, state.cursor), (None, Standing::default(), Some(at(9))));
    let claimed = claim(&store, &[("a", 9)], 9, 9).await;
    assert_eq!(runs(&claimed), [waiting]);
    let after = store.finish(watched(failure(claimed.claims[0].key))).await.unwrap();
    assert_eq!((after.paused, after.standing.failures), (None, 1));
}

pub(crate) async fn each_crash_in_a_row_holds_the_task_back_for_longer(store: Tested) {
    let run = held(&store, "a").await;
    let next = enqueue(&store, vec![scheduled("a")]).await[0];
    let other = enqueue(&store, vec![scheduled("b")]).await[0];

    let early = claim(&store, &[("a", 9), ("b", 9)], 9, 1).await;
    assert_eq!((runs(&early), early.next_run_at), (vec![other], Some(at(2))));
    let claimed = claim(&store, &[("a", 9)], 9, 2).await;
    assert_eq!(runs(&claimed), [run, next]);

    let fourth = store.finish(crash(claimed.claims[0].key, 0)).await.unwrap();
    assert_eq!((fourth.held, fourth.standing.crashes), (Some(at(3)), 4));
    let fifth = store.finish(crash(claimed.claims[1].key, 0)).await.unwrap();
    assert_eq!((fifth.held, fifth.standing.crashes), (Some(at(5)), 5));
    assert!(claim(&store, &[("a", 9)], 9, 4).await.claims.is_empty());
    assert_eq!(claim(&store, &[("a", 9)], 9, 5).await.claims.len(), 2);
}

pub(crate) async fn a_run_that_a_person_asks_for_starts_although_its_task_is_held_back(store: Tested) {
    let retried = held(&store, "a").await;
    let by_schedule = enqueue(&store, vec![scheduled("a"), NewRun { cause: Cause::Task, ..new("a") }]).await;
    assert!(claim(&store, &[("a", 9)], 9, 1).await.claims.is_empty());
    let later = NewRun { run_at: at(3600), ..new("a") };
    let asked = enqueue(&store, vec![new("a"), new("a"), later]).await;

    let one = claim(&store, &[("a", 9)], 1, 1).await;
    let two = claim(&store, &[("a", 9)], 9, 1).await;

    assert_eq!([runs(&one), runs(&two)], [vec![asked[0]], vec![asked[1]]]);
    // After a crash a demanded run is a retry like any other.
    store.finish(crash(one.claims[0].key, 0)).await.unwrap();
    assert!(claim(&store, &[("a", 9)], 9, 2).await.claims.is_empty());
    let all = claim(&store, &[("a", 9)], 9, 3).await;
    assert_eq!(all.claims.len(), 4, "{all:?}");
    assert!([retried, by_schedule[0], by_schedule[1], asked[0]].iter().all(|run| runs(&all).contains(run)));
}

pub(crate) async fn a_task_that_is_held_back_still_has_its_concurrency_limit(store: Tested) {
    held(&store, "a").await;
    let asked = enqueue(&store, vec![new("a"), new("a"), new("a")]).await;
    let other = enqueue(&store, vec![new("b")]).await[0];

    let first = claim(&store, &[("a", 2), ("b", 2)], 2, 1).await;
    let second = claim(&store, &[("a", 2), ("b", 2)], 2, 1).await;
    let third = claim(&store, &[("a", 2), ("b", 2)], 2, 1).await;

    assert_eq!([runs(&first), runs(&second), runs(&third)], [vec![asked[0], other], vec![asked[1]], vec![]]);
}

pub(crate) async fn a_demanded_run_that_found_no_place_is_next_even_while_its_task_is_held_back(store: Tested) {
    held(&store, "a").await;
    let other = enqueue(&store, vec![scheduled("b"), scheduled("b"), scheduled("b")]).await;
    let asked = enqueue(&store, vec![new("a"), new("a"), new("a")]).await;
    enqueue(&store, vec![NewRun { run_at: at(3600), ..scheduled("c") }]).await;
    let all = [("a", 9), ("b", 9), ("c", 9)];

    let first = claim(&store, &all, 5, 1).await;
    let second = claim(&store, &all, 5, 1).await;

    assert_eq!(runs(&first), [other[0], other[1], other[2], asked[0], asked[1]]);
    assert_eq!(runs(&second), [asked[2]]);
}

pub(crate) async fn a_success_or_a_resumption_releases_a_task_that_was_held_back(store: Tested) {
    for text in ["a", "b"] {
        held(&store, text).await;
    }
    let asked = enqueue(&store, vec![new("a")]).await[0];
    let claimed = claim(&store, &[("a", 9)], 9, 1).await;
    assert_eq!(runs(&claimed), [asked]);

    store.finish(success(claimed.claims[0].key).into()).await.unwrap();
    store.set_paused(task("b"), false, at(1)).await.unwrap();

    for text in ["a", "b"] {
        assert_eq!(standing(&store, text).await, Standing::default());
        assert_eq!(claim(&store, &[(text, 9)], 9, 1).await.claims.len(), 1);
    }
    assert_eq!(store.task_states().await.unwrap().get(&task("b")).and_then(|state| state.cursor), None);
}

pub(crate) async fn a_run_that_is_held_back_shows_until_when(store: Tested) {
    let retried = held(&store, "a").await;
    let later = NewRun { run_at: at(2), ..scheduled("a") };
    let made = enqueue(&store, vec![scheduled("a"), new("a"), later]).await;
    let why = async |run| store.run(run).await.unwrap().unwrap().why;

    let held = Some(format!("held back until {} after 3 crashes in a row", at(2)));
    assert_eq!([why(retried).await, why(made[0]).await], [held.clone(), held]);
    assert_eq!([why(made[1]).await, why(made[2]).await], [None, None]);
    claim(&store, &[("a", 9)], 9, 2).await;
    assert_eq!(store.run(retried).await.unwrap().unwrap().state, RunState::Running);
    assert_eq!(why(retried).await, None);
}
