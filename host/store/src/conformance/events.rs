//! Tests events: which changes are told, in which order they are read, and how long they are kept.

use super::*;
use crate::Cancelled;
use crate::added::{AddSchedule, ScheduleKey};
use crate::events::{Event, EventFilter, EventPage, EventRetention};
use crate::hosts::{Announcement, HostRecord};
use crate::published::{PluginKey, Publish};
use sexton_domain::pause::PauseTarget;
use sexton_domain::run::RunState;
use sexton_domain::schedule::routes::Target;

/// Records from now on.
fn recording(store: Tested) -> Tested {
    store.record_events(true);
    store
}

async fn page(store: &Tested, after: u64) -> EventPage {
    store.events(after, EventFilter::default(), 1000).await.unwrap()
}

async fn all(store: &Tested) -> Vec<Event> {
    page(store, 0).await.events
}

/// Returns the kinds of all events, in their order.
async fn kinds(store: &Tested) -> Vec<&'static str> {
    all(store).await.iter().map(|event| event.kind.as_str()).collect()
}

pub(crate) async fn a_store_records_events_only_after_it_was_told_to(store: Tested) {
    enqueue(&store, vec![new("a")]).await;
    assert!(!store.records_events() && all(&store).await.is_empty());
    assert_eq!(store.newest_event().await.unwrap(), 0);

    store.record_events(true);
    enqueue(&store, vec![new("a")]).await;
    store.record_events(false);
    enqueue(&store, vec![new("a")]).await;

    assert_eq!(kinds(&store).await, ["run.queued"]);
}

pub(crate) async fn the_life_of_a_run_is_told_in_its_order(store: Tested) {
    let store = recording(store);
    let first = running(&store, "a").await.key;
    store.finish(retry(first, 5).into()).await.unwrap();
    let second = claim(&store, &[("a", 1)], 1, 6).await.claims[0].key;
    store.finish(failure(second).into()).await.unwrap();

    let told = all(&store).await;

    assert!(told.windows(2).all(|two| two[0].id < two[1].id), "{told:?}");
    let seen: Vec<_> =
        told.iter().map(|event| (event.kind.as_str(), event.attempt, event.state.unwrap(), event.outcome)).collect();
    let expected = [
        ("run.queued", None, RunState::Waiting, None),
        ("run.started", Some(1), RunState::Running, None),
        ("run.waiting", Some(1), RunState::Waiting, Some(Outcome::FailedTransient)),
        ("run.started", Some(2), RunState::Running, None),
        ("run.finished", Some(2), RunState::Failed, Some(Outcome::FailedPermanent)),
    ];
    assert_eq!(seen, expected);
    for event in &told {
        assert_eq!(
            (event.run, event.task.clone(), event.tenant.clone()),
            (Some(first.run), Some(name("a")), Some(Name::default_tenant()))
        );
    }
    assert_eq!(told[1].host.as_deref(), Some("one"));
    assert_eq!((told[0].at, told[3].at), (at(0), at(6)));
}

pub(crate) async fn an_end_that_is_refused_tells_nothing(store: Tested) {
    let store = recording(store);
    let key = running(&store, "a").await.key;

    assert_lost(store.finish(success(stale(key)).into()).await, stale(key));

    assert_eq!(kinds(&store).await, ["run.queued", "run.started"]);
}

pub(crate) async fn runs_that_never_start_are_told(store: Tested) {
    let store = recording(store);
    let waiting = enqueue(&store, vec![NewRun { start_by: Some(at(3)), ..new("a") }, new("b")]).await;
    enqueue(&store, vec![NewRun { admit: Admit::Below(1), ..new("b") }]).await;
    enqueue(&store, vec![NewRun { admit: Admit::Replacing, ..new("b") }]).await;
    store.cancel_late(at(4)).await.unwrap();
    let last = enqueue(&store, vec![new("a")]).await[0];
    assert_eq!(store.cancel(last, "no", at(5)).await.unwrap(), Cancelled::Done);

    let told = all(&store).await;

    let cancelled: Vec<_> =
        told.iter().filter(|event| event.kind.as_str() == "run.cancelled").map(|event| event.run.unwrap()).collect();
    assert_eq!(cancelled, [waiting[1], waiting[0], last]);
    let skipped = told.iter().find(|event| event.kind.as_str() == "run.skipped").unwrap();
    assert_eq!((skipped.state, skipped.outcome), (Some(RunState::Cancelled), Some(Outcome::Skipped)));
    assert_eq!(told.iter().filter(|event| event.kind.as_str() == "run.queued").count(), 4);
}

