//! Compares counted days (`L`, `W`, `#`) with a walk through the calendar that knows only dates.

use chrono::{Datelike, Days, NaiveDate};
use proptest::prelude::*;

use super::*;

/// One item of a day field, as people say it.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// `15`
    Day(u32),
    /// `L`, `L-3`
    BeforeLast(u32),
    /// `15W`
    Near(u32),
    /// `LW`, `L-3W`
    NearBeforeLast(u32),
}

/// One item of a weekday field, 0 for Sunday.
#[derive(Clone, Copy, Debug)]
enum SaysOfWeek {
    /// `fri`
    Weekday(u32),
    /// `fri#2`
    Nth(u32, u32),
    /// `friL`
    Last(u32),
}

fn weekday(date: NaiveDate) -> u32 {
    date.weekday().num_days_from_sunday()
}

fn is_workday(date: NaiveDate) -> bool {
    (1..=5).contains(&weekday(date))
}

/// Returns the date that is `before` days before the last of the month of `date`.
fn before_last(date: NaiveDate, before: u32) -> Option<NaiveDate> {
    let first = date.with_day(1).unwrap();
    let last = first.checked_add_months(chrono::Months::new(1)).unwrap().pred_opt().unwrap();
    last.checked_sub_days(Days::new(before.into())).filter(|day| day.month() == date.month())
}

/// Returns the nearest workday of the same month: it goes out from a date a day at a time, back first. For a Sunday the
/// next day is nearer than the Friday before.
fn nearest_workday(date: NaiveDate) -> NaiveDate {
    let step = |by: i64| date.checked_add_signed(chrono::TimeDelta::days(by)).unwrap();
    let near = [0, -1, 1, -2, 2].map(step);
    near.into_iter().find(|day| is_workday(*day) && day.month() == date.month()).unwrap()
}

fn means_date(says: Says, date: NaiveDate) -> bool {
    match says {
        Says::Day(day) => date.day() == day,
        Says::BeforeLast(before) => before_last(date, before) == Some(date),
        Says::Near(day) => date.with_day(day).is_some_and(|day| nearest_workday(day) == date),
        Says::NearBeforeLast(before) => before_last(date, before).is_some_and(|day| nearest_workday(day) == date),
    }
}

fn means_weekday(says: SaysOfWeek, date: NaiveDate) -> bool {
    match says {
        SaysOfWeek::Weekday(day) => weekday(date) == day,
        // The number of such weekdays so far in the month, including this one.
        SaysOfWeek::Nth(day, nth) => {
            let days = (1..=date.day()).filter(|n| weekday(date.with_day(*n).unwrap()) == day);
            weekday(date) == day && days.count() as u32 == nth
        }
        SaysOfWeek::Last(day) => {
            let week_later = date.checked_add_days(Days::new(7)).unwrap();
            weekday(date) == day && week_later.month() != date.month()
        }
    }
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![
        (1..=31_u32).prop_map(Says::Day),
        (0..=30_u32).prop_map(Says::BeforeLast),
        (1..=31_u32).prop_map(Says::Near),
        (0..=30_u32).prop_map(Says::NearBeforeLast),
    ]
}

fn says_of_week() -> impl Strategy<Value = SaysOfWeek> {
    prop_oneof![
        (0..7_u32).prop_map(SaysOfWeek::Weekday),
        (0..7_u32, 1..=5_u32).prop_map(|(day, nth)| SaysOfWeek::Nth(day, nth)),
        (0..7_u32).prop_map(SaysOfWeek::Last),
    ]
}

fn written(says: Says) -> String {
    let back = |before| if before == 0 { "L".to_owned() } else { format!("L-{before}") };
    match says {
        Says::Day(day) => day.to_string(),
        Says::BeforeLast(before) => back(before),
        Says::Near(day) => format!("{day}W"),
        Says::NearBeforeLast(before) => back(before) + "W",
    }
}

