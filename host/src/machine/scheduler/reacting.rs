//! Runs schedules that depend on earlier runs: `after`, chains, and `pace`.
//!
//! Their state is only in the store: each look reads it, and the next step is written only if it has not changed since.
//! So restarts, and other hosts that do the same, change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tracing::warn;

use super::{AFTER_ERROR, LOOK_AGAIN, Scheduler};
use crate::machine::alert;
use sexton_domain::run::RunState;
use sexton_domain::schedule::{
    AfterState, AwaitedRun, Chain, ChainState, Cooldowns, Memory, Pace, PaceDecision, Timing, Trigger,
};
use sexton_domain::task::{Overlap, Task, TaskKey};
use sexton_domain::time::Timestamp;
use sexton_runtime::catalog::{Catalog, Chains, Changed};
use sexton_store::rules::runs::chain_key;
use sexton_store::{self as store, Admit, Fire, FireOutcome, NewRun, RunKey, TriggerState, UpdateMemory};

/// Looks that hints cause take at most this fraction of the scheduler's time: a tenth.
const SHARE: u32 = 10;

/// A wait up to this length is not worth a write. If the history of the awaited run is deleted before the wait ends,
/// the next run starts too early by at most this much.
const KEPT: Duration = Duration::from_secs(10);

/// The shortest interval between two looks that hints cause.
const BETWEEN_HINTS: Duration = Duration::from_millis(5);

/// A schedule that depends on earlier runs.
#[derive(Clone, Debug)]
enum Schedule {
    After(Arc<Task>, Cooldowns),
    Pace(Arc<Task>, Pace),
    Chain(Arc<Chain>),
}

impl Schedule {
    fn of(task: &Arc<Task>) -> Option<Self> {
        match &task.trigger {
            Trigger::After(cooldowns) => Some(Self::After(Arc::clone(task), *cooldowns)),
            Trigger::Pace(pace) => Some(Self::Pace(Arc::clone(task), *pace)),
            _ => None,
        }
    }

    /// Returns the key of the awaited run.
    fn awaits(&self, memory: Option<&Memory>) -> Option<RunKey> {
        match (self, memory?) {
            (Self::After(task, _), Memory::After(state)) => Some((task.key.clone(), state.awaits.clone())),
            (Self::Chain(chain), Memory::Chain(state)) => {
                let state = chain.fit(state.clone());
                Some((chain.task(state.link), state.awaits?))
            }
            _ => None,
        }
    }
}

/// The time of the next look at a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Next {
    /// The instant of the look.
    at: Option<Timestamp>,
    /// Whether a change of any run causes a look.
    ends: bool,
}

impl Next {
    fn at(at: Timestamp) -> Self {
        Self { at: Some(at), ends: false }
    }

    const ENDS: Self = Self { at: None, ends: true };

    /// Only the look at everything, once a second, finds out more.
    const LATER: Self = Self { at: None, ends: false };

    /// The look is due.
    const DUE: Self = Self { at: Some(Timestamp::from_millis(i64::MIN)), ends: false };
}

/// A schedule as it was read from the store.
struct Seen<'a> {
    key: &'a TaskKey,
    fired: u64,
    text: Option<&'a str>,
    memory: Option<Memory>,
    run: AwaitedRun,
    /// Whether the awaited run is of an old version of its task and must make way.
    outdated: bool,
    paused: bool,
    watched: &'a TriggerState,
    now: Timestamp,
}

/// All schedules that depend on earlier runs.
#[derive(Debug, Default)]
pub struct Reacting {
    schedules: BTreeMap<TaskKey, (Schedule, Next)>,
    /// The number of the change of the catalog up to which the schedules are known, and its chains then.
    seen: Option<u64>,
    chains: Chains,
    /// The awaited tasks with `overlap = "replace"`, in the version that was known last.
    versions: BTreeMap<TaskKey, Arc<Task>>,
    /// The awaited tasks that have a new version since. Runs of the old version must make way.
    renewed: BTreeSet<TaskKey>,
    hinted: bool,
    /// The instants of the last look at everything, and from which the next hint is obeyed.
    polled: Option<Instant>,
    heed_from: Option<Instant>,
}

