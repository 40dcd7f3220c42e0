//! Tests which schedules tasks may add, list and delete, on a real store.

use std::time::Duration;

use super::*;
use crate::ops::tests::{Rig, caller};
use crate::testkit::{claim_request, grants, name};
use sexton_domain::run::Cause;
use sexton_domain::schedule::request::Request;
use sexton_domain::time::Timestamp;
use sexton_store::{ClaimRequest, NewRun};

/// Returns a caller whose run is under way, which may use these tasks.
async fn running(rig: &Rig, patterns: &[&str]) -> Caller {
    let now = rig.ops.clock.now();
    let by = caller("caller", 1, grants(patterns));
    rig.ops.store.enqueue(vec![NewRun::of(by.task.key.clone(), now, Cause::Demand)], now).await.unwrap();
    let request = ClaimRequest { limit: 1, ..claim_request([(by.task.key.clone(), 1000)], now) };
    let claim = rig.ops.store.claim(request).await.unwrap().claims[0].key;
    Caller { claim, ..by }
}

fn every(key: &str, task: &str, interval: &str) -> ScheduleRequest {
    ScheduleRequest {
        key: key.to_owned(),
        task: task.to_owned(),
        request: Request { every: Some(interval.to_owned()), ..Request::default() },
        data: Some(b"input".to_vec()),
        replace: false,
        asked_before: 0,
    }
}

async fn add(rig: &Rig, by: &Caller, asked: ScheduleRequest) -> Result<bool, ScheduleRefused> {
    rig.ops.request_schedule(by, asked).await
}

async fn keys(rig: &Rig, by: &Caller) -> Vec<String> {
    rig.ops.requested_schedules(by).await.unwrap().iter().map(|info| info.key.key.to_string()).collect()
}

fn key(text: &str) -> ScheduleKey {
    ScheduleKey { tenant: Name::default_tenant(), key: name(text) }
}

