//! The `locks` import.

/// A lock that a guest holds a handle to.
#[derive(Debug)]
pub struct HeldLock;
