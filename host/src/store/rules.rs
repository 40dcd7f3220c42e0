//! Decisions that every store takes alike: pure functions from the facts that a store has read to what it writes.

pub mod runs;
