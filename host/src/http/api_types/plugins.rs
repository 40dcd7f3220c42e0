//! Defines the JSON of plugins.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::plugins::PluginInfo;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// `GET /v1/plugins`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Plugins {
    /// The plugins, by name.
    pub plugins: Vec<PluginShape>,
    /// The value of `cursor` for the next page; `None` if this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A plugin.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PluginShape {
    /// The name of the file without `.wasm`. A file can have any name, so it is not always a [`Name`].
    pub name: String,
    /// The tenant that it belongs to.
    pub tenant: Name,
    /// The SHA-256 of the component in use, in hex; `None` if no version was ever good.
    pub digest: Option<String>,
    /// The size of that component in bytes.
    pub size: u64,
    /// The kind of the component: `task` or `program`.
    pub kind: Option<String>,
    /// The tasks it offers.
    pub tasks: Vec<Name>,
    /// The instant since which the version in use is loaded.
    pub loaded_at: Option<Timestamp>,
    /// The host that published it for all hosts; `None` if it is this host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_by: Option<String>,
    /// The reason why the files in the directory are not used, if they are not.
    pub quarantine: Option<String>,
}

impl From<PluginInfo> for PluginShape {
    fn from(info: PluginInfo) -> Self {
        let PluginInfo { name, tenant, digest, size, kind, tasks, loaded_at, published_by, quarantine } = info;
        Self { name, tenant, digest, size, kind, tasks, loaded_at, published_by, quarantine }
    }
}
