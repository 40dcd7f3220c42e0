//! Defines the JSON of the cache.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use sexton_domain::time::Timestamp;
use sexton_store::{EntryHistory, EntryInfo, VersionInfo};

/// The most earlier versions that are kept of an entry.
pub const MOST_KEPT: u32 = sexton_store::MOST_KEPT;

/// `GET /v1/cache`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Entries {
    /// The entries, by key.
    pub entries: Vec<EntryShape>,
    /// The value of `after` for the next page; `None` if this is the last.
    pub next: Option<String>,
    /// The value of `cursor` for the next page; `None` if this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// An entry, without its value.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EntryShape {
    /// The key.
    pub key: String,
    /// The bytes of the value.
    pub size: u64,
    /// The version, greater after every change.
    pub version: u64,
    /// The instant at which it was set.
    pub set_at: Timestamp,
    /// The instant at which it expires; `None` is never.
    pub expires_at: Option<Timestamp>,
}

impl From<EntryInfo> for EntryShape {
    fn from(info: EntryInfo) -> Self {
        let EntryInfo { key, size, version, set_at, expires_at } = info;
        Self { key, size, version, set_at, expires_at }
    }
}

/// `GET /v1/cache-history/{key}`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EntryHistoryShape {
    /// The key.
    pub key: String,
    /// The number of earlier versions that are kept beside the current one.
    pub keep: u32,
    /// The current version, and then the kept ones from the latest to the earliest.
    pub versions: Vec<VersionShape>,
}

impl EntryHistoryShape {
    /// Returns the history of the entry `key`.
    pub fn of(key: String, history: EntryHistory) -> Self {
        let EntryHistory { keep, versions } = history;
        Self { key, keep, versions: versions.into_iter().map(VersionShape::from).collect() }
    }
}

/// A version of an entry, without its value.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VersionShape {
    /// The version.
    pub version: u64,
    /// The bytes of the value.
    pub size: u64,
    /// The instant at which it was set.
    pub set_at: Timestamp,
    /// The instant at which it expires; `None` is never.
    pub expires_at: Option<Timestamp>,
}

impl From<VersionInfo> for VersionShape {
    fn from(info: VersionInfo) -> Self {
        let VersionInfo { version, size, set_at, expires_at } = info;
        Self { version, size, set_at, expires_at }
    }
}

/// `PUT /v1/cache/{key}` and `POST /v1/cache-restore/{key}`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EntryWritten {
    /// The key.
    pub key: String,
    /// The new version of the entry.
    pub version: u64,
}

/// `DELETE /v1/cache/{key}`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EntryDeleted {
    /// The key.
    pub key: String,
    /// Whether the entry existed.
    pub deleted: bool,
}
