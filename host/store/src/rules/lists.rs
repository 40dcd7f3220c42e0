//! Decides by which index a list finds its runs, and what becomes a page. `docs/design/0025` has the reasons.

use std::cmp::Reverse;
use std::time::Duration;

use super::runs::chain_prefix;
use crate::RunInfo;
use crate::codes::{CAUSES, cause_code, outcome_code, state_code};
use crate::lists::{Filter, RunPage, TaskPattern};
use sexton_domain::run::{Outcome, RunId, RunState};
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// The most runs that are looked at for one page. It takes ten to twenty milliseconds to look at as many.
pub(crate) const LOOK: usize = 10_000;

/// The same if a text is searched for, because logs must be read for that.
pub(crate) const LOOK_FOR_TEXT: usize = 1000;

/// The bytes of texts after which the search for a text goes to the next page.
pub(crate) const READ_FOR_TEXT: i64 = 4 << 20;

/// The most places at which one page reads an index. In PostgreSQL each is read in the partitions of all days.
pub(crate) const FEW: usize = 32;

/// The most sets of labels that are read to find those with a label.
pub(crate) const SETS: usize = 1000;

/// The greatest number of a task's runs that is no reason to look for an index with fewer of them.
const MANY: i64 = 2000;

/// The lengths, in milliseconds, by which the index of remarkable runs tells long runs apart. A run of a second or more
/// can afford a row there.
pub(crate) const STEPS: [i64; 5] = [1000, 10_000, 60_000, 600_000, 3_600_000];

/// The number in that index of runs shorter than the first step, which are not in it. Each step has one more.
pub(crate) const LONG: i64 = 100;

/// The number in that index of runs without an outcome.
pub(crate) const NO_OUTCOME: i64 = -1;

/// The time by which a run that was made earlier may have a greater number, because several hosts make runs.
const SKEW: Duration = Duration::from_secs(60);

/// A way to runs, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Path {
    /// All runs there are. Only a list of all tenants takes it.
    All,
    /// The runs of the tenant with a cause, by its number.
    Tenant,
    /// The runs of a task, by its number.
    Tasks,
    /// The runs of the tenant that are over and did not just succeed, by outcome; and those that took long, by step.
    Remarkable,
    /// The runs of the added schedule.
    Key,
    /// The runs with a set of labels, by its number.
    Labels,
    /// The runs that wait, of a task by its number, or of the tenant.
    Waiting,
    /// The runs that are running.
    Running,
}

/// The places at which one path is followed. The runs of a list are found on all walks together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    pub(crate) path: Path,
    /// Numbers of causes, tasks, outcomes and steps, or sets of labels. A path without such has one number, 0.
    pub(crate) keys: Vec<i64>,
}

/// The rows that a part of a filter names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Named {
    /// The filter has no such part.
    #[default]
    Any,
    /// Their numbers. Runs of others are not in the list.
    Few(Vec<i64>),
    /// There are more than [`FEW`].
    Many,
}

/// The facts that decide about the walks of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The tasks that the filter names.
    pub(crate) tasks: Named,
    /// The sets that have the filter's labels.
    pub(crate) sets: Named,
    /// The runs of these tasks that are over, if the tasks are few.
    pub(crate) runs_of_tasks: i64,
}

