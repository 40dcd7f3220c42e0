//! Decides about chains: tasks that run one after another, round after round. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AwaitedRun, Cooldowns, SET_BACK};
use crate::run::{RunId, RunState};
use crate::task::{Name, TaskKey};
use crate::time::Timestamp;

/// Tasks of one tenant whose runs follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Tenant and name, which no task has as well.
    pub key: TaskKey,
    /// The plugin whose manifest defines it.
    pub plugin: Name,
    /// One line for people.
    pub description: Option<String>,
    /// The tasks in the order in which they run. Never empty.
    pub links: Vec<Link>,
    /// Policy for a link that does not succeed.
    pub on_failure: OnFailure,
    /// The time from the end of a round to the next one. A round has failed if one of its links did not succeed.
    pub cooldowns: Cooldowns,
}

/// One task of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The task that runs.
    pub task: Name,
    /// The time from its end to the start of the next link.
    pub cooldowns: Cooldowns,
}

/// Policy for a link of a chain that does not succeed. The failure is reported in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The next link runs anyway.
    GoOn,
    /// The chain is paused. When it is resumed, the link that failed runs again.
    Stop,
}

/// The position of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainState {
    /// The number of the round, from 1.
    pub round: u64,
    /// The link that is running or runs next, from 0.
    pub link: usize,
    /// The instant at which the chain came to this link.
    pub since: Timestamp,
    /// The key of the awaited run; `None` if the run has not been made yet.
    pub awaits: Option<String>,
    /// The instant at which that run will be made.
    pub due: Timestamp,
    /// Whether a link of this round did not succeed.
    pub failed: bool,
    /// The last end of each link.
    pub last: Vec<Option<LinkEnd>>,
}

/// The end of a link's run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkEnd {
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

/// The effect of the end of a link's run on its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkOutcome {
    /// The new position of the chain.
    pub state: ChainState,
    /// The link that did not succeed, if it did not.
    pub failed: Option<LinkEnd>,
    /// The reason for pausing the chain, if it must be paused.
    pub stopped: Option<String>,
}

impl Chain {
    /// Returns the position of a chain that is seen for the first time.
    pub fn begin(&self, now: Timestamp) -> ChainState {
        let last = vec![None; self.links.len()];
        ChainState { round: 1, link: 0, since: now, awaits: None, due: now, failed: false, last }
    }

    /// Fits `state` to this chain, which may have been redefined. A position beyond the last link begins a new round.
    #[must_use]
    pub fn fit(&self, mut state: ChainState) -> ChainState {
        state.last.resize(self.links.len(), None);
        for (last, link) in state.last.iter_mut().zip(&self.links) {
            last.take_if(|last| last.task != link.task);
        }
        if state.link >= self.links.len() {
            state = ChainState { round: state.round + 1, link: 0, awaits: None, failed: false, ..state };
        }
        state
    }

    /// Returns the effect of the awaited run's state; `None` while the run is going.
    pub fn after(&self, before: &ChainState, run: AwaitedRun, now: Timestamp) -> Option<LinkOutcome> {
        let link = &self.links[before.link];
        // A run whose end was forgotten is not worth an alarm.
        let (id, state) = match run {
            AwaitedRun::Going => return None,
            AwaitedRun::Over { run, state, .. } => (Some(run), Some(state)),
            AwaitedRun::Gone => (None, None),
        };
        let at = match run {
            AwaitedRun::Over { at, .. } => at.min(now),
            _ => now,
        };
        let end = LinkEnd { task: link.task.clone(), round: before.round, run: id, state, at };
        let mut next = ChainState { since: now, awaits: None, ..before.clone() };
        next.last[before.link] = Some(end.clone());
        let failed = (!run.went_well()).then_some(end);
        if let Some(end) = failed.as_ref().filter(|_| self.on_failure == OnFailure::Stop) {
            next.due = now;
            let stopped = Some(self.why_stopped(before, end));
            return Some(LinkOutcome { state: next, failed, stopped });
        }
        next.failed |= failed.is_some();
        next.link += 1;
        next.due = link.cooldowns.due(run, now)?;
        if next.link == self.links.len() {
            let pause = self.cooldowns.after(!next.failed);
            next = ChainState { round: before.round + 1, link: 0, due: next.due.plus(pause), failed: false, ..next };
        }
        Some(LinkOutcome { state: next, failed, stopped: None })
    }

