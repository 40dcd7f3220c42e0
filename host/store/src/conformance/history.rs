//! Tests what the history says of runs, and how long it is kept.

use std::time::Duration;

use super::*;
use crate::{LatestRuns, Retention, RunFilter};
use sexton_domain::run::{CappedText, RunState};

const KEEP_ALL: Retention = Retention { runs: u64::MAX, age: Duration::MAX, bytes: u64::MAX };

/// Makes a run of `text` that ended in second `ended`, with an output of `bytes`.
async fn succeeded(store: &Tested, text: &str, ended: i64, bytes: usize) -> RunId {
    let claim = running(store, text).await.key;
    let mut finish =
        ending(claim, Outcome::Succeeded, Transition::Succeed(Output { content_type: None, body: vec![7; bytes] }));
    finish.report.ended_at = at(ended);
    store.finish(finish.into()).await.unwrap();
    claim.run
}

async fn failed(store: &Tested, text: &str) -> RunId {
    let claim = running(store, text).await.key;
    store.finish(failure(claim).into()).await.unwrap();
    claim.run
}

async fn prune_all(store: &Tested, retention: &Retention, seconds: i64) -> u64 {
    let mut gone = 0;
    for _ in 0..1000 {
        match store.prune(retention.clone(), at(seconds)).await.unwrap() {
            0 => return gone,
            some => gone += some,
        }
    }
    panic!("pruning does not end");
}

async fn listed(store: &Tested, filter: RunFilter) -> Vec<RunId> {
    store
        .runs(RunFilter { limit: 100.min(filter.limit), ..filter })
        .await
        .unwrap()
        .into_iter()
        .map(|run| run.id)
        .collect()
}

fn all() -> RunFilter {
    RunFilter { limit: 100, ..RunFilter::default() }
}

pub(crate) async fn runs_are_listed_newest_first(store: Tested) {
    let one = failed(&store, "a").await;
    let two = running(&store, "b").await.key.run;
    let other_tenant = TaskKey { tenant: name("other"), task: name("a") };
    let ids = enqueue(&store, vec![NewRun { task: other_tenant, ..new("a") }, new("a")]).await;
    let (three, four) = (ids[0], ids[1]);

    assert_eq!(listed(&store, all()).await, [four, three, two, one]);
    assert_eq!(listed(&store, RunFilter { limit: 2, ..all() }).await, [four, three]);
    assert_eq!(listed(&store, RunFilter { before: Some(three), ..all() }).await, [two, one]);
    assert_eq!(listed(&store, RunFilter { tenant: Some(name("default")), ..all() }).await, [four, two, one]);
    assert_eq!(listed(&store, RunFilter { task: Some(name("a")), ..all() }).await, [four, three, one]);
    let of_a = RunFilter { tenant: Some(name("default")), task: Some(name("a")), ..all() };
    assert_eq!(listed(&store, of_a.clone()).await, [four, one]);
    assert_eq!(listed(&store, RunFilter { before: Some(four), limit: 1, ..of_a.clone() }).await, [one]);
    for (state, everywhere, in_a) in [
        (RunState::Waiting, vec![four, three], vec![four]),
        (RunState::Running, vec![two], vec![]),
        (RunState::Failed, vec![one], vec![one]),
        (RunState::Cancelled, vec![], vec![]),
    ] {
        assert_eq!(listed(&store, RunFilter { state: Some(state), ..all() }).await, everywhere);
        assert_eq!(listed(&store, RunFilter { state: Some(state), ..of_a.clone() }).await, in_a);
    }
    assert_eq!(listed(&store, RunFilter { task: Some(name("none")), ..all() }).await, []);
}

