use chrono_tz::{America::New_York, Europe::Berlin, TZ_VARIANTS, Tz};
use proptest::prelude::*;

use super::*;

/// Wednesday, 2027-03-24 11:15:30 in Berlin, before the gap of Sunday the 28th, 02:00 to 03:00.
const NOW: &str = "2027-03-24T10:15:30Z";

fn at(text: &str) -> Timestamp {
    DateTime::parse_from_rfc3339(text).expect("an instant").to_utc().into()
}

fn read(text: &str, now: &str) -> Result<String, BadInstantText> {
    let at = instant(text, Berlin, at(now))?;
    Ok(at.to_utc().with_timezone(&Berlin).format("%a %Y-%m-%d %H:%M:%S %:z").to_string())
}

fn hold(now: &str, table: &[(&str, &str)]) {
    for (text, meant) in table {
        assert_eq!(read(text, now).as_deref(), Ok(*meant), "{text}");
    }
}

#[test]
fn dates_and_times_mean_the_clocks_of_the_zone() {
    #[rustfmt::skip]
    hold(NOW, &[
        ("2027-03-28T14:30:00+02:00", "Sun 2027-03-28 14:30:00 +02:00"),
        ("2027-03-28T14:30:00Z", "Sun 2027-03-28 16:30:00 +02:00"),
        ("2027-03-28T14:30+02:00", "Sun 2027-03-28 14:30:00 +02:00"),
        ("2027-03-28 14:30 +05:00", "Sun 2027-03-28 11:30:00 +02:00"),
        ("2027-03-28 14:30:15 -01:00", "Sun 2027-03-28 17:30:15 +02:00"),
        ("2027-03-28T14:30Z", "Sun 2027-03-28 16:30:00 +02:00"),
        ("2027-03-28T14:30", "Sun 2027-03-28 14:30:00 +02:00"),
        ("2027-03-28 14:30", "Sun 2027-03-28 14:30:00 +02:00"),
        ("  2027-03-28   14:30:07 ", "Sun 2027-03-28 14:30:07 +02:00"),
        ("14:30 2027-03-28", "Sun 2027-03-28 14:30:00 +02:00"),
        ("2027-03-28 at 2:30PM", "Sun 2027-03-28 14:30:00 +02:00"),
        ("2027-03-28", "Sun 2027-03-28 00:00:00 +01:00"),
        ("2027/3/29", "Mon 2027-03-29 00:00:00 +02:00"),
        ("28.03.2027 14:30", "Sun 2027-03-28 14:30:00 +02:00"),
        ("8.3.2028", "Wed 2028-03-08 00:00:00 +01:00"),
        ("03/28/2027 noon", "Sun 2027-03-28 12:00:00 +02:00"),
        ("28 march 2027", "Sun 2027-03-28 00:00:00 +01:00"),
        ("28th of july 2027", "Wed 2027-07-28 00:00:00 +02:00"),
        ("March 28, 2027, 4am", "Sun 2027-03-28 04:00:00 +02:00"),
        ("mar 28 2027 4 a.m.", "Sun 2027-03-28 04:00:00 +02:00"),
        ("2027-03-28 00:00 UTC", "Sun 2027-03-28 01:00:00 +01:00"),
        ("2027-03-28 14:30 America/New_York", "Sun 2027-03-28 20:30:00 +02:00"),
        ("2027-03-28 14:30 america/new_york", "Sun 2027-03-28 20:30:00 +02:00"),
        ("2027-03-28 14:30 Etc/GMT+5", "Sun 2027-03-28 21:30:00 +02:00"),
        // A whole date may be in the past.
        ("1999-12-31 23:59", "Fri 1999-12-31 23:59:00 +01:00"),
        ("2020-02-29 - 1 year", "Thu 2019-02-28 00:00:00 +01:00"),
    ]);
}

