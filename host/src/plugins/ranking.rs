//! Ranks plugins that wait to be loaded: the one whose runs can start first is next.
//!
//! A host that starts may find a thousand plugins that were never compiled, and runs that are due. A manifest is read in
//! a moment, so manifests are read before components, and the store says what waits and how far each schedule has come.
//! Added schedules do not count: they wait for their tasks. Loads begin without the ranks if these take long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::plugins::source::{Defined, Files, Source};
use sexton_domain::pause::Pauses;
use sexton_domain::schedule::{Look, Trigger};
use sexton_domain::task::{Task, TaskKey};
use sexton_domain::time::Timestamp;
use sexton_store::{LatestRuns, Result, Store, TaskState};
use sexton_system::supervisor::{Panic, Supervisor, caught};

/// The instant at which a plugin is needed of which no run is known to start.
const NEVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// The longest that loads wait for ranks. A store that does not answer must not keep plugins from loading, and manifests
/// that take longer to read are so many that their components take far longer.
const HOLD: Duration = Duration::from_millis(250);

/// The plugins that are ranked at once.
const PIECE: usize = 50;

/// The tasks about which the store is asked at once, so that other questions come in between.
const READ: usize = 500;

/// An instant that passed this recently was not missed.
const GRACE: Duration = Duration::from_secs(2);

/// The place of a plugin among those that wait to be loaded: by the instant at which it is needed, and of those that are
/// needed at one instant the smallest, which compiles fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    due: Timestamp,
    size: u64,
}

impl Rank {
    /// Returns the rank of a component of about `size` bytes of which nothing else is known.
    pub(super) fn of_size(size: u64) -> Self {
        Self { due: NEVER, size }
    }

    /// Returns the same for one that is needed at `due`.
    pub(super) fn needed_at(self, due: Timestamp) -> Self {
        Self { due, ..self }
    }
}

/// A plugin whose manifest was read.
#[derive(Debug)]
struct Ranked {
    name: String,
    files: Files,
    due: Timestamp,
    /// The contents of its manifest, unless there is something wrong with it, which its load will report.
    defined: Option<Defined>,
}

/// The plugins of a directory that are being ranked, and those that were.
#[derive(Debug)]
pub(super) struct Ranking {
    told: UnboundedSender<Ranked>,
    ranked: UnboundedReceiver<Ranked>,
    under_way: JoinSet<std::result::Result<(), Panic>>,
    /// The number of plugins whose rank is awaited.
    awaited: usize,
    /// Loads wait for ranks until then.
    hold_ends: Instant,
    /// The plugins that were ranked and whose loads have not begun.
    known: BTreeMap<String, Ranked>,
}

impl Ranking {
    pub(super) fn new() -> Self {
        let (told, ranked) = unbounded_channel();
        let (under_way, known) = Default::default();
        Self { told, ranked, under_way, awaited: 0, hold_ends: Instant::now(), known }
    }

    /// Begins to rank `plugins` of `source`, as of `now`.
    pub(super) fn begin(&mut self, source: &Source, plugins: Vec<(String, Files)>, now: Timestamp) {
        while let Some(done) = self.under_way.try_join_next() {
            if let Ok(Err(panic)) = done {
                // Loads wait for ranks for a bounded time, so only their order is lost.
                Supervisor::of_process().note("the order of loads", &panic);
            }
        }
        if plugins.is_empty() {
            return;
        }
        if self.awaited == 0 {
            self.hold_ends = Instant::now() + HOLD;
        }
        self.awaited += plugins.len();
        let rank = rank(source.clone(), plugins, now, self.told.clone());
        self.under_way.spawn(caught(rank));
    }

    /// Returns until when loads wait for ranks, if they do.
    pub(super) fn holds_until(&self) -> Option<Instant> {
        (self.awaited > 0 && Instant::now() < self.hold_ends).then_some(self.hold_ends)
    }

    /// Waits for the next plugin that is ranked, and returns the instant at which it is needed. Cancel safe.
    pub(super) async fn next(&mut self) -> (String, Timestamp) {
        let Some(ranked) = self.ranked.recv().await else {
            // This holds a sender, so the channel is open.
            return std::future::pending().await;
        };
        self.awaited = self.awaited.saturating_sub(1);
        let (name, due) = (ranked.name.clone(), ranked.due);
        self.known.insert(name.clone(), ranked);
        (name, due)
    }

