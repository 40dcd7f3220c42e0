//! What schedules ask that go by how earlier runs went: often, so it must cost little.

use crate::run::{RunId, RunState};
use crate::schedule::{Awaited, Going};
use crate::store::TaskState;
use crate::task::TaskKey;
use crate::time::Timestamp;

/// How a task's schedule and its runs stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// What its schedule has come to.
    pub state: TaskState,
    /// How its runs go.
    pub going: Going,
}

/// Which run is waited for: the task, and the key that it was made with ([`NewRun::dedup`](super::NewRun::dedup)).
pub type RunKey = (TaskKey, String);

/// How a run stands that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stands {
    /// Which it is.
    pub run: RunId,
    /// Where it is in its life.
    pub state: RunState,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
}

impl From<&Stands> for Awaited {
    fn from(run: &Stands) -> Self {
        match run.state.is_over() {
            true => Self::Over { run: run.run, state: run.state, at: run.ended_at.unwrap_or_default() },
            false => Self::Going,
        }
    }
}

/// What a schedule has to remember although it makes no run.
#[derive(Clone, Debug)]
pub struct Remember {
    /// Whose schedule.
    pub task: TaskKey,
    /// What it remembered when it was looked at. Nothing is done if that is something else now.
    pub from: Option<String>,
    /// What it has to remember from now on.
    pub to: String,
    /// Pause it, too, for this reason. A pause that is there already stays as it is.
    pub pause: Option<String>,
    /// The time it is.
    pub now: Timestamp,
}
