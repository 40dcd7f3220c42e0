//! Tests how runs are claimed, and how claims hold.

use std::collections::HashSet;

use super::*;
use crate::TaskState;

pub(crate) async fn a_claim_carries_everything_the_run_was_made_with(store: Tested) {
    let given = NewRun { due_at: at(-5), run_at: at(1), cause: Cause::Schedule, input: b"in".to_vec(), ..new("a") };
    let run = enqueue(&store, vec![given]).await[0];

    let claimed = claim(&store, &[("a", 1)], 8, 3).await;

    let [claim] = &claimed.claims[..] else { panic!("{claimed:?}") };
    assert_eq!((claim.key.run, claim.key.attempt, &claim.task), (run, 1, &task("a")));
    assert_eq!((claim.due_at, claim.cause, &claim.input[..]), (at(-5), Cause::Schedule, &b"in"[..]));
    assert_eq!(claim.run_at, at(1), "a delay is no lateness");
    assert_eq!((claim.failures, claim.claimed_at), (0, at(3)));
    let info = store.run(run).await.unwrap().unwrap();
    assert_eq!((info.state, info.attempt), (sexton_domain::run::RunState::Running, 1));
    assert_eq!((info.host.as_deref(), info.claimed_at), (Some("one"), Some(at(3))));
}

pub(crate) async fn a_run_is_not_claimed_before_its_time(store: Tested) {
    enqueue(&store, vec![NewRun { run_at: at(20), ..new("a") }, NewRun { run_at: at(10), ..new("b") }]).await;
    let tasks = [("a", 1), ("b", 1)];

    let early = claim(&store, &tasks, 8, 9).await;
    let still_early = claim(&store, &tasks, 8, 9).await;
    let due = claim(&store, &tasks, 8, 10).await;

    assert_eq!((names(&early), early.next_run_at), (vec![], Some(at(10))));
    assert_eq!((names(&still_early), still_early.next_run_at), (vec![], Some(at(10))));
    assert_eq!((names(&due), due.next_run_at), (vec!["b"], Some(at(20))));
}

pub(crate) async fn a_new_run_that_is_due_earlier_is_claimed_earlier(store: Tested) {
    enqueue(&store, vec![NewRun { run_at: at(20), ..new("a") }]).await;
    claim(&store, &[("a", 2)], 8, 1).await;

    enqueue(&store, vec![NewRun { run_at: at(5), ..new("a") }]).await;

    assert_eq!(claim(&store, &[("a", 2)], 8, 4).await.next_run_at, Some(at(5)));
    assert_eq!(claim(&store, &[("a", 2)], 8, 5).await.claims.len(), 1);
}

pub(crate) async fn claims_never_exceed_a_tasks_concurrency_limit(store: Tested) {
    enqueue(&store, vec![new("a"); 5]).await;

    assert_eq!(claim(&store, &[("a", 3)], 2, 1).await.claims.len(), 2);
    assert_eq!(claim(&store, &[("a", 3)], 8, 1).await.claims.len(), 1);
    assert_eq!(claim(&store, &[("a", 3)], 8, 1).await.claims.len(), 0);
    assert_eq!(claim(&store, &[("a", 4)], 8, 1).await.claims.len(), 1);
}

pub(crate) async fn a_backlog_of_one_task_does_not_block_another(store: Tested) {
    enqueue(&store, vec![new("long"); 500]).await;
    enqueue(&store, vec![NewRun { run_at: at(1), ..new("short") }]).await;

    let claimed = claim(&store, &[("long", 1000), ("short", 1)], 4, 2).await;

    assert_eq!(names(&claimed), ["long", "long", "long", "short"]);
}

pub(crate) async fn a_task_at_its_limit_does_not_block_another(store: Tested) {
    enqueue(&store, vec![new("full"); 500]).await;
    claim(&store, &[("full", 1)], 8, 1).await;
    enqueue(&store, vec![NewRun { run_at: at(1), ..new("other") }]).await;

    let claimed = claim(&store, &[("full", 1), ("other", 1)], 8, 2).await;

    assert_eq!(names(&claimed), ["other"]);
}