/// Returns the walks of a list. There are none if no run can be in the list.
pub(crate) fn walks(filter: &Filter, facts: &Facts) -> Vec<Walk> {
    let states = states(filter);
    let names_none = |named: &Named| matches!(named, Named::Few(few) if few.is_empty());
    if states.is_empty() || names_none(&facts.tasks) || names_none(&facts.sets) {
        return Vec::new();
    }
    let only = |path| vec![Walk { path, keys: vec![0] }];
    if states == [RunState::Running] {
        return only(Path::Running);
    }
    if filter.key.is_some() && filter.tenant.is_some() {
        return only(Path::Key);
    }
    if let Named::Few(sets) = &facts.sets {
        return vec![Walk { path: Path::Labels, keys: sets.clone() }];
    }
    let remarkable = remarkable(filter, &states).filter(|_| filter.tenant.is_some());
    if let Named::Few(tasks) = &facts.tasks {
        if states == [RunState::Waiting] {
            return vec![Walk { path: Path::Waiting, keys: tasks.clone() }];
        }
        if remarkable.is_none() || facts.runs_of_tasks <= MANY {
            return vec![Walk { path: Path::Tasks, keys: tasks.clone() }];
        }
    }
    if filter.tenant.is_none() {
        return only(Path::All);
    }
    let Some(keys) = remarkable else {
        let causes = if filter.causes.is_empty() { &CAUSES[..] } else { &filter.causes[..] };
        return vec![Walk { path: Path::Tenant, keys: causes.iter().map(|cause| cause_code(*cause)).collect() }];
    };
    let mut walks = Vec::new();
    if !keys.is_empty() {
        walks.push(Walk { path: Path::Remarkable, keys });
    }
    for (state, path) in [(RunState::Running, Path::Running), (RunState::Waiting, Path::Waiting)] {
        if states.contains(&state) {
            // A task that is named narrows the waiting runs only if it is one of few.
            let keys = match (&facts.tasks, path) {
                (Named::Few(tasks), Path::Waiting) => tasks.clone(),
                (_, Path::Waiting) => Vec::new(),
                _ => vec![0],
            };
            walks.push(Walk { path, keys });
        }
    }
    walks
}

/// Returns the states that runs of the list can have. Only a run that is over has an outcome, and a waiting one takes no
/// time.
pub(crate) fn states(filter: &Filter) -> Vec<RunState> {
    let all = if filter.states.is_empty() { RunState::ALL.to_vec() } else { filter.states.clone() };
    let fits = |state: &RunState| {
        (filter.outcomes.is_empty() || state.is_over()) && (filter.longer_than.is_none() || *state != RunState::Waiting)
    };
    all.into_iter().filter(fits).collect()
}

/// Returns the keys of [`Path::Remarkable`] with all runs of the list that are over, or `None` if the list may have
/// others.
fn remarkable(filter: &Filter, states: &[RunState]) -> Option<Vec<i64>> {
    let is_wanted = |outcome: &Outcome| filter.outcomes.is_empty() || filter.outcomes.contains(outcome);
    let over = states.iter().any(|state| state.is_over());
    let succeeds = states.contains(&RunState::Succeeded);
    let (plain, step) = (succeeds && is_wanted(&Outcome::Succeeded), filter.longer_than.map_or(0, step));
    if plain && step == 0 {
        return None;
    }
    let mut keys = Vec::new();
    if !over {
        return Some(keys);
    }
    if states.contains(&RunState::Cancelled) && filter.outcomes.is_empty() && filter.longer_than.is_none() {
        keys.push(NO_OUTCOME);
    }
    // A success is there with its outcome only if its run was cancelled in spite of it.
    let only_successes = states.iter().all(|state| !state.is_over() || *state == RunState::Succeeded);
    let outcomes = Outcome::ALL.into_iter().filter(is_wanted);
    let outcomes = outcomes.filter(|outcome| !(only_successes && *outcome == Outcome::Succeeded));
    keys.extend(outcomes.map(outcome_code));
    if plain {
        keys.extend((step..=STEPS.len() as i64).map(|step| LONG + step));
    }
    Some(keys)
}

/// Returns how many of [`STEPS`] a run of this length has taken.
fn step(length: Duration) -> i64 {
    STEPS.iter().filter(|step| millis(length) >= **step).count() as i64
}

fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// Returns the instants from and until which the runs of a list may have been made, by the clock of any host.
pub(crate) fn made_within(filter: &Filter) -> (Option<Timestamp>, Option<Timestamp>) {
    (filter.since.map(|since| since.minus(SKEW)), filter.until.map(|until| until.plus(SKEW)))
}

/// Returns the run after which, and that before which, those of a list were made, from the place of the page and the first
/// runs that were made at or after the instants of [`made_within`].
pub(crate) fn range(page: Option<RunId>, since: Option<i64>, until: Option<i64>) -> (i64, i64) {
    let before = page.map_or(i64::MAX, |run| run.0);
    (since.map_or(0, |first| first - 1), until.map_or(before, |first| first.min(before)))
}

/// Returns what [`sets`] returns for a list of one tenant; only such a list has sets.
pub(crate) fn sets_of(filter: &Filter, of_labels: &[Vec<i64>]) -> (Named, bool) {
    if filter.tenant.is_some() { sets(of_labels) } else { (Named::Any, false) }
}

