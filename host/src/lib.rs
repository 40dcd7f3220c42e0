//! Sexton: a host that schedules and supervises tasks compiled to WebAssembly components.
//!
//! `ARCHITECTURE.md` follows a run through the code, and tells which file does what.

// `print!` to a terminal that is gone panics, so `cli::screen` and `telemetry` write instead.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod attempt;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
mod cpu_time;
mod harmless;
pub mod host;
pub mod http;
pub mod imports;
mod lengths;
pub mod lifecycle;
pub mod machine;
pub mod ops;
pub mod pause;
pub mod plugins;
mod private;
#[cfg(test)]
mod reference;
mod regular_file;
pub mod retry;
pub mod run;
pub mod runtime;
pub mod schedule;
pub mod simulation;
pub mod store;
pub mod supervision;
pub mod supervisor;
pub mod task;
pub mod telemetry;
pub mod tenant;
#[cfg(test)]
mod testkit;
pub mod time;