pub(crate) async fn runs_of_a_tenant_are_listed_although_another_has_made_many_since(store: Tested) {
    let of =
        |tenant: &str, text: &str| NewRun { task: TaskKey { tenant: name(tenant), task: name(text) }, ..new(text) };
    let early = enqueue(&store, vec![of("acme", "a"), of("acme", "b"), of("acme", "a")]).await;
    // More than are searched before each task of the tenant is read.
    enqueue(&store, vec![of("crowd", "a"); 600]).await;
    let late = enqueue(&store, vec![of("acme", "b")]).await[0];
    store.cancel(early[1], "no", at(1)).await.unwrap();
    let page = |limit| RunFilter { tenant: Some(name("acme")), limit, ..RunFilter::default() };

    assert_eq!(listed(&store, page(1)).await, [late]);
    assert_eq!(listed(&store, page(100)).await, [late, early[2], early[1], early[0]]);
    assert_eq!(listed(&store, RunFilter { before: Some(early[2]), ..page(1) }).await, [early[1]]);
    for (state, expected) in [
        (RunState::Waiting, vec![late, early[2], early[0]]),
        (RunState::Cancelled, vec![early[1]]),
        (RunState::Running, vec![]),
    ] {
        assert_eq!(listed(&store, RunFilter { state: Some(state), ..page(100) }).await, expected, "{state:?}");
    }
    assert_eq!(listed(&store, RunFilter { begun: true, ..page(100) }).await, []);
    assert_eq!(listed(&store, RunFilter { tenant: Some(name("none")), ..page(100) }).await, []);
}

pub(crate) async fn one_call_returns_the_latest_runs_of_several_tasks(store: Tested) {
    let over = failed(&store, "a").await;
    let other_tenant = TaskKey { tenant: name("other"), task: name("a") };
    let of_other = NewRun { task: other_tenant.clone(), ..new("a") };
    let waiting = enqueue(&store, vec![new("b"), new("a"), of_other]).await;
    let finished = succeeded(&store, "c", 1, 0).await;
    succeeded(&store, "going", 1, 0).await;
    running(&store, "going").await;

    let asked = ["going", "a", "none", "c", "b"].map(task).to_vec();
    let latest = store.latest_runs(asked).await.unwrap();

    let told: Vec<_> = latest.iter().map(|(task, runs)| (task.task.as_str(), ids(runs))).collect();
    let going = store.runs(RunFilter { task: Some(name("going")), limit: 1, ..all() }).await.unwrap()[0].id;
    assert_eq!(
        told,
        [
            ("a", (Some(over), Some(waiting[1]))),
            ("b", (None, Some(waiting[0]))),
            ("c", (Some(finished), None)),
            ("going", (Some(going), None)),
        ]
    );
    let of_b = store.latest_runs(vec![task("b")]).await.unwrap();
    assert_eq!(of_b.keys().collect::<Vec<_>>(), [&task("b")]);
    let both = store.latest_runs(vec![other_tenant.clone(), task("a")]).await.unwrap();
    assert_eq!(ids(&both[&other_tenant]), (None, Some(waiting[2])));
    assert_eq!(ids(&both[&task("a")]), (Some(over), Some(waiting[1])));
    assert!(store.latest_runs(Vec::new()).await.unwrap().is_empty());
}

fn ids(runs: &LatestRuns) -> (Option<RunId>, Option<RunId>) {
    (runs.begun.as_ref().map(|run| run.id), runs.waiting.as_ref().map(|run| run.id))
}

pub(crate) async fn waiting_and_never_started_runs_do_not_hide_the_latest_run_that_began(store: Tested) {
    let over = failed(&store, "a").await;
    let far = NewRun { run_at: at(9000), ..new("a") };
    let ids = enqueue(&store, vec![far.clone(), new("a"), new("a"), far]).await;
    store.cancel(ids[1], "no", at(1)).await.unwrap();

    let latest = store.latest_runs(vec![task("a")]).await.unwrap();

    assert_eq!(self::ids(&latest[&task("a")]), (Some(over), Some(ids[2])));
    for (filter, expected) in [
        (RunFilter { begun: true, ..all() }, vec![over]),
        (RunFilter { begun: true, task: Some(name("a")), ..all() }, vec![over]),
        (RunFilter { begun: true, tenant: Some(name("default")), ..all() }, vec![over]),
        (RunFilter { begun: true, state: Some(RunState::Waiting), ..all() }, vec![]),
        (RunFilter { begun: true, task: Some(name("a")), state: Some(RunState::Cancelled), ..all() }, vec![]),
    ] {
        assert_eq!(listed(&store, filter.clone()).await, expected, "{filter:?}");
    }
}

