//! Tells operators what becomes of a task that goes wrong again and again.
//!
//! A log line with fields for now: `alert` names what happened, so that a log can be watched for it.

use tracing::{error, warn};

use crate::supervision::Consequence;
use crate::task::TaskKey;

/// Tell what an attempt's end made of its task, once it is written.
pub fn tell(task: &TaskKey, after: &Consequence) {
    let standing = after.standing;
    if let Some(pause) = &after.paused {
        let failures = standing.failures;
        error!(alert = "task-paused", task.name = %task, failures, "Task `{task}` is {pause}; it goes on with `sexton resume {}`", task.task);
    }
    if let Some(until) = after.held {
        let crashes = standing.crashes;
        warn!(alert = "task-held-back", task.name = %task, crashes, until = %until, "Task `{task}` is held back until {until} after {crashes} crashes in a row");
    }
}
