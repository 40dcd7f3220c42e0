//! The part of the contract that is about runs whose host went away: what is known of them, and which are held back because
//! they may be what ended their host.
//!
//! A host that dies takes all its runs with it, so a run that was under way is only a suspect. The store counts the deaths of
//! each run. A death that was presumed, because the host was not heard of any more, is taken back when the same life of the
//! host announces itself again: it was stopped for a while, and has not died.

use crate::run::{ClaimKey, RunId, RunState};
use crate::supervision::Supervision;
use crate::task::{Task, TaskKey};
use crate::time::Timestamp;

/// The instant at which a run starts that is held back until it is released: never.
pub(super) const NEVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// What decides about a lost run of a task. A claim stores it with the run, because the host that finds the run lost may not
/// know the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossPolicy {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// The task is paused when so many of its runs failed in a row; `None` never pauses it.
    pub pause_after: Option<u32>,
}

impl LossPolicy {
    /// The policy of a task.
    pub fn of(task: &Task) -> Self {
        Self { attempts: task.retry.attempts, pause_after: task.supervision.pause_after }
    }

    /// What a lost run does to its task. The brake is left out, because a lost run is no crash of the guest.
    pub fn supervision(self) -> Supervision {
        Supervision { pause_after: self.pause_after, ..Supervision::default() }
    }
}

/// A run whose lease is over, as found by [`Claims::expired`](crate::store::claims::Claims::expired).
#[derive(Clone, Debug)]
pub struct Expired {
    /// The claim that was not extended.
    pub claim: ClaimKey,
    /// The task of the run.
    pub task: TaskKey,
    /// Attempts that failed before.
    pub failures: u32,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// The host that had it.
    pub host: String,
    /// Whether its end was asked for.
    pub cancel_requested: bool,
    /// The policy that its latest claim stored; `None` if no host has claimed it that knew the policy.
    pub policy: Option<LossPolicy>,
    /// How often its host died before while the run was under way.
    pub deaths: u32,
    /// Set if its host has died; `None` if the host is there, and has only let go of the run.
    pub death: Option<Death>,
}

/// That the host of a lost run has died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The host.
    pub host: String,
    /// The life of the host that is presumed dead, and that takes the death back if it announces itself again; `None` if
    /// the death is certain, because a later life has the name.
    pub presumed: Option<i64>,
}

impl Death {
    /// Decides whether a host has died, from the lease of the lost run and from what the host announced last (its life, and
    /// until when it counts as there).
    pub(super) fn of(
        host: &str,
        lease_until: i64,
        announced: Option<(i64, Timestamp)>,
        now: Timestamp,
    ) -> Option<Self> {
        let presumed = match announced {
            // A later life has abandoned the claim: see `Store::abandon`.
            _ if lease_until == i64::MIN => None,
            Some((_, alive_until)) if alive_until >= now => return None,
            Some((instance, _)) => Some(instance),
            None => None,
        };
        Some(Self { host: host.to_owned(), presumed })
    }
}

/// Says why a run waits that is held back, in words.
pub(super) fn why_suspected(run: RunId, deaths: u32) -> String {
    let times = if deaths == 1 { "once".to_owned() } else { format!("{deaths} times") };
    format!(
        "suspected of killing its host, which died {times} while the run was under way; `sexton release {run}` lets it start"
    )
}

/// What [`Runs::release_run`](crate::store::runs::Runs::release_run) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// The run was held back, and may start now.
    Done,
    /// The run was not held back.
    NotHeld(RunState),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_died_if_another_life_has_its_name_or_it_is_not_heard_of_any_more() {
        let at = Timestamp::from_millis;
        let death = |lease_until, announced| Death::of("one", lease_until, announced, at(1000));
        let presumed = |presumed| Some(Death { host: "one".into(), presumed });

        assert_eq!(death(i64::MIN, Some((7, at(9999)))), presumed(None));
        assert_eq!(death(500, Some((7, at(999)))), presumed(Some(7)));
        assert_eq!(death(500, None), presumed(None));
        assert_eq!(death(500, Some((7, at(1000)))), None);
    }
}