    /// Takes what is known of a plugin that is loaded from these files: the instant at which it is needed, and the
    /// contents of its manifest.
    pub(super) fn take(&mut self, plugin: &str, files: Files) -> (Timestamp, Option<Defined>) {
        match self.known.remove(plugin) {
            Some(ranked) if ranked.files == files => (ranked.due, ranked.defined),
            Some(ranked) => (ranked.due, None),
            None => (NEVER, None),
        }
    }

    /// Forgets a plugin that does not wait to be loaded.
    pub(super) fn forget(&mut self, plugin: &str) {
        self.known.remove(plugin);
    }
}

/// Ranks `plugins`, a piece at a time, and tells of each.
async fn rank(source: Source, plugins: Vec<(String, Files)>, now: Timestamp, told: UnboundedSender<Ranked>) {
    for piece in plugins.chunks(PIECE) {
        let (of, names) = (source.clone(), piece.to_vec());
        let read = tokio::task::spawn_blocking(move || {
            let mut read = unranked(&names);
            for ranked in &mut read {
                ranked.defined = of.defined(&ranked.name, ranked.files);
            }
            read
        });
        // A panic is reported by the load that meets it once more.
        let mut read = read.await.unwrap_or_else(|_| unranked(piece));
        let tasks = read.iter().filter_map(|ranked| ranked.defined.as_ref()).flat_map(|(_, tasks, _)| tasks);
        let keys = tasks.map(|task| task.key.clone()).collect();
        // A store that does not answer says nothing about what is due.
        let facts = Facts::read(&*source.runtime.services().store, keys).await.unwrap_or_default();
        let ranked = tokio::task::spawn_blocking(move || {
            for ranked in &mut read {
                ranked.due = ranked.defined.as_ref().map_or(NEVER, |defined| facts.due(defined, now));
            }
            read
        });
        for ranked in ranked.await.unwrap_or_else(|_| unranked(piece)) {
            // There is no receiver once the directory is no longer watched.
            let _ = told.send(ranked);
        }
    }
}

/// Returns these plugins as long as nothing is known of them.
fn unranked(plugins: &[(String, Files)]) -> Vec<Ranked> {
    let ranked = |(name, files): &(String, Files)| {
        let (name, files) = (name.clone(), *files);
        Ranked { name, files, due: NEVER, defined: None }
    };
    plugins.iter().map(ranked).collect()
}

/// The facts of the store that say when runs of tasks can start.
#[derive(Debug, Default)]
struct Facts {
    states: BTreeMap<TaskKey, TaskState>,
    latest: BTreeMap<TaskKey, LatestRuns>,
    pauses: Pauses,
}

impl Facts {
    async fn read(store: &dyn Store, tasks: Vec<TaskKey>) -> Result<Self> {
        let mut facts = Self { pauses: store.pauses().await?, ..Self::default() };
        for piece in tasks.chunks(READ) {
            facts.states.extend(store.task_states_of(piece.to_vec()).await?);
            facts.latest.extend(store.latest_runs(piece.to_vec()).await?);
        }
        Ok(facts)
    }

    /// Returns the first instant at which a run can start of one of the tasks that a manifest defines.
    fn due(&self, (_, tasks, chains): &Defined, now: Timestamp) -> Timestamp {
        // A chain may be at any of its links, and other plugins have some.
        if !chains.is_empty() {
            return now;
        }
        tasks.iter().filter_map(|task| self.start_of(task, now)).min().unwrap_or(NEVER)
    }

    /// Returns the first instant at which a run of `task` can start, if one is known.
    fn start_of(&self, task: &Arc<Task>, now: Timestamp) -> Option<Timestamp> {
        let (state, runs) = (self.states.get(&task.key), self.latest.get(&task.key));
        let own = state.and_then(|state| state.paused.as_ref());
        if self.pauses.of(&task.key.tenant, own).is_some() {
            return None;
        }
        let waiting = runs.and_then(|runs| runs.waiting.as_ref());
        // A run that was under way when its host ended is tried again.
        let begun = runs.and_then(|runs| runs.begun.as_ref()).filter(|run| !run.state.is_over());
        let stored = [waiting, begun].into_iter().flatten().map(|run| run.run_at);
        stored.chain(scheduled(task, state, now)).min()
    }
}

