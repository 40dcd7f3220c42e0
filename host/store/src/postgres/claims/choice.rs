//! Chooses which due runs to claim: first each task's fair share, then more of the tasks that have a backlog; of
//! several tenants, first those with the fewest running runs.

use std::collections::{BTreeMap, HashMap};

use super::due;
use crate::ClaimRequest;
use crate::postgres::errors::Step;
use crate::postgres::rows::instant;
use crate::postgres::tx::Tx;
use crate::rules::claims::{Places, sooner};
use sexton_domain::run::RunId;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// A task whose row is locked and that has room.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) task: i64,
    pub(super) tenant: Name,
    /// The number of its runs that may be claimed.
    pub(super) room: usize,
    /// Only runs that start although their task is held back may be claimed.
    pub(super) held: bool,
}

/// A waiting run that may be claimed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Its place among its task's runs: a task with a long backlog gets its second place only after every other its
    /// first.
    pub(super) rank: usize,
    pub(super) run_at: Timestamp,
    pub(super) run: RunId,
    /// One of the fences that are dealt out to the claims made together.
    pub(super) fence: i64,
}

/// Tasks that share a number of places: those of a tenant, or all if tenants are not told apart.
#[derive(Debug)]
pub(super) struct Group {
    places: Places,
    open: Vec<Open>,
}

impl Group {
    /// Sorts `open` into groups.
    pub(super) fn of(open: Vec<Open>, request: &ClaimRequest) -> Vec<Self> {
        if request.tenants.is_empty() {
            return vec![Self { places: Places::of_all(request), open }];
        }
        let mut groups: BTreeMap<Name, Self> = BTreeMap::new();
        for open in open {
            let places = Places::of_tenant(request, &open.tenant);
            let group = groups.entry(open.tenant.clone()).or_insert_with(|| Self { places, open: Vec::new() });
            group.open.push(open);
        }
        groups.into_values().collect()
    }

    /// Returns how many runs each of its tasks gets first.
    fn share(&self) -> usize {
        self.places.share_of_each(self.open.len())
    }
}

/// Chooses which due runs to claim, at most as many as requested, and lowers `next_run_at` to when others will be due.
pub(super) async fn choose(
    tx: &Tx,
    groups: Vec<Group>,
    request: &ClaimRequest,
    next_run_at: &mut Option<Timestamp>,
) -> Step<Vec<Candidate>> {
    let all: Vec<&Open> = groups.iter().flat_map(|group| &group.open).collect();
    let most = groups.iter().map(Group::share).max().unwrap_or(0);
    let mut seen = Seen::default();
    seen.look(tx, &all, most, request.now, next_run_at).await?;
    // Tasks that have given their share and have more, in groups where others have not filled theirs.
    let more: Vec<&Open> = groups
        .iter()
        .filter(|group| {
            group.open.iter().map(|open| seen.count(open, group.share())).sum::<usize>() < group.places.room
        })
        .flat_map(|group| group.open.iter().filter(|open| seen.has_more(open) && open.room > group.share()))
        .collect();
    if !more.is_empty() {
        let deep = more.iter().map(|open| open.room).max().unwrap_or(0);
        seen.look(tx, &more, deep, request.now, next_run_at).await?;
    }
    let mut found: Vec<(usize, Candidate)> = Vec::new();
    let tenants = groups.len() > 1 || !request.tenants.is_empty();
    for group in &groups {
        let mut chosen: Vec<Candidate> = group.open.iter().flat_map(|open| seen.of(open)).collect();
        chosen.sort_unstable_by_key(|c| (c.rank, c.run_at, c.run));
        chosen.truncate(group.places.room);
        found.extend((group.places.running..).zip(chosen));
    }
    if tenants {
        found.sort_unstable_by_key(|(under_way, c)| (*under_way, c.run_at, c.run));
    }
    found.truncate(request.limit);
    Ok(found.into_iter().map(|(_, candidate)| candidate).collect())
}

/// Due runs that were read, by task, each with a fence.
#[derive(Default)]
struct Seen {
    due: HashMap<i64, Vec<(Timestamp, RunId, i64)>>,
    /// Whether a task may have further due runs.
    more: HashMap<i64, bool>,
}

impl Seen {
    /// Reads up to `most` due runs of each task, and when the tasks' next runs are due.
    async fn look(
        &mut self,
        tx: &Tx,
        open: &[&Open],
        most: usize,
        now: Timestamp,
        next_run_at: &mut Option<Timestamp>,
    ) -> Step<()> {
        for open in open {
            self.due.insert(open.task, Vec::new());
            self.more.insert(open.task, false);
        }
        for row in due(tx, open, most, now).await? {
            let (task, run_at, run) = (row.get(0), instant(&row, 1), RunId(row.get(2)));
            let due = self.due.entry(task).or_default();
            if run_at > now {
                sooner(next_run_at, run_at);
            } else if due.len() == most {
                self.more.insert(task, true);
            } else {
                due.push((run_at, run, row.get(3)));
            }
        }
        Ok(())
    }

    fn count(&self, open: &Open, share: usize) -> usize {
        self.due.get(&open.task).map_or(0, Vec::len).min(open.room).min(share)
    }

    /// Returns whether a task has more due runs than were read.
    fn has_more(&self, open: &Open) -> bool {
        self.more.get(&open.task).copied().unwrap_or(false)
    }

    fn of(&self, open: &Open) -> impl Iterator<Item = Candidate> {
        let due = self.due.get(&open.task).map_or(&[][..], Vec::as_slice);
        due.iter().take(open.room).enumerate().map(move |(rank, (run_at, run, fence))| Candidate {
            rank,
            run_at: *run_at,
            run: *run,
            fence: *fence,
        })
    }
}
