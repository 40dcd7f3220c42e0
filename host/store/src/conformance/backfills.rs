//! Tests how the runs of backfills take turns, beside the other runs of their tasks.

use std::collections::BTreeSet;

use super::*;
use crate::Retention;
use crate::backfills::{DueRuns, TURN, Turns};
use sexton_domain::run::RunState;

/// Creates the run of a backfill of task `text` for the instant `seconds`, with at most `at_once` going.
fn belated(text: &str, seconds: i64, at_once: u32) -> NewRun {
    NewRun {
        due_at: at(seconds),
        run_at: TURN,
        dedup: Some(format!("at:{}", at(seconds).as_millis())),
        cause: Cause::Schedule,
        at_once: Some(at_once),
        ..new(text)
    }
}

/// Gives out turns, and claims what can be claimed of these tasks then.
async fn turns(store: &Tested, tasks: &[(&str, u32)], seconds: i64) -> Vec<ClaimKey> {
    store.take_turns(at(seconds)).await.unwrap();
    claim(store, tasks, 99, seconds).await.claims.iter().map(|claim| claim.key).collect()
}

fn runs(claims: &[ClaimKey]) -> Vec<RunId> {
    claims.iter().map(|claim| claim.run).collect()
}

pub(crate) async fn runs_of_a_backfill_take_turns_in_their_order(store: Tested) {
    assert_eq!(store.take_turns(at(0)).await.unwrap(), Turns::default());
    let made = enqueue(&store, (-9..-5).map(|seconds| belated("a", seconds, 2)).collect()).await;
    assert_eq!(claim(&store, &[("a", 9)], 9, 0).await.claims.len(), 0, "none has had its turn");
    let info = store.run(made[0]).await.unwrap().unwrap();
    assert_eq!((info.state, info.run_at, info.at_once), (RunState::Waiting, at(-9), Some(2)));
    assert!(info.why.is_some_and(|why| why.contains("waits for its turn")));

    assert_eq!(store.take_turns(at(1)).await.unwrap(), Turns { started: 2, waiting: true });
    assert_eq!(store.take_turns(at(1)).await.unwrap(), Turns { started: 0, waiting: true });
    let first = claim(&store, &[("a", 9)], 9, 1).await.claims;
    assert_eq!((first[0].key.run, first[1].key.run, first[0].due_at), (made[0], made[1], at(-9)));
    store.finish(failure(first[1].key).into()).await.unwrap();
    let second = turns(&store, &[("a", 9)], 2).await;
    store.finish(success(first[0].key).into()).await.unwrap();
    store.finish(success(second[0]).into()).await.unwrap();
    let third = turns(&store, &[("a", 9)], 3).await;

    assert_eq!((runs(&second), runs(&third)), (vec![made[2]], vec![made[3]]));
    assert_eq!(store.take_turns(at(4)).await.unwrap(), Turns::default());
    let over = store.run(made[0]).await.unwrap().unwrap();
    assert_eq!((over.state, over.at_once), (RunState::Succeeded, Some(2)), "it is still marked");
}

pub(crate) async fn a_backfill_of_one_task_does_not_wait_for_that_of_another(store: Tested) {
    let made = enqueue(&store, vec![belated("a", -3, 1), belated("a", -2, 1), belated("b", -3, 1)]).await;

    let claims = turns(&store, &[("a", 9), ("b", 9)], 1).await;

    assert_eq!(runs(&claims), [made[0], made[2]]);
}

pub(crate) async fn a_run_of_a_backfill_that_is_tried_again_keeps_its_turn(store: Tested) {
    let made = enqueue(&store, vec![belated("a", -3, 1), belated("a", -2, 1)]).await;
    let first = turns(&store, &[("a", 9)], 1).await;
    store.finish(retry(first[0], 60).into()).await.unwrap();

    assert_eq!(turns(&store, &[("a", 9)], 2).await, []);
    let again = turns(&store, &[("a", 9)], 60).await;
    store.finish(success(again[0]).into()).await.unwrap();
    let next = turns(&store, &[("a", 9)], 61).await;

    assert_eq!((runs(&again), runs(&next)), (vec![made[0]], vec![made[1]]));
}

