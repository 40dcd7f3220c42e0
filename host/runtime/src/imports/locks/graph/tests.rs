//! Tests that circles are found exactly where runs are really stuck.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::waits::{LockWaits, Place, WaitingRun};
use super::*;
use crate::imports::testing::named;
use sexton_domain::time::Timestamp;

use LockMode::{Exclusive, Shared};

fn lock(n: usize) -> Arc<LockName> {
    Arc::new(named(&format!("lock {n}")))
}

fn who(run: usize, holds: &[(usize, LockMode)]) -> WaitingRun {
    WaitingRun {
        run: RunId(i64::try_from(run).unwrap()),
        task: Name::new("task").unwrap(),
        since: Timestamp::from_millis(0),
        holds: holds.iter().map(|(n, mode)| (lock(*n), *mode)).collect(),
    }
}

/// Lets a run that holds some locks wait for another.
fn wait(waits: &Arc<LockWaits>, run: usize, holds: &[(usize, LockMode)], n: usize, mode: LockMode) -> Waiting {
    let place = waits.enter(lock(n), mode);
    let circle = place.wait(who(run, holds)).err();
    Waiting { place, circle }
}

struct Waiting {
    place: Place,
    circle: Option<Deadlock>,
}

#[test]
fn the_error_of_the_run_that_closes_a_circle_names_its_members() {
    let waits = Arc::new(LockWaits::default());

    let first = wait(&waits, 1, &[(1, Exclusive)], 2, Exclusive);
    let second = wait(&waits, 2, &[(2, Exclusive)], 3, Shared);
    let third = wait(&waits, 3, &[(3, Exclusive)], 1, Exclusive);

    assert_eq!((first.circle, second.circle), (None, None));
    let circle = third.circle.unwrap();
    assert_eq!(
        circle.to_string(),
        "run 3 of `task` waits for lock `lock 1`, run 1 of `task`, which has it, waits for lock `lock 2`, \
         run 2 of `task`, which has it, waits for lock `lock 3`, which run 3 has"
    );
    assert_eq!(waits.list(&Name::default_tenant()).len(), 2, "the run with the error does not wait");
}

#[test]
fn a_circle_can_lead_through_a_queue() {
    let waits = Arc::new(LockWaits::default());
    // Run 1 shares lock 0. Run 2 wants it alone, and run 3, which would share it, may not overtake run 2.
    let alone = wait(&waits, 2, &[], 0, Exclusive);
    let behind = wait(&waits, 3, &[(1, Exclusive)], 0, Shared);

    let closing = wait(&waits, 1, &[(0, Shared)], 1, Exclusive);

    assert!(alone.circle.is_none() && behind.circle.is_none());
    assert_eq!(closing.circle.unwrap().members.iter().map(|member| member.run.0).collect::<Vec<_>>(), [1, 3]);
    drop(alone);
    assert!(wait(&waits, 1, &[(0, Shared)], 1, Exclusive).circle.is_none(), "now only sharers are left");
}

#[test]
fn sharers_do_not_wait_for_each_other() {
    let waits = Arc::new(LockWaits::default());
    let first = wait(&waits, 1, &[(1, Shared)], 2, Shared);
    let second = wait(&waits, 2, &[(2, Shared)], 1, Shared);

    assert!(first.circle.is_none() && second.circle.is_none());
    assert!(first.place.is_first() && second.place.is_first());
}

#[test]
fn a_long_circle_is_shown_in_one_line_of_bounded_length() {
    let waits = Arc::new(LockWaits::default());
    let chain: Vec<_> = (0..1000).map(|run| wait(&waits, run, &[(run, Exclusive)], run + 1, Exclusive)).collect();

    let circle = wait(&waits, 1000, &[(1000, Exclusive)], 0, Exclusive).circle.unwrap();

    assert!(chain.iter().all(|waiting| waiting.circle.is_none()));
    assert_eq!(circle.members.len(), 1001);
    assert!(circle.to_string().len() < 1000 && circle.to_string().contains("through 993 more"), "{circle}");
}

