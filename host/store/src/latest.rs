//! Selects the runs of a task that users look at first.

use std::collections::BTreeMap;

use super::RunInfo;
use sexton_domain::task::TaskKey;

/// The run of a task that began last, and the run that waits beside it.
#[derive(Clone, Debug, Default)]
pub struct LatestRuns {
    /// The run whose latest attempt was claimed last. If that run is no longer kept: the run with the greatest id among
    /// those that were claimed at least once.
    pub begun: Option<RunInfo>,
    /// The run that starts first among those that were never claimed.
    pub waiting: Option<RunInfo>,
}

impl LatestRuns {
    /// Groups runs by task.
    pub(super) fn of(begun: Vec<RunInfo>, waiting: Vec<RunInfo>) -> BTreeMap<TaskKey, Self> {
        let mut all = BTreeMap::<TaskKey, Self>::new();
        for run in begun {
            let task = run.task.clone();
            all.entry(task).or_default().begun = Some(run);
        }
        for run in waiting {
            let task = run.task.clone();
            all.entry(task).or_default().waiting = Some(run);
        }
        all
    }
}
