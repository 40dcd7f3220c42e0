//! An [`Order`] asks a runtime for one attempt, and an [`Ended`] says how that went.

use std::sync::Arc;

use crate::lifecycle::Ending;
use crate::run::{Claim, Report};
use crate::task::Task;

use super::handle::RunHandle;

/// One attempt to be made.
#[derive(Clone, Debug)]
pub struct Order {
    /// What was claimed.
    pub claim: Arc<Claim>,
    /// The task, as it was when it was claimed.
    pub task: Arc<Task>,
    /// How others watch and end it.
    pub handle: Arc<RunHandle>,
}

/// An attempt that is over. Nothing of its guest is left.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What follows from it.
    pub ending: Ending,
    /// What is written down about it.
    pub report: Report,
    /// Set if the attempt was ended because its claim was lost: nothing may be written for it.
    pub claim_lost: bool,
}
