//! Runs a move from beginning to end: checks what may prevent it, copies, and compares.

use super::{Bound, Key, Kind, Progress, Sum, Summing, Transfer};
use crate::StoreError;
use sexton_domain::time::Timestamp;

/// The parameters of a move.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name of the source, the same each time: it distinguishes continuing a move from beginning another.
    pub from: String,
    /// Whether to move even if hosts use one of the stores.
    pub force: bool,
    /// The most that is moved in one transaction.
    pub page: Bound,
    pub now: Timestamp,
}

/// One of the two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The store that is moved from.
    Source,
    /// The store that is moved to.
    Destination,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Source => "source",
            Self::Destination => "destination",
        })
    }
}

/// The reason why a move was not made.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// A host would continue to write, or would write to what is not its own.
    #[error("the {0} is in use by {1}")]
    InUse(End, String),
    /// The contents of the destination would be mixed with those of the source.
    #[error("the destination is not empty, and nothing was being moved into it")]
    NotEmpty,
    /// The destination is being filled from another source.
    #[error("the destination has a part of `{0}` already")]
    Another(String),
    /// The source is itself incomplete.
    #[error("the source has only a part of `{0}`")]
    Unfinished(String),
    /// A call to one of the stores failed.
    #[error("{0}: {1}")]
    Store(End, StoreError),
}

type Result<T> = std::result::Result<T, MoveError>;

/// Adds to an error the store that it is about.
fn at<T>(end: End, result: crate::Result<T>) -> Result<T> {
    result.map_err(|error| MoveError::Store(end, error))
}

/// The work on a kind of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The records are read from the source and written to the destination.
    Copying,
    /// The records are read from both stores.
    Comparing,
}

/// The progress that the watcher of a move receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveEvent {
    /// The work on a kind of records begins.
    Begins {
        work: Work,
        kind: Kind,
        records: u64,
        /// The number of records that an earlier move has done.
        before: u64,
    },
    /// This many more records are done.
    Did(u64),
    /// All records of the kind are done.
    Done,
}

/// Receives the progress of a move.
pub type Watcher<'a> = &'a mut dyn FnMut(MoveEvent);

/// A kind of records as both stores have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    pub kind: Kind,
    /// The sum of the source's records.
    pub source: Sum,
    /// The sum of the destination's records.
    pub destination: Sum,
}

impl Compared {
    /// Returns whether the records are the same.
    pub fn is_same(&self) -> bool {
        self.source == self.destination
    }
}

/// The result of a move.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Whether it continued an interrupted move.
    pub went_on: bool,
    /// The comparison of each kind.
    pub compared: Vec<Compared>,
}

impl Moved {
    /// Returns the kinds that differ. If there are any, the move is not over.
    pub fn differing(&self) -> Vec<Kind> {
        self.compared.iter().filter(|compared| !compared.is_same()).map(|compared| compared.kind).collect()
    }

    /// Returns the number of runs that were under way, which the next host finds lost.
    pub fn under_way(&self) -> u64 {
        self.compared.iter().map(|compared| compared.destination.under_way).sum()
    }
}

/// Moves the contents of `source` into `destination`, or what is left of them, and compares. If the stores differ,
/// everything stays as it is, and no host opens the destination.
///
/// # Errors
///
/// [`MoveError`]. Everything moved until then stays, and the next call continues from there.
pub async fn move_all(
    source: &dyn Transfer,
    destination: &dyn Transfer,
    plan: &Plan,
    watcher: Watcher<'_>,
) -> Result<Moved> {
    let progress = begin(source, destination, plan).await?;
    let went_on = progress.is_some();
    let mut progress = progress.unwrap_or_default();
    for kind in Kind::ALL {
        copy(source, destination, kind, progress.reached.remove(&kind), plan.page, watcher).await?;
    }
    let mut compared = Vec::with_capacity(Kind::ALL.len());
    for kind in Kind::ALL {
        compared.push(compare(source, destination, kind, plan.page, watcher).await?);
    }
    let moved = Moved { went_on, compared };
    if moved.differing().is_empty() {
        let counters = at(End::Source, source.counters().await)?;
        at(End::Destination, destination.end_move(counters).await)?;
    }
    Ok(moved)
}

/// Checks that nothing prevents the move. Returns the progress of an earlier move that was interrupted.
async fn begin(source: &dyn Transfer, destination: &dyn Transfer, plan: &Plan) -> Result<Option<Progress>> {
    if !plan.force {
        for (end, store) in [(End::Source, source), (End::Destination, destination)] {
            let hosts = at(end, store.in_use_by(plan.now).await)?;
            if !hosts.is_empty() {
                let hosts: Vec<String> = hosts.iter().map(|host| format!("host `{host}`")).collect();
                return Err(MoveError::InUse(end, hosts.join(" and ")));
            }
        }
    }
    if let Some(part) = at(End::Source, source.moving().await)? {
        return Err(MoveError::Unfinished(part.source));
    }
    match at(End::Destination, destination.moving().await)? {
        Some(progress) if progress.source == plan.from => return Ok(Some(progress)),
        Some(other) => return Err(MoveError::Another(other.source)),
        None => {}
    }
    if !at(End::Destination, destination.is_empty().await)? {
        return Err(MoveError::NotEmpty);
    }
    let counters = at(End::Source, source.counters().await)?;
    at(End::Destination, destination.begin_move(&plan.from, counters).await)?;
    Ok(None)
}

/// Copies the records of a kind that come after the key `reached`.
async fn copy(
    source: &dyn Transfer,
    destination: &dyn Transfer,
    kind: Kind,
    mut reached: Option<Key>,
    page: Bound,
    watcher: Watcher<'_>,
) -> Result<()> {
    let records = at(End::Source, source.count(kind).await)?;
    let before = match reached {
        Some(_) => at(End::Destination, destination.count(kind).await)?,
        None => 0,
    };
    watcher(MoveEvent::Begins { work: Work::Copying, kind, records, before });
    loop {
        let found = at(End::Source, source.page(kind, reached, page).await)?;
        let (last, count) = (found.last(), found.len() as u64);
        if last.is_none() {
            break;
        }
        at(End::Destination, destination.take(found).await)?;
        watcher(MoveEvent::Did(count));
        reached = last;
    }
    watcher(MoveEvent::Done);
    Ok(())
}

/// Reads the records of a kind once more on both sides.
async fn compare(
    source: &dyn Transfer,
    destination: &dyn Transfer,
    kind: Kind,
    page: Bound,
    watcher: Watcher<'_>,
) -> Result<Compared> {
    let records = at(End::Source, source.count(kind).await)?;
    watcher(MoveEvent::Begins { work: Work::Comparing, kind, records, before: 0 });
    let mut nobody = |_: MoveEvent| {};
    // Each side mostly waits for its own disk, so both run at once.
    let (source, destination) = tokio::try_join!(
        sum(End::Source, source, kind, page, watcher),
        sum(End::Destination, destination, kind, page, &mut nobody),
    )?;
    watcher(MoveEvent::Done);
    Ok(Compared { kind, source, destination })
}

async fn sum(end: End, store: &dyn Transfer, kind: Kind, page: Bound, watcher: Watcher<'_>) -> Result<Sum> {
    let (mut summing, mut reached) = (Summing::default(), None);
    loop {
        let found = at(end, store.page(kind, reached, page).await)?;
        let (last, count) = (found.last(), found.len() as u64);
        if last.is_none() {
            return Ok(summing.sum());
        }
        summing.add(found);
        watcher(MoveEvent::Did(count));
        reached = last;
    }
}