    fn why_stopped(&self, at: &ChainState, end: &LinkEnd) -> String {
        let (nth, all, round) = (at.link + 1, self.links.len(), at.round);
        let run = end.run.map_or("a run".to_owned(), |run| format!("run {run}"));
        let became = end.state.map_or("is gone", |state| state.as_str());
        format!("{run} of link {nth} of {all}, `{}`, {became} in round {round}", end.task)
    }

    /// Returns the note for the run that the chain makes now.
    pub fn note(&self, state: &ChainState) -> String {
        let (nth, all, name) = (state.link + 1, self.links.len(), &self.key.task);
        format!("link {nth} of {all} of `{name}`, round {}", state.round)
    }

    /// Returns the position of the chain once that run is made.
    pub fn made(&self, before: &ChainState, key: String, now: Timestamp) -> ChainState {
        ChainState { since: now, awaits: Some(key), ..before.clone() }
    }

    /// Returns the task of a link. It belongs to the chain's tenant.
    pub fn task(&self, link: usize) -> TaskKey {
        TaskKey { tenant: self.key.tenant.clone(), task: self.links[link].task.clone() }
    }
}

impl ChainState {
    /// Returns when the run must be made. That is at once if the clock was set back since the position was stored.
    pub fn due_by(&self, now: Timestamp) -> Timestamp {
        if self.since > now.plus(SET_BACK) { now } else { self.due }
    }
}

