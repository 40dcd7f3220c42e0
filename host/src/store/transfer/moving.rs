//! A move from its beginning to its end: what may stand in its way, copying, comparing.

use super::{Bound, Key, Kind, Progress, Sum, Summing, Transfer};
use crate::store::StoreError;
use crate::time::Timestamp;

/// What is to be moved how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How people call the source, the same each time: who goes on with a move is told by this from one who begins another.
    pub from: String,
    /// Whether hosts that use one of the stores are no hindrance.
    pub force: bool,
    /// How much is moved in one transaction.
    pub page: Bound,
    /// The time it is.
    pub now: Timestamp,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What is moved from.
    Source,
    /// What is moved to.
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

/// Why a move has not been made.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// A host would go on writing, or write what is not its own.
    #[error("the {0} is in use by {1}")]
    InUse(End, String),
    /// What is there would be mixed with what comes.
    #[error("the destination is not empty, and nothing was being moved into it")]
    NotEmpty,
    /// It is being filled from something else.
    #[error("the destination has a part of `{0}` already")]
    Another(String),
    /// What is to be moved is not all there.
    #[error("the source has only a part of `{0}`")]
    Unfinished(String),
    /// One of the stores did not do as it was asked.
    #[error("{0}: {1}")]
    Store(End, StoreError),
}

type Result<T> = std::result::Result<T, MoveError>;

/// Say which store an error is about.
fn at<T>(end: End, result: crate::store::Result<T>) -> Result<T> {
    result.map_err(|error| MoveError::Store(end, error))
}

/// What is being done with a kind of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// They are read from the source and written to the destination.
    Copying,
    /// They are read from both.
    Comparing,
}

/// What whoever watches a move is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// From now on it is about these.
    Begins {
        /// What is done with them.
        work: Work,
        /// Their kind.
        kind: Kind,
        /// How many there are.
        records: u64,
        /// How many of them were done before.
        before: u64,
    },
    /// So many more are done.
    Did(u64),
    /// All of them are.
    Done,
}

/// Who is told.
pub type Watcher<'a> = &'a mut dyn FnMut(Told);

/// A kind of records as both stores have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Which.
    pub kind: Kind,
    /// What those of the source come to.
    pub source: Sum,
    /// What those of the destination come to.
    pub destination: Sum,
}

impl Compared {
    /// Whether there is no difference.
    pub fn is_same(&self) -> bool {
        self.source == self.destination
    }
}

/// What came of a move.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Whether it went on where another had been cut off.
    pub went_on: bool,
    /// All kinds.
    pub compared: Vec<Compared>,
}

impl Moved {
    /// The kinds in which there is a difference. If there are any the move is not over.
    pub fn differing(&self) -> Vec<Kind> {
        self.compared.iter().filter(|compared| !compared.is_same()).map(|compared| compared.kind).collect()
    }

    /// Runs that were under way, and that the next host finds lost.
    pub fn under_way(&self) -> u64 {
        self.compared.iter().map(|compared| compared.destination.under_way).sum()
    }
}

/// Move all that `source` has into `destination`, or what is left of it, and compare. Where there is a difference all stays as
/// it is, and no host opens the destination.
///
/// # Errors
///
/// [`MoveError`]. What was moved until then stays, and the next call goes on from there.
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

/// See that nothing stands in the way. How far an earlier move has come, if it was cut off.
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

/// Copy the records of a kind that come after the one with key `reached`.
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
    watcher(Told::Begins { work: Work::Copying, kind, records, before });
    loop {
        let found = at(End::Source, source.page(kind, reached, page).await)?;
        let (last, count) = (found.last(), found.len() as u64);
        if last.is_none() {
            break;
        }
        at(End::Destination, destination.take(found).await)?;
        watcher(Told::Did(count));
        reached = last;
    }
    watcher(Told::Done);
    Ok(())
}

/// Read the records of a kind once more on both sides.
async fn compare(
    source: &dyn Transfer,
    destination: &dyn Transfer,
    kind: Kind,
    page: Bound,
    watcher: Watcher<'_>,
) -> Result<Compared> {
    let records = at(End::Source, source.count(kind).await)?;
    watcher(Told::Begins { work: Work::Comparing, kind, records, before: 0 });
    let mut nobody = |_: Told| {};
    // Each mostly waits for its own disk.
    let (source, destination) = tokio::try_join!(
        sum(End::Source, source, kind, page, watcher),
        sum(End::Destination, destination, kind, page, &mut nobody),
    )?;
    watcher(Told::Done);
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
        watcher(Told::Did(count));
        reached = last;
    }
}
