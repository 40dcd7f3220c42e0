//! The last hours and the coming one as a picture: the runs of each task as bars, and a table with the same.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;
use axum::response::Response;
use chrono::Timelike;

use crate::http::api_types::TaskSummary;
use crate::http::api_types::locks::LockGraph;
use crate::http::api_types::runs::RunShape;
use crate::http::views::Seen;
use sexton_domain::lengths::millis;
use sexton_domain::run::RunState;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

use super::ask::Ask;
use super::look::{Mark, lasted};
use super::rows::{run_href, task_href, zone_of};
use super::shell::{Link, Shell};
use super::times::{Clock, When};

/// The runs that are drawn, the newest, and the tasks.
const RUNS: &str = "1000";
const LANES: usize = 40;
const TASKS: &str = "limit=500";

/// The hours to choose from.
const HOURS: [u64; 4] = [1, 3, 12, 24];
const USUAL: u64 = 3;

/// The measures of the picture.
const LEFT: u64 = 190;
const WIDTH: u64 = 1010;
const ROW: u64 = 16;
const PAD: u64 = 8;
const TOP: u64 = 26;

/// The width of a run that is too short to be seen otherwise.
const THIN: u64 = 2;

/// The most rows for runs of a task that overlap.
const ROWS: usize = 4;

/// A run as a bar.
#[derive(Clone, Debug)]
struct Bar {
    x: u64,
    y: u64,
    width: u64,
    mark: Mark,
    href: String,
    title: String,
}

/// A task as a lane.
#[derive(Clone, Debug)]
struct Lane {
    name: String,
    href: String,
    y: u64,
    base: u64,
    bottom: u64,
    bars: Vec<Bar>,
    /// The places of coming runs, and when they are due.
    next: Vec<(u64, String)>,
    /// The begins and ends of locks that its runs hold, and their names.
    locks: Vec<(u64, u64, String)>,
}

/// An hour, or a part of one.
#[derive(Clone, Debug)]
struct Tick {
    x: u64,
    text: String,
}

/// A row of the table.
#[derive(Clone, Debug)]
struct TwinRow {
    run: String,
    href: String,
    task: String,
    mark: Mark,
    from: When,
    took: String,
}

/// The page.
#[derive(Template)]
#[template(path = "timeline.html")]
struct TimelinePage {
    shell: Shell,
    hours: Vec<Link>,
    lanes: Vec<Lane>,
    more_lanes: usize,
    ticks: Vec<Tick>,
    now_x: u64,
    height: u64,
    rows: Vec<TwinRow>,
    is_cut: bool,
    zone: String,
}

/// The stretch of time that is drawn.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: Timestamp,
    to: Timestamp,
}

impl Stretch {
    /// Returns the place of an instant.
    fn x(self, at: Timestamp) -> u64 {
        let (whole, part) = (millis(self.to.since(self.from)).max(1), millis(at.since(self.from)));
        LEFT + (part * WIDTH / whole).min(WIDTH)
    }
}

/// `GET /timeline`.
pub(super) async fn page(ask: Ask) -> Response {
    let page = build(&ask).await;
    ask.answer(page)
}

async fn build(ask: &Ask) -> Seen<TimelinePage> {
    let clock = Clock::new(ask.now, ask.times);
    let hours = ask.field("hours").and_then(|hours| hours.parse().ok()).filter(|hours| HOURS.contains(hours));
    let hours = hours.unwrap_or(USUAL);
    let back = Duration::from_secs(hours * 3600);
    let stretch = Stretch { from: ask.now.minus(back), to: ask.now.plus(back / 4) };
    let page = ask.views.runs(&format!("since={hours}h&limit={RUNS}")).await?;
    let runs: Vec<&RunShape> = page.runs.iter().filter(|run| run.claimed_at.is_some()).collect();
    let tasks = ask.views.tasks(TASKS).await?.tasks;
    let graph = ask.views.lock_graph().await?;
    let (lanes, more_lanes) = lanes(ask, &clock, stretch, &runs, &tasks, &graph);
    let link = |other: u64| Link {
        href: ask.with("hours", &other.to_string()),
        text: format!("{other} h"),
        current: other == hours,
        mine: false,
    };
    Ok(TimelinePage {
        shell: ask.shell("Timeline").same(ask.api("/v1/runs")),
        hours: HOURS.map(link).to_vec(),
        height: lanes.last().map_or(TOP, |lane| lane.bottom) + PAD,
        lanes,
        more_lanes,
        ticks: ticks(&clock, stretch, hours),
        now_x: stretch.x(ask.now),
        rows: runs.iter().map(|run| twin(ask, &clock, run)).collect(),
        is_cut: page.cursor.is_some(),
        zone: clock.zone(chrono_tz::Tz::UTC).name().to_owned(),
    })
}

