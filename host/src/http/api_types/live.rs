//! Defines the JSON of attempts that are under way on this host.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use sexton_domain::lengths::{micros, millis};
use sexton_domain::run::RunId;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;
use sexton_runtime::attempt::{Activity, RunHandle};
use sexton_runtime::runtime::{Diagnosis, SampleInfo};

/// `GET /v1/live`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Live {
    /// The begin of the host's pause by a signal; `None` if it is not paused.
    #[serde(default)]
    pub paused_at: Option<Timestamp>,
    /// Whether the host is draining: it claims no runs.
    #[serde(default)]
    pub draining: bool,
    /// The attempts of the named tenant, or of all, oldest first.
    pub attempts: Vec<LiveAttempt>,
    /// The sum of the attempts of other tenants.
    #[serde(default)]
    pub others: Others,
}

/// The sum of the attempts of other tenants, so that a busy host does not look idle. It does not tell which tenants
/// those are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Others {
    /// The number of attempts under way.
    pub attempts: usize,
    /// The processor time that those attempts have used.
    pub guest_us: u64,
}

impl Others {
    /// Sums up `attempts`.
    pub fn of<'a>(attempts: impl Iterator<Item = &'a RunHandle>) -> Self {
        attempts.fold(Self::default(), |sum, attempt| Self {
            attempts: sum.attempts + 1,
            guest_us: sum.guest_us.saturating_add(micros(attempt.usage.snapshot().guest)),
        })
    }
}

/// An attempt under way, with its usage so far and its current state.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LiveAttempt {
    /// The run.
    pub run: RunId,
    /// The run's task.
    pub task: Name,
    /// The tenant of the run.
    pub tenant: Name,
    /// The number of the attempt.
    pub attempt: u32,
    /// The time since its start here.
    pub age_ms: u64,
    /// The lane in which it gets its processor time: `fresh`, `used`, `spent` or `urgent`.
    pub lane: String,
    /// The units of fuel used; for a guest that computes, as of a moment ago.
    pub fuel: u64,
    /// The bytes of memory that it has now: linear memory, and what the host holds for it.
    pub memory: u64,
    /// The processor time used.
    pub guest_us: u64,
    /// The number of calls to the host.
    pub host_calls: u64,
    /// The time it has waited for locks, including the current wait.
    pub lock_wait_ms: u64,
    /// The bytes of its input.
    pub bytes_in: u64,
    /// The bytes of its output.
    pub bytes_out: u64,
    /// The host call that it waits in.
    pub waiting: Option<Wait>,
    /// The number of clients that take its `stack` or `profile`.
    #[serde(rename = "lookers")]
    pub observers: usize,
    /// Whether the attempt was told to end, or is being interrupted.
    pub ending: bool,
}

/// A wait in a host call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Wait {
    /// The name of the call, such as `locks.acquire`; `None` if the call does not report that it waits.
    pub call: Option<String>,
    /// The awaited object, such as a lock's name, in the guest's own words.
    pub what: Option<String>,
    /// The duration of the wait so far.
    pub for_ms: u64,
}

/// `GET /v1/runs/{run}/stack`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Stack {
    /// The run.
    pub run: RunId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The meaning of the samples.
    pub verdict: StackVerdict,
    /// The samples, in the order of time.
    pub samples: Vec<StackSample>,
}

/// The meaning of the samples of a stack.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StackVerdict {
    /// `spins`, `slow`, `waits`, `queued` or `over`.
    pub kind: String,
    /// A sentence for people, such as ``spins in `f` (file:line)``.
    pub text: String,
}

/// A sample of an attempt.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StackSample {
    /// The age of the attempt.
    pub age_ms: u64,
    /// `computing`, `waiting` or `queued`.
    pub doing: String,
    /// The host call that it waited in.
    pub waiting: Option<Wait>,
    /// The units of fuel used.
    pub fuel: u64,
    /// The processor time used.
    pub guest_us: u64,
    /// The frames as `function (file:line)`, innermost first; empty if the stack could not be taken.
    pub stack: Vec<String>,
}

impl LiveAttempt {
    /// Returns the current state of `attempt`.
    pub fn of(attempt: &RunHandle) -> Self {
        let usage = attempt.usage.snapshot();
        let waiting = usage.waiting.map(|waiting| Wait {
            call: Some(waiting.call.to_owned()),
            what: waiting.what,
            for_ms: millis(waiting.since.elapsed()),
        });
        // An earlier wait is added to the sum when it ends.
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
            observers: attempt.observers(),
            ending: attempt.stop_reason().is_some(),
        }
    }
}

impl Stack {
    /// Returns the samples of `attempt`.
    pub fn of(attempt: &RunHandle, seen: &Diagnosis) -> Self {
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
    fn of(seen: &SampleInfo, started: Instant) -> Self {
        let (doing, waiting) = match &seen.doing {
            Activity::Computing => ("computing", None),
            Activity::Queued => ("queued", None),
            Activity::Waiting { call, what, since } => {
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