impl Reacting {
    /// Takes over the schedules of the catalog that have changed since the last call. The cost depends on the number of
    /// tasks that have changed, and of chains.
    pub(super) fn learn(&mut self, catalog: &Catalog) {
        let (latest, changed) = catalog.changed_since(self.seen);
        self.seen = Some(latest);
        let changed: Vec<TaskKey> = match changed {
            Changed::These(keys) => keys.into_iter().collect(),
            Changed::All => {
                self.schedules.retain(|_, (schedule, _)| matches!(schedule, Schedule::Chain(_)));
                catalog.tasks().keys().cloned().collect()
            }
        };
        let chains = catalog.chains();
        let mut awaited = BTreeSet::new();
        if !Arc::ptr_eq(&self.chains, &chains) {
            self.schedules.retain(|_, (schedule, _)| !matches!(schedule, Schedule::Chain(_)));
            for (key, chain) in &*chains {
                self.schedules.insert(key.clone(), (Schedule::Chain(Arc::clone(chain)), Next::DUE));
                awaited.extend((0..chain.links.len()).map(|link| chain.task(link)));
            }
            self.chains = chains;
        }
        let linked: BTreeSet<TaskKey> =
            self.chains.values().flat_map(|chain| (0..chain.links.len()).map(|link| chain.task(link))).collect();
        for key in changed {
            let schedule = catalog.get(&key).and_then(|task| Schedule::of(&task));
            if matches!(schedule, Some(Schedule::After(..))) || linked.contains(&key) {
                awaited.insert(key.clone());
            }
            match schedule {
                Some(schedule) => drop(self.schedules.insert(key, (schedule, Next::DUE))),
                None if self.chains.contains_key(&key) => {}
                None => drop(self.schedules.remove(&key)),
            }
        }
        awaited.iter().filter_map(|key| catalog.get(key)).for_each(|task| self.note_version(&task));
        // A chain may have waited for a link that is there now, and what awaits a run of an old version acts at once.
        if !self.renewed.is_empty() || awaited.iter().any(|key| linked.contains(key)) {
            self.look_at_all();
        }
    }

    /// Notes the version of a task whose runs are awaited, if runs of an old version must make way.
    fn note_version(&mut self, task: &Arc<Task>) {
        if task.overlap != Overlap::Replace {
            return;
        }
        let before = self.versions.insert(task.key.clone(), Arc::clone(task));
        if before.is_some_and(|before| !Arc::ptr_eq(&before, task)) {
            self.renewed.insert(task.key.clone());
        }
    }

    /// Has the next look be one at everything.
    pub(super) fn look_at_all(&mut self) {
        self.polled = None;
    }

    /// Returns whether a change of a run makes a difference.
    pub(super) fn depends_on_runs(&self) -> bool {
        !self.hinted && self.schedules.values().any(|(_, next)| next.ends)
    }

    /// Records that some run changed.
    pub(super) fn hint(&mut self) {
        self.hinted = true;
    }

    /// Takes the schedules whose look is due now.
    fn take_due(&mut self, now: Timestamp) -> Vec<(TaskKey, Schedule)> {
        let all = self.polled.is_none_or(|polled| polled.elapsed() >= LOOK_AGAIN);
        let ends = self.hinted && self.heed_from.is_none_or(|from| from <= Instant::now());
        if all {
            self.polled = Some(Instant::now());
        }
        if all || ends {
            self.hinted = false;
        }
        let due = |next: &Next| all || ends && next.ends || next.at.is_some_and(|at| at <= now);
        let due = self.schedules.iter().filter(|(_, (_, next))| due(next));
        due.map(|(key, (schedule, _))| (key.clone(), schedule.clone())).collect()
    }

    /// Returns the first instant of a look that does not depend on the ends of runs.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.schedules.values().filter_map(|(_, next)| next.at).min()
    }

    /// Returns how long no look is due.
    fn rest(&self, now: Timestamp) -> Duration {
        if self.schedules.is_empty() {
            return LOOK_AGAIN;
        }
        let by_time = self.next().map_or(LOOK_AGAIN, |at| at.since(now));
        let polled = self.polled.map_or(Duration::ZERO, |polled| LOOK_AGAIN.saturating_sub(polled.elapsed()));
        let hint = self.heed_from.filter(|_| self.hinted);
        let hint = hint.map_or(LOOK_AGAIN, |from| from.saturating_duration_since(Instant::now()));
        by_time.min(polled).min(hint)
    }
}

