//! Sexton: a host that schedules and supervises tasks compiled to WebAssembly components.
//!
//! `ARCHITECTURE.md` follows a run through the code, and tells which file does what.

// `print!` to a terminal that is gone panics, so `cli::screen` and `telemetry` write instead.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod cli;
pub mod config;
pub mod dashboard;
pub mod host;
pub mod http;
pub mod machine;
pub mod ops;
pub mod plugins;
#[cfg(test)]
mod reference;
pub mod simulation;
mod store_clock;
pub mod telemetry;
#[cfg(test)]
mod testkit;
