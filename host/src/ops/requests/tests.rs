//! Tests which runs tasks may ask for, on a real store.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::ops::tests::{Rig, caller};
use crate::testkit::{granted_task as task, grants, task_key};
use sexton_domain::run::Cause;
use sexton_domain::tenant::{TenantLimits, Tenants};
use sexton_domain::time::Timestamp;
use sexton_store::rules::runs::RequestKey;

/// Creates a caller that may ask for runs of all tasks.
fn usual() -> Caller {
    caller("caller", 1, grants(&["*"]))
}

fn asked(task: &str) -> RunRequest {
    RunRequest { task: task.to_owned(), due_at: None, input: b"input".to_vec(), key: None, asked_before: 0 }
}

fn keyed(task: &str, key: RequestKey) -> RunRequest {
    RunRequest { key: Some(key), ..asked(task) }
}

#[tokio::test]
async fn a_requested_run_has_its_input_and_its_parent() {
    let rig = Rig::with(&["other"]);

    let run = rig.ops.request_run(&usual(), asked("other")).await.unwrap();

    let info = rig.ops.store.run(run).await.unwrap().unwrap();
    assert_eq!((info.task, info.cause, info.parent), (task_key("other"), Cause::Task, Some(RunId(1))));
    assert_eq!(rig.ops.store.input(run).await.unwrap().unwrap(), b"input");
}

#[tokio::test]
async fn only_tasks_that_are_granted_and_known_can_be_requested() {
    let rig = Rig::with(&["other", "secret"]);
    let by = caller("caller", 1, grants(&["other", "gone", "no name*"]));

    for denied in ["secret", "not there", "caller"] {
        let refused = rig.ops.request_run(&by, asked(denied)).await;
        assert!(matches!(refused, Err(RunRefused::NotGranted)), "{denied}: {refused:?}");
    }
    for unknown in ["gone", "no name\0"] {
        let refused = rig.ops.request_run(&by, asked(unknown)).await;
        assert!(matches!(refused, Err(RunRefused::NoTask)), "{unknown}: {refused:?}");
    }
}

#[tokio::test]
async fn a_task_of_another_tenant_is_not_known() {
    let rig = Rig::with(&["other"]);
    let mut stranger = task("caller", grants(&["*"]));
    stranger.key.tenant = Name::new("acme").unwrap();

    let stranger = Caller { task: Arc::new(stranger), ..usual() };
    let refused = rig.ops.request_run(&stranger, asked("other")).await;

    assert!(matches!(refused, Err(RunRefused::NoTask)), "{refused:?}");
}

#[tokio::test]
async fn an_input_and_the_requests_of_an_attempt_are_bounded() {
    let rig = Rig::with(&["other"]);

    let large = RunRequest { input: vec![0; LARGEST_VALUE + 1], ..asked("other") };
    assert!(matches!(rig.ops.request_run(&usual(), large).await, Err(RunRefused::TooLarge)));
    for (asked_before, is_made) in [(MOST_RUNS - 1, true), (MOST_RUNS, false), (u32::MAX, false)] {
        let made = rig.ops.request_run(&usual(), RunRequest { asked_before, ..asked("other") }).await;
        assert_eq!(made.is_ok(), is_made, "{made:?}");
    }
}

#[tokio::test]
async fn a_key_makes_one_run_for_each_pair_of_requesting_and_requested_task() {
    let rig = Rig::with(&["a", "b"]);
    let [one, same] = [1, 2].map(|run| caller("caller", run, grants(&["*"])));
    let other = caller("stranger", 3, grants(&["*"]));
    let ask = async |by: &Caller, task: &str, key: Option<&str>| {
        let key = key.map(|key| RequestKey::Chosen(key.to_owned()));
        rig.ops.request_run(by, RunRequest { key, ..asked(task) }).await.unwrap()
    };

    let run = ask(&one, "a", Some("key")).await;

    assert_eq!(ask(&one, "a", Some("key")).await, run);
    assert_eq!(ask(&same, "a", Some("key")).await, run);
    assert_ne!(ask(&one, "a", None).await, run);
    assert_ne!(ask(&one, "b", Some("key")).await, run);
    assert_ne!(ask(&other, "a", Some("key")).await, run);
}

#[tokio::test]
async fn a_further_attempt_continues_with_the_runs_that_the_first_one_made() {
    let rig = Rig::with(&["caller"]);
    let [run, another] = [1, 2].map(|run| caller("caller", run, grants(&["*"])));
    let ask =
        async |by: &Caller, nth| rig.ops.request_run(by, keyed("caller", RequestKey::Continuation(nth))).await.unwrap();

    let made = [ask(&run, 1).await, ask(&run, 2).await];

    assert_ne!(made[0], made[1]);
    assert_eq!([ask(&run, 1).await, ask(&run, 2).await], made);
    assert!(!made.contains(&ask(&another, 1).await), "another run has continuations of its own");
}