impl Scheduler {
    /// Makes the due runs of these schedules. Returns how long there will be none, unless a run ends.
    pub(super) async fn react(&self, reacting: &mut Reacting) -> Duration {
        loop {
            let now = self.clock.now();
            let due = reacting.take_due(now);
            if due.is_empty() {
                return reacting.rest(now);
            }
            let begun = Instant::now();
            let mut again = false;
            match self.look_at(reacting, &due, now).await {
                Ok(looked) => {
                    for ((key, _), next) in due.iter().zip(looked) {
                        let next = next.unwrap_or_else(|error| {
                            warn!(task.name = %key, error = %error, "Cannot fire `{key}`, trying again");
                            Next::at(now.plus(AFTER_ERROR))
                        });
                        again |= next.at.is_some_and(|at| at <= now);
                        reacting.schedules.entry(key.clone()).and_modify(|(_, known)| *known = next);
                    }
                }
                Err(error) => {
                    warn!(error = %error, "Cannot read the runs that schedules wait for, trying again");
                    for (_, next) in reacting.schedules.values_mut() {
                        *next = Next::at(now.plus(AFTER_ERROR));
                    }
                }
            }
            let pause = (begun.elapsed() * SHARE).clamp(BETWEEN_HINTS, LOOK_AGAIN);
            reacting.heed_from = Some(Instant::now() + pause);
            if !again {
                return reacting.rest(now);
            }
        }
    }

    /// Looks at these schedules and takes the next step of each. The results are in their order.
    async fn look_at(
        &self,
        reacting: &mut Reacting,
        due: &[(TaskKey, Schedule)],
        now: Timestamp,
    ) -> store::Result<Vec<store::Result<Next>>> {
        let watched = self.store.watch(due.iter().map(|(key, _)| key.clone()).collect(), now).await?;
        let none = TriggerState::default();
        let pauses = self.store.pauses().await?;
        let of = |key: &TaskKey| watched.get(key).unwrap_or(&none);
        let memories: Vec<_> = due.iter().map(|(key, _)| Memory::read(of(key).state.memory.as_deref())).collect();
        let awaited: Vec<Option<RunKey>> =
            due.iter().zip(&memories).map(|((_, schedule), memory)| schedule.awaits(memory.as_ref())).collect();
        let stands = self.store.run_states(awaited.iter().flatten().cloned().collect()).await?;

        // After a change of the catalog all schedules are examined, so this is tried only once: a waiting run starts
        // with the new version anyway.
        let renewed = std::mem::take(&mut reacting.renewed);
        let mut looks = Vec::with_capacity(due.len());
        for (((key, schedule), memory), run) in due.iter().zip(memories).zip(&awaited) {
            let stands = run.as_ref().and_then(|run| stands.get(run));
            let runs = stands.is_some_and(|stands| stands.state == RunState::Running);
            let renewed = run.as_ref().is_some_and(|(task, _)| renewed.contains(task));
            let watched = of(key);
            looks.push(self.act(
                schedule,
                Seen {
                    key,
                    fired: watched.state.fired,
                    text: watched.state.memory.as_deref(),
                    memory,
                    run: stands.map_or(AwaitedRun::Gone, AwaitedRun::from),
                    outdated: runs && renewed,
                    paused: pauses.of(&key.tenant, watched.state.paused.as_ref()).is_some(),
                    watched,
                    now,
                },
            ));
        }
        Ok(join_all(looks).await)
    }

    async fn act(&self, schedule: &Schedule, seen: Seen<'_>) -> store::Result<Next> {
        match schedule {
            Schedule::After(task, cooldowns) => self.follow(task, cooldowns, &seen).await,
            Schedule::Pace(task, pace) => self.keep_pace(task, pace, &seen).await,
            Schedule::Chain(chain) => self.chain(chain, &seen).await,
        }
    }

    /// Makes one run at a time, each a cooldown after the end of the previous one.
    async fn follow(&self, task: &Arc<Task>, cooldowns: &Cooldowns, seen: &Seen<'_>) -> store::Result<Next> {
        let before = match &seen.memory {
            Some(Memory::After(state)) => Some((state, state.resolve(seen.run))),
            // The schedule is seen for the first time with this trigger.
            _ => None,
        };
        let due = match before {
            Some((_, run)) if !seen.outdated => match cooldowns.due(run, seen.now) {
                Some(due) => due,
                None => return Ok(Next::ENDS),
            },
            _ => seen.now,
        };
        if let Some((state, run)) = before.filter(|(state, _)| due > seen.now.plus(KEPT) && state.ended.is_none()) {
            self.update_memory(&Memory::After(state.with(run)), None, seen).await?;
        }
        if let Some(later) = delay_of(&task.timing, due, seen) {
            return Ok(later);
        }
        let key = format!("after:{}@{}", seen.fired, seen.now.as_millis());
        let memory = Memory::After(AfterState { awaits: key.clone(), ended: None });
        let run = NewRun { admit: admit(seen), ..NewRun::following(task, due, key, seen.now) };
        self.make(task, run, &memory, seen).await
    }