pub(crate) async fn places_are_shared_fairly_among_tasks(store: Tested) {
    for text in ["a", "b", "c"] {
        enqueue(&store, vec![new(text); 50]).await;
    }

    let claimed = claim(&store, &[("a", 50), ("b", 50), ("c", 50)], 9, 1).await;

    let mut found = names(&claimed);
    found.sort_unstable();
    assert_eq!(found, ["a", "a", "a", "b", "b", "b", "c", "c", "c"]);
}

/// Makes twenty runs each of `many` and `few` of tenant `crowd`, and twenty of tenant `default`, which are due last.
async fn of_two_tenants(store: &Tested) -> ClaimRequest {
    let crowd = |text| NewRun { task: TaskKey { tenant: name("crowd"), task: name(text) }, ..new(text) };
    enqueue(store, vec![crowd("many"); 20]).await;
    enqueue(store, vec![crowd("few"); 20]).await;
    enqueue(store, vec![NewRun { run_at: at(5), ..new("few") }; 20]).await;
    let tasks = [crowd("many").task, crowd("few").task, task("few")].map(|task| (task, 100)).into();
    ClaimRequest { tasks: Arc::new(tasks), ..request(&[], 10, 9) }
}

fn share(running: u32, room: u32) -> TenantShare {
    TenantShare { running, room }
}

/// Returns how many of the claimed runs are the tenant's.
fn of(claimed: &Claimed, tenant: &str) -> usize {
    claimed.claims.iter().filter(|claim| claim.task.tenant.as_str() == tenant).count()
}

pub(crate) async fn a_tenant_gets_no_more_runs_than_it_has_room_for(store: Tested) {
    let request = of_two_tenants(&store).await;
    let with = |tenants: &[(&str, TenantShare)]| ClaimRequest {
        tenants: tenants.iter().map(|(tenant, share)| (name(tenant), *share)).collect(),
        ..request.clone()
    };

    let bounded = store.claim(with(&[("crowd", share(0, 4))])).await.unwrap();
    let full = store.claim(ClaimRequest { limit: 3, ..with(&[("crowd", share(4, 0))]) }).await.unwrap();
    let alone = store.claim(ClaimRequest { limit: 100, ..with(&[("default", share(0, 0))]) }).await.unwrap();

    assert_eq!((of(&bounded, "crowd"), of(&bounded, "default")), (4, 6));
    assert_eq!(names(&bounded).iter().filter(|text| **text == "many").count(), 2, "fairly among its tasks");
    assert_eq!((of(&full, "crowd"), of(&full, "default")), (0, 3));
    assert_eq!((of(&alone, "crowd"), of(&alone, "default")), (36, 0));
    let rest = store.claim(ClaimRequest { limit: 100, ..request }).await.unwrap();
    assert_eq!((of(&rest, "crowd"), of(&rest, "default")), (0, 11), "nothing was lost on the way");
}

pub(crate) async fn the_tenant_with_the_fewest_runs_goes_first(store: Tested) {
    let request = of_two_tenants(&store).await;
    let mut running = BTreeMap::from([(name("crowd"), share(7, u32::MAX)), (name("default"), share(0, u32::MAX))]);
    let mut order = Vec::new();

    // One place at a time: otherwise the older backlog of one tenant would take them all.
    for _ in 0..10 {
        let claimed =
            store.claim(ClaimRequest { limit: 1, tenants: running.clone(), ..request.clone() }).await.unwrap();
        let tenant = claimed.claims[0].task.tenant.clone();
        running.get_mut(&tenant).unwrap().running += 1;
        order.push(tenant.to_string());
    }
    let together = store.claim(ClaimRequest { tenants: running, ..request }).await.unwrap();

    assert_eq!(order[..7], ["default"; 7]);
    assert_eq!(order[7..], ["crowd", "default", "crowd"]);
    assert_eq!((of(&together, "crowd"), of(&together, "default")), (5, 5));
}