pub(crate) async fn a_cancelled_run_of_a_backfill_lets_the_next_start(store: Tested) {
    let made = enqueue(&store, (-9..-5).map(|seconds| belated("a", seconds, 1)).collect()).await;
    store.take_turns(at(1)).await.unwrap();

    // One has had its turn and was not claimed, another waits.
    for run in &made[..2] {
        store.cancel(*run, "no", at(2)).await.unwrap();
    }

    assert_eq!(runs(&turns(&store, &[("a", 9)], 3).await), [made[2]]);
}

pub(crate) async fn each_instant_has_one_run_of_its_schedule_or_of_a_backfill(store: Tested) {
    let own = NewRun { run_at: at(-8), at_once: None, ..belated("a", -8, 1) };
    let own = enqueue(&store, vec![own]).await[0];
    let other_task = belated("b", -7, 1);
    enqueue(&store, vec![other_task]).await;
    let instants: Vec<Timestamp> = (-9..-5).map(at).collect();
    let known = store.due_runs(task("a"), instants.clone()).await.unwrap();

    let made = store.enqueue((-9..-6).map(|seconds| belated("a", seconds, 1)).collect(), at(0)).await.unwrap();

    assert_eq!(known, DueRuns { found: BTreeSet::from([at(-8)]), forgotten_until: None });
    assert!(
        matches!(made[..], [EnqueueOutcome::New(_), EnqueueOutcome::Existing(run), EnqueueOutcome::New(_)] if run == own),
        "{made:?}"
    );
    let known = store.due_runs(task("a"), instants).await.unwrap();
    assert_eq!(known.found, (-9..-6).map(at).collect());
    assert_eq!(store.due_runs(task("unknown"), vec![at(-9)]).await.unwrap(), DueRuns::default());
}

pub(crate) async fn runs_of_a_backfill_neither_skip_nor_replace_nor_are_replaced(store: Tested) {
    enqueue(&store, (-9..-4).map(|seconds| belated("a", seconds, 2)).collect()).await;
    let running = turns(&store, &[("a", 1)], 1).await;
    assert_eq!(running.len(), 1, "the task's own limit holds: one runs, another that has had its turn waits");
    let own = |admit| NewRun { admit, run_at: at(1), ..new("a") };

    let made = store.enqueue(vec![own(Admit::Below(1)), own(Admit::Below(1))], at(1)).await.unwrap();
    let replacing = store.enqueue(vec![own(Admit::Replacing)], at(1)).await.unwrap().remove(0);

    let [EnqueueOutcome::New(first), EnqueueOutcome::Skipped(_)] = made[..] else { panic!("{made:?}") };
    let EnqueueOutcome::Replacing { ended, .. } = replacing else { panic!("{replacing:?}") };
    assert_eq!(ended, [first]);
    store.finish(success(running[0]).into()).await.unwrap();
    assert_eq!(turns(&store, &[("a", 9)], 2).await.len(), 3, "two of the backfill, and the task's own");
    let more = store.enqueue(vec![own(Admit::Below(1)), own(Admit::Below(2))], at(2)).await.unwrap();
    assert!(matches!(more[..], [EnqueueOutcome::Skipped(_), EnqueueOutcome::New(_)]), "{more:?}");
}

