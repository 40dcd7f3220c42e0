//! Finds runs that wait for one another in a circle.
//!
//! A run that waits for a lock waits for those who hold it in its way, and for those who stand before it in the queue in
//! its way: two are in each other's way unless both share. Only who waits can be part of a circle, so only they are known
//! here, and only those of this host: a circle through another host ends with a deadline.
//!
//! A run waits for one lock at a time. So whoever stands before it in a queue leads on to nothing but that lock's holders,
//! and a search looks at each lock and each run that waits once, not at all pairs in a queue.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::waits::{Queues, Waiter};
use crate::run::RunId;
use crate::store::{LockMode, LockName};
use crate::task::Name;

/// Members of a circle that are told; more would make a line that nobody reads.
const TOLD: usize = 8;

/// Runs that wait for one another in a circle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlock {
    /// Each waits for what the next one holds, and the last for the first; the first began to wait last.
    pub members: Vec<Member>,
    /// The last waits for its turn behind the first, which does not hold what it waits for.
    pub behind: bool,
}

/// A run in a circle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub run: RunId,
    /// Of which task.
    pub task: Name,
    /// The lock that it waits for. A guest's own word.
    pub lock: String,
}

/// One line: `run 4 of `a` waits for lock `x`, run 5 of `b`, which has it, waits for lock `y`, and run 4 has that`.
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

/// A wait that was reached, and from which one.
struct Step<'a> {
    lock: &'a Arc<LockName>,
    ticket: u64,
    from: usize,
}

/// The circle that the wait `ticket` for `lock` is part of.
pub(super) fn circle(queues: &Queues, lock: &Arc<LockName>, ticket: u64) -> Option<Deadlock> {
    let mut steps = vec![Step { lock, ticket, from: 0 }];
    let mut reached = HashSet::from([ticket]);
    // Locks whose holders were followed: all of them, or only those that hold it alone.
    let mut followed: HashMap<&LockName, bool> = HashMap::new();
    let mut at = 0;
    while let Some(&Step { lock: here, ticket: waits, .. }) = steps.get(at) {
        let way = queues.by_lock.get(here).map_or(InTheWay::default(), |queue| InTheWay::of(queue, waits));
        if here == lock && waits != ticket && way.last_before.is_some_and(|last| ticket <= last) {
            return Some(told(queues, &steps, at, true));
        }
        let before = followed.get(&**here).copied();
        if before != Some(true) && before != Some(way.all_holders) {
            followed.insert(here, way.all_holders);
            for holder in queues.held.get(here).into_iter().flatten() {
                if !way.all_holders && holder.mode == LockMode::Shared {
                    continue;
                }
                if holder.ticket == ticket {
                    return Some(told(queues, &steps, at, false));
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

/// What one that stands in a queue waits for.
#[derive(Clone, Copy, Debug, Default)]
struct InTheWay {
    /// It waits for all who stand up to here, itself not counted.
    last_before: Option<u64>,
    /// Whether for those who share the lock, too.
    all_holders: bool,
}

impl InTheWay {
    fn of(queue: &BTreeMap<u64, Waiter>, ticket: u64) -> Self {
        let alone = |waiter: &Waiter| waiter.mode == LockMode::Exclusive;
        if queue.get(&ticket).is_some_and(alone) {
            let last_before = queue.range(..ticket).next_back().map(|(last, _)| *last);
            return Self { last_before, all_holders: true };
        }
        // Who shares waits for no other that does, but for one that wants it alone, and so for whatever that one waits.
        let last = queue.range(..ticket).rev().find(|(_, waiter)| waiter.waits.is_some() && alone(waiter));
        Self { last_before: last.map(|(last, _)| *last), all_holders: last.is_some() }
    }
}

/// The way from the first step to the one `at`, which leads back to the first.
fn told(queues: &Queues, steps: &[Step<'_>], mut at: usize, behind: bool) -> Deadlock {
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
