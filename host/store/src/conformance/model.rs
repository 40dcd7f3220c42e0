//! Tests random lives of runs: whatever hosts do, in whatever order, a store agrees with a model in memory.
//!
//! The [`Step`]s are what hosts do: make runs, claim them, extend claims, end attempts, crash, end what others left,
//! take locks. A host that has crashed or slept continues with claims that are no longer its own, like a real host that
//! was stopped. The model says what each step must result in; where a store may choose (which due runs it takes), the
//! model says what is allowed.

mod memory;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use self::memory::{Model, Run};
use super::*;
use crate::{Cancelled, LockKind, LockMode, LockName, LockTaken};
use sexton_domain::run::RunState;

/// The tasks, each with its concurrency limit.
const TASKS: [(&str, u32); 3] = [("one", 1), ("two", 2), ("many", 9)];
const HOSTS: [&str; 3] = ["ada", "bob", "cyd"];
const LOCKS: [&str; 2] = ["left", "right"];

/// One step in the life of the hosts.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Runs of a task are made, due in `delay` seconds.
    Enqueue {
        task: usize,
        count: usize,
        delay: i64,
    },
    /// Time passes.
    Wait {
        seconds: i64,
    },
    /// A host claims runs.
    Claim {
        host: usize,
        limit: usize,
    },
    /// A host extends all claims that it thinks it has.
    Extend {
        host: usize,
    },
    /// A host ends one of the attempts that ever were, successfully or not, whether its claim still holds or not.
    Finish {
        pick: usize,
        succeeds: bool,
        again: bool,
    },
    /// A host is restarted, which ends its earlier claims.
    Restart {
        host: usize,
    },
    /// A host ends the attempts that others left.
    Sweep,
    /// A run is asked to end.
    Cancel {
        pick: usize,
    },
    /// One of the attempts that ever were takes a lock.
    Lock {
        pick: usize,
        lock: usize,
        shared: bool,
    },
    Release {
        pick: usize,
        lock: usize,
    },
}

/// Generates any steps.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let host = 0..HOSTS.len();
    let pick = any::<prop::sample::Index>().prop_map(|index| index.index(1 << 16));
    let step = prop_oneof![
        4 => (0..TASKS.len(), 1..4usize, -1..8i64).prop_map(|(task, count, delay)| Step::Enqueue { task, count, delay }),
        3 => (1..20i64).prop_map(|seconds| Step::Wait { seconds }),
        5 => (host.clone(), 1..5usize).prop_map(|(host, limit)| Step::Claim { host, limit }),
        2 => host.clone().prop_map(|host| Step::Extend { host }),
        6 => (pick.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(pick, succeeds, again)| Step::Finish { pick, succeeds, again }),
        1 => host.prop_map(|host| Step::Restart { host }),
        2 => Just(Step::Sweep),
        1 => pick.clone().prop_map(|pick| Step::Cancel { pick }),
        3 => (pick.clone(), 0..LOCKS.len(), any::<bool>())
            .prop_map(|(pick, lock, shared)| Step::Lock { pick, lock, shared }),
        1 => (pick, 0..LOCKS.len()).prop_map(|(pick, lock)| Step::Release { pick, lock }),
    ];
    prop::collection::vec(step, 1..60)
}

/// Takes `steps` with an empty store, and checks that it does what the model does.
pub(crate) async fn live(store: Tested, steps: Vec<Step>) -> TestCaseResult {
    let mut model = Model::default();
    for step in steps {
        take(&store, &mut model, &step).await?;
    }
    // A final sweep ends everything that is left: no run and no lock stays behind.
    model.now += 1000;
    take(&store, &mut model, &Step::Sweep).await?;
    for run in &model.runs {
        let info = store.run(run.id).await.unwrap().expect("no run was pruned");
        let found = (info.state, info.attempt, info.failures, info.ended_at.is_some());
        prop_assert_eq!(found, (run.state, run.attempt, run.failures, run.state.is_over()), "run {}", run.id);
        let attempts = store.attempts(run.id).await.unwrap();
        let numbers: Vec<u32> = attempts.iter().map(|attempt| attempt.attempt).collect();
        prop_assert_eq!(&numbers, &run.ended, "the attempts of run {} that are over", run.id);
    }
    let counts = store.counts().await.unwrap();
    for state in RunState::ALL {
        let expected = model.runs.iter().filter(|run| run.state == state).count() as u64;
        prop_assert_eq!(counts.get(&state).copied().unwrap_or(0), expected, "{}", state);
    }
    prop_assert!(store.locks(Name::default_tenant()).await.unwrap().is_empty());
    Ok(())
}

