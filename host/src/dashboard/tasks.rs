//! The list of tasks, with how their last runs ended, and the chains.

use std::time::Duration;

use askama::Template;
use axum::response::Response;
use futures_util::future::try_join_all;

use crate::http::api_types::TaskSummary;
use crate::http::api_types::following::{ChainShape, LinkShape};
use crate::http::views::Seen;
use sexton_domain::lengths::millis;
use sexton_domain::run::{Outcome, RunState};
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;
use sexton_store::views::RunTimes;

use super::address::encoded;
use super::ask::Ask;
use super::look::{Mark, Tone, brief, lasted, shown};
use super::rows::{run_href, task_href, zone_of};
use super::shell::Shell;
use super::times::{Clock, When};

/// The tasks of a page. The last runs of each are read.
const PAGE: &str = "25";

/// The runs of a task that are shown as a strip, and how far back they are looked for.
pub(super) const STRIP: usize = 30;
pub(super) const STRIP_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A run in a strip.
#[derive(Clone, Debug)]
pub(super) struct Dot {
    pub(super) href: String,
    pub(super) mark: Mark,
    pub(super) title: String,
}

/// A task in the list.
#[derive(Clone, Debug)]
struct TaskRow {
    id: String,
    href: String,
    name: String,
    about: String,
    labels: Vec<String>,
    health: Health,
    trigger: String,
    next: Option<When>,
    next_words: String,
    waiting: Option<WaitingRow>,
    strip: Vec<Dot>,
    p50: String,
    p95: String,
}

/// A run that waits for its start.
#[derive(Clone, Debug)]
pub(super) struct WaitingRow {
    pub(super) href: String,
    pub(super) text: String,
}

/// Whether a task is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) tone: Tone,
    pub(super) word: String,
}

/// A chain.
#[derive(Clone, Debug)]
struct ChainRow {
    id: String,
    name: String,
    round: u64,
    links: Vec<ChainLink>,
    now: String,
    runs: String,
}

/// A link of a chain.
#[derive(Clone, Debug)]
struct ChainLink {
    name: String,
    href: String,
    current: bool,
}

/// The page.
#[derive(Template)]
#[template(path = "tasks.html")]
struct TasksPage {
    shell: Shell,
    task: String,
    label: String,
    rows: Vec<TaskRow>,
    chains: Vec<ChainRow>,
    filtered: bool,
    all: usize,
    clear: String,
    first: Option<String>,
    next: Option<String>,
}

/// `GET /tasks`.
pub(super) async fn page(ask: Ask) -> Response {
    let page = build(&ask).await;
    ask.answer(page)
}

async fn build(ask: &Ask) -> Seen<TasksPage> {
    let (task, clock) = (ask.value("task"), Clock::new(ask.now, ask.times));
    let wide = wide(&task);
    let fields = ask.fields.iter().map(|(name, value)| match name.as_str() {
        "task" => ("task", wide.as_str()),
        name => (name, value.as_str()),
    });
    let limit = ask.field("limit").is_none().then_some(("limit", PAGE)).into_iter();
    let found = ask.views.tasks(&encoded(fields.chain(limit))).await?;
    let since = ask.now.minus(STRIP_AGE);
    let window = |task: &TaskSummary| ask.views.app.store.window(ask.views.key(&task.name), since, STRIP);
    let windows = try_join_all(found.tasks.iter().map(window)).await?;
    let rows = found.tasks.iter().zip(&windows).map(|(task, window)| row(ask, &clock, task, &window.runs));
    let filtered = !ask.fields.is_empty();
    let chains = if filtered { Vec::new() } else { ask.views.chains().await? };
    Ok(TasksPage {
        shell: ask.shell("Tasks").same(ask.same("/v1/tasks")),
        label: ask.value("label"),
        task,
        rows: rows.collect(),
        chains: chains.iter().map(|chain| chain_row(ask, &clock, chain)).collect(),
        filtered,
        all: ask.views.app.catalog.count_of(&ask.views.tenant),
        clear: ask.href("/tasks"),
        first: ask.first(),
        next: ask.next(found.cursor.as_deref()),
    })
}

/// Returns the pattern for a search: a text without `*` may be anywhere in a name.
fn wide(text: &str) -> String {
    if text.contains('*') { text.to_owned() } else { format!("*{text}*") }
}

fn row(ask: &Ask, clock: &Clock, task: &TaskSummary, runs: &[RunTimes]) -> TaskRow {
    let zone = zone_of(ask, &TaskKey { tenant: task.tenant.clone(), task: task.name.clone() });
    let (p50, p95) = spread(runs);
    TaskRow {
        id: format!("task-{}", task.name),
        href: task_href(ask, &task.name),
        name: task.name.to_string(),
        about: task.description.as_deref().map(brief).unwrap_or_default(),
        labels: task.labels.iter().map(|(key, value)| shown(&format!("{key}={value}"))).collect(),
        health: health(task, clock.now),
        trigger: shown(&task.trigger.text),
        next: task.next.first().filter(|_| !task.paused).map(|due| clock.at(due.at, zone)),
        next_words: next_words(task),
        waiting: waiting(ask, clock, task),
        strip: strip(ask, clock, runs),
        p50,
        p95,
    }
}

