//! The test kit: starts hosts, PostgreSQL servers and connections that can be cut, for tests and benches.
//!
//! It knows a host only from the outside, as a process with a folder, a log and an API. Of Sexton's crates it depends on
//! the domain alone, so that the unit tests of all others can use the kit. The modules return errors where a program
//! reports them, and panic where only a test can have asked for the impossible.

pub mod api;
pub mod fixtures;
pub mod folder;
pub mod peer;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod proxy;

use std::time::Duration;

/// The time that a test waits for an event that must happen. It is generous, because machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(180);