#[test]
fn a_time_and_a_day_in_the_past_are_the_last_ones() {
    let table = [
        ("2 hours ago", "Wed 2027-03-24 09:15:30 +01:00"),
        ("1h30m ago", "Wed 2027-03-24 09:45:30 +01:00"),
        ("an hour and 5 minutes ago", "Wed 2027-03-24 10:10:30 +01:00"),
        ("a week ago", "Wed 2027-03-17 11:15:30 +01:00"),
        ("now - 2 days", "Mon 2027-03-22 11:15:30 +01:00"),
        ("now", "Wed 2027-03-24 11:15:30 +01:00"),
        ("yesterday", "Tue 2027-03-23 00:00:00 +01:00"),
        ("yesterday 4am", "Tue 2027-03-23 04:00:00 +01:00"),
        ("today", "Wed 2027-03-24 00:00:00 +01:00"),
        ("11:15", "Wed 2027-03-24 11:15:00 +01:00"),
        ("11:16", "Tue 2027-03-23 11:16:00 +01:00"),
        ("friday", "Fri 2027-03-19 00:00:00 +01:00"),
        ("wednesday", "Wed 2027-03-24 00:00:00 +01:00"),
        ("wednesday noon", "Wed 2027-03-17 12:00:00 +01:00"),
        ("25 march", "Wed 2026-03-25 00:00:00 +01:00"),
        ("29 february", "Thu 2024-02-29 00:00:00 +01:00"),
        ("noon yesterday + 10 minutes", "Tue 2027-03-23 12:10:00 +01:00"),
        ("2027-03-20 14:30", "Sat 2027-03-20 14:30:00 +01:00"),
        // The caller decides about a whole date that is ahead.
        ("2027-03-28", "Sun 2027-03-28 00:00:00 +01:00"),
    ];
    for (text, meant) in table {
        let at = past_instant(text, Berlin, at(NOW)).map(|at| at.to_utc().with_timezone(&Berlin));
        let shown = at.map(|at| at.format("%a %Y-%m-%d %H:%M:%S %:z").to_string());
        assert_eq!(shown.as_deref(), Ok(meant), "{text}");
    }
    for text in ["tomorrow", "next friday", "in 2 hours", "today 11:16", "now + 1 minute", "next month"] {
        let refused = past_instant(text, Berlin, at(NOW)).expect_err(text).to_string();
        assert!(
            refused.starts_with(&format!("`{text}` is ahead: it is 2027-03-24 11:15:30 Europe/Berlin")),
            "{refused}"
        );
    }
    let folded = past_instant("2:30", Berlin, at("2027-10-31T01:45:00Z")).expect("a time");
    assert_eq!(folded, at("2027-10-31T01:30:00Z"), "of two equal times the last that has passed is meant");
    for (text, word) in [("2 ago", "ago"), ("2 hours", "2"), ("yesterday 2 hours ago", "ago"), ("ago", "ago")] {
        let refused = past_instant(text, Berlin, at(NOW)).expect_err(text).to_string();
        assert!(refused.starts_with(&format!("`{word}` ")), "{refused}");
    }
    let passed = read("2 hours ago", NOW).expect_err("the past").to_string();
    assert!(passed.starts_with("`2 hours ago` has passed"), "{passed}");
}

