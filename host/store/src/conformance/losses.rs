//! Tests runs whose host went away.

use super::*;
use crate::backfills::TURN;
use crate::hosts::{Announcement, HostRecord};
use crate::{Death, LossPolicy, Released, RunInfo};
use sexton_domain::run::RunState;

const POLICY: LossPolicy = LossPolicy { attempts: 7, pause_after: Some(2) };

/// Announces a life of host `one`, which counts as up for a lease.
async fn announce(store: &Tested, instance: i64, takes_over: bool, seconds: i64) {
    let host = HostRecord {
        name: "one".into(),
        instance,
        version: "0.1.0".into(),
        address: "127.0.0.1:7070".into(),
        labels: Vec::new(),
        slots: 8,
        attempts: 1,
        plugins: 1,
        started_at: at(0),
    };
    let now = at(seconds);
    store.announce(Announcement { host, takes_over, alive_until: now.plus(LEASE), now }).await.unwrap();
}

/// Claims the waiting run of task `a` with a policy, if there is one.
async fn claim_with(store: &Tested, policy: Option<LossPolicy>, seconds: i64) -> Option<ClaimKey> {
    let policies = Arc::new(policy.into_iter().map(|policy| (task("a"), policy)).collect());
    let claimed = store.claim(ClaimRequest { policies, ..request(&[("a", 1)], 1, seconds) }).await.unwrap();
    claimed.claims.first().map(|claim| claim.key)
}

/// Creates the end of an attempt whose host died.
fn buried(claim: ClaimKey, transition: Transition, presumed: Option<i64>, seconds: i64) -> Arc<Finish> {
    let death = Some(Death { host: "one".into(), presumed });
    let finish = ending(claim, Outcome::Lost, transition);
    Finish { expired_by: Some(at(seconds)), death, ..finish }.into()
}

async fn info(store: &Tested, claim: ClaimKey) -> RunInfo {
    store.run(claim.run).await.unwrap().unwrap()
}

/// Makes a run of task `a` that is held back: its host was presumed dead in its life 1.
async fn held_back(store: &Tested) -> ClaimKey {
    enqueue(store, vec![new("a")]).await;
    hold_back(store).await
}

/// Claims the waiting run of task `a`, and has it held back.
async fn hold_back(store: &Tested) -> ClaimKey {
    announce(store, 1, true, 0).await;
    let claim = claim_with(store, Some(POLICY), 0).await.unwrap();
    store.finish(buried(claim, Transition::HoldBack, Some(1), 100)).await.unwrap();
    claim
}

pub(crate) async fn a_lost_run_has_the_policy_that_its_latest_claim_stored(store: Tested) {
    enqueue(&store, vec![new("a")]).await;
    let lost = async || store.expired(at(10_000), 9).await.unwrap().remove(0);
    let again = |claim| retry(claim, 1);

    let first = claim_with(&store, None, 0).await.unwrap();
    assert_eq!(lost().await.policy, None, "no host that has claimed it knew the policy");
    store.finish(again(first).into()).await.unwrap();

    let second = claim_with(&store, Some(POLICY), 1).await.unwrap();
    assert_eq!(lost().await.policy, Some(POLICY));
    store.finish(again(second).into()).await.unwrap();

    let third = claim_with(&store, None, 1).await.unwrap();
    assert_eq!(lost().await.policy, Some(POLICY), "a host that does not know it leaves it");
    store.finish(again(third).into()).await.unwrap();

    let other = LossPolicy { attempts: 1, pause_after: None };
    claim_with(&store, Some(other), 1).await.unwrap();
    assert_eq!(lost().await.policy, Some(other));
}

pub(crate) async fn a_lost_run_shows_whether_its_host_died(store: Tested) {
    enqueue(&store, vec![new("a")]).await;
    claim_with(&store, None, 0).await.unwrap();
    let death = async |seconds| store.expired(at(seconds), 9).await.unwrap().remove(0).death;
    let died = |presumed| Some(Death { host: "one".into(), presumed });

    assert_eq!(death(100).await, died(None), "it was never announced");
    announce(&store, 5, true, 90).await;
    assert_eq!(death(100).await, None, "it is there");
    assert_eq!(death(121).await, died(Some(5)), "its announcement has lapsed");
    announce(&store, 6, true, 122).await;
    store.abandon("one").await.unwrap();
    assert_eq!(death(123).await, died(None), "a later life has its name");
}

