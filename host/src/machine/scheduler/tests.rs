//! Tests schedules and the policies around them in virtual time, with the real scheduler and the real store.

mod bounds;
mod locking;
mod missed;
mod overlap;
mod reacting;
mod rig;
mod simulated;
mod world;
