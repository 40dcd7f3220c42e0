//! Loads and checks the plugins of a plugin directory, and offers them to the machine, or shares them with other hosts
//! that are to use the same plugins.
//!
//! A plugin that does not load affects no other: it is quarantined with its reason. If an earlier version of it was
//! good, that version stays in use.

pub mod directory;
pub mod inspect;
pub mod load_one;
mod loading;
pub mod manifest;
pub mod published;
mod ranking;
mod registry;
mod retries;
pub mod separation;
mod settling;
mod sink;
mod source;
pub(crate) mod watching;

pub use registry::{Ready, Registry};

use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// A plugin as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginInfo {
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
    pub published_by: Option<String>,
    /// The reason why the files in the directory are not used, if they are not.
    pub quarantine: Option<String>,
}
