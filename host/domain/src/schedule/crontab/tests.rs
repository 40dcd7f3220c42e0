use chrono::{TimeZone, Utc};

use super::*;

mod beyond;
mod changes;
mod counted;
mod cronie;
mod fuzz;
mod naive;
mod people;
mod walks;

/// Prints a figure past the test harness, which swallows the output of tests that pass.
fn figure(line: &str) {
    use std::io::Write;
    writeln!(std::io::stdout(), "\n{line}").expect("stdout takes a line");
}

fn crontab(text: &str) -> Crontab {
    Crontab::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn at(text: &str) -> Timestamp {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc).into()
}

/// Returns the first `n` instants after `after`, in the zone's time.
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
        // Both day fields are restricted, so one match is enough.
        (
            "0 0 13 * 5",
            &["Fri 2026-01-02 00:00", "Fri 2026-01-09 00:00", "Tue 2026-01-13 00:00", "Fri 2026-01-16 00:00"],
        ),
        // One field begins with a star, even if it is `*/2`, so both must match.
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
fn a_day_that_is_in_both_day_fields_is_due() {
    // The 13th of February 2026 is a Friday.
    let fridays = first("0 0 13 * 5", Tz::UTC, "2026-02-06T12:00:00Z", 2);
    assert_eq!(fridays, ["Fri 2026-02-13 00:00 +00:00", "Fri 2026-02-20 00:00 +00:00"]);
}

#[test]
fn a_second_matches_if_all_fields_contain_it() {
    let crontab = Crontab::parse_with_seconds("15 30 9 15 3 *").unwrap();
    let means = |text: &str| crontab.calendar.contains(at(text).as_millis() / 1000);
    assert!(means("2027-03-15T09:30:15Z") && means("1969-03-15T09:30:15Z"));
    for other in ["04-15T09:30:15", "03-16T09:30:15", "03-15T10:30:15", "03-15T09:31:15", "03-15T09:30:16"] {
        assert!(!means(&format!("2027-{other}Z")), "{other}");
    }
}

#[test]
fn macros_and_words_stand_for_their_fields() {
    for (name, fields) in MACROS.into_iter().chain(WORDS) {
        assert_eq!(crontab(name).calendar, crontab(fields).calendar, "{name}");
        assert_eq!(Crontab::parse_with_seconds(name).unwrap().calendar, crontab(fields).calendar, "{name}");
    }
    // cron's week begins on Sunday, systemd's on Monday.
    assert_eq!(first("@weekly", Tz::UTC, "2026-01-01T00:00:00Z", 1), ["Sun 2026-01-04 00:00 +00:00"]);
    assert_eq!(first("Weekly", Tz::UTC, "2026-01-01T00:00:00Z", 1), ["Mon 2026-01-05 00:00 +00:00"]);
    assert_eq!(crontab("TZ=Asia/Tokyo daily").zone(), Some(Tz::Asia__Tokyo));
    for text in ["@minutely", "weeklyy", "daily *", "hourly hourly"] {
        assert!(Crontab::parse(text).is_err(), "{text}");
    }
}

#[test]
fn an_expression_is_displayed_unchanged() {
    for text in ["@daily", " 0  0 * * SUN"] {
        assert_eq!(crontab(text).to_string(), text);
    }
}

/// Texts that are no crontabs, each with its error.
const ERRORS: &[(&str, &str)] = &[
    (
        "61 * * * *",
        "minute `61`: `61` is out of range; use 0-59, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them",
    ),
    (
        "* 24 * * *",
        "hour `24`: `24` is out of range; use 0-23, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them",
    ),
    (
        "* * 0 * *",
        "day-of-month `0`: `0` is out of range; use 1-31, `*`, `H` (1-28), `a-b`, `a~b`, `*/n`, `a-b/n`, `L`, `L-n`, `nW`, `LW` or a list of them",
    ),
    (
        "* * * may-april *",
        "month `may-april`: `april` is not a value; use 1-12, jan-dec, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them",
    ),
    (
        "* * * * fri-mon",
        "day-of-week `fri-mon`: `fri-mon` runs backwards; use 0-7 (0 and 7 are Sunday), sun-sat, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n`, `friL`, `fri#2` or a list of them",
    ),
    (
        "5/15 * * * *",
        "minute `5/15`: a step needs a range before it (`5-59/n` or `*/n`); use 0-59, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them",
    ),
    (
        "*/0 * * * *",
        "minute `*/0`: `0` is not a step, which is 1 or more; use 0-59, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them",
    ),
    (
        "*/ * * * *",
        "minute `*/`: `` is not a step, which is 1 or more; use 0-59, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them",
    ),
    (
        "1,,2 * * * *",
        "minute `1,,2`: a value is missing; use 0-59, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them",
    ),
    (
        "* ? * * *",
        "hour `?`: `?` is not a value; for any day write `*`; use 0-23, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them",
    ),
    ("* * * *", "`* * * *` has 4 fields, a crontab has five: minute hour day-of-month month day-of-week"),
    (
        "0 * * * * *",
        "`0 * * * * *` has 6 fields, a crontab has five: minute hour day-of-month month day-of-week (seconds are for `cron-seconds`)",
    ),
    ("", "`` has 0 fields, a crontab has five: minute hour day-of-month month day-of-week"),
    (
        "@Daily",
        "`@Daily` is not a crontab macro; use @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually or `@every 5m`",
    ),
    (
        "@reboot",
        "`@reboot` is not a crontab macro; use @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually or `@every 5m` (for a run at every start: `on-start = true`)",
    ),
    (
        "@every5m",
        "`@every5m` is not a crontab macro; use @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually or `@every 5m` (`@every 5m` stands alone and has no zone)",
    ),
    (
        "0 0 0 1 1 * 2027",
        "`0 0 0 1 1 * 2027` has 7 fields, a crontab has five: minute hour day-of-month month day-of-week (a crontab has no years)",
    ),
    ("0 0 31 2 *", "`0 0 31 2 *` never comes; use days that these months have"),
    ("0 0 30-31 feb */2", "`0 0 30-31 feb */2` never comes; use days that these months have"),
    ("0 0 31 4,6,9,11 *", "`0 0 31 4,6,9,11 *` never comes; use days that these months have"),
];

