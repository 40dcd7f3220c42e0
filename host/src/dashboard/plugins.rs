//! The plugins: their versions and tasks, and why some are not used.

use askama::Template;
use axum::response::Response;

use crate::http::api_types::plugins::PluginShape;
use crate::http::views::Seen;
use sexton_domain::task::Name;

use super::ask::Ask;
use super::look::{bytes, shown, shown_lines};
use super::rows::task_href;
use super::shell::{Link, Shell};
use super::times::{Clock, When};

/// The plugins of a page.
const PAGE: usize = 200;

/// The tasks of a plugin that are named.
const TASKS: usize = 20;

/// The characters of a digest that people compare.
const DIGITS: usize = 12;

/// A plugin.
#[derive(Clone, Debug)]
struct PluginRow {
    name: String,
    kind: String,
    digest: String,
    size: String,
    tasks: Vec<Link>,
    more_tasks: usize,
    loaded: Option<When>,
    published_by: String,
    /// The reason why its files are not used.
    quarantine: String,
}

/// The page.
#[derive(Template)]
#[template(path = "plugins.html")]
struct PluginsPage {
    shell: Shell,
    rows: Vec<PluginRow>,
    all: usize,
    first: Option<String>,
    next: Option<String>,
}

/// `GET /plugins`.
pub(super) async fn page(ask: Ask) -> Response {
    let page = build(&ask);
    ask.answer(page)
}

fn build(ask: &Ask) -> Seen<PluginsPage> {
    let (clock, plugins) = (Clock::new(ask.now, ask.times), ask.views.plugins());
    let begin: usize = ask.field("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let all = plugins.len();
    let end = begin.saturating_add(PAGE);
    // Plugins that are not used come first, because they need a person.
    let (quarantined, used): (Vec<_>, Vec<_>) = plugins.into_iter().partition(|plugin| plugin.quarantine.is_some());
    let page = quarantined.iter().chain(&used).skip(begin).take(PAGE);
    Ok(PluginsPage {
        shell: ask.shell("Plugins").same(ask.api("/v1/plugins")),
        rows: page.map(|plugin| row(ask, &clock, plugin)).collect(),
        all,
        first: ask.first(),
        next: ask.next((end < all).then(|| end.to_string()).as_deref()),
    })
}

fn row(ask: &Ask, clock: &Clock, plugin: &PluginShape) -> PluginRow {
    let task = |task: &Name| Link { href: task_href(ask, task), text: task.to_string(), current: false, mine: false };
    let digest = plugin.digest.as_deref().unwrap_or_default();
    PluginRow {
        name: shown(&plugin.name),
        kind: plugin.kind.as_deref().map(shown).unwrap_or_default(),
        digest: digest.chars().take(DIGITS).collect(),
        size: bytes(plugin.size),
        tasks: plugin.tasks.iter().take(TASKS).map(task).collect(),
        more_tasks: plugin.tasks.len().saturating_sub(TASKS),
        loaded: plugin.loaded_at.map(|at| clock.utc(at)),
        published_by: plugin.published_by.as_deref().map(shown).unwrap_or_default(),
        quarantine: plugin.quarantine.as_deref().map(shown_lines).unwrap_or_default(),
    }
}
