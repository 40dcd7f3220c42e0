//! Schedules that go by how earlier runs went: `after`, chains, and `pace`.
//!
//! What they have come to is in the store only: each look reads it, and what follows is written if it is still so. So
//! restarts, and other hosts that do the same, change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tracing::warn;

use super::{AFTER_ERROR, LOOK_AGAIN, Scheduler};
use crate::catalog::Catalog;
use crate::machine::alert;
use crate::run::RunState;
use crate::schedule::{AfterState, Awaited, Chain, ChainState, Cooldowns, Memory, Pace, Paced, Timing, Trigger};
use crate::store::{self, Admit, Fire, Fired, NewRun, Remember, RunKey, Watched};
use crate::task::{Overlap, Task, TaskKey};
use crate::time::Timestamp;

/// Looks that hints ask for take no more than this part of the scheduler's time: a tenth.
const SHARE: u32 = 10;

/// A wait no longer than this is not worth a write: if the history of the run is gone before it is over, the next run comes
/// so much too early at the most.
const KEPT: Duration = Duration::from_secs(10);

/// And come no faster than this.
const BETWEEN_HINTS: Duration = Duration::from_millis(5);

/// A schedule that goes by how earlier runs went.
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

    /// Where to look for the run that is waited for.
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

/// When a schedule is to be looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Next {
    /// At that instant.
    at: Option<Timestamp>,
    /// When some run has changed.
    ends: bool,
}

impl Next {
    fn at(at: Timestamp) -> Self {
        Self { at: Some(at), ends: false }
    }

    const ENDS: Self = Self { at: None, ends: true };

    /// Nothing but a look at everything, once a second, finds out more.
    const LATER: Self = Self { at: None, ends: false };
}

/// A schedule as it was read from the store.
struct Seen<'a> {
    key: &'a TaskKey,
    fired: u64,
    text: Option<&'a str>,
    memory: Option<Memory>,
    run: Awaited,
    /// The run that is waited for is of an old version of its task, and is to make way.
    outdated: bool,
    paused: bool,
    watched: &'a Watched,
    now: Timestamp,
}

/// All schedules that go by how earlier runs went.
#[derive(Debug, Default)]
pub(super) struct Reacting {
    schedules: BTreeMap<TaskKey, (Schedule, Next)>,
    /// The tasks with `overlap = "replace"` among those that are waited for, as they were known last.
    versions: BTreeMap<TaskKey, Arc<Task>>,
    /// Those of them that have a new version since: what runs of the old one is to make way.
    renewed: BTreeSet<TaskKey>,
    hinted: bool,
    /// When all were looked at last, and when a hint is heeded again.
    polled: Option<Instant>,
    heed_from: Option<Instant>,
}

impl Reacting {
    /// Take up what the catalog has.
    pub(super) fn learn(&mut self, catalog: &Catalog) {
        let (tasks, chains) = (catalog.tasks(), catalog.chains());
        let of_tasks = tasks.values().filter_map(|task| Some((task.key.clone(), Schedule::of(task)?)));
        let of_chains = chains.values().map(|chain| (chain.key.clone(), Schedule::Chain(Arc::clone(chain))));
        self.schedules = of_tasks.chain(of_chains).map(|(key, schedule)| (key, (schedule, Next::LATER))).collect();
        self.polled = None;
        let mut awaited: BTreeSet<TaskKey> = BTreeSet::new();
        for (schedule, _) in self.schedules.values() {
            match schedule {
                Schedule::After(task, _) => drop(awaited.insert(task.key.clone())),
                Schedule::Chain(chain) => awaited.extend((0..chain.links.len()).map(|link| chain.task(link))),
                Schedule::Pace(..) => {}
            }
        }
        for key in awaited {
            let Some(task) = tasks.get(&key).filter(|task| task.overlap == Overlap::Replace) else { continue };
            let before = self.versions.insert(key.clone(), Arc::clone(task));
            if before.is_some_and(|before| !Arc::ptr_eq(&before, task)) {
                self.renewed.insert(key);
            }
        }
    }

    /// Whether it makes a difference that some run changed.
    pub(super) fn heeds_hints(&self) -> bool {
        !self.hinted && self.schedules.values().any(|(_, next)| next.ends)
    }

    /// Some run changed.
    pub(super) fn hint(&mut self) {
        self.hinted = true;
    }

    /// Those to be looked at now.
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

