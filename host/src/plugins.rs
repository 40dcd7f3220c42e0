//! The plugin directory: what is dropped in is loaded, checked, and offered to the machine; or shared with other hosts, if
//! they are to use the same.
//!
//! A plugin that does not load harms nobody: it is quarantined with its reason. Where an earlier version of it was good,
//! that one goes on.

mod again;
pub mod apart;
pub mod directory;
pub mod inspect;
mod loading;
pub mod manifest;
mod outlet;
pub mod published;
mod registry;
mod settling;
pub mod single;
mod source;
mod watching;

use serde::{Deserialize, Serialize};

pub use registry::{Ready, Registry};

use crate::task::Name;
use crate::time::Timestamp;

/// A plugin as people see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginInfo {
    /// Its name: the file's, without `.wasm`. Whatever somebody called a file, so not always a [`Name`].
    pub name: String,
    /// Whose.
    pub tenant: Name,
    /// SHA-256 of the component in use, in hex; `None` if none was ever good.
    pub digest: Option<String>,
    /// Bytes of that component.
    pub size: u64,
    /// `task` or `program`.
    pub kind: Option<String>,
    /// The tasks it offers.
    pub tasks: Vec<Name>,
    /// Since when the version in use is.
    pub loaded_at: Option<Timestamp>,
    /// The host that published it for all; `None` if it is this host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_by: Option<String>,
    /// Why what now lies in the directory is not used, if it is not.
    pub quarantine: Option<String>,
}