pub(crate) async fn runs_are_counted_by_state(store: Tested) {
    let none = store.counts().await.unwrap();
    failed(&store, "a").await;
    succeeded(&store, "a", 1, 0).await;
    succeeded(&store, "b", 1, 0).await;
    running(&store, "b").await;
    let waiting = enqueue(&store, vec![new("c"); 3]).await;
    store.cancel(waiting[0], "no", at(1)).await.unwrap();

    let counts = store.counts().await.unwrap();

    assert_eq!(none, RunState::ALL.into_iter().map(|state| (state, 0)).collect());
    assert_eq!(counts, RunState::ALL.into_iter().zip([2, 1, 2, 1, 1]).collect());
    for (name, expected) in [("a", [0, 0, 1, 1, 0]), ("b", [0, 1, 1, 0, 0]), ("c", [2, 0, 0, 0, 1]), ("d", [0; 5])] {
        for (state, expected) in RunState::ALL.into_iter().zip(expected) {
            assert_eq!(store.count(task(name), state).await.unwrap(), expected, "{name} {state:?}");
        }
    }
}

pub(crate) async fn the_latest_success_is_that_of_the_run_that_ended_last(store: Tested) {
    let (early, late) = (running(&store, "a").await.key, running(&store, "a").await.key);
    assert_eq!(store.latest_success(task("a")).await.unwrap(), None);

    store.finish(success(late).into()).await.unwrap();
    let mut finish = success(early);
    finish.report.ended_at = at(50);
    store.finish(finish.into()).await.unwrap();
    failed(&store, "a").await;

    assert_eq!(store.latest_success(task("a")).await.unwrap(), Some((early.run, at(50))));
    assert_eq!(store.latest_success(task("b")).await.unwrap(), None);
    // The end of another run was written later, and was earlier.
    let quick = succeeded(&store, "a", 49, 0).await;
    assert!(quick > late.run);
    assert_eq!(store.latest_success(task("a")).await.unwrap(), Some((early.run, at(50))));
    let next = succeeded(&store, "a", 50, 0).await;
    assert_eq!(store.latest_success(task("a")).await.unwrap(), Some((next, at(50))));
}

async fn latest(store: &Tested, text: &str) -> Option<RunId> {
    let runs = store.latest_runs(vec![task(text)]).await.unwrap();
    runs.get(&task(text)).and_then(|runs| runs.begun.as_ref()).map(|run| run.id)
}

pub(crate) async fn the_latest_run_is_the_one_that_began_last(store: Tested) {
    let tomorrow = enqueue(&store, vec![NewRun { run_at: at(100), ..new("a") }]).await[0];
    let first = enqueue(&store, vec![new("a")]).await[0];
    let early = claim(&store, &[("a", 9)], 9, 1).await.claims;
    assert_eq!((early[0].key.run, latest(&store, "a").await), (first, Some(first)));

    let late = claim(&store, &[("a", 9)], 9, 100).await.claims;

    assert_eq!((late[0].key.run, latest(&store, "a").await), (tomorrow, Some(tomorrow)));
    store.finish(retry(early[0].key, 101).into()).await.unwrap();
    assert_eq!(latest(&store, "a").await, Some(tomorrow), "it waits to be tried again");
    claim(&store, &[("a", 9)], 9, 102).await;
    assert_eq!(latest(&store, "a").await, Some(first), "it began again");
}

