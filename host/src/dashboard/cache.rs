//! The cache: its entries, and the versions of one.

use askama::Template;
use axum::response::Response;

use crate::http::api_types::cache::{EntryShape, VersionShape};
use crate::http::api_types::locks::{LockGraph, LockKind};
use crate::http::views::Seen;
use sexton_domain::run::RunId;

use super::address::{encoded, part};
use super::ask::Ask;
use super::look::{bytes, shown};
use super::rows::run_href;
use super::shell::{Link, Shell};
use super::times::{Clock, When};

/// The entries of a page.
const PAGE: &str = "100";

/// An entry, or a version of one.
#[derive(Clone, Debug)]
struct EntryRow {
    key: String,
    /// The address of its versions.
    history: String,
    /// The address of its value.
    value: String,
    size: String,
    version: u64,
    set: When,
    expires: Option<When>,
    /// The run that renews it now.
    renewed_by: Option<Link>,
}

/// The versions of an entry.
#[derive(Clone, Debug)]
struct History {
    key: String,
    keep: u32,
    versions: Vec<EntryRow>,
}

/// The page.
#[derive(Template)]
#[template(path = "cache.html")]
struct CachePage {
    shell: Shell,
    prefix: String,
    history: Option<History>,
    rows: Vec<EntryRow>,
    clear: String,
    first: Option<String>,
    next: Option<String>,
}

/// `GET /cache`.
pub(super) async fn page(ask: Ask) -> Response {
    let page = build(&ask).await;
    ask.answer(page)
}

async fn build(ask: &Ask) -> Seen<CachePage> {
    let clock = Clock::new(ask.now, ask.times);
    let history = match ask.field("key") {
        Some(key) => Some(history(ask, &clock, key).await?),
        None => None,
    };
    let others: Vec<(&str, &str)> = ask.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let others = others.into_iter().filter(|(name, _)| *name != "key").chain([("limit", PAGE)]);
    let found = ask.views.cache(&encoded(others)).await?;
    let graph = ask.views.lock_graph().await?;
    let row = |entry: &EntryShape| EntryRow { renewed_by: renewer(ask, &graph, &entry.key), ..row(ask, &clock, entry) };
    Ok(CachePage {
        shell: ask.shell("Cache").same(ask.api("/v1/cache")),
        prefix: ask.value("prefix"),
        history,
        rows: found.entries.iter().map(row).collect(),
        clear: ask.href("/cache"),
        first: ask.first(),
        next: ask.next(found.cursor.as_deref()),
    })
}

fn row(ask: &Ask, clock: &Clock, entry: &EntryShape) -> EntryRow {
    let path: Vec<String> = entry.key.split('/').map(part).collect();
    EntryRow {
        key: shown(&entry.key),
        history: ask.to("/cache", &[("key", entry.key.as_str())]),
        value: ask.href(&format!("/v1/cache/{}", path.join("/"))),
        size: bytes(entry.size),
        version: entry.version,
        set: clock.utc(entry.set_at),
        expires: entry.expires_at.map(|at| clock.utc(at)),
        renewed_by: None,
    }
}

/// Returns the run that holds the lock on the renewal of an entry.
fn renewer(ask: &Ask, graph: &LockGraph, key: &str) -> Option<Link> {
    let node = graph.locks.iter().find(|node| node.lock.kind == LockKind::Refresh && node.lock.name == key)?;
    let run: RunId = node.holders.first()?.run;
    Some(Link { href: run_href(ask, run), text: format!("run {run}"), current: false, mine: false })
}

async fn history(ask: &Ask, clock: &Clock, key: &str) -> Seen<History> {
    let found = ask.views.cache_history(key).await?;
    let version = |version: &VersionShape| {
        let VersionShape { version, size, set_at, expires_at } = *version;
        let row = row(ask, clock, &EntryShape { key: found.key.clone(), size, version, set_at, expires_at });
        let sign = if row.value.contains('?') { '&' } else { '?' };
        EntryRow { value: format!("{}{sign}version={version}", row.value), ..row }
    };
    Ok(History { key: shown(&found.key), keep: found.keep, versions: found.versions.iter().map(version).collect() })
}
