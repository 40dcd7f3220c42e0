//! Models what a store must do, as simply as possible.

use crate::LockMode;
use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{ClaimKey, RunId, RunState};

#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) task: usize,
    pub(super) run_at: i64,
    pub(super) state: RunState,
    pub(super) attempt: u32,
    pub(super) failures: u32,
    /// The attempts that are over.
    pub(super) ended: Vec<u32>,
    /// The latest claim, its host, and the end of its lease.
    claim: Option<(ClaimKey, usize, i64)>,
    cancelled: bool,
}

impl Run {
    pub(super) fn new(id: RunId, task: usize, run_at: i64) -> Self {
        let (state, ended) = (RunState::Waiting, Vec::new());
        Self { id, task, run_at, state, attempt: 0, failures: 0, ended, claim: None, cancelled: false }
    }

    /// Returns whether the claim holds.
    fn holds(&self, claim: ClaimKey) -> bool {
        self.state == RunState::Running && self.claim.is_some_and(|(held, ..)| held == claim)
    }
}

/// All runs, and the holders of locks.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) now: i64,
    pub(super) runs: Vec<Run>,
    /// All claims that ever were, each with its host.
    claims: Vec<(ClaimKey, usize)>,
    locks: Vec<(ClaimKey, usize, LockMode, u64)>,
    /// The greatest fences of claims and of locks.
    fences: (u64, u64),
}

impl Model {
    pub(super) fn find(&self, run: RunId) -> Option<&Run> {
        self.runs.iter().find(|found| found.id == run)
    }

    /// Returns how many runs of a task could be taken if it had no limit.
    pub(super) fn due(&self, task: usize) -> usize {
        let due = |run: &&Run| run.task == task && run.state == RunState::Waiting && run.run_at <= self.now;
        self.runs.iter().filter(due).count()
    }

    pub(super) fn running(&self, task: usize) -> usize {
        self.runs.iter().filter(|run| run.task == task && run.state == RunState::Running).count()
    }

    pub(super) fn room(&self, task: usize, most: u32) -> usize {
        (most as usize).saturating_sub(self.running(task))
    }

    /// Records that a host has taken a run. Returns whether the fence is greater than all before.
    pub(super) fn claimed(&mut self, claim: ClaimKey, host: usize, lease: i64) -> bool {
        let until = self.now + lease;
        if let Some(run) = self.runs.iter_mut().find(|run| run.id == claim.run) {
            (run.state, run.attempt) = (RunState::Running, claim.attempt);
            run.claim = Some((claim, host, until));
        }
        self.claims.push((claim, host));
        let before = std::mem::replace(&mut self.fences.0, claim.fence);
        claim.fence > before
    }

    /// Returns all claims that a host ever had, as it may still think that it has them.
    pub(super) fn claims_of(&self, host: usize) -> Vec<ClaimKey> {
        self.claims.iter().filter(|(_, of)| *of == host).map(|(claim, _)| *claim).collect()
    }

    pub(super) fn pick_claim(&self, pick: usize) -> Option<ClaimKey> {
        let place = pick.checked_rem(self.claims.len())?;
        Some(self.claims[place].0)
    }

    pub(super) fn pick_run(&self, pick: usize) -> Option<usize> {
        pick.checked_rem(self.runs.len())
    }

    /// Extends claims. Returns those that are lost, and those whose runs were asked to end.
    pub(super) fn extend(&mut self, claims: &[ClaimKey], until: i64) -> (Vec<ClaimKey>, Vec<ClaimKey>) {
        let (mut lost, mut cancelled) = (Vec::new(), Vec::new());
        for claim in claims {
            match self.runs.iter_mut().find(|run| run.holds(*claim)) {
                None => lost.push(*claim),
                Some(run) => {
                    if let Some((.., lease)) = &mut run.claim {
                        *lease = until;
                    }
                    if run.cancelled {
                        cancelled.push(*claim);
                    }
                }
            }
        }
        (lost, cancelled)
    }

    /// Ends an attempt. Returns whether its claim held.
    pub(super) fn finish(&mut self, claim: ClaimKey, transition: &Transition) -> bool {
        let Some(run) = self.runs.iter_mut().find(|run| run.holds(claim)) else { return false };
        run.ended.push(claim.attempt);
        run.state = match transition {
            Transition::Succeed(_) => RunState::Succeeded,
            Transition::Fail => RunState::Failed,
            Transition::Cancel => RunState::Cancelled,
            Transition::Wait { .. } | Transition::HoldBack if run.cancelled => RunState::Cancelled,
            Transition::Wait { run_at, .. } => {
                run.run_at = (run_at.as_millis() - super::at(0).as_millis()) / 1000;
                RunState::Waiting
            }
            Transition::HoldBack => {
                run.run_at = i64::MAX;
                RunState::Waiting
            }
        };
        if matches!(transition, Transition::Fail | Transition::HoldBack | Transition::Wait { failed: true, .. }) {
            run.failures += 1;
        }
        self.locks.retain(|(held, ..)| held.run != claim.run);
        true
    }

    /// Ends a host's claims at once. Returns their number.
    pub(super) fn abandon(&mut self, host: usize) -> u64 {
        let mut ended = 0;
        for run in self.runs.iter_mut().filter(|run| run.state == RunState::Running) {
            if let Some((_, of, lease)) = &mut run.claim
                && *of == host
            {
                *lease = i64::MIN;
                ended += 1;
            }
        }
        ended
    }

    /// Returns the claims whose lease has ended, by run.
    pub(super) fn expired(&self) -> Vec<ClaimKey> {
        let running = self.runs.iter().filter(|run| run.state == RunState::Running);
        let over = running.filter_map(|run| run.claim).filter(|(.., lease)| *lease < self.now);
        let mut claims: Vec<ClaimKey> = over.map(|(claim, ..)| claim).collect();
        claims.sort_unstable_by_key(|claim| claim.run);
        claims
    }

    pub(super) fn cancel(&mut self, place: usize) {
        match self.runs[place].state {
            RunState::Waiting => self.runs[place].state = RunState::Cancelled,
            RunState::Running => self.runs[place].cancelled = true,
            _ => {}
        }
    }

    /// Returns whether an attempt gets a lock; `None` if its claim does not hold.
    pub(super) fn acquire(&self, claim: ClaimKey, lock: usize, mode: LockMode) -> Option<bool> {
        self.runs.iter().find(|run| run.holds(claim))?;
        let mut holders = self.locks.iter().filter(|(_, of, ..)| *of == lock);
        Some(holders.all(|(held, _, other, _)| {
            (held.run == claim.run && *other == mode) || (mode == LockMode::Shared && *other == LockMode::Shared)
        }))
    }

    /// Records that an attempt got a lock. Returns whether its fence is right: the one that it has already, or one that
    /// is greater than all before.
    pub(super) fn locked(&mut self, claim: ClaimKey, lock: usize, mode: LockMode, fence: u64) -> bool {
        let held = self.locks.iter().find(|(held, of, ..)| held.run == claim.run && *of == lock);
        if let Some((.., before)) = held {
            return fence == *before;
        }
        self.locks.push((claim, lock, mode, fence));
        let before = std::mem::replace(&mut self.fences.1, fence);
        fence > before
    }

    pub(super) fn release(&mut self, claim: ClaimKey, lock: usize) {
        self.locks.retain(|(held, of, ..)| !(*held == claim && *of == lock));
    }
}
