//! Tests how runs are made and cancelled.

use std::time::Duration;

use super::*;
use crate::{Cancelled, TaskState};
use sexton_domain::run::RunState;
use sexton_domain::supervision::Pause;

pub(crate) async fn a_new_run_waits_with_everything_from_its_request(store: Tested) {
    let parent = running(&store, "parent").await.key.run;
    let run = NewRun {
        due_at: at(5),
        run_at: at(7),
        cause: Cause::Task,
        input: b"\0\xffin".to_vec(),
        parent: Some(parent),
        ..new("a")
    };

    let made = store.enqueue(vec![run], at(3)).await.unwrap().remove(0);

    let EnqueueOutcome::New(id) = made else { panic!("{made:?}") };
    let info = store.run(id).await.unwrap().unwrap();
    assert_eq!((info.id, &info.task, info.state), (id, &task("a"), RunState::Waiting));
    assert_eq!((info.due_at, info.run_at, info.created_at), (at(5), at(7), at(3)));
    assert_eq!((info.cause, info.parent), (Cause::Task, Some(parent)));
    assert_eq!((info.attempt, info.failures, info.claimed_at, info.ended_at), (0, 0, None, None));
    assert_eq!((info.host, info.outcome, info.message), (None, None, None));
    assert_eq!(store.input(id).await.unwrap(), Some(b"\0\xffin".to_vec()));
    assert_eq!(store.input(parent).await.unwrap(), Some(Vec::new()));
    assert_eq!(store.input(RunId(id.0 + 1)).await.unwrap(), None);
    assert!(store.run(RunId(id.0 + 1)).await.unwrap().is_none());
}

pub(crate) async fn later_runs_have_greater_ids(store: Tested) {
    let mut ids = enqueue(&store, vec![new("a"), new("b"), new("a")]).await;
    ids.extend(enqueue(&store, vec![new("a")]).await);

    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}

pub(crate) async fn a_run_with_the_same_dedup_key_is_made_once(store: Tested) {
    let keyed = || NewRun { dedup: Some("noon".into()), ..new("a") };

    let made = store.enqueue(vec![keyed(), keyed()], at(0)).await.unwrap();
    let again = store.enqueue(vec![keyed()], at(1)).await.unwrap();

    let EnqueueOutcome::New(first) = made[0] else { panic!("{made:?}") };
    assert_eq!(made[1], EnqueueOutcome::Existing(first));
    assert_eq!(again, [EnqueueOutcome::Existing(first)]);
    let claim = claim(&store, &[("a", 9)], 9, 0).await.claims.remove(0);
    store.finish(success(claim.key).into()).await.unwrap();
    assert_eq!(store.enqueue(vec![keyed()], at(1)).await.unwrap(), [EnqueueOutcome::Existing(first)]);
}

pub(crate) async fn two_tasks_may_use_the_same_dedup_key(store: Tested) {
    let keyed = |task| NewRun { dedup: Some("noon".into()), task, ..new("a") };
    let other_tenant = TaskKey { tenant: name("other"), task: name("a") };

    let made = store.enqueue(vec![keyed(task("a")), keyed(task("b")), keyed(other_tenant)], at(0)).await.unwrap();

    assert!(made.iter().all(|made| matches!(made, EnqueueOutcome::New(_))), "{made:?}");
}

pub(crate) async fn a_run_beyond_its_overlap_policy_is_written_as_cancelled(store: Tested) {
    let below = |most| NewRun { admit: Admit::Below(most), input: b"in".to_vec(), ..new("a") };
    running(&store, "a").await;

    let made = store.enqueue(vec![below(2), below(2), below(3)], at(0)).await.unwrap();

    let [EnqueueOutcome::New(_), EnqueueOutcome::Skipped(skipped), EnqueueOutcome::New(_)] = made[..] else {
        panic!("{made:?}")
    };
    let info = store.run(skipped).await.unwrap().unwrap();
    assert_eq!((info.state, info.ended_at, info.outcome), (RunState::Cancelled, Some(at(0)), Some(Outcome::Skipped)));
    assert!(info.message.unwrap().contains("skipped"));
    assert_eq!(claim(&store, &[("a", 9)], 9, 0).await.claims.len(), 2);
}

