//! One task: when it is due, how its runs went, and its limits and permissions.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use chrono_tz::Tz;

use crate::http::api_types::statistics::{ChangeKindShape, ChangeShape, StatisticsShape};
use crate::http::api_types::{Due, TaskDetail};
use crate::http::views::Seen;
use sexton_domain::pause::PausedBy;
use sexton_store::views::RunTimes;

use super::address;
use super::ask::Ask;
use super::facts::{self, Fact};
use super::look::{Mark, brief, lasted, shown};
use super::rows::{RunRow, run_href};
use super::shell::Shell;
use super::tasks::{Dot, Health, STRIP, STRIP_AGE, WaitingRow, health, strip, took, waiting};
use super::times::{Clock, When};

/// The runs that are listed.
const RUNS: &str = "10";

/// The changes that are listed, the latest.
const CHANGES: usize = 6;

/// The height of the picture of durations, and the width of a bar and its gap.
const HEIGHT: u64 = 100;
const STEP: usize = 20;

/// An instant at which the task is due.
#[derive(Clone, Debug)]
struct DueRow {
    when: When,
    /// The effect of a clock change, and the later start.
    about: String,
}

/// A bar of the picture of durations.
#[derive(Clone, Debug)]
struct DurationBar {
    x: usize,
    y: u64,
    height: u64,
    mark: Mark,
    title: String,
}

/// A change in how runs end.
#[derive(Clone, Debug)]
struct ChangeRow {
    kind: &'static str,
    run: String,
    href: String,
    when: When,
    about: String,
}

/// A number about the runs of a week.
#[derive(Clone, Debug)]
struct Sum {
    number: String,
    text: String,
}

/// The page.
#[derive(Template)]
#[template(path = "task.html")]
struct TaskPage {
    shell: Shell,
    name: String,
    path: String,
    about: String,
    labels: Vec<String>,
    health: Health,
    /// The reason why none of its runs start.
    why: Option<String>,
    /// Whether the task itself is paused, so that it can be resumed here.
    is_paused_itself: bool,
    words: String,
    zone: String,
    remarks: Vec<String>,
    next: Vec<DueRow>,
    next_words: String,
    waiting: Option<WaitingRow>,
    strip: Vec<Dot>,
    durations: Vec<DurationBar>,
    longest: String,
    sums: Vec<Sum>,
    changes: Vec<ChangeRow>,
    runs: Vec<RunRow>,
    runs_href: String,
    result: String,
    policies: Vec<Fact>,
    limits: Vec<Fact>,
    grants: Vec<Fact>,
}

/// `GET /tasks/{task}`.
pub(super) async fn page(ask: Ask, Path(task): Path<String>) -> Response {
    let page = build(&ask, &task).await;
    ask.answer(page)
}

async fn build(ask: &Ask, task: &str) -> Seen<TaskPage> {
    let name = address::name(task)?;
    let detail = ask.views.task(&name).await?;
    let since = ask.now.minus(STRIP_AGE);
    let window = ask.views.app.store.window(ask.views.key(&name), since, STRIP).await?;
    let runs = ask.views.runs(&address::encoded([("task", name.as_str()), ("limit", RUNS)].into_iter())).await?.runs;
    let clock = Clock::new(ask.now, ask.times);
    let zone = detail.summary.zone.parse().unwrap_or(Tz::UTC);
    let path = format!("/tasks/{}", address::part(name.as_str()));
    let rows = runs.iter().map(|run| RunRow::of(ask, &clock, run)).collect();
    let sums = detail.statistics.as_ref();
    let changes = sums.map(|sums| changes(ask, &clock, zone, sums)).unwrap_or_default();
    let summary = &detail.summary;
    let (durations, longest) = durations(&window.runs);
    Ok(TaskPage {
        shell: ask.shell(name.as_str()).same(ask.api(&format!("/v1{path}"))),
        about: summary.description.as_deref().map(brief).unwrap_or_default(),
        labels: summary.labels.iter().map(|(key, value)| shown(&format!("{key}={value}"))).collect(),
        health: health(summary, ask.now),
        why: why(&detail, &clock, zone),
        is_paused_itself: summary.paused_by == Some(PausedBy::Task),
        words: words(&detail),
        zone: summary.zone.clone(),
        remarks: remarks(&detail),
        next: summary.next.iter().map(|due| due_row(&clock, zone, due)).collect(),
        next_words: summary.done.as_deref().map(shown).unwrap_or_default(),
        waiting: waiting(ask, &clock, summary),
        strip: strip(ask, &clock, &window.runs),
        durations,
        longest,
        sums: sums.map(sums_of).unwrap_or_default(),
        changes,
        runs: rows,
        runs_href: ask.to("/runs", &[("task", name.as_str())]),
        result: ask.api(&format!("/v1{path}/result")),
        policies: facts::policies(&detail),
        limits: facts::limits(&detail),
        grants: facts::grants(&detail),
        name: name.to_string(),
        path,
    })
}

/// Returns the schedule in words.
fn words(detail: &TaskDetail) -> String {
    let timing = detail.summary.timing.as_deref().map(|timing| format!(" ({timing})")).unwrap_or_default();
    shown(&format!("{}{timing}", detail.words))
}