pub(crate) async fn deaths_of_a_runs_host_are_counted_while_it_is_tried_again(store: Tested) {
    enqueue(&store, vec![new("a")]).await;
    let again = || Transition::Wait { run_at: at(0), failed: true };
    for deaths in 1..=3 {
        let claim = claim_with(&store, Some(POLICY), 0).await.unwrap();
        assert_eq!(store.expired(at(100), 9).await.unwrap()[0].deaths, deaths - 1);
        store.finish(buried(claim, again(), None, 100)).await.unwrap();
        let info = info(&store, claim).await;
        assert_eq!((info.state, info.deaths, info.suspected_at), (RunState::Waiting, deaths, None));
    }
}

pub(crate) async fn a_suspect_does_not_start_until_it_is_released(store: Tested) {
    let claim = held_back(&store).await;

    let held = info(&store, claim).await;
    assert_eq!((held.state, held.deaths, held.failures), (RunState::Waiting, 1, 1));
    assert_eq!((held.suspected_at, held.run_at), (Some(at(1)), at(1)));
    assert!(held.why.unwrap().starts_with("suspected of killing its host, which died once"));
    assert_eq!(claim_with(&store, Some(POLICY), 1_000_000_000).await, None);

    assert_eq!(store.release_run(claim.run, at(200)).await.unwrap(), Released::Done);
    assert_eq!(store.release_run(claim.run, at(200)).await.unwrap(), Released::NotHeld(RunState::Waiting));
    let released = info(&store, claim).await;
    assert_eq!((released.suspected_at, released.why, released.deaths), (None, None, 1));
    let next = claim_with(&store, Some(POLICY), 200).await.unwrap();
    assert_eq!((next.run, next.attempt), (claim.run, 2));
    assert_eq!(store.release_run(claim.run, at(200)).await.unwrap(), Released::NotHeld(RunState::Running));
    let absent = store.release_run(RunId(99), at(200)).await;
    assert!(matches!(absent, Err(StoreError::NoRun(RunId(99)))), "{absent:?}");
}

pub(crate) async fn a_run_of_a_backfill_says_that_it_waits_behind_a_suspect(store: Tested) {
    let belated = |n: i64| NewRun { run_at: TURN, at_once: Some(1), due_at: at(n), ..new("a") };
    let made = enqueue(&store, vec![belated(-2), belated(-1)]).await;
    let why = async || store.run(made[1]).await.unwrap().unwrap().why.unwrap();
    store.take_turns(at(0)).await.unwrap();
    assert!(!why().await.contains("behind"), "{}", why().await);

    hold_back(&store).await;

    let behind = format!(", behind run {}, which is held back", made[0]);
    assert!(why().await.ends_with(&behind), "{}", why().await);
}

pub(crate) async fn releasing_a_suspect_wakes_waiters(store: Tested) {
    let claim = held_back(&store).await;
    let hint = store.runs_hint();
    let told = hint.notified();
    tokio::pin!(told);
    told.as_mut().enable();

    store.release_run(claim.run, at(200)).await.unwrap();

    tokio::time::timeout(Duration::from_secs(60), told).await.expect("the worker is told");
}

pub(crate) async fn a_suspect_may_be_cancelled(store: Tested) {
    let claim = held_back(&store).await;

    assert_eq!(store.cancel(claim.run, "enough", at(200)).await.unwrap(), crate::Cancelled::Done);

    let info = info(&store, claim).await;
    assert_eq!((info.state, info.suspected_at, info.why), (RunState::Cancelled, None, None));
    assert!(info.run_at < at(200), "not an instant that never comes");
}

pub(crate) async fn the_death_of_a_host_that_was_only_stopped_is_taken_back(store: Tested) {
    let claim = held_back(&store).await;

    announce(&store, 1, false, 300).await;

    let back = info(&store, claim).await;
    assert_eq!((back.deaths, back.suspected_at, back.run_at), (0, None, at(300)));
    assert!(claim_with(&store, Some(POLICY), 300).await.is_some());
    announce(&store, 1, false, 310).await;
    assert_eq!(info(&store, claim).await.deaths, 0);
}

pub(crate) async fn the_death_of_a_host_that_was_started_again_is_never_taken_back(store: Tested) {
    let claim = held_back(&store).await;

    announce(&store, 2, true, 300).await;
    announce(&store, 2, false, 310).await;
    announce(&store, 1, false, 320).await;

    let info = info(&store, claim).await;
    assert_eq!((info.deaths, info.suspected_at), (1, Some(at(1))));
}

pub(crate) async fn a_run_that_was_asked_to_end_is_cancelled_and_not_held_back(store: Tested) {
    enqueue(&store, vec![new("a")]).await;
    let claim = claim_with(&store, Some(POLICY), 0).await.unwrap();
    store.cancel(claim.run, "enough", at(1)).await.unwrap();

    store.finish(buried(claim, Transition::HoldBack, None, 100)).await.unwrap();

    assert_eq!(info(&store, claim).await.state, RunState::Cancelled);
}
