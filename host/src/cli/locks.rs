//! Implements `locks`: held locks as a table, or, with `--graph`, which runs wait for which.

use std::collections::{BTreeMap, HashSet};

use super::args::{ListArgs, LocksArgs};
use super::client::{Client, decode};
use super::error::CliError;
use super::screen::{Screen, one_line};
use crate::http::api_types::locks::{LockGraph, LockKind, LockMode, LockNode, LockShape, LockWaiter, Locks};
use sexton_domain::run::RunId;

/// The deepest indentation: a chain of a thousand runs must not become a million spaces.
const DEEPEST: usize = 20;

pub(super) fn locks(client: &Client, args: &LocksArgs, screen: &Screen) -> Result<(), CliError> {
    if !args.graph {
        return held(client, args.list, screen);
    }
    let json = client.text("/v1/locks/graph")?;
    if args.list.json {
        return screen.json(&json);
    }
    let graph: LockGraph = decode(&json)?;
    screen.text(&if args.dot { dot(&graph) } else { tree(&graph, screen) })
}

fn held(client: &Client, list: ListArgs, screen: &Screen) -> Result<(), CliError> {
    let json = client.text("/v1/locks")?;
    if list.json {
        return screen.json(&json);
    }
    let Locks { locks } = decode(&json)?;
    if locks.is_empty() {
        return screen.line("No lock is held.");
    }
    let mut table = screen.table(&["LOCK", "KIND", "MODE", "RUN", "TASK", "FENCE", "SINCE"], "LOCK");
    for held in &locks {
        table.add_row(vec![
            one_line(&held.lock.name),
            if held.lock.kind == LockKind::Refresh { "refresh" } else { "named" }.to_owned(),
            mode(held.mode).to_owned(),
            held.run.to_string(),
            held.task.to_string(),
            held.fence.to_string(),
            screen.instant(held.since),
        ]);
    }
    screen.print(&table)
}

fn mode(mode: LockMode) -> &'static str {
    if mode == LockMode::Shared { "shared" } else { "exclusive" }
}

fn name(lock: &LockShape) -> String {
    let kind = if lock.kind == LockKind::Refresh { " (refresh)" } else { "" };
    format!("{}{kind}", one_line(&lock.name))
}

/// Prints locks with their holders and waiters. Below a waiter stand the locks that it holds.
fn tree(graph: &LockGraph, screen: &Screen) -> String {
    if graph.locks.is_empty() {
        return "No lock is held, and no run waits for one.\n".to_owned();
    }
    let waiting: HashSet<RunId> = graph.locks.iter().flat_map(|node| &node.waiters).map(|waiter| waiter.run).collect();
    let mut held: BTreeMap<RunId, Vec<usize>> = BTreeMap::new();
    for (n, node) in graph.locks.iter().enumerate() {
        node.holders.iter().for_each(|holder| held.entry(holder.run).or_default().push(n));
    }
    let mut tree = Tree { graph, screen, held, shown: HashSet::new(), text: String::new() };
    let is_root = |node: &LockNode| !node.holders.iter().any(|holder| waiting.contains(&holder.run));
    for (n, _) in graph.locks.iter().enumerate().filter(|(_, node)| is_root(node)) {
        tree.add(n);
    }
    // The remaining locks hang from a deadlock.
    for n in 0..graph.locks.len() {
        tree.add(n);
    }
    for circle in &graph.circles {
        let runs: Vec<String> = circle.iter().chain(circle.first()).map(|run| format!("run {run}")).collect();
        tree.text.push_str(&format!("\nDeadlock, in which each run waits for the next: {}\n", runs.join(" > ")));
    }
    tree.text
}

struct Tree<'a> {
    graph: &'a LockGraph,
    screen: &'a Screen,
    held: BTreeMap<RunId, Vec<usize>>,
    shown: HashSet<usize>,
    text: String,
}

/// The next item to write.
enum Next<'a> {
    Lock(usize),
    Waiter(&'a LockWaiter),
}

