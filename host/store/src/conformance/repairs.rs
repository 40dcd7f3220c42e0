//! Tests the repair of instants that a wrong clock has left.

use super::*;
use crate::added::{AddSchedule, Added, Reset, ScheduleInfo, ScheduleKey};
use crate::repairs::Repaired;
use crate::{CacheKey, CacheWrite, WriteIf};
use sexton_domain::pause::PauseTarget;
use sexton_domain::schedule::IMPLAUSIBLE;
use sexton_domain::schedule::routes::Target;

/// Returns the instant `seconds` after the one that the wrong clock shows, ten years ahead.
fn ahead(seconds: i64) -> Timestamp {
    at(10 * 365 * 86_400 + seconds)
}

fn due_ahead(text: &str, seconds: i64) -> NewRun {
    NewRun::of(task(text), ahead(seconds), Cause::Demand)
}

pub(crate) async fn runs_and_cursors_of_a_wrong_clock_continue_from_now(store: Tested) {
    let waiting = store.enqueue(vec![due_ahead("a", 60)], ahead(0)).await.unwrap()[0].run();
    store.enqueue(vec![due_ahead("b", 0)], ahead(0)).await.unwrap();
    let tried =
        store.claim(ClaimRequest { now: ahead(0), ..request(&[("b", 1)], 1, 0) }).await.unwrap().claims.remove(0);
    let wait = Transition::Wait { run_at: ahead(3600), failed: true };
    store.finish(ending(tried.key, Outcome::FailedTransient, wait).into()).await.unwrap();
    store.fire(fire("a", vec![], ahead(7), ahead(7))).await.unwrap();
    let before = store.task_states().await.unwrap()[&task("a")].cursor;

    let repaired = store.repair_instants(at(100)).await.unwrap();

    assert_eq!(before, Some(ahead(7)));
    assert_eq!(store.task_states().await.unwrap()[&task("a")].cursor, Some(at(100)));
    assert_eq!(store.run(waiting).await.unwrap().unwrap().run_at, at(160), "it keeps its delay");
    assert_eq!(store.run(tried.key.run).await.unwrap().unwrap().run_at, at(100), "it is tried again");
    assert_eq!((repaired.tasks, repaired.runs), (1, 2));
    let tasks = [("a", 9), ("b", 9)];
    assert_eq!(store.claim(request(&tasks, 9, 101)).await.unwrap().claims.len(), 1);
    assert_eq!(store.claim(request(&tasks, 9, 161)).await.unwrap().claims.len(), 1);
    assert_eq!(store.repair_instants(at(200)).await.unwrap(), Repaired::default());
}

pub(crate) async fn instants_that_a_correct_clock_put_far_ahead_stay(store: Tested) {
    let run = enqueue(&store, vec![due_ahead("a", 0)]).await[0];
    store.fire(fire("a", vec![], at(0).plus(IMPLAUSIBLE), at(0))).await.unwrap();

    let repaired = store.repair_instants(at(0)).await.unwrap();

    assert_eq!(repaired, Repaired::default());
    assert_eq!(store.run(run).await.unwrap().unwrap().run_at, ahead(0));
    assert_eq!(store.task_states().await.unwrap()[&task("a")].cursor, Some(at(0).plus(IMPLAUSIBLE)));
}

pub(crate) async fn a_claim_by_a_wrong_clock_expires_after_the_longest_lease(store: Tested) {
    store.enqueue(vec![due_ahead("a", 0)], ahead(0)).await.unwrap();
    store.claim(ClaimRequest { now: ahead(0), ..request(&[("a", 1)], 1, 0) }).await.unwrap();

    store.repair_instants(at(0)).await.unwrap();

    assert_eq!(store.expired(at(3599), 9).await.unwrap().len(), 0);
    assert_eq!(store.expired(at(3601), 9).await.unwrap().len(), 1);
}

fn key(text: &str) -> ScheduleKey {
    ScheduleKey { tenant: Name::default_tenant(), key: name(text) }
}

/// Adds a schedule of task `of` by a clock that shows `now`.
async fn add(store: &Tested, text: &str, of: &str, now: Timestamp) -> ScheduleInfo {
    add_to(store, key(text), of, now).await
}

