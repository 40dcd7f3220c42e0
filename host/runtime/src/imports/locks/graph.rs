//! Finds runs that wait for one another in a circle.
//!
//! A run that waits for a lock waits for the conflicting runs that hold it, and for the conflicting runs before it in
//! the queue; two runs conflict unless both share. Only a waiting run can be part of a circle, so only waiting runs are
//! known here, and only those of this host: a circle through another host ends with a deadline.
//!
//! A run waits for one lock at a time. So the runs before it in a queue lead only to the holders of the same lock, and
//! a search looks at each lock and each waiting run once, not at all pairs in a queue.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::waits::{Queues, Waiter};
use sexton_domain::run::RunId;
use sexton_domain::task::Name;
use sexton_store::{LockMode, LockName};

/// The most members of a circle that the message names; with more the line would be too long to read.
const TOLD: usize = 8;

/// Runs that wait for one another in a circle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlock {
    /// The members: each waits for a lock that the next one holds, and the last for one of the first. The first began
    /// to wait last.
    pub members: Vec<Member>,
    /// Whether the last only waits for its turn behind the first, which does not hold the lock.
    pub behind: bool,
}

/// A run in a circle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The run's id.
    pub run: RunId,
    /// The run's task.
    pub task: Name,
    /// The name of the lock that the run waits for, as the guest chose it.
    pub lock: String,
}

/// Writes one line: `run 4 of `a` waits for lock `x`, run 5 of `b`, which has it, waits for lock `y`, which run 4 has`.
impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Member { run, task, lock }) in self.members.iter().take(TOLD).enumerate() {
            let has_it = if n == 0 { "" } else { ", which has it," };
            write!(f, "run {run} of `{task}`{has_it} waits for lock `{lock}`, ")?;
        }
        if let Some(more @ 1..) = self.members.len().checked_sub(TOLD) {
            write!(f, "and so on through {more} more, ")?;
        }
        let first = self.members.first().map_or(RunId(0), |member| member.run);
        if self.behind { write!(f, "behind run {first}") } else { write!(f, "which run {first} has") }
    }
}

/// A wait that the search has reached, with the index of the step that led to it.
struct Step<'a> {
    lock: &'a Arc<LockName>,
    ticket: u64,
    from: usize,
}

/// Returns the circle that the wait `ticket` for `lock` is part of.
pub(super) fn circle(queues: &Queues, lock: &Arc<LockName>, ticket: u64) -> Option<Deadlock> {
    let mut steps = vec![Step { lock, ticket, from: 0 }];
    let mut reached = HashSet::from([ticket]);
    // The locks whose holders were followed, and whether all holders were, or only exclusive ones.
    let mut followed: HashMap<&LockName, bool> = HashMap::new();
    let mut at = 0;
    while let Some(&Step { lock: here, ticket: waits, .. }) = steps.get(at) {
        let way = queues.by_lock.get(here).map_or(Blockers::default(), |queue| Blockers::of(queue, waits));
        if here == lock && waits != ticket && way.last_before.is_some_and(|last| ticket <= last) {
            return Some(deadlock_at(queues, &steps, at, true));
        }
        let before = followed.get(&**here).copied();
        if before != Some(true) && before != Some(way.all_holders) {
            followed.insert(here, way.all_holders);
            for holder in queues.held.get(here).into_iter().flatten() {
                if !way.all_holders && holder.mode == LockMode::Shared {
                    continue;
                }
                if holder.ticket == ticket {
                    return Some(deadlock_at(queues, &steps, at, false));
                }
                if reached.insert(holder.ticket) {
                    steps.push(Step { lock: &holder.waits_for, ticket: holder.ticket, from: at });
                }
            }
        }
        at += 1;
    }
    None
}

/// The runs that a run in a queue waits for.
#[derive(Clone, Copy, Debug, Default)]
struct Blockers {
    /// The last of the runs in the queue that it waits for.
    last_before: Option<u64>,
    /// Whether it waits for the sharers that hold the lock, too.
    all_holders: bool,
}

impl Blockers {
    fn of(queue: &BTreeMap<u64, Waiter>, ticket: u64) -> Self {
        let alone = |waiter: &Waiter| waiter.mode == LockMode::Exclusive;
        if queue.get(&ticket).is_some_and(alone) {
            let last_before = queue.range(..ticket).next_back().map(|(last, _)| *last);
            return Self { last_before, all_holders: true };
        }
        // A sharer does not wait for other sharers, but for a run that wants the lock alone, and so for all that one
        // waits for.
        let last = queue.range(..ticket).rev().find(|(_, waiter)| waiter.waits.is_some() && alone(waiter));
        Self { last_before: last.map(|(last, _)| *last), all_holders: last.is_some() }
    }
}

/// Returns the circle along the path from the first step to step `at`, which leads back to the first.
fn deadlock_at(queues: &Queues, steps: &[Step<'_>], mut at: usize, behind: bool) -> Deadlock {
    let mut members = Vec::new();
    loop {
        let step = &steps[at];
        let waiter = queues.by_lock.get(step.lock).and_then(|queue| queue.get(&step.ticket));
        if let Some(who) = waiter.and_then(|waiter| waiter.waits.as_ref()) {
            members.push(Member { run: who.run, task: who.task.clone(), lock: step.lock.name.clone() });
        }
        if at == 0 {
            break;
        }
        at = step.from;
    }
    members.reverse();
    Deadlock { members, behind }
}

#[cfg(test)]
mod tests;