/// The default time between two rounds of a chain.
pub const BETWEEN_ROUNDS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn chain(links: &[&str], on_failure: OnFailure) -> Chain {
        let name = |name: &str| Name::new(name).unwrap();
        let cooldowns = Cooldowns { success: seconds(1), fail: seconds(5) };
        Chain {
            key: TaskKey { tenant: Name::default_tenant(), task: name("nightly") },
            plugin: name("p"),
            description: None,
            links: links.iter().map(|task| Link { task: name(task), cooldowns }).collect(),
            on_failure,
            cooldowns: Cooldowns { success: seconds(100), fail: seconds(500) },
        }
    }

    fn over(state: RunState, at: Timestamp) -> AwaitedRun {
        AwaitedRun::Over { run: RunId(7), state, skipped: false, at }
    }

    #[test]
    fn links_follow_each_other_and_after_the_last_there_is_another_round() {
        let chain = chain(&["a", "b"], OnFailure::GoOn);
        let begun = chain.begin(NOW);
        assert_eq!((begun.round, begun.link, begun.due), (1, 0, NOW));
        assert_eq!(chain.note(&begun), "link 1 of 2 of `nightly`, round 1");

        let waits = chain.made(&begun, "k".into(), NOW);
        assert_eq!(chain.after(&waits, AwaitedRun::Going, NOW), None);
        let second = chain.after(&waits, over(RunState::Succeeded, NOW), NOW.plus(seconds(1))).unwrap();
        assert_eq!((second.state.link, second.state.due, second.state.awaits.clone()), (1, NOW.plus(seconds(1)), None));
        assert_eq!((second.failed, second.stopped), (None, None));
        let third = chain.after(&second.state, over(RunState::Succeeded, NOW), NOW).unwrap().state;
        assert_eq!((third.round, third.link, third.due), (2, 0, NOW.plus(seconds(101))));
    }

    #[test]
    fn a_failed_link_is_reported_and_its_round_counts_as_failed() {
        let chain = chain(&["a", "b"], OnFailure::GoOn);

        let second = chain.after(&chain.begin(NOW), over(RunState::Cancelled, NOW), NOW).unwrap();
        assert_eq!(second.failed.unwrap().run, Some(RunId(7)));
        assert_eq!((second.state.link, second.state.due), (1, NOW.plus(seconds(5))));
        let third = chain.after(&second.state, over(RunState::Succeeded, NOW), NOW).unwrap().state;
        assert_eq!((third.due, third.failed), (NOW.plus(seconds(501)), false));
        let ends: Vec<_> = third.last.into_iter().map(|last| last.unwrap().state).collect();
        assert_eq!(ends, [Some(RunState::Cancelled), Some(RunState::Succeeded)]);
    }

    impl ChainState {
        fn at(self, link: usize) -> Self {
            Self { link, ..self }
        }
    }

    #[test]
    fn a_chain_that_is_to_stop_stays_at_the_link_that_failed() {
        let chain = chain(&["a", "b"], OnFailure::Stop);
        let went = chain.after(&chain.begin(NOW).at(1), over(RunState::Failed, NOW), NOW).unwrap();
        assert_eq!(went.stopped.as_deref(), Some("run 7 of link 2 of 2, `b`, failed in round 1"));
        assert_eq!((went.state.round, went.state.link, went.state.awaits, went.state.due), (1, 1, None, NOW));
    }

    #[test]
    fn a_run_with_deleted_history_does_not_stop_its_chain() {
        let chain = chain(&["a", "b"], OnFailure::Stop);
        let went = chain.after(&chain.begin(NOW), AwaitedRun::Gone, NOW).unwrap();
        assert_eq!((went.state.link, went.state.due, went.stopped, went.failed), (1, NOW, None, None));
    }

    #[test]
    fn a_redefined_chain_continues_at_the_same_link_if_it_still_exists() {
        let before = chain(&["a", "b", "c"], OnFailure::GoOn);
        let state = before.after(&before.begin(NOW), over(RunState::Failed, NOW), NOW).unwrap().state;

        let longer = chain(&["a", "x", "c", "d"], OnFailure::GoOn).fit(state.clone());
        assert_eq!((longer.link, longer.round, longer.last.len()), (1, 1, 4));
        assert!(longer.last[0].is_some());
        let shorter = chain(&["z"], OnFailure::GoOn).fit(ChainState { awaits: Some("k".into()), ..state });
        assert_eq!((shorter.link, shorter.round, shorter.last), (0, 2, vec![None]));
        assert_eq!((shorter.awaits, shorter.failed), (None, false), "a round begins with nothing behind it");
    }

    #[test]
    fn a_link_is_remembered_with_when_it_ended_and_never_in_the_future() {
        let chain = chain(&["a"], OnFailure::GoOn);
        let [earlier, later] = [NOW.minus(seconds(3)), NOW.plus(seconds(3))];

        let ended = |at| {
            let state = chain.after(&chain.begin(earlier), over(RunState::Succeeded, at), NOW).unwrap().state;
            (state.last[0].as_ref().unwrap().at, state.since)
        };

        assert_eq!([ended(earlier), ended(later)], [(earlier, NOW), (NOW, NOW)]);
    }

    #[test]
    fn a_link_is_due_at_once_where_the_clock_was_set_back_since_it_was_planned() {
        let chain = chain(&["a"], OnFailure::GoOn);
        let due = NOW.plus(seconds(3600));
        let planned = |since| ChainState { since, due, ..chain.begin(NOW) }.due_by(NOW);

        assert_eq!(planned(NOW), due);
        assert_eq!(planned(NOW.plus(SET_BACK)), due, "clocks of hosts differ that much");
        assert_eq!(planned(NOW.plus(SET_BACK + Duration::from_millis(1))), NOW);
    }

    #[test]
    fn a_link_is_awaited_by_its_key_since_it_was_made() {
        let chain = chain(&["a"], OnFailure::GoOn);
        let later = NOW.plus(seconds(3));

        let made = chain.made(&chain.begin(NOW), "k".into(), later);

        assert_eq!((made.awaits.as_deref(), made.since, made.due), (Some("k"), later, NOW));
        assert_eq!(chain.task(0).to_string(), "a");
    }
}
