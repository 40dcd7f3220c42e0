//! Shows which runs hold and wait for locks, from the store's records and the host's queues.
//!
//! The two are read one after the other, so a run may appear for a moment as holding and waiting for the same lock.
//! Runs that wait on other hosts are not seen.

use std::collections::{BTreeMap, HashMap, HashSet};

use axum::Json;
use axum::extract::State;

use sexton_domain::run::RunId;

use super::api_state::App;
use super::api_types::locks::{
    HeldLockShape, LockGraph, LockHolder, LockKind, LockMode, LockNode, LockShape, LockWaiter,
};
use super::error::ApiResult;
use super::extract::{ApiQuery, NoQuery, Tenant};

/// `GET /v1/locks/graph`.
pub(super) async fn graph(
    State(app): State<App>,
    Tenant(tenant): Tenant,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<LockGraph>> {
    let waits = (app.lock_waits)(&tenant).into_iter().map(LockWaiter::of).collect();
    let held = app.store.locks(tenant).await?.into_iter().map(HeldLockShape::from).collect();
    Ok(Json(LockGraph::of(held, waits)))
}

impl LockGraph {
    /// Builds the graph of held locks, and of the waiting runs with the lock that each waits for.
    pub fn of(held: Vec<HeldLockShape>, waits: Vec<(LockShape, LockWaiter)>) -> Self {
        let mut nodes = BTreeMap::new();
        for HeldLockShape { lock, mode, run, task, fence, since } in held {
            node(&mut nodes, lock).holders.push(LockHolder { run, task, mode, fence, since });
        }
        for (lock, waiter) in waits {
            node(&mut nodes, lock).waiters.push(waiter);
        }
        let mut graph = Self { locks: nodes.into_values().collect(), circles: Vec::new() };
        graph.mark();
        graph
    }

    /// Finds stuck runs: those that still wait when all runs that do not wait have ended, and then all that could go on
    /// after that.
    fn mark(&mut self) {
        let mut left = Left::of(&self.locks);
        left.run_out();
        for (node, queue) in self.locks.iter_mut().zip(&left.queues) {
            let gone = node.waiters.len() - queue.len();
            node.waiters.iter_mut().take(gone).for_each(|waiter| waiter.stuck = false);
        }
        self.circles = left.circles();
    }
}

/// Returns the node of `lock`, by its name and whether it belongs to a cache refresh.
fn node(nodes: &mut BTreeMap<(String, bool), LockNode>, lock: LockShape) -> &mut LockNode {
    let key = (lock.name.clone(), lock.kind == LockKind::Refresh);
    nodes.entry(key).or_insert_with(|| LockNode { lock, holders: Vec::new(), waiters: Vec::new() })
}

/// The holders and queues that are left.
struct Left {
    holders: Vec<HashMap<RunId, LockMode>>,
    queues: Vec<Vec<(RunId, LockMode)>>,
    /// The locks that each run holds.
    holds: HashMap<RunId, Vec<usize>>,
    /// The runs that wait.
    waits: HashSet<RunId>,
}

impl Left {
    fn of(locks: &[LockNode]) -> Self {
        let mut left = Self { holders: Vec::new(), queues: Vec::new(), holds: HashMap::new(), waits: HashSet::new() };
        for (n, node) in locks.iter().enumerate() {
            left.holders.push(node.holders.iter().map(|holder| (holder.run, holder.mode)).collect());
            left.queues.push(node.waiters.iter().map(|waiter| (waiter.run, waiter.mode)).collect());
            node.holders.iter().for_each(|holder| left.holds.entry(holder.run).or_default().push(n));
            left.waits.extend(node.waiters.iter().map(|waiter| waiter.run));
        }
        left
    }

    /// Ends all runs that can end.
    fn run_out(&mut self) {
        let mut ends: Vec<RunId> = self.holds.keys().filter(|run| !self.waits.contains(run)).copied().collect();
        for lock in 0..self.queues.len() {
            self.serve(lock, &mut ends);
        }
        while let Some(run) = ends.pop() {
            for lock in self.holds.remove(&run).unwrap_or_default() {
                self.holders[lock].remove(&run);
                self.serve(lock, &mut ends);
            }
        }
    }

    /// Gives the lock to the waiters in front that can have it, which lets them end.
    fn serve(&mut self, lock: usize, ends: &mut Vec<RunId>) {
        let holders = &self.holders[lock];
        // Several runs can only hold a lock by sharing it.
        let shared = holders.len() > 1 || holders.values().all(|mode| *mode == LockMode::Shared);
        let can = |mode: LockMode| holders.is_empty() || (shared && mode == LockMode::Shared);
        let served = self.queues[lock].iter().take_while(|(_, mode)| can(*mode)).count();
        for (run, _) in self.queues[lock].drain(..served) {
            self.waits.remove(&run);
            ends.push(run);
        }
    }

    /// Finds deadlocks. From each stuck run an edge leads to another stuck one, so following the edges leads back to a
    /// run on the way.
    fn circles(&self) -> Vec<Vec<RunId>> {
        let queues = self.queues.iter().enumerate();
        let on: BTreeMap<RunId, Option<RunId>> = queues.flat_map(|(lock, queue)| self.blockers(lock, queue)).collect();
        let mut seen = HashSet::new();
        let mut circles = Vec::new();
        for start in on.keys().copied() {
            let (mut way, mut place, mut at) = (Vec::new(), HashMap::new(), Some(start));
            while let Some(run) = at.filter(|run| seen.insert(*run)) {
                place.insert(run, way.len());
                way.push(run);
                at = on.get(&run).copied().flatten();
            }
            if let Some(from) = at.and_then(|run| place.get(&run)) {
                circles.push(way.split_off(*from));
            }
        }
        circles
    }

    /// Returns for each run in a queue one that blocks it: a holder, or else a run before it.
    fn blockers(&self, lock: usize, queue: &[(RunId, LockMode)]) -> Vec<(RunId, Option<RunId>)> {
        let holders = &self.holders[lock];
        let first = holders.keys().min().copied();
        let alone = first.filter(|_| holders.values().any(|mode| *mode == LockMode::Exclusive));
        let (mut before, mut alone_before) = (None, None);
        let mut ways = Vec::new();
        for &(run, mode) in queue {
            if mode == LockMode::Shared {
                ways.push((run, alone.or(alone_before)));
            } else {
                ways.push((run, first.or(before)));
                alone_before = Some(run);
            }
            before = Some(run);
        }
        ways
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::api_types::locks::LockMode::{Exclusive, Shared};
    use sexton_domain::task::Name;
    use sexton_domain::time::Timestamp;

    fn named(name: &str) -> LockShape {
        LockShape { tenant: Name::default_tenant(), kind: LockKind::Named, name: name.to_owned() }
    }

    fn graph(held: &[(&str, i64, LockMode)], waits: &[(&str, i64, LockMode)]) -> LockGraph {
        let (since, task) = (Timestamp::from_millis(0), Name::new("task").unwrap());
        let held = held.iter().map(|(lock, run, mode)| HeldLockShape {
            lock: named(lock),
            mode: *mode,
            run: RunId(*run),
            task: task.clone(),
            fence: 1,
            since,
        });
        let waits = waits.iter().map(|(lock, run, mode)| {
            let (run, task) = (RunId(*run), task.clone());
            (named(lock), LockWaiter { run, task, mode: *mode, since, place: 1, stuck: true })
        });
        LockGraph::of(held.collect(), waits.collect())
    }

    fn stuck(graph: &LockGraph) -> Vec<i64> {
        graph.locks.iter().flat_map(|node| &node.waiters).filter(|w| w.stuck).map(|w| w.run.0).collect()
    }

    #[test]
    fn a_run_that_will_get_its_lock_is_not_stuck() {
        let graph = graph(
            &[("a", 1, Exclusive), ("b", 2, Shared), ("b", 3, Shared)],
            &[("a", 2, Exclusive), ("b", 4, Exclusive), ("b", 5, Shared), ("c", 6, Exclusive)],
        );

        assert_eq!(graph.locks.iter().map(|node| node.lock.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(stuck(&graph), Vec::<i64>::new());
        assert!(graph.circles.is_empty());
    }

    #[test]
    fn a_deadlock_is_marked_with_the_runs_that_wait_behind_it() {
        let graph = graph(
            &[("a", 1, Exclusive), ("b", 2, Exclusive), ("c", 7, Exclusive)],
            &[("a", 2, Exclusive), ("b", 1, Shared), ("b", 3, Shared), ("c", 4, Shared)],
        );

        assert_eq!(stuck(&graph), [2, 1, 3]);
        assert_eq!(graph.circles, [[RunId(1), RunId(2)]]);
    }

    #[test]
    fn a_circle_through_a_queue_is_marked() {
        let graph = graph(
            &[("a", 1, Shared), ("b", 3, Exclusive)],
            &[("a", 2, Exclusive), ("a", 3, Shared), ("b", 1, Exclusive)],
        );

        assert_eq!(stuck(&graph), [2, 3, 1]);
        assert_eq!(graph.circles, [[RunId(1), RunId(3), RunId(2)]]);
    }

    #[test]
    fn a_queue_of_thousands_is_searched_quickly() {
        let waits: Vec<_> = (2..20_000).map(|run| ("a", run, if run % 2 == 0 { Exclusive } else { Shared })).collect();
        let start = std::time::Instant::now();

        assert!(stuck(&graph(&[("a", 1, Exclusive)], &waits)).is_empty());

        assert!(start.elapsed() < std::time::Duration::from_secs(10));
    }
}
