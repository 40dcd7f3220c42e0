use super::*;

fn s(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

/// Returns a run that was due and started at `from`, and succeeded at `to`.
fn run(id: i64, from: i64, to: i64) -> RunTimes {
    RunTimes {
        run: RunId(id),
        state: RunState::Succeeded,
        cause: Cause::Schedule,
        due_at: s(from),
        created_at: s(from),
        started_at: Some(s(from)),
        claimed_at: Some(s(from)),
        ended_at: Some(s(to)),
        outcome: Some(Outcome::Succeeded),
        message: None,
        skipped: false,
        belated: false,
    }
}

/// Returns a run that failed at `to`.
fn failed(id: i64, to: i64, message: &str) -> RunTimes {
    let outcome = Some(Outcome::FailedTransient);
    RunTimes { state: RunState::Failed, outcome, message: Some(message.to_owned()), ..run(id, to - 1, to) }
}

fn of(runs: Vec<RunTimes>) -> Statistics {
    Statistics::of(&Window { runs, cut: false }, s(-100), s(1000), 2)
}

fn seconds(spread: Option<Spread>) -> (u64, u64, u64, u64) {
    let Spread { count, mean, p95, longest } = spread.expect("there are some");
    (count, mean.as_secs(), p95.as_secs(), longest.as_secs())
}

#[test]
fn runs_are_counted_by_their_states_and_skipped_ones_apart() {
    let never = |state| RunTimes { state, started_at: None, claimed_at: None, ended_at: None, ..run(1, 0, 0) };
    let skipped = RunTimes { skipped: true, ..never(RunState::Cancelled) };
    let locked_out = RunTimes { skipped: true, outcome: Some(Outcome::Skipped), ..run(4, 0, 90) };
    let ended = [run(2, 0, 1), failed(3, 1, "x"), locked_out];
    let runs = [never(RunState::Waiting), never(RunState::Cancelled), skipped].into_iter().chain(ended).collect();

    let all = of(runs);

    assert_eq!((all.runs, all.states, all.skipped), (6, [1, 0, 1, 1, 1], 2));
    assert_eq!((seconds(all.took), all.failing_since), ((2, 1, 1, 1), Some(s(1))), "a skipped run heals nothing");
    assert_eq!(
        (seconds(all.waited).0, all.apart.map(|apart| apart.count)),
        (2, Some(1)),
        "a skipped run did not start"
    );
    assert_eq!(all.most_at_once, 2, "those that ended, and not the one that found the lock held");
    assert_eq!((all.since, all.cut), (s(-100), false));
}

#[test]
fn a_window_that_was_cut_begins_with_its_oldest_run() {
    let cut = Statistics::of(&Window { runs: vec![run(2, 50, 60), run(1, 40, 50)], cut: true }, s(-100), s(1000), 2);
    assert_eq!((cut.since, cut.cut), (s(40), true));
}

#[test]
fn times_have_a_mean_a_95th_percentile_and_a_longest() {
    let runs = (0..100).map(|n| run(n, n * 10, n * 10 + n)).collect();

    let all = of(runs);

    assert_eq!(seconds(all.took), (100, 49, 94, 99));
    assert_eq!(seconds(all.apart), (99, 10, 10, 10));
    assert_eq!(seconds(all.waited), (100, 0, 0, 0));
    assert_eq!(seconds(of(vec![run(1, 0, 7)]).took), (1, 7, 7, 7));
    assert_eq!((of(vec![]).took, of(vec![run(1, 0, 7)]).apart), (None, None));
}

#[test]
fn a_run_waits_from_its_due_instant_to_its_first_start_unless_it_was_made_later() {
    let late = RunTimes { due_at: s(-5), ..run(1, 0, 1) };
    let tried_again = RunTimes { claimed_at: Some(s(60)), ended_at: Some(s(61)), ..late.clone() };
    let asked_for = RunTimes { due_at: s(-1_000_000), cause: Cause::Task, created_at: s(-2), ..run(3, 0, 1) };
    let belated = RunTimes { due_at: s(-1_000_000), belated: true, ..run(4, 0, 1) };

    assert_eq!(seconds(of(vec![late.clone(), tried_again.clone()]).waited), (2, 5, 5, 5));
    assert_eq!(seconds(of(vec![tried_again]).took), (1, 1, 1, 1), "only its last attempt");
    assert_eq!(seconds(of(vec![asked_for]).waited), (1, 2, 2, 2));
    assert_eq!(of(vec![belated]).waited, None);
}

#[test]
fn the_most_runs_at_once_are_those_that_overlap() {
    let most = |runs| of(runs).most_at_once;

    assert_eq!(most(vec![]), 0);
    assert_eq!(most(vec![run(1, 0, 10), run(2, 10, 20)]), 1, "the second started when the first had ended");
    assert_eq!(most(vec![run(1, 0, 10), run(2, 9, 20), run(3, 5, 6), run(4, 15, 16)]), 2);
    assert_eq!(most(vec![run(1, 0, 0), run(2, 0, 0)]), 2, "both within one millisecond");
    let running = RunTimes { state: RunState::Running, ended_at: None, ..run(3, 5, 6) };
    assert_eq!(most(vec![run(1, 0, 10), running.clone(), run(2, 900, 901)]), 2);
    let again = RunTimes { state: RunState::Waiting, ..running };
    assert_eq!(most(vec![run(1, 0, 10), again]), 1);
}

#[test]
fn a_run_that_was_cancelled_while_it_waited_for_a_retry_took_no_time_until_then() {
    let cancelled = |outcome| RunTimes { state: RunState::Cancelled, outcome: Some(outcome), ..run(1, 0, 90) };

    let waited = of(vec![cancelled(Outcome::FailedTransient), run(2, 50, 60)]);
    let killed = of(vec![cancelled(Outcome::Killed), run(2, 50, 60)]);

    assert_eq!((seconds(waited.took), waited.most_at_once), ((1, 10, 10, 10), 1));
    assert_eq!((seconds(killed.took), killed.most_at_once), ((2, 50, 90, 90), 2));
    assert_eq!((seconds(waited.waited).0, seconds(waited.apart)), (2, (1, 50, 50, 50)), "it had started");
}

#[test]
fn starts_that_reach_the_limit_are_counted() {
    let times =
        |limit, runs: Vec<RunTimes>| Statistics::of(&Window { runs, cut: false }, s(-100), s(1000), limit).at_limit;
    let three = || vec![run(1, 0, 10), run(2, 5, 12), run(3, 11, 20), run(4, 30, 31)];

    assert_eq!((times(1, three()), times(2, three()), times(3, three())), (4, 2, 0));
    assert_eq!(times(2, vec![run(1, 0, 10), run(2, 10, 20)]), 0, "the second started when the first had ended");
    assert_eq!(times(2, vec![]), 0);
}

/// Returns the changes as one line each.
fn changes(all: &Statistics) -> Vec<String> {
    let line = |change: &Change| {
        let Change { kind, run, failures, last: (last, _), .. } = change;
        format!("{kind:?} {run} {failures} {last} {}", change.message.as_deref().unwrap_or("-"))
    };
    all.changes.iter().map(line).collect()
}

#[test]
fn failures_are_first_then_new_where_they_differ_and_healed_by_a_success() {
    let cancelled = RunTimes { state: RunState::Cancelled, ..run(6, 50, 55) };
    let mut runs = vec![
        run(1, 0, 5),
        failed(2, 10, "no route to 10.0.0.7"),
        failed(3, 20, "no route to 10.0.0.99"),
        failed(4, 30, "no route to 10.0.0.7"),
        failed(5, 40, "no space left"),
        cancelled,
        run(7, 50, 60),
        run(8, 60, 70),
        failed(9, 80, "no space left"),
    ];
    runs.reverse();

    let all = of(runs);

    assert_eq!(
        changes(&all),
        ["First 2 3 4 no route to 10.0.0.7", "New 5 1 5 no space left", "Healed 7 4 7 -", "First 9 1 9 no space left",]
    );
    assert_eq!((all.failing_since, all.changes_cut), (Some(s(80)), false));
    assert_eq!(all.changes[2].at, s(60));
}

#[test]
fn failures_follow_the_order_of_ends_and_not_of_numbers() {
    // A patient run was made first, and succeeded after a later one had failed.
    let all = of(vec![failed(2, 10, "x"), run(1, 0, 20)]);
    assert_eq!(changes(&all), ["First 2 1 2 x", "Healed 1 1 1 -"]);
    assert_eq!(all.failing_since, None);
}

#[test]
fn only_the_latest_changes_are_kept() {
    let runs = (0..400).map(|n| if n % 2 == 0 { failed(n, n, "x") } else { run(n, n - 1, n) }).collect();
    let all = of(runs);
    assert_eq!((all.changes.len(), all.changes_cut, all.changes.last().unwrap().run), (100, true, RunId(399)));
}
