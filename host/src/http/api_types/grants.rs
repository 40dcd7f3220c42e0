//! Defines the JSON of a task's budget and grants.

use std::path::PathBuf;

use serde::Serialize;
use utoipa::ToSchema;

use sexton_domain::task::{Budget, Directory, Grants, HttpHost, Keep, Pattern};

/// Limits of all runs of a task on one host together. Without a number there is no limit.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct BudgetShape {
    /// The units of fuel a minute.
    pub fuel_per_minute: Option<u64>,
    /// The bytes of keys and values of the cache entries that the task was the last to write.
    pub cache: Option<u64>,
}

impl From<Budget> for BudgetShape {
    fn from(budget: Budget) -> Self {
        let Budget { fuel_per_minute, cache } = budget;
        Self { fuel_per_minute, cache }
    }
}

/// Permissions of a task. A name that ends in `*` stands for all names that begin so.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GrantsShape {
    /// The lock names that it may take.
    pub locks: Vec<String>,
    /// The cache keys that it may read and write.
    pub cache: Vec<String>,
    /// The cache keys of which earlier versions are kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<KeepShape>,
    /// The tasks of its tenant that it may enqueue.
    pub schedule: Vec<String>,
    /// The hosts that it may send HTTP requests to.
    pub http: Vec<HttpHostShape>,
    /// The directories that it can use.
    pub directories: Vec<DirectoryShape>,
}

impl From<Grants> for GrantsShape {
    fn from(grants: Grants) -> Self {
        let Grants { locks, cache, keep, schedule, http, directories } = grants;
        let names = |patterns: Vec<Pattern>| patterns.into_iter().map(|Pattern(text)| text).collect();
        Self {
            locks: names(locks),
            cache: names(cache),
            keep: keep.into_iter().map(KeepShape::from).collect(),
            schedule: names(schedule),
            http: http.into_iter().map(HttpHostShape::from).collect(),
            directories: directories.into_iter().map(DirectoryShape::from).collect(),
        }
    }
}

/// Cache keys of which earlier versions are kept when the task writes them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct KeepShape {
    /// The keys.
    pub keys: String,
    /// The number of earlier versions that are kept.
    pub versions: u32,
}

impl From<Keep> for KeepShape {
    fn from(keep: Keep) -> Self {
        let Keep { keys: Pattern(keys), versions } = keep;
        Self { keys, versions }
    }
}

/// A host that a task may call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HttpHostShape {
    /// A host name, `*.example.org` for every name below one, or an IP address.
    pub host: String,
    /// The only port that is allowed; `None` means 80 and 443.
    pub port: Option<u16>,
}

impl From<HttpHost> for HttpHostShape {
    fn from(granted: HttpHost) -> Self {
        let HttpHost { host, port } = granted;
        Self { host, port }
    }
}

/// A directory that a task can use.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DirectoryShape {
    /// The path on the host.
    #[schema(value_type = String)]
    pub host: PathBuf,
    /// The path in the guest.
    pub guest: String,
    /// Whether the guest may change files there.
    pub write: bool,
    /// The most bytes that its files may have together, if the guest may change them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
    /// The most files, directories and links, in the same case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
}

impl From<Directory> for DirectoryShape {
    fn from(directory: Directory) -> Self {
        let Directory { host, guest, write, quota } = directory;
        Self { host, guest, write, quota: quota.map(|quota| quota.bytes), entries: quota.map(|quota| quota.entries) }
    }
}
