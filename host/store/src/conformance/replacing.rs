//! Tests how a run replaces those before it.

use super::*;
use crate::{Cancelled, LockKind, LockMode, LockName, LockTaken, RunInfo};
use sexton_domain::run::RunState;

/// Makes a run of the task `text` in second `seconds` that replaces others.
async fn replace(store: &Tested, text: &str, seconds: i64) -> EnqueueOutcome {
    let run = NewRun { admit: Admit::Replacing, due_at: at(seconds), run_at: at(seconds), ..new(text) };
    store.enqueue(vec![run], at(seconds)).await.unwrap().remove(0)
}

fn replacing(made: EnqueueOutcome) -> (RunId, Vec<RunId>) {
    match made {
        EnqueueOutcome::Replacing { run, ended } => (run, ended),
        other => panic!("{other:?}"),
    }
}

async fn info(store: &Tested, run: RunId) -> RunInfo {
    store.run(run).await.unwrap().unwrap()
}

fn killed(claim: ClaimKey, said: &str) -> Arc<Finish> {
    let mut finish = ending(claim, Outcome::Killed, Transition::Cancel);
    finish.report.message = Some(said.into());
    finish.into()
}

pub(crate) async fn a_run_without_earlier_runs_replaces_none(store: Tested) {
    let over = running(&store, "a").await.key;
    store.finish(success(over).into()).await.unwrap();
    running(&store, "b").await;

    let made = replace(&store, "a", 1).await;

    assert!(matches!(made, EnqueueOutcome::New(_)), "{made:?}");
    assert_eq!(info(&store, over.run).await.state, RunState::Succeeded);
}

pub(crate) async fn waiting_runs_that_are_replaced_are_cancelled(store: Tested) {
    let retried = running(&store, "a").await.key;
    store.finish(retry(retried, 3600).into()).await.unwrap();
    let due = enqueue(&store, vec![NewRun { input: b"in".to_vec(), ..new("a") }, new("a")]).await;
    let other = enqueue(&store, vec![new("b")]).await[0];

    let (run, mut ended) = replacing(replace(&store, "a", 5).await);

    ended.sort();
    assert_eq!(ended, [retried.run, due[0], due[1]]);
    for gone in ended {
        let info = info(&store, gone).await;
        assert_eq!((info.state, info.ended_at), (RunState::Cancelled, Some(at(5))));
        assert_eq!(info.message, Some(format!("replaced by run {run}")));
    }
    assert_eq!(info(&store, other).await.state, RunState::Waiting);
    let claimed = claim(&store, &[("a", 1)], 9, 5).await.claims;
    assert_eq!(claimed.iter().map(|claim| claim.key.run).collect::<Vec<_>>(), [run]);
    assert_eq!(store.counts().await.unwrap()[&RunState::Cancelled], 3);
}

pub(crate) async fn a_run_that_is_due_later_is_not_replaced(store: Tested) {
    let later = enqueue(&store, vec![NewRun { run_at: at(3600), ..new("a") }]).await[0];

    let made = replace(&store, "a", 5).await;

    assert!(matches!(made, EnqueueOutcome::New(_)), "{made:?}");
    assert_eq!(info(&store, later).await.state, RunState::Waiting);
}

pub(crate) async fn a_replaced_run_ends_and_frees_its_locks_before_the_next_starts(store: Tested) {
    let old = running(&store, "a").await.key;
    let lock = LockName { tenant: Name::default_tenant(), kind: LockKind::Named, name: "x".into() };
    let taken = store.acquire_lock(lock.clone(), LockMode::Exclusive, old, at(0)).await.unwrap();
    let LockTaken::Yes { fence } = taken else { panic!("{taken:?}") };

    let (run, ended) = replacing(replace(&store, "a", 5).await);

    assert_eq!(ended, [old.run]);
    assert_eq!(info(&store, old.run).await.state, RunState::Running);
    assert!(claim(&store, &[("a", 1)], 9, 6).await.claims.is_empty(), "the old run is not over");
    assert_eq!(store.extend(vec![old], at(60)).await.unwrap().cancelled, [old]);
    // The host learned of the request through the store, which does not say why.
    store.finish(killed(old, "cancelled by request")).await.unwrap();
    let gone = info(&store, old.run).await;
    assert_eq!((gone.state, gone.outcome), (RunState::Cancelled, Some(Outcome::Killed)));
    assert_eq!(gone.message, Some(format!("replaced by run {run}")));
    let next = claim(&store, &[("a", 1)], 9, 7).await.claims.remove(0).key;
    assert_eq!(next.run, run);
    let taken = store.acquire_lock(lock, LockMode::Exclusive, next, at(7)).await.unwrap();
    assert!(matches!(taken, LockTaken::Yes { fence: later } if later > fence), "{taken:?}");
}