#[test]
fn an_error_points_at_the_field_and_says_what_is_allowed() {
    for (text, expected) in ERRORS {
        assert_eq!(Crontab::parse(text).unwrap_err().to_string(), *expected, "{text}");
    }
}

#[test]
fn a_day_of_the_week_makes_up_for_a_date_that_never_comes() {
    assert_eq!(first("0 0 31 2 1", Tz::UTC, "2026-01-30T00:00:00Z", 1), ["Mon 2026-02-02 00:00 +00:00"]);
}

/// The examples of the guide on schedules, in one zone's spring and autumn.
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
    // For a look within the hour that comes a second time, a fixed-time job has already run.
    assert_eq!(first("30 2 * * *", berlin, "2026-10-25T01:10:00Z", 1), ["Mon 2026-10-26 02:30 +01:00"]);
}

#[test]
fn every_minute_of_a_gap_runs_exactly_once() {
    for text in ["0 2 * * *", "59 2 * * *", "*/20 2 * * *", "0,59 2 * * *"] {
        let found = first(text, Tz::Europe__Berlin, "2026-03-28T12:00:00Z", 2);
        // A job that follows the clock is not made up for.
        let expected =
            if text.starts_with('*') { "Mon 2026-03-30 02:00 +02:00" } else { "Sun 2026-03-29 03:00 +02:00" };
        assert_eq!(found[0], expected, "{text}");
        assert!(found[1].starts_with("Mon 2026-03-30 02"), "{text}: {found:?}");
    }
    // A job that is due both when the clock is set and in the gap is due once.
    let both = first("0 2,3 * * *", Tz::Europe__Berlin, "2026-03-28T12:00:00Z", 2);
    assert_eq!(both, ["Sun 2026-03-29 03:00 +02:00", "Mon 2026-03-30 02:00 +02:00"]);
}

#[test]
fn a_clock_that_is_set_forward_by_three_hours_is_a_new_one_and_one_that_is_set_back_as_much_is_not() {
    // Casey's clock went from 02:00 to 05:00, and later from 02:00 to 23:00; Samoa's left out a day.
    let casey = Tz::Antarctica__Casey;
    let forward = first("30 3 * * *", casey, "2009-10-17T12:00:00Z", 1);
    assert_eq!(forward, ["Mon 2009-10-19 03:30 +11:00"]);
    let back = first("30 23 * * *", casey, "2010-03-04T00:00:00Z", 2);
    assert_eq!(back, ["Thu 2010-03-04 23:30 +11:00", "Fri 2010-03-05 23:30 +08:00"]);
    let samoa = first("30 3 * * *", Tz::Pacific__Apia, "2011-12-30T00:00:00Z", 1);
    assert_eq!(samoa, ["Sat 2011-12-31 03:30 +14:00"]);
}

#[test]
fn a_clock_that_was_set_forward_by_a_few_minutes_counts_as_a_late_look() {
    // Singapore's clock went from 00:00:00 to 00:04:35, so every job's minutes are stepped through.
    let found = first("2 * * * *", Tz::Asia__Singapore, "1905-05-31T17:00:00Z", 2);
    assert_eq!(found, ["Thu 1905-06-01 00:04 +07:00", "Thu 1905-06-01 01:02 +07:00"]);
}

/// Compares the bits with the search of the `cron` crate, for crontabs that both read by the same rule (both day fields
/// needed).
#[test]
fn the_calendar_agrees_with_the_cron_crate() {
    let texts = [
        "0 */7 */5 * * *",
        "0 0 0 29 2 *",
        "30,31 15,45 3-9/2 1-15 */2 *",
        "*/11 59 23 31 * */3",
        "59 1 1 * jan-mar 0",
        "0-59/7 0 12 */10 * 1-7/2",
    ];
    for text in texts {
        let fields: Vec<&str> = text.split(' ').collect();
        let foreign = FIELDS.iter().zip(fields).map(|(field, text)| expand::translate(field, text, "").unwrap());
        let schedule = cron::Schedule::from_str(&foreign.collect::<Vec<_>>().join(" ")).unwrap();
        let start = Utc.with_ymd_and_hms(2023, 12, 31, 23, 59, 59).unwrap();
        let ours = Crontab::parse_with_seconds(text).unwrap();

        let theirs = schedule.after(&start).take(500).take_while(|at| at.timestamp() < 4_000_000_000);
        let mut last = start.timestamp();
        for theirs in theirs {
            last = ours.calendar.next_after(last).unwrap();
            assert_eq!(last, theirs.timestamp(), "{text}: {theirs}");
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
