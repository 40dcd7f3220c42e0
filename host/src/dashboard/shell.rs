//! The frame of every page: the way around, the switches, and the lines that the reader must know first.

use sexton_domain::task::Name;

use super::ask::Ask;
use super::assets;
use super::look::{Tone, shown};
use super::times::{Clock, Times, When};

/// A link.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) href: String,
    pub(super) text: String,
    /// Whether it leads to the page that is shown.
    pub(super) current: bool,
    /// Whether the module puts the reader's zone into it.
    pub(super) mine: bool,
}

/// A line above a page.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    pub(super) tone: Tone,
    pub(super) text: String,
}

/// The pages, in groups.
const PAGES: [&[(&str, &str)]; 3] = [
    &[("/", "Now"), ("/tasks", "Tasks"), ("/runs", "Runs"), ("/timeline", "Timeline"), ("/calendar", "Calendar")],
    &[("/schedules", "Schedules"), ("/locks", "Locks"), ("/cache", "Cache")],
    &[("/plugins", "Plugins"), ("/hosts", "Hosts"), ("/explain", "Explain")],
];

/// The frame of a page.
#[derive(Clone, Debug)]
pub(super) struct Shell {
    pub(super) title: String,
    /// The path of the page.
    pub(super) path: String,
    /// The address of the page.
    pub(super) here: String,
    /// The address of the front page.
    pub(super) home: String,
    /// The name of the host that answers.
    pub(super) host: String,
    pub(super) version: String,
    pub(super) now: When,
    pub(super) theme: &'static str,
    /// The address of the stylesheet.
    pub(super) style: String,
    /// The address of the module.
    pub(super) script: String,
    pub(super) nav: Vec<Vec<Link>>,
    pub(super) tenants: Vec<Link>,
    pub(super) times: Vec<Link>,
    /// Whether the page asks for the reader's zone.
    pub(super) asks_zone: bool,
    pub(super) notices: Vec<Notice>,
    /// The address of the same in the API.
    pub(super) same: Option<String>,
    /// The fields that forms for filters keep: the tenant, and the zone of instants.
    pub(super) kept: Vec<(&'static str, String)>,
    /// The query that the addresses of other forms keep; empty, or beginning with `?`.
    pub(super) query: String,
}

impl Shell {
    /// Returns the frame of a page with this title.
    pub(super) fn of(ask: &Ask, title: String) -> Self {
        let app = &ask.views.app;
        let clock = Clock::new(ask.now, ask.times);
        let page = |(path, text): &(&str, &str)| Link {
            href: ask.href(path),
            text: (*text).to_owned(),
            current: is_within(&ask.path, path),
            mine: false,
        };
        let tenant = |name: &Name| Link {
            href: ask.about(name),
            text: name.to_string(),
            current: *name == ask.views.tenant,
            mine: false,
        };
        Self {
            title: shown(&title),
            path: ask.path.clone(),
            here: ask.in_zone(ask.times),
            home: ask.href("/"),
            host: shown(&app.host.name),
            version: app.host.version.clone(),
            now: clock.utc(ask.now),
            theme: ask.theme,
            style: assets::style(),
            script: assets::script(),
            nav: PAGES.iter().map(|group| group.iter().map(page).collect()).collect(),
            tenants: app.tenants.all().keys().map(tenant).collect(),
            times: times(ask),
            asks_zone: ask.times == Times::Mine,
            notices: notices(ask, &clock),
            same: None,
            kept: ask.kept(),
            query: ask.href(""),
        }
    }

    /// Adds the address of the same in the API.
    #[must_use]
    pub(super) fn same(mut self, address: String) -> Self {
        self.same = Some(address);
        self
    }

    /// Returns the colours to choose from.
    pub(super) fn themes(&self) -> [(&'static str, &'static str); 3] {
        [("auto", "Auto"), ("light", "Light"), ("dark", "Dark")]
    }
}

/// Returns whether `path` belongs to the page at `root`.
fn is_within(path: &str, root: &str) -> bool {
    match path.strip_prefix(root) {
        Some(rest) => rest.is_empty() || (root != "/" && rest.starts_with('/')),
        None => false,
    }
}

/// Returns the zones to choose from.
fn times(ask: &Ask) -> Vec<Link> {
    let utc = Times::In(chrono_tz::Tz::UTC);
    let mine = if ask.times == Times::Task || ask.times == utc { Times::Mine } else { ask.times };
    let link = |times: Times, text: &str| Link {
        href: ask.in_zone(times),
        text: text.to_owned(),
        current: times == ask.times,
        mine: text == "Mine",
    };
    vec![link(Times::Task, "Task’s"), link(mine, "Mine"), link(utc, "UTC")]
}

/// Returns the last action, and the reasons why nothing starts on this host.
fn notices(ask: &Ask, clock: &Clock) -> Vec<Notice> {
    let app = &ask.views.app;
    let line = |tone, text: String| Notice { tone, text };
    let done = ask.done.as_deref().and_then(done);
    let mut notices: Vec<Notice> = done.map(|text| line(Tone::Ok, text.to_owned())).into_iter().collect();
    if let Some(since) = app.pause.since() {
        let since = clock.utc(since).plain();
        notices.push(line(Tone::Bad, format!("Paused by a signal since {since}: nothing starts on this host.")));
    }
    if app.is_draining() {
        notices.push(line(Tone::Warn, "Draining: this host takes no runs.".to_owned()));
    }
    notices.extend(app.clock.doubt().map(|doubt| line(Tone::Bad, doubt)));
    notices
}

/// Returns a sentence about an action. The words come from the address, so only known ones are shown.
fn done(word: &str) -> Option<&'static str> {
    Some(match word {
        "started" => "A run was made.",
        "paused" => "The task is paused: none of its runs start.",
        "resumed" => "The pause of the task has ended.",
        "killed" => "The run was told to end.",
        "released" => "The run may start.",
        "deleted" => "The schedule was deleted.",
        "drained" => "The host takes no more runs, and finishes those it has.",
        "undrained" => "The host takes runs again.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::is_within;

    #[test]
    fn a_page_belongs_to_the_list_that_leads_to_it() {
        assert!(is_within("/", "/") && is_within("/runs/7", "/runs") && is_within("/runs", "/runs"));
        assert!(!is_within("/runs", "/") && !is_within("/runsheet", "/runs"));
    }
}