pub(crate) async fn a_replaced_run_that_ends_by_itself_keeps_a_success_and_is_not_retried(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "b").await.key);
    replacing(replace(&store, "a", 5).await);
    let (run, _) = replacing(replace(&store, "b", 5).await);

    store.finish(success(one).into()).await.unwrap();
    store.finish(retry(two, 6).into()).await.unwrap();

    assert_eq!(info(&store, one.run).await.state, RunState::Succeeded);
    // Without the replacement it would have been tried again; now its successor runs.
    assert_eq!(info(&store, two.run).await.state, RunState::Cancelled);
    assert_eq!(claim(&store, &[("b", 1)], 9, 6).await.claims[0].key.run, run);
}

pub(crate) async fn a_successor_that_is_replaced_itself_never_starts(store: Tested) {
    let old = running(&store, "a").await.key;
    let (first, _) = replacing(replace(&store, "a", 5).await);

    let (second, ended) = replacing(replace(&store, "a", 6).await);

    // The running run is named again, because its host may have missed the first request.
    assert_eq!(ended, [old.run, first]);
    assert_eq!(info(&store, first).await.message, Some(format!("replaced by run {second}")));
    assert_eq!(info(&store, first).await.attempt, 0);
    store.finish(killed(old, &format!("replaced by run {second}"))).await.unwrap();
    // The first reason stays, whichever message the end has.
    assert_eq!(info(&store, old.run).await.message, Some(format!("replaced by run {first}")));
    let claimed = claim(&store, &[("a", 1)], 9, 7).await.claims;
    assert_eq!(claimed.iter().map(|claim| claim.key.run).collect::<Vec<_>>(), [second]);
}

pub(crate) async fn a_replaced_run_whose_host_died_ends_as_replaced(store: Tested) {
    let old = running(&store, "a").await.key;
    let (run, _) = replacing(replace(&store, "a", 5).await);

    store.abandon("one").await.unwrap();
    let expired = store.expired(at(6), 9).await.unwrap();
    assert_eq!(expired.iter().map(|dead| (dead.claim, dead.cancel_requested)).collect::<Vec<_>>(), [(old, true)]);
    let bury = killed(old, "host `one` stopped without writing an outcome");
    store.finish(Finish { expired_by: Some(at(6)), ..(*bury).clone() }.into()).await.unwrap();

    let gone = info(&store, old.run).await;
    assert_eq!((gone.state, gone.message), (RunState::Cancelled, Some(format!("replaced by run {run}"))));
    assert_eq!(claim(&store, &[("a", 1)], 9, 6).await.claims[0].key.run, run);
}

pub(crate) async fn an_instant_that_was_fired_before_replaces_nothing(store: Tested) {
    let due = || NewRun { admit: Admit::Replacing, dedup: Some("at:5".into()), ..new("a") };
    let old = running(&store, "a").await.key;

    let made = store.fire(fire("a", vec![due()], at(5), at(5))).await.unwrap();
    store.finish(killed(old, "replaced")).await.unwrap();
    let next = claim(&store, &[("a", 1)], 9, 5).await.claims.remove(0).key;
    let again = store.fire(fire("a", vec![due()], at(5), at(6))).await.unwrap();

    assert_eq!(again.made(), [EnqueueOutcome::Existing(made.made()[0].run())]);
    assert_eq!(store.extend(vec![next], at(60)).await.unwrap().cancelled, []);
}

pub(crate) async fn the_last_of_several_instants_at_once_replaces_the_others(store: Tested) {
    let due = || NewRun { admit: Admit::Replacing, ..new("a") };

    let made = store.fire(fire("a", vec![due(), due(), due()], at(5), at(5))).await.unwrap();

    let made = made.made();
    assert!(matches!(made[0], EnqueueOutcome::New(_)), "{made:?}");
    assert_eq!(made[2], EnqueueOutcome::Replacing { run: made[2].run(), ended: vec![made[1].run()] });
    let claimed = claim(&store, &[("a", 9)], 9, 5).await.claims;
    assert_eq!(claimed.iter().map(|claim| claim.key.run).collect::<Vec<_>>(), [made[2].run()]);
    let over = Cancelled::Over(RunState::Cancelled);
    assert_eq!(store.cancel(made[0].run(), "late", at(6)).await.unwrap(), over);
}
