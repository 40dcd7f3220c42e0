//! Defines the part of the contract for runs whose host went away: their facts, and which of them are held back because
//! they may have killed their host.
//!
//! A host that dies takes all its runs with it, so a run that was under way is only a suspect. The store counts the
//! deaths of each run. A death that was presumed, because the host announced itself no more, is taken back when the
//! same life of the host announces itself again: it was stopped for a while, and has not died.

use sexton_domain::run::{ClaimKey, RunId, RunState};
use sexton_domain::supervision::Supervision;
use sexton_domain::task::{Task, TaskKey};
use sexton_domain::time::Timestamp;

/// The instant at which a held-back run starts until it is released: never.
pub(super) const NEVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// The policy for a lost run of a task. A claim stores it with the run, because the host that finds the run lost may
/// not know the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossPolicy {
    /// The most attempts, including the first.
    pub attempts: u32,
    /// The number of runs that must fail in a row to pause the task; `None` never pauses it.
    pub pause_after: Option<u32>,
}

impl LossPolicy {
    /// Returns the policy of a task.
    pub fn of(task: &Task) -> Self {
        Self { attempts: task.retry.attempts, pause_after: task.supervision.pause_after }
    }

    /// Returns the effect of a lost run on its task. The brake is left out, because a lost run is no crash of the
    /// guest.
    pub fn supervision(self) -> Supervision {
        Supervision { pause_after: self.pause_after, ..Supervision::default() }
    }
}

/// A run whose lease is over, as found by [`Claims::expired`](crate::claims::Claims::expired).
#[derive(Clone, Debug)]
pub struct Expired {
    /// The claim that was not extended.
    pub claim: ClaimKey,
    pub task: TaskKey,
    /// The number of attempts that failed before.
    pub failures: u32,
    pub claimed_at: Timestamp,
    /// The host that had it.
    pub host: String,
    /// Whether the run was asked to end.
    pub cancel_requested: bool,
    /// The policy that the latest claim stored; `None` if no host that claimed the run knew the policy.
    pub policy: Option<LossPolicy>,
    /// The number of times that the run's host died before while the run was under way.
    pub deaths: u32,
    /// Set if the run's host has died; `None` if the host is up, and has only let go of the run.
    pub death: Option<Death>,
}

/// The death of the host of a lost run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    pub host: String,
    /// The life of the host that is presumed dead, and that takes the death back if it announces itself again; `None`
    /// if the death is certain, because a later life has the name.
    pub presumed: Option<i64>,
}

impl Death {
    /// Decides whether a host has died, from the lease of the lost run and from the host's last announcement (its life,
    /// and the instant until which it counts as up).
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

/// Returns the reason, in words, why a run is held back.
pub(super) fn why_suspected(run: RunId, deaths: u32) -> String {
    let times = if deaths == 1 { "once".to_owned() } else { format!("{deaths} times") };
    format!(
        "suspected of killing its host, which died {times} while the run was under way; `sexton release {run}` lets it start"
    )
}

/// The result of [`Runs::release_run`](crate::runs::Runs::release_run).
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
    fn a_host_is_dead_if_a_later_life_has_its_name_or_its_announcement_is_too_old() {
        let at = Timestamp::from_millis;
        let death = |lease_until, announced| Death::of("one", lease_until, announced, at(1000));
        let presumed = |presumed| Some(Death { host: "one".into(), presumed });

        assert_eq!(death(i64::MIN, Some((7, at(9999)))), presumed(None));
        assert_eq!(death(500, Some((7, at(999)))), presumed(Some(7)));
        assert_eq!(death(500, None), presumed(None));
        assert_eq!(death(500, Some((7, at(1000)))), None);
    }
}
