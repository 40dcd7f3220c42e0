//! Compares counts of missed instants with stepping through the instants one by one.

use std::time::{Duration, Instant};

use chrono_tz::{Europe::Berlin, Pacific::Apia, TZ_VARIANTS, Tz};
use proptest::prelude::*;

use super::*;
use crate::schedule::{Crontab, Timing};

const GRACE: Duration = Duration::from_secs(2);

fn s(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn at(text: &str) -> Timestamp {
    chrono::DateTime::parse_from_rfc3339(text).expect("an instant").to_utc().into()
}

fn cron(text: &str) -> Trigger {
    Trigger::Cron(Crontab::parse(text).unwrap())
}

fn plan(trigger: &Trigger, zone: Tz, catch_up: CatchUp) -> Plan<'_> {
    Plan { trigger, zone, timing: Timing::default(), catch_up, seed: 0 }
}

fn missed(due: &Due) -> u64 {
    due.left_out + due.made_up as u64
}

#[test]
fn a_host_that_was_down_for_two_hours_missed_the_minutes_between_its_last_run_and_its_return() {
    let down = at("2027-03-01T02:00:00Z");
    for trigger in [cron("* * * * *"), Trigger::Every(Duration::from_secs(60))] {
        for (catch_up, made_up) in [(CatchUp::None, 0), (CatchUp::Latest, 1), (CatchUp::All(7), 7)] {
            let look = |cursor: Timestamp, now: Timestamp| {
                plan(&trigger, Tz::UTC, catch_up).due(Look { cursor: Some(cursor), now, grace: GRACE }, 0)
            };
            // The minute in which the host stopped had its run, and so has the minute in which it is back.
            let back = look(down, down.plus(Duration::from_secs(7200)));
            assert_eq!((missed(&back), back.made_up), (119, made_up), "{trigger:?} {catch_up:?}");
            assert_eq!(back.fire.last(), Some(&at("2027-03-01T04:00:00Z")));
            assert_eq!(back.missed_since, Some(at("2027-03-01T02:01:00Z")));
            // The host stopped before that minute came, or is back too late for its own.
            assert_eq!(missed(&look(down.minus(MILLISECOND), down.plus(Duration::from_secs(7200)))), 120);
            let late = look(down, down.plus(Duration::from_secs(7203)));
            assert_eq!((missed(&late), late.fire.len()), (120, made_up), "{trigger:?} {catch_up:?}");
        }
    }
}

#[test]
fn a_year_of_missed_minutes_is_counted_exactly_and_at_once() {
    let (from, to) = (at("2027-03-01T02:00:30Z"), at("2028-02-29T02:00:30Z"));
    for zone in [Tz::UTC, Berlin, Apia] {
        let minutes = cron("* * * * *");
        let look = Look { cursor: Some(from), now: to, grace: GRACE };

        let began = Instant::now();
        let due = plan(&minutes, zone, CatchUp::Latest).due(look, 0);

        assert_eq!((missed(&due), due.uncounted), (525_600, false), "{zone}");
        assert_eq!(due.left_out_until, Some(at("2028-02-29T01:59:00Z")));
        // Stepping through them took a second.
        assert!(began.elapsed() < Duration::from_millis(300), "{:?}", began.elapsed());
    }
}

#[test]
fn a_count_that_is_too_large_is_reported_as_a_lower_bound() {
    let century = 100 * 366 * 24 * 3600;

    let due = plan(&cron("* * * * *"), Tz::UTC, CatchUp::Latest)
        .due(Look { cursor: Some(s(0)), now: s(century), grace: GRACE }, 0);

    assert!(due.uncounted && due.left_out > 26_000_000, "{due:?}");
    assert_eq!(due.fire.len(), 2, "{due:?}");
}

#[test]
fn a_day_that_a_zone_skipped_is_not_a_missed_instant() {
    let daily = Trigger::Every(Duration::from_secs(86_400));
    let start = Some(at("2011-12-20T00:00:00-10:00"));
    let timing = Timing { start, ..Timing::default() };
    let plan = Plan { timing, ..plan(&daily, Apia, CatchUp::All(9)) };

    // Samoa had no 30th of December, so one of the days from the 28th to the 3rd is missing.
    let look =
        Look { cursor: Some(at("2011-12-27T12:00:00-10:00")), now: at("2012-01-03T12:00:00+14:00"), grace: GRACE };
    let due = plan.due(look, 0);

    assert_eq!((missed(&due), due.fire.len()), (6, 6), "{due:?}");
}