    /// Keeps the number of runs of a pace within its bounds.
    async fn keep_pace(&self, task: &Arc<Task>, pace: &Pace, seen: &Seen<'_>) -> store::Result<Next> {
        let before = match &seen.memory {
            Some(Memory::Pace(state)) => Some(state),
            _ => None,
        };
        match pace.look(before, seen.watched.going, seen.now) {
            PaceDecision::Full => Ok(Next::ENDS),
            PaceDecision::At(at) => Ok(Next { at: Some(at), ends: true }),
            PaceDecision::Start(state) => {
                if let Some(later) = delay_of(&task.timing, seen.now, seen) {
                    return Ok(later);
                }
                let dedup = format!("pace:{}@{}", seen.fired, seen.now.as_millis());
                // An operator may have requested a run in the time between.
                let run =
                    NewRun { admit: Admit::Below(pace.max), ..NewRun::following(task, seen.now, dedup, seen.now) };
                Ok(match self.make(task, run, &Memory::Pace(state), seen).await? {
                    Next::ENDS => Next { at: Some(seen.now.plus(pace.from)), ends: true },
                    other => other,
                })
            }
        }
    }

    /// Runs one link after another.
    async fn chain(&self, chain: &Arc<Chain>, seen: &Seen<'_>) -> store::Result<Next> {
        let state = match &seen.memory {
            Some(Memory::Chain(state)) => chain.fit(state.clone()),
            _ => chain.begin(seen.now),
        };
        if state.awaits.is_some() && !seen.outdated {
            return self.handle_link_end(chain, &state, seen).await;
        }
        let due = state.due_by(seen.now);
        if due > seen.now && !seen.outdated {
            return Ok(Next::at(due));
        }
        let task = self.catalog.get(&chain.task(state.link));
        // A missing task cannot run. `http::chains` reports it.
        let Some(task) = task else { return Ok(Next::LATER) };
        let dedup = chain_key(&chain.key.task, seen.fired, seen.now);
        let memory = Memory::Chain(chain.made(&state, dedup.clone(), seen.now));
        let note = Some(chain.note(&state));
        let run = NewRun { admit: admit(seen), note, ..NewRun::following(&task, seen.now, dedup, seen.now) };
        self.make(&task, run, &memory, seen).await
    }

    /// Takes the next step if the run of a link has ended.
    async fn handle_link_end(&self, chain: &Chain, state: &ChainState, seen: &Seen<'_>) -> store::Result<Next> {
        let Some(went) = chain.after(state, seen.run, seen.now) else { return Ok(Next::ENDS) };
        // If another host was first, that host has reported it.
        if self.update_memory(&Memory::Chain(went.state.clone()), went.stopped.clone(), seen).await?
            && let Some(failed) = &went.failed
        {
            alert::link_failed(&chain.key, failed, went.stopped.as_deref());
        }
        Ok(Next::at(went.state.due.max(seen.now)))
    }

    /// Stores the state without making a run, and pauses the schedule if there is a reason. Returns whether no other
    /// host was first.
    async fn update_memory(&self, memory: &Memory, pause: Option<String>, seen: &Seen<'_>) -> store::Result<bool> {
        let (task, from) = (seen.key.clone(), seen.text.map(str::to_owned));
        self.store.update_memory(UpdateMemory { task, from, to: memory.write(), pause, now: seen.now }).await
    }

    /// Has the store make a run, unless the schedule is paused or another host was first.
    async fn make(&self, task: &Arc<Task>, run: NewRun, memory: &Memory, seen: &Seen<'_>) -> store::Result<Next> {
        if seen.paused {
            // A resume is reported in the same way as the end of a run.
            return Ok(Next::ENDS);
        }
        let fire = Fire {
            task: seen.key.clone(),
            runs: vec![run],
            cursor: seen.now,
            expect: Some(seen.fired),
            memory: Some(memory.write()),
            now: seen.now,
        };
        let fired = self.store.fire(fire).await?;
        fired.made().iter().for_each(|made| self.made(task, made));
        Ok(match fired {
            FireOutcome::Made(_) => Next::ENDS,
            FireOutcome::Paused => Next::LATER,
            FireOutcome::Stale => Next::at(seen.now),
        })
    }
}

/// Returns how a schedule's run is admitted. It is never skipped, because the schedule makes no more runs than may
/// exist.
fn admit(seen: &Seen<'_>) -> Admit {
    if seen.outdated { Admit::Replacing } else { Admit::Always }
}

/// Returns when to look again if a due run is not made now.
fn delay_of(timing: &Timing, due: Timestamp, seen: &Seen<'_>) -> Option<Next> {
    let over = timing.times.is_some_and(|times| seen.fired >= u64::from(times))
        || timing.end.is_some_and(|end| end < due.max(seen.now));
    let due = timing.start.map_or(due, |start| start.max(due));
    over.then_some(Next::LATER).or((due > seen.now).then(|| Next::at(due)))
}
