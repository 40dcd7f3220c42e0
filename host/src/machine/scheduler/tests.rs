//! The real scheduler on a real store, by a clock that the test sets.

mod reacting;
