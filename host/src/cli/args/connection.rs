//! Defines `--url` and `--tenant`. Only commands that use a host's API have them, and only those about one tenant have
//! both.

use clap::Args;

use crate::cli::client::Client;
use crate::cli::error::CliError;
use sexton_domain::task::Name;

/// The default address of a host's API.
pub(in crate::cli) const DEFAULT_URL: &str = "http://127.0.0.1:7070";

/// The heading of these options in the help of every command that has them.
const HEADING: &str = "Which host, which tenant";

/// The environment variables for `--url` and `--tenant`. They are read here and not by clap, which refuses an empty
/// variable, although scripts and unit files leave a variable out that way.
const URL: &str = "SEXTON_URL";
const TENANT: &str = "SEXTON_TENANT";

/// The host to ask.
#[derive(Args, Clone, Debug, Default)]
pub(in crate::cli) struct HostArgs {
    /// URL of the host's API, or HOST:PORT [env: SEXTON_URL] [default: http://127.0.0.1:7070]
    #[arg(long, alias = "host", value_name = "URL", help_heading = HEADING)]
    pub(in crate::cli) url: Option<String>,
}

/// The host to ask, and the tenant to ask about.
#[derive(Args, Clone, Debug, Default)]
pub(in crate::cli) struct TenantArgs {
    #[command(flatten)]
    pub(in crate::cli) host: HostArgs,
    /// Tenant to act on [env: SEXTON_TENANT] [default: default]
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(in crate::cli) tenant: Option<Name>,
}

/// The arguments `A` of a command that asks a host about one tenant.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct TenantCommand<A: Args> {
    #[command(flatten)]
    pub(in crate::cli) args: A,
    #[command(flatten)]
    pub(in crate::cli) about: TenantArgs,
}

/// The arguments `A` of a command that asks a host about no tenant in particular.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct HostCommand<A: Args> {
    #[command(flatten)]
    pub(in crate::cli) args: A,
    #[command(flatten)]
    pub(in crate::cli) host: HostArgs,
}

impl<A: Args> HostCommand<A> {
    /// Returns a client of the host that these options name, or else those `before` the command, or else the
    /// environment.
    pub(in crate::cli) fn client(&self, before: &TenantArgs) -> Result<Client, CliError> {
        Client::new(&self.host.url(before), None)
    }
}

impl<A: Args> TenantCommand<A> {
    /// Returns such a client, whose requests are about the tenant that is named in one of these places.
    pub(in crate::cli) fn client(&self, before: &TenantArgs) -> Result<Client, CliError> {
        let tenant = match self.about.tenant.clone().or_else(|| before.tenant.clone()) {
            Some(tenant) => Some(tenant),
            None => from_environment(TENANT).map(|text| tenant(&text)).transpose()?,
        };
        Client::new(&self.about.host.url(before), tenant)
    }
}

impl HostArgs {
    fn url(&self, before: &TenantArgs) -> String {
        let named = self.url.clone().or_else(|| before.host.url.clone());
        named.or_else(|| from_environment(URL)).unwrap_or_else(|| DEFAULT_URL.to_owned())
    }
}

/// Reads the variable `name`. An empty one counts as missing.
fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn tenant(text: &str) -> Result<Name, CliError> {
    Name::new(text).map_err(|e| CliError::usage(format!("`{TENANT}` does not name a tenant: {e}")))
}

#[derive(Args, Clone, Copy, Debug)]
pub(in crate::cli) struct ListArgs {
    /// Print the API's JSON as it is
    #[arg(long)]
    pub(in crate::cli) json: bool,
}
