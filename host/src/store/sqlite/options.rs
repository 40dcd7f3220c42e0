//! How a store in a SQLite file is opened.

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The disk: what was answered outlives a power cut.
    Full,
    /// The operating system: what was answered outlives a crash of the host, not of the machine, which may lose the last
    /// commits (and never more than those).
    Normal,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// What a commit waits for. [`Durability::Full`] unless said otherwise.
    pub sync: Durability,
    /// Threads that read; at least 1, and 2 unless said otherwise. More let more slow queries (long lists, large
    /// outputs) run at once.
    pub readers: usize,
    /// KiB of the file that the writer keeps in memory; 16,384 unless said otherwise. Too little makes it read what it
    /// has just written, more than the hot part of the file brings nothing.
    pub cache_kib: u32,
    /// The largest size of the file in bytes, beyond which the store answers [`StoreError::DiskFull`](crate::store::StoreError::DiskFull); none unless said
    /// otherwise.
    pub max_bytes: Option<u64>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { sync: Durability::Full, readers: 2, cache_kib: 16 << 10, max_bytes: None }
    }
}
