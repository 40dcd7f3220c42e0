//! Tests the latest start of runs, and changes of a task's schedule.

use std::time::Duration;

use super::*;
use crate::{ScheduleStart, TaskState};
use sexton_domain::run::RunState;

/// Creates a run of task `text` that may start at second 0, and must start by second `seconds`.
fn by(text: &str, seconds: i64) -> NewRun {
    NewRun { start_by: Some(at(seconds)), input: b"in".to_vec(), ..new(text) }
}

fn begun(text: &str, schedule: &str, seconds: i64) -> ScheduleStart {
    ScheduleStart { task: task(text), schedule: schedule.into(), now: at(seconds) }
}

async fn state(store: &Tested, text: &str) -> TaskState {
    store.task_states().await.unwrap().remove(&task(text)).unwrap_or_default()
}

pub(crate) async fn a_run_that_missed_its_latest_start_is_cancelled_with_a_message(store: Tested) {
    let run = enqueue(&store, vec![by("a", 3)]).await[0];

    let mut asked = request(&[("a", 9)], 9, 3);
    asked.now = at(3).plus(Duration::from_millis(1));
    assert!(store.claim(asked.clone()).await.unwrap().claims.is_empty());

    let info = store.run(run).await.unwrap().unwrap();
    assert_eq!((info.state, info.ended_at, info.attempt), (RunState::Cancelled, Some(asked.now), 0));
    let said = format!("not started by {}: its start-within of 3s was over", at(3));
    assert_eq!(info.message, Some(said));
    let counts = store.counts().await.unwrap();
    assert_eq!((counts[&RunState::Waiting], counts[&RunState::Cancelled]), (0, 1));
}

pub(crate) async fn a_run_that_started_in_time_may_be_retried_at_any_time(store: Tested) {
    enqueue(&store, vec![by("a", 3)]).await;

    let first = claim(&store, &[("a", 9)], 9, 3).await.claims.remove(0);
    store.finish(retry(first.key, 60).into()).await.unwrap();

    assert_eq!(store.cancel_late(at(100)).await.unwrap(), 0);
    assert_eq!(claim(&store, &[("a", 9)], 9, 100).await.claims.len(), 1);
}

pub(crate) async fn late_runs_are_cancelled_without_a_claim(store: Tested) {
    let runs = enqueue(&store, vec![by("a", 3), by("b", 5), by("a", 7), new("a")]).await;
    store.set_paused(task("b"), true, at(1)).await.unwrap();
    let mut changes = store.changes();

    assert_eq!(store.cancel_late(at(3)).await.unwrap(), 0);
    // Hints of the earlier writes have arrived by now, because one write comes after the other.
    changes.mark_unchanged();
    assert_eq!(store.cancel_late(at(6)).await.unwrap(), 2);
    assert_eq!(store.cancel_late(at(6)).await.unwrap(), 0);

    assert!(changes.has_changed().unwrap());
    let mut states = Vec::new();
    for run in runs {
        states.push(store.run(run).await.unwrap().unwrap().state);
    }
    assert_eq!(states, [RunState::Cancelled, RunState::Cancelled, RunState::Waiting, RunState::Waiting]);
    assert_eq!(store.cancel_late(at(100)).await.unwrap(), 1);
}

pub(crate) async fn a_claim_returns_the_instant_at_which_a_run_will_be_late(store: Tested) {
    let busy = running(&store, "a").await;
    enqueue(&store, vec![by("a", 30)]).await;

    let claimed = claim(&store, &[("a", 1)], 9, 1).await;

    assert!(claimed.claims.is_empty());
    assert!(claimed.next_run_at.is_some_and(|next| next > at(30) && next <= at(31)), "{claimed:?}");
    store.cancel(busy.key.run, "late", at(2)).await.unwrap();
}

pub(crate) async fn a_changed_schedule_starts_afresh(store: Tested) {
    let made = |run: NewRun| Fire { memory: Some("last".into()), ..fire("a", vec![run], at(10), at(10)) };
    store.begin_schedules(vec![begun("a", "every 10s", 1), begun("b", "at noon", 1)]).await.unwrap();
    store.fire(made(new("a"))).await.unwrap();
    store.record_missed(task("a"), "4 missed").await.unwrap();
    let before = state(&store, "a").await;
    let all = ("every 10s".to_owned(), "4 missed".to_owned(), "last".to_owned());
    assert_eq!(
        (before.schedule.clone(), before.left_out.clone(), before.memory.clone()),
        (Some(all.0), Some(all.1), Some(all.2))
    );
    assert_eq!((before.cursor, before.fired), (Some(at(10)), 1));

    store.begin_schedules(vec![begun("a", "every 10s", 50)]).await.unwrap();
    assert_eq!(state(&store, "a").await, before, "it is the same");
    store.set_paused(task("a"), false, at(55)).await.unwrap();
    assert_eq!(state(&store, "a").await, TaskState { left_out: None, ..before }, "to resume forgets what was left out");
    store.begin_schedules(vec![begun("a", "every 20s", 60)]).await.unwrap();

    let anew = TaskState { cursor: Some(at(60)), schedule: Some("every 20s".into()), ..TaskState::default() };
    assert_eq!(state(&store, "a").await, anew);
    assert_eq!(state(&store, "b").await, TaskState { schedule: Some("at noon".into()), ..TaskState::default() });
}

pub(crate) async fn a_schedule_that_was_not_recorded_keeps_the_tasks_state(store: Tested) {
    store.fire(fire("a", vec![new("a")], at(10), at(10))).await.unwrap();

    store.begin_schedules(vec![begun("a", "every 10s", 60)]).await.unwrap();

    let kept = TaskState { cursor: Some(at(10)), fired: 1, schedule: Some("every 10s".into()), ..TaskState::default() };
    assert_eq!(state(&store, "a").await, kept);
    // A clock that was set back moves no cursor back.
    store.begin_schedules(vec![begun("a", "every 20s", 5)]).await.unwrap();
    assert_eq!(state(&store, "a").await.cursor, Some(at(10)));
}
