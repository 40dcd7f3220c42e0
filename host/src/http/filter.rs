//! Reads the filter of a list of runs. Its words are the same in the API and on the command line.

use chrono_tz::Tz;
use serde::Deserialize;
use utoipa::IntoParams;

use sexton_domain::labels::Labels;
use sexton_domain::run::{Cause, Outcome, RunId, RunState};
use sexton_domain::schedule::request;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;
use sexton_store::lists::{ChainRuns, Filter, SearchText, TaskPattern};

use super::api_state::App;
use super::api_types::runs::{CRASHED, FAILED};
use super::cursor::Cursor;
use super::error::{ApiError, ApiResult};

/// The default and the largest number of runs of a page.
const PAGE: usize = 50;
const MAX_PAGE: usize = 1000;

/// The longest name of a host, in characters.
const LONGEST_HOST: usize = 64;

/// The query of a list of runs, without its labels.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    task: Option<String>,
    state: Option<String>,
    outcome: Option<String>,
    cause: Option<String>,
    key: Option<String>,
    chain: Option<String>,
    host: Option<String>,
    since: Option<String>,
    until: Option<String>,
    longer_than: Option<String>,
    text: Option<String>,
    #[serde(default)]
    begun: bool,
    limit: Option<usize>,
    cursor: Option<String>,
    before: Option<RunId>,
}

impl ListQuery {
    /// Returns the size of the page, and the run before which it begins.
    pub(super) fn page(&self) -> ApiResult<(usize, Option<RunId>)> {
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(bad(format!("`limit` is 1 to {MAX_PAGE}, not {limit}")));
        }
        match (&self.cursor, self.before) {
            (Some(_), Some(_)) => Err(bad("`cursor` and `before` exclude each other; keep one of them")),
            (Some(cursor), None) => Ok((limit, Some(Cursor::of_runs(cursor)?))),
            (None, before) => Ok((limit, before)),
        }
    }

    /// Returns the filter of a list of `tenant`.
    ///
    /// # Errors
    ///
    /// A value is unknown, or two of them exclude each other.
    pub(super) fn filter(&self, app: &App, tenant: Name, labels: Labels) -> ApiResult<Filter> {
        let now = app.clock.now();
        let until = self.until.as_deref().map(|text| request::past_instant("until", text, Tz::UTC, now)).transpose()?;
        let longer_than = self.longer_than.as_deref();
        let longer_than =
            longer_than.map(|text| request::duration("longer-than", text, request::FURTHEST)).transpose()?;
        let filter = Filter {
            task: self.task.as_deref().map(|text| TaskPattern::read(text).map_err(of_field("task"))).transpose()?,
            states: words("state", self.state.as_deref(), &RunState::ALL.map(|state| (state.as_str(), vec![state])))?,
            outcomes: outcomes(self.outcome.as_deref())?,
            causes: words("cause", self.cause.as_deref(), &Cause::ALL.map(|cause| (cause.as_str(), vec![cause])))?,
            key: self.key.as_deref().map(|text| named("key", text)).transpose()?,
            chain: self.chain.as_deref().map(|text| chain(app, &tenant, text)).transpose()?,
            host: self.host.as_deref().map(host).transpose()?,
            labels,
            since: self.since.as_deref().map(|text| since(text, Tz::UTC, now)).transpose()?,
            until,
            longer_than,
            text: self.text.as_deref().map(|text| SearchText::read(text).map_err(of_field("text"))).transpose()?,
            begun: self.begun,
            tenant: Some(tenant),
        };
        contradicts(&filter).map_or(Ok(filter), |why| Err(bad(why)))
    }
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad("bad-query", message)
}

fn of_field(field: &'static str) -> impl Fn(String) -> ApiError {
    move |why| bad(format!("`{field}`: {why}"))
}

fn named(field: &'static str, text: &str) -> ApiResult<Name> {
    Name::new(text).map_err(|e| of_field(field)(e.to_string()))
}

