//! Defines the JSON of schedules that depend on earlier runs: chains, and the state of `after` and `pace`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use sexton_domain::lengths::millis;
use sexton_domain::pause::{PausedBy, Pauses};
use sexton_domain::run::{RunId, RunState};
use sexton_domain::schedule::{AwaitedRun, Chain, ChainState, Cooldowns, LinkEnd, Memory, OnFailure, Trigger};
use sexton_domain::task::{Name, Task, TaskKey};
use sexton_domain::time::Timestamp;
use sexton_store::{AwaitedRunState, RunKey, TriggerState};

/// `GET /v1/chains`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Chains {
    /// The chains, by name.
    pub chains: Vec<ChainShape>,
}

/// A chain, and its position.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChainShape {
    /// Its name.
    pub name: Name,
    /// The tenant.
    pub tenant: Name,
    /// The plugin whose manifest defines it.
    pub plugin: Name,
    /// One line for people.
    pub description: Option<String>,
    /// The tasks, in the order in which they run.
    pub links: Vec<LinkShape>,
    /// The policy for a link that does not succeed.
    pub on_failure: OnFailure,
    /// The time from a round in which all links succeeded to the next one.
    pub success_cooldown_ms: u64,
    /// The time after any other round.
    pub fail_cooldown_ms: u64,
    /// The number of the round, from 1.
    pub round: u64,
    /// The current link, from 1.
    pub link: usize,
    /// The instant at which the chain came to that link; `None` if it has not begun.
    pub since: Option<Timestamp>,
    /// The run that the chain waits for.
    pub run: Option<RunId>,
    /// The instant at which it makes the next run; `None` while it waits for one.
    pub next: Option<Timestamp>,
    /// Whether the chain is paused, so that none of its runs start.
    pub paused: bool,
    /// The owner of that pause: the chain, its tenant, or all.
    pub paused_by: Option<PausedBy>,
    /// The begin of the pause.
    pub paused_at: Option<Timestamp>,
    /// The reason for the pause; `None` if an operator gave none.
    pub paused_why: Option<String>,
    /// The reason why the chain does not go on although it is due.
    pub waits_for: Option<String>,
}

/// A link of a chain.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkShape {
    /// The task.
    pub task: Name,
    /// The time from the success of its run to the start of the next link.
    pub success_cooldown_ms: u64,
    /// The time after a run that did not succeed.
    pub fail_cooldown_ms: u64,
    /// Its last end in this chain.
    pub last: Option<LinkEndShape>,
}

/// The end of a link's run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkEndShape {
    /// The task of the link.
    pub task: Name,
    /// The round in which it ended.
    pub round: u64,
    /// The run; `None` if its history was already deleted.
    pub run: Option<RunId>,
    /// The state that it ended in.
    pub state: Option<RunState>,
    /// The instant of its end.
    pub at: Timestamp,
}

impl From<LinkEnd> for LinkEndShape {
    fn from(end: LinkEnd) -> Self {
        let LinkEnd { task, round, run, state, at } = end;
        Self { task, round, run, state, at }
    }
}

/// The state of a task's schedule that depends on earlier runs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Following {
    /// The instant at which the next run is made, as far as can be told now; `None` while it depends on the ends of
    /// runs.
    pub next: Option<Timestamp>,
    /// `after`: the run after whose end the next one is due.
    pub run: Option<RunId>,
    /// `pace`: the number of its runs that have not ended.
    pub alive: Option<u32>,
    /// `pace`: the interval that was set with the last start.
    pub interval_ms: Option<u64>,
    /// `pace`: the instant of the last start.
    pub started: Option<Timestamp>,
    /// `pace`: the end of the latest run that failed.
    pub failed: Option<Timestamp>,
}

/// Returns the key of the run that a task's schedule waits for, if it waits for one.
pub fn awaits_of_task(task: &Task, watched: Option<&TriggerState>) -> Option<RunKey> {
    match (&task.trigger, memory(watched)?) {
        (Trigger::After(_), Memory::After(state)) => Some((task.key.clone(), state.awaits)),
        _ => None,
    }
}

/// Does the same for a chain.
pub fn awaits_of_chain(chain: &Chain, watched: Option<&TriggerState>) -> Option<RunKey> {
    let state = state_of(chain, watched)?;
    Some((chain.task(state.link), state.awaits?))
}

fn memory(watched: Option<&TriggerState>) -> Option<Memory> {
    Memory::read(watched?.state.memory.as_deref())
}

fn state_of(chain: &Chain, watched: Option<&TriggerState>) -> Option<ChainState> {
    match memory(watched)? {
        Memory::Chain(state) => Some(chain.fit(state)),
        _ => None,
    }
}

impl ChainShape {
    /// Returns the current state of `chain`; `missing` tells whether a task does not exist.
    pub fn of(
        chain: &Chain,
        watched: Option<&TriggerState>,
        run: Option<&AwaitedRunState>,
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
        let link = |(link, last): (&sexton_domain::schedule::Link, Option<LinkEnd>)| LinkShape {
            task: link.task.clone(),
            success_cooldown_ms: millis(link.cooldowns.success),
            fail_cooldown_ms: millis(link.cooldowns.fail),
            last: last.map(LinkEndShape::from),
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
    /// Returns the state of the schedule of `task`; `None` if it does not depend on earlier runs.
    pub fn of(
        task: &Task,
        watched: Option<&TriggerState>,
        run: Option<&AwaitedRunState>,
        now: Timestamp,
    ) -> Option<Self> {
        let paused = watched.is_some_and(|watched| watched.state.paused.is_some());
        let nothing = Self { next: None, run: None, alive: None, interval_ms: None, started: None, failed: None };
        let mut following = match &task.trigger {
            Trigger::After(cooldowns) => {
                let seen = run.map_or(AwaitedRun::Gone, AwaitedRun::from);
                let stands = match memory(watched) {
                    Some(Memory::After(state)) => state.resolve(seen),
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
