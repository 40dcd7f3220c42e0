//! Options of a store in a SQLite file.

/// The state of a commit when it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Written to the disk: answered commits survive a power cut.
    Full,
    /// Written to the operating system: answered commits survive a crash of the host, but a crash of the machine may
    /// lose the last ones (and never more than those).
    Normal,
}

/// Options for opening a store.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The state of a commit when it is answered; [`Durability::Full`] by default.
    pub sync: Durability,
    /// Threads that read; at least 1, and 2 by default. More let more slow queries (long lists, large outputs) run at
    /// once.
    pub readers: usize,
    /// KiB of the file that the writer keeps in memory; 16,384 by default. Too little makes it read pages that it has
    /// just written; more than the hot part of the file gains nothing.
    pub cache_kib: u32,
    /// The largest size of the file in bytes, beyond which the store answers
    /// [`StoreError::DiskFull`](crate::StoreError::DiskFull); none by default.
    pub max_bytes: Option<u64>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { sync: Durability::Full, readers: 2, cache_kib: 16 << 10, max_bytes: None }
    }
}
