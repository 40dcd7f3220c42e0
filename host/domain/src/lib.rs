//! Defines tasks, runs, tenants and schedules, and decides what follows from facts about them.
//!
//! Every decision here is a function of its arguments, time included. The crate knows no IO, no clock, no async code, no
//! SQL and no wasmtime, and it builds in seconds.

pub mod labels;
pub mod lengths;
pub mod lifecycle;
mod openapi;
pub mod pause;
pub mod retry;
pub mod run;
pub mod schedule;
pub mod supervision;
pub mod task;
pub mod tenant;
pub mod time;