/// Returns the first instant at which the schedule of a task makes a run.
fn scheduled(task: &Task, state: Option<&TaskState>, now: Timestamp) -> Option<Timestamp> {
    match &task.trigger {
        Trigger::OnDemand => None,
        // They make a run once the task is known, or when an earlier one has ended.
        Trigger::OnStart | Trigger::After(_) | Trigger::Pace(_) => Some(now),
        Trigger::Cron(_) | Trigger::Every(_) | Trigger::At(_) => {
            let plan = task.plan();
            // A schedule that was changed begins anew.
            let is_same = |state: &&TaskState| state.schedule.as_ref().is_none_or(|known| *known == plan.identity());
            let (cursor, fired) = state.filter(is_same).map_or((None, 0), |state| (state.cursor, state.fired));
            let due = plan.due(Look { cursor, now, grace: GRACE }, fired);
            if due.fire.is_empty() { due.next } else { Some(now) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::plugins::manifest::Manifest;
    use crate::testkit::{name, task_key};
    use sexton_domain::run::Cause;
    use sexton_domain::task::Name;
    use sexton_store::NewRun;
    use sexton_store::sqlite::{SqliteOptions, SqliteStore};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    /// Returns the instant `seconds` after [`NOW`].
    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn defined(plugin: &str, manifest: &str) -> Defined {
        let (tenant, plugin) = (Name::default_tenant(), name(plugin));
        let parsed = Manifest::parse("p.toml", manifest).unwrap();
        let tasks = parsed.tasks(&tenant, &plugin, Path::new("/")).into_iter().map(Arc::new).collect();
        let chains = parsed.chains(&tenant, &plugin).into_iter().map(Arc::new).collect();
        (manifest.to_owned(), tasks, chains)
    }

    async fn facts(store: &dyn Store, defined: &Defined) -> Facts {
        Facts::read(store, defined.1.iter().map(|task| task.key.clone()).collect()).await.unwrap()
    }

    #[tokio::test]
    async fn a_plugin_is_needed_when_the_first_run_of_its_tasks_can_start() {
        let place = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = SqliteStore::open(place.path().join("db"), &SqliteOptions::default()).unwrap();
        let run = |task: &str, run_at| NewRun { run_at, ..NewRun::of(task_key(task), run_at, Cause::Demand) };
        let early = NOW.minus(Duration::from_secs(10));
        store.enqueue(vec![run("queued", early), run("put-off", at(500)), run("paused", early)], early).await.unwrap();
        store.set_paused(task_key("paused"), true, early).await.unwrap();
        let instant = |seconds| format!("at = \"{}\"", at(seconds));

        let table = [
            ("queued", "[tasks.queued]".to_owned(), early),
            ("start", "[tasks.start]\non-start = true".to_owned(), NOW),
            ("after", "[tasks.after]\nafter = \"1h\"".to_owned(), NOW),
            ("chained", "[tasks.a]\n[tasks.b]\n[chains.c]\nlinks = [\"a\", \"b\"]".to_owned(), NOW),
            ("missed", format!("[tasks.missed]\n{}", instant(0)), NOW),
            ("soon", format!("[tasks.later]\n{}\n[tasks.soon]\n{}", instant(900), instant(60)), at(60)),
            ("put-off", format!("[tasks.put-off]\n{}", instant(900)), at(500)),
            ("demand", "[tasks.demand]".to_owned(), NEVER),
            ("paused", "[tasks.paused]\non-start = true".to_owned(), NEVER),
        ];

        for (plugin, manifest, expected) in table {
            let defined = defined(plugin, &manifest);
            assert_eq!(facts(&*store, &defined).await.due(&defined, NOW), expected, "{plugin}");
        }
    }

    #[tokio::test]
    async fn a_schedule_goes_on_from_where_the_store_says_that_it_is() {
        let place = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = SqliteStore::open(place.path().join("db"), &SqliteOptions::default()).unwrap();
        let hourly = defined("hourly", "[tasks.hourly]\nevery = \"1h\"\ncatch-up = \"latest\"");
        let first = facts(&*store, &hourly).await.due(&hourly, NOW);
        let fire = |cursor| sexton_store::Fire {
            task: task_key("hourly"),
            runs: Vec::new(),
            cursor,
            expect: None,
            memory: None,
            now: NOW,
        };

        store.fire(fire(NOW.minus(Duration::from_secs(2 * 3600)))).await.unwrap();
        let missed = facts(&*store, &hourly).await.due(&hourly, NOW);

        assert!(first > NOW && first <= at(3600), "{first}");
        assert_eq!(missed, NOW, "an instant was missed");
        store.fire(fire(NOW)).await.unwrap();
        assert_eq!(facts(&*store, &hourly).await.due(&hourly, NOW), first);
    }
}
