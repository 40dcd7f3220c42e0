//! An [`Order`] asks a runtime for one attempt, and an [`Ended`] holds the result.

use std::sync::Arc;

use crate::lifecycle::Ending;
use crate::run::{Claim, Report};
use crate::task::Task;

use super::handle::RunHandle;

/// One attempt to be made.
#[derive(Clone, Debug)]
pub struct Order {
    /// The run, attempt and fence that the host has claimed.
    pub claim: Arc<Claim>,
    /// The task as it was when its run was claimed.
    pub task: Arc<Task>,
    /// Lets others watch and end the attempt.
    pub handle: Arc<RunHandle>,
}

/// The result of an attempt that is over. Nothing of its guest is left.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The attempt's ending, from which the run's next state follows.
    pub ending: Ending,
    /// The record of the attempt that the store keeps.
    pub report: Report,
    /// Whether the attempt was ended because its claim was lost. If so, nothing may be written for it.
    pub claim_lost: bool,
}
