//! Defines the names of hosts, their labels, and the schemas of databases.

use rustix::system::uname;
use schemars::{Schema, json_schema};

use super::kinds::{Kind, Scalar};
use sexton_domain::task::Name;

/// The longest name of a host, in characters.
const LONGEST: usize = 64;

/// The longest name of a schema. PostgreSQL cuts longer ones.
const LONGEST_SCHEMA: usize = 63;

/// The name of a host.
pub(super) struct HostName;

impl Kind for HostName {
    type Value = String;

    fn check(scalar: Scalar) -> Result<String, String> {
        let text = scalar.text("the name of this host")?;
        if (1..=LONGEST).contains(&text.len()) && text.chars().all(is_of_host) {
            return Ok(text);
        }
        let text = Scalar::Text(text);
        Err(format!("{text} is not a name; write 1 to {LONGEST} of a-z, A-Z, 0-9, `-`, `_` and `.`"))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// A label of a host.
pub(crate) struct Label;

impl Kind for Label {
    type Value = Name;

    fn check(scalar: Scalar) -> Result<Name, String> {
        Name::new(&scalar.text("a label such as \"gpu\"")?).map_err(|e| e.to_string())
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$" })
    }
}

/// The name of a schema. It has no capitals, because PostgreSQL folds them wherever the name is not quoted.
pub(super) struct SchemaName;

impl Kind for SchemaName {
    type Value = String;

    fn check(scalar: Scalar) -> Result<String, String> {
        let text = scalar.text("the name of a schema")?;
        if is_schema(&text) {
            return Ok(text);
        }
        let text = Scalar::Text(text);
        Err(format!(
            "{text} is not the name of a schema; write 1 to {LONGEST_SCHEMA} of a-z, 0-9 and `_`, beginning with a letter"
        ))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Returns whether `text` can be the name of a schema.
pub(crate) fn is_schema(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
    begins && text.len() <= LONGEST_SCHEMA && text.chars().all(allowed)
}

fn is_of_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// Returns the name of this machine as a valid name of a host.
pub(super) fn of_machine() -> String {
    as_host(&uname().nodename().to_string_lossy())
}

fn as_host(text: &str) -> String {
    let allowed = |c: char| if is_of_host(c) { c.to_ascii_lowercase() } else { '-' };
    let name: String = text.chars().map(allowed).take(LONGEST).collect();
    if name.is_empty() { super::ALONE.to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_machine_becomes_the_name_of_a_host() {
        let long = "x".repeat(100);
        for (machine, host) in
            [("Web-1.example", "web-1.example"), ("ünïx box", "-n-x-box"), ("", "sexton"), (long.as_str(), &long[..64])]
        {
            assert_eq!(as_host(machine), host);
        }
        assert!(HostName::check(Scalar::Text(of_machine())).is_ok());
    }
}