fn written_of_week(says: SaysOfWeek, named: bool) -> String {
    const NAMES: [&str; 7] = ["sun", "MON", "tue", "Wed", "thu", "fri", "sat"];
    let day = |day: u32| match (named, day) {
        (true, _) => NAMES[day as usize].to_owned(),
        (false, 0) => "7".to_owned(),
        (false, day) => day.to_string(),
    };
    match says {
        SaysOfWeek::Weekday(weekday) => day(weekday),
        SaysOfWeek::Nth(weekday, nth) => format!("{}#{nth}", day(weekday)),
        SaysOfWeek::Last(weekday) => day(weekday) + "L",
    }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The zone is any, the time is noon, which no clock skips, and the walk lasts four years from any day.
    #[test]
    fn counted_days_are_those_of_a_walk_through_the_calendar(
        dates in prop::collection::vec(says(), 0..4),
        weekdays in prop::collection::vec(says_of_week(), 0..4),
        named in any::<bool>(),
        star in any::<bool>(),
        from in 0_u64..40_000,
        zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()),
    ) {
        let field = |items: String| if items.is_empty() { "*".to_owned() } else { items };
        let date_field = field(joined(dates.iter().map(|says| written(*says))));
        // A weekday field that begins with a star narrows, so both fields must match.
        let week_items = joined(weekdays.iter().map(|says| written_of_week(*says, named)));
        let week_field = match (star, week_items.is_empty()) {
            (true, false) => format!("*/8,{week_items}"),
            (_, _) => field(week_items),
        };
        let text = format!("0 12 {date_field} * {week_field}");
        let crontab = match Crontab::parse(&text) {
            Ok(crontab) => crontab,
            Err(BadCrontab::Never(..)) => return Ok(()),
            Err(wrong) => return Err(TestCaseError::fail(format!("{text}: {wrong}"))),
        };
        let both = dates.is_empty() || weekdays.is_empty() || star;
        let sunday = star && !weekdays.is_empty();
        let means = |date: NaiveDate| {
            let of_month = dates.is_empty() || dates.iter().any(|says| means_date(*says, date));
            let of_week = weekdays.is_empty()
                || (sunday && weekday(date) == 0)
                || weekdays.iter().any(|says| means_weekday(*says, date));
            if both { of_month && of_week } else { of_month || of_week }
        };

        let start = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap().checked_add_days(Days::new(from)).unwrap();
        let noon = |date: NaiveDate| -> Option<Timestamp> {
            let at = date.and_hms_opt(12, 0, 0).unwrap().and_local_timezone(zone).single()?;
            Some(at.to_utc().into())
        };
        let expected: Vec<Timestamp> =
            start.iter_days().take(4 * 366).filter(|date| means(*date)).filter_map(noon).take(40).collect();
        let Some(before) = noon(start).map(|at| at.minus(std::time::Duration::from_secs(1))) else { return Ok(()) };
        let mut last = before;
        let found: Vec<Timestamp> = std::iter::from_fn(|| {
            last = crontab.next_after(zone, last)?;
            Some(last)
        })
        .take(expected.len())
        .collect();

        prop_assert_eq!(found, expected, "{} in {} from {}", text, zone, start);
    }
}

