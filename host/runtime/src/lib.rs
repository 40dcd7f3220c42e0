//! Runs WebAssembly components: the state of an attempt ([`attempt`]), the functions that a guest may call
//! ([`imports`]), and the machinery that loads, calls and ends guests ([`runtime`]).
//!
//! `attempt` knows no wasmtime, `imports` stand on it, and `runtime` stands on both.

#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod attempt;
pub mod catalog;
mod cpu_time;
pub mod imports;
pub mod runtime;
#[cfg(test)]
mod testkit;
