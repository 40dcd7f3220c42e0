//! Tests a good history, and the same with one fault each.

use super::*;

const LEASE: i64 = 2000;

fn row(state: i64, attempt: i64, fence: Option<i64>, host: &str, lease_until: Option<i64>) -> Row {
    Row { state, attempt, fence, host: host.to_owned(), lease_until }
}

/// Builds a history, a transaction at a time.
struct HistoryBuilder {
    history: History,
    now: i64,
    rows: BTreeMap<i64, Row>,
}

impl HistoryBuilder {
    fn new() -> Self {
        Self { history: History { every: 1000, ..History::default() }, now: 0, rows: BTreeMap::new() }
    }

    fn change(&mut self, writer: &str, run: i64, after: Row) {
        let (at, tx, writer) = (self.now, self.now, writer.to_owned());
        let before = self.rows.insert(run, after.clone());
        self.history.changes.push(Change { at, tx, writer, run, before, after: Some(after) });
    }

    /// Moves the row to another partition with its change.
    fn moves(&mut self, writer: &str, run: i64, after: Row) {
        self.change(writer, run, after);
        let whole = self.history.changes.pop().expect("it was just told");
        self.history.changes.push(Change { after: None, ..whole.clone() });
        self.history.changes.push(Change { before: None, ..whole });
    }

    fn makes(&mut self, run: i64, task: &str, due_at: i64) {
        self.now += 1;
        self.change("a", run, row(0, 0, None, "", None));
        self.history.finals.push(Final { run, task: task.to_owned(), due_at, state: 0 });
        if task != BEAT {
            self.history.asked.insert(run);
        }
    }

    fn claims(&mut self, host: &str, run: i64, fence: i64) {
        self.now += 1;
        let attempt = self.rows[&run].attempt + 1;
        self.change(host, run, row(RUNNING, attempt, Some(fence), host, Some(self.now + LEASE)));
    }

    /// Has the guest take a lock and contact the server outside.
    fn acts(&mut self, run: i64, fence: i64) {
        self.history.effects.push(Effect { run, attempt: self.rows[&run].attempt, fence });
        self.history.counted += 1;
    }

    /// Has `writer` end the attempt, which leaves the run in `state`.
    fn ends(&mut self, writer: &str, run: i64, outcome: i64, state: i64) {
        self.now += 1;
        let (tx, Row { attempt, fence, host, .. }) = (self.now, self.rows[&run].clone());
        let fence = fence.expect("it was claimed");
        self.history.written.push(Written { tx, run, attempt, fence, outcome, gone: false });
        let after = row(state, attempt, Some(fence), &host, None);
        if state >= SUCCEEDED {
            for earlier in 1..attempt {
                for gone in [true, false] {
                    self.history.written.push(Written { tx, run, attempt: earlier, fence, outcome, gone });
                }
            }
            self.moves(writer, run, after);
        } else {
            self.change(writer, run, after);
        }
        for last in self.history.finals.iter_mut().filter(|last| last.run == run) {
            last.state = state;
        }
    }
}

/// Builds a good history. Run 1 succeeds on `a`. Run 2 is lost by `a`, swept by `b`, and succeeds there. `a` gives back
/// run 3 when it restarts. Runs 4 and 5 are made by a schedule.
fn good() -> HistoryBuilder {
    let mut teller = HistoryBuilder::new();
    teller.makes(1, "errand", 0);
    teller.makes(2, "errand", 0);
    teller.claims("a", 1, 10);
    teller.claims("a", 2, 11);
    teller.acts(1, 12);
    teller.acts(2, 13);
    teller.ends("a", 1, 0, SUCCEEDED);
    teller.now += LEASE;
    teller.ends("b", 2, LOST, 0);
    teller.claims("b", 2, 14);
    teller.acts(2, 15);
    teller.ends("b", 2, 0, SUCCEEDED);
    teller.makes(3, "errand", 0);
    teller.claims("a", 3, 16);
    teller.rows.get_mut(&3).expect("it was made").lease_until = Some(i64::MIN);
    teller.ends("c", 3, LOST, 0);
    teller.claims("c", 3, 17);
    teller.acts(3, 18);
    teller.ends("c", 3, 0, SUCCEEDED);
    for (run, due_at, fence) in [(4, 1000, 20), (5, 2000, 30)] {
        teller.makes(run, BEAT, due_at);
        teller.claims("b", run, fence);
        teller.acts(run, fence + 1);
        teller.ends("b", run, 0, SUCCEEDED);
    }
    teller
}