/// The table of the guide on schedules.
#[test]
fn the_examples_of_the_guide_are_due_on_these_days() {
    let table: [(&str, &[&str]); 12] = [
        ("0 0 L * *", &["Sat 2026-01-31", "Sat 2026-02-28", "Tue 2026-03-31", "Thu 2026-04-30"]),
        ("0 0 L-2 * *", &["Thu 2026-01-29", "Thu 2026-02-26", "Sun 2026-03-29", "Tue 2026-04-28"]),
        ("0 0 15W * *", &["Thu 2026-01-15", "Mon 2026-02-16", "Mon 2026-03-16", "Wed 2026-04-15"]),
        // The 1st of August 2026 is a Saturday, and the Friday before it is in another month.
        ("0 0 1W 8 *", &["Mon 2026-08-03", "Mon 2027-08-02", "Tue 2028-08-01", "Wed 2029-08-01"]),
        ("0 0 31W * *", &["Fri 2026-01-30", "Tue 2026-03-31", "Fri 2026-05-29", "Fri 2026-07-31"]),
        ("0 0 LW * *", &["Fri 2026-01-30", "Fri 2026-02-27", "Tue 2026-03-31", "Thu 2026-04-30"]),
        ("0 0 L-1W * *", &["Fri 2026-01-30", "Fri 2026-02-27", "Mon 2026-03-30", "Wed 2026-04-29"]),
        ("0 0 * * friL", &["Fri 2026-01-30", "Fri 2026-02-27", "Fri 2026-03-27", "Fri 2026-04-24"]),
        ("0 0 * * 5#2", &["Fri 2026-01-09", "Fri 2026-02-13", "Fri 2026-03-13", "Fri 2026-04-10"]),
        ("0 0 * * mon#5", &["Mon 2026-03-30", "Mon 2026-06-29", "Mon 2026-08-31", "Mon 2026-11-30"]),
        ("0 0 * * 0#1,7L", &["Sun 2026-01-04", "Sun 2026-01-25", "Sun 2026-02-01", "Sun 2026-02-22"]),
        ("0 0 L * mon#1", &["Mon 2026-01-05", "Sat 2026-01-31", "Mon 2026-02-02", "Sat 2026-02-28"]),
    ];
    for (text, expected) in table {
        let found = first(text, Tz::UTC, "2025-12-31T23:59:59Z", expected.len());
        let expected: Vec<String> = expected.iter().map(|day| format!("{day} 00:00 +00:00")).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn errors_describe_a_wrong_counted_day() {
    let table = [
        ("0 0 L-0 * *", "`L-0` is not `L` or `L-n` with n from 1 to 30"),
        ("0 0 L-31 * *", "`L-31` is not `L` or `L-n`"),
        ("0 0 LL * *", "`LL` is not `L` or `L-n`"),
        ("0 0 L,W * *", "`W` is no `15W`, `LW` or `L-3W`"),
        ("0 0 32W * *", "`32W` is no `15W`"),
        ("0 0 1-5W * *", "`1-5W` is no `15W`"),
        ("0 0 15W/2 * *", "a step needs a range before it"),
        ("0 0 * * L", "`L` alone is Saturday to some and the last day to others; write `6`, or `satL`"),
        ("0 0 * * 8L", "`8L` is not the last of a weekday"),
        ("0 0 * * fri#6", "`fri#6` is not a weekday and 1 to 5"),
        ("0 0 * * fri#0", "`fri#0` is not a weekday and 1 to 5"),
        ("0 0 * * fri#", "`fri#` is not a weekday and 1 to 5"),
        ("0 0 * * mon-fri#1", "`mon-fri#1` is not a weekday and 1 to 5"),
        ("L 0 * * *", "minute `L`: `L` is not a value"),
        ("0 0 * L *", "month `L`: `L` is not a value"),
        ("0 0 ? * friL", "`?` is not a value; for any day write `*`"),
        ("0 0 L-29 2 *", "never comes"),
        ("0 0 31W 4,6 *", "never comes"),
        ("0 0 15W * */7", "never comes"),
        ("0 0 L-30 H *", "never comes under some names"),
        ("0 0 31W * */7,sat~sun", "runs backwards"),
    ];
    for (text, words) in table {
        let wrong = Crontab::parse(text).expect_err(text).to_string();
        assert!(wrong.contains(words) && wrong.len() < 300, "{text}: {wrong}");
    }
    for text in ["0 0 L H *", "H H L * *", "0 0 L-28 1-3 *", "0 0 * * mon#5", "0 0 * 2 mon#5", "0 0 ~,L 2 *"] {
        let crontab = crontab(text);
        for n in 0..50 {
            let named = crontab.for_name(&n.to_string());
            assert!(named.next_after(Tz::UTC, at("2026-01-01T00:00:00Z")).is_some(), "{text} for {n}");
        }
    }
}

#[test]
fn a_counted_day_follows_the_clocks_like_any_other() {
    // 02:30 is left out on the last Sunday of March.
    let berlin = Tz::Europe__Berlin;
    assert_eq!(
        first("30 2 * * sunL", berlin, "2027-03-01T00:00:00Z", 2),
        ["Sun 2027-03-28 03:00 +02:00", "Sun 2027-04-25 02:30 +02:00"]
    );
    assert_eq!(
        first("30 2 * 10 sunL", berlin, "2027-10-01T00:00:00Z", 2),
        ["Sun 2027-10-31 02:30 +02:00", "Sun 2028-10-29 02:30 +02:00"]
    );
    let lord_howe = first("15 2 * 10 sun#1", Tz::Australia__Lord_Howe, "2027-10-01T00:00:00Z", 1);
    assert_eq!(lord_howe, ["Sun 2027-10-03 02:30 +11:00"]);
}

/// A crontab is refused whatever name it is tried under, and wherever its `~` falls under that name.
#[test]
fn a_crontab_that_would_never_come_under_some_name_is_refused_under_all() {
    let last_days = ["28~30", "29~30", "29~31", "27~31", "1~30"].map(|days| format!("0 0 {days} 2 */7,fri#5"));
    let weekends = ["5~6", "4~6", "3~6", "2~6", "1~6"].map(|days| format!("0 0 15W * */8,{days}"));
    for text in last_days.iter().chain(&weekends) {
        let wrong = Crontab::parse(text).expect_err(text).to_string();
        assert!(wrong.contains("never comes under some names"), "{text}: {wrong}");
    }
}

#[test]
fn a_day_that_matches_two_counted_items_is_due_once() {
    // The 30th of April 2027 is a Friday: the last day, the last workday, the last and the fifth Friday.
    for text in ["0 0 L,LW * *", "0 0 L,30W * *", "0 0 * * fri#5,friL", "0 0 L * friL"] {
        assert_eq!(first(text, Tz::UTC, "2027-04-29T12:00:00Z", 1), ["Fri 2027-04-30 00:00 +00:00"], "{text}");
    }
}

#[test]
fn the_day_thirty_days_before_the_last_comes_in_the_longest_months_only() {
    for text in ["0 0 L-30 * *", "0 0 L-30W * *"] {
        let months: Vec<String> = first(text, Tz::UTC, "2020-01-01T00:00:00Z", 7 * 28);
        let long = ["-01-", "-03-", "-05-", "-07-", "-08-", "-10-", "-12-"];
        assert!(months.iter().all(|at| long.iter().any(|month| at.contains(month))), "{text}: {months:?}");
        assert!(months.iter().any(|at| at.contains(" 2047-")), "seven in each year: {text}: {months:?}");
    }
}

#[test]
fn a_crontab_without_what_few_have_takes_no_room_for_it() {
    for (text, has_extras) in [("0 9 * * *", false), ("0 9 L * *", true), ("0 9 * * fri#1", true)] {
        assert_eq!(crontab(text).calendar.extras.is_some(), has_extras, "{text}");
    }
}
