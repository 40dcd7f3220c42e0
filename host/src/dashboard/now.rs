//! The front page: tasks that need a person, attempts under way, and tasks that are due next.

use askama::Template;
use axum::response::Response;

use crate::http::api_types::TaskSummary;
use crate::http::api_types::live::{Live, LiveAttempt};
use crate::http::api_types::locks::LockGraph;
use crate::http::api_types::plugins::PluginShape;
use crate::http::api_types::runs::RunShape;
use crate::http::views::Seen;
use sexton_domain::lengths::millis;
use sexton_domain::pause::PausedBy;
use sexton_domain::run::{RunId, RunState};
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

use super::ask::Ask;
use super::look::{Bar, Mark, Tone, brief, bytes, count, lasted, many, shown};
use super::rows::{RunRow, run_href, task_href, zone_of};
use super::shell::Shell;
use super::times::{Clock, When};

/// The tasks that are looked at. Every open page is rendered anew every few seconds, and a tenant may have thousands.
const TASKS: usize = 500;

/// The rows of each list.
const NEEDS: usize = 12;
const LIVE: usize = 200;
const NEXT: usize = 8;
const NEWEST: usize = 8;

/// The waiting runs among which those are found that wait for a person.
const WAITING: usize = 50;

/// The delay of a start, in milliseconds, from which a run is late.
const LATE: u64 = 10_000;

/// A task, a run or a plugin that needs a person.
#[derive(Clone, Debug)]
struct Need {
    id: String,
    tone: Tone,
    letter: &'static str,
    kind: &'static str,
    href: String,
    name: String,
    about: String,
    when: Option<When>,
}

/// An attempt under way.
#[derive(Clone, Debug)]
struct LiveRow {
    id: RunId,
    href: String,
    task: String,
    task_href: String,
    attempt: u32,
    lane: String,
    age: String,
    age_bar: Bar,
    fuel: String,
    fuel_bar: Bar,
    memory: String,
    memory_bar: Bar,
    waits: String,
    ending: bool,
}

/// A task that is due next.
#[derive(Clone, Debug)]
struct NextRow {
    id: String,
    href: String,
    name: String,
    at: Timestamp,
    when: When,
    trigger: String,
}

/// A number that leads to its list.
#[derive(Clone, Debug)]
struct Number {
    tone: Tone,
    number: String,
    text: &'static str,
    href: String,
}

/// The front page.
#[derive(Template)]
#[template(path = "now.html")]
struct NowPage {
    shell: Shell,
    numbers: Vec<Number>,
    needs: Vec<Need>,
    more_needs: usize,
    live: Vec<LiveRow>,
    more_live: usize,
    others: usize,
    next: Vec<NextRow>,
    newest: Vec<RunRow>,
    runs_href: String,
    tasks_href: String,
    /// The number of all tasks, of which the first are looked at.
    all_tasks: usize,
    looked_at: usize,
}

/// `GET /`.
pub(super) async fn page(ask: Ask) -> Response {
    let page = build(&ask).await;
    ask.answer(page)
}

async fn build(ask: &Ask) -> Seen<NowPage> {
    let views = &ask.views;
    let clock = Clock::new(ask.now, ask.times);
    let tasks = views.tasks(&format!("limit={TASKS}")).await?.tasks;
    let (live, graph, plugins) = (views.live().await, views.lock_graph().await?, views.plugins());
    let newest = views.runs(&format!("limit={NEWEST}")).await?.runs;
    let waiting = views.runs(&format!("state=waiting&limit={WAITING}")).await?.runs;
    let mut needs = tasks.iter().filter_map(|task| of_task(ask, &clock, task)).collect::<Vec<_>>();
    needs.extend(waiting.iter().filter_map(|run| suspected(ask, &clock, run)));
    needs.extend(tasks.iter().find_map(|task| all_paused(ask, &clock, task)));
    needs.extend(plugins.iter().filter_map(|plugin| of_plugin(ask, plugin)));
    needs.extend(stuck(ask, &graph));
    needs.sort_by_key(|need| need.tone != Tone::Bad && need.tone != Tone::Crash);
    let all_needs = needs.len();
    needs.truncate(NEEDS);
    let numbers = numbers(ask, all_needs, &live).await?;
    let row = |attempt: &LiveAttempt| live_row(ask, attempt);
    Ok(NowPage {
        shell: ask.shell("Now").same(ask.api("/v1/live")),
        numbers,
        more_needs: all_needs - needs.len(),
        needs,
        live: live.attempts.iter().take(LIVE).map(row).collect(),
        more_live: live.attempts.len().saturating_sub(LIVE),
        others: live.others.attempts,
        next: next(ask, &clock, &tasks),
        newest: newest.iter().map(|run| RunRow::of(ask, &clock, run)).collect(),
        runs_href: ask.href("/runs"),
        tasks_href: ask.href("/tasks"),
        all_tasks: views.app.catalog.count_of(&views.tenant),
        looked_at: tasks.len(),
    })
}

