//! The JSON about attempts that are under way on this host.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::attempt::{Doing, RunHandle};
use crate::run::RunId;
use crate::runtime::{Seen, Whereabouts};
use crate::task::Name;
use crate::time::Timestamp;

use super::millis;

/// `GET /v1/live`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Live {
    /// Since when a signal has this host claim nothing; none if it does not.
    #[serde(default)]
    pub paused_at: Option<Timestamp>,
    /// Whether it is being drained: it claims nothing.
    #[serde(default)]
    pub draining: bool,
    /// Oldest first: those of the tenant that was named, or of all.
    pub attempts: Vec<LiveAttempt>,
    /// All that other tenants have under way, together.
    #[serde(default)]
    pub others: Others,
}

/// What attempts of other tenants come to, so that a busy host does not look idle. Nothing tells whose they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Others {
    /// Attempts under way.
    pub attempts: usize,
    /// Processor time that those have used.
    pub guest_us: u64,
}

impl Others {
    /// The sum over `attempts`.
    pub fn of<'a>(attempts: impl Iterator<Item = &'a RunHandle>) -> Self {
        attempts.fold(Self::default(), |sum, attempt| Self {
            attempts: sum.attempts + 1,
            guest_us: sum.guest_us.saturating_add(micros(attempt.usage.snapshot().guest)),
        })
    }
}

/// An attempt that is under way: what it has used up to now, and what it is doing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LiveAttempt {
    /// Of which run.
    pub run: RunId,
    /// The run's task.
    pub task: Name,
    /// Whose it is.
    pub tenant: Name,
    /// Which attempt of the run.
    pub attempt: u32,
    /// Since it started here.
    pub age_ms: u64,
    /// Where it gets its processor time: `fresh`, `used`, `spent` or `urgent`.
    pub lane: String,
    /// Units of fuel; of a guest that computes, as of a moment ago.
    pub fuel: u64,
    /// Bytes of memory that it has now: linear memory, and what the host holds for it.
    pub memory: u64,
    /// Processor time.
    pub guest_us: u64,
    /// Calls to the host.
    pub host_calls: u64,
    /// Time it has waited for locks, the wait that it is in included.
    pub lock_wait_ms: u64,
    /// Bytes that it was given.
    pub bytes_in: u64,
    /// Bytes that it handed over.
    pub bytes_out: u64,
    /// The host call that it waits in.
    pub waiting: Option<Wait>,
    /// How many look at where it is, by `stack` or `profile`.
    pub lookers: usize,
    /// Whether it is to end: it was told so, or is being interrupted.
    pub ending: bool,
}

/// A wait in a host call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Such as `locks.acquire`; none if the call does not say that it waits.
    pub call: Option<String>,
    /// For what, such as a lock's name. The guest's own words.
    pub what: Option<String>,
    /// For how long it has.
    pub for_ms: u64,
}

/// `GET /v1/runs/{run}/stack`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stack {
    /// Which run.
    pub run: RunId,
    /// Which of its attempts.
    pub attempt: u32,
    /// What the samples mean.
    pub verdict: StackVerdict,
    /// What was seen, in the order of time.
    pub samples: Vec<StackSample>,
}

/// What samples of a stack mean.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StackVerdict {
    /// `spins`, `slow`, `waits`, `queued` or `over`.
    pub kind: String,
    /// For people, such as ``spins in `f` (file:line)``.
    pub text: String,
}

/// What was seen of an attempt at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StackSample {
    /// How old the attempt was.
    pub age_ms: u64,
    /// `computing`, `waiting` or `queued`.
    pub doing: String,
    /// The host call that it waited in.
    pub waiting: Option<Wait>,
    /// Units of fuel it had used.
    pub fuel: u64,
    /// Processor time it had used.
    pub guest_us: u64,
    /// `function (file:line)`, innermost first; empty if the stack could not be taken.
    pub stack: Vec<String>,
}

impl LiveAttempt {
    /// What can be seen of `attempt` now.
    pub fn of(attempt: &RunHandle) -> Self {
        let usage = attempt.usage.snapshot();
        let waiting = usage.waiting.map(|waiting| Wait {
            call: Some(waiting.call.to_owned()),
            what: waiting.what,
            for_ms: millis(waiting.since.elapsed()),
        });
        // What it waited before is added up when a wait is over.
        let waits = waiting.as_ref().filter(|wait| wait.call.as_deref() == Some("locks.acquire"));
        Self {
            run: attempt.key.run,
            task: attempt.task.task.clone(),
            tenant: attempt.task.tenant.clone(),
            attempt: attempt.key.attempt,
            age_ms: millis(attempt.started.elapsed()),
            lane: usage.lane.as_str().to_owned(),
            fuel: usage.fuel,
            memory: usage.memory,
            guest_us: micros(usage.guest),
            host_calls: usage.host_calls,
            lock_wait_ms: millis(usage.lock_wait) + waits.map_or(0, |wait| wait.for_ms),
            bytes_in: usage.bytes_in,
            bytes_out: usage.bytes_out,
            waiting,
            lookers: attempt.lookers(),
            ending: attempt.asked().is_some(),
        }
    }
}

impl Stack {
    /// What was seen of `attempt`.
    pub fn of(attempt: &RunHandle, seen: &Whereabouts) -> Self {
        let verdict = &seen.verdict;
        Self {
            run: attempt.key.run,
            attempt: attempt.key.attempt,
            verdict: StackVerdict { kind: verdict.as_str().to_owned(), text: verdict.words().to_owned() },
            samples: seen.samples.iter().map(|seen| StackSample::of(seen, attempt.started)).collect(),
        }
    }
}

impl StackSample {
    fn of(seen: &Seen, started: Instant) -> Self {
        let (doing, waiting) = match &seen.doing {
            Doing::Computing => ("computing", None),
            Doing::Queued => ("queued", None),
            Doing::Waiting { call, what, since } => {
                let at = started + seen.age;
                let for_ms = millis(at.saturating_duration_since(*since));
                ("waiting", Some(Wait { call: call.map(str::to_owned), what: what.clone(), for_ms }))
            }
        };
        Self {
            age_ms: millis(seen.age),
            doing: doing.to_owned(),
            waiting,
            fuel: seen.fuel,
            guest_us: micros(seen.guest),
            stack: seen.stack.clone(),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
