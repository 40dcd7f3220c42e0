//! What is to be simulated.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::NoStory;
use crate::task::Name;
use crate::time::Timestamp;

/// A plugin, a stretch of time, and what befalls its host meanwhile.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `NAME.wasm`, with its manifest beside it.
    pub plugin: PathBuf,
    /// When the host starts.
    pub start: Timestamp,
    /// For how long it is watched.
    pub length: Duration,
    /// If there are any, only their schedules are followed.
    pub only: BTreeSet<Name>,
    /// Runs that somebody asks for.
    pub asked: Vec<Asked>,
    /// When the host is down.
    pub down: Vec<Down>,
    /// When its clock is set.
    pub steps: Vec<Step>,
    /// What everything that is left to chance follows from.
    pub seed: u64,
    /// Whether outputs are part of the story.
    pub outputs: bool,
}

/// A run that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When; `None` at the start. While the host is down it is asked for as soon as it is up.
    pub at: Option<Timestamp>,
    /// Of which task.
    pub task: Name,
    /// What it is given; `None` is what the manifest sets.
    pub input: Option<Vec<u8>>,
}

/// A time in which the host is down, as by a power cut: what is under way is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Down {
    /// Since when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
}

/// That the host's clock is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// By how many milliseconds: forward, or back where it is below zero.
    pub by: i64,
}

/// Something that befalls the host.
#[derive(Clone, Debug)]
pub(super) enum Blow {
    Step(i64),
    Down { until: Timestamp },
    Up,
    Asked(Asked),
}

impl Plan {
    pub(super) fn check(&self) -> Result<(), NoStory> {
        let end = self.start.plus(self.length);
        let bad = |what: String| Err(NoStory::BadPlan(what));
        let within = |at: Timestamp| self.start <= at && at <= end;
        let instants = self.asked.iter().filter_map(|asked| asked.at);
        let instants = instants.chain(self.steps.iter().map(|step| step.at)).chain(self.down.iter().map(|d| d.from));
        if let Some(at) = instants.into_iter().find(|at| !within(*at)) {
            return bad(format!("`{at}` is not between {} and {end}", self.start));
        }
        if let Some(down) = self.down.iter().find(|down| down.to <= down.from) {
            return bad(format!("a host that is down from {} cannot be up by {}", down.from, down.to));
        }
        let mut down = self.down.clone();
        down.sort_by_key(|down| down.from);
        match down.windows(2).find(|two| two[1].from <= two[0].to) {
            Some(two) => bad(format!("the host is down already at {}: until {}", two[1].from, two[0].to)),
            None => Ok(()),
        }
    }

    /// All that befalls the host, in order, each with how long after the start it does.
    pub(super) fn blows(&self) -> Vec<(Duration, Blow)> {
        let after = |at: Timestamp| at.since(self.start);
        let steps = self.steps.iter().map(|step| (after(step.at), Blow::Step(step.by)));
        let ups = self.down.iter().map(|down| (after(down.to), Blow::Up));
        let downs = self.down.iter().map(|down| (after(down.from), Blow::Down { until: down.to }));
        let asked = self.asked.iter().map(|asked| (asked.at.map_or(Duration::ZERO, after), Blow::Asked(asked.clone())));
        let mut blows: Vec<_> = steps.chain(downs).chain(ups).chain(asked).collect();
        blows.sort_by_key(|(at, _)| *at); // stable: what happens at once happens in this order
        blows
    }
}
