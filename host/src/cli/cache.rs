//! Implements `cache`: an operator reads, changes and restores entries.

use std::io::Read;
use std::time::Duration;

use ureq::http::Method;

use super::args::{CacheGetArgs, CacheHistoryArgs, CacheListArgs, CacheRestoreArgs, CacheSetArgs};
use super::client::{Client, decode, part};
use super::error::{CliError, Exit};
use super::screen::{Screen, one_line};
use super::trigger::given;
use crate::http::api_types::cache::{Entries, EntryHistoryShape, EntryWritten};

/// Returns the path of an entry below `/v1/`, in the part of the API that is about entries, or about their versions.
fn path_in(subject: &str, key: &str) -> Result<String, CliError> {
    if key.is_empty() {
        return Err(CliError::usage("a key has at least one character"));
    }
    Ok(format!("/v1/{subject}/{}", part(key)))
}

fn path(key: &str) -> Result<String, CliError> {
    path_in("cache", key)
}

pub(super) fn get(client: &Client, args: &CacheGetArgs, screen: &Screen) -> Result<(), CliError> {
    let mut path = path(&args.key)?;
    if let Some(version) = args.version {
        path.push_str(&format!("?version={version}"));
    }
    let mut value = Vec::new();
    client.stream(&path)?.read_to_end(&mut value).map_err(|e| {
        CliError::new(Exit::Unreachable, format!("the connection broke while the host sent the value: {e}"))
    })?;
    screen.bytes(&value)
}

pub(super) fn set(client: &Client, args: &CacheSetArgs, screen: &Screen) -> Result<(), CliError> {
    let value = given(args.value.as_deref(), args.file.as_deref())?;
    let mut path = path(&args.key)?;
    let ttl = args.ttl.as_ref().map(|ttl| format!("ttl={}", part(ttl)));
    let keep = args.keep.map(|keep| format!("keep={keep}"));
    for (query, mark) in ttl.into_iter().chain(keep).zip(["?", "&"]) {
        path.push_str(&format!("{mark}{query}"));
    }
    let response = client.send(Method::PUT, &path, &[], value.as_slice(), Duration::ZERO)?;
    let written: EntryWritten = decode(&client.whole(response)?)?;
    screen.line(&format!("Set `{}`, now at version {}.", one_line(&written.key), written.version))
}

pub(super) fn history(client: &Client, args: &CacheHistoryArgs, screen: &Screen) -> Result<(), CliError> {
    let json = client.text(&path_in("cache-history", &args.key)?)?;
    if args.list.json {
        return screen.json(&json);
    }
    let EntryHistoryShape { keep, versions, .. } = decode(&json)?;
    let mut table = screen.table(&["VERSION", "SIZE", "SET", "EXPIRES", ""], "VERSION");
    for (place, version) in versions.iter().enumerate() {
        table.add_row(vec![
            version.version.to_string(),
            bytesize::ByteSize(version.size).display().iec().to_string(),
            screen.instant(version.set_at),
            version.expires_at.map_or("never".to_owned(), |at| screen.instant(at)),
            if place == 0 { "current".to_owned() } else { String::new() },
        ]);
    }
    screen.print(&table)?;
    match keep {
        0 if screen.terminal => screen.line(
            "\nNo earlier versions are kept. `keep` in a task's manifest keeps them from the task's next write on, and \
             `sexton cache set KEY VALUE --keep N` from that write on.",
        ),
        _ => Ok(()),
    }
}

pub(super) fn restore(client: &Client, args: &CacheRestoreArgs, screen: &Screen) -> Result<(), CliError> {
    let path = format!("{}?version={}", path_in("cache-restore", &args.key)?, args.version);
    let written: EntryWritten = decode(&client.post(&path, &[], &[])?)?;
    let (key, old, new) = (one_line(&written.key), args.version, written.version);
    screen.line(&format!("Restored `{key}` from version {old}, now at version {new}."))
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
    let Entries { entries, next, .. } = decode(&json)?;
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