pub(crate) async fn pauses_are_told_once(store: Tested) {
    let store = recording(store);
    for target in [PauseTarget::Task(task("a")), PauseTarget::Tenant(name("crowd")), PauseTarget::All] {
        for _ in 0..2 {
            store.pause(target.clone(), None, at(1)).await.unwrap();
        }
        for _ in 0..2 {
            store.resume(target.clone(), at(2)).await.unwrap();
        }
    }

    let told = all(&store).await;

    let seen: Vec<_> = told
        .iter()
        .map(|event| {
            (event.kind.as_str(), event.tenant.as_ref().map(Name::as_str), event.task.as_ref().map(Name::as_str))
        })
        .collect();
    let both = |tenant, task| [("task.paused", tenant, task), ("task.resumed", tenant, task)];
    let expected = [both(Some("default"), Some("a")), both(Some("crowd"), None), both(None, None)].concat();
    assert_eq!(seen, expected);
}

pub(crate) async fn a_pause_by_failures_is_told_after_the_run_that_caused_it(store: Tested) {
    let store = recording(store);
    let key = running(&store, "a").await.key;
    let supervision = Supervision { pause_after: Some(1), ..Supervision::default() };

    store.finish(Finish { supervision, ..failure(key) }.into()).await.unwrap();

    assert_eq!(kinds(&store).await[2..], ["run.finished", "task.paused"]);
}