/// Returns the sums above the lists. Those of the store are about all tenants, so they are shown if there is one.
async fn numbers(ask: &Ask, needs: usize, live: &Live) -> Seen<Vec<Number>> {
    let number = |tone, number, text, href| Number { tone, number, text, href };
    let needs_tone = if needs == 0 { Tone::Ok } else { Tone::Bad };
    let mut numbers = vec![
        number(needs_tone, needs.to_string(), "need you", "#needs".to_owned()),
        number(Tone::Run, live.attempts.len().to_string(), "running on this host", "#running".to_owned()),
    ];
    if ask.views.app.tenants.all().len() < 2 {
        let counts = ask.views.host().await?.runs;
        for (state, tone, text) in [
            (RunState::Waiting, Tone::Quiet, "waiting"),
            (RunState::Failed, Tone::Quiet, "failed, of those kept"),
            (RunState::Succeeded, Tone::Quiet, "succeeded, of those kept"),
        ] {
            let href = ask.to("/runs", &[("state", state.as_str())]);
            numbers.push(number(tone, count(counts.get(&state).copied().unwrap_or_default()), text, href));
        }
    }
    Ok(numbers)
}

/// Returns what a task needs, if it needs something: the first of its reasons.
fn of_task(ask: &Ask, clock: &Clock, task: &TaskSummary) -> Option<Need> {
    let zone = zone_of(ask, &TaskKey { tenant: task.tenant.clone(), task: task.name.clone() });
    let need = |tone, letter, kind, about: String, when: Option<Timestamp>| Need {
        id: format!("need-{}", task.name),
        tone,
        letter,
        kind,
        href: task_href(ask, &task.name),
        name: task.name.to_string(),
        about: brief(&about),
        when: when.map(|at| clock.at(at, zone)),
    };
    let late = |waiting: &Timestamp| millis(clock.now.since(*waiting)) >= LATE;
    let failed = task.last.as_ref().filter(|last| last.state == RunState::Failed);
    if let Some(until) = task.held_until {
        let about = format!("{} in a row", many(task.crashes as usize, "crashed attempt"));
        return Some(need(Tone::Crash, "H", "held back until", about, Some(until)));
    }
    if let Some(last) = failed.filter(|_| !task.paused) {
        let outcome = last.outcome.map(|outcome| format!(", the last one {outcome}")).unwrap_or_default();
        let about = format!("{} in a row{outcome}", many(task.failures.max(1) as usize, "failure"));
        return Some(need(Tone::Bad, "F", "failing", about, last.ended_at));
    }
    if task.paused_by == Some(PausedBy::Task) {
        let why = task.paused_why.clone().unwrap_or_else(|| "no reason was given".to_owned());
        return Some(need(Tone::Warn, "P", "paused", why, task.paused_at));
    }
    if let Some(held_back) = &task.held_back {
        return Some(need(Tone::Warn, "B", "held back", held_back.reason.clone(), held_back.until));
    }
    if let Some(why) = &task.set_back {
        return Some(need(Tone::Warn, "C", "clock set back", why.clone(), None));
    }
    let waiting = task.waiting.as_ref().filter(|_| !task.paused).map(|waiting| waiting.run_at).filter(late)?;
    Some(need(Tone::Warn, "L", "late", "its next run could have started".to_owned(), Some(waiting)))
}

/// Returns the pause of all tasks, or of those of a tenant, if a task is paused by it.
fn all_paused(ask: &Ask, clock: &Clock, task: &TaskSummary) -> Option<Need> {
    let name = match task.paused_by? {
        PausedBy::Task => return None,
        PausedBy::Tenant => format!("all tasks of {}", task.tenant),
        PausedBy::All => "all tasks".to_owned(),
    };
    Some(Need {
        id: "need-all".to_owned(),
        tone: Tone::Warn,
        letter: "P",
        kind: "paused",
        href: ask.href("/tasks"),
        name,
        about: brief(task.paused_why.as_deref().unwrap_or("no reason was given")),
        when: task.paused_at.map(|at| clock.utc(at)),
    })
}