/// Returns a lane for each task that has runs, or is due, in the stretch; and the number of those that are left out.
fn lanes(
    ask: &Ask,
    clock: &Clock,
    stretch: Stretch,
    runs: &[&RunShape],
    tasks: &[TaskSummary],
    graph: &LockGraph,
) -> (Vec<Lane>, usize) {
    let mut of: BTreeMap<&Name, Vec<&RunShape>> = BTreeMap::new();
    runs.iter().for_each(|run| of.entry(&run.task).or_default().push(run));
    let due = |task: &&TaskSummary| !task.paused && task.next.first().is_some_and(|due| due.at <= stretch.to);
    for task in tasks.iter().filter(due) {
        of.entry(&task.name).or_default();
    }
    let all = of.len();
    let mut top = TOP;
    let mut lanes = Vec::new();
    for (name, mut runs) in of.into_iter().take(LANES) {
        runs.sort_unstable_by_key(|run| (run.claimed_at, run.id));
        let (bars, rows) = bars(ask, clock, stretch, &runs, top + PAD / 2);
        let bottom = top + rows * ROW + PAD;
        let task = tasks.iter().find(|task| task.name == *name);
        lanes.push(Lane {
            name: name.to_string(),
            href: task_href(ask, name),
            y: top,
            base: top + 16,
            bottom,
            bars,
            next: task.map(|task| next(ask, clock, stretch, task)).unwrap_or_default(),
            locks: locks(stretch, clock.now, graph, name),
        });
        top = bottom;
    }
    (lanes, all.saturating_sub(LANES))
}

/// Returns the bars of runs, which are in the order of their begins, and the number of rows that they take.
fn bars(ask: &Ask, clock: &Clock, stretch: Stretch, runs: &[&RunShape], top: u64) -> (Vec<Bar>, u64) {
    let mut ends: Vec<Timestamp> = Vec::new();
    let mut bars = Vec::new();
    for run in runs {
        let (from, to) = span(run, clock.now);
        let x = stretch.x(from);
        let width = (stretch.x(to) - x).max(THIN);
        let row = ends.iter().position(|end| *end <= from).unwrap_or(ends.len()).min(ROWS - 1);
        match ends.get_mut(row) {
            Some(end) => *end = to.max(*end),
            None => ends.push(to),
        }
        let mark = Mark::of(run.state, run.outcome);
        let took = lasted(millis(to.since(from)));
        let title = format!("run {}: {}, {took} from {}", run.id, mark.word, clock.utc(from).plain());
        bars.push(Bar { x, y: top + row as u64 * ROW, width, mark, href: run_href(ask, run.id), title });
    }
    (bars, ends.len().max(1) as u64)
}

/// Returns when the last attempt of a run began, and when it ended, or now.
fn span(run: &RunShape, now: Timestamp) -> (Timestamp, Timestamp) {
    let from = run.claimed_at.unwrap_or(run.due_at);
    let to = match run.state {
        RunState::Running => now,
        // A run that waits for its next attempt has had one.
        RunState::Waiting => from,
        _ => run.ended_at.unwrap_or(from),
    };
    (from, to.max(from))
}

fn next(ask: &Ask, clock: &Clock, stretch: Stretch, task: &TaskSummary) -> Vec<(u64, String)> {
    let zone = zone_of(ask, &ask.views.key(&task.name));
    let coming = task.next.iter().filter(|due| due.at <= stretch.to);
    coming.map(|due| (stretch.x(due.at), format!("due {}", clock.at(due.at, zone).plain()))).collect()
}

fn locks(stretch: Stretch, now: Timestamp, graph: &LockGraph, task: &Name) -> Vec<(u64, u64, String)> {
    let holders = graph.locks.iter().flat_map(|node| node.holders.iter().map(move |holder| (node, holder)));
    let held = holders.filter(|(_, holder)| holder.task == *task);
    held.map(|(node, holder)| {
        let title = super::look::shown(&format!("lock {} held by run {}", node.lock.name, holder.run));
        (stretch.x(holder.since), stretch.x(now), title)
    })
    .collect()
}

/// Returns the lines of the hours, or of parts of them.
fn ticks(clock: &Clock, stretch: Stretch, hours: u64) -> Vec<Tick> {
    let step = match hours {
        1 => 10,
        3 => 30,
        12 => 120,
        _ => 240,
    };
    let zone = clock.zone(chrono_tz::Tz::UTC);
    let step_ms = step * 60_000;
    let first = stretch.from.as_millis().div_euclid(step_ms) + 1;
    let at = |n: i64| Timestamp::from_millis(n * step_ms);
    let tick = |at: Timestamp| {
        let local = at.to_utc().with_timezone(&zone);
        Tick { x: stretch.x(at), text: format!("{:02}:{:02}", local.hour(), local.minute()) }
    };
    (first..).map(at).take_while(|at| *at <= stretch.to).map(tick).collect()
}

fn twin(ask: &Ask, clock: &Clock, run: &RunShape) -> TwinRow {
    let (from, to) = span(run, clock.now);
    TwinRow {
        run: run.id.to_string(),
        href: run_href(ask, run.id),
        task: run.task.to_string(),
        mark: Mark::of(run.state, run.outcome),
        from: clock.at(from, zone_of(ask, &run.key())),
        took: lasted(millis(to.since(from))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_have_their_places_and_those_outside_are_at_the_edge() {
        let [from, middle, to, beyond] = [0, 500, 1000, 5000].map(Timestamp::from_millis);
        let stretch = Stretch { from, to };
        assert_eq!([from, middle, to, beyond].map(|at| stretch.x(at)), [190, 695, 1200, 1200]);
    }

    #[test]
    fn the_hours_are_marked_by_the_clocks_of_the_zone() {
        let now = Timestamp::from_millis(1_795_341_600_000);
        let stretch = Stretch { from: now.minus(Duration::from_secs(3 * 3600)), to: now };
        let berlin = Clock::new(now, super::super::times::Times::In(chrono_tz::Europe::Berlin));
        let texts: Vec<String> = ticks(&berlin, stretch, 3).into_iter().map(|tick| tick.text).collect();
        assert_eq!(texts, ["08:30", "09:00", "09:30", "10:00", "10:30", "11:00"]);
    }
}
