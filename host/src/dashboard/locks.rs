//! The locks: which run holds which, and which runs wait, as a table and as a picture.

use askama::Template;
use axum::response::Response;

use crate::http::api_types::locks::{LockGraph, LockKind, LockMode, LockNode};
use crate::http::views::Seen;
use sexton_domain::run::RunId;
use sexton_domain::task::Name;

use super::ask::Ask;
use super::look::shown;
use super::rows::run_href;
use super::shell::{Link, Shell};
use super::times::{Clock, When};

/// The locks of the picture, and the runs on each side of one.
const DRAWN: usize = 20;
const SIDE: usize = 8;

/// The height of a box of the picture, and of the space between locks.
const BOX: usize = 30;
const GAP: usize = 14;

/// A run that holds a lock or waits for it.
#[derive(Clone, Debug)]
struct LockRun {
    href: String,
    text: String,
    mode: &'static str,
    since: When,
    /// Its place in the queue; 0 if it holds the lock.
    place: u32,
    stuck: bool,
}

/// A lock.
#[derive(Clone, Debug)]
struct LockRow {
    name: String,
    kind: &'static str,
    holders: Vec<LockRun>,
    waiters: Vec<LockRun>,
}

/// A box of the picture.
#[derive(Clone, Debug)]
struct Boxed {
    y: usize,
    text: String,
    stuck: bool,
}

/// A lock of the picture.
#[derive(Clone, Debug)]
struct Drawn {
    middle: usize,
    text: String,
    waiters: Vec<Boxed>,
    holders: Vec<Boxed>,
}

/// The page.
#[derive(Template)]
#[template(path = "locks.html")]
struct LocksPage {
    shell: Shell,
    rows: Vec<LockRow>,
    circles: Vec<Vec<Link>>,
    drawn: Vec<Drawn>,
    height: usize,
}

/// `GET /locks`.
pub(super) async fn page(ask: Ask) -> Response {
    let page = build(&ask).await;
    ask.answer(page)
}

async fn build(ask: &Ask) -> Seen<LocksPage> {
    let (clock, graph) = (Clock::new(ask.now, ask.times), ask.views.lock_graph().await?);
    let (drawn, height) = draw(&graph);
    let link =
        |run: &RunId| Link { href: run_href(ask, *run), text: format!("run {run}"), current: false, mine: false };
    Ok(LocksPage {
        shell: ask.shell("Locks").same(ask.api("/v1/locks/graph")),
        rows: graph.locks.iter().map(|node| row(ask, &clock, node)).collect(),
        circles: graph.circles.iter().map(|circle| circle.iter().map(link).collect()).collect(),
        drawn,
        height,
    })
}

fn row(ask: &Ask, clock: &Clock, node: &LockNode) -> LockRow {
    let run = |run: RunId, task: &Name, mode: LockMode, since| LockRun {
        href: run_href(ask, run),
        text: format!("run {run} of {task}"),
        mode: if mode == LockMode::Shared { "shared" } else { "exclusive" },
        since: clock.utc(since),
        place: 0,
        stuck: false,
    };
    let holders = node.holders.iter().map(|holder| run(holder.run, &holder.task, holder.mode, holder.since));
    let waiters = node.waiters.iter().map(|waiter| LockRun {
        place: waiter.place,
        stuck: waiter.stuck,
        ..run(waiter.run, &waiter.task, waiter.mode, waiter.since)
    });
    LockRow {
        name: shown(&node.lock.name),
        kind: if node.lock.kind == LockKind::Refresh { "renewal of a cache entry" } else { "named" },
        holders: holders.collect(),
        waiters: waiters.collect(),
    }
}

/// Returns the picture of the locks for which runs wait, and its height.
fn draw(graph: &LockGraph) -> (Vec<Drawn>, usize) {
    let mut top = GAP;
    let mut drawn = Vec::new();
    for node in graph.locks.iter().filter(|node| !node.waiters.is_empty()).take(DRAWN) {
        let rows = node.waiters.len().clamp(1, SIDE).max(node.holders.len().clamp(1, SIDE));
        let boxed = |(n, (text, stuck)): (usize, (String, bool))| Boxed { y: top + n * BOX, text, stuck };
        let waiters = node.waiters.iter().map(|waiter| (format!("{} · {}", waiter.run, waiter.task), waiter.stuck));
        let holders = node.holders.iter().map(|holder| (format!("{} · {}", holder.run, holder.task), false));
        drawn.push(Drawn {
            middle: top + rows * BOX / 2,
            text: shown(&node.lock.name),
            waiters: waiters.take(SIDE).enumerate().map(boxed).collect(),
            holders: holders.take(SIDE).enumerate().map(boxed).collect(),
        });
        top += rows * BOX + GAP;
    }
    (drawn, top)
}

impl Boxed {
    /// Returns the place of the text, and of the arrow.
    fn middle(&self) -> usize {
        self.y + BOX / 2 - 2
    }

    /// Returns the base line of the text.
    fn base(&self) -> usize {
        self.middle() + 4
    }
}

impl Drawn {
    /// Returns the upper edge of the box of the lock.
    fn top(&self) -> usize {
        self.middle - BOX / 2
    }

    /// Returns the base line of the text.
    fn base(&self) -> usize {
        self.middle + 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::api_types::locks::{HeldLockShape, LockShape, LockWaiter};
    use sexton_domain::time::Timestamp;

    #[test]
    fn the_picture_shows_only_locks_for_which_runs_wait() {
        let (since, task) = (Timestamp::from_millis(0), Name::new("task").unwrap());
        let lock =
            |name: &str| LockShape { tenant: Name::default_tenant(), kind: LockKind::Named, name: name.to_owned() };
        let (mode, run) = (LockMode::Exclusive, RunId(1));
        let held = ["free", "wanted"].map(|name| HeldLockShape {
            lock: lock(name),
            mode,
            run,
            task: task.clone(),
            fence: 1,
            since,
        });
        let waits = (2..40).map(|run| {
            let (run, task) = (RunId(run), task.clone());
            (lock("wanted"), LockWaiter { run, task, mode, since, place: 1, stuck: true })
        });

        let (drawn, height) = draw(&LockGraph::of(held.to_vec(), waits.collect()));

        assert_eq!(drawn.iter().map(|lock| lock.text.as_str()).collect::<Vec<_>>(), ["wanted"]);
        assert_eq!((drawn[0].waiters.len(), drawn[0].holders.len()), (SIDE, 1));
        assert_eq!(height, GAP + SIDE * BOX + GAP);
    }
}
