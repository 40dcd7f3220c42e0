//! Reads values from the task's manifest.

use std::fmt;
use std::str::FromStr;

use crate::bindings::sexton::task::settings as wit;

/// A setting that is not what the task takes. It becomes a permanent failure, because a person must correct the
/// manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    key: String,
    value: Option<String>,
    why: String,
}

impl Error {
    pub(crate) fn new(key: &str, value: &str, why: impl fmt::Display) -> Self {
        Self { key: key.to_owned(), value: Some(value.to_owned()), why: why.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "the setting `{}` is `{value}`: {}", self.key, self.why),
            None => write!(f, "the setting `{}` {}", self.key, self.why),
        }
    }
}

impl std::error::Error for Error {}

/// Returns the value of `key`, or `None` if the manifest does not set it.
pub fn get(key: &str) -> Option<String> {
    wit::get(key)
}

/// Returns the value of `key`, which the manifest must set.
///
/// # Errors
///
/// [`Error`] if it does not.
pub fn require(key: &str) -> Result<String, Error> {
    get(key).ok_or_else(|| Error { key: key.to_owned(), value: None, why: "is not set".to_owned() })
}

/// Parses the value of `key` as a `T`. Returns `None` if the manifest does not set it.
///
/// # Errors
///
/// [`Error`] if it is set to something that is not a `T`.
pub fn parse<T>(key: &str) -> Result<Option<T>, Error>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    let Some(value) = get(key) else { return Ok(None) };
    value.parse().map(Some).map_err(|why| Error::new(key, &value, why))
}

/// Returns all keys and values, ordered by key.
pub fn all() -> Vec<(String, String)> {
    wit::all()
}
