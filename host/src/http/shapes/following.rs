//! Schedules that go by how earlier runs went: chains, and what `after` and `pace` have come to.

use serde::{Deserialize, Serialize};

use super::millis;
use crate::pause::{PausedBy, Pauses};
use crate::run::RunId;
use crate::schedule::{AwaitedRun, Chain, ChainState, Cooldowns, LinkEnd, Memory, OnFailure, Trigger};
use crate::store::{RunKey, Stands, Watched};
use crate::task::{Name, Task, TaskKey};
use crate::time::Timestamp;

/// `GET /v1/chains`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Chains {
    /// By name.
    pub chains: Vec<ChainShape>,
}

/// A chain, and where it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChainShape {
    /// Its name.
    pub name: Name,
    /// Whose.
    pub tenant: Name,
    /// The plugin whose manifest defines it.
    pub plugin: Name,
    /// One line for people.
    pub description: Option<String>,
    /// What runs, in this order.
    pub links: Vec<LinkShape>,
    /// What happens when a link does not succeed.
    pub on_failure: OnFailure,
    /// How long after a round in which all links succeeded the next one begins.
    pub success_cooldown_ms: u64,
    /// How long after any other round.
    pub fail_cooldown_ms: u64,
    /// Which time through the links, from 1.
    pub round: u64,
    /// The link that it is at, from 1.
    pub link: usize,
    /// Since when it is there; none if it has not begun.
    pub since: Option<Timestamp>,
    /// The run that it waits for.
    pub run: Option<RunId>,
    /// When it makes the next one; none while it waits for one.
    pub next: Option<Timestamp>,
    /// Nothing of it starts while set.
    pub paused: bool,
    /// Whose pause that is: its own, its tenant's, or that of all.
    pub paused_by: Option<PausedBy>,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
    /// Why it is paused; none if a person paused it.
    pub paused_why: Option<String>,
    /// Why it does not go on although it is due.
    pub waits_for: Option<String>,
}

/// A link of a chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkShape {
    /// The task.
    pub task: Name,
    /// How long after its run succeeded the next link begins.
    pub success_cooldown_ms: u64,
    /// How long after it did not.
    pub fail_cooldown_ms: u64,
    /// How it last ended in this chain.
    pub last: Option<LinkEnd>,
}

/// What the schedule of a task has come to that goes by how earlier runs went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Following {
    /// When the next run is made, as far as can be told now; none while it depends on how others end.
    pub next: Option<Timestamp>,
    /// `after`: the run after whose end the next one is due.
    pub run: Option<RunId>,
    /// `pace`: its runs that are not over.
    pub alive: Option<u32>,
    /// `pace`: what the interval was made with the last start.
    pub interval_ms: Option<u64>,
    /// `pace`: when the last run was started.
    pub started: Option<Timestamp>,
    /// `pace`: when the latest run that failed ended.
    pub failed: Option<Timestamp>,
}

/// The run that a schedule waits for, if it waits for one.
pub fn awaits_of_task(task: &Task, watched: Option<&Watched>) -> Option<RunKey> {
    match (&task.trigger, memory(watched)?) {
        (Trigger::After(_), Memory::After(state)) => Some((task.key.clone(), state.awaits)),
        _ => None,
    }
}

/// The same of a chain.
pub fn awaits_of_chain(chain: &Chain, watched: Option<&Watched>) -> Option<RunKey> {
    let state = state_of(chain, watched)?;
    Some((chain.task(state.link), state.awaits?))
}

fn memory(watched: Option<&Watched>) -> Option<Memory> {
    Memory::read(watched?.state.memory.as_deref())
}

fn state_of(chain: &Chain, watched: Option<&Watched>) -> Option<ChainState> {
    match memory(watched)? {
        Memory::Chain(state) => Some(chain.fit(state)),
        _ => None,
    }
}

impl ChainShape {
    /// `chain` as it stands; `missing` tells whether there is no such task.
    pub fn of(
        chain: &Chain,
        watched: Option<&Watched>,
        run: Option<&Stands>,
        pauses: &Pauses,
        now: Timestamp,
        missing: impl Fn(&TaskKey) -> bool,
    ) -> Self {
        let state = state_of(chain, watched);
        let begun = state.clone().unwrap_or_else(|| chain.begin(now));
        let (paused_by, pause) =
            pauses.of(&chain.key.tenant, watched.and_then(|watched| watched.state.paused.as_ref())).unzip();
        let task = chain.task(begun.link);
        let waits_for = (begun.awaits.is_none() && missing(&task))
            .then(|| format!("no plugin that loads has a task `{}`", task.task));
        let link = |(link, last): (&crate::schedule::Link, Option<LinkEnd>)| LinkShape {
            task: link.task.clone(),
            success_cooldown_ms: millis(link.cooldowns.success),
            fail_cooldown_ms: millis(link.cooldowns.fail),
            last,
        };
        let Cooldowns { success, fail } = chain.cooldowns;
        Self {
            name: chain.key.task.clone(),
            tenant: chain.key.tenant.clone(),
            plugin: chain.plugin.clone(),
            description: chain.description.clone(),
            on_failure: chain.on_failure,
            success_cooldown_ms: millis(success),
            fail_cooldown_ms: millis(fail),
            round: begun.round,
            link: begun.link + 1,
            since: state.map(|state| state.since),
            run: run.map(|run| run.run),
            next: (begun.awaits.is_none() && pause.is_none()).then(|| begun.due_by(now)),
            links: chain.links.iter().zip(begun.last).map(link).collect(),
            paused: pause.is_some(),
            paused_by,
            paused_at: pause.and_then(|pause| pause.since),
            paused_why: pause.and_then(|pause| pause.why.clone()),
            waits_for,
        }
    }
}

impl Following {
    /// What the schedule of `task` has come to; `None` if it does not go by how earlier runs went.
    pub fn of(task: &Task, watched: Option<&Watched>, run: Option<&Stands>, now: Timestamp) -> Option<Self> {
        let paused = watched.is_some_and(|watched| watched.state.paused.is_some());
        let nothing = Self { next: None, run: None, alive: None, interval_ms: None, started: None, failed: None };
        let mut following = match &task.trigger {
            Trigger::After(cooldowns) => {
                let seen = run.map_or(AwaitedRun::Gone, AwaitedRun::from);
                let stands = match memory(watched) {
                    Some(Memory::After(state)) => state.stands(seen),
                    _ => seen,
                };
                let run = match stands {
                    AwaitedRun::Over { run, .. } => Some(run),
                    _ => run.map(|run| run.run),
                };
                Self { next: cooldowns.due(stands, now), run, ..nothing }
            }
            Trigger::Pace(pace) => {
                let going = watched.map(|watched| watched.going).unwrap_or_default();
                let state = match memory(watched) {
                    Some(Memory::Pace(state)) => Some(state),
                    _ => None,
                };
                Self {
                    next: pace.look(state.as_ref(), going, now).next(now),
                    alive: Some(going.alive),
                    interval_ms: state.map(|state| millis(state.interval)),
                    started: state.map(|state| state.started),
                    failed: going.failed,
                    ..nothing
                }
            }
            _ => return None,
        };
        following.next = following.next.filter(|_| !paused);
        Some(following)
    }
}