/// Returns the run of a task that starts next of those that wait.
pub(super) fn waiting(ask: &Ask, clock: &Clock, task: &TaskSummary) -> Option<WaitingRow> {
    let waiting = task.waiting.as_ref()?;
    let starts = match waiting.run_at > clock.now {
        true => format!(", starts {}", clock.utc(waiting.run_at).ago),
        false => String::new(),
    };
    Some(WaitingRow { href: run_href(ask, waiting.run), text: format!("run {} waits{starts}", waiting.run) })
}

/// Returns the reason why a task has no next instant.
fn next_words(task: &TaskSummary) -> String {
    match (&task.done, task.trigger.kind.as_str()) {
        (Some(done), _) => shown(done),
        (None, "demand") => "when asked for".to_owned(),
        (None, "after" | "pace") => "after earlier runs".to_owned(),
        (None, "start") => "when the host starts".to_owned(),
        _ => String::new(),
    }
}

/// Returns whether a task is well.
pub(super) fn health(task: &TaskSummary, now: Timestamp) -> Health {
    let health = |tone, word: &str| Health { tone, word: word.to_owned() };
    let failed = task.last.as_ref().is_some_and(|last| last.state == RunState::Failed);
    if task.paused {
        return health(Tone::Warn, "paused");
    }
    if task.held_until.is_some_and(|until| until > now) || task.held_back.is_some() {
        return health(Tone::Warn, "held back");
    }
    match &task.last {
        _ if failed => Health { tone: Tone::Bad, word: format!("failing × {}", task.failures.max(1)) },
        Some(last) if last.state == RunState::Running => health(Tone::Run, "running"),
        Some(_) => health(Tone::Ok, "well"),
        None if task.waiting.is_some() => health(Tone::Wait, "waiting"),
        None => health(Tone::Quiet, "never ran"),
    }
}

/// Returns the last runs of a task, oldest first.
pub(super) fn strip(ask: &Ask, clock: &Clock, runs: &[RunTimes]) -> Vec<Dot> {
    let dot = |run: &RunTimes| {
        let outcome = if run.skipped { Some(Outcome::Skipped) } else { run.outcome };
        let mark = Mark::of(run.state, outcome);
        let took = took(run).map(|ms| format!(", took {}", lasted(ms))).unwrap_or_default();
        let when = clock.utc(run.due_at);
        let title = format!("run {}: {}, due {}{took}", run.run, mark.word, when.plain());
        Dot { href: run_href(ask, run.run), mark, title }
    };
    runs.iter().take(STRIP).rev().map(dot).collect()
}

/// Returns the time that the last attempt of a run took, in milliseconds.
pub(super) fn took(run: &RunTimes) -> Option<u64> {
    let (from, to) = run.claimed_at.zip(run.ended_at)?;
    (!run.skipped).then(|| millis(to.since(from)))
}

/// Returns the durations that half of the runs, and 95 % of them, do not exceed.
fn spread(runs: &[RunTimes]) -> (String, String) {
    let mut took: Vec<u64> = runs.iter().filter_map(took).collect();
    took.sort_unstable();
    let share = |percent: usize| {
        let place = (took.len() * percent).div_ceil(100).saturating_sub(1);
        took.get(place).map(|ms| lasted(*ms)).unwrap_or_default()
    };
    (share(50), share(95))
}

fn chain_row(ask: &Ask, clock: &Clock, chain: &ChainShape) -> ChainRow {
    let now = match (chain.paused, &chain.waits_for, chain.run, chain.next) {
        (true, ..) => {
            let why = chain.paused_why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("paused{why}")
        }
        (_, Some(waits_for), ..) => waits_for.clone(),
        (_, _, Some(run), _) => format!("waits for run {run}"),
        (_, _, None, Some(next)) => format!("goes on {}", clock.utc(next).ago),
        _ => "–".to_owned(),
    };
    let link = |(n, link): (usize, &LinkShape)| ChainLink {
        name: link.task.to_string(),
        href: task_href(ask, &link.task),
        current: n + 1 == chain.link,
    };
    ChainRow {
        id: format!("chain-{}", chain.name),
        name: chain.name.to_string(),
        round: chain.round,
        links: chain.links.iter().enumerate().map(link).collect(),
        now: brief(&now),
        runs: ask.to("/runs", &[("chain", chain.name.as_str())]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_domain::run::{Cause, RunId};

    fn run(took: i64) -> RunTimes {
        let at = Timestamp::from_millis(0);
        RunTimes {
            run: RunId(1),
            state: RunState::Succeeded,
            cause: Cause::Schedule,
            due_at: at,
            created_at: at,
            started_at: Some(at),
            claimed_at: Some(at),
            ended_at: Some(Timestamp::from_millis(took)),
            outcome: Some(Outcome::Succeeded),
            message: None,
            skipped: false,
            belated: false,
        }
    }

    #[test]
    fn half_of_the_runs_and_nearly_all_take_no_longer() {
        let runs: Vec<RunTimes> = (1..=20).map(|n| run(n * 10)).collect();
        assert_eq!(spread(&runs), ("100ms".to_owned(), "190ms".to_owned()));
        assert_eq!(spread(&runs[..1]), ("10ms".to_owned(), "10ms".to_owned()));
        assert_eq!(spread(&[]), (String::new(), String::new()));
        assert_eq!(took(&RunTimes { skipped: true, ..run(5) }), None);
    }

    #[test]
    fn a_search_finds_a_text_anywhere_in_a_name() {
        assert_eq!(wide("port"), "*port*");
        assert_eq!(wide("re*"), "re*");
    }
}