#[tokio::test]
async fn a_run_is_due_at_the_requested_instant_and_never_starts_before_now() {
    let rig = Rig::with(&["other"]);
    let now = rig.ops.clock.now();
    let soon = now.plus(Duration::from_millis(5));

    for (due_at, due, starts) in
        [(None, now, now), (Some(soon), soon, soon), (Some(Timestamp::from_millis(7)), Timestamp::from_millis(7), now)]
    {
        let run = rig.ops.request_run(&usual(), RunRequest { due_at, ..asked("other") }).await.unwrap();
        let info = rig.ops.store.run(run).await.unwrap().unwrap();
        assert_eq!((info.due_at, info.run_at), (due, starts), "{due_at:?}");
    }
}

#[tokio::test]
async fn a_run_that_is_due_beyond_the_horizon_is_refused() {
    let rig = Rig::with(&["other"]);
    let ten_years = rig.ops.clock.now().plus(Duration::from_secs(3660 * 24 * 3600));

    for due_at in [Timestamp::from_millis(i64::MAX), ten_years.plus(Duration::from_millis(1))] {
        let refused = rig.ops.request_run(&usual(), RunRequest { due_at: Some(due_at), ..asked("other") }).await;
        assert!(matches!(refused, Err(RunRefused::TooFarAhead(_))), "{due_at}: {refused:?}");
    }
    rig.ops.request_run(&usual(), RunRequest { due_at: Some(ten_years), ..asked("other") }).await.unwrap();
}

#[tokio::test]
async fn a_run_is_refused_when_a_thousand_wait() {
    let rig = Rig::with(&["other"]);
    let now = rig.ops.clock.now();
    let run = |n: usize| NewRun { dedup: Some(n.to_string()), ..NewRun::of(task_key("other"), now, Cause::Demand) };
    rig.ops.store.enqueue((1..1000).map(run).collect(), now).await.unwrap();

    rig.ops.request_run(&usual(), asked("other")).await.unwrap();

    let refused = rig.ops.request_run(&usual(), asked("other")).await;
    assert!(matches!(refused, Err(RunRefused::Full { lasts: true, .. })), "{refused:?}");
}

const KIB: usize = 1 << 10;

/// Creates a host on which the inputs of waiting runs may take 1 MiB for each task, and 3 MiB together.
fn narrow(tasks: &[&str]) -> Rig {
    let rig = Rig::with(tasks);
    let backlog = BacklogLimits { task: 1 << 20, tenant: 3 << 20, ..BacklogLimits::default() };
    let limits = TenantLimits { runs: None, fuel_per_minute: None, cache: 0, tasks: 1000, backlog };
    rig.ops.tenants.change(&Tenants::new(0, [(Name::default_tenant(), limits)].into()));
    rig
}

/// Asks for a run with an input of `bytes` that is due a second later. Returns why it was refused, or nothing.
async fn refusal(rig: &Rig, task: &str, bytes: usize) -> Option<String> {
    let due_at = Some(rig.ops.clock.now().plus(Duration::from_secs(1)));
    match rig.ops.request_run(&usual(), RunRequest { due_at, input: vec![7; bytes], ..asked(task) }).await {
        Ok(_) => None,
        Err(RunRefused::Full { message, lasts: false }) => Some(message),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_run_is_refused_when_the_inputs_of_the_tasks_waiting_runs_take_their_limit() {
    let rig = narrow(&["a", "b"]);

    for _ in 0..7 {
        assert_eq!(refusal(&rig, "a", 128 * KIB).await, None);
    }

    let why = refusal(&rig, "a", 128 * KIB).await.expect("each row takes some");
    assert!(why.ends_with("(`[enqueued] task`)"), "{why}");
    assert_eq!(refusal(&rig, "a", 0).await, None, "a run without input takes no room");
    assert_eq!(refusal(&rig, "b", 128 * KIB).await, None, "another task has room of its own");
}

#[tokio::test]
async fn all_tasks_of_a_tenant_share_the_limit_for_inputs_of_waiting_runs() {
    let rig = narrow(&["a", "b", "c", "d"]);

    for task in ["a", "b", "c"] {
        for _ in 0..7 {
            assert_eq!(refusal(&rig, task, 128 * KIB).await, None);
        }
    }
    // The runs take 21 of 24 places.
    let mut refusals = Vec::new();
    for _ in 0..3 {
        refusals.push(refusal(&rig, "d", 128 * KIB).await);
    }

    assert!(refusals[0].is_none() && refusals[1].is_none(), "{refusals:?}");
    assert!(refusals[2].as_ref().is_some_and(|why| why.ends_with("(`[enqueued] tenant`)")), "{refusals:?}");
}
