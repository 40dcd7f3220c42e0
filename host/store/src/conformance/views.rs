//! Tests views over several runs.

use super::*;
use crate::views::{Child, ChildKind, RunTimes, Window};
use sexton_domain::run::RunState;

async fn window(store: &Tested, text: &str, since: i64, limit: usize) -> Window {
    store.window(task(text), at(since), limit).await.unwrap()
}

fn ids(window: &Window) -> Vec<RunId> {
    window.runs.iter().map(|run| run.run).collect()
}

pub(crate) async fn a_window_has_the_runs_of_a_task_that_were_made_since_an_instant(store: Tested) {
    let made = async |text, seconds| store.enqueue(vec![new(text)], at(seconds)).await.unwrap()[0].run();
    let old = made("a", 1).await;
    let [first, second] = [made("a", 10).await, made("a", 20).await];
    made("b", 20).await;
    // A run that was made before the window and ends within it is not of the window.
    let claims = claim(&store, &[("a", 9)], 2, 25).await.claims;
    for (claim, seconds) in claims.iter().zip([30, 40]) {
        let mut end = success(claim.key);
        end.report.ended_at = at(seconds);
        store.finish(end.into()).await.unwrap();
    }
    assert_eq!(claims[0].key.run, old);

    let window = window(&store, "a", 10, 100).await;

    assert_eq!((ids(&window), window.cut), (vec![second, first], false));
    let times = RunTimes {
        run: first,
        state: RunState::Succeeded,
        cause: Cause::Demand,
        due_at: at(0),
        created_at: at(10),
        started_at: Some(at(25)),
        claimed_at: Some(at(25)),
        ended_at: Some(at(40)),
        outcome: Some(Outcome::Succeeded),
        message: None,
        skipped: false,
        belated: false,
    };
    assert_eq!(window.runs[1], times);
    let waits = &window.runs[0];
    assert_eq!((waits.state, waits.started_at, waits.ended_at), (RunState::Waiting, None, None));
    assert_eq!(self::window(&store, "unknown", 0, 100).await, Window::default());
}

pub(crate) async fn a_window_of_more_runs_than_its_limit_has_the_newest(store: Tested) {
    let runs = enqueue(&store, vec![new("a"); 5]).await;

    let (all, some) = (window(&store, "a", 0, 5).await, window(&store, "a", 0, 3).await);

    assert_eq!((all.cut, all.runs.len()), (false, 5));
    assert_eq!((ids(&some), some.cut), (vec![runs[4], runs[3], runs[2]], true));
}

pub(crate) async fn a_run_that_was_tried_again_started_with_its_first_attempt(store: Tested) {
    enqueue(&store, vec![new("a")]).await;
    let first = claim(&store, &[("a", 1)], 1, 5).await.claims[0].key;
    let mut end = retry(first, 60);
    end.report.started_at = at(5);
    store.finish(end.into()).await.unwrap();
    let second = claim(&store, &[("a", 1)], 1, 60).await.claims[0].key;
    let running = window(&store, "a", 0, 9).await;
    store.finish(failure(second).into()).await.unwrap();

    let over = window(&store, "a", 0, 9).await;

    for window in [running, over] {
        assert_eq!((window.runs[0].started_at, window.runs[0].claimed_at), (Some(at(5)), Some(at(60))));
    }
}

pub(crate) async fn a_window_tells_skipped_failed_and_belated_runs(store: Tested) {
    let failing = running(&store, "a").await;
    let mut end = failure(failing.key);
    end.report.message = Some("x".repeat(5000));
    store.finish(end.into()).await.unwrap();
    running(&store, "a").await;
    let skipped = NewRun { admit: Admit::Below(1), ..new("a") };
    let killed = enqueue(&store, vec![skipped, new("a")]).await[1];
    store.cancel(killed, "no more", at(1)).await.unwrap();
    let (parent, at_once) = (Some(failing.key.run), Some(1));
    enqueue(&store, vec![NewRun { parent, ..new("a") }, NewRun { at_once, ..new("a") }]).await;
    enqueue(&store, vec![NewRun { parent, cause: Cause::Task, ..new("a") }]).await;

    let runs = window(&store, "a", 0, 9).await.runs;

    let [enqueued, backfilled, rerun, killed, skipped, _, failed] = &runs[..] else { panic!("{runs:?}") };
    assert_eq!(
        [skipped, killed].map(|run| (run.state, run.skipped)),
        [true, false].map(|is| (RunState::Cancelled, is))
    );
    assert_eq!([rerun, backfilled, enqueued].map(|run| run.belated), [true, true, false]);
    assert_eq!(failed.message.as_deref(), Some("x".repeat(200).as_str()));
    assert_eq!(failed.outcome, Some(Outcome::FailedPermanent));
}

pub(crate) async fn children_are_listed_with_how_they_came_of_their_parent(store: Tested) {
    let parent = running(&store, "a").await.key;
    let of = |text, cause, dedup: &str| NewRun {
        parent: Some(parent.run),
        cause,
        dedup: Some(dedup.to_owned()),
        ..new(text)
    };
    let made = enqueue(
        &store,
        vec![
            of("b", Cause::Task, "task:a:x"),
            of("a", Cause::Task, "continue:1:1"),
            new("b"),
            of("a", Cause::Demand, "key:again"),
        ],
    )
    .await;
    store.cancel(made[0], "no", at(2)).await.unwrap();

    let children = store.children(parent.run, 9).await.unwrap();

    let child =
        |place: usize, text, state, kind| Child { run: made[place], task: task(text), state, kind, created_at: at(0) };
    let expected = [
        child(0, "b", RunState::Cancelled, ChildKind::Enqueued),
        child(1, "a", RunState::Waiting, ChildKind::Continuation),
        child(3, "a", RunState::Waiting, ChildKind::Rerun),
    ];
    assert_eq!(children, expected);
    assert_eq!(store.children(parent.run, 2).await.unwrap(), expected[..2]);
    assert_eq!(store.children(made[2], 9).await.unwrap(), []);
}