/// The attack: many runs that wait and hold many locks make every further wait slow for all others.
#[test]
fn a_search_through_a_thousand_waiters_with_ten_thousand_locks_is_fast() {
    let waits = Arc::new(LockWaits::default());
    let start = Instant::now();

    let crowd: Vec<_> = (0..1000)
        .map(|run| {
            let holds: Vec<_> = (0..10).map(|n| (1 + run * 10 + n, Exclusive)).collect();
            wait(&waits, run, &holds, 0, if run % 3 == 0 { Exclusive } else { Shared })
        })
        .collect();
    let others: Vec<_> = (0..1000).map(|run| wait(&waits, 1000 + run, &[], 1 + run * 10, Shared)).collect();
    let closing = wait(&waits, 2000, &[(0, Exclusive)], 9991, Exclusive);

    assert!(crowd.iter().chain(&others).all(|waiting| waiting.circle.is_none()));
    assert_eq!(closing.circle.unwrap().members.len(), 2);
    // It takes milliseconds; looking at all pairs would take minutes.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[derive(Clone, Debug)]
enum Op {
    Acquire { run: usize, lock: usize, mode: LockMode },
    Release { run: usize, lock: usize },
    GiveUp { run: usize },
}

const RUNS: usize = 5;
const LOCKS: usize = 4;

fn op() -> impl Strategy<Value = Op> {
    let mode = prop_oneof![Just(Exclusive), Just(Shared)];
    prop_oneof![
        6 => (0..RUNS, 0..LOCKS, mode).prop_map(|(run, lock, mode)| Op::Acquire { run, lock, mode }),
        2 => (0..RUNS, 0..LOCKS).prop_map(|(run, lock)| Op::Release { run, lock }),
        1 => (0..RUNS).prop_map(|run| Op::GiveUp { run }),
    ]
}

/// Models runs, the locks that they hold, and queues, as the store and the imports have them.
#[derive(Clone, Debug, Default)]
struct Model {
    held: BTreeMap<(usize, usize), LockMode>,
    /// For each lock the waiting runs, in order.
    queues: [Vec<(usize, LockMode)>; LOCKS],
}

impl Model {
    fn waits(&self, run: usize) -> bool {
        self.queues.iter().flatten().any(|(waiter, _)| *waiter == run)
    }

    fn holds(&self, run: usize) -> Vec<(usize, LockMode)> {
        self.held.iter().filter(|((holder, _), _)| *holder == run).map(|((_, lock), mode)| (*lock, *mode)).collect()
    }

    fn is_free(&self, lock: usize, wanted: LockMode) -> bool {
        self.held.iter().filter(|((_, held), _)| *held == lock).all(|(_, mode)| (*mode, wanted) == (Shared, Shared))
    }

    /// Gives locks to the runs in front until none gets one any more, and returns the runs that got one.
    fn serve(&mut self) -> Vec<usize> {
        let mut served = Vec::new();
        for lock in 0..LOCKS {
            while let Some(&(run, mode)) = self.queues[lock].first().filter(|(_, mode)| self.is_free(lock, *mode)) {
                self.queues[lock].remove(0);
                self.held.insert((run, lock), mode);
                served.push(run);
            }
        }
        served
    }

    /// Returns whether a run waits for ever although all runs that do not wait end, which is what a deadlock is.
    fn stuck(&self) -> bool {
        let mut model = self.clone();
        loop {
            let before = model.held.len();
            let waiting = model.clone();
            model.held.retain(|(run, _), _| waiting.waits(*run));
            if model.serve().is_empty() && model.held.len() == before {
                return model.queues.iter().any(|queue| !queue.is_empty());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_error_is_returned_exactly_if_there_is_a_deadlock_and_resolves_it(ops in prop::collection::vec(op(), 1..60)) {
        let waits = Arc::new(LockWaits::default());
        let (mut model, mut places) = (Model::default(), BTreeMap::new());
        for op in ops {
            match op {
                Op::Acquire { run, lock: n, mode } if !model.waits(run) && !model.held.contains_key(&(run, n)) => {
                    let place = waits.enter(lock(n), mode);
                    prop_assert_eq!(place.is_first(), model.queues[n].iter().all(|(_, ahead)| (*ahead, mode) == (Shared, Shared)));
                    model.queues[n].push((run, mode));
                    if model.queues[n].len() == 1 && model.is_free(n, mode) {
                        model.serve();
                        continue;
                    }
                    let told = place.wait(who(run, &model.holds(run))).is_err();
                    prop_assert_eq!(told, model.stuck(), "{:?}", model);
                    if told {
                        model.queues[n].pop();
                        prop_assert!(!model.stuck(), "{:?}", model);
                    } else {
                        places.insert(run, place);
                    }
                }
                Op::Release { run, lock } if !model.waits(run) => {
                    model.held.remove(&(run, lock));
                }
                Op::GiveUp { run } => {
                    model.queues.iter_mut().for_each(|queue| queue.retain(|(waiter, _)| *waiter != run));
                    places.remove(&run);
                }
                _ => {}
            }
            for served in model.serve() {
                places.remove(&served);
            }
        }
        drop(places);
        prop_assert!(waits.is_empty(), "something was left behind: {:?}", waits);
    }
}