#[test]
fn a_time_is_the_next_one_and_a_day_the_next_one() {
    #[rustfmt::skip]
    hold(NOW, &[
        ("14:30", "Wed 2027-03-24 14:30:00 +01:00"),
        ("11:15", "Thu 2027-03-25 11:15:00 +01:00"),
        ("11:15:30", "Thu 2027-03-25 11:15:30 +01:00"),
        ("11:15:31", "Wed 2027-03-24 11:15:31 +01:00"),
        ("2:30pm", "Wed 2027-03-24 14:30:00 +01:00"),
        ("2:30 pm", "Wed 2027-03-24 14:30:00 +01:00"),
        ("4am", "Thu 2027-03-25 04:00:00 +01:00"),
        ("4 AM", "Thu 2027-03-25 04:00:00 +01:00"),
        ("12am", "Thu 2027-03-25 00:00:00 +01:00"),
        ("12pm", "Wed 2027-03-24 12:00:00 +01:00"),
        ("at noon", "Wed 2027-03-24 12:00:00 +01:00"),
        ("midnight", "Thu 2027-03-25 00:00:00 +01:00"),
        ("teatime", "Wed 2027-03-24 16:00:00 +01:00"),
        ("14:30 UTC", "Wed 2027-03-24 15:30:00 +01:00"),
        ("10:15 UTC", "Thu 2027-03-25 11:15:00 +01:00"),
        ("14:30z", "Wed 2027-03-24 15:30:00 +01:00"),
        ("14:30 America/New_York", "Wed 2027-03-24 19:30:00 +01:00"),
        ("today 14:30", "Wed 2027-03-24 14:30:00 +01:00"),
        ("teatime today", "Wed 2027-03-24 16:00:00 +01:00"),
        ("tomorrow", "Thu 2027-03-25 00:00:00 +01:00"),
        ("tomorrow 4am", "Thu 2027-03-25 04:00:00 +01:00"),
        ("noon tomorrow", "Thu 2027-03-25 12:00:00 +01:00"),
        ("friday 17:00", "Fri 2027-03-26 17:00:00 +01:00"),
        ("on fri at 5pm", "Fri 2027-03-26 17:00:00 +01:00"),
        ("friday", "Fri 2027-03-26 00:00:00 +01:00"),
        ("next friday", "Fri 2027-03-26 00:00:00 +01:00"),
        ("next friday 17:00", "Fri 2027-03-26 17:00:00 +01:00"),
        ("wednesday 17:00", "Wed 2027-03-24 17:00:00 +01:00"),
        ("wednesday 9:00", "Wed 2027-03-31 09:00:00 +02:00"),
        ("wednesday", "Wed 2027-03-31 00:00:00 +02:00"),
        ("next wednesday 17:00", "Wed 2027-03-31 17:00:00 +02:00"),
        ("tue", "Tue 2027-03-30 00:00:00 +02:00"),
        ("jul 4", "Sun 2027-07-04 00:00:00 +02:00"),
        ("4 july 14:30", "Sun 2027-07-04 14:30:00 +02:00"),
        ("4th july noon", "Sun 2027-07-04 12:00:00 +02:00"),
        ("july 4th", "Sun 2027-07-04 00:00:00 +02:00"),
        ("march 24", "Fri 2028-03-24 00:00:00 +01:00"),
        ("march 24 12:00", "Wed 2027-03-24 12:00:00 +01:00"),
        ("1 jan", "Sat 2028-01-01 00:00:00 +01:00"),
        ("feb 29", "Tue 2028-02-29 00:00:00 +01:00"),
    ]);
    hold("2097-03-01T00:00:00Z", &[("feb 29", "Fri 2104-02-29 00:00:00 +01:00")]);
}

#[test]
fn capitals_and_small_letters_mean_the_same() {
    for text in
        ["2027-03-28T14:30+02:00", "2027-03-28T14:30:15.5Z", "2027-03-28T14:30Z", "28 MARCH 2027 4PM EUROPE/BERLIN"]
    {
        let [upper, lower] = [text.to_ascii_uppercase(), text.to_ascii_lowercase()].map(|text| read(&text, NOW));
        assert_eq!(upper, lower, "{text}");
        assert!(upper.is_ok(), "{text}: {upper:?}");
    }
}