pub(crate) async fn added_schedules_are_told(store: Tested) {
    let store = recording(store);
    let key = ScheduleKey { tenant: Name::default_tenant(), key: name("k") };
    let new = AddSchedule {
        key: key.clone(),
        target: Target::Task(name("a")),
        definition: r#"{"every_ms":60000}"#.into(),
        data: None,
        cursor: at(0),
        replace: true,
        version: None,
        guest: None,
        now: at(0),
    };
    store.add_schedule(new.clone()).await.unwrap();
    store.add_schedule(AddSchedule { definition: r#"{"every_ms":1000}"#.into(), ..new }).await.unwrap();
    store.delete_schedule(key, None, None, at(1)).await.unwrap();

    assert_eq!(kinds(&store).await, ["schedule.added", "schedule.changed", "schedule.deleted"]);
    assert!(all(&store).await.iter().all(|event| event.name == Some(name("k"))));
}

pub(crate) async fn published_plugins_and_hosts_are_told(store: Tested) {
    let store = recording(store);
    let host = HostRecord {
        name: "one".into(),
        instance: 1,
        version: "0.1.0".into(),
        address: String::new(),
        labels: Vec::new(),
        slots: 1,
        attempts: 0,
        plugins: 0,
        started_at: at(0),
    };
    let announcement = Announcement { host, takes_over: true, alive_until: at(30), now: at(0) };
    store.announce(announcement.clone()).await.unwrap();
    store.announce(Announcement { takes_over: false, ..announcement.clone() }).await.unwrap();
    let key = PluginKey { tenant: Name::default_tenant(), plugin: name("p") };
    let plugin = Publish {
        key: key.clone(),
        manifest: String::new(),
        digest: "d".into(),
        component: Arc::new(vec![1]),
        host: "one".into(),
        now: at(1),
    };
    let version = store.publish(plugin).await.unwrap();
    assert!(store.withdraw(key, version, at(2)).await.unwrap());
    store.announce(Announcement { takes_over: false, alive_until: at(3), now: at(3), ..announcement }).await.unwrap();

    assert_eq!(kinds(&store).await, ["host.joined", "plugin.published", "plugin.withdrawn", "host.left"]);
}

pub(crate) async fn reading_on_after_any_event_misses_and_repeats_none(store: Tested) {
    let store = recording(store);
    for _ in 0..3 {
        enqueue(&store, vec![new("a"), new("b"), new("a")]).await;
    }
    let told = all(&store).await;
    assert_eq!(told.len(), 9);

    for (place, event) in told.iter().enumerate() {
        assert_eq!(page(&store, event.id).await.events, told[place + 1..]);
    }
    let (mut after, mut read) = (0, Vec::new());
    loop {
        let filter = EventFilter { task: Some(name("a")), ..EventFilter::default() };
        let page = store.events(after, filter, 2).await.unwrap();
        assert!(page.events.len() <= 2 && !page.lost);
        read.extend(page.events);
        after = page.until;
        if !page.more {
            break;
        }
    }
    assert_eq!(after, store.newest_event().await.unwrap());
    let of_a: Vec<Event> = told.into_iter().filter(|event| event.task == Some(name("a"))).collect();
    assert_eq!(read, of_a);
}

pub(crate) async fn a_filter_by_tenant_keeps_events_about_all_tenants(store: Tested) {
    let store = recording(store);
    let crowds = TaskKey { tenant: name("crowd"), task: name("a") };
    enqueue(&store, vec![new("a"), NewRun { task: crowds, ..new("a") }]).await;
    store.pause(PauseTarget::All, None, at(1)).await.unwrap();

    let filter = EventFilter { tenant: Some(name("crowd")), ..EventFilter::default() };
    let told = store.events(0, filter, 9).await.unwrap().events;

    let seen: Vec<_> = told.iter().map(|event| (event.kind.as_str(), event.tenant.clone())).collect();
    assert_eq!(seen, [("run.queued", Some(name("crowd"))), ("task.paused", None)]);
}

pub(crate) async fn old_events_are_pruned_and_ids_go_on(store: Tested) {
    let store = recording(store);
    for second in 0..5 {
        store.enqueue(vec![new("a"), new("a")], at(second)).await.unwrap();
    }
    let newest = store.newest_event().await.unwrap();
    let keep = |events, seconds| EventRetention { events, age: Duration::from_secs(seconds) };
    let prune = async |keep, second| while store.prune_events(keep, at(second)).await.unwrap() > 0 {};

    prune(keep(100, 100), 5).await;
    assert_eq!(all(&store).await.len(), 10);
    prune(keep(6, 100), 5).await;
    assert_eq!(all(&store).await.iter().map(|event| event.at).min(), Some(at(2)));
    prune(keep(100, 1), 5).await;
    let kept = all(&store).await;
    assert_eq!(kept.iter().map(|event| event.at).min(), Some(at(4)));

    let lost = page(&store, kept[0].id - 2).await;
    assert!(lost.lost && lost.events.is_empty() && lost.until == newest, "{lost:?}");
    assert!(!page(&store, kept[0].id - 1).await.lost && !page(&store, newest).await.lost);
    assert!(page(&store, newest + 1).await.lost, "an id that was never given out");
    prune(keep(0, 0), 9).await;
    enqueue(&store, vec![new("a")]).await;
    assert_eq!(page(&store, newest).await.events.iter().map(|event| event.id).collect::<Vec<_>>(), [newest + 1]);
}

pub(crate) async fn a_reader_that_listens_before_it_looks_misses_no_event(store: Tested) {
    let store = recording(store);
    let hint = store.events_hint();
    let told = hint.notified();
    assert!(all(&store).await.is_empty());

    enqueue(&store, vec![new("a")]).await;

    tokio::time::timeout(Duration::from_secs(10), told).await.expect("the hint did not come");
    assert_eq!(kinds(&store).await, ["run.queued"]);
}
