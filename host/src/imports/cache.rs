//! The `cache` import.

/// A renewal that a guest holds a handle to.
#[derive(Debug)]
pub struct Renewal;