fn remarks(detail: &TaskDetail) -> Vec<String> {
    let summary = &detail.summary;
    let others = [&summary.left_out, &summary.set_back].into_iter().flatten();
    summary.remarks.iter().chain(others).map(|remark| brief(remark)).collect()
}

/// Returns why none of the task's runs start.
fn why(detail: &TaskDetail, clock: &Clock, zone: Tz) -> Option<String> {
    let summary = &detail.summary;
    if summary.paused {
        let by = match summary.paused_by {
            Some(PausedBy::Tenant) => ", with all tasks of its tenant",
            Some(PausedBy::All) => ", with all tasks",
            _ => "",
        };
        let since = summary.paused_at.map(|at| format!(" since {}", clock.at(at, zone).plain())).unwrap_or_default();
        let why = summary.paused_why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        return Some(brief(&format!("Paused{by}{since}{why}")));
    }
    if let Some(until) = summary.held_until {
        let (until, crashes) = (clock.at(until, zone).plain(), summary.crashes);
        return Some(format!("Held back until {until}, after {crashes} crashed attempts in a row."));
    }
    let held_back = summary.held_back.as_ref()?;
    let until = held_back.until.map(|at| format!(" until {}", clock.at(at, zone).plain())).unwrap_or_default();
    Some(brief(&format!("Held back{until}: {}", held_back.reason)))
}

fn due_row(clock: &Clock, zone: Tz, due: &Due) -> DueRow {
    let about = format!("{}{}", due.marked(), due.later());
    DueRow { when: clock.at(due.at, zone), about: shown(about.trim_start_matches(", ")) }
}

/// Returns the picture of how long the last runs took, oldest first, and the longest of them.
fn durations(runs: &[RunTimes]) -> (Vec<DurationBar>, String) {
    let longest = runs.iter().filter_map(took).max().unwrap_or_default();
    let first = STRIP.saturating_sub(runs.len());
    let bar = |(n, run): (usize, &RunTimes)| {
        let ms = took(run)?;
        let height = (ms * HEIGHT).checked_div(longest).unwrap_or(0).max(2);
        let mark = Mark::of(run.state, run.outcome);
        let title = format!("run {}: {} in {}", run.run, mark.word, lasted(ms));
        Some(DurationBar { x: (first + n) * STEP, y: HEIGHT - height, height, mark, title })
    };
    (runs.iter().rev().enumerate().filter_map(bar).collect(), lasted(longest))
}

fn sums_of(sums: &StatisticsShape) -> Vec<Sum> {
    let sum = |number: String, text: String| Sum { number, text };
    let mut all = vec![
        sum(sums.runs.to_string(), "runs".to_owned()),
        sum(sums.succeeded.to_string(), "succeeded".to_owned()),
        sum(sums.failed.to_string(), "failed".to_owned()),
    ];
    if sums.skipped + sums.cancelled > 0 {
        all.push(sum((sums.skipped + sums.cancelled).to_string(), "skipped or cancelled".to_owned()));
    }
    if let Some(run) = sums.run {
        let about = format!("for 95 % of them; {} on average", lasted(run.mean_ms));
        all.push(sum(lasted(run.p95_ms), about));
    }
    if let Some(wait) = sums.wait {
        all.push(sum(lasted(wait.p95_ms), "late at most, for 95 %".to_owned()));
    }
    all
}

fn changes(ask: &Ask, clock: &Clock, zone: Tz, sums: &StatisticsShape) -> Vec<ChangeRow> {
    let row = |change: &ChangeShape| ChangeRow {
        kind: match change.change {
            ChangeKindShape::First => "began to fail",
            ChangeKindShape::New => "failed in another way",
            ChangeKindShape::Healed => "healed",
        },
        run: change.run.to_string(),
        href: run_href(ask, change.run),
        when: clock.at(change.at, zone),
        about: match change.change {
            ChangeKindShape::Healed => format!("after {} failures", change.failures),
            _ => {
                let outcome = change.outcome.map(|outcome| outcome.to_string()).unwrap_or_default();
                brief(&format!(
                    "{outcome} × {}: {}",
                    change.failures,
                    change.message.as_deref().unwrap_or("no message")
                ))
            }
        },
    };
    sums.changes.iter().rev().take(CHANGES).map(row).collect()
}

impl TaskPage {
    /// Returns the width of the picture of durations.
    fn width(&self) -> usize {
        STRIP * STEP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_things_that_did_not_happen_are_left_out() {
        let sums = StatisticsShape {
            since: sexton_domain::time::Timestamp::from_millis(0),
            cut: false,
            runs: 3,
            succeeded: 2,
            failed: 1,
            skipped: 0,
            cancelled: 0,
            running: 0,
            waiting: 0,
            at_once: crate::http::api_types::statistics::AtOnce { most: 1, limit: 1, at_limit: 0 },
            run: None,
            wait: None,
            interval: None,
            failing_since: None,
            changes: Vec::new(),
            changes_cut: false,
        };
        let texts = |sums: &StatisticsShape| sums_of(sums).into_iter().map(|sum| sum.text).collect::<Vec<_>>();

        assert_eq!(texts(&sums), ["runs", "succeeded", "failed"]);
        assert_eq!(texts(&StatisticsShape { skipped: 1, ..sums }).last().unwrap(), "skipped or cancelled");
    }
}