#[test]
fn a_refusal_is_one_line_whatever_separates_lines_in_the_text() {
    for text in ["today\u{2028}9:00", "today 9:00\u{2029}+ 1 minute", "9999-12-31\u{2028}+ 1 year", "soon\u{85}later"] {
        let wrong = read(text, NOW).expect_err(text).to_string();
        assert!(!wrong.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')), "{wrong:?}");
    }
}

#[test]
fn a_weekday_is_known_by_its_short_names_and_its_long_one() {
    let names: [(&[&str], u32); 7] = [
        (&["thu", "thur", "thurs", "thursday"], 25),
        (&["fri", "friday"], 26),
        (&["sat", "saturday"], 27),
        (&["sun", "sunday"], 28),
        (&["mon", "monday"], 29),
        (&["tue", "tues", "tuesday"], 30),
        (&["wed", "wednesday"], 31),
    ];
    for (names, day) in names {
        for name in names {
            let meant = Ok(at(&format!("2027-03-{day}T12:00:00Z")));
            assert_eq!(instant(&format!("{name} noon"), Tz::UTC, at("2027-03-24T12:00:00Z")), meant, "{name}");
        }
    }
}

#[test]
fn sums_keep_the_time_of_day_over_days_and_the_length_over_hours() {
    #[rustfmt::skip]
    hold(NOW, &[
        ("now", "Wed 2027-03-24 11:15:30 +01:00"),
        ("now + 10 minutes", "Wed 2027-03-24 11:25:30 +01:00"),
        ("now+10min", "Wed 2027-03-24 11:25:30 +01:00"),
        ("+ 1 minute", "Wed 2027-03-24 11:16:30 +01:00"),
        ("now + 2 hours", "Wed 2027-03-24 13:15:30 +01:00"),
        ("now + 1 hour + 1 hour - 30 min", "Wed 2027-03-24 12:45:30 +01:00"),
        ("now + 3d", "Sat 2027-03-27 11:15:30 +01:00"),
        ("now + 4 days", "Sun 2027-03-28 11:15:30 +02:00"),
        ("now + 96 hours", "Sun 2027-03-28 12:15:30 +02:00"),
        ("now + 1 week", "Wed 2027-03-31 11:15:30 +02:00"),
        ("now + 2 weeks", "Wed 2027-04-07 11:15:30 +02:00"),
        ("now + 1 month", "Sat 2027-04-24 11:15:30 +02:00"),
        ("now + 1 year", "Fri 2028-03-24 11:15:30 +01:00"),
        ("in 2 hours", "Wed 2027-03-24 13:15:30 +01:00"),
        ("in 1h 30m", "Wed 2027-03-24 12:45:30 +01:00"),
        ("in 1h30m", "Wed 2027-03-24 12:45:30 +01:00"),
        ("in 1 hour and 30 minutes", "Wed 2027-03-24 12:45:30 +01:00"),
        ("in 1 hour 30 minutes", "Wed 2027-03-24 12:45:30 +01:00"),
        ("in an hour", "Wed 2027-03-24 12:15:30 +01:00"),
        ("in 90s", "Wed 2027-03-24 11:17:00 +01:00"),
        ("next week", "Wed 2027-03-31 11:15:30 +02:00"),
        ("next week 9am", "Wed 2027-03-31 09:00:00 +02:00"),
        ("next month", "Sat 2027-04-24 11:15:30 +02:00"),
        ("next year", "Fri 2028-03-24 11:15:30 +01:00"),
        ("next day noon", "Thu 2027-03-25 12:00:00 +01:00"),
        ("tomorrow 4am + 2 hours", "Thu 2027-03-25 06:00:00 +01:00"),
        ("tomorrow + 1 day 14:30", "Fri 2027-03-26 14:30:00 +01:00"),
        ("noon tomorrow + 1 day", "Fri 2027-03-26 12:00:00 +01:00"),
        ("friday 17:00 - 2 hours", "Fri 2027-03-26 15:00:00 +01:00"),
        ("2027-01-31 + 1 month", "Sun 2027-02-28 00:00:00 +01:00"),
        ("2028-02-29 + 1 year", "Wed 2029-02-28 00:00:00 +01:00"),
        ("2027-03-31 noon - 1 month", "Sun 2027-02-28 12:00:00 +01:00"),
    ]);
    hold("2027-01-31T11:00:00Z", &[("next month", "Sun 2027-02-28 12:00:00 +01:00")]);
}

#[test]
fn in_a_gap_it_is_the_first_instant_after_it_and_in_a_fold_the_first_that_is_ahead() {
    #[rustfmt::skip]
    hold(NOW, &[
        ("2027-03-28 02:30", "Sun 2027-03-28 03:00:00 +02:00"),
        ("sunday 2:00", "Sun 2027-03-28 03:00:00 +02:00"),
        ("2027-03-27 02:30 + 1 day", "Sun 2027-03-28 03:00:00 +02:00"),
        ("2027-03-27 02:30 + 24 hours", "Sun 2027-03-28 03:30:00 +02:00"),
        ("2027-10-31 02:30", "Sun 2027-10-31 02:30:00 +02:00"),
        ("2027-10-31 02:30 + 1 hour", "Sun 2027-10-31 02:30:00 +01:00"),
        ("2027-10-30 02:30 + 1 day", "Sun 2027-10-31 02:30:00 +02:00"),
        ("2027-11-01 02:30 - 1 day", "Sun 2027-10-31 02:30:00 +02:00"),
    ]);
    // Zero days are no change, even while the clock shows a time for the second time.
    for now in ["2027-10-31T00:45:00Z", "2027-10-31T01:45:00Z"] {
        for text in ["now + 0 days", "now - 0 weeks"] {
            assert_eq!(instant(text, Berlin, at(now)), Ok(at(now)), "{text} at {now}");
        }
    }
    // It is 02:45 for the first time, so 02:30 comes once more.
    hold("2027-10-31T00:45:00Z", &[("2:30", "Sun 2027-10-31 02:30:00 +01:00")]);
    hold("2027-10-31T00:45:00Z", &[("today 2:30", "Sun 2027-10-31 02:30:00 +01:00")]);
    hold("2027-10-31T00:45:00Z", &[("2027-10-31 2:30", "Sun 2027-10-31 02:30:00 +02:00")]);
    hold("2027-10-31T01:45:00Z", &[("2:30", "Mon 2027-11-01 02:30:00 +01:00")]);
}

#[test]
fn an_error_is_one_line_and_names_the_words_that_may_stand_there() {
    #[rustfmt::skip]
    let table: &[(&str, &str)] = &[
        ("", "no instant is written"),
        ("   ", "no instant is written"),
        ("UTC", "no instant is written"),
        ("2027-03-28T14:30:00+0200", "has no colon; write `2027-03-28T14:30:00+02:00`"),
        ("2027-03-28T14:30+0200", "has no colon; write `2027-03-28T14:30+02:00`"),
        ("2027-03-28t14:30 +0200", "has no colon; write `2027-03-28t14:30 +02:00`"),
        ("tomorrow 4am +0200", "missing after `0200`; write seconds"),
        ("4amz", "`4amz` is not understood"),
        ("28.03.2027T14:30", "28.03.2027t14:30`"),
        ("next min", "`min` is not understood; write a weekday"),
        ("in 1 hour 14 july", "`14` says the day once more"),
        ("in 2 hours minutes", "`minutes` is not understood; write a day"),
        ("soon", "`soon` is not understood; write a day"),
        ("tomorow", "`tomorow` is not understood"),
        ("at", "`at` is not understood"),
        ("14:30 CEST", "`cest` is not understood"),
        ("14", "`14` is not understood; write a time as `14:30`"),
        ("1430", "`1430` is not understood; write a time as `14:30`"),
        ("friday at 5", "`5` is not understood"),
        ("014:30", "`014:30` is not understood; write a time"),
        ("25:00", "no `25:00`; write a time"),
        ("12:60", "no `12:60`"),
        ("24:00", "no `24:00`"),
        ("0am", "no `0am`"),
        ("13pm", "no `13pm`"),
        ("14:30pm", "no `14:30pm`"),
        ("2027-02-29", "no `2027-02-29`"),
        ("28/03/2027", "no `28/03/2027`; write a day as `2027-03-28`"),
        ("3/28/27", "`3/28/27` is not understood; write a day"),
        ("31 june", "no `31 june`; write a day that this month has"),
        ("feb 29 2027", "no `29 february`"),
        ("july", "missing after `july`; write the day of the month"),
        ("july noon", "`noon` is not understood; write the day"),
        ("next", "missing after `next`; write a weekday"),
        ("next 14:30", "`14:30` is not understood; write a weekday"),
        ("in", "missing after `in`; write a length"),
        ("in 2", "missing after `2`; write seconds"),
        ("in 2 moons", "`moons` is not understood; write seconds"),
        ("in two hours", "`two` is not understood; write a length"),
        ("in 5", "missing after `5`"),
        ("now + 5x", "`x` is not understood; write seconds"),
        ("now +", "missing after `+`"),
        ("now + 9999999999 s", "`9999999999` is not understood"),
        ("now + 999999999 years", "beyond the years 1 to 9999"),
        ("now + 9000 years", "beyond the years"),
        ("9999-12-31 + 1 day", "beyond the years"),
        ("0000-01-01", "beyond the years"),
        ("today tomorrow", "`tomorrow` says the day once more"),
        ("noon 14:30", "`14:30` says the time once more"),
        ("now 14:30", "`14:30` says the time once more"),
        ("14:30 UTC UTC", "`utc` says the zone once more"),
        ("today 11:00", "`today 11:00` has passed: it is 2027-03-24 11:15:30 Europe/Berlin"),
        ("today", "has passed"),
        ("tomorrow - 2 days", "has passed"),
        ("now - 1 minute", "has passed"),
        ("2027-03-28 14:30 +25:99", "`25:99` is not understood; write seconds"),
        ("a\nb\u{1b}[2J", "`a` is not understood"),
        ("\u{1b}[2J", "` [2j` is not understood"),
        ("日本", "`日本` is not understood"),
        (&"9".repeat(121), "at most 120 characters"),
    ];
    for (text, words) in table {
        let wrong = read(text, NOW).expect_err(text).to_string();
        assert!(wrong.contains(words), "{text:?}: {wrong}");
        assert!(!wrong.contains(char::is_control) && wrong.len() < 400, "{text:?}: {wrong:?}");
    }
}

#[test]
fn a_skipped_time_is_reported_with_the_time_that_is_used() {
    let written = "2027-03-28 02:30";
    let told = Some(format!("the clock skips 02:30 in `{written}`: 03:00 is meant"));
    let gap = at("2027-03-28T01:00:00Z");
    let date = AbsoluteInstant::read(written).expect("a date");

    assert_eq!((&gap_note(written, Berlin, gap), &date.gap_note(Berlin)), (&told, &told));
    assert_eq!(date.gap_note(Tz::UTC), None);
    for text in ["2027-03-28 03:00", "2027-03-27 02:30 + 1 day", "2027-03-28T01:00:00Z"] {
        assert_eq!(
            (gap_note(text, Berlin, gap), AbsoluteInstant::read(text).unwrap().gap_note(Berlin)),
            (None, None),
            "{text}"
        );
    }
    assert_eq!((gap_note("now", Berlin, gap), gap_note("soon", Berlin, gap)), (None, None));
}

#[test]
fn a_word_is_taken_for_a_date_if_it_is_three_numbers_and_one_of_them_a_year() {
    for date in ["2027-03-28", "28.03.2027", "3/28/2027", "2027-13-99", "28-03-2027", "2027/3/8th", "1.1.20270"] {
        assert!(is_date(date), "{date}");
    }
    for other in ["27-03-28", "1-2-3", "2027-03", "3/28/27", "2027--28", "a-b-2027", "2027-03-28-01", "2027", "", "--"]
    {
        assert!(!is_date(other), "{other}");
    }
}

#[test]
fn an_instant_has_120_bytes_at_most_without_the_spaces_around_it() {
    let padded = |length: usize| format!("2027-03-28{}09:00", " ".repeat(length - 15));
    assert!(instant(&padded(120), Berlin, at(NOW)).is_ok());
    assert_eq!(instant(&padded(121), Berlin, at(NOW)), Err(BadInstantText::Long(121)));
    let around = " ".repeat(200);
    assert_eq!(instant(&format!("{around}now{around}"), Berlin, at(NOW)), Ok(at(NOW)));
}

#[test]
fn absolute_instants_are_distinguished_from_relative_ones() {
    let july = AbsoluteInstant::read("2027-07-04 14:30").expect("a date");
    assert_eq!(july.instant(Berlin), Ok(at("2027-07-04T12:30:00Z")));
    assert_eq!(july.instant(New_York), Ok(at("2027-07-04T18:30:00Z")));
    for absolute in ["2027-07-04", "4 july 2027 noon UTC", "2027-07-04T14:30:00Z", "04.07.2027 2pm + 1 hour"] {
        assert!(AbsoluteInstant::read(absolute).is_ok(), "{absolute}");
    }
    for relative in ["now", "in 2 hours", "14:30", "tomorrow", "friday 17:00", "jul 4", "next week"] {
        assert_eq!(AbsoluteInstant::read(relative), Err(BadInstantText::Relative(relative.to_owned())));
    }
    assert!(matches!(AbsoluteInstant::read("soon"), Err(BadInstantText::Word { .. })));
    assert!(matches!(AbsoluteInstant::read("9999-01-01 + 5 years"), Err(BadInstantText::Far(_))));
}

fn zones() -> impl Strategy<Value = Tz> {
    proptest::sample::select(&TZ_VARIANTS[..])
}

/// Seconds from 1700 to 2400.
fn seconds() -> impl Strategy<Value = Timestamp> {
    (-8_520_000_000_i64..13_569_000_000).prop_map(|second| Timestamp::from_millis(second * 1000))
}

/// Makes texts of words that may stand in such texts, in any order.
fn salad() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "now",
        "+",
        "-",
        "in",
        "next",
        "friday",
        "mon",
        "today",
        "tomorrow",
        "noon",
        "midnight",
        "14:30",
        "4am",
        "pm",
        "4",
        "29",
        "feb",
        "july",
        "2027",
        "2027-03-28",
        "28.03.2027",
        "03/28/2027",
        "utc",
        "europe/berlin",
        "hours",
        "1h",
        "30m",
        "1h30m",
        "month",
        "years",
        "999999999",
        "and",
        "at",
        "t",
        "z",
        "+02:00",
        ",",
        "é",
        "\u{0}",
        "1.2.3m.",
    ];
    proptest::collection::vec(proptest::sample::select(WORDS), 0..8).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), zone in zones(), ms in any::<i64>()) {
        let _ = instant(&text, zone, Timestamp::from_millis(ms));
    }

    #[test]
    fn no_order_of_known_words_makes_it_panic(text in salad(), zone in zones(), now in seconds()) {
        match instant(&text, zone, now) {
            Ok(at) => prop_assert!((1..=9999).contains(&at.to_utc().year()) || at.to_utc().year() == 0),
            Err(wrong) => prop_assert!(!wrong.to_string().contains(char::is_control), "{wrong}"),
        }
    }

    #[test]
    fn words_that_mean_the_future_are_ahead(
        text in proptest::sample::select(&[
            "14:30", "noon", "midnight", "teatime", "tomorrow", "tomorrow 4am", "friday", "friday 17:00", "next friday",
            "next monday 2:30", "jul 4", "29 feb 2:30", "in 1s", "now + 1 day", "in 1 month", "next week", "next year",
            "next month noon + 1 minute",
        ][..]),
        zone in zones(),
        now in seconds(),
    ) {
        let at = instant(text, zone, now).expect("words that are understood");
        prop_assert!(at > now, "{text} in {zone} at {now}: {at}");
    }

    #[test]
    fn a_shown_time_means_the_instant_at_which_the_clock_shows_it(zone in zones(), at in seconds(), now in seconds()) {
        let clock = local(zone, at).expect("within the calendar");

        let read = instant(&clock.format("%Y-%m-%d %H:%M:%S").to_string(), zone, now).expect("a date and a time");

        // In a fold the first instant is meant.
        prop_assert!(read <= at);
        prop_assert_eq!(local(zone, read), Some(clock));
        prop_assert_eq!(instant(&at.to_string(), zone, now), Ok(at));
    }
}
