//! Implements `runs`: a table for people, a page of the API for programs.

use comfy_table::Cell;

use super::args::RunsArgs;
use super::client::{Client, decode, with_query};
use super::error::CliError;
use super::lists::labels;
use super::screen::{Screen, local, one_line};
use crate::http::api_types::approximate;
use crate::http::api_types::runs::{RunShape, Runs};
use sexton_domain::run::RunState;

/// The most requests for one list, if the host looks at its runs in pieces. Each takes some hundredths of a second.
const MOST_REQUESTS: usize = 20;

/// Lists runs. A host looks at a bounded number of runs for each request, so this goes on until there are as many as
/// were asked for, or none is left, or [`MOST_REQUESTS`] is reached. For a program, one page of the API is printed.
pub(super) fn runs(client: &Client, args: &RunsArgs, screen: &Screen) -> Result<(), CliError> {
    let most = usize::from(args.limit);
    let json = client.text(&path(args, most, None))?;
    if args.list.json {
        return screen.json(&json);
    }
    let mut page: Runs = decode(&json)?;
    for _ in 1..MOST_REQUESTS {
        let left = most.saturating_sub(page.runs.len());
        let Some(cursor) = page.cursor.as_deref().filter(|_| left > 0 && page.looked_back_to.is_some()) else { break };
        let next: Runs = decode(&client.text(&path(args, left, Some(cursor)))?)?;
        page.runs.extend(next.runs);
        page = Runs { runs: page.runs, ..next };
    }
    shown(&page, screen)
}

/// Returns the path of a page of at most `limit` runs that begins at `cursor`, or where `args` say.
fn path(args: &RunsArgs, limit: usize, cursor: Option<&str>) -> String {
    let words = |words: &[String]| Some(words.join(",")).filter(|joined| !joined.is_empty());
    let before = args.before.filter(|_| cursor.is_none());
    let cursor = cursor.or(args.cursor.as_deref()).map(str::to_owned);
    let mut asked = vec![
        ("limit", Some(limit.to_string())),
        ("task", args.task.clone()),
        ("state", words(&args.state)),
        ("outcome", words(&args.outcome)),
        ("cause", words(&args.cause)),
        ("key", args.key.as_ref().map(ToString::to_string)),
        ("chain", args.chain.as_ref().map(ToString::to_string)),
        ("host", args.on.clone()),
        ("since", args.since.clone()),
        ("until", args.until.clone()),
        ("longer-than", args.longer_than.clone()),
        ("text", args.text.clone()),
        ("begun", args.begun.then(|| "true".to_owned())),
        ("cursor", cursor),
        ("before", before.map(|run| run.to_string())),
    ];
    asked.extend(args.label.iter().map(|label| ("label", Some(label.clone()))));
    with_query("/v1/runs", &asked)
}

/// Shows a page of runs.
pub(super) fn shown(page: &Runs, screen: &Screen) -> Result<(), CliError> {
    let Runs { runs, cursor, looked_back_to, .. } = page;
    match (runs.is_empty(), looked_back_to) {
        (true, None) => return screen.line("There are no such runs."),
        (true, Some(_)) => screen.line("There are no such runs so far.")?,
        (false, _) => table(runs, screen)?,
    }
    let Some(cursor) = cursor.as_deref().map(one_line) else { return Ok(()) };
    match looked_back_to {
        Some(at) => screen.line(&format!("\nLooked as far back as {}; go on with --cursor {cursor}", local(*at))),
        None if screen.terminal => screen.line(&format!("\nThere may be more: --cursor {cursor}")),
        None => Ok(()),
    }
}

fn table(runs: &[RunShape], screen: &Screen) -> Result<(), CliError> {
    let mut columns = vec!["RUN", "TASK", "STATE", "OUTCOME", "DUE", "AGE", "TOOK", "ATTEMPT"];
    let some_have_labels = runs.iter().any(|run| !run.labels.is_empty());
    columns.extend(some_have_labels.then_some("LABELS"));
    columns.push("MESSAGE");
    let mut table = screen.table(&columns, "MESSAGE");
    for run in runs {
        let mut row = vec![
            Cell::new(run.id),
            Cell::new(&run.task),
            screen.state(run.state),
            Cell::new(outcome(run)),
            Cell::new(screen.clock(run.due_at)),
            Cell::new(screen.ago(run.due_at)),
            Cell::new(duration(run, screen)),
            Cell::new(run.attempt),
        ];
        row.extend(some_have_labels.then(|| Cell::new(labels(&run.labels))));
        row.push(Cell::new(one_line(&remarks(run))));
        table.add_row(row);
    }
    screen.print(&table)
}

/// Returns the outcome of the run. A run that goes on, or waits for its next attempt, has none: the end of its last
/// attempt is shown with its message.
fn outcome(run: &RunShape) -> &'static str {
    run.outcome.filter(|_| run.state.is_over()).map_or("-", |outcome| outcome.as_str())
}

/// Returns the remarks on a run: why it waits or its message, the end of its last attempt if there is another, and the
/// cause of the run.
fn remarks(run: &RunShape) -> String {
    let last = run.outcome.filter(|_| !run.state.is_over()).map(|outcome| match &run.message {
        Some(message) => format!("last attempt {outcome}: {message}"),
        None => format!("last attempt {outcome}"),
    });
    let message = run.message.clone().filter(|_| last.is_none());
    let said = [run.why.clone().or(message), last, run.note.clone()];
    said.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn duration(run: &RunShape, screen: &Screen) -> String {
    match (run.claimed_at, run.ended_at) {
        (Some(claimed), Some(ended)) => approximate(ended.since(claimed)),
        (Some(claimed), None) if run.state == RunState::Running => {
            format!("{} so far", approximate(screen.now.since(claimed)))
        }
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_domain::labels::Labels;
    use sexton_domain::run::{Cause, Outcome, RunId};
    use sexton_domain::task::Name;
    use sexton_domain::time::Timestamp;

    /// Returns a run in `state` whose last attempt had this outcome.
    fn run(state: RunState, outcome: Outcome, message: Option<&str>) -> RunShape {
        let at = Timestamp::from_millis(1_800_000_000_000);
        RunShape {
            id: RunId(7),
            tenant: Name::default_tenant(),
            task: Name::new("it").expect("a name"),
            state,
            due_at: at,
            run_at: at,
            created_at: at,
            claimed_at: Some(at),
            ended_at: None,
            cause: Cause::Demand,
            attempt: 2,
            failures: 1,
            parent: None,
            host: None,
            outcome: Some(outcome),
            message: message.map(str::to_owned),
            forced: false,
            note: None,
            why: None,
            deaths: 0,
            suspected_at: None,
            reruns: None,
            backfill: false,
            key: None,
            chain: None,
            labels: Labels::default(),
            held_back: None,
        }
    }

    #[test]
    fn the_outcome_of_an_attempt_is_not_shown_as_that_of_its_waiting_run() {
        let lost = run(RunState::Running, Outcome::Lost, None);
        let trapped = run(RunState::Waiting, Outcome::Trapped, Some("unreachable"));
        let failed = run(RunState::Failed, Outcome::Lost, Some("its host died"));

        assert_eq!((outcome(&lost), remarks(&lost)), ("-", "last attempt lost".to_owned()));
        assert_eq!((outcome(&trapped), remarks(&trapped)), ("-", "last attempt trapped: unreachable".to_owned()));
        assert_eq!((outcome(&failed), remarks(&failed)), ("lost", "its host died".to_owned()));
    }
}
