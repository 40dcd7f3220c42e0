//! Defines the errors of a simulation.

/// The reason why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The plan cannot be followed: an instant is outside of it, or a task does not exist.
    #[error("{0}")]
    BadPlan(String),
    /// The plugin does not load.
    #[error("{0}")]
    BadPlugin(String),
    /// More would happen than anyone would read.
    #[error("more than {0} things happen in that time; choose a shorter one")]
    TooMuch(usize),
    /// The parts of the host cannot be created: no room on the disk, no threads.
    #[error("{0}")]
    NoHost(String),
}

impl From<sexton_store::StoreError> for SimulationError {
    fn from(error: sexton_store::StoreError) -> Self {
        Self::NoHost(error.to_string())
    }
}