fn host(text: &str) -> ApiResult<String> {
    match (1..=LONGEST_HOST).contains(&text.chars().count()) {
        true => Ok(text.to_owned()),
        false => Err(bad(format!("`host` is the name of a host: 1 to {LONGEST_HOST} characters"))),
    }
}

/// Reads words that commas separate. Each word of `known` stands for one value or several.
fn words<T: Copy + PartialEq>(field: &str, text: Option<&str>, known: &[(&str, Vec<T>)]) -> ApiResult<Vec<T>> {
    let mut found = Vec::new();
    for word in text.into_iter().flat_map(|text| text.split(',')) {
        let Some((_, values)) = known.iter().find(|(name, _)| *name == word) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            return Err(bad(format!("`{field}`: `{word}` is unknown; it is one of {}", names.join(", "))));
        };
        let new: Vec<T> = values.iter().copied().filter(|value| !found.contains(value)).collect();
        found.extend(new);
    }
    Ok(found)
}

fn outcomes(text: Option<&str>) -> ApiResult<Vec<Outcome>> {
    let crashed = Outcome::ALL.into_iter().filter(|outcome| {
        matches!(outcome, Outcome::Trapped | Outcome::OutOfMemory | Outcome::OutOfFuel | Outcome::TimedOut)
    });
    let crashed: Vec<Outcome> = crashed.collect();
    let is_no_failure = |outcome: &Outcome| {
        matches!(outcome, Outcome::Succeeded | Outcome::Deferred | Outcome::Killed | Outcome::Skipped)
    };
    let failed: Vec<Outcome> = Outcome::ALL.into_iter().filter(|outcome| !is_no_failure(outcome)).collect();
    let mut known = Outcome::ALL.map(|outcome| (outcome.as_str(), vec![outcome])).to_vec();
    known.extend([(FAILED, failed), (CRASHED, crashed)]);
    words("outcome", text, &known)
}

fn chain(app: &App, tenant: &Name, text: &str) -> ApiResult<ChainRuns> {
    let chain = named("chain", text)?;
    let key = TaskKey { tenant: tenant.clone(), task: chain.clone() };
    match app.catalog.chains().get(&key) {
        Some(found) => Ok(ChainRuns { chain, tasks: found.links.iter().map(|link| link.task.clone()).collect() }),
        None => Err(ApiError::not_found("no-such-chain", format!("there is no chain `{chain}`"))
            .hint("GET /v1/chains lists the chains")),
    }
}

/// Reads the begin of a window of time that ends now: a duration back from now, or an instant by the clocks of `zone`.
///
/// # Errors
///
/// The text is neither, or the instant is ahead.
pub(super) fn since(text: &str, zone: Tz, now: Timestamp) -> ApiResult<Timestamp> {
    match request::past_instant("since", text, zone, now)? {
        ahead if ahead > now => Err(bad(format!("`since` has passed: {ahead} is ahead"))),
        since => Ok(since),
    }
}