pub(crate) async fn a_skipped_run_tells_of_no_more_runs_than_its_limit(store: Tested) {
    enqueue(&store, vec![new("a"); 3]).await;
    assert_eq!(claim(&store, &[("a", 9)], 9, 0).await.claims.len(), 3);

    let made = store.enqueue(vec![NewRun { admit: Admit::Below(1), ..new("a") }], at(0)).await.unwrap();

    let [EnqueueOutcome::Skipped(skipped)] = made[..] else { panic!("{made:?}") };
    let message = store.run(skipped).await.unwrap().unwrap().message;
    assert_eq!(message.as_deref(), Some("skipped: the previous run had not finished"));
}

pub(crate) async fn a_run_that_waits_for_a_retry_counts_as_not_over(store: Tested) {
    let first = running(&store, "a").await;
    store.finish(retry(first.key, 3600).into()).await.unwrap();

    let made = store.enqueue(vec![NewRun { admit: Admit::Below(1), ..new("a") }], at(1)).await.unwrap();

    assert!(matches!(made[0], EnqueueOutcome::Skipped(_)), "{made:?}");
}

pub(crate) async fn a_run_that_is_due_later_does_not_count_for_the_overlap_policy(store: Tested) {
    enqueue(&store, vec![NewRun { run_at: at(3600), ..new("a") }]).await;
    let below = || NewRun { admit: Admit::Below(1), ..new("a") };

    let now = store.enqueue(vec![below()], at(1)).await.unwrap();
    let claim = claim(&store, &[("a", 1)], 1, 1).await.claims.remove(0);
    store.finish(success(claim.key).into()).await.unwrap();
    let later = store.enqueue(vec![below()], at(3600)).await.unwrap();

    assert!(matches!(now[0], EnqueueOutcome::New(_)), "{now:?}");
    assert!(matches!(later[0], EnqueueOutcome::Skipped(_)), "{later:?}");
}

pub(crate) async fn firing_makes_the_runs_and_moves_the_cursor(store: Tested) {
    let due = |seconds| NewRun { due_at: at(seconds), dedup: Some(at(seconds).to_string()), ..new("a") };

    let made = store.fire(fire("a", vec![due(10), due(20)], at(25), at(25))).await.unwrap();
    let again = store.fire(fire("a", vec![due(20)], at(25), at(26))).await.unwrap();
    store.fire(fire("b", vec![], at(7), at(7))).await.unwrap();

    let made = made.made();
    assert!(matches!(made, [EnqueueOutcome::New(_), EnqueueOutcome::New(_)]), "{made:?}");
    assert_eq!(again, FireOutcome::Made(vec![EnqueueOutcome::Existing(made[1].run())]));
    let states = store.task_states().await.unwrap();
    assert_eq!(states[&task("a")], TaskState { cursor: Some(at(25)), fired: 2, ..TaskState::default() });
    assert_eq!(states[&task("b")], TaskState { cursor: Some(at(7)), ..TaskState::default() });
    assert_eq!(store.task_state(task("a")).await.unwrap().as_ref(), Some(&states[&task("a")]));
    assert_eq!(store.task_state(task("c")).await.unwrap(), None);
    assert_eq!(store.task_states_of(["b", "c", "a"].map(task).to_vec()).await.unwrap(), states);
    let other = TaskKey { tenant: name("other"), task: name("a") };
    assert!(store.task_states_of(vec![other]).await.unwrap().is_empty());
}

pub(crate) async fn the_second_of_two_firings_that_expect_the_same_count_changes_nothing(store: Tested) {
    let next = |expect, memory: &str| Fire {
        expect: Some(expect),
        memory: Some(memory.into()),
        ..fire("a", vec![new("a")], at(5), at(5))
    };

    let first = store.fire(next(0, "one")).await.unwrap();
    let second = store.fire(next(0, "other")).await.unwrap();
    let third = store.fire(Fire { memory: None, ..next(1, "") }).await.unwrap();

    assert!(
        matches!((first.made(), third.made()), ([EnqueueOutcome::New(_)], [EnqueueOutcome::New(_)])),
        "{first:?} {third:?}"
    );
    assert_eq!(second, FireOutcome::Stale);
    let state = store.task_states().await.unwrap().remove(&task("a")).unwrap();
    assert_eq!((state.fired, state.memory.as_deref()), (2, Some("one")));
}

pub(crate) async fn firing_an_earlier_instant_leaves_the_cursor(store: Tested) {
    store.fire(fire("a", vec![], at(20), at(20))).await.unwrap();

    store.fire(fire("a", vec![new("a")], at(10), at(21))).await.unwrap();

    assert_eq!(store.task_states().await.unwrap()[&task("a")].cursor, Some(at(20)));
}