    /// When the first of them is to be looked at, however runs end.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.schedules.values().filter_map(|(_, next)| next.at).min()
    }

    /// How long nothing is to be looked at.
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
    /// Make the runs that are due by how others went. Returns how long there will be none, unless one ends.
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
                    warn!(error = %error, "Cannot read what schedules wait for, trying again");
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

    /// Look at these schedules, and do what follows. The answers are in their order.
    async fn look_at(
        &self,
        reacting: &mut Reacting,
        due: &[(TaskKey, Schedule)],
        now: Timestamp,
    ) -> store::Result<Vec<store::Result<Next>>> {
        let watched = self.store.watch(due.iter().map(|(key, _)| key.clone()).collect(), now).await?;
        let none = Watched::default();
        let pauses = self.store.pauses().await?;
        let of = |key: &TaskKey| watched.get(key).unwrap_or(&none);
        let memories: Vec<_> = due.iter().map(|(key, _)| Memory::read(of(key).state.memory.as_deref())).collect();
        let awaited: Vec<Option<RunKey>> =
            due.iter().zip(&memories).map(|((_, schedule), memory)| schedule.awaits(memory.as_ref())).collect();
        let stands = self.store.stands(awaited.iter().flatten().cloned().collect()).await?;

        // After a change of the catalog all are looked at, so this is tried once: what waits begins with the new version
        // anyway.
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
                    run: stands.map_or(Awaited::Gone, Awaited::from),
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

    /// One run at a time, the next one so long after the end of the last.
    async fn follow(&self, task: &Arc<Task>, cooldowns: &Cooldowns, seen: &Seen<'_>) -> store::Result<Next> {
        let before = match &seen.memory {
            Some(Memory::After(state)) => Some((state, state.stands(seen.run))),
            // It is seen for the first time, with this trigger.
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
            self.remember(&Memory::After(state.with(run)), None, seen).await?;
        }
        if let Some(later) = not_now(&task.timing, due, seen) {
            return Ok(later);
        }
        let key = format!("after:{}@{}", seen.fired, seen.now.as_millis());
        let memory = Memory::After(AfterState { awaits: key.clone(), ended: None });
        let run = NewRun { admit: admit(seen), ..NewRun::following(task, due, key, seen.now) };
        self.make(task, run, &memory, seen).await
    }

    /// Between so many and so many runs.
    async fn keep_pace(&self, task: &Arc<Task>, pace: &Pace, seen: &Seen<'_>) -> store::Result<Next> {
        let before = match &seen.memory {
            Some(Memory::Pace(state)) => Some(state),
            _ => None,
        };
        match pace.look(before, seen.watched.going, seen.now) {
            Paced::Full => Ok(Next::ENDS),
            Paced::At(at) => Ok(Next { at: Some(at), ends: true }),
            Paced::Start(state) => {
                if let Some(later) = not_now(&task.timing, seen.now, seen) {
                    return Ok(later);
                }
                let dedup = format!("pace:{}@{}", seen.fired, seen.now.as_millis());
                // Somebody may have asked for one in between.
                let run =
                    NewRun { admit: Admit::Below(pace.max), ..NewRun::following(task, seen.now, dedup, seen.now) };
                Ok(match self.make(task, run, &Memory::Pace(state), seen).await? {
                    Next::ENDS => Next { at: Some(seen.now.plus(pace.from)), ends: true },
                    other => other,
                })
            }
        }
    }

    /// One link after another.
    async fn chain(&self, chain: &Arc<Chain>, seen: &Seen<'_>) -> store::Result<Next> {
        let state = match &seen.memory {
            Some(Memory::Chain(state)) => chain.fit(state.clone()),
            _ => chain.begin(seen.now),
        };
        if state.awaits.is_some() && !seen.outdated {
            return self.link_went(chain, &state, seen).await;
        }
        let due = state.due_by(seen.now);
        if due > seen.now && !seen.outdated {
            return Ok(Next::at(due));
        }
        let task = self.catalog.get(&chain.task(state.link));
        // What is not there cannot be run. `http::chains` says so.
        let Some(task) = task else { return Ok(Next::LATER) };
        let dedup = format!("chain:{}:{}@{}", chain.key.task, seen.fired, seen.now.as_millis());
        let memory = Memory::Chain(chain.made(&state, dedup.clone(), seen.now));
        let note = Some(chain.note(&state));
        let run = NewRun { admit: admit(seen), note, ..NewRun::following(&task, seen.now, dedup, seen.now) };
        self.make(&task, run, &memory, seen).await
    }

    /// The run of a link may be over.
    async fn link_went(&self, chain: &Chain, state: &ChainState, seen: &Seen<'_>) -> store::Result<Next> {
        let Some(went) = chain.after(state, seen.run, seen.now) else { return Ok(Next::ENDS) };
        // Another host may have been first, and has told it.
        if self.remember(&Memory::Chain(went.state.clone()), went.stopped.clone(), seen).await?
            && let Some(failed) = &went.failed
        {
            alert::link_failed(&chain.key, failed, went.stopped.as_deref());
        }
        Ok(Next::at(went.state.due.max(seen.now)))
    }

    /// Write down what there is to remember without a run, and pause the schedule if there is a reason. Whether nobody else
    /// was first.
    async fn remember(&self, memory: &Memory, pause: Option<String>, seen: &Seen<'_>) -> store::Result<bool> {
        let (task, from) = (seen.key.clone(), seen.text.map(str::to_owned));
        self.store.remember(Remember { task, from, to: memory.write(), pause, now: seen.now }).await
    }

    /// Have the store make a run, unless the schedule is paused or another host was first.
    async fn make(&self, task: &Arc<Task>, run: NewRun, memory: &Memory, seen: &Seen<'_>) -> store::Result<Next> {
        if seen.paused {
            // That it is resumed is told as the end of a run is.
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
            Fired::Made(_) => Next::ENDS,
            Fired::Paused => Next::LATER,
            Fired::Stale => Next::at(seen.now),
        })
    }
}

/// What a schedule makes is never skipped: it makes no more than there may be.
fn admit(seen: &Seen<'_>) -> Admit {
    if seen.outdated { Admit::Replacing } else { Admit::Always }
}

/// Until when a run that is due then is not made, if it is not made now.
fn not_now(timing: &Timing, due: Timestamp, seen: &Seen<'_>) -> Option<Next> {
    let over = timing.times.is_some_and(|times| seen.fired >= u64::from(times))
        || timing.end.is_some_and(|end| end < due.max(seen.now));
    let due = timing.start.map_or(due, |start| start.max(due));
    over.then_some(Next::LATER).or((due > seen.now).then(|| Next::at(due)))
}