pub(crate) async fn a_place_that_one_task_does_not_need_goes_to_another(store: Tested) {
    enqueue(&store, vec![new("a"); 50]).await;
    enqueue(&store, vec![new("b"); 2]).await;

    let claimed = claim(&store, &[("a", 50), ("b", 50)], 10, 1).await;

    assert_eq!(names(&claimed).iter().filter(|text| **text == "a").count(), 8);
    assert_eq!(claimed.claims.iter().map(|claim| claim.key.run).collect::<HashSet<_>>().len(), 10);
    assert_eq!(claim(&store, &[("a", 50), ("b", 50)], 100, 1).await.claims.len(), 42);
}

pub(crate) async fn the_tasks_that_wait_longest_come_first(store: Tested) {
    let texts: Vec<String> = (0..20).map(|n| format!("task-{n:02}")).collect();
    for (n, text) in (0..).zip(&texts) {
        enqueue(&store, vec![NewRun { run_at: at(100 - n), ..new(text) }; 3]).await;
    }
    let tasks: Vec<(&str, u32)> = texts.iter().map(|text| (text.as_str(), 9)).collect();

    let first = claim(&store, &tasks, 2, 200).await;
    let second = claim(&store, &tasks, 20, 200).await;
    let rest = claim(&store, &tasks, 100, 200).await;

    assert_eq!(names(&first), ["task-19", "task-18"]);
    assert_eq!(names(&second).into_iter().collect::<HashSet<_>>().len(), 20);
    assert_eq!(rest.claims.len(), 38);
}

pub(crate) async fn a_claim_among_many_tasks_takes_what_is_due_and_tells_when_the_next_is(store: Tested) {
    let texts: Vec<String> = (0..200).map(|n| format!("task-{n:03}")).collect();
    let later = (0..).zip(&texts).map(|(n, text)| NewRun { run_at: at(1000 + n), ..new(text) });
    enqueue(&store, later.collect()).await;
    enqueue(&store, vec![NewRun { run_at: at(50), ..new("task-120") }]).await;
    store.set_paused(task("task-000"), true, at(0)).await.unwrap();
    let tasks: Vec<(&str, u32)> = texts.iter().map(|text| (text.as_str(), 1)).collect();

    let early = claim(&store, &tasks, 9, 10).await;
    let due = claim(&store, &tasks, 9, 60).await;
    store.finish(success(due.claims[0].key).into()).await.unwrap();
    let none = claim(&store, &tasks[2..], 9, 70).await;
    let both = claim(&store, &tasks, 9, 1002).await;

    assert_eq!((names(&early), early.next_run_at), (vec![], Some(at(50))));
    assert_eq!(names(&due), ["task-120"]);
    assert_eq!((names(&none), none.next_run_at), (vec![], Some(at(1002))));
    assert_eq!(names(&both), ["task-001", "task-002"]);
}

pub(crate) async fn runs_are_claimed_earliest_first(store: Tested) {
    let due = |text, seconds| NewRun { run_at: at(seconds), ..new(text) };
    enqueue(&store, vec![due("a", 4), due("a", 1), due("b", 3), due("b", 2)]).await;

    let claimed = claim(&store, &[("a", 9), ("b", 9)], 9, 9).await;

    assert_eq!(names(&claimed), ["a", "b", "b", "a"]);
}

pub(crate) async fn tasks_outside_the_request_are_left_alone(store: Tested) {
    let other_tenant = TaskKey { tenant: name("other"), task: name("a") };
    enqueue(&store, vec![new("b"), NewRun { task: other_tenant, ..new("a") }]).await;

    let claimed = claim(&store, &[("a", 9)], 9, 9).await;

    assert_eq!((names(&claimed), claimed.next_run_at), (vec![], None));
}

pub(crate) async fn a_paused_task_is_left_alone_until_it_is_resumed(store: Tested) {
    store.fire(fire("a", vec![new("a")], at(5), at(5))).await.unwrap();
    store.set_paused(task("a"), true, at(6)).await.unwrap();

    let paused = claim(&store, &[("a", 9)], 9, 9).await;
    let state = store.task_states().await.unwrap()[&task("a")].clone();
    store.set_paused(task("a"), false, at(60)).await.unwrap();
    let resumed = claim(&store, &[("a", 9)], 9, 60).await;

    assert_eq!(names(&paused), Vec::<&str>::new());
    assert_eq!((state.cursor, state.paused.is_some()), (Some(at(5)), true));
    assert_eq!(names(&resumed), ["a"]);
    assert_eq!(
        store.task_states().await.unwrap()[&task("a")],
        TaskState { cursor: Some(at(60)), fired: 1, ..TaskState::default() }
    );
}

