use std::time::Duration;

use super::*;
use crate::schedule::{Crontab, Timing};
use chrono_tz::Tz;

const GRACE: Duration = Duration::from_secs(1);

fn s(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn look(cursor: impl Into<Option<i64>>, now: Timestamp) -> Look {
    Look { cursor: cursor.into().map(s), now, grace: GRACE }
}

fn every(seconds: u64) -> Trigger {
    Trigger::Every(Duration::from_secs(seconds))
}

fn cron(text: &str) -> Trigger {
    Trigger::Cron(Crontab::parse(text).unwrap())
}

impl Trigger {
    /// Returns the due instants of a plan that has only a trigger.
    fn due(&self, zone: Tz, look: Look, catch_up: CatchUp) -> Due {
        Plan { trigger: self, zone, timing: Timing::default(), catch_up, seed: 0 }.due(look, 0)
    }
}

#[test]
fn an_instant_that_has_just_come_is_run_under_every_catch_up_policy() {
    for catch_up in [CatchUp::None, CatchUp::Latest, CatchUp::All(5)] {
        let due = every(10).due(Tz::UTC, look(90, Timestamp::from_millis(100_900)), catch_up);

        assert_eq!(due.fire, [s(100)]);
        assert_eq!((due.left_out, due.next), (0, Some(s(110))));
    }
}

#[test]
fn missed_instants_are_treated_by_the_catch_up_policy() {
    let table: [(CatchUp, &[i64], u64); 5] = [
        (CatchUp::None, &[150], 5),
        (CatchUp::Latest, &[140, 150], 4),
        (CatchUp::All(2), &[130, 140, 150], 3),
        (CatchUp::All(5), &[100, 110, 120, 130, 140, 150], 0),
        (CatchUp::All(1000), &[100, 110, 120, 130, 140, 150], 0),
    ];
    for (catch_up, fire, left_out) in table {
        let due = every(10).due(Tz::UTC, look(90, s(150)), catch_up);

        assert_eq!(due.fire, fire.iter().map(|at| s(*at)).collect::<Vec<_>>(), "{catch_up:?}");
        assert_eq!((due.left_out, due.uncounted, due.cursor), (left_out, false, s(150)), "{catch_up:?}");
    }
}

#[test]
fn a_crontab_of_every_second_catches_up_like_an_interval() {
    let each_second = Trigger::Cron(Crontab::parse_with_seconds("* * * * * *").unwrap());
    for catch_up in [CatchUp::None, CatchUp::Latest, CatchUp::All(3), CatchUp::All(1000)] {
        for now in [s(6000), Timestamp::from_millis(6_000_999), s(12_000), s(604_800)] {
            let [ours, theirs] = [&each_second, &every(1)].map(|t| t.due(Tz::UTC, look(3000, now), catch_up));
            assert_eq!(ours, theirs, "{catch_up:?} at {now}");
        }
    }
}

#[test]
fn a_crontab_catches_up_like_an_interval() {
    let minutely = cron("* * * * *");
    for catch_up in [CatchUp::None, CatchUp::Latest, CatchUp::All(3), CatchUp::All(1000)] {
        for now in [s(6000), s(6001), s(6002), s(6059)] {
            let [ours, theirs] = [&minutely, &every(60)].map(|t| t.due(Tz::UTC, look(3000, now), catch_up));
            assert_eq!(ours, theirs, "{catch_up:?} at {now}");
        }
    }
}

#[test]
fn a_task_seen_for_the_first_time_starts_from_now() {
    let due = every(10).due(Tz::UTC, look(None, s(100)), CatchUp::All(1000));

    assert_eq!(due, Due { cursor: s(100), next: Some(s(110)), ..Due::default() });
}

#[test]
fn a_single_instant_that_passed_before_the_first_look_was_missed() {
    let at = Trigger::At(s(50));
    for (catch_up, fire, left_out) in [(CatchUp::None, vec![], 1), (CatchUp::Latest, vec![s(50)], 0)] {
        let due = at.due(Tz::UTC, look(None, s(100)), catch_up);
        assert_eq!((due.fire, due.left_out, due.next), (fire, left_out, None), "{catch_up:?}");

        let again = at.due(Tz::UTC, look(100, s(101)), catch_up);
        assert_eq!((again.fire, again.left_out), (vec![], 0), "{catch_up:?}");
    }
    let on_time = at.due(Tz::UTC, look(None, s(50)), CatchUp::None);
    assert_eq!(on_time.fire, [s(50)]);
    let early = at.due(Tz::UTC, look(None, s(49)), CatchUp::None);
    assert_eq!((early.fire, early.next), (vec![], Some(s(50))));
}

#[test]
fn a_year_of_missed_seconds_is_counted_not_walked() {
    let year = 366 * 24 * 3600;

    let due = every(1).due(Tz::UTC, look(0, s(year)), CatchUp::All(3));

    assert_eq!(due.fire, [s(year - 4), s(year - 3), s(year - 2), s(year - 1), s(year)]);
    assert_eq!((due.left_out, due.uncounted), (year as u64 - 5, false));
}

#[test]
fn a_year_of_missed_minutes_gives_the_latest_and_the_sum_of_all() {
    let year = 366 * 24 * 3600;

    let due = cron("* * * * *").due(Tz::UTC, look(0, s(year)), CatchUp::All(100));

    let expected: Vec<_> = (0..=100).rev().map(|n| s(year - n * 60)).collect();
    assert_eq!(due.fire, expected);
    // All minutes except those that are made up for and the one that is on time.
    assert_eq!((due.left_out, due.uncounted), (366 * 24 * 60 - 101, false));
}

#[test]
fn too_many_missed_minutes_that_ended_long_ago_are_found() {
    // Every minute of January, for a look in December.
    let december = 340 * 24 * 3600;

    let due = cron("* * * 1 *").due(Tz::UTC, look(0, s(december)), CatchUp::Latest);

    assert_eq!(due.fire, [s(31 * 24 * 3600 - 60)]);
}

#[test]
fn a_clock_that_was_set_back_runs_nothing_twice() {
    for trigger in [every(10), cron("* * * * *"), Trigger::At(s(70))] {
        let due = trigger.due(Tz::UTC, look(1000, s(400)), CatchUp::All(1000));

        assert_eq!((due.fire, due.left_out, due.cursor), (vec![], 0, s(1000)), "{trigger:?}");
        assert_eq!(due.behind, Duration::from_secs(600));
        assert!(due.next.is_none_or(|next| next > s(1000)), "{trigger:?}");
    }
}

#[test]
fn looks_one_after_another_run_every_instant_once() {
    // Uneven looks, with the clock set back now and then. If everything is caught up, each instant comes exactly once.
    let trigger = every(7);
    let (mut cursor, mut ran) = (s(0), Vec::new());
    for now in [1, 7, 8, 30, 12, 29, 31, 90, 50, 95, 200] {
        let due = trigger.due(Tz::UTC, Look { cursor: Some(cursor), now: s(now), grace: GRACE }, CatchUp::All(1000));
        ran.extend(due.fire);
        cursor = due.cursor;
    }
    assert_eq!(ran, (1..=28).map(|n| s(n * 7)).collect::<Vec<_>>());
}

#[test]
fn a_task_without_schedule_is_never_due() {
    for trigger in [Trigger::OnDemand, Trigger::OnStart] {
        let due = trigger.due(Tz::UTC, look(0, s(100)), CatchUp::All(1000));
        assert_eq!(due, Due { cursor: s(100), ..Due::default() });
    }
}

#[test]
fn the_ends_of_time_do_not_panic() {
    for trigger in [every(1), cron("@daily"), Trigger::At(Timestamp::from_millis(i64::MIN))] {
        for cursor in [i64::MIN, 0, i64::MAX] {
            for now in [i64::MIN, 0, i64::MAX] {
                let look = Look {
                    cursor: Some(Timestamp::from_millis(cursor)),
                    now: Timestamp::from_millis(now),
                    grace: Duration::MAX,
                };
                let _ = trigger.due(Tz::UTC, look, CatchUp::Latest);
            }
        }
    }
}

#[test]
fn a_report_of_missed_instants_counts_those_that_were_caught_up() {
    for (catch_up, made_up) in [(CatchUp::None, 0), (CatchUp::Latest, 1), (CatchUp::All(2), 2), (CatchUp::All(9), 5)] {
        let due = every(10).due(Tz::UTC, look(90, s(150)), catch_up);
        assert_eq!((due.made_up, due.missed_since), (made_up, Some(s(100))), "{catch_up:?}");
    }
    let on_time = every(10).due(Tz::UTC, look(90, s(100)), CatchUp::All(9));
    assert_eq!((on_time.made_up, on_time.missed_since), (0, None));
}

#[test]
fn instants_missed_too_long_ago_are_not_caught_up() {
    let trigger = every(10);
    let timing = Timing { catch_up_within: Some(Duration::from_secs(20)), ..Timing::default() };
    let plan = Plan { trigger: &trigger, zone: Tz::UTC, timing, catch_up: CatchUp::All(9), seed: 0 };

    let due = plan.due(look(90, s(150)), 0);

    assert_eq!(due.fire, [130, 140, 150].map(s));
    assert_eq!((due.made_up, due.left_out), (2, 3));
}

#[test]
fn an_instant_to_come_is_not_taken_for_the_cursor() {
    let early = Trigger::At(s(500)).due(Tz::UTC, look(None, s(49)), CatchUp::Latest);

    assert_eq!((early.cursor, early.behind, early.next), (s(49), Duration::ZERO, Some(s(500))));
}

#[test]
fn an_instant_that_waits_for_its_jitter_is_run_once_when_that_is_over() {
    let trigger = every(10);
    let timing = Timing { jitter: Duration::from_secs(9), ..Timing::default() };
    let plan = Plan { trigger: &trigger, zone: Tz::UTC, timing, catch_up: CatchUp::None, seed: 7 };
    let (mut cursor, mut ran, mut late) = (s(0), Vec::new(), 0);

    for now in (1..=300).map(s) {
        let due = plan.due(Look { cursor: Some(cursor), now, grace: GRACE }, 0);
        late += due.fire.iter().filter(|at| **at != now).count();
        ran.extend(due.fire);
        cursor = due.cursor;
    }

    // The last one or two may still wait.
    let all: Vec<_> = (1..=30).map(|n| s(n * 10)).collect();
    assert!(ran.len() >= 29 && all.starts_with(&ran), "{ran:?}");
    assert!(late > 20, "{late} of {} were shifted", ran.len());
}

#[test]
fn a_cursor_further_ahead_than_people_set_clocks_back_is_of_a_wrong_clock() {
    let now = s(1_000_000);
    let due = |cursor| every(10).due(Tz::UTC, Look { cursor: Some(cursor), now, grace: GRACE }, CatchUp::None);
    let furthest = now.plus(Duration::from_secs(2 * 24 * 3600));

    let waited_for = due(furthest);
    let wrong = due(furthest.plus(MILLISECOND));

    assert_eq!((waited_for.cursor, waited_for.behind), (furthest, Duration::from_secs(172_800)));
    assert_eq!(wrong, Due { cursor: now, next: Some(s(1_000_010)), ..Due::default() }, "it goes on from now");
}

#[test]
fn an_instant_is_on_time_for_as_long_as_the_grace_after_its_start_and_for_a_minute_at_most() {
    let trigger = every(3600);
    let second = Duration::from_secs(1);
    let timing = Timing { delay: 2 * second, spread: 60 * second, jitter: 600 * second, ..Timing::default() };
    let plan = Plan { trigger: &trigger, zone: Tz::UTC, timing, catch_up: CatchUp::None, seed: 7 };
    for (grace, lasts) in [(GRACE, GRACE), (60 * second, 60 * second), (Duration::MAX, 60 * second)] {
        for at in (1..50).map(|n| s(n * 3600)) {
            let last = plan.start_of(at).plus(lasts);
            let due = |now| plan.due(Look { cursor: Some(at.minus(MILLISECOND)), now, grace }, 0);

            let (early, first) = (due(plan.start_of(at).minus(MILLISECOND)), due(plan.start_of(at)));
            assert_eq!((early.fire, early.cursor < at, early.next), (vec![], true, Some(plan.start_of(at))));
            assert_eq!((first.fire, due(last).fire), (vec![at], vec![at]), "{at} with {grace:?}");
            let late = due(last.plus(MILLISECOND));
            assert_eq!((late.fire, late.left_out, late.missed_since), (vec![], 1, Some(at)), "{at} with {grace:?}");
        }
    }
}

#[test]
fn a_run_that_waited_for_one_before_it_is_on_time_with_that() {
    let trigger = every(1);
    let timing = Timing { jitter: Duration::from_secs(20), ..Timing::default() };
    let plan = Plan { trigger: &trigger, zone: Tz::UTC, timing, catch_up: CatchUp::None, seed: 7 };
    let overtaken = (1..1000).map(s).find(|at| plan.start_of(*at).since(plan.start_of(at.plus(GRACE))) > 5 * GRACE);
    let (first, second) = overtaken.map(|at| (at, at.plus(GRACE))).expect("jitter brings two of them out of order");

    let now = plan.start_of(first);
    let due = plan.due(Look { cursor: Some(first.minus(MILLISECOND)), now, grace: GRACE }, 0);

    assert_eq!((&due.fire[..2], due.left_out), (&[first, second][..], 0));
}

#[test]
fn more_runs_than_one_look_takes_are_made_by_the_looks_after_it() {
    // With a hundred days of jitter, minutes go by in which almost no instant has a run that is still to start.
    let trigger = Trigger::Every(Duration::from_millis(10));
    let timing = Timing { jitter: Duration::from_secs(100 * 24 * 3600), ..Timing::default() };
    let plan = Plan { trigger: &trigger, zone: Tz::UTC, timing, catch_up: CatchUp::All(u32::MAX), seed: 7 };
    let (from, now) = (s(0), s(100 * 24 * 3600 + 50));
    let look = |cursor| plan.due(Look { cursor: Some(cursor), now, grace: LONGEST_GRACE }, 0);

    let first = look(from);
    let second = look(first.cursor);

    assert_eq!(first.fire.len(), 10_000);
    assert_eq!((first.cursor, first.left_out), (first.fire[9999].plus(Duration::from_millis(9)), 0));
    assert_eq!(second.fire[0], first.fire[9999].plus(Duration::from_millis(10)), "none is left out between them");
}

#[test]
fn a_schedule_makes_no_more_of_what_was_missed_than_it_has_runs_left() {
    let trigger = every(10);
    let timing = Timing { times: Some(5), ..Timing::default() };
    let plan = Plan { trigger: &trigger, zone: Tz::UTC, timing, catch_up: CatchUp::All(9), seed: 0 };
    let made = |fired| {
        let due = plan.due(look(90, s(150)), fired);
        (due.fire, due.made_up)
    };

    assert_eq!(made(0), ([100, 110, 120, 130, 140].map(s).to_vec(), 5));
    assert_eq!(made(3), ([100, 110].map(s).to_vec(), 2));
    assert_eq!(made(5), (vec![], 0));
    let done = plan.due(look(90, s(150)), 5);
    assert_eq!((done.cursor, done.next, done.missed_since), (s(150), None, None));
}

#[test]
fn nothing_was_missed_before_a_start_or_after_an_end() {
    let trigger = every(10);
    let timing = Timing { start: Some(s(120)), end: Some(s(140)), ..Timing::default() };
    let plan = Plan { trigger: &trigger, zone: Tz::UTC, timing, catch_up: CatchUp::All(9), seed: 0 };

    let long_after = plan.due(look(0, s(1000)), 0);
    let before = plan.due(look(0, s(119)), 0);

    assert_eq!((long_after.fire, long_after.left_out, long_after.next), ([120, 130, 140].map(s).to_vec(), 0, None));
    assert_eq!(long_after.missed_since, Some(s(120)));
    assert_eq!((before.fire, before.next), (vec![], Some(s(120))));
}
