//! Moving all that one store has into another, of whichever kind, while no host uses either.
//!
//! A store hands out pages of records (`records`) and takes them in; `moving` does the rest. A page is taken in together with
//! how far it reaches, in one transaction, so that a move that was cut off goes on from there; and when all is there, both
//! stores are read once more, and compared by counts and digests.
//!
//! Sums over runs and entries are not moved: whoever takes in a record that is new counts it in, so that one that is offered
//! again changes nothing. Locks, and the places of those who wait for them, are not moved either: nobody is under way who could
//! let go of them. A run that was under way arrives with a claim that has expired, so the next host finds it lost.

mod moving;
mod page;
mod records;
#[cfg(test)]
pub(in crate::store) mod tests;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use moving::{Compared, End, MoveError, Moved, Plan, Told, Watcher, Work, move_all};
pub(in crate::store) use page::Record;
pub use page::{Page, Sum, Summing};
pub use records::{
    AttemptRecord, ComponentRecord, EntryRecord, PartRecord, PauseRecord, PluginRecord, RunRecord, ScheduleRecord,
    TaskRecord,
};

use super::{Result, StoreError};
use crate::time::Timestamp;

/// Kinds of records, in the order they are moved: those that others refer to come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What tasks' schedules have come to, and how the tasks stand.
    Tasks,
    /// Pauses of more than one task.
    Pauses,
    /// Schedules that were added.
    Schedules,
    /// Cache entries.
    Entries,
    /// Components that were published.
    Components,
    /// What they are, in parts.
    Parts,
    /// Plugins that were published.
    Plugins,
    /// Runs, with what they were given and what they made.
    Runs,
    /// Attempts that are over, with their logs.
    Attempts,
}

impl Kind {
    /// All kinds, in their order.
    pub const ALL: [Self; 9] = [
        Self::Tasks,
        Self::Pauses,
        Self::Schedules,
        Self::Entries,
        Self::Components,
        Self::Parts,
        Self::Plugins,
        Self::Runs,
        Self::Attempts,
    ];

    /// The word for it, the same everywhere: that of the stores' tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Pauses => "pauses",
            Self::Schedules => "schedules",
            Self::Entries => "entries",
            Self::Components => "components",
            Self::Parts => "component_parts",
            Self::Plugins => "published",
            Self::Runs => "runs",
            Self::Attempts => "attempts",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a record stands among those of its kind; no two have the same. Texts are in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Key {
    /// A run and an attempt at it. The second is 0 where the first says it all.
    Numbers(i64, i64),
    /// A tenant, and a name that is the tenant's. The second is empty where the first says it all.
    Names(String, String),
    /// A component, and a part of it.
    Part(String, u32),
}

impl Key {
    /// The numbers of a key, if it is one of numbers; else such as come before all.
    pub(in crate::store) fn numbers(after: Option<&Self>) -> (i64, i64) {
        match after {
            Some(Self::Numbers(first, second)) => (*first, *second),
            _ => (i64::MIN, i64::MIN),
        }
    }

    /// The same for a component and its part.
    pub(in crate::store) fn part(after: Option<&Self>) -> (&str, i64) {
        match after {
            Some(Self::Part(digest, part)) => (digest.as_str(), i64::from(*part)),
            _ => ("", -1),
        }
    }

    /// The same for names.
    pub(in crate::store) fn names(after: Option<&Self>) -> (&str, &str) {
        match after {
            Some(Self::Names(tenant, name)) => (tenant.as_str(), name.as_str()),
            _ => ("", ""),
        }
    }
}

/// How much a page may hold: so many records, and no further one once they have so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Records at most.
    pub records: usize,
    /// Bytes of what may be large: inputs, outputs, logs, values.
    pub bytes: usize,
}

impl Default for Bound {
    /// Small enough to be written in a second over a slow line, large enough that waiting for the disk is not what takes
    /// most of the time.
    fn default() -> Self {
        Self { records: 500, bytes: 1 << 20 }
    }
}

/// The greatest numbers that a store has given out. They are never given out again, whatever is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Of runs.
    pub run: i64,
    /// Of claims and locks, and versions of cache entries.
    pub fence: i64,
    /// Versions (and numbers) of added schedules.
    pub schedule: i64,
    /// Versions of published plugins.
    pub plugin: i64,
}

impl Counters {
    /// The greater ones of both.
    #[must_use]
    pub(in crate::store) fn or_greater(self, other: Self) -> Self {
        Self {
            run: self.run.max(other.run),
            fence: self.fence.max(other.fence),
            schedule: self.schedule.max(other.schedule),
            plugin: self.plugin.max(other.plugin),
        }
    }
}

/// How far a move has come, as its destination has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is moved, as [`Plan::from`] calls it.
    pub source: String,
    /// The last record of each kind that is there.
    pub reached: BTreeMap<Kind, Key>,
}

impl Progress {
    /// From the rows that [`Transfer::begin_move`] made: kind, source, and the key of the last record as JSON.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unusable`] for what another version may have written.
    pub(in crate::store) fn of_rows(
        rows: impl IntoIterator<Item = (String, String, Option<String>)>,
    ) -> Result<Option<Self>> {
        let mut progress: Option<Self> = None;
        for (kind, source, key) in rows {
            let progress = progress.get_or_insert_with(|| Self { source, reached: BTreeMap::new() });
            let unknown = || {
                StoreError::Unusable(format!("a move of {kind} was begun by another version of sexton: use that one"))
            };
            let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind).ok_or_else(unknown)?;
            if let Some(key) = key {
                progress.reached.insert(kind, serde_json::from_str(&key).map_err(|_| unknown())?);
            }
        }
        Ok(progress)
    }
}

/// A store as one end of a move.
#[async_trait]
pub trait Transfer {
    /// The hosts that use it at `now`, or at the time by its own clock, if it has one.
    async fn in_use_by(&self, now: Timestamp) -> Result<Vec<String>>;

    /// Whether it has nothing that a move brings.
    async fn is_empty(&self) -> Result<bool>;

    /// How many records of a kind it has.
    async fn count(&self, kind: Kind) -> Result<u64>;

    /// Records of a kind, in the order of their keys, after the one that has the key `after`. None only if there are no more.
    async fn page(&self, kind: Kind, after: Option<Key>, bound: Bound) -> Result<Page>;

    /// The numbers that it has given out.
    async fn counters(&self) -> Result<Counters>;

    /// The move into it that was begun and is not over.
    async fn moving(&self) -> Result<Option<Progress>>;

    /// From now on all is moved into it from `source`, and no host can open it. What it gives out itself is beyond `counters`.
    async fn begin_move(&self, source: &str, counters: Counters) -> Result<()>;

    /// Take in records, and write down that all up to the last of them are there. One that is there already is left as it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::Other`] if no move was begun.
    async fn take(&self, page: Page) -> Result<()>;

    /// The move into it is over: hosts may use it.
    async fn end_move(&self, counters: Counters) -> Result<()>;
}

/// What a host is told that opens the store `place` while it has only a part of `source`.
pub(in crate::store) fn half_moved(place: &str, source: &str) -> StoreError {
    StoreError::Unusable(format!(
        "{place} has only a part of `{source}`: have `sexton migrate` end what it began, or name an empty store"
    ))
}

/// A text as every store can hold it: PostgreSQL's texts have no NUL.
pub(in crate::store) fn without_nul(text: &mut String) {
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
    }
}