/// Returns the sets that have all labels of a filter, from those that have each of them, of which at most [`SETS`] were
/// read; and whether runs of these sets may lack a label of the filter, or other sets have all.
pub(crate) fn sets(of_labels: &[Vec<i64>]) -> (Named, bool) {
    let (whole, cut): (Vec<&Vec<i64>>, Vec<_>) = of_labels.iter().partition(|sets| sets.len() < SETS);
    let Some((first, others)) = whole.split_first() else {
        return if cut.is_empty() { (Named::Any, false) } else { (Named::Many, true) };
    };
    let mut both = (*first).clone();
    both.retain(|set| others.iter().all(|other| other.contains(set)));
    if both.len() > FEW { (Named::Many, true) } else { (Named::Few(both), !cut.is_empty()) }
}

/// Returns whether the labels of each run must be looked at: its walks are not all at sets that have those of the filter.
/// `are_whole` says whether such sets have all of them.
pub(crate) fn looks_at_labels(filter: &Filter, walks: &[Walk], are_whole: bool) -> bool {
    let are_known = are_whole && walks.iter().all(|walk| walk.path == Path::Labels);
    !filter.labels.is_empty() && !are_known
}

/// Returns the tasks that were found, of which at most one more than [`FEW`] were read.
pub(crate) fn tasks(found: Vec<i64>) -> Named {
    if found.len() > FEW { Named::Many } else { Named::Few(found) }
}

/// The values of [`matching`](crate::sql::matching), in its order: each run of a list meets its conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Values {
    pub(crate) tenant: Option<String>,
    /// The states, causes and outcomes, each a bit at the place of its number. Runs without an outcome have the first
    /// bit, and outcomes those that follow.
    pub(crate) states: i32,
    pub(crate) causes: i32,
    pub(crate) outcomes: i32,
    pub(crate) tasks: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) chain: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) since: i64,
    pub(crate) until: i64,
    pub(crate) now: i64,
    pub(crate) longer_than: Option<i64>,
    pub(crate) attempts: i32,
}

impl Values {
    /// Returns the values of a filter.
    pub(crate) fn of(filter: &Filter, now: Timestamp) -> Self {
        let text = |name: &Option<Name>| name.as_ref().map(ToString::to_string);
        Self {
            tenant: text(&filter.tenant),
            states: bits(states(filter).into_iter().map(state_code)),
            causes: any_or(&filter.causes, cause_code),
            outcomes: any_or(&filter.outcomes, |outcome| outcome_code(outcome) + 1),
            tasks: filter.task.as_ref().map(TaskPattern::like),
            key: text(&filter.key),
            chain: filter.chain.as_ref().map(|chain| chain_prefix(&chain.chain)),
            host: filter.host.clone(),
            since: filter.since.map_or(i64::MIN, Timestamp::as_millis),
            until: filter.until.map_or(i64::MAX, Timestamp::as_millis),
            now: now.as_millis(),
            longer_than: filter.longer_than.map(millis),
            attempts: i32::from(filter.begun),
        }
    }
}

fn bits(places: impl Iterator<Item = i64>) -> i32 {
    places.fold(0, |bits, place| bits | 1 << place)
}

/// Returns the bits of `words`, or all bits if there are none.
fn any_or<T: Copy>(words: &[T], place: fn(T) -> i64) -> i32 {
    if words.is_empty() { -1 } else { bits(words.iter().map(|word| place(*word))) }
}

/// The last of the runs that were looked at for a page, beyond which others were not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Looked {
    pub(crate) run: RunId,
    pub(crate) made_at: Timestamp,
}

/// Makes a page of the runs that were found. If not all runs were looked at, only those up to the last one that was are
/// certain to have no others between them.
pub(crate) fn page(mut runs: Vec<RunInfo>, looked: Option<Looked>, limit: usize) -> RunPage {
    runs.sort_unstable_by_key(|run| Reverse(run.id));
    runs.dedup_by_key(|run| run.id);
    if let Some(looked) = looked {
        runs.retain(|run| run.id >= looked.run);
    }
    if runs.len() >= limit {
        runs.truncate(limit);
        return RunPage { next: runs.last().map(|run| run.id), runs, looked_back_to: None };
    }
    RunPage { runs, next: looked.map(|looked| looked.run), looked_back_to: looked.map(|looked| looked.made_at) }
}

#[cfg(test)]
mod tests;
