//! Implements `cache`: an operator reads and changes entries.

use std::io::Read;
use std::time::Duration;

use ureq::http::Method;

use super::args::{CacheListArgs, CacheSetArgs};
use super::client::{Client, decode, part};
use super::error::{CliError, Exit};
use super::screen::{Screen, one_line};
use super::trigger::given;
use crate::http::api_types::cache::{Entries, EntryWritten};

fn path(key: &str) -> Result<String, CliError> {
    if key.is_empty() {
        return Err(CliError::usage("a key has at least one character"));
    }
    Ok(format!("/v1/cache/{}", part(key)))
}

pub(super) fn get(client: &Client, key: &str, screen: &Screen) -> Result<(), CliError> {
    let mut value = Vec::new();
    client.stream(&path(key)?)?.read_to_end(&mut value).map_err(|e| {
        CliError::new(Exit::Unreachable, format!("the connection broke while the host sent the value: {e}"))
    })?;
    screen.bytes(&value)
}

pub(super) fn set(client: &Client, args: &CacheSetArgs, screen: &Screen) -> Result<(), CliError> {
    let value = given(args.value.as_deref(), args.file.as_deref())?;
    let mut path = path(&args.key)?;
    if let Some(ttl) = &args.ttl {
        path.push_str(&format!("?ttl={}", part(ttl)));
    }
    let response = client.send(Method::PUT, &path, &[], value.as_slice(), Duration::ZERO)?;
    let written: EntryWritten = decode(&client.whole(response)?)?;
    screen.line(&format!("Set `{}`, now at version {}.", one_line(&written.key), written.version))
}

pub(super) fn delete(client: &Client, key: &str, screen: &Screen) -> Result<(), CliError> {
    client.whole(client.send(Method::DELETE, &path(key)?, &[], (), Duration::ZERO)?)?;
    screen.line(&format!("Deleted `{}`.", one_line(key)))
}

pub(super) fn list(client: &Client, args: &CacheListArgs, screen: &Screen) -> Result<(), CliError> {
    let mut path = format!("/v1/cache?prefix={}", part(&args.prefix));
    if let Some(after) = &args.after {
        path.push_str(&format!("&after={}", part(after)));
    }
    let json = client.text(&path)?;
    if args.list.json {
        return screen.json(&json);
    }
    let Entries { entries, next } = decode(&json)?;
    if entries.is_empty() {
        return screen.line("There are no such entries.");
    }
    let mut table = screen.table(&["KEY", "SIZE", "VERSION", "SET", "EXPIRES"], "KEY");
    for entry in &entries {
        table.add_row(vec![
            one_line(&entry.key),
            bytesize::ByteSize(entry.size).display().iec().to_string(),
            entry.version.to_string(),
            screen.instant(entry.set_at),
            entry.expires_at.map_or("never".to_owned(), |at| screen.instant(at)),
        ]);
    }
    screen.print(&table)?;
    match next {
        Some(after) if screen.terminal => screen.line(&format!("\nThere may be more: --after '{}'", one_line(&after))),
        _ => Ok(()),
    }
}