pub(crate) async fn the_next_newest_run_is_the_latest_once_the_latest_is_no_longer_kept(store: Tested) {
    let old = enqueue(&store, vec![NewRun { run_at: at(10), ..new("a") }]).await[0];
    let kept = failed(&store, "a").await;
    let claim = claim(&store, &[("a", 9)], 9, 10).await.claims[0].key;
    store.finish(failure(claim).into()).await.unwrap();
    assert_eq!(latest(&store, "a").await, Some(old));

    prune_all(&store, &Retention { runs: 1, ..KEEP_ALL }, 20).await;

    assert_eq!(listed(&store, all()).await, [kept]);
    assert_eq!(latest(&store, "a").await, Some(kept));
}

pub(crate) async fn a_skipped_run_that_counts_as_a_success_has_no_result(store: Tested) {
    let made = succeeded(&store, "a", 1, 5).await;
    let skipped = running(&store, "a").await.key;

    let finish = ending(skipped, Outcome::Skipped, Transition::Succeed(Output::default()));
    store.finish(finish.into()).await.unwrap();

    let info = store.run(skipped.run).await.unwrap().unwrap();
    assert_eq!((info.state, info.outcome), (RunState::Succeeded, Some(Outcome::Skipped)));
    assert_eq!(store.attempts(skipped.run).await.unwrap()[0].report.outcome, Outcome::Skipped);
    assert_eq!(store.latest_success(task("a")).await.unwrap(), Some((made, at(1))));
    let window = store.window(task("a"), at(0), 9).await.unwrap().runs;
    assert_eq!([window[0].skipped, window[1].skipped], [true, false]);
}

pub(crate) async fn pruning_keeps_the_latest_runs(store: Tested) {
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(succeeded(&store, "a", 1, 0).await);
    }
    let other = succeeded(&store, "b", 1, 0).await;

    let gone = prune_all(&store, &Retention { runs: 2, ..KEEP_ALL }, 9).await;

    assert_eq!(gone, 3);
    assert_eq!(listed(&store, all()).await, [other, runs[4], runs[3]]);
    assert_eq!(store.counts().await.unwrap()[&RunState::Succeeded], 3);
}

pub(crate) async fn pruning_by_age_keeps_recent_runs(store: Tested) {
    let late = running(&store, "a").await.key;
    for _ in 0..3 {
        succeeded(&store, "a", 100, 0).await;
    }
    let young = succeeded(&store, "a", 101, 0).await;
    let mut finish = failure(late);
    finish.report.ended_at = at(150);
    store.finish(finish.into()).await.unwrap();

    let gone = prune_all(&store, &Retention { age: Duration::from_secs(60), ..KEEP_ALL }, 160).await;

    assert_eq!(gone, 3);
    assert_eq!(listed(&store, all()).await, [young, late.run]);
}

pub(crate) async fn pruning_by_bytes_keeps_the_latest_runs_that_fit(store: Tested) {
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(succeeded(&store, "a", 1, 100_000).await);
    }

    let gone = prune_all(&store, &Retention { bytes: 250_000, ..KEEP_ALL }, 9).await;

    assert_eq!(gone, 2);
    assert_eq!(listed(&store, all()).await, [runs[3], runs[2]]);
    assert_eq!(prune_all(&store, &Retention { bytes: 250_000, ..KEEP_ALL }, 9).await, 0);
}

pub(crate) async fn pruning_keeps_runs_that_are_not_over(store: Tested) {
    let runs = running(&store, "a").await.key.run;
    let waits = enqueue(&store, vec![new("a")]).await[0];
    failed(&store, "b").await;

    let gone = prune_all(&store, &Retention { runs: 0, age: Duration::ZERO, bytes: 0 }, 9).await;

    assert_eq!(gone, 1);
    assert_eq!(listed(&store, all()).await, [waits, runs]);
}