/// Returns the rules that a history breaks.
fn broken(history: &History) -> Vec<Rule> {
    let found = check(history);
    Rule::ALL.into_iter().filter(|rule| found.iter().any(|violation| violation.rule == *rule)).collect()
}

/// Returns the rules that the good history breaks with one thing changed.
fn broken_by(change: impl FnOnce(&mut History)) -> Vec<Rule> {
    let mut history = good().history;
    change(&mut history);
    broken(&history)
}

/// Returns the rules that it breaks if it continues like this.
fn broken_when(goes_on: impl FnOnce(&mut HistoryBuilder)) -> Vec<Rule> {
    let mut teller = good();
    goes_on(&mut teller);
    broken(&teller.history)
}

/// Adds a run that is claimed by `a` to the good history.
fn claimed(teller: &mut HistoryBuilder) {
    teller.makes(6, "errand", 0);
    teller.claims("a", 6, 40);
    teller.acts(6, 41);
}

#[test]
fn a_history_of_losses_burials_and_moved_rows_breaks_no_rule() {
    let found = check(&good().history);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_run_that_is_not_over_in_the_end_is_found_whether_it_waits_or_runs() {
    assert_eq!(broken_when(|teller| teller.makes(6, "errand", 0)), [Rule::EndsOnce]);
    let runs = broken_when(|teller| {
        claimed(teller);
        teller.history.finals.last_mut().expect("it was made").state = RUNNING;
    });
    assert_eq!(runs, [Rule::EndsOnce]);
    assert_eq!(
        broken_by(|history| {
            history.asked.insert(99);
        }),
        [Rule::EndsOnce]
    );
}

#[test]
fn a_run_that_continues_after_its_end_is_detected() {
    let found = broken_when(|teller| {
        teller.claims("b", 1, 50);
        teller.ends("b", 1, 0, SUCCEEDED);
    });
    assert_eq!(found, [Rule::EndsOnce, Rule::StaysOver]);
}

#[test]
fn a_run_that_failed_or_was_cancelled_without_a_request_is_found() {
    for state in [FAILED, FAILED + 1] {
        let found = broken_when(|teller| {
            claimed(teller);
            teller.ends("a", 6, 1, state);
        });
        assert_eq!(found, [Rule::Succeeds]);
    }
}

#[test]
fn an_effect_or_a_count_that_is_missing_is_found() {
    assert_eq!(broken_by(|history| history.effects.retain(|effect| effect.run != 1)), [Rule::EffectHappens]);
    assert_eq!(broken_by(|history| history.counted = 4), [Rule::CountHappens]);
}

#[test]
fn two_claims_with_one_fence_are_found() {
    let found = broken_when(|teller| {
        teller.makes(6, "errand", 0);
        teller.claims("b", 6, 17);
        teller.acts(6, 41);
        teller.ends("b", 6, 0, SUCCEEDED);
    });
    assert_eq!(found, [Rule::FenceOnce]);
}

#[test]
fn a_fence_that_does_not_grow_is_found() {
    let again = |fence| {
        broken_when(|teller| {
            claimed(teller);
            teller.ends("a", 6, 1, 0);
            teller.claims("b", 6, fence);
            teller.ends("b", 6, 0, SUCCEEDED);
        })
    };
    assert_eq!(again(39), [Rule::FenceGrows]);
    assert_eq!(again(40), [Rule::FenceOnce, Rule::FenceGrows]);
    assert_eq!(again(42), []);
}

#[test]
fn a_claim_beside_one_that_is_alive_is_found() {
    let found = broken_when(|teller| {
        claimed(teller);
        teller.claims("b", 6, 42);
        teller.ends("b", 6, 0, SUCCEEDED);
    });
    assert_eq!(found, [Rule::OneClaim]);
}

#[test]
fn an_end_by_a_claim_that_is_not_the_latest_is_found() {
    // The attempt was swept and repeated on `b`; then `a` writes its outcome.
    let late = |changed: fn(&mut Written)| {
        broken_when(|teller| {
            claimed(teller);
            teller.now += LEASE;
            teller.ends("b", 6, LOST, 0);
            teller.claims("b", 6, 42);
            teller.ends("a", 6, 0, SUCCEEDED);
            let own = teller.history.written.iter_mut().find(|row| row.run == 6 && row.attempt == 2);
            changed(own.expect("it was just told"));
        })
    };
    assert_eq!(late(|_| {}), [Rule::LatestClaim], "by who wrote it");
    assert_eq!(late(|row| row.fence = 40), [Rule::LatestClaim], "by its fence");
    // The same, with the same host in between, so that only the written rows show it.
    let found = broken_when(|teller| {
        claimed(teller);
        teller.ends("a", 6, 1, 0);
        teller.claims("a", 6, 42);
        teller.ends("a", 6, 0, SUCCEEDED);
        let own = teller.history.written.iter_mut().find(|row| row.run == 6 && row.attempt == 2);
        own.expect("it was just told").attempt = 1;
    });
    assert!(found.contains(&Rule::LatestClaim), "{found:?}");
}

#[test]
fn a_burial_before_the_lease_was_over_is_found_and_one_right_after_is_not() {
    let buried = |after: i64| {
        broken_when(|teller| {
            claimed(teller);
            teller.now += after;
            teller.ends("b", 6, LOST, 0);
            teller.claims("b", 6, 42);
            teller.ends("b", 6, 0, SUCCEEDED);
        })
    };
    assert_eq!(buried(LEASE / 2), [Rule::LatestClaim]);
    assert_eq!(buried(LEASE), []);
}

#[test]
fn an_end_without_what_is_written_about_it_is_found() {
    assert_eq!(broken_by(|history| history.written.retain(|row| row.run != 1)), [Rule::LatestClaim]);
}

#[test]
fn an_attempt_that_was_written_twice_is_found() {
    let found = broken_by(|history| {
        let first = history.written[0].clone();
        history.written.push(Written { tx: 9999, ..first });
    });
    assert_eq!(found, [Rule::AttemptOnce]);
}

#[test]
fn two_holders_with_one_fence_are_found() {
    assert_eq!(broken_by(|history| history.effects[0].fence = history.effects[3].fence), [Rule::LockFenceOnce]);
}

#[test]
fn an_instant_that_has_two_runs_or_none_is_found() {
    let made = |due_at| {
        broken_when(|teller| {
            teller.makes(6, BEAT, due_at);
            teller.claims("a", 6, 40);
            teller.acts(6, 41);
            teller.ends("a", 6, 0, SUCCEEDED);
        })
    };
    assert_eq!(made(2000), [Rule::DueOnce]);
    assert_eq!(made(4000), [Rule::NoneMissing]);
    assert_eq!(made(3000), []);
}

#[test]
fn findings_of_others_are_reported_too() {
    let word = || vec!["in words".to_owned()];
    assert_eq!(broken_by(|history| history.locks = word()), [Rule::NoLockLeft]);
    assert_eq!(broken_by(|history| history.doubled = word()), [Rule::KeyOnce]);
    assert_eq!(broken_by(|history| history.fallen = word()), [Rule::HostsStay]);
}

#[test]
fn a_history_that_lacks_what_the_database_has_is_found() {
    let found = broken_by(|history| drop(history.changes.pop()));
    assert!(found.contains(&Rule::Whole), "{found:?}");
}
