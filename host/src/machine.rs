//! The loops that make runs happen. No loop calls another: they meet in the store, and share attempts in progress, budgets
//! and pauses.

pub mod alert;
pub mod budget;
pub mod drain;
pub mod executor;
pub mod heartbeat;
pub mod host_pause;
pub mod live;
pub mod membership;
pub mod scheduler;
pub mod summary;
pub mod sweeper;
pub mod timekeeper;
pub mod worker;
