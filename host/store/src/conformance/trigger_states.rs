//! Tests the questions of schedules that depend on how earlier runs went.

use super::*;
use crate::{AwaitedRunState, UpdateMemory};
use sexton_domain::run::RunState;
use sexton_domain::schedule::Going;

async fn going(store: &Tested, seconds: i64) -> Going {
    store.watch(vec![task("a")], at(seconds)).await.unwrap().remove(&task("a")).unwrap_or_default().going
}

pub(crate) async fn runs_that_are_not_over_count_as_alive(store: Tested) {
    assert!(store.watch(vec![task("a")], at(0)).await.unwrap().is_empty());
    enqueue(&store, vec![new("a"), new("a"), new("b")]).await;
    enqueue(&store, vec![NewRun { run_at: at(50), ..new("a") }]).await;
    assert_eq!(going(&store, 0).await.alive, 2, "one is due later");
    assert_eq!(going(&store, 50).await.alive, 3);

    let claims = claim(&store, &[("a", 9)], 9, 0).await.claims;
    assert_eq!(going(&store, 0).await.alive, 2, "both are running");
    store.finish(Arc::new(retry(claims[0].key, 40))).await.unwrap();
    store.finish(Arc::new(success(claims[1].key))).await.unwrap();

    assert_eq!(going(&store, 1).await, Going { alive: 1, failed: None }, "one is tried again");
}

pub(crate) async fn the_latest_failure_outlasts_successes_and_pruning(store: Tested) {
    let first = running(&store, "a").await;
    store.finish(Arc::new(failure(first.key))).await.unwrap();
    let second = running(&store, "a").await;
    store.finish(Arc::new(success(second.key))).await.unwrap();
    store.set_paused(task("a"), false, at(5)).await.unwrap();
    let retention = crate::Retention { runs: 0, age: Duration::ZERO, bytes: 0 };
    while store.prune(retention.clone(), at(9)).await.unwrap() > 0 {}

    assert_eq!(going(&store, 9).await, Going { alive: 0, failed: Some(at(1)) });
}

pub(crate) async fn a_run_is_found_by_its_dedup_key(store: Tested) {
    let keyed = |text: &str, key: &str| NewRun { dedup: Some(key.into()), ..new(text) };
    let runs = enqueue(&store, vec![keyed("a", "k"), keyed("b", "k")]).await;
    let key = |text: &str, key: &str| (task(text), key.to_owned());
    let claims = claim(&store, &[("a", 1)], 1, 0).await.claims;
    store.finish(Arc::new(failure(claims[0].key))).await.unwrap();

    let found = store.run_states(vec![key("a", "k"), key("b", "k"), key("a", "other"), key("c", "k")]).await.unwrap();

    let a = AwaitedRunState {
        run: runs[0],
        state: RunState::Failed,
        outcome: Some(Outcome::FailedPermanent),
        ended_at: Some(at(1)),
    };
    let b = AwaitedRunState { run: runs[1], state: RunState::Waiting, outcome: None, ended_at: None };
    assert_eq!(found, [(key("a", "k"), a), (key("b", "k"), b)].into());
}

pub(crate) async fn the_second_of_two_updates_of_the_same_memory_changes_nothing(store: Tested) {
    let remember = |from: Option<&str>, to: &str, pause: Option<&str>| UpdateMemory {
        task: task("a"),
        from: from.map(str::to_owned),
        to: to.to_owned(),
        pause: pause.map(str::to_owned),
        now: at(3),
    };

    assert!(store.update_memory(remember(None, "one", None)).await.unwrap());
    assert!(!store.update_memory(remember(None, "other", Some("no"))).await.unwrap());
    assert!(store.update_memory(remember(Some("one"), "two", Some("a reason"))).await.unwrap());
    assert!(store.update_memory(remember(Some("two"), "three", Some("another"))).await.unwrap());

    let state = store.watch(vec![task("a")], at(3)).await.unwrap().remove(&task("a")).unwrap().state;
    assert_eq!((state.memory.as_deref(), state.fired, state.cursor), (Some("three"), 0, Some(at(3))));
    assert_eq!(state.paused.unwrap().to_string(), "paused: a reason");
    assert_eq!(store.task_states().await.unwrap()[&task("a")].memory.as_deref(), Some("three"));
}
