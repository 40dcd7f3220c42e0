//! Tests end to end: the real binary, real components, a real store. There is one test binary, so that they are built
//! once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod company;
mod compiled;
mod harness;
#[path = "../postgres/mod.rs"]
mod postgres;
#[path = "../proxy/mod.rs"]
mod proxy;

mod absent;
mod accounts;
mod added;
mod as_written;
mod backup;
mod bad_input;
mod cache;
mod cli;
mod clock;
mod compiling;
mod crash;
mod descriptors;
mod documents;
mod ending;
mod explain;
mod frontpage;
mod host_log;
mod hosts;
mod hung;
mod latest;
mod locks;
mod many_hosts;
mod memory;
mod migrate;
mod outcomes;
mod pace;
mod pausing;
mod plugins;
mod policies;
mod private_files;
mod quota;
mod reach;
mod readme;
mod real_clock;
mod refusals;
mod rooms;
mod saving;
mod schedules;
mod shutdown;
mod signals;
mod simulate;
mod standard_interfaces;
mod tenants;
mod terminal;
mod thin_line;
mod unseen;
mod views;