pub(crate) async fn pruning_keeps_the_latest_success(store: Tested) {
    succeeded(&store, "a", 1, 10).await;
    let good = succeeded(&store, "a", 1, 10).await;
    let mut bad = Vec::new();
    for _ in 0..4 {
        bad.push(failed(&store, "a").await);
    }

    prune_all(&store, &Retention { runs: 2, ..KEEP_ALL }, 9).await;

    assert_eq!(listed(&store, all()).await, [bad[3], bad[2], good]);
    assert_eq!(store.latest_success(task("a")).await.unwrap(), Some((good, at(1))));
    assert_eq!(store.output(good).await.unwrap().unwrap().body, [7; 10]);
}

pub(crate) async fn pruning_keeps_the_success_that_ended_last_and_not_the_newest(store: Tested) {
    let patient = running(&store, "a").await.key;
    for _ in 0..4 {
        succeeded(&store, "a", 1, 0).await;
    }
    let mut finish = success(patient);
    finish.report.ended_at = at(60);
    store.finish(finish.into()).await.unwrap();
    let newest = failed(&store, "a").await;

    prune_all(&store, &Retention { runs: 1, ..KEEP_ALL }, 100).await;

    assert_eq!(listed(&store, all()).await, [newest, patient.run]);
    assert_eq!(store.latest_success(task("a")).await.unwrap(), Some((patient.run, at(60))));
}

pub(crate) async fn pruning_deletes_piece_by_piece_until_nothing_is_left(store: Tested) {
    let skipped = NewRun { admit: Admit::Below(0), ..new("a") };
    enqueue(&store, vec![skipped; 700]).await;

    let gone = prune_all(&store, &Retention { runs: 10, ..KEEP_ALL }, 9).await;

    assert_eq!(gone, 690);
    assert_eq!(store.counts().await.unwrap()[&RunState::Cancelled], 10);
}

pub(crate) async fn a_pruned_run_leaves_nothing_behind(store: Tested) {
    let keyed = || NewRun { dedup: Some("noon".into()), input: b"in".to_vec(), ..new("a") };
    let first = enqueue(&store, vec![keyed()]).await[0];
    let key = claim(&store, &[("a", 1)], 1, 0).await.claims[0].key;
    let mut finish = failure(key);
    finish.report.log.text = "line".into();
    store.finish(finish.into()).await.unwrap();

    prune_all(&store, &Retention { runs: 0, ..KEEP_ALL }, 9).await;

    assert!(store.run(first).await.unwrap().is_none());
    assert_eq!(store.input(first).await.unwrap(), None);
    assert!(store.attempts(first).await.unwrap().is_empty());
    let again = store.enqueue(vec![keyed()], at(9)).await.unwrap().remove(0);
    assert!(matches!(again, EnqueueOutcome::New(run) if run > first), "{again:?}");
}

pub(crate) async fn a_run_that_is_tried_for_ever_keeps_its_first_and_latest_attempts(store: Tested) {
    let run = enqueue(&store, vec![new("a")]).await[0];
    for attempt in 1..=250 {
        let claim = claim(&store, &[("a", 1)], 1, 0).await.claims[0].key;
        assert_eq!((claim.run, claim.attempt), (run, attempt));
        let mut end = ending(claim, Outcome::Deferred, Transition::Wait { run_at: at(0), failed: false });
        if attempt == 250 {
            end = failure(claim);
        }
        end.report.log = CappedText { text: "x".repeat(84), cut: false };
        store.finish(end.into()).await.unwrap();
    }

    let kept: Vec<u32> = store.attempts(run).await.unwrap().into_iter().map(|attempt| attempt.attempt).collect();

    let expected: Vec<u32> = std::iter::once(1).chain(151..=250).collect();
    assert_eq!(kept, expected);
    // Deleted attempts no longer count: 101 logs of a hundred bytes remain, not 250.
    assert_eq!(prune_all(&store, &Retention { bytes: 12_000, ..KEEP_ALL }, 9).await, 0);
    assert_eq!(prune_all(&store, &Retention { bytes: 9000, ..KEEP_ALL }, 9).await, 1);
}