#[tokio::test]
async fn a_schedule_is_added_once_replaced_listed_and_deleted() {
    let rig = Rig::with(&["other"]);
    let by = running(&rig, &["*"]).await;

    assert!(add(&rig, &by, every("k", "other", "1m")).await.unwrap());
    assert!(!add(&rig, &by, every("k", "other", "1m")).await.unwrap());
    let taken = add(&rig, &by, every("k", "other", "1s")).await;
    assert!(matches!(taken, Err(ScheduleRefused::Taken)), "{taken:?}");
    assert!(add(&rig, &by, ScheduleRequest { replace: true, ..every("k", "other", "1s") }).await.unwrap());

    let info = rig.ops.store.schedule(key("k")).await.unwrap().unwrap();
    assert_eq!((info.definition.as_str(), info.data_bytes), (r#"{"every_ms":1000}"#, Some(5)));
    assert_eq!(info.added_by, Some(name("caller")));
    assert_eq!(keys(&rig, &by).await, ["k"]);
    assert!(rig.ops.delete_requested(&by, "k").await.unwrap());
    assert!(!rig.ops.delete_requested(&by, "k").await.unwrap());
    assert!(keys(&rig, &by).await.is_empty());
}

#[tokio::test]
async fn a_guest_changes_no_schedule_of_a_person_or_of_a_task_that_it_is_not_granted() {
    let rig = Rig::with(&["other", "secret"]);
    let (all, by) = (running(&rig, &["*"]).await, running(&rig, &["other"]).await);
    let now = rig.ops.clock.now();
    let persons = AddSchedule {
        key: key("persons"),
        target: Target::Task(name("other")),
        definition: r#"{"every_ms":5000}"#.to_owned(),
        data: None,
        cursor: now,
        replace: false,
        version: None,
        guest: None,
        now,
    };
    rig.ops.store.add_schedule(persons).await.unwrap();
    assert!(add(&rig, &all, every("secrets", "secret", "1s")).await.unwrap());

    let denied = add(&rig, &by, every("k", "secret", "1s")).await;
    assert!(matches!(&denied, Err(ScheduleRefused::NotGranted(task)) if task == "secret"), "{denied:?}");
    let absent = add(&rig, &all, every("k", "nothing", "1s")).await;
    assert!(matches!(absent, Err(ScheduleRefused::NoTask)), "{absent:?}");
    for taken in ["persons", "secrets"] {
        let refused = add(&rig, &by, ScheduleRequest { replace: true, ..every(taken, "other", "1s") }).await;
        assert!(matches!(refused, Err(ScheduleRefused::Taken)), "{taken}: {refused:?}");
    }
    assert!(!rig.ops.delete_requested(&by, "persons").await.unwrap());
    let kept = rig.ops.delete_requested(&by, "secrets").await;
    assert!(matches!(kept, Err(ScheduleRefused::NotGranted(_))), "{kept:?}");

    assert!(keys(&rig, &by).await.is_empty());
    assert_eq!(keys(&rig, &all).await, ["secrets"]);
    assert!(rig.ops.store.schedule(key("persons")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_schedule_of_a_guest_is_read_as_people_s_are_and_the_field_that_is_wrong_is_named() {
    let rig = Rig::with(&["other"]);
    let by = running(&rig, &["*"]).await;
    let now = rig.ops.clock.now();
    let hourly = Request { every: Some("1h".to_owned()), ..Request::default() };
    let at = |at: Timestamp| Some(at.to_string());
    let cron = Request { cron: Some("61 * * * *".to_owned()), ..Request::default() };
    let asked = |key: &str, request: &Request| ScheduleRequest { request: request.clone(), ..every(key, "other", "") };

    for (key, wrong, field) in [
        ("a key", hourly.clone(), "`key`"),
        ("k", Request { every: Some("1ms".to_owned()), ..Request::default() }, "`every`"),
        ("k", cron, "`cron`"),
        ("k", Request { zone: Some("Berlin".to_owned()), ..hourly.clone() }, "Europe/Berlin"),
        ("k", Request { first: at(now.minus(Duration::from_secs(5))), ..hourly.clone() }, "in the past"),
        ("k", Request { times: Some(0), ..hourly.clone() }, "`times`"),
        ("k", Request { delay: Some(format!("{}ms", u64::MAX)), ..hourly.clone() }, "`delay`"),
    ] {
        match add(&rig, &by, asked(key, &wrong)).await {
            Err(ScheduleRefused::Bad(why)) => assert!(why.contains(field), "{field}: {why}"),
            other => panic!("{field}: {other:?}"),
        }
    }
    let first = Request { first: at(now.plus(Duration::from_secs(1))), ..hourly };
    assert!(add(&rig, &by, asked("k", &first)).await.unwrap());
    rig.advance(Duration::from_secs(60));
    assert!(!add(&rig, &by, asked("k", &first)).await.unwrap(), "a later attempt finds what it has added");
}

#[tokio::test]
async fn an_input_and_the_schedules_of_an_attempt_are_bounded() {
    let rig = Rig::with(&["other"]);
    let by = running(&rig, &["*"]).await;

    let large = ScheduleRequest { data: Some(vec![0; LARGEST_VALUE + 1]), ..every("large", "other", "1m") };
    assert!(matches!(add(&rig, &by, large).await, Err(ScheduleRefused::TooLarge)));
    for (asked_before, is_added) in [(MOST_ADDED - 1, true), (MOST_ADDED, false)] {
        let added = add(&rig, &by, ScheduleRequest { asked_before, ..every("k", "other", "1m") }).await;
        assert_eq!(added.is_ok(), is_added, "{added:?}");
    }
}

#[tokio::test]
async fn a_schedule_of_a_guest_is_due_once_a_second_at_most() {
    let rig = Rig::with(&["other"]);
    let by = running(&rig, &["*"]).await;

    match add(&rig, &by, every("k", "other", "999ms")).await {
        Err(ScheduleRefused::Bad(why)) => assert_eq!(why, "`every` is 1s or more in a schedule that a task adds"),
        other => panic!("{other:?}"),
    }
    assert!(add(&rig, &by, every("k", "other", "1s")).await.unwrap());
}

#[tokio::test]
async fn a_schedule_whose_task_is_gone_is_deleted_by_tasks_that_were_granted_it() {
    let rig = Rig::with(&["other"]);
    let (by, stranger) = (running(&rig, &["*"]).await, running(&rig, &["else"]).await);
    assert!(add(&rig, &by, every("k", "other", "1m")).await.unwrap());
    rig.ops.catalog.replace(std::collections::BTreeMap::new());

    let kept = rig.ops.delete_requested(&stranger, "k").await;
    assert!(matches!(&kept, Err(ScheduleRefused::NotGranted(task)) if task == "other"), "{kept:?}");
    assert!(rig.ops.delete_requested(&by, "k").await.unwrap());
}

#[tokio::test]
async fn a_repeated_attempt_finds_what_it_has_added_even_if_that_has_ended() {
    let rig = Rig::with(&["other"]);
    let by = running(&rig, &["*"]).await;
    let in_seconds = |seconds| Some(rig.ops.clock.now().plus(Duration::from_secs(seconds)).to_string());
    let hourly = Request { every: Some("1s".to_owned()), ..Request::default() };
    let ends = ScheduleRequest { request: Request { end: in_seconds(5), ..hourly }, ..every("k", "other", "") };
    assert!(add(&rig, &by, ends.clone()).await.unwrap());
    rig.advance(Duration::from_secs(60));

    assert!(!add(&rig, &by, ends.clone()).await.unwrap());
    assert!(!add(&rig, &by, ScheduleRequest { replace: true, ..ends.clone() }).await.unwrap());
    for other in [ScheduleRequest { data: None, ..ends.clone() }, ScheduleRequest { key: "new".to_owned(), ..ends }] {
        let over = add(&rig, &by, other).await;
        assert!(matches!(&over, Err(ScheduleRefused::Bad(why)) if why.contains("never due")), "{over:?}");
    }
}
