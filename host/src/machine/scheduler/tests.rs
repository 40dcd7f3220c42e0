//! Schedules and the policies around them, in virtual time: the real scheduler and the real store, a clock that is set.

mod bounds;
mod missed;
mod overlap;
mod reacting;
mod rig;
mod simulated;
mod world;
