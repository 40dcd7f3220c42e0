//! Events of two hosts on one database.

use std::collections::BTreeSet;

use super::*;
use crate::Store as _;
use crate::events::{EventFilter, Events as _};
use crate::postgres::connect::Connector;

/// Opens the database for two hosts that record events.
async fn recording(database: &Database) -> [Arc<PostgresStore>; 2] {
    let pair = database.pair().await;
    for store in &pair {
        store.record_events(true);
    }
    pair
}

/// Returns the ids and the runs of the events after `after`.
async fn told(store: &PostgresStore, after: u64) -> Vec<(u64, Option<RunId>)> {
    let page = store.events(after, EventFilter::default(), 1000).await.unwrap();
    page.events.iter().map(|event| (event.id, event.run)).collect()
}

/// Reads on until it has had `count` events.
async fn follow(store: Arc<PostgresStore>, count: usize) -> Vec<(u64, Option<RunId>)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let after = seen.last().map_or(0, |(id, _)| *id);
        seen.extend(told(&store, after).await);
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_on_two_hosts_see_the_events_of_both_in_one_order_and_miss_none() {
    let database = Database::new().await;
    let pair = recording(&database).await;
    let reading: Vec<_> = pair.iter().map(|store| tokio::spawn(follow(store.clone(), 80))).collect();

    let writing: Vec<_> = (0..80)
        .map(|n| {
            let store = pair[n % 2].clone();
            tokio::spawn(async move { enqueue(&store, vec![new("a")]).await[0] })
        })
        .collect();

    let mut made = BTreeSet::new();
    for run in writing {
        made.insert(Some(run.await.unwrap()));
    }
    let mut seen = Vec::new();
    for reader in reading {
        seen.push(soon(reader).await.unwrap());
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].iter().map(|(id, _)| *id).collect::<Vec<_>>(), (1..=80).collect::<Vec<_>>());
    assert_eq!(seen[0].iter().map(|(_, run)| *run).collect::<BTreeSet<_>>(), made);
}

#[tokio::test]
async fn a_transaction_that_commits_late_gets_later_ids_than_those_that_were_read() {
    let database = Database::new().await;
    let [one, two] = recording(&database).await;
    let slow = Connector::new(&database.options()).unwrap().connect().await.unwrap();
    let insert =
        "BEGIN; INSERT INTO events (lines, told_at, body) VALUES (1, 0, E'1\thost.left\t\t\t\t\t\t\tslow\t\n')";
    slow.batch_execute(insert).await.unwrap();
    let run = enqueue(&one, vec![new("a")]).await[0];
    assert_eq!(told(&two, 0).await, [(1, Some(run))]);

    slow.batch_execute("COMMIT").await.unwrap();

    assert_eq!(told(&two, 1).await, [(2, None)]);
    assert_eq!(one.newest_event().await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_one_host_wakes_readers_on_the_other() {
    let database = Database::new().await;
    let [one, two] = recording(&database).await;
    let mut changes = two.changes();
    // The store tells its own callers to look once it listens to other hosts.
    drop(soon(changes.wait_for(|count| *count > 0)).await.unwrap());
    let hint = two.events_hint();
    let woken = hint.notified();
    assert!(told(&two, 0).await.is_empty());

    enqueue(&one, vec![new("a")]).await;

    soon(woken).await;
    assert_eq!(told(&two, 0).await.len(), 1);
}