impl<'a> Tree<'a> {
    /// Adds the lock `root`, unless it was shown, and everything below it. The walk is not recursive, because chains
    /// may be long.
    fn add(&mut self, root: usize) {
        if self.shown.contains(&root) {
            return;
        }
        let mut next = vec![(0, Next::Lock(root))];
        while let Some((depth, item)) = next.pop() {
            let under: Vec<Next<'a>> = match item {
                Next::Lock(n) => self.lock(depth, n),
                Next::Waiter(waiter) => self.waiter(depth, waiter),
            };
            next.extend(under.into_iter().rev().map(|item| (depth + 1, item)));
        }
    }

    fn line(&mut self, depth: usize, text: &str) {
        self.text.push_str(&format!("{}{text}\n", "  ".repeat(depth.min(DEEPEST))));
    }

    fn lock(&mut self, depth: usize, n: usize) -> Vec<Next<'a>> {
        let node: &'a LockNode = &self.graph.locks[n];
        if !self.shown.insert(n) {
            self.line(depth, &format!("{}, as above", name(&node.lock)));
            return Vec::new();
        }
        self.line(depth, &name(&node.lock));
        for holder in &node.holders {
            let (run, task, mode) = (holder.run, &holder.task, mode(holder.mode));
            let since = self.screen.instant(holder.since);
            let text = format!("held by run {run} of {task}, {mode}, since {since}, fence {}", holder.fence);
            self.line(depth + 1, &text);
        }
        node.waiters.iter().map(Next::Waiter).collect()
    }

    fn waiter(&mut self, depth: usize, waiter: &LockWaiter) -> Vec<Next<'a>> {
        let LockWaiter { run, task, since, place, .. } = waiter;
        let since = self.screen.instant(*since);
        let stuck = if waiter.stuck { "; STUCK" } else { "" };
        self.line(depth, &format!("{place}. run {run} of {task} waits, {}, since {since}{stuck}", mode(waiter.mode)));
        self.held.get(run).into_iter().flatten().map(|n| Next::Lock(*n)).collect()
    }
}

/// Prints the graph for graphviz: an edge from each waiter to its lock, and from the lock to its holders.
fn dot(graph: &LockGraph) -> String {
    let mut text = "digraph locks {\n  rankdir=LR;\n".to_owned();
    let mut runs = BTreeMap::new();
    for (n, node) in graph.locks.iter().enumerate() {
        text.push_str(&format!("  lock{n} [shape=box, label={}];\n", quoted(&name(&node.lock))));
        for holder in &node.holders {
            runs.insert(holder.run, (&holder.task, runs.get(&holder.run).is_some_and(|(_, stuck)| *stuck)));
            text.push_str(&format!("  lock{n} -> run{} [label=\"held, {}\"];\n", holder.run, mode(holder.mode)));
        }
        for waiter in &node.waiters {
            let stuck = if waiter.stuck { ", color=red" } else { "" };
            runs.insert(waiter.run, (&waiter.task, waiter.stuck));
            let label = format!("waits, {}, {}", mode(waiter.mode), waiter.place);
            text.push_str(&format!("  run{} -> lock{n} [style=dashed, label=\"{label}\"{stuck}];\n", waiter.run));
        }
    }
    for (run, (task, stuck)) in runs {
        let stuck = if stuck { ", color=red" } else { "" };
        text.push_str(&format!("  run{run} [label={}{stuck}];\n", quoted(&format!("run {run} of {task}"))));
    }
    text.push_str("}\n");
    text
}

/// Quotes a text for graphviz, whatever a guest called its lock.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example() -> LockGraph {
        let at = "2026-11-22T10:00:00.000Z";
        let holder = |run: i64, mode: &str| json!({ "run": run, "task": "t", "mode": mode, "fence": 4, "since": at });
        let waiter = |run: i64, place: u32, stuck: bool| json!({ "run": run, "task": "w", "mode": "exclusive", "since": at, "place": place, "stuck": stuck });
        let lock = |name: &str, holders: Vec<_>, waiters: Vec<_>| json!({ "tenant": "default", "kind": "named", "name": name, "holders": holders, "waiters": waiters });
        let graph = json!({
            "locks": [
                lock("alone", vec![holder(9, "exclusive")], vec![]),
                lock("drafts\u{1b}[2J\"", vec![holder(8, "exclusive")], vec![waiter(10, 1, false)]),
                lock("ledger", vec![holder(7, "shared"), holder(6, "shared")], vec![waiter(8, 1, false), waiter(5, 2, false)]),
                lock("x", vec![holder(1, "exclusive")], vec![waiter(2, 1, true)]),
                lock("y", vec![holder(2, "exclusive")], vec![waiter(1, 1, true)]),
            ],
            "circles": [[1, 2]],
        });
        serde_json::from_value(graph).expect("the API's own shape")
    }

    #[test]
    fn the_tree_shows_which_runs_wait_for_which_and_marks_deadlocks() {
        let shown = tree(&example(), &Screen::plain());
        let lines: Vec<&str> = shown.lines().map(|line| line.split(", since").next().unwrap_or_default()).collect();

        insta::assert_snapshot!(lines.join("\n"));
        assert_eq!(shown.matches("STUCK").count(), 2, "{shown}");
    }

    #[test]
    fn graphviz_gets_names_that_stay_names() {
        let text = dot(&example());
        for expected in [
            r#"lock1 [shape=box, label="drafts\\u001b[2J\""];"#,
            r#"run8 -> lock2 [style=dashed, label="waits, exclusive, 1"];"#,
            r#"lock2 -> run7 [label="held, shared"];"#,
            r#"run1 -> lock4 [style=dashed, label="waits, exclusive, 1", color=red];"#,
        ] {
            assert!(text.contains(expected), "`{expected}` is not in:\n{text}");
        }
    }
}
