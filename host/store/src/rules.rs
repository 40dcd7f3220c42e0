//! Decides what every store decides alike: pure functions from the facts that a store has read to what it writes.
//!
//! A store reads facts, a rule decides, the store writes. If a statement of SQL must decide by itself, because nothing
//! is read before it, a comment there names its rule, and the conformance suite checks that it follows it.

pub(super) mod added;
pub(super) mod backfills;
pub(super) mod cache;
pub(super) mod claims;
pub(super) mod events;
pub(super) mod finish;
pub(super) mod latest;
pub(super) mod lists;
pub(super) mod pausing;
pub(super) mod requests;
pub(super) mod retention;
pub mod runs;
pub(super) mod waiting;

#[cfg(test)]
mod tests;
