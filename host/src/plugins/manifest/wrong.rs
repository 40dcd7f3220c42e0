//! Defines a fault of a manifest.

use std::ops::Range;

/// An error: where it is, what is wrong, and what to do.
pub(super) type Wrong = (Range<usize>, String);
