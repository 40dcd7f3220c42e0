use chrono::{TimeZone, Utc};
use proptest::prelude::*;

use super::*;
use crate::schedule::walk::next_change;

fn crontab(text: &str) -> Crontab {
    Crontab::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn at(text: &str) -> Timestamp {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc).into()
}

/// The first `n` instants after `after`, in the zone's time.
fn first(text: &str, zone: Tz, after: &str, n: usize) -> Vec<String> {
    let crontab = crontab(text);
    let mut last = at(after);
    let next = || {
        last = crontab.next_after(zone, last)?;
        Some(last.to_utc().with_timezone(&zone).format("%a %F %H:%M %:z").to_string())
    };
    std::iter::from_fn(next).take(n).collect()
}

#[test]
fn fields_are_read_as_crontab_5_says() {
    let table: [(&str, &[&str]); 14] = [
        (
            "*/20 9 * * *",
            &["Thu 2026-01-01 09:00", "Thu 2026-01-01 09:20", "Thu 2026-01-01 09:40", "Fri 2026-01-02 09:00"],
        ),
        (
            "5-20/7,59 0 1 * *",
            &[
                "Thu 2026-01-01 00:05",
                "Thu 2026-01-01 00:12",
                "Thu 2026-01-01 00:19",
                "Thu 2026-01-01 00:59",
                "Sun 2026-02-01 00:05",
            ],
        ),
        // Both day fields restricted: either will do.
        (
            "0 0 13 * 5",
            &["Fri 2026-01-02 00:00", "Fri 2026-01-09 00:00", "Tue 2026-01-13 00:00", "Fri 2026-01-16 00:00"],
        ),
        // One of them begins with a star, even if it is `*/2`: both are needed.
        ("0 0 */2 * 1", &["Mon 2026-01-05 00:00", "Mon 2026-01-19 00:00", "Mon 2026-02-09 00:00"]),
        ("0 0 1-7 * */7", &["Sun 2026-01-04 00:00", "Sun 2026-02-01 00:00"]),
        ("0 0 * * 0", &["Sun 2026-01-04 00:00", "Sun 2026-01-11 00:00"]),
        ("0 0 * * 7", &["Sun 2026-01-04 00:00", "Sun 2026-01-11 00:00"]),
        ("0 0 * * 6-7", &["Sat 2026-01-03 00:00", "Sun 2026-01-04 00:00", "Sat 2026-01-10 00:00"]),
        (
            "0 0 * * 0-7/3",
            &["Sat 2026-01-03 00:00", "Sun 2026-01-04 00:00", "Wed 2026-01-07 00:00", "Sat 2026-01-10 00:00"],
        ),
        (
            "0 0 * * SUN-tUe",
            &["Sun 2026-01-04 00:00", "Mon 2026-01-05 00:00", "Tue 2026-01-06 00:00", "Sun 2026-01-11 00:00"],
        ),
        ("0 0 1 Feb,DEC *", &["Sun 2026-02-01 00:00", "Tue 2026-12-01 00:00"]),
        ("*/99 * 2 1 *", &["Fri 2026-01-02 00:00", "Fri 2026-01-02 01:00"]),
        (
            "0 0 29 2 */7",
            &["Sun 2032-02-29 00:00", "Sun 2060-02-29 00:00", "Sun 2088-02-29 00:00", "Sun 2128-02-29 00:00"],
        ),
        ("\t 07  007 * * * ", &["Thu 2026-01-01 07:07"]),
    ];
    for (text, expected) in table {
        let found = first(text, Tz::UTC, "2025-12-31T23:59:59.999Z", expected.len());
        let expected: Vec<String> = expected.iter().map(|at| format!("{at} +00:00")).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn macros_stand_for_their_fields() {
    for (name, fields) in MACROS {
        assert_eq!(crontab(name).calendar, crontab(fields).calendar, "{name}");
    }
}

#[test]
fn an_expression_is_shown_as_it_was_written() {
    for text in ["@daily", " 0  0 * * SUN"] {
        assert_eq!(crontab(text).to_string(), text);
    }
}

#[test]
fn an_error_points_at_the_field_and_says_what_is_allowed() {
    let table = [
        ("61 * * * *", "minute `61`: `61` is out of range; use 0-59, `*`, `a-b`, `*/n`, `a-b/n` or a list of them"),
        ("* 24 * * *", "hour `24`: `24` is out of range; use 0-23, `*`, `a-b`, `*/n`, `a-b/n` or a list of them"),
        ("* * 0 * *", "day-of-month `0`: `0` is out of range; use 1-31, `*`, `a-b`, `*/n`, `a-b/n` or a list of them"),
        (
            "* * * may-april *",
            "month `may-april`: `april` is no value; use 1-12, jan-dec, `*`, `a-b`, `*/n`, `a-b/n` or a list of them",
        ),
        (
            "* * * * fri-sun",
            "day-of-week `fri-sun`: `fri-sun` runs backwards; use 0-7 (0 and 7 are Sunday), sun-sat, `*`, `a-b`, `*/n`, `a-b/n` or a list of them",
        ),
        (
            "5/15 * * * *",
            "minute `5/15`: a step needs a range before it (`5-59/n` or `*/n`); use 0-59, `*`, `a-b`, `*/n`, `a-b/n` or a list of them",
        ),
        (
            "*/0 * * * *",
            "minute `*/0`: `0` is no step, which is 1 or more; use 0-59, `*`, `a-b`, `*/n`, `a-b/n` or a list of them",
        ),
        ("1,,2 * * * *", "minute `1,,2`: a value is missing; use 0-59, `*`, `a-b`, `*/n`, `a-b/n` or a list of them"),
        ("* ? * * *", "hour `?`: `?` is no value; use 0-23, `*`, `a-b`, `*/n`, `a-b/n` or a list of them"),
        ("* * * *", "`* * * *` has 4 fields, a crontab has five: minute hour day-of-month month day-of-week"),
        (
            "0 * * * * *",
            "`0 * * * * *` has 6 fields, a crontab has five: minute hour day-of-month month day-of-week (seconds and years are no part of it)",
        ),
        ("", "`` has 0 fields, a crontab has five: minute hour day-of-month month day-of-week"),
        (
            "@Daily",
            "`@Daily` is no crontab macro; use @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually",
        ),
        (
            "@reboot",
            "`@reboot` is no crontab macro; use @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually (for a run at every start: `on-start = true`)",
        ),
        ("0 0 31 2 *", "`0 0 31 2 *` never comes; use days that these months have"),
        ("0 0 30-31 feb */2", "`0 0 30-31 feb */2` never comes; use days that these months have"),
        ("0 0 31 4,6,9,11 *", "`0 0 31 4,6,9,11 *` never comes; use days that these months have"),
    ];
    for (text, expected) in table {
        assert_eq!(Crontab::parse(text).unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn a_day_of_the_week_makes_up_for_a_date_that_never_comes() {
    assert_eq!(first("0 0 31 2 1", Tz::UTC, "2026-01-30T00:00:00Z", 1), ["Mon 2026-02-02 00:00 +00:00"]);
}

/// What the guide on schedules promises, in one zone's spring and autumn.
#[test]
fn a_change_of_the_clock_is_treated_as_by_vixies_rule() {
    let berlin = Tz::Europe__Berlin;
    // Spring: 02:00 becomes 03:00. A fixed-time job in the gap runs right after it, a wildcard job follows the clock.
    assert_eq!(
        first("30 2 * * *", berlin, "2026-03-28T12:00:00Z", 2),
        ["Sun 2026-03-29 03:00 +02:00", "Mon 2026-03-30 02:30 +02:00"]
    );
    assert_eq!(
        first("*/30 * * * *", berlin, "2026-03-29T00:00:00Z", 3),
        ["Sun 2026-03-29 01:30 +01:00", "Sun 2026-03-29 03:00 +02:00", "Sun 2026-03-29 03:30 +02:00"]
    );
    // Autumn: 03:00 becomes 02:00. A fixed-time job is not repeated, a wildcard job follows the clock.
    assert_eq!(
        first("30 2 * * *", berlin, "2026-10-24T12:00:00Z", 2),
        ["Sun 2026-10-25 02:30 +02:00", "Mon 2026-10-26 02:30 +01:00"]
    );
    assert_eq!(
        first("30 * * * *", berlin, "2026-10-24T23:45:00Z", 3),
        ["Sun 2026-10-25 02:30 +02:00", "Sun 2026-10-25 02:30 +01:00", "Sun 2026-10-25 03:30 +01:00"]
    );
    // Asked in the hour that comes a second time, a fixed-time job is known to have run.
    assert_eq!(first("30 2 * * *", berlin, "2026-10-25T01:10:00Z", 1), ["Mon 2026-10-26 02:30 +01:00"]);
}

/// The bits against the `cron` crate's own search, where that goes by the same rule (both day fields needed).
#[test]
fn the_calendar_agrees_with_the_cron_crate() {
    let texts = [
        "*/7 */5 * * *",
        "0 0 29 2 *",
        "15,45 3-9/2 1-15 */2 *",
        "59 23 31 * */3",
        "1 1 * jan-mar 0",
        "0 12 */10 * 1-7/2",
    ];
    for text in texts {
        let fields: Vec<&str> = text.split(' ').collect();
        let schedule = Schedule::from_str(&translate(fields.try_into().unwrap()).unwrap()).unwrap();
        let start = Utc.with_ymd_and_hms(2023, 12, 31, 23, 59, 0).unwrap();

        let theirs = schedule.after(&start).take(500).take_while(|at| at.timestamp() < 4_000_000_000);
        let mut last = start.timestamp() / 60;
        for theirs in theirs {
            last = crontab(text).calendar.next_after(last).unwrap();
            assert_eq!(last * 60, theirs.timestamp(), "{text}: {theirs}");
        }
    }
}

#[test]
fn instants_beyond_the_calendar_are_none_rather_than_a_panic() {
    let daily = crontab("@daily");
    for ms in [i64::MAX, i64::MAX / 2, i64::MIN, 8_210_266_876_799_999] {
        let next = daily.next_after(Tz::America__New_York, Timestamp::from_millis(ms));
        assert!(next.is_none_or(|next| next.as_millis() > ms), "{ms}: {next:?}");
    }
}

fn any_zone() -> impl Strategy<Value = Tz> {
    prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec())
}

fn any_expression() -> impl Strategy<Value = String> {
    let item = |values: &'static str| proptest::string::string_regex(values).unwrap();
    let minute = item(r"(\*|\*/[1-9]|[0-5]?[0-9](,[0-5]?[0-9]){0,3}|[0-2]?[0-9]-[3-5][0-9](/[1-9])?)");
    let hour = item(r"(\*|\*/[1-9]|1?[0-9](,1?[0-9]){0,3}|[0-9]-1[0-9](/[1-9])?)");
    let day = item(r"(\*|\*/[1-9]|1?[1-9](,2[0-9]){0,2}|[1-9]-[12][0-9](/[1-9])?)");
    let month = item(r"(\*|\*/[1-9]|[1-9]|jan,1[0-2]|[1-5]-[6-9])");
    let weekday = item(r"(\*|\*/[1-7]|[0-7]|mon-fri|[0-3]-[4-7](/[1-3])?)");
    (minute, hour, day, month, weekday).prop_map(|(a, b, c, d, e)| format!("{a} {b} {c} {d} {e}"))
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[*/,0-9a-z@ \t\\-]{0,40}", other in ".{0,60}") {
        let _ = Crontab::parse(&text);
        let _ = Crontab::parse(&other);
    }

    #[test]
    fn every_well_formed_expression_is_read(text in any_expression()) {
        let read = Crontab::parse(&text);
        prop_assert!(matches!(read, Ok(_) | Err(BadCrontab::Never(_))), "{read:?}");
    }

    #[test]
    fn next_after_only_ever_grows(text in any_expression(), zone in any_zone(), start in -1_000_000_000_000_i64..4_000_000_000_000) {
        let Ok(crontab) = Crontab::parse(&text) else { return Ok(()) };
        let mut last = Timestamp::from_millis(start);
        for _ in 0..50 {
            let Some(next) = crontab.next_after(zone, last) else { break };
            prop_assert!(next > last);
            // Whoever asks in between gets the same answer: nothing depends on where one starts.
            let middle = Timestamp::from_millis(last.as_millis() + (next.as_millis() - last.as_millis()) / 2);
            prop_assert_eq!(crontab.next_after(zone, middle), Some(next), "{} after {}", zone, middle);
            last = next;
        }
    }
}

mod cronie {
    //! `next_after` against a walk of cronie's main loop, minute by minute, through the changes of odd clocks.

    use super::*;
    use crate::schedule::walk::{minute, offset};

    const ZONES: [Tz; 15] = [
        Tz::America__New_York,
        Tz::Europe__Berlin,
        Tz::Australia__Lord_Howe, // by half an hour
        Tz::America__Nuuk,
        Tz::America__Havana,
        Tz::Atlantic__Azores,
        Tz::America__Santiago,
        Tz::Africa__Casablanca, // back for Ramadan
        Tz::Asia__Beirut,
        Tz::Pacific__Apia,     // left out a day
        Tz::Antarctica__Troll, // by two hours
        Tz::Antarctica__Casey, // by three hours, both ways
        Tz::Asia__Pyongyang,
        Tz::Africa__Monrovia, // by 44 minutes and 30 seconds
        Tz::Asia__Singapore,  // by 4 minutes and 35 seconds, in 1905
    ];

    const EXPRESSIONS: [&str; 30] = [
        "* * * * *",
        "*/30 * * * *",
        "0 * * * *",
        "30 * * * *",
        "0 0 * * *",
        "15 0 * * *",
        "30 1 * * *",
        "30 2 * * *",
        "0,30 2 * * *",
        "0,45 0-3 * * *",
        "59 23 * * *",
        "5,35 23,0,1 * * *",
        "*/7 */3 * * *",
        "0 12 * * *",
        "10,50 1,2 * * *",
        "30 23 * * *",
        "15,45 23 * * Sat",
        "*/15 1 * * *",
        "*/15 2 * * *",
        "30 1 1-7 * 0",
        "0 0 13 * 5",
        "@daily",
        "@hourly",
        "30 1 * * 7",
        "59 1 * * *",
        "0 3 * * *",
        "0 2 * * 0",
        "0-59 0-23 * * *",
        "20,40 0-5/2 * * *",
        "0,1,2,58,59 2,3,4 * * *",
    ];

    /// When cronie runs a job in `(from, to]`, if its machine is in `zone`: it wakes whenever the clock's minute changes.
    fn fires(crontab: &Crontab, zone: Tz, from: i64, to: i64) -> Vec<i64> {
        let offset = |second| offset(zone, second).unwrap();
        let means = |minute| crontab.calendar.contains(minute);
        let mut fires = Vec::new();
        let (mut second, mut here) = (from, offset(from));
        let mut running = minute(second, here);
        let mut virtually = running;
        loop {
            // Sleep until the minute changes: at its end, or earlier if the clock is set meanwhile.
            let asleep = second;
            second += 60 - (second + here).rem_euclid(60);
            if offset(second) != here {
                second = (asleep..).find(|second| minute(*second, offset(*second)) != running).unwrap();
                here = offset(second);
            }
            if second > to {
                return fires;
            }
            running = minute(second, here);
            let ahead = running - virtually;
            let mut runs = false;
            if !(-180..=180).contains(&ahead) {
                virtually = running;
                runs = means(running);
            } else if ahead <= 0 {
                runs = crontab.wild && means(running);
            } else if ahead <= 5 {
                while virtually < running {
                    virtually += 1;
                    runs |= means(virtually);
                }
            } else {
                runs |= crontab.wild && means(running);
                while virtually < running {
                    virtually += 1;
                    runs |= !crontab.wild && means(virtually);
                }
            }
            if runs {
                fires.push(second);
            }
        }
    }

    #[test]
    fn next_after_runs_jobs_exactly_when_cronie_does() {
        let year = |year| Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap().timestamp();
        let mut compared = 0;
        for zone in ZONES {
            let mut changes = Vec::new();
            let mut last = year(if zone == Tz::Asia__Singapore { 1905 } else { 1970 });
            while let Some(change) = next_change(zone, last, year(2038)).unwrap() {
                changes.push(change);
                last = change;
            }
            assert!(!changes.is_empty(), "{zone}");
            // All changes of a zone take part: each with some of the expressions, in turn, the first and the latest two with all.
            let latest = changes.len() - 2.min(changes.len());
            for (n, change) in changes.into_iter().enumerate() {
                let (skip, step) = if (1..latest).contains(&n) { (n % 15, 15) } else { (0, 1) };
                for text in EXPRESSIONS.iter().skip(skip).step_by(step) {
                    let crontab = crontab(text);
                    let (from, to) = (change - 5 * 3600, change + 26 * 3600);

                    let expected = fires(&crontab, zone, from, to);
                    let mut found = Vec::new();
                    let mut last = Timestamp::from_millis(from * 1000);
                    while let Some(next) = crontab.next_after(zone, last).filter(|next| next.as_millis() <= to * 1000) {
                        found.push(next.as_millis() / 1000);
                        last = next;
                    }

                    assert_eq!(found, expected, "{text} in {zone} around {change}");
                    compared += 1;
                }
            }
        }
        assert!(compared > 3000, "{compared}");
    }

    /// Looks at a clock every hour; no change undone in less is known of any zone.
    fn assert_changes_lie_apart(zone: Tz, from: i64, to: i64) {
        let (mut changed, mut known) = (from - 2 * walk::PROBE, offset(zone, from).unwrap());
        for second in (from..to).step_by(3600) {
            let offset = offset(zone, second).unwrap();
            if offset != known {
                assert!(second - changed > walk::PROBE + 2 * 3600, "{zone} at {second}");
                (changed, known) = (second, offset);
            }
        }
    }

    #[test]
    fn no_clock_is_set_twice_within_a_probe() {
        for zone in ZONES {
            assert_changes_lie_apart(zone, 1_500_000_000, 2_000_000_000);
        }
    }

    #[test]
    #[ignore = "takes a minute or more: to be run when chrono-tz brings a new time zone database"]
    fn no_clock_on_earth_was_set_twice_within_a_probe_since_1970() {
        for zone in chrono_tz::TZ_VARIANTS {
            assert_changes_lie_apart(zone, 0, 2_200_000_000);
        }
    }
}
