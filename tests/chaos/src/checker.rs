//! Checks the rules that a history must obey, whatever happened. Pure: rows in, violations out.
//!
//! The rows are written by the database itself (`audit.rs`) and by a server outside (`effects.rs`), so no host is
//! believed. The tests below show that each rule can be broken, and `--break-fence` shows that a store without fences
//! breaks some.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// Numbers of the tables: states of runs, and outcomes of attempts.
pub(crate) const RUNNING: i64 = 1;
pub(crate) const SUCCEEDED: i64 = 2;
pub(crate) const FAILED: i64 = 3;
pub(crate) const KILLED: i64 = 8;
pub(crate) const LOST: i64 = 10;

/// The task whose runs are made by its schedule.
pub(crate) const BEAT: &str = "beat";

/// The most by which a host may misjudge the database's clock, in milliseconds: its process is stopped and cut off all
/// the time. It is far less than a lease.
const MISJUDGED: i64 = 500;

/// The columns of a run's row that concern claims, at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) state: i64,
    pub(crate) attempt: i64,
    pub(crate) fence: Option<i64>,
    pub(crate) host: String,
    pub(crate) lease_until: Option<i64>,
}

/// A change of a run's row. Without `before` the row was inserted, without `after` it was deleted.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The time in milliseconds since the Unix epoch, by the database's clock.
    pub(crate) at: i64,
    /// The transaction.
    pub(crate) tx: i64,
    /// The host that wrote it, which the database knows because each connects as a user of its own.
    pub(crate) writer: String,
    pub(crate) run: i64,
    pub(crate) before: Option<Row>,
    pub(crate) after: Option<Row>,
}

/// A row about the end of an attempt that was inserted, or deleted if `gone`.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) tx: i64,
    pub(crate) run: i64,
    pub(crate) attempt: i64,
    /// The fence of the claim that it was written with.
    pub(crate) fence: i64,
    pub(crate) outcome: i64,
    pub(crate) gone: bool,
}

/// The final row of a run.
#[derive(Clone, Debug)]
pub(crate) struct Final {
    pub(crate) run: i64,
    pub(crate) task: String,
    pub(crate) due_at: i64,
    pub(crate) state: i64,
}

/// An attempt that the server outside has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effect {
    pub(crate) run: i64,
    pub(crate) attempt: i64,
    /// The fence of the lock that it held.
    pub(crate) fence: i64,
}

/// Everything known about what happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// The changes, in their order for each run.
    pub(crate) changes: Vec<Change>,
    pub(crate) written: Vec<Written>,
    pub(crate) finals: Vec<Final>,
    pub(crate) effects: Vec<Effect>,
    /// The runs that a host reported as made.
    pub(crate) asked: BTreeSet<i64>,
    /// The keys under which there are two runs, in words.
    pub(crate) doubled: Vec<String>,
    /// The hosts that ended or panicked by themselves, in words.
    pub(crate) fallen: Vec<String>,
    /// Held locks, and waits for them, in words.
    pub(crate) locks: Vec<String>,
    /// The sum that the attempts have counted in the cache.
    pub(crate) counted: i64,
    /// The interval of [`BEAT`], in milliseconds.
    pub(crate) every: i64,
}

/// A rule that a history must obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    EndsOnce,
    StaysOver,
    Succeeds,
    EffectHappens,
    CountHappens,
    FenceOnce,
    FenceGrows,
    OneClaim,
    LatestClaim,
    AttemptOnce,
    LockFenceOnce,
    NoLockLeft,
    DueOnce,
    NoneMissing,
    KeyOnce,
    HostsStay,
    Whole,
}

impl Rule {
    pub(crate) const ALL: [Self; 17] = [
        Self::EndsOnce,
        Self::StaysOver,
        Self::Succeeds,
        Self::EffectHappens,
        Self::CountHappens,
        Self::FenceOnce,
        Self::FenceGrows,
        Self::OneClaim,
        Self::LatestClaim,
        Self::AttemptOnce,
        Self::LockFenceOnce,
        Self::NoLockLeft,
        Self::DueOnce,
        Self::NoneMissing,
        Self::KeyOnce,
        Self::HostsStay,
        Self::Whole,
    ];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::EndsOnce => "every run ends exactly once",
            Self::StaysOver => "nothing happens to a run that is over",
            Self::Succeeds => "no run fails without a cause",
            Self::EffectHappens => "every effect of a run that succeeded happens at least once",
            Self::CountHappens => "every count in the cache is kept",
            Self::FenceOnce => "no two claims have the same fence",
            Self::FenceGrows => "a run's fence only grows",
            Self::OneClaim => "a run has at most one claim at a time",
            Self::LatestClaim => "only the latest claim, or a sweeper after its lease, ends an attempt",
            Self::AttemptOnce => "an attempt is written down once",
            Self::LockFenceOnce => "no two holders of locks have the same fence",
            Self::NoLockLeft => "no lock is left, and no run waits for one",
            Self::DueOnce => "no instant of a schedule has two runs",
            Self::NoneMissing => "no instant of a schedule is left out",
            Self::KeyOnce => "no key has two runs",
            Self::HostsStay => "hosts stay up unless they are killed",
            Self::Whole => "the history ends in the rows of the database",
        })
    }
}