async fn take(store: &Tested, model: &mut Model, step: &Step) -> TestCaseResult {
    match step {
        Step::Wait { seconds } => model.now += seconds,
        Step::Enqueue { task, count, delay } => {
            let due = at(model.now + delay);
            let new = NewRun { due_at: due, run_at: due, ..new(TASKS[*task].0) };
            let made = store.enqueue(vec![new; *count], at(model.now)).await.unwrap();
            model.runs.extend(made.iter().map(|made| Run::new(made.run(), *task, model.now + delay)));
        }
        Step::Claim { host, limit } => claim(store, model, *host, *limit).await?,
        Step::Extend { host } => extend(store, model, *host).await?,
        Step::Finish { pick, succeeds, again } => {
            let Some(claim) = model.pick_claim(*pick) else { return Ok(()) };
            let finish = match (succeeds, again) {
                (true, _) => success(claim),
                (false, true) => retry(claim, model.now + 3),
                (false, false) => failure(claim),
            };
            let written = store.finish(finish.clone().into()).await;
            match model.finish(claim, &finish.transition) {
                true => prop_assert!(written.is_ok(), "{:?}", written),
                false => prop_assert!(matches!(written, Err(StoreError::ClaimLost(_))), "{:?}", written),
            }
        }
        Step::Restart { host } => {
            let ended = store.abandon(HOSTS[*host]).await.unwrap();
            prop_assert_eq!(ended, model.abandon(*host));
        }
        Step::Sweep => sweep(store, model).await?,
        Step::Cancel { pick } => {
            let Some(place) = model.pick_run(*pick) else { return Ok(()) };
            let done = store.cancel(model.runs[place].id, "not wanted", at(model.now)).await.unwrap();
            let expected = match model.runs[place].state {
                RunState::Waiting => Cancelled::Done,
                RunState::Running => Cancelled::Requested,
                over => Cancelled::Over(over),
            };
            prop_assert_eq!(done, expected);
            model.cancel(place);
        }
        Step::Lock { pick, lock, shared } => {
            let Some(claim) = model.pick_claim(*pick) else { return Ok(()) };
            let mode = if *shared { LockMode::Shared } else { LockMode::Exclusive };
            acquire(store, model, claim, *lock, mode).await?;
        }
        Step::Release { pick, lock } => {
            let Some(claim) = model.pick_claim(*pick) else { return Ok(()) };
            store.release_lock(name_of(*lock), claim).await.unwrap();
            model.release(claim, *lock);
        }
    }
    Ok(())
}

async fn extend(store: &Tested, model: &mut Model, host: usize) -> TestCaseResult {
    let claims = model.claims_of(host);
    let until = model.now + LEASE.as_secs() as i64;
    let mut extended = store.extend(claims.clone(), at(until)).await.unwrap();
    let (mut lost, mut cancelled) = model.extend(&claims, until);
    for claims in [&mut extended.lost, &mut extended.cancelled, &mut lost, &mut cancelled] {
        claims.sort_unstable_by_key(|claim| (claim.run, claim.attempt));
    }
    prop_assert_eq!((extended.lost, extended.cancelled), (lost, cancelled));
    Ok(())
}

async fn acquire(store: &Tested, model: &mut Model, claim: ClaimKey, lock: usize, mode: LockMode) -> TestCaseResult {
    let taken = store.acquire_lock(name_of(lock), mode, claim, at(model.now)).await;
    match model.acquire(claim, lock, mode) {
        None => prop_assert!(matches!(taken, Err(StoreError::ClaimLost(_))), "{:?}", taken),
        Some(true) => {
            let Ok(LockTaken::Yes { fence }) = taken else {
                return Err(TestCaseError::fail(format!("{taken:?}")));
            };
            prop_assert!(model.locked(claim, lock, mode, fence), "fence {} of a lock is not the greatest", fence);
        }
        Some(false) => prop_assert!(matches!(taken, Ok(LockTaken::HeldBy(_))), "{:?}", taken),
    }
    Ok(())
}

fn name_of(lock: usize) -> LockName {
    LockName { tenant: Name::default_tenant(), kind: LockKind::Named, name: LOCKS[lock].into() }
}

/// Claims runs. A store may choose among the due ones; it must not take too many, nor leave what could be taken.
async fn claim(store: &Tested, model: &mut Model, host: usize, limit: usize) -> TestCaseResult {
    let request = ClaimRequest { host: HOSTS[host].into(), ..request(&TASKS, limit, model.now) };
    let claimed = store.claim(request).await.unwrap();
    let possible: usize = (0..TASKS.len()).map(|task| model.due(task).min(model.room(task, TASKS[task].1))).sum();
    prop_assert_eq!(claimed.claims.len(), possible.min(limit), "of {} that could be taken", possible);
    for claim in &claimed.claims {
        let Some(run) = model.find(claim.key.run) else {
            return Err(TestCaseError::fail(format!("nobody made run {}", claim.key.run)));
        };
        prop_assert_eq!(run.state, RunState::Waiting);
        prop_assert!(run.run_at <= model.now, "run {} was not due", run.id);
        prop_assert_eq!((claim.key.attempt, claim.failures), (run.attempt + 1, run.failures));
        prop_assert_eq!(claim.task.task.as_str(), TASKS[run.task].0);
        prop_assert!(
            model.claimed(claim.key, host, LEASE.as_secs() as i64),
            "fence {} is not the greatest",
            claim.key.fence
        );
    }
    for (task, (name, most)) in TASKS.into_iter().enumerate() {
        prop_assert!(model.running(task) <= most as usize, "too many of {} are running", name);
    }
    Ok(())
}

async fn sweep(store: &Tested, model: &mut Model) -> TestCaseResult {
    let now = at(model.now);
    let mut found = store.expired(now, 1000).await.unwrap();
    found.sort_unstable_by_key(|dead| dead.claim.run);
    let claims: Vec<ClaimKey> = found.iter().map(|dead| dead.claim).collect();
    prop_assert_eq!(&claims, &model.expired());
    for dead in found {
        let transition = match dead.cancel_requested {
            true => Transition::Cancel,
            false => Transition::Wait { run_at: now, failed: true },
        };
        let finish = Finish { expired_by: Some(now), ..ending(dead.claim, Outcome::Lost, transition) };
        prop_assert!(store.finish(finish.clone().into()).await.is_ok());
        prop_assert!(model.finish(dead.claim, &finish.transition));
    }
    Ok(())
}
