//! Simulates a host whose clock jumps, so that days of a plugin's tasks take a moment.
//!
//! All parts are the real ones (scheduler, store, claims, executor, runtime, guests), driven in turn instead of side by
//! side. At each instant all that is due is fired, claimed and run, one guest at a time; when there is nothing left to
//! do, the time jumps to the next instant at which there is. So the same plan gives the same report, word for word, as
//! long as guests do not access the real world.
//!
//! Instants of a [`Plan`] are those of a right clock. The host's clock, and with it the instants in a [`SimulationReport`], also
//! includes the steps by which that clock is set.

mod error;
mod plan;
mod report;
mod sim_host;

pub use plan::{Down, Plan, RequestedRun, Step};
pub use report::{Attempt, Event, LeftOut, Line, Run, SimulationReport, Sum};

pub use error::SimulationError;
use sim_host::SimHost;

/// Runs `plan`, and reports the result. Needs a tokio context.
///
/// # Errors
///
/// [`SimulationError`], a line that says what to change.
pub async fn simulate(plan: &Plan) -> Result<SimulationReport, SimulationError> {
    plan.check()?;
    let mut world = SimHost::new(plan).await?;
    world.run_to_end().await?;
    world.tell().await
}
