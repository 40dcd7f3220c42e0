//! A renewal to which a guest holds a handle.

use crate::attempt::Charge;
use sexton_store::Entry;

/// The right of a run to renew an entry of the cache.
#[derive(Debug)]
pub struct Renewal {
    pub(super) key: String,
    /// The fence of the refresh lock, while the renewal holds it.
    pub(super) fence: Option<u64>,
    /// The entry as it was when the refresh began, until a new value is published.
    pub(super) last: Option<Entry>,
    /// The memory of `last`, which may take a megabyte.
    pub(super) charge: Charge,
}
