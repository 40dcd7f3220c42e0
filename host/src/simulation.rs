//! A host whose clock jumps: what a plugin's tasks would do over days, told in a moment.
//!
//! All parts are the real ones (scheduler, store, claims, executor, runtime, guests), driven in turn instead of side by
//! side: at each instant all that is due is fired, claimed and run, one guest at a time; when nobody has anything to do,
//! the time jumps to the next instant at which somebody has. So the same plan comes to the same story, word for word, as
//! far as guests do not ask the real world.
//!
//! Instants of a [`Plan`] are those of a clock that is right; what the host's clock shows, and with it all that is told in
//! a [`Story`], follows the steps that it is set by.

mod plan;
mod story;
mod world;

pub use plan::{Asked, Down, Plan, Step};
pub use story::{Attempt, Event, LeftOut, Line, Run, Story, Sum};

use world::World;

/// Why there is no story.
#[derive(Debug, thiserror::Error)]
pub enum NoStory {
    /// The plan cannot be followed: an instant is outside of it, or there is no such task.
    #[error("{0}")]
    BadPlan(String),
    /// The plugin does not load.
    #[error("{0}")]
    BadPlugin(String),
    /// More would happen than anybody would read.
    #[error("more than {0} things happen in that time; choose a shorter one")]
    TooMuch(usize),
    /// The parts of the host cannot be had: no room on the disk, no threads.
    #[error("{0}")]
    NoHost(String),
}

impl From<crate::store::StoreError> for NoStory {
    fn from(error: crate::store::StoreError) -> Self {
        Self::NoHost(error.to_string())
    }
}

/// Do what `plan` says, and tell what came of it. Needs a tokio context.
///
/// # Errors
///
/// [`NoStory`], a line that says what to do otherwise.
pub async fn simulate(plan: &Plan) -> Result<Story, NoStory> {
    plan.check()?;
    let mut world = World::new(plan).await?;
    world.go_on().await?;
    world.tell().await
}