pub(crate) async fn fences_grow_with_every_claim(store: Tested) {
    let first = running(&store, "a").await.key;
    store.finish(retry(first, 2).into()).await.unwrap();

    let again = claim(&store, &[("a", 1)], 1, 2).await.claims[0].key;
    let other = running(&store, "b").await.key;

    assert_eq!((again.run, again.attempt), (first.run, 2));
    assert!(first.fence < again.fence && again.fence < other.fence);
}

pub(crate) async fn two_hosts_never_claim_the_same_run(store: Tested) {
    enqueue(&store, vec![new("a"); 100]).await;
    let host = |host: &'static str| {
        let store = store.clone();
        async move {
            let mut runs = Vec::new();
            while let claimed =
                store.claim(ClaimRequest { host: host.into(), ..request(&[("a", 100)], 7, 1) }).await.unwrap()
                && !claimed.claims.is_empty()
            {
                runs.extend(claimed.claims.into_iter().map(|claim| claim.key.run));
            }
            runs
        }
    };

    let (one, two) = tokio::join!(tokio::spawn(host("one")), tokio::spawn(host("two")));

    let runs = [one.unwrap(), two.unwrap()].concat();
    assert_eq!(runs.len(), 100);
    assert_eq!(runs.into_iter().collect::<HashSet<_>>().len(), 100);
}

pub(crate) async fn a_claim_that_is_not_extended_expires(store: Tested) {
    let claimed = running(&store, "a").await;
    let lease_ends = at(0).plus(LEASE);

    assert!(store.expired(lease_ends, 9).await.unwrap().is_empty());
    let expired = store.expired(lease_ends.plus(Duration::from_millis(1)), 9).await.unwrap();
    let extended = store.extend(vec![claimed.key], at(500)).await.unwrap();

    let [found] = &expired[..] else { panic!("{expired:?}") };
    assert_eq!((found.claim, &found.task, found.failures), (claimed.key, &task("a"), 0));
    assert_eq!((found.claimed_at, &found.host[..], found.cancel_requested), (at(0), "one", false));
    assert!(extended.lost.is_empty());
    assert!(store.expired(at(500), 9).await.unwrap().is_empty());
    assert_eq!(store.expired(at(501), 9).await.unwrap().len(), 1);
    assert_eq!(store.expired(at(501), 0).await.unwrap().len(), 0);
}

pub(crate) async fn extending_returns_the_claims_that_are_lost(store: Tested) {
    let over = running(&store, "a").await.key;
    store.finish(success(over).into()).await.unwrap();
    let taken = running(&store, "b").await.key;
    store.finish(retry(taken, 0).into()).await.unwrap();
    let held = claim(&store, &[("b", 1)], 1, 1).await.claims[0].key;

    let extended = store.extend(vec![over, taken, held, stale(held)], at(900)).await.unwrap();

    assert_eq!(extended.lost, [over, taken, stale(held)]);
    assert!(extended.cancelled.is_empty());
}

pub(crate) async fn abandoning_ends_only_the_claims_of_that_host(store: Tested) {
    let mine = running(&store, "a").await.key;
    enqueue(&store, vec![new("b")]).await;
    let theirs = ClaimRequest { host: "two".into(), ..request(&[("b", 1)], 1, 0) };
    store.claim(theirs).await.unwrap();

    let abandoned = store.abandon("one").await.unwrap();

    assert_eq!(abandoned, 1);
    let expired = store.expired(at(-1_000_000), 9).await.unwrap();
    assert_eq!(expired.iter().map(|e| e.claim).collect::<Vec<_>>(), [mine]);
    assert_eq!(store.abandon("nobody").await.unwrap(), 0);
}