async fn add_to(store: &Tested, key: ScheduleKey, of: &str, now: Timestamp) -> ScheduleInfo {
    let new = AddSchedule {
        key,
        target: Target::Task(name(of)),
        definition: r#"{"every_ms":1000}"#.into(),
        data: None,
        cursor: now,
        replace: false,
        version: None,
        guest: None,
        now,
    };
    match store.add_schedule(new).await.unwrap() {
        Added::New(info) => info,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn entries_and_added_schedules_of_a_wrong_clock_continue_from_now(store: Tested) {
    let tenant = Name::default_tenant();
    let key = CacheKey { tenant: tenant.clone(), key: "k".into() };
    let write = CacheWrite {
        key: key.clone(),
        value: b"v".to_vec(),
        expires_at: Some(ahead(60)),
        claim: None,
        only: WriteIf::Always,
        keep: None,
        quota: 1 << 20,
        budget: None,
        now: ahead(0),
    };
    store.cache_write(write).await.unwrap();
    add(&store, "s", "a", ahead(0)).await;

    let repaired = store.repair_instants(at(0)).await.unwrap();

    assert_eq!((repaired.schedules, repaired.entries), (1, 1));
    assert!(store.cache_get(key.clone(), at(59)).await.unwrap().is_some());
    assert!(store.cache_get(key, at(60)).await.unwrap().is_none());
    assert_eq!(store.load_schedules(0, 9).await.unwrap()[0].progress.cursor, at(0));
}

pub(crate) async fn resuming_a_task_brings_back_a_cursor_that_is_ahead(store: Tested) {
    store.fire(fire("a", vec![], at(3600), at(3600))).await.unwrap();

    store.set_paused(task("a"), false, at(10)).await.unwrap();

    assert_eq!(store.task_states().await.unwrap()[&task("a")].cursor, Some(at(10)));
}

pub(crate) async fn resuming_a_task_brings_back_its_added_schedules(store: Tested) {
    for (key, of) in [("first", "a"), ("second", "a"), ("other", "b")] {
        add(&store, key, of, at(3600)).await;
    }
    let due = add(&store, "due", "a", at(5)).await;
    let loaded = store.load_schedules(0, 9).await.unwrap().last().unwrap().version;

    store.set_paused(task("a"), false, at(10)).await.unwrap();

    let moved = store.load_schedules(loaded, 9).await.unwrap();
    assert_eq!(moved.iter().map(|moved| moved.progress.cursor).collect::<Vec<_>>(), [at(10), at(10)]);
    assert!(moved[0].version < moved[1].version, "hosts load them in pages by version");
    for (text, cursor) in [("first", at(10)), ("second", at(10)), ("other", at(3600))] {
        assert_eq!(store.schedule(key(text)).await.unwrap().unwrap().cursor, cursor, "{text}");
    }
    assert_eq!(store.schedule(key("due")).await.unwrap(), Some(due), "what is due is not lost");
    let next = add(&store, "next", "a", at(10)).await;
    assert!(next.version > moved[1].version);
}

/// Makes a task and an added schedule of tenant `crowd`, and the same of the default tenant, an hour ahead. The last
/// schedule is not ahead.
async fn two_tenants_ahead(store: &Tested) -> [ScheduleKey; 3] {
    let theirs = ScheduleKey { tenant: name("crowd"), key: name("theirs") };
    let mut fired = fire("a", vec![], at(3600), at(3600));
    store.fire(fired.clone()).await.unwrap();
    fired.task.tenant = name("crowd");
    store.fire(fired).await.unwrap();
    add(store, "ours", "a", at(3600)).await;
    add_to(store, theirs.clone(), "a", at(3600)).await;
    add(store, "due", "a", at(5)).await;
    [key("ours"), theirs, key("due")]
}

/// Returns the cursors of the two tasks and of the three schedules of [`two_tenants_ahead`].
async fn cursors(store: &Tested, schedules: &[ScheduleKey; 3]) -> [Timestamp; 5] {
    let states = store.task_states().await.unwrap();
    let mut theirs = task("a");
    theirs.tenant = name("crowd");
    let mut cursors = vec![states[&task("a")].cursor.unwrap(), states[&theirs].cursor.unwrap()];
    for key in schedules {
        cursors.push(store.schedule(key.clone()).await.unwrap().unwrap().cursor);
    }
    cursors.try_into().unwrap()
}

pub(crate) async fn resuming_many_tasks_brings_back_cursors_and_added_schedules_that_are_ahead(store: Tested) {
    let schedules = two_tenants_ahead(&store).await;
    let loaded = store.load_schedules(0, 9).await.unwrap().last().unwrap().version;
    let hint = store.schedules_hint();

    let told = hint.notified();
    store.resume(PauseTarget::Tenant(name("crowd")), at(10)).await.unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(10), told).await.expect("hosts load them again");
    assert_eq!(cursors(&store, &schedules).await, [at(3600), at(10), at(3600), at(10), at(5)]);
    assert_eq!(store.load_schedules(loaded, 9).await.unwrap().len(), 1);

    store.resume(PauseTarget::All, at(11)).await.unwrap();
    assert_eq!(cursors(&store, &schedules).await, [at(11), at(10), at(11), at(10), at(5)]);
    assert_eq!(store.load_schedules(loaded, 9).await.unwrap().len(), 2);

    store.resume(PauseTarget::All, at(12)).await.unwrap();
    assert_eq!(cursors(&store, &schedules).await, [at(11), at(10), at(11), at(10), at(5)], "what is due is not lost");
}

pub(crate) async fn resuming_many_tasks_that_are_paused_brings_back_added_schedules(store: Tested) {
    let schedules = two_tenants_ahead(&store).await;
    for (target, expected) in [
        (PauseTarget::Tenant(name("crowd")), [at(3600), at(10), at(3600), at(10), at(5)]),
        (PauseTarget::All, [at(10), at(10), at(10), at(10), at(5)]),
    ] {
        store.pause(target.clone(), None, at(9)).await.unwrap();
        store.resume(target, at(10)).await.unwrap();
        assert_eq!(cursors(&store, &schedules).await, expected);
    }
}

pub(crate) async fn a_reset_schedule_continues_from_now_if_it_was_ahead(store: Tested) {
    let ahead = add(&store, "ahead", "a", at(3600)).await;
    let due = add(&store, "due", "a", at(5)).await;

    let moved = store.reset_schedule(key("ahead"), at(10)).await.unwrap();
    let left = store.reset_schedule(key("due"), at(10)).await.unwrap();

    let Reset::Moved(moved) = moved else { panic!("{moved:?}") };
    assert_eq!((moved.cursor, moved.created_at), (at(10), ahead.created_at));
    assert!(moved.version > due.version, "every host loads it again");
    assert_eq!(store.schedule(key("ahead")).await.unwrap(), Some(moved.clone()));
    assert_eq!(store.load_schedules(due.version, 9).await.unwrap().len(), 1);
    assert_eq!(left, Reset::Unchanged(due));
    assert_eq!(store.reset_schedule(key("ahead"), at(11)).await.unwrap(), Reset::Unchanged(moved));
}

pub(crate) async fn a_schedule_that_goes_on_from_now_does_not_wait_for_runs_of_the_clock_that_was_ahead(store: Tested) {
    let day = 86_400;
    // A day is plausible, so only people bring that back.
    let made_ahead = async |text: &str, by: Option<&str>| {
        let key = by.map(name);
        let new = NewRun { schedule: key, ..NewRun::of(task(text), at(day), Cause::Schedule) };
        store.enqueue(vec![new], at(day)).await.unwrap()[0].run()
    };
    add(&store, "one", "a", at(day)).await;
    add(&store, "two", "a", at(day)).await;
    let [one, two] = [made_ahead("a", Some("one")).await, made_ahead("a", Some("two")).await];
    let of_task = made_ahead("b", None).await;
    store.fire(fire("b", vec![], at(day), at(day))).await.unwrap();
    let tried =
        store.claim(ClaimRequest { now: at(day), ..request(&[("b", 1)], 1, 0) }).await.unwrap().claims.remove(0);
    let wait = Transition::Wait { run_at: at(day), failed: false };
    store.finish(ending(tried.key, Outcome::Lost, wait).into()).await.unwrap();
    let asked_for = enqueue(&store, vec![NewRun::of(task("a"), at(day), Cause::Demand)]).await[0];
    let starts_at = async |run| store.run(run).await.unwrap().unwrap().run_at;

    assert!(matches!(store.reset_schedule(key("one"), at(100)).await.unwrap(), Reset::Moved(_)));
    assert_eq!([starts_at(one).await, starts_at(two).await], [at(100), at(day)]);
    assert_eq!(store.claim(request(&[("a", 9)], 9, 100)).await.unwrap().claims.len(), 1);

    store.resume(PauseTarget::Task(task("a")), at(200)).await.unwrap();
    assert_eq!([starts_at(two).await, starts_at(of_task).await], [at(200), at(day)]);
    assert_eq!(starts_at(asked_for).await, at(day), "a correct clock made that run");

    store.resume(PauseTarget::All, at(300)).await.unwrap();
    assert_eq!((starts_at(of_task).await, tried.key.run), (at(300), of_task));
    assert_eq!(store.claim(request(&[("a", 9), ("b", 9)], 9, 300)).await.unwrap().claims.len(), 2);
}
