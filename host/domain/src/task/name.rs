//! The name of a tenant, a plugin or a task.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of a tenant, a plugin or a task.
///
/// It has 1 to 64 of `a-z 0-9 - _ .`, beginning with a letter or a digit, because it becomes part of file names, URLs
/// and log fields.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Name(Arc<str>);

/// The reason why a text is not a [`Name`].
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a name: use 1 to 64 of a-z, 0-9, `-`, `_` and `.`, beginning with a letter or a digit")]
pub struct BadName(String);

impl Name {
    /// Checks `text` and makes it a name.
    ///
    /// # Errors
    ///
    /// [`BadName`] if it is empty, too long, or has a character that is not allowed.
    pub fn new(text: &str) -> Result<Self, BadName> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        let first = text.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if first && text.len() <= 64 && text.chars().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(BadName(text.chars().take(80).collect()))
        }
    }

    /// Returns the tenant of a host that has no tenants.
    pub fn default_tenant() -> Self {
        Self("default".into())
    }

    /// Returns the name that comes before all others in their order.
    pub fn least() -> Self {
        Self("0".into())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Name {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
