//! The hosts that share the store: their slots, versions and last words.

use askama::Template;
use axum::response::Response;

use crate::http::api_types::hosts::{HostShape, HostState};
use crate::http::views::Seen;

use super::address::part;
use super::ask::Ask;
use super::look::{Bar, Tone, shown};
use super::shell::Shell;
use super::times::{Clock, When};

/// A host.
#[derive(Clone, Debug)]
struct HostRow {
    name: String,
    path: String,
    is_this: bool,
    tone: Tone,
    state: &'static str,
    is_draining: bool,
    is_gone: bool,
    slots: Bar,
    used: String,
    plugins: u32,
    version: String,
    labels: String,
    address: String,
    started: When,
    seen: When,
    runs: String,
}

/// The page.
#[derive(Template)]
#[template(path = "hosts.html")]
struct HostsPage {
    shell: Shell,
    rows: Vec<HostRow>,
    /// Whether the hosts have several versions.
    versions: bool,
}

/// `GET /hosts`.
pub(super) async fn page(ask: Ask) -> Response {
    let page = build(&ask).await;
    ask.answer(page)
}

async fn build(ask: &Ask) -> Seen<HostsPage> {
    let (clock, hosts) = (Clock::new(ask.now, ask.times), ask.views.hosts().await?);
    let mut versions: Vec<&str> =
        hosts.iter().filter(|host| host.state != HostState::Gone).map(|host| host.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    Ok(HostsPage {
        shell: ask.shell("Hosts").same(ask.api("/v1/hosts")),
        rows: hosts.iter().map(|host| row(ask, &clock, host)).collect(),
        versions: versions.len() > 1,
    })
}

fn row(ask: &Ask, clock: &Clock, host: &HostShape) -> HostRow {
    let labels: Vec<&str> = host.labels.iter().map(|label| label.as_str()).collect();
    let (attempts, slots) = (host.attempts, host.slots);
    HostRow {
        name: shown(&host.name),
        path: format!("/hosts/{}", part(&host.name)),
        is_this: host.name == ask.views.app.host.name,
        tone: match host.state {
            HostState::Up => Tone::Ok,
            HostState::Draining => Tone::Warn,
            HostState::Gone => Tone::Bad,
        },
        state: host.state.as_str(),
        is_draining: host.state == HostState::Draining,
        is_gone: host.state == HostState::Gone,
        slots: Bar::of(attempts.into(), slots.into(), format!("{slots} slots")),
        used: format!("{attempts} of {slots}"),
        plugins: host.plugins,
        version: shown(&host.version),
        labels: labels.join(", "),
        address: shown(&host.address),
        started: clock.utc(host.started_at),
        seen: clock.utc(host.seen_at),
        runs: ask.to("/runs", &[("host", host.name.as_str()), ("state", "running")]),
    }
}
