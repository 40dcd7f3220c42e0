//! Defines the arguments of commands about hosts, their locks and their caches.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::connection::{ListArgs, TenantCommand};
use crate::http::api_types::cache::MOST_KEPT;

/// The options that a host starts with.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// Configuration file [default: sexton.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory with the plugins; overrides the configuration
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// Directory for the database and compiled code; overrides the configuration
    #[arg(long, value_name = "DIR")]
    pub var: Option<PathBuf>,
    /// Address of the API, such as 127.0.0.1:7070; overrides the configuration
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen)]
    pub listen: Option<SocketAddr>,
    /// URL of the PostgreSQL database with the store; overrides the configuration. Set it in the environment if it has a
    /// password
    #[arg(long, env = "SEXTON_STORE_URL", hide_env_values = true, value_name = "URL")]
    pub store_url: Option<Hidden>,
}

/// Parses the address of `--listen`. A name is refused, because its addresses are decided elsewhere.
fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = text.rsplit_once(':').map_or(text, |(_, port)| port);
        let port = port.parse::<u16>().unwrap_or(7070);
        let what =
            if text.starts_with("localhost") { "is a name, not an address" } else { "is not an address and a port" };
        format!("`{text}` {what}; write 127.0.0.1:{port} or [::1]:{port}")
    })
}

/// A text that may contain a password and is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden(pub(in crate::cli) String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

impl FromStr for Hidden {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct DrainArgs {
    /// Name of the host [default: the one that answers]
    #[arg(value_name = "HOST")]
    pub(in crate::cli) name: Option<String>,
    /// Wait until the host has no run in progress
    #[arg(long, conflicts_with = "undo")]
    pub(in crate::cli) wait: bool,
    /// Let the host take runs again
    #[arg(long)]
    pub(in crate::cli) undo: bool,
    /// Print the API's JSON as it is
    #[arg(long, conflicts_with = "wait")]
    pub(in crate::cli) json: bool,
}

#[derive(Args, Clone, Copy, Debug)]
pub(in crate::cli) struct LocksArgs {
    /// Show which run holds which lock and which runs wait for it
    #[arg(long)]
    pub(in crate::cli) graph: bool,
    /// Print the graph for graphviz
    #[arg(long, requires = "graph", conflicts_with = "json")]
    pub(in crate::cli) dot: bool,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub(in crate::cli) enum CacheCommand {
    /// Print the value of an entry
    #[command(
        // `--version` is an option of its own here.
        disable_version_flag = true,
        after_help = "Example: sexton cache get front/weather\n\
                      Example: sexton cache get front/weather --version 4711"
    )]
    Get(TenantCommand<CacheGetArgs>),
    /// Set an entry
    #[command(after_help = "Example: sexton cache set front/motto 'Memento mori' --ttl 1h")]
    Set(TenantCommand<CacheSetArgs>),
    /// List entries by key
    #[command(after_help = "Example: sexton cache list front/")]
    List(TenantCommand<CacheListArgs>),
    /// List the versions of an entry, the current one first; `keep` in a manifest says how many earlier ones are kept
    #[command(after_help = "Example: sexton cache history front/weather")]
    History(TenantCommand<CacheHistoryArgs>),
    /// Give an entry the value of an earlier version, as a new version
    #[command(disable_version_flag = true, after_help = "Example: sexton cache restore front/weather --version 4711")]
    Restore(TenantCommand<CacheRestoreArgs>),
    /// Delete an entry, with all its versions
    #[command(after_help = "Example: sexton cache delete front/weather")]
    Delete(TenantCommand<CacheKeyArgs>),
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct CacheKeyArgs {
    /// Key of the entry
    pub(in crate::cli) key: String,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct CacheGetArgs {
    /// Key of the entry
    pub(in crate::cli) key: String,
    /// Version to print, of those that are kept [default: the current one]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) version: Option<u64>,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct CacheHistoryArgs {
    /// Key of the entry
    pub(in crate::cli) key: String,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct CacheRestoreArgs {
    /// Key of the entry
    pub(in crate::cli) key: String,
    /// Version whose value the entry gets
    #[arg(long, value_name = "N")]
    pub(in crate::cli) version: u64,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct CacheListArgs {
    /// Only keys that begin with this
    #[arg(default_value = "")]
    pub(in crate::cli) prefix: String,
    /// Only keys after this one
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) after: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct CacheSetArgs {
    /// Key of the entry
    pub(in crate::cli) key: String,
    /// Value of the entry
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub(in crate::cli) value: Option<String>,
    /// File with the value; `-` is stdin
    #[arg(long)]
    pub(in crate::cli) file: Option<PathBuf>,
    /// Delete the entry after this long, such as 10m [default: never]
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) ttl: Option<String>,
    /// Keep this many earlier versions of the entry from now on [default: as before, or as a manifest says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MOST_KEPT)))]
    pub(in crate::cli) keep: Option<u32>,
}
