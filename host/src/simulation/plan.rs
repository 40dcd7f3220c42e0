//! Describes a simulation.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::error::SimulationError;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// A plugin, a stretch of time, and the events of its host in that time.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The component `NAME.wasm`, with its manifest beside it.
    pub plugin: PathBuf,
    /// The start of the host.
    pub start: Timestamp,
    /// The duration of the simulation.
    pub length: Duration,
    /// The tasks whose schedules are followed; all if it is empty.
    pub only: BTreeSet<Name>,
    /// The runs on demand.
    pub asked: Vec<RequestedRun>,
    /// The times in which the host is down.
    pub down: Vec<Down>,
    /// The steps by which its clock is set.
    pub steps: Vec<Step>,
    /// The seed of everything random.
    pub seed: u64,
    /// Whether the report contains outputs.
    pub outputs: bool,
}

/// A run on demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedRun {
    /// The instant of the request; `None` for the start. While the host is down the request waits until it is up.
    pub at: Option<Timestamp>,
    /// The task.
    pub task: Name,
    /// The input; `None` for that of the manifest.
    pub input: Option<Vec<u8>>,
}

/// A time in which the host is down, as by a power cut: attempts under way are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Down {
    /// The begin of that time.
    pub from: Timestamp,
    /// The end of that time.
    pub to: Timestamp,
}

/// A step by which the host's clock is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The instant of the step.
    pub at: Timestamp,
    /// The milliseconds of the step: forward, or back if it is negative.
    pub by: i64,
}

/// An event of the host.
#[derive(Clone, Debug)]
pub(super) enum HostEvent {
    Step(i64),
    Down { until: Timestamp },
    Up,
    Request(RequestedRun),
}

impl Plan {
    pub(super) fn check(&self) -> Result<(), SimulationError> {
        let end = self.start.plus(self.length);
        let bad = |what: String| Err(SimulationError::BadPlan(what));
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
            Some(two) => bad(format!("the host is already down at {}, until {}", two[1].from, two[0].to)),
            None => Ok(()),
        }
    }

    /// Returns all events of the host in order, each with its time after the start.
    pub(super) fn events(&self) -> Vec<(Duration, HostEvent)> {
        let after = |at: Timestamp| at.since(self.start);
        let steps = self.steps.iter().map(|step| (after(step.at), HostEvent::Step(step.by)));
        let ups = self.down.iter().map(|down| (after(down.to), HostEvent::Up));
        let downs = self.down.iter().map(|down| (after(down.from), HostEvent::Down { until: down.to }));
        let asked =
            self.asked.iter().map(|asked| (asked.at.map_or(Duration::ZERO, after), HostEvent::Request(asked.clone())));
        let mut events: Vec<_> = steps.chain(downs).chain(ups).chain(asked).collect();
        events.sort_by_key(|(at, _)| *at); // stable: what happens at once happens in this order
        events
    }
}
