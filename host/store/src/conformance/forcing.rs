//! Tests forced runs, which go past limits because a person wants to see them run.

use super::*;
use sexton_domain::pause::PauseTarget;

fn forced(text: &str) -> NewRun {
    NewRun { forced: true, ..new(text) }
}

fn runs(claimed: &Claimed) -> Vec<RunId> {
    claimed.claims.iter().map(|claim| claim.key.run).collect()
}

pub(crate) async fn a_forced_run_starts_although_its_task_its_tenant_and_all_are_paused(store: Tested) {
    let tenant = PauseTarget::Tenant(Name::default_tenant());
    for target in [PauseTarget::Task(task("a")), tenant, PauseTarget::All] {
        store.pause(target, None, at(0)).await.unwrap();
    }
    let made = enqueue(&store, vec![new("a"), forced("a")]).await;

    assert_eq!(store.run(made[1]).await.unwrap().unwrap().why, None);
    assert!(store.run(made[1]).await.unwrap().unwrap().forced);
    assert_eq!(runs(&claim(&store, &[("a", 9)], 9, 1).await), [made[1]]);
    assert_eq!(runs(&claim(&store, &[("a", 9)], 9, 1).await), []);
}

pub(crate) async fn a_forced_run_starts_at_its_tasks_limit_and_takes_a_place(store: Tested) {
    running(&store, "a").await;
    let made = enqueue(&store, vec![new("a"), forced("a")]).await;

    assert_eq!(runs(&claim(&store, &[("a", 1)], 9, 1).await), [made[1]]);
    assert_eq!(runs(&claim(&store, &[("a", 2)], 9, 1).await), [], "two are running");
    assert_eq!(runs(&claim(&store, &[("a", 3)], 9, 1).await), [made[0]]);
}

pub(crate) async fn a_forced_run_starts_although_its_task_is_held_back(store: Tested) {
    for _ in 0..3 {
        let crashed = running(&store, "a").await.key;
        store.finish(ending(crashed, Outcome::Trapped, Transition::Fail).into()).await.unwrap();
    }
    let scheduled = |run| NewRun { cause: Cause::Schedule, ..run };
    let made = enqueue(&store, vec![scheduled(new("a")), scheduled(forced("a"))]).await;

    assert_eq!(runs(&claim(&store, &[("a", 9)], 9, 1).await), [made[1]]);
    assert_eq!(runs(&claim(&store, &[("a", 9)], 9, 1).await), []);
}

pub(crate) async fn a_forced_run_starts_without_room_for_its_task_or_tenant(store: Tested) {
    let made = enqueue(&store, vec![new("a"), forced("a"), forced("another-hosts")]).await;
    let tenants = BTreeMap::from([(Name::default_tenant(), TenantShare { running: 7, room: 0 })]);

    let claimed = store.claim(ClaimRequest { tenants, ..request(&[("a", 0)], 9, 1) }).await.unwrap();

    assert_eq!(runs(&claimed), [made[1]]);
    assert_eq!(runs(&claim(&store, &[("a", 0)], 9, 1).await), []);
}

pub(crate) async fn forced_runs_are_claimed_first_in_order_and_alone(store: Tested) {
    let long_due = NewRun { run_at: at(-99), ..new("b") };
    let later = NewRun { run_at: at(1), ..forced("a") };
    let made = enqueue(&store, vec![long_due, later, forced("b"), forced("a")]).await;
    let all = [("a", 9), ("b", 9)];

    assert_eq!(runs(&claim(&store, &all, 2, 1).await), [made[2], made[3]]);
    assert_eq!(runs(&claim(&store, &all, 2, 1).await), [made[1]]);
    assert_eq!(runs(&claim(&store, &all, 2, 1).await), [made[0]]);
}

pub(crate) async fn a_forced_run_is_not_claimed_before_its_time(store: Tested) {
    store.pause(PauseTarget::All, None, at(0)).await.unwrap();
    let run = enqueue(&store, vec![NewRun { run_at: at(5), ..forced("a") }]).await;

    let early = claim(&store, &[("a", 9)], 9, 4).await;

    assert_eq!((runs(&early), early.next_run_at), (vec![], Some(at(5))));
    assert_eq!(runs(&claim(&store, &[("a", 9)], 9, 5).await), run);
}

pub(crate) async fn a_forced_run_that_is_tried_again_waits_like_others(store: Tested) {
    store.pause(PauseTarget::Task(task("a")), None, at(0)).await.unwrap();
    let run = enqueue(&store, vec![forced("a")]).await[0];
    let first = claim(&store, &[("a", 9)], 9, 1).await.claims.remove(0).key;

    store.finish(retry(first, 2).into()).await.unwrap();

    assert_eq!(runs(&claim(&store, &[("a", 9)], 9, 3).await), []);
    assert_eq!(store.run(run).await.unwrap().unwrap().why.as_deref(), Some("its task is paused"));
    store.resume(PauseTarget::Task(task("a")), at(4)).await.unwrap();
    assert_eq!(runs(&claim(&store, &[("a", 9)], 9, 4).await), [run]);
}
