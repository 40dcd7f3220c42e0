//! Moves the contents of one store into another, of either kind, while no host uses either.
//!
//! A store hands out pages of records (`records`) and takes them in; `moving` does the rest. A page is taken in
//! together with the position that it reaches, in one transaction, so that an interrupted move continues from there.
//! When everything is moved, both stores are read once more and compared by counts and digests.
//!
//! Sums over runs and entries are not moved: the destination counts each record that is new to it, so that a record
//! that is offered again changes nothing. Locks and places in their queues are not moved either, because no attempt
//! remains that could release them. A run that was under way arrives with an expired claim, so the next host finds it
//! lost.

mod moving;
mod page;
mod records;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use moving::{Compared, End, MoveError, MoveEvent, Moved, Plan, Watcher, Work, move_all};
pub(crate) use page::Record;
pub use page::{Page, Sum, Summing};
pub use records::{
    AttemptRecord, ComponentRecord, EntryRecord, PartRecord, PauseRecord, PluginRecord, RunRecord, ScheduleRecord,
    TaskRecord, VersionRecord,
};

use super::{Result, StoreError};
use sexton_domain::time::Timestamp;

/// The kinds of records, in the order in which they are moved: those that others refer to come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The progress of tasks' schedules, and the states of the tasks.
    Tasks,
    /// The pauses of more than one task.
    Pauses,
    /// The added schedules.
    Schedules,
    /// The cache entries.
    Entries,
    /// The earlier versions of cache entries that are kept.
    Versions,
    /// The published components.
    Components,
    /// The bytes of components, in parts.
    Parts,
    /// The published plugins.
    Plugins,
    /// The runs, with their inputs and outputs.
    Runs,
    /// The attempts that are over, with their logs.
    Attempts,
}

impl Kind {
    /// All kinds, in the order of a move.
    pub const ALL: [Self; 10] = [
        Self::Tasks,
        Self::Pauses,
        Self::Schedules,
        Self::Entries,
        Self::Versions,
        Self::Components,
        Self::Parts,
        Self::Plugins,
        Self::Runs,
        Self::Attempts,
    ];

    /// Returns the word for the kind, the same everywhere: the name of the stores' table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Pauses => "pauses",
            Self::Schedules => "schedules",
            Self::Entries => "entries",
            Self::Versions => "entry_versions",
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

/// The unique position of a record among those of its kind. Texts are in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Key {
    /// A run and an attempt at it. The second is 0 if the first suffices.
    Numbers(i64, i64),
    /// A tenant, and a name that the tenant owns. The second is empty if the first suffices.
    Names(String, String),
    /// A component, and one of its parts.
    Part(String, u32),
}

impl Key {
    /// Returns the numbers of a key of numbers, or else numbers that come before all others.
    pub(crate) fn numbers(after: Option<&Self>) -> (i64, i64) {
        match after {
            Some(Self::Numbers(first, second)) => (*first, *second),
            _ => (i64::MIN, i64::MIN),
        }
    }

    /// Returns the same for a component and its part.
    pub(crate) fn part(after: Option<&Self>) -> (&str, i64) {
        match after {
            Some(Self::Part(digest, part)) => (digest.as_str(), i64::from(*part)),
            _ => ("", -1),
        }
    }

    /// Returns the same for names.
    pub(crate) fn names(after: Option<&Self>) -> (&str, &str) {
        match after {
            Some(Self::Names(tenant, name)) => (tenant.as_str(), name.as_str()),
            _ => ("", ""),
        }
    }
}

/// The most that a page may hold: a number of records, and no further record once they reach a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The most records.
    pub records: usize,
    /// The bytes of what may be large: inputs, outputs, logs, values.
    pub bytes: usize,
}

impl Default for Bound {
    /// Returns a bound that is small enough to be written in a second over a slow line, and large enough that most of
    /// the time does not go into waiting for the disk.
    fn default() -> Self {
        Self { records: 500, bytes: 1 << 20 }
    }
}

/// The greatest numbers that a store has given out. The store never gives them out again, whatever is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The id of the latest run.
    pub run: i64,
    /// The fence of claims and locks, and the version of cache entries.
    pub fence: i64,
    /// The version and number of added schedules.
    pub schedule: i64,
    /// The version of published plugins.
    pub plugin: i64,
}

impl Counters {
    /// Returns the greater number of each kind.
    #[must_use]
    pub(crate) fn or_greater(self, other: Self) -> Self {
        Self {
            run: self.run.max(other.run),
            fence: self.fence.max(other.fence),
            schedule: self.schedule.max(other.schedule),
            plugin: self.plugin.max(other.plugin),
        }
    }
}

/// The progress of a move, as its destination has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The source of the move, as in [`Plan::from`].
    pub source: String,
    /// The last record of each kind that has arrived.
    pub reached: BTreeMap<Kind, Key>,
}

impl Progress {
    /// Reads the progress from the rows that [`Transfer::begin_move`] made: kind, source, and the key of the last
    /// record as JSON.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unusable`] if another version may have written the rows.
    pub(crate) fn of_rows(rows: impl IntoIterator<Item = (String, String, Option<String>)>) -> Result<Option<Self>> {
        let mut progress: Option<Self> = None;
        for (kind, source, key) in rows {
            let progress = progress.get_or_insert_with(|| Self { source, reached: BTreeMap::new() });
            let unknown = || {
                StoreError::Unusable(format!(
                    "a move of {kind} was begun by another version of Sexton: use that version"
                ))
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
    /// Returns the hosts that use the store at `now`, or at the time of the store's own clock, if it has one.
    async fn in_use_by(&self, now: Timestamp) -> Result<Vec<String>>;

    /// Returns whether the store has no records that a move would bring.
    async fn is_empty(&self) -> Result<bool>;

    /// Returns the number of records of a kind.
    async fn count(&self, kind: Kind) -> Result<u64>;

    /// Returns records of a kind, in the order of their keys, after the key `after`. The page is empty only if there
    /// are no more.
    async fn page(&self, kind: Kind, after: Option<Key>, bound: Bound) -> Result<Page>;

    /// Returns the greatest numbers that the store has given out.
    async fn counters(&self) -> Result<Counters>;

    /// Returns the progress of the move into the store, if one was begun and is not over.
    async fn moving(&self) -> Result<Option<Progress>>;

    /// Begins a move from `source` into the store, which no host can open from then on. The numbers that the store
    /// gives out later are beyond `counters`.
    async fn begin_move(&self, source: &str, counters: Counters) -> Result<()>;

    /// Takes in records, and records that everything up to the last of them has arrived. A record that exists is left
    /// as it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::Other`] if no move was begun.
    async fn take(&self, page: Page) -> Result<()>;

    /// Ends the move into the store, so that hosts may use it. The numbers that the store gives out later are beyond
    /// `counters`.
    async fn end_move(&self, counters: Counters) -> Result<()>;
}

/// Returns the error for a host that opens the store `place` while it has only a part of `source`.
pub(crate) fn half_moved(place: &str, source: &str) -> StoreError {
    StoreError::Unusable(format!(
        "{place} has only a part of `{source}`: finish the move with `sexton migrate`, or name an empty store"
    ))
}

/// Replaces NULs in a text, because PostgreSQL's texts cannot hold them.
pub(crate) fn without_nul(text: &mut String) {
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
    }
}