pub(crate) async fn a_cancelled_backfill_leaves_its_instants_without_runs(store: Tested) {
    let input = b"in".to_vec();
    let mut made = Vec::new();
    for seconds in -600..0 {
        made.push(NewRun { input: input.clone(), ..belated("a", seconds, 1) });
    }
    let made = enqueue(&store, made).await;
    let other = enqueue(&store, vec![belated("b", -1, 1)]).await[0];
    let going = turns(&store, &[("a", 9)], 1).await;

    let mut cancelled = 0;
    while let some @ 1.. = store.cancel_backfill(task("a"), "a mistake", at(2)).await.unwrap() {
        cancelled += some;
    }

    assert_eq!((cancelled, runs(&going)), (599, vec![made[0]]));
    assert_eq!(store.counts().await.unwrap()[&RunState::Cancelled], 599);
    let info = store.run(made[1]).await.unwrap().unwrap();
    assert_eq!(
        (info.state, info.ended_at, info.message.as_deref()),
        (RunState::Cancelled, Some(at(2)), Some("a mistake"))
    );
    assert_eq!(store.run(other).await.unwrap().unwrap().state, RunState::Waiting);
    let again = store.enqueue(vec![belated("a", -600, 1), belated("a", -599, 1)], at(3)).await.unwrap();
    assert!(matches!(again[..], [EnqueueOutcome::Existing(_), EnqueueOutcome::New(_)]), "{again:?}");
    store.finish(success(going[0]).into()).await.unwrap();
    assert_eq!(turns(&store, &[("a", 9)], 4).await.len(), 1);
}

pub(crate) async fn a_store_knows_up_to_which_instant_it_has_deleted_runs_of_a_schedule(store: Tested) {
    let own = |seconds| NewRun { run_at: at(seconds), at_once: None, ..belated("a", seconds, 1) };
    let demanded = NewRun { due_at: at(-1), run_at: at(-1), ..new("a") };
    enqueue(&store, vec![own(-8), own(-7), demanded, own(-6), own(-5)]).await;
    for claim in claim(&store, &[("a", 9)], 9, 0).await.claims {
        store.finish(success(claim.key).into()).await.unwrap();
    }
    let retention = |runs| Retention { runs, age: Duration::from_secs(1_000_000), bytes: 1 << 20 };
    let forgotten = async || store.due_runs(task("a"), vec![at(-8), at(-5)]).await.unwrap();

    store.prune(retention(5), at(1)).await.unwrap();
    assert_eq!(forgotten().await, DueRuns { found: BTreeSet::from([at(-8), at(-5)]), forgotten_until: None });
    while store.prune(retention(2), at(1)).await.unwrap() > 0 {}
    assert_eq!(forgotten().await, DueRuns { found: BTreeSet::from([at(-5)]), forgotten_until: Some(at(-7)) });
    while store.prune(retention(1), at(1)).await.unwrap() > 0 {}
    assert_eq!(forgotten().await.forgotten_until, Some(at(-6)), "the demanded run was made for no instant");
}

pub(crate) async fn a_turn_wakes_waiters(store: Tested) {
    enqueue(&store, vec![belated("a", -3, 1), belated("a", -2, 1)]).await;
    let claims = turns(&store, &[("a", 9)], 1).await;
    assert_eq!(claim(&store, &[("a", 9)], 9, 1).await.claims.len(), 0);
    store.finish(success(claims[0]).into()).await.unwrap();
    let hint = store.runs_hint();
    let hinted = hint.notified();
    tokio::pin!(hinted);
    hinted.as_mut().enable();

    store.take_turns(at(2)).await.unwrap();

    tokio::time::timeout(LEASE, hinted).await.expect("a hint that a run may be claimed");
    assert_eq!(claim(&store, &[("a", 9)], 9, 2).await.claims.len(), 1);
}

pub(crate) async fn a_long_backfill_leaves_room_for_runs_that_tasks_ask_for(store: Tested) {
    enqueue(&store, (-9..0).map(|seconds| belated("a", seconds, 2)).collect()).await;
    enqueue(&store, vec![NewRun { cause: Cause::Task, ..new("a") }]).await;
    store.take_turns(at(1)).await.unwrap();

    assert_eq!(store.waiting(task("a")).await.unwrap().runs, 3, "two have had their turn");
}
