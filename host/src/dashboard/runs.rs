//! The list of runs, by the words that the API and the command line have, too.

use askama::Template;
use axum::response::Response;

use crate::http::views::Seen;
use sexton_domain::run::{Cause, Outcome, RunState};

use super::ask::Ask;
use super::rows::RunRow;
use super::shell::{Link, Shell};
use super::times::{Clock, When};

/// The fields that are behind "More filters".
const RARE: [&str; 9] = ["outcome", "cause", "key", "chain", "host", "label", "until", "longer-than", "text"];

/// The words of filters that many people need, as links.
const QUICK: [(&str, &str, &str); 6] = [
    ("All", "", ""),
    ("Failed", "state", "failed"),
    ("Running", "state", "running"),
    ("Waiting", "state", "waiting"),
    ("Crashed", "outcome", "crashed"),
    ("Succeeded", "state", "succeeded"),
];

/// A field of the filter with words to choose from.
#[derive(Clone, Debug)]
struct Choice {
    name: &'static str,
    label: &'static str,
    words: Vec<(&'static str, bool)>,
}

/// A field of the filter for a text.
#[derive(Clone, Debug)]
struct Field {
    name: &'static str,
    label: &'static str,
    value: String,
    example: &'static str,
}

/// The page.
#[derive(Template)]
#[template(path = "runs.html")]
struct RunsPage {
    shell: Shell,
    task: Field,
    since: Field,
    choices: Vec<Choice>,
    fields: Vec<Field>,
    quick: Vec<Link>,
    /// Whether rare filters are in use.
    open: bool,
    filtered: bool,
    rows: Vec<RunRow>,
    looked_back_to: Option<When>,
    first: Option<String>,
    next: Option<String>,
    clear: String,
}

/// `GET /runs`.
pub(super) async fn page(ask: Ask) -> Response {
    let page = build(&ask).await;
    ask.answer(page)
}

async fn build(ask: &Ask) -> Seen<RunsPage> {
    let clock = Clock::new(ask.now, ask.times);
    let found = ask.views.runs(&ask.query(&[])).await?;
    let field = |name, label, example| Field { name, label, value: ask.value(name), example };
    Ok(RunsPage {
        shell: ask.shell("Runs").same(ask.same("/v1/runs")),
        task: field("task", "Task", "report or rep*"),
        since: field("since", "Made since", "2h"),
        choices: vec![
            choice(ask, "state", "State", &RunState::ALL.map(RunState::as_str)),
            choice(ask, "outcome", "Outcome", &outcomes()),
            choice(ask, "cause", "Cause", &Cause::ALL.map(Cause::as_str)),
        ],
        fields: vec![
            field("text", "Text in message or log", "disk is full"),
            field("label", "Label", "team=web"),
            field("key", "Added schedule", "weekly"),
            field("chain", "Chain", "nightly"),
            field("host", "Host", "box"),
            field("until", "Made until", "1h"),
            field("longer-than", "Took longer than", "30s"),
        ],
        quick: quick(ask),
        open: ask.fields.iter().any(|(name, _)| RARE.contains(&name.as_str())),
        filtered: ask.fields.iter().any(|(name, _)| name != "cursor"),
        rows: found.runs.iter().map(|run| RunRow::of(ask, &clock, run)).collect(),
        looked_back_to: found.looked_back_to.map(|at| clock.utc(at)),
        first: ask.first(),
        next: ask.next(found.cursor.as_deref()),
        clear: ask.href("/runs"),
    })
}

/// Returns the outcomes and their groups.
fn outcomes() -> Vec<&'static str> {
    use crate::http::api_types::runs::{CRASHED, FAILED};
    [FAILED, CRASHED].into_iter().chain(Outcome::ALL.map(Outcome::as_str)).collect()
}

/// Returns the choice of one word. Several words that commas separate are kept as they are.
fn choice(ask: &Ask, name: &'static str, label: &'static str, words: &[&'static str]) -> Choice {
    let value = ask.field(name).unwrap_or_default();
    Choice { name, label, words: words.iter().map(|word| (*word, *word == value)).collect() }
}

fn quick(ask: &Ask) -> Vec<Link> {
    let is_current = |name: &str, value: &str| match name {
        "" => ["state", "outcome"].iter().all(|name| ask.field(name).is_none()),
        name => ask.field(name) == Some(value),
    };
    let task = ask.field("task").map(|task| ("task", task));
    let link = |(text, name, value): (&str, &'static str, &'static str)| {
        let fields: Vec<(&str, &str)> = task.into_iter().chain((!name.is_empty()).then_some((name, value))).collect();
        Link { href: ask.to("/runs", &fields), text: text.to_owned(), current: is_current(name, value), mine: false }
    };
    QUICK.into_iter().map(link).collect()
}
