//! The added schedules, page by page.

use askama::Template;
use axum::response::Response;
use chrono_tz::Tz;

use crate::http::api_types::schedules::{ScheduleShape, ScheduleState};
use crate::http::views::Seen;

use super::address::part;
use super::ask::Ask;
use super::look::{Tone, brief, bytes, shown};
use super::rows::task_href;
use super::shell::Shell;
use super::times::{Clock, When};

/// The schedules of a page.
const PAGE: &str = "100";

/// A schedule in the list.
#[derive(Clone, Debug)]
struct ScheduleRow {
    key: String,
    path: String,
    runs: String,
    task: String,
    task_href: Option<String>,
    tone: Tone,
    state: &'static str,
    about: String,
    trigger: String,
    next: Option<When>,
    fired: u64,
    skipped: u64,
    data: String,
    version: u64,
}

/// The page.
#[derive(Template)]
#[template(path = "schedules.html")]
struct SchedulesPage {
    shell: Shell,
    task: String,
    after: String,
    rows: Vec<ScheduleRow>,
    filtered: bool,
    clear: String,
    first: Option<String>,
    next: Option<String>,
}

/// `GET /schedules`.
pub(super) async fn page(ask: Ask) -> Response {
    let page = build(&ask).await;
    ask.answer(page)
}

async fn build(ask: &Ask) -> Seen<SchedulesPage> {
    let clock = Clock::new(ask.now, ask.times);
    let limit = ask.field("limit").is_none().then_some(("limit", PAGE));
    let found = ask.views.schedules(&ask.query(limit.as_slice())).await?;
    Ok(SchedulesPage {
        shell: ask.shell("Schedules").same(ask.same("/v1/schedules")),
        task: ask.value("task"),
        after: ask.value("after"),
        rows: found.schedules.iter().map(|schedule| row(ask, &clock, schedule)).collect(),
        filtered: !ask.fields.is_empty(),
        clear: ask.href("/schedules"),
        first: ask.first(),
        next: ask.next(found.cursor.as_deref()),
    })
}

fn row(ask: &Ask, clock: &Clock, schedule: &ScheduleShape) -> ScheduleRow {
    let zone = schedule.zone.parse().unwrap_or(Tz::UTC);
    let tone = match schedule.state {
        ScheduleState::Active => Tone::Ok,
        ScheduleState::Resting => Tone::Bad,
        ScheduleState::Paused => Tone::Warn,
        ScheduleState::Finished => Tone::Quiet,
    };
    let about = schedule.reason.as_deref().or(schedule.set_back.as_deref()).unwrap_or_default();
    let kind = schedule.kind.as_ref().map(|kind| format!("type {kind}"));
    ScheduleRow {
        key: schedule.key.to_string(),
        path: format!("/schedules/{}", part(schedule.key.as_str())),
        runs: ask.to("/runs", &[("key", schedule.key.as_str())]),
        task: schedule.task.as_ref().map(ToString::to_string).or(kind).unwrap_or_default(),
        task_href: schedule.task.as_ref().map(|task| task_href(ask, task)),
        tone,
        state: schedule.state.as_str(),
        about: brief(about),
        trigger: shown(&format!("{} ({})", schedule.trigger.text, schedule.zone)),
        next: schedule.next.as_ref().map(|due| clock.at(due.at, zone)),
        fired: schedule.fired,
        skipped: schedule.skipped,
        data: schedule.data_bytes.map(bytes).unwrap_or_default(),
        version: schedule.version,
    }
}
