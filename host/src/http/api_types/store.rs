//! Defines the JSON of what a host tells of its store.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use sexton_store::StoreStats;

/// Counts of a store since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreShape {
    /// The number of transactions, each of which waited for the disk.
    pub commits: u64,
    /// The number of waits for the disk, including those of checkpoints.
    pub syncs: u64,
    /// The number of requests that those transactions served.
    pub writes: u64,
}

impl From<StoreStats> for StoreShape {
    fn from(stats: StoreStats) -> Self {
        let StoreStats { commits, syncs, writes } = stats;
        Self { commits, syncs, writes }
    }
}
