//! Places `H` in a range. The place depends on a name, and is the same on every host and in every version, for ever.

use sha2::{Digest, Sha256};

/// Returns which of `phases` places (1 or more) the name has in this field.
///
/// It is the first eight bytes, big-endian, of the SHA-256 of the name, a NUL and the field's name (`second`, `minute`,
/// `hour`, `day-of-month`, `month`, `day-of-week`), modulo `phases`. A change here would move the runs of every task
/// that uses `H`.
pub(super) fn phase(name: &str, field: &str, phases: u32) -> u32 {
    let mut sha = Sha256::new();
    sha.update(name);
    sha.update([0]);
    sha.update(field);
    let hash = u64::from_be_bytes(*sha.finalize().first_chunk().expect("a SHA-256 has 32 bytes"));
    u32::try_from(hash % u64::from(phases.max(1))).expect("less than a u32")
}