/// Returns a run that is held back until a person lets it start.
fn suspected(ask: &Ask, clock: &Clock, run: &RunShape) -> Option<Need> {
    let since = run.suspected_at?;
    Some(Need {
        id: format!("suspected-{}", run.id),
        tone: Tone::Crash,
        letter: "X",
        kind: "suspected",
        href: run_href(ask, run.id),
        name: format!("run {} of {}", run.id, run.task),
        about: brief(run.why.as_deref().unwrap_or_default()),
        when: Some(clock.at(since, zone_of(ask, &run.key()))),
    })
}

fn of_plugin(ask: &Ask, plugin: &PluginShape) -> Option<Need> {
    let reason = plugin.quarantine.as_deref()?;
    Some(Need {
        id: format!("quarantine-{}", shown(&plugin.name)),
        tone: Tone::Bad,
        letter: "Q",
        kind: "in quarantine",
        href: ask.href("/plugins"),
        name: shown(&plugin.name),
        about: brief(reason.lines().next().unwrap_or_default()),
        when: None,
    })
}

/// Returns the deadlocks.
fn stuck(ask: &Ask, graph: &LockGraph) -> Vec<Need> {
    let circle = |circle: &Vec<RunId>| {
        let runs: Vec<String> = circle.iter().map(ToString::to_string).collect();
        Need {
            id: format!("stuck-{}", runs.first().map_or("", String::as_str)),
            tone: Tone::Crash,
            letter: "D",
            kind: "deadlock",
            href: ask.href("/locks"),
            name: format!("runs {}", runs.join(", ")),
            about: "each waits for a lock of the next".to_owned(),
            when: None,
        }
    };
    graph.circles.iter().map(circle).collect()
}

fn live_row(ask: &Ask, attempt: &LiveAttempt) -> LiveRow {
    let key = TaskKey { tenant: attempt.tenant.clone(), task: attempt.task.clone() };
    let limits = ask.views.app.catalog.get(&key).map(|task| task.limits.clone());
    let (fuel, memory, deadline) =
        limits.map_or((0, 0, 0), |limits| (limits.fuel, limits.memory, millis(limits.deadline)));
    let waits = attempt.waiting.as_ref().map(|wait| {
        let call = wait.call.as_deref().unwrap_or("a call");
        let what = wait.what.as_deref().map(|what| format!(" {what}")).unwrap_or_default();
        brief(&format!("{call}{what} for {}", lasted(wait.for_ms)))
    });
    LiveRow {
        id: attempt.run,
        href: run_href(ask, attempt.run),
        task: attempt.task.to_string(),
        task_href: task_href(ask, &attempt.task),
        attempt: attempt.attempt,
        lane: attempt.lane.clone(),
        age: lasted(attempt.age_ms),
        age_bar: Bar::of(attempt.age_ms, deadline, format!("its {} until the deadline", lasted(deadline))),
        fuel: count(attempt.fuel),
        fuel_bar: Bar::of(attempt.fuel, fuel, format!("{} fuel", count(fuel))),
        memory: bytes(attempt.memory),
        memory_bar: Bar::of(attempt.memory, memory, format!("{} of memory", bytes(memory))),
        waits: waits.unwrap_or_default(),
        ending: attempt.ending,
    }
}

/// Returns the tasks that are due next, earliest first.
fn next(ask: &Ask, clock: &Clock, tasks: &[TaskSummary]) -> Vec<NextRow> {
    let row = |task: &TaskSummary| {
        let due = task.next.first().filter(|_| !task.paused)?;
        let key = TaskKey { tenant: task.tenant.clone(), task: task.name.clone() };
        Some(NextRow {
            id: format!("next-{}", task.name),
            href: task_href(ask, &task.name),
            name: task.name.to_string(),
            at: due.at,
            when: clock.at(due.at, zone_of(ask, &key)),
            trigger: shown(&task.trigger.text),
        })
    };
    let mut next: Vec<NextRow> = tasks.iter().filter_map(row).collect();
    next.sort_by_key(|row| row.at);
    next.truncate(NEXT);
    next
}

impl Need {
    /// Returns the mark of the line.
    fn mark(&self) -> Mark {
        Mark { tone: self.tone, letter: self.letter, word: self.kind }
    }
}