pub(crate) async fn firing_a_paused_task_makes_no_run_and_moves_the_cursor(store: Tested) {
    store.set_paused(task("a"), true, at(1)).await.unwrap();

    let made = store.fire(fire("a", vec![new("a")], at(10), at(10))).await.unwrap();

    assert_eq!(made, FireOutcome::Paused);
    let state = store.task_states().await.unwrap().remove(&task("a")).unwrap();
    assert_eq!((state.cursor, state.paused), (Some(at(10)), Some(Pause { since: Some(at(1)), why: None })));
}

pub(crate) async fn a_waiting_run_is_cancelled_at_once(store: Tested) {
    let run = enqueue(&store, vec![new("a")]).await[0];

    let cancelled = store.cancel(run, "not wanted", at(4)).await.unwrap();

    assert_eq!(cancelled, Cancelled::Done);
    let info = store.run(run).await.unwrap().unwrap();
    assert_eq!((info.state, info.ended_at), (RunState::Cancelled, Some(at(4))));
    assert_eq!(info.message.as_deref(), Some("not wanted"));
    assert!(claim(&store, &[("a", 1)], 1, 5).await.claims.is_empty());
}

pub(crate) async fn a_running_run_is_asked_to_end(store: Tested) {
    let (wanted, other) = (running(&store, "a").await.key, running(&store, "b").await.key);

    let cancelled = store.cancel(wanted.run, "too slow", at(1)).await.unwrap();

    assert_eq!(cancelled, Cancelled::Requested);
    let extended = store.extend(vec![wanted, other], at(9)).await.unwrap();
    assert_eq!((extended.cancelled, extended.lost), (vec![wanted], vec![]));
    let expired = store.expired(at(100), 9).await.unwrap();
    assert_eq!(expired.iter().map(|e| e.cancel_requested).collect::<Vec<_>>(), [true, false]);
    store.finish(ending(wanted, Outcome::Killed, Transition::Cancel).into()).await.unwrap();
    let info = store.run(wanted.run).await.unwrap().unwrap();
    assert_eq!((info.state, info.message.as_deref()), (RunState::Cancelled, Some("too slow")));
}

pub(crate) async fn a_run_that_is_over_or_absent_is_not_cancelled(store: Tested) {
    let over = running(&store, "a").await.key;
    store.finish(success(over).into()).await.unwrap();

    let absent = RunId(over.run.0 + 1);

    assert_eq!(store.cancel(over.run, "late", at(2)).await.unwrap(), Cancelled::Over(RunState::Succeeded));
    assert!(matches!(store.cancel(absent, "none", at(2)).await, Err(StoreError::NoRun(run)) if run == absent));
}

pub(crate) async fn a_run_that_was_asked_to_end_is_not_tried_again(store: Tested) {
    let claimed = running(&store, "a").await;
    store.cancel(claimed.key.run, "enough", at(1)).await.unwrap();

    store.finish(retry(claimed.key, 2).into()).await.unwrap();

    let info = store.run(claimed.key.run).await.unwrap().unwrap();
    assert_eq!((info.state, info.failures), (RunState::Cancelled, 1));
    let later = at(2).plus(Duration::from_secs(60)).since(at(0)).as_secs();
    assert!(claim(&store, &[("a", 1)], 1, later as i64).await.claims.is_empty());
}

pub(crate) async fn waiting_returns_the_bytes_of_runs_that_tasks_asked_for(store: Tested) {
    let asked =
        |text: &str, bytes: usize| NewRun { input: vec![7; bytes], ..NewRun::of(task(text), at(0), Cause::Task) };
    let by_people = NewRun { input: vec![7; 5000], ..new("a") };
    enqueue(&store, vec![asked("a", 1000), asked("a", 0), asked("b", 300), by_people]).await;
    let other = TaskKey { tenant: name("crowd"), task: name("a") };
    enqueue(&store, vec![NewRun { task: other.clone(), ..asked("a", 70) }]).await;
    let waiting = async |key: TaskKey| {
        let waiting = store.waiting(key).await.unwrap();
        // Each run with an input counts for a few bytes more than the input.
        (waiting.runs, waiting.bytes / 100, waiting.tenant_bytes / 100)
    };

    assert_eq!(waiting(task("a")).await, (3, 10, 13));
    assert_eq!(waiting(task("b")).await, (1, 3, 13));
    assert_eq!(waiting(other).await, (1, 0, 0));
    assert_eq!(waiting(task("none")).await, (0, 0, 13));
    claim(&store, &[("a", 9), ("b", 9)], 9, 1).await;
    assert_eq!(waiting(task("a")).await, (0, 0, 0));
}
