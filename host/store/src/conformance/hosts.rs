//! Tests the records of hosts.

use super::*;
use crate::hosts::{Announced, Announcement, HostInfo, HostRecord};

const THERE: Announced = Announced { draining: false, replaced: false };
const DRAINING: Announced = Announced { draining: true, replaced: false };
const REPLACED: Announced = Announced { draining: false, replaced: true };

/// Creates the description that the life `instance` of a host gives of itself.
fn record(host: &str, instance: i64) -> HostRecord {
    HostRecord {
        name: host.into(),
        instance,
        version: "0.1.0".into(),
        address: "127.0.0.1:7070".into(),
        labels: vec![name("gpu"), name("eu")],
        slots: 1024,
        attempts: 3,
        plugins: 7,
        started_at: at(-100),
    }
}

async fn announce(store: &Tested, host: HostRecord, takes_over: bool, seconds: i64) -> Announced {
    let now = at(seconds);
    store.announce(Announcement { host, takes_over, alive_until: now.plus(LEASE), now }).await.unwrap()
}

async fn names(store: &Tested) -> Vec<String> {
    store.hosts().await.unwrap().into_iter().map(|known| known.host.name).collect()
}

pub(crate) async fn a_host_that_announces_itself_is_listed(store: Tested) {
    assert!(store.hosts().await.unwrap().is_empty());

    assert_eq!(announce(&store, record("two", i64::MAX), true, 0).await, THERE);
    let bare = HostRecord { labels: Vec::new(), ..record("Bell-1", i64::MIN) };
    assert_eq!(announce(&store, bare.clone(), true, 1).await, THERE);

    let info = |host: HostRecord, seconds: i64| HostInfo {
        host,
        draining: false,
        seen_at: at(seconds),
        alive_until: at(seconds).plus(LEASE),
    };
    assert_eq!(store.hosts().await.unwrap(), [info(bare, 1), info(record("two", i64::MAX), 0)]);
}

pub(crate) async fn a_later_announcement_updates_the_record_of_a_host(store: Tested) {
    announce(&store, record("one", 1), true, 0).await;
    let busier = HostRecord { attempts: 9, plugins: 8, ..record("one", 1) };

    assert_eq!(announce(&store, busier.clone(), false, 5).await, THERE);
    let gone = Announcement { host: busier.clone(), takes_over: false, alive_until: at(9), now: at(9) };
    store.announce(gone).await.unwrap();

    let known = store.hosts().await.unwrap();
    assert_eq!(known, [HostInfo { host: busier, draining: false, seen_at: at(9), alive_until: at(9) }]);
}

pub(crate) async fn a_life_that_takes_over_a_name_fences_the_earlier_one(store: Tested) {
    announce(&store, record("one", 1), true, 0).await;
    announce(&store, record("other", 1), true, 0).await;

    assert_eq!(announce(&store, record("one", 2), true, 1).await, THERE);
    let known = store.hosts().await.unwrap();

    assert_eq!(announce(&store, record("one", 1), false, 2).await, REPLACED);
    assert_eq!(store.hosts().await.unwrap(), known, "it has changed nothing");
    assert_eq!(announce(&store, record("one", 2), false, 3).await, THERE);
    assert_eq!(announce(&store, record("other", 1), false, 3).await, THERE);
}

pub(crate) async fn a_host_learns_of_a_drain_with_its_next_announcement(store: Tested) {
    announce(&store, record("one", 1), true, 0).await;
    announce(&store, record("other", 1), true, 0).await;

    assert!(store.set_draining("one", true).await.unwrap());
    assert!(!store.set_draining("nobody", true).await.unwrap());

    assert_eq!(announce(&store, record("one", 1), false, 1).await, DRAINING);
    assert_eq!(announce(&store, record("other", 1), false, 1).await, THERE);
    let draining: Vec<_> = store.hosts().await.unwrap().iter().map(|known| known.draining).collect();
    assert_eq!(draining, [true, false]);
    assert!(store.set_draining("one", false).await.unwrap());
    assert_eq!(announce(&store, record("one", 1), false, 2).await, THERE);
}

pub(crate) async fn a_start_ends_the_drain_of_its_name(store: Tested) {
    announce(&store, record("one", 1), true, 0).await;
    store.set_draining("one", true).await.unwrap();

    assert_eq!(announce(&store, record("one", 2), true, 1).await, THERE);

    assert!(!store.hosts().await.unwrap()[0].draining);
}

pub(crate) async fn hosts_that_stopped_announcing_themselves_are_deleted(store: Tested) {
    announce(&store, record("old", 1), true, 0).await;
    announce(&store, record("young", 1), true, 10).await;

    assert_eq!(store.forget_hosts(at(0)).await.unwrap(), 0);
    assert_eq!(store.forget_hosts(at(10)).await.unwrap(), 1);

    assert_eq!(names(&store).await, ["young"]);
    // A host that slept for so long, and whose name is still free, is recorded again.
    assert_eq!(announce(&store, record("old", 1), false, 20).await, THERE);
    assert_eq!(names(&store).await, ["old", "young"]);
}
