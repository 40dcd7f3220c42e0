//! Remembers which tasks changed last, so that a part that knows all others looks at these alone.

use std::collections::{BTreeSet, VecDeque};

use sexton_domain::task::TaskKey;

/// The most keys that are remembered. A part that asks so rarely that more have changed looks at all tasks.
const MOST: usize = 10_000;

/// The keys of the tasks that changed last, with the number of each change.
#[derive(Debug, Default)]
pub(super) struct ChangeLog {
    /// The number of the latest change.
    latest: u64,
    /// All changes after this one are remembered.
    known_from: u64,
    changes: VecDeque<(u64, Vec<TaskKey>)>,
    /// The number of keys in `changes`.
    keys: usize,
}

impl ChangeLog {
    /// Returns the number of the latest change; 0 if there was none.
    pub(super) fn latest(&self) -> u64 {
        self.latest
    }

    /// Remembers a change of these tasks. Returns its number.
    pub(super) fn push(&mut self, tasks: Vec<TaskKey>) -> u64 {
        self.latest += 1;
        self.keys += tasks.len();
        self.changes.push_back((self.latest, tasks));
        while self.keys > MOST
            && let Some((number, tasks)) = self.changes.pop_front()
        {
            self.keys -= tasks.len();
            self.known_from = number;
        }
        self.latest
    }

    /// Remembers that any task may have changed. Returns the number of that change.
    pub(super) fn push_all(&mut self) -> u64 {
        self.latest += 1;
        *self = Self { latest: self.latest, known_from: self.latest, ..Self::default() };
        self.latest
    }

    /// Returns the tasks that have changed since the change with the number `since`; `None` if any may have.
    pub(super) fn since(&self, since: u64) -> Option<BTreeSet<TaskKey>> {
        if since < self.known_from {
            return None;
        }
        let changes = self.changes.iter().rev().take_while(|(number, _)| *number > since);
        Some(changes.flat_map(|(_, tasks)| tasks).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_domain::task::Name;

    fn keys(numbers: std::ops::Range<usize>) -> Vec<TaskKey> {
        let key = |n| TaskKey { tenant: Name::default_tenant(), task: Name::new(&format!("t{n}")).unwrap() };
        numbers.map(key).collect()
    }

    #[test]
    fn changes_that_are_too_many_to_be_remembered_count_as_changes_of_all() {
        let mut log = ChangeLog::default();
        assert_eq!(log.since(0), Some(BTreeSet::new()));

        let first = log.push(keys(0..1));
        let second = log.push(keys(1..MOST + 1));
        let third = log.push(keys(0..1));

        assert_eq!((first, second, third, log.latest()), (1, 2, 3, 3));
        assert_eq!(log.since(0), None, "the first change is forgotten");
        assert_eq!(log.since(first), None, "so is the second, which is as long as all that is remembered");
        assert_eq!(log.since(second).map(|tasks| tasks.len()), Some(1));
        log.push(keys(0..MOST + 1));
        assert_eq!(log.since(third), None);
        assert_eq!(log.since(4), Some(BTreeSet::new()));
    }
}
