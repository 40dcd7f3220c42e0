//! The domain alone: the root of a crate of its own (`tests/domain`), which builds in seconds while the host takes a
//! minute. So each of its lines can be changed, and its tests run, many hundred times: `make mutants`.

#![expect(unused_imports, reason = "some is for the other parts of the host, which are not here")]

mod lengths;
pub mod lifecycle;
pub mod pause;
pub mod retry;
pub mod run;
pub mod schedule;
pub mod supervision;
pub mod task;
pub mod tenant;
pub mod time;