/// Crontabs that follow the clock, that do not, with seconds, and with counted days.
fn crontab() -> impl Strategy<Value = Crontab> {
    let minutes = ["* * * * *", "*/7 * * * *", "0 * * * *", "30 2 * * *", "0-59 0-23 * * *", "0,30 1-3 * * sunL"];
    let more = ["*/10 2 * * *", "17 3 1,15 * fri", "0 0 L * *", "15 10 * 2 *", "59 23 31 12 *"];
    let seconds = ["30 */15 * * * *", "*/20 0-59 1-3 * * *", "0 30 2 * * *", "*/30 * * 1 * *"];
    let five = prop::sample::select([&minutes[..], &more[..]].concat()).prop_map(|t| Crontab::parse(t).unwrap());
    let six = prop::sample::select(seconds.to_vec()).prop_map(|t| Crontab::parse_with_seconds(t).unwrap());
    let dst = prop::sample::select(&[super::super::Dst::Vixie, super::super::Dst::Skip, super::super::Dst::Utc][..]);
    (prop_oneof![3 => five, 1 => six], dst).prop_map(|(crontab, dst)| crontab.with_dst(dst))
}

/// Zones whose clocks are set in odd ways, and all others.
fn any_zone() -> impl Strategy<Value = Tz> {
    use chrono_tz::{Africa::Casablanca, America::Havana, Australia::Lord_Howe};
    let odd = prop::sample::select(&[Berlin, Apia, Casablanca, Havana, Lord_Howe, Tz::UTC][..]);
    prop_oneof![odd, prop::sample::select(&TZ_VARIANTS[..])]
}

/// A stretch that begins between 1900 and 2040 and lasts up to three months, so that clock changes lie within it.
fn stretch() -> impl Strategy<Value = (Timestamp, Timestamp)> {
    let from = prop_oneof![3 => 0_i64..2_200_000_000, 1 => -2_200_000_000_i64..0];
    (from, prop_oneof![0_i64..100_000, 0_i64..8_000_000], 0_u64..1000).prop_map(|(from, length, ms)| {
        let from = s(from).plus(Duration::from_millis(ms));
        (from, from.plus(Duration::from_secs(length.unsigned_abs())))
    })
}

fn naive(plan: &Plan<'_>, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let next = |after: Timestamp| plan.next_after(after).filter(|at| *at <= to);
    std::iter::successors(next(from), |at| next(*at)).collect()
}

proptest! {
    #[test]
    fn count_returns_the_number_of_instants_of_a_crontab(
        crontab in crontab(), zone in any_zone(), (from, to) in stretch(),
    ) {
        let trigger = Trigger::Cron(crontab.clone());
        let all = naive(&plan(&trigger, zone, CatchUp::None), from, to);

        let count = crontab.count(zone, from, to);

        prop_assert!(count.complete);
        prop_assert_eq!(count.instants, all.len() as u64, "{} {} {} {}", crontab, zone, from, to);
    }

    #[test]
    fn missed_instants_are_those_found_one_by_one(
        crontab in prop::option::weighted(0.7, crontab()),
        step in prop::sample::select(&[60_u64, 420, 3600, 86_400, 14 * 86_400][..]),
        started in any::<bool>(),
        zone in any_zone(),
        catch_up in prop::sample::select(&[CatchUp::None, CatchUp::Latest, CatchUp::All(3), CatchUp::All(1000)][..]),
        within in prop::option::weighted(0.3, 0_u64..2_000_000),
        (from, now) in stretch(),
    ) {
        let trigger = crontab.map_or(Trigger::Every(Duration::from_secs(step)), Trigger::Cron);
        let start = started.then(|| from.minus(Duration::from_secs(100_003)));
        let within = within.map(Duration::from_secs);
        let timing = Timing { catch_up_within: within, start, ..Timing::default() };
        let plan = Plan { timing, ..plan(&trigger, zone, catch_up) };
        let all = naive(&plan, from, now);
        let (late, on_time): (Vec<_>, Vec<_>) = all.into_iter().partition(|at| *at < now.minus(GRACE));
        let wanted = match catch_up { CatchUp::None => 0, CatchUp::Latest => 1, CatchUp::All(most) => most as usize };
        let recent = late.iter().filter(|at| within.is_none_or(|within| **at >= now.minus(within))).count();
        let (left_out, made_up) = late.split_at(late.len() - wanted.min(recent));

        let due = plan.due(Look { cursor: Some(from), now, grace: GRACE }, 0);

        prop_assert!(!due.uncounted);
        prop_assert_eq!(&due.fire[..due.made_up], made_up);
        prop_assert_eq!(&due.fire[due.made_up..], &on_time[..]);
        prop_assert_eq!(due.left_out, left_out.len() as u64, "{:?} {} {} {}", trigger, zone, from, now);
        prop_assert_eq!(due.missed_since, late.first().copied());
        prop_assert_eq!(due.left_out_until, left_out.last().copied());
    }
}
