//! The lists that are measured, as queries of the API.

use sexton_domain::labels::Labels;
use sexton_domain::lengths;
use sexton_domain::run::{Cause, Outcome, RunState};
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;
use sexton_store::lists::{ChainRuns, Filter, SearchText, TaskPattern};

/// Each word alone, with values that many, few and no runs have; then words together.
pub(crate) const CASES: &[&str] = &[
    "",
    "task=task-3",
    "task=task-1*",
    "task=*7",
    "task=elsewhere",
    "state=waiting",
    "state=succeeded",
    "state=failed",
    "state=cancelled",
    "outcome=succeeded",
    "outcome=trapped",
    "outcome=trapped,timed-out",
    "outcome=killed",
    "cause=schedule",
    "cause=demand",
    "cause=start",
    "key=monday",
    "key=elsewhere",
    "chain=nightly",
    "host=box-1",
    "host=rare",
    "host=elsewhere",
    "label=team=web",
    "label=team=web&label=env=prod",
    "label=team=elsewhere",
    "since=1d",
    "until=10d",
    "since=11d&until=10d",
    "longer-than=10s",
    "longer-than=10m",
    "text=sector",
    "text=elsewhere",
    "begun=true",
    "outcome=trapped&since=1d",
    "task=task-3&outcome=trapped",
    "task=task-3&host=rare",
    "task=*7&outcome=trapped&until=3d",
    "host=rare&outcome=succeeded",
    "host=rare&outcome=trapped,timed-out&since=5d",
    "label=team=web&outcome=trapped",
    "label=team=web&task=task-3&longer-than=10s",
    "label=team=web&host=rare",
    "key=monday&state=failed",
    "key=monday&label=env=prod&task=task-5",
    "chain=nightly&outcome=trapped",
    "chain=nightly&host=rare",
    "text=sector&outcome=trapped",
    "text=sector&task=task-3",
    "text=elsewhere&label=team=web",
    "cause=demand&host=box-2&until=3d",
    "cause=demand&longer-than=10s",
    "state=waiting&label=team=web",
    "longer-than=10s&task=*9&since=2d",
    "task=task-*&label=team=web&state=succeeded&since=5d&begun=true",
];

/// Returns the filter of one of them. Instants are durations back from `now`.
pub(crate) fn filter(case: &str, tenant: &Name, now: Timestamp) -> Filter {
    let mut filter = Filter { tenant: Some(tenant.clone()), ..Filter::default() };
    let mut labels = Vec::new();
    for (word, value) in case.split('&').filter_map(|pair| pair.split_once('=')) {
        let among = |known: &str| value.split(',').any(|named| named == known);
        let name = || Name::new(value).unwrap();
        let back = || lengths::parse(value).unwrap();
        match word {
            "task" => filter.task = Some(TaskPattern::read(value).unwrap()),
            "state" => filter.states = RunState::ALL.into_iter().filter(|state| among(state.as_str())).collect(),
            "outcome" => filter.outcomes = Outcome::ALL.into_iter().filter(|end| among(end.as_str())).collect(),
            "cause" => filter.causes = Cause::ALL.into_iter().filter(|cause| among(cause.as_str())).collect(),
            "key" => filter.key = Some(name()),
            "chain" => filter.chain = Some(ChainRuns { chain: name(), tasks: crate::fill::tasks() }),
            "host" => filter.host = Some(value.to_owned()),
            "label" => labels.push(value),
            "since" => filter.since = Some(now.minus(back())),
            "until" => filter.until = Some(now.minus(back())),
            "longer-than" => filter.longer_than = Some(back()),
            "text" => filter.text = Some(SearchText::read(value).unwrap()),
            "begun" => filter.begun = true,
            other => panic!("`{other}` is no word of a filter"),
        }
    }
    filter.labels = Labels::read(labels).unwrap();
    filter
}