/// Returns why no run can ever be in a list, if its filter contradicts itself.
fn contradicts(filter: &Filter) -> Option<String> {
    let Filter { states, outcomes, causes, key, chain, since, until, longer_than, .. } = filter;
    let is_possible = |state: &RunState, outcome: &Outcome| match (state, outcome) {
        (RunState::Waiting | RunState::Running, _) | (RunState::Failed, Outcome::Succeeded) => false,
        (RunState::Succeeded, outcome) => matches!(outcome, Outcome::Succeeded | Outcome::Skipped),
        _ => true,
    };
    let any_fits = states.iter().any(|state| outcomes.iter().any(|outcome| is_possible(state, outcome)));
    if !states.is_empty() && !outcomes.is_empty() && !any_fits {
        let (state, outcome) = (states.first()?, outcomes.first()?);
        return Some(match state.is_over() {
            true => format!("`state` and `outcome` contradict each other: no run is {state} and {outcome}"),
            false => format!("`state` and `outcome` contradict each other: a run that is {state} has no outcome yet"),
        });
    }
    if longer_than.is_some() && states[..] == [RunState::Waiting] {
        return Some("`state` and `longer-than` contradict each other: a run that is waiting takes no time".to_owned());
    }
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        return Some(format!("`since` is after `until`: {since} is after {until}"));
    }
    if key.is_some() && chain.is_some() {
        return Some("`key` and `chain` exclude each other: an added schedule or a chain makes a run".to_owned());
    }
    let maker = key.as_ref().map(|_| "key").or(chain.as_ref().map(|_| "chain"))?;
    let by_schedule = causes.is_empty() || causes.contains(&Cause::Schedule);
    (!by_schedule).then(|| format!("`{maker}` and `cause` contradict each other: the cause of such a run is schedule"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(outcome: &str) -> ApiResult<Vec<Outcome>> {
        outcomes(Some(outcome))
    }

    #[test]
    fn outcomes_have_words_and_groups() {
        assert_eq!(read("trapped").unwrap(), [Outcome::Trapped]);
        let crashed = [Outcome::OutOfFuel, Outcome::TimedOut, Outcome::OutOfMemory, Outcome::Trapped];
        assert_eq!(read("crashed").unwrap(), crashed);
        assert_eq!(read("crashed,trapped,killed").unwrap().len(), 5, "each once");
        let failed = read("failed").unwrap();
        assert!(crashed.iter().all(|outcome| failed.contains(outcome)) && failed.len() == 9, "{failed:?}");
        for bad in ["", "trapped,", "asleep", "Trapped"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(outcomes(None).unwrap(), []);
    }

    #[test]
    fn a_filter_that_contradicts_itself_is_told_apart_from_one_that_selects_few() {
        let filter = |states: &[RunState], outcomes: &[Outcome]| Filter {
            states: states.to_vec(),
            outcomes: outcomes.to_vec(),
            ..Filter::default()
        };
        let waits = filter(&[RunState::Waiting], &[]);
        let [early, late] = [1, 2].map(|seconds| Some(Timestamp::from_millis(seconds * 1000)));
        let name = Name::new("a").unwrap();
        let (key, chain) = (Some(name.clone()), Some(ChainRuns { chain: name, tasks: Vec::new() }));
        let demand = vec![Cause::Demand];
        for (filter, what) in [
            (filter(&[RunState::Waiting], &[Outcome::Lost]), "a run that is waiting has no outcome yet"),
            (filter(&[RunState::Succeeded], &[Outcome::Trapped]), "no run is succeeded and trapped"),
            (filter(&[RunState::Failed], &[Outcome::Succeeded]), "no run is failed and succeeded"),
            (Filter { longer_than: Some(Duration::ZERO), ..waits.clone() }, "takes no time"),
            (Filter { since: late, until: early, ..Filter::default() }, "`since` is after `until`"),
            (Filter { key: key.clone(), chain: chain.clone(), ..Filter::default() }, "exclude each other"),
            (Filter { key: key.clone(), causes: demand.clone(), ..Filter::default() }, "`key` and `cause`"),
            (Filter { chain, causes: demand, ..Filter::default() }, "`chain` and `cause`"),
        ] {
            let told = contradicts(&filter).unwrap_or_default();
            assert!(told.contains(what), "{filter:?}: {told}");
        }
        for fine in [
            filter(&[RunState::Succeeded], &[Outcome::Skipped]),
            filter(&[RunState::Waiting, RunState::Failed], &[Outcome::Trapped]),
            filter(&[RunState::Cancelled], &[Outcome::Succeeded]),
            Filter { since: early, until: early, ..waits },
            Filter { key, causes: vec![Cause::Schedule, Cause::Demand], ..Filter::default() },
        ] {
            assert_eq!(contradicts(&fine), None, "{fine:?}");
        }
    }
}
