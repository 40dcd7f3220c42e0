//! Explains a schedule before any task has it; with the module, while it is typed.

use askama::Template;
use axum::response::Response;
use chrono_tz::Tz;

use crate::http::api_types::schedule::{Explained, FireShape};
use crate::http::views::Seen;

use super::ask::Ask;
use super::look::shown;
use super::shell::Shell;
use super::times::{Clock, When};

/// The instants that are shown.
const NEXT: &str = "12";

/// Schedules to begin with.
const EXAMPLES: [&str; 5] = ["30 2 * * mon", "*/15 9-17 * * mon-fri", "H 4 * * *", "every 90s", "at 2027-01-01T09:00"];

/// An instant at which the schedule fires.
#[derive(Clone, Debug)]
struct FireRow {
    when: When,
    /// The effect of a clock change.
    mark: String,
}

/// The meaning of a schedule.
#[derive(Clone, Debug)]
struct Meaning {
    words: String,
    zone: String,
    notes: Vec<String>,
    fires: Vec<FireRow>,
}

/// The page.
#[derive(Template)]
#[template(path = "explain.html")]
struct ExplainPage {
    shell: Shell,
    schedule: String,
    zone: String,
    task: String,
    meaning: Option<Meaning>,
    /// The reason why the text is no schedule.
    wrong: Option<String>,
    examples: Vec<(String, &'static str)>,
}

/// `GET /explain`.
pub(super) async fn page(ask: Ask) -> Response {
    let page = build(&ask).await;
    ask.answer(page)
}

async fn build(ask: &Ask) -> Seen<ExplainPage> {
    let clock = Clock::new(ask.now, ask.times);
    let query = ask.query(&[("next", NEXT)]);
    let (meaning, wrong) = match ask.field("schedule") {
        None => (None, None),
        Some(_) => match ask.views.explain(&query).await {
            Ok(explained) => (Some(meaning(&clock, &explained)), None),
            Err(refused) if refused.status.is_client_error() => (None, Some(shown(&refused.message))),
            Err(refused) => return Err(refused),
        },
    };
    let zone = ask.value("zone");
    Ok(ExplainPage {
        shell: ask.shell("Explain").same(format!("/v1/schedule/explain?{query}")),
        schedule: ask.value("schedule"),
        zone,
        task: ask.value("task"),
        meaning,
        wrong,
        examples: EXAMPLES.into_iter().map(|text| (ask.with("schedule", text), text)).collect(),
    })
}

fn meaning(clock: &Clock, explained: &Explained) -> Meaning {
    let zone = explained.zone.parse().unwrap_or(Tz::UTC);
    let fire = |fire: &FireShape| FireRow {
        when: clock.at(fire.due.at, zone),
        mark: fire.mark.as_ref().map(|mark| shown(&mark.text)).unwrap_or_default(),
    };
    Meaning {
        words: shown(&explained.words),
        zone: explained.zone.clone(),
        notes: explained.notes.iter().map(|note| shown(note)).collect(),
        fires: explained.next.iter().map(fire).collect(),
    }
}