/// A rule that was broken, and the facts that break it.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) words: String,
}

/// Returns every violation in `history`.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    let runs = by_run(&history.changes);
    let written = as_written(&history.written);
    found.claims(&runs);
    found.ends_of_attempts(&runs, &written);
    found.ends_of_runs(&runs, history);
    found.effects(history);
    found.schedule(history);
    for (rule, words) in
        [(Rule::KeyOnce, &history.doubled), (Rule::HostsStay, &history.fallen), (Rule::NoLockLeft, &history.locks)]
    {
        words.iter().for_each(|words| found.add(rule, words.clone()));
    }
    found.0
}

type ByRun = BTreeMap<i64, Vec<Change>>;

/// Groups changes by run. A row that moves to another partition is deleted there and inserted here, in one transaction
/// and in any order. That is one change, or none if the row is the same.
pub(crate) fn by_run(changes: &[Change]) -> ByRun {
    let mut runs = ByRun::new();
    for change in changes {
        let earlier = runs.entry(change.run).or_default();
        match earlier.last_mut().filter(|last| last.tx == change.tx) {
            Some(last) if last.after.is_none() && change.before.is_none() => last.after = change.after.clone(),
            Some(last) if last.before.is_none() && change.after.is_none() => last.before = change.before.clone(),
            _ => earlier.push(change.clone()),
        }
    }
    runs.values_mut().for_each(|changes| changes.retain(|change| change.before != change.after));
    runs
}

/// Returns the rows that each transaction wrote about ends of attempts, without those that only moved to another
/// partition.
pub(crate) fn as_written(rows: &[Written]) -> BTreeMap<(i64, i64), Vec<Written>> {
    let mut balance: BTreeMap<_, i64> = BTreeMap::new();
    for row in rows {
        let same = (row.tx, row.run, row.attempt, row.fence, row.outcome);
        *balance.entry(same).or_default() += if row.gone { -1 } else { 1 };
    }
    let mut written: BTreeMap<(i64, i64), Vec<Written>> = BTreeMap::new();
    for ((tx, run, attempt, fence, outcome), came) in balance {
        let row = Written { tx, run, attempt, fence, outcome, gone: false };
        (0..came).for_each(|_| written.entry((tx, run)).or_default().push(row.clone()));
    }
    written
}

/// Returns whether a change is a claim.
pub(crate) fn is_claim(change: &Change) -> bool {
    let as_before = |before: &Row, after: &Row| {
        before.state == RUNNING && (before.attempt, before.fence) == (after.attempt, after.fence)
    };
    change.after.as_ref().is_some_and(|after| {
        after.state == RUNNING && !change.before.as_ref().is_some_and(|before| as_before(before, after))
    })
}

fn is_running(row: Option<&Row>) -> bool {
    row.is_some_and(|row| row.state == RUNNING)
}

fn is_over(row: Option<&Row>) -> bool {
    row.is_some_and(|row| row.state >= SUCCEEDED)
}

struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, rule: Rule, words: String) {
        self.0.push(Violation { rule, words });
    }

    fn claims(&mut self, runs: &ByRun) {
        let mut fences = HashMap::new();
        for (run, changes) in runs {
            let mut last = None;
            for change in changes.iter().filter(|change| is_claim(change)) {
                let Some(after) = &change.after else { continue };
                let this = format!("run {run}, attempt {} on `{}`", after.attempt, after.host);
                if is_running(change.before.as_ref()) {
                    self.add(Rule::OneClaim, format!("{this}: claimed while {:?} was alive", change.before));
                }
                let Some(fence) = after.fence else {
                    self.add(Rule::FenceOnce, format!("{this}: claimed without a fence"));
                    continue;
                };
                if last.is_some_and(|last| fence <= last) {
                    self.add(Rule::FenceGrows, format!("{this}: fence {fence} after {}", last.unwrap_or_default()));
                }
                last = Some(fence);
                if let Some(other) = fences.insert(fence, this.clone()) {
                    self.add(Rule::FenceOnce, format!("{this}: has fence {fence}, as {other} had"));
                }
            }
        }
    }

    fn ends_of_attempts(&mut self, runs: &ByRun, written: &BTreeMap<(i64, i64), Vec<Written>>) {
        for (run, changes) in runs {
            for change in changes.iter().filter(|change| !is_running(change.after.as_ref())) {
                let Some(before) = change.before.as_ref().filter(|before| before.state == RUNNING) else { continue };
                let with = written.get(&(change.tx, *run)).map_or(&[][..], Vec::as_slice);
                let Row { attempt, fence, host, .. } = before;
                let this = format!("run {run}, attempt {attempt} on `{host}`, ended by `{}`", change.writer);
                match with {
                    [row] if row.attempt == *attempt && Some(row.fence) == *fence => {}
                    _ => self.add(Rule::LatestClaim, format!("{this}: fence {fence:?}, but {with:?} was written")),
                }
                if change.writer == before.host {
                    continue;
                }
                let buried = with.iter().all(|row| [LOST, KILLED].contains(&row.outcome));
                let early = before.lease_until.map_or(0, |until| until.saturating_sub(change.at));
                if !buried || early > MISJUDGED {
                    self.add(Rule::LatestClaim, format!("{this}: {early} ms before its lease was over, as {with:?}"));
                }
            }
        }
        let mut times: BTreeMap<(i64, i64), usize> = BTreeMap::new();
        for row in written.values().flatten() {
            *times.entry((row.run, row.attempt)).or_default() += 1;
        }
        for ((run, attempt), times) in times.into_iter().filter(|(_, times)| *times > 1) {
            self.add(Rule::AttemptOnce, format!("run {run}: attempt {attempt} was written {times} times"));
        }
    }

    fn ends_of_runs(&mut self, runs: &ByRun, history: &History) {
        let finals: BTreeMap<i64, &Final> = history.finals.iter().map(|last| (last.run, last)).collect();
        for run in &history.asked {
            match finals.get(run) {
                None => self.add(Rule::EndsOnce, format!("run {run} was requested, but does not exist")),
                Some(last) if last.state > FAILED => self.add(Rule::Succeeds, format!("run {run} was cancelled")),
                Some(_) => {}
            }
        }
        for last in &history.finals {
            let (run, changes) = (last.run, runs.get(&last.run).map_or(&[][..], Vec::as_slice));
            let ends = changes.iter().filter(|c| !is_over(c.before.as_ref()) && is_over(c.after.as_ref())).count();
            if last.state < SUCCEEDED {
                self.add(Rule::EndsOnce, format!("run {run} of `{}` is in state {} to the end", last.task, last.state));
            } else if ends != 1 {
                self.add(Rule::EndsOnce, format!("run {run} of `{}` ended {ends} times", last.task));
            }
            if last.state == FAILED {
                self.add(Rule::Succeeds, format!("run {run} of `{}` failed", last.task));
            }
            let told = changes.last().and_then(|change| change.after.as_ref()).map(|row| row.state);
            if told != Some(last.state) {
                self.add(Rule::Whole, format!("run {run} is in state {}, and was last seen in {told:?}", last.state));
            }
        }
        for (run, changes) in runs {
            for change in changes.iter().filter(|change| is_over(change.before.as_ref())) {
                let facts = |row: &Option<Row>| row.as_ref().map(|row| (row.state, row.attempt, row.fence));
                // A row that was deleted was pruned.
                if change.after.is_some() && facts(&change.before) != facts(&change.after) {
                    self.add(Rule::StaysOver, format!("run {run}: `{}` made {change:?} of it", change.writer));
                }
            }
        }
    }

    fn effects(&mut self, history: &History) {
        let seen: BTreeSet<i64> = history.effects.iter().map(|effect| effect.run).collect();
        let succeeded: Vec<i64> =
            history.finals.iter().filter(|last| last.state == SUCCEEDED).map(|last| last.run).collect();
        for run in succeeded.iter().filter(|run| !seen.contains(*run)) {
            self.add(Rule::EffectHappens, format!("run {run} succeeded, and was never seen"));
        }
        if history.counted < succeeded.len() as i64 {
            let words = format!("{} runs succeeded, and {} were counted", succeeded.len(), history.counted);
            self.add(Rule::CountHappens, words);
        }
        let mut holders = HashMap::new();
        for Effect { run, attempt, fence } in &history.effects {
            let other = *holders.entry(fence).or_insert((run, attempt));
            if other != (run, attempt) {
                let words = format!("fence {fence}: attempt {attempt} at run {run}, and {} at {}", other.1, other.0);
                self.add(Rule::LockFenceOnce, words);
            }
        }
    }

    fn schedule(&mut self, history: &History) {
        let mut due: Vec<i64> =
            history.finals.iter().filter(|last| last.task == BEAT).map(|last| last.due_at).collect();
        due.sort_unstable();
        for pair in due.windows(2) {
            match pair[1] - pair[0] {
                0 => self.add(Rule::DueOnce, format!("two runs were due at {}", pair[0])),
                apart if apart != history.every => {
                    self.add(Rule::NoneMissing, format!("after the run due at {} comes that at {}", pair[0], pair[1]));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
