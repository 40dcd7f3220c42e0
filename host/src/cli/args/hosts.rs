//! Defines the arguments of commands about hosts, their locks and their caches.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::connection::{ListArgs, TenantCommand};

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
    #[command(after_help = "Example: sexton cache get front/weather")]
    Get(TenantCommand<CacheKeyArgs>),
    /// Set an entry
    #[command(after_help = "Example: sexton cache set front/motto 'Memento mori' --ttl 1h")]
    Set(TenantCommand<CacheSetArgs>),
    /// List entries by key
    #[command(after_help = "Example: sexton cache list front/")]
    List(TenantCommand<CacheListArgs>),
    /// Delete an entry
    #[command(after_help = "Example: sexton cache delete front/weather")]
    Delete(TenantCommand<CacheKeyArgs>),
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct CacheKeyArgs {
    /// Key of the entry
    pub(in crate::cli) key: String,
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
}
