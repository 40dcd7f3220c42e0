//! Tests the parts that cronie does not have: seconds, `H`, a zone in the crontab, and other policies for changes of
//! the clock.

use std::collections::HashMap;

use super::*;

fn seconds(text: &str) -> Crontab {
    Crontab::parse_with_seconds(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn refused(text: &str) -> String {
    Crontab::parse(text).unwrap_err().to_string()
}

/// Returns the next `n` instants in UTC.
fn next(crontab: &Crontab, zone: Tz, after: &str, n: usize) -> Vec<String> {
    let mut last = at(after);
    let mut next = || {
        last = crontab.next_after(zone, last)?;
        Some(last.to_utc().format("%F %T").to_string())
    };
    std::iter::from_fn(&mut next).take(n).collect()
}

/// Returns the values of a field, bit by bit.
fn values(bits: u64) -> Vec<u32> {
    (0..64).filter(|value| bits & (1 << value) != 0).collect()
}

#[test]
fn a_million_crontabs_take_little() {
    assert!(size_of::<Crontab>() <= 56, "{}", size_of::<Crontab>());

    let crontab = crontab("H H * * *");
    let [one, other] = [crontab.for_name("one"), crontab.clone()];
    assert!(Arc::ptr_eq(&crontab.text, &one.text) && Arc::ptr_eq(&crontab.text, &other.text));
}

#[test]
fn seconds_are_read_only_where_they_are_asked_for() {
    assert_eq!(
        next(&seconds("*/25 59 23 * * *"), Tz::UTC, "2026-01-01T23:59:24Z", 4),
        ["2026-01-01 23:59:25", "2026-01-01 23:59:50", "2026-01-02 23:59:00", "2026-01-02 23:59:25"]
    );
    assert_eq!(next(&seconds("30 5 4 * * mon"), Tz::UTC, "2026-01-01T00:00:00Z", 1), ["2026-01-05 04:05:30"]);
    assert_eq!(next(&seconds("@daily"), Tz::UTC, "2026-01-01T00:00:00Z", 1), ["2026-01-02 00:00:00"]);
    assert!(seconds("0 * * * * *").has_seconds() && seconds("@hourly").has_seconds());
    assert!(!crontab("* * * * *").has_seconds());
    assert_eq!(seconds("0 */5 * * * *").calendar, crontab("*/5 * * * *").calendar);

    let five = Crontab::parse_with_seconds("* * * * *").unwrap_err().to_string();
    assert_eq!(
        five,
        "`* * * * *` has 5 fields, a crontab with seconds has six: second minute hour day-of-month month day-of-week (without seconds it is for `cron`)"
    );
    let late = Crontab::parse_with_seconds("60 * * * * *").unwrap_err().to_string();
    assert_eq!(
        late,
        "second `60`: `60` is out of range; use 0-59, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them"
    );
}

#[test]
fn an_h_is_where_the_name_has_it_for_ever() {
    let spread = |text: &str, name: &str| crontab(text).for_name(name).calendar;
    // Computed with another SHA-256. These must never change.
    let table = [("report", 31, 7, 6, 3, 6), ("acme/report", 58, 1, 4, 1, 4)];
    for (name, minute, hour, day, month, weekday) in table {
        let Calendar { minutes, hours, days, months, weekdays, .. } = spread("H H H H H", name);
        assert_eq!(values(minutes), [minute], "{name}");
        assert_eq!(values(hours.into()), [hour], "{name}");
        assert_eq!(values(days.into()), [day], "{name}");
        assert_eq!(values(months.into()), [month], "{name}");
        assert_eq!(values(weekdays.into()), [weekday], "{name}");
    }
    assert_eq!(values(seconds("H * * * * *").for_name("report").calendar.seconds()), [54]);
    assert_eq!(values(spread("H/15 * * * *", "report").minutes), [0, 15, 30, 45].map(|n| n + 1));
    assert_eq!(values(spread("H(0-29) * * * *", "report").minutes), [1]);
    assert_eq!(values(spread("H(30-59) * * * *", "report").minutes), [30 + 1]);
    assert_eq!(values(spread("H(0-29)/10 * * * *", "report").minutes), [0, 10, 20].map(|n| n + 1));
    assert_eq!(values(spread("0 0 * * H(mon-fri)", "report").weekdays.into()), [1]);
}

/// cronie draws such a value when it loads a crontab. Here it is fixed, as for an `H`.
#[test]
fn a_range_with_a_tilde_is_where_the_name_has_it_for_ever() {
    let spread = |text: &str, name: &str| crontab(text).for_name(name).calendar;
    assert_eq!(values(spread("0~59 * * * *", "report").minutes), [31]);
    assert_eq!(values(spread("~ ~ * * *", "acme/report").minutes), [58]);
    assert_eq!(values(spread("* ~ * * *", "acme/report").hours.into()), [1]);
    assert_eq!(values(spread("0~29 * * * *", "report").minutes), values(spread("H(0-29) * * * *", "report").minutes));
    assert_eq!(values(spread("5,0~29 * * * *", "report").minutes), [1, 5]);
    assert!(crontab("0~59 * * * *").has_place_of_its_own() && !crontab("5 * * * *").has_place_of_its_own());
    // Such a day does not exist under all names.
    assert!(refused("0 0 ~ 2 *").contains("never comes under some names"));
    assert!(Crontab::parse("0 0 30~31 1 *").is_ok());
}

#[test]
fn an_h_keeps_to_its_range_and_uses_all_of_it() {
    type Set = fn(&Calendar) -> u64;
    let tables: [(&str, Set, u32, u32, u32); 12] = [
        ("H * * * *", |c| c.minutes, 0, 59, 1),
        ("0 H * * *", |c| c.hours.into(), 0, 23, 1),
        ("0 0 H * *", |c| c.days.into(), 1, 28, 1),
        ("0 0 1 H *", |c| c.months.into(), 1, 12, 1),
        ("0 0 * * H", |c| c.weekdays.into(), 0, 6, 1),
        ("H(10-19) * * * *", |c| c.minutes, 10, 19, 1),
        ("H/15 * * * *", |c| c.minutes, 0, 59, 4),
        ("0 H(8-17)/5 * * *", |c| c.hours.into(), 8, 17, 2),
        ("0 0 * * H(1-7)", |c| c.weekdays.into(), 0, 6, 1),
        ("~ * * * *", |c| c.minutes, 0, 59, 1),
        ("0 20~ * * *", |c| c.hours.into(), 20, 23, 1),
        ("0 0 1~31 * *", |c| c.days.into(), 1, 31, 1),
    ];
    for (text, field, low, high, each) in tables {
        let crontab = crontab(text);
        let mut used = HashMap::<u32, u32>::new();
        for n in 0..2000 {
            let values = values(field(&crontab.for_name(&format!("task-{n}")).calendar));
            assert_eq!(values.len() as u32, each, "{text}: {values:?}");
            values.into_iter().for_each(|value| *used.entry(value).or_default() += 1);
        }
        let even = 2000 * each / (high - low + 1);
        for value in low..=high {
            let times = used.remove(&value).unwrap_or(0);
            assert!((even / 3..even * 3).contains(&times), "{text}: {value} {times} times");
        }
        assert!(used.is_empty(), "{text}: {used:?}");
    }
}

#[test]
fn a_crontab_without_an_h_is_the_same_for_every_name() {
    for text in ["*/5 * * * *", "@daily", "0 0 * * thu", "0 0 * * THU"] {
        let crontab = crontab(text);
        assert_eq!(crontab.for_name("a"), crontab, "{text}");
        assert_eq!(crontab.for_name("b"), crontab, "{text}");
    }
}

#[test]
fn an_h_is_displayed_unchanged_beside_other_values() {
    let crontab = crontab("CRON_TZ=Asia/Tokyo H H(0-5) * * *").with_dst(Dst::Skip);
    let named = crontab.for_name("report");

    assert_eq!(named.to_string(), "CRON_TZ=Asia/Tokyo H H(0-5) * * *");
    assert_eq!((named.zone(), named.dst(), named.has_seconds()), (Some(Tz::Asia__Tokyo), Dst::Skip, false));
    assert_eq!(named.for_name("other"), crontab.for_name("other"));
    assert_ne!(named, crontab.for_name("other"));
    assert!(seconds("H H H * * *").for_name("report").has_seconds());
}

#[test]
fn errors_describe_a_wrong_h() {
    let minute = "; use 0-59, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them";
    let table = [
        ("H(0-60) * * * *", "minute `H(0-60)`: `60` is out of range"),
        ("H(9-3) * * * *", "minute `H(9-3)`: `9-3` runs backwards"),
        ("H/0 * * * *", "minute `H/0`: `0` is not a step, which is 1 or more"),
        ("H5 * * * *", "minute `H5`: `H5` is no `H`, `H(a-b)`, `H/n` or `H(a-b)/n`"),
        ("H(5) * * * *", "minute `H(5)`: `H(5)` is no `H`, `H(a-b)`, `H/n` or `H(a-b)/n`"),
        ("H(1-5 * * * *", "minute `H(1-5`: `H(1-5` is no `H`, `H(a-b)`, `H/n` or `H(a-b)/n`"),
        ("H-5 * * * *", "minute `H-5`: `H-5` is no `H`, `H(a-b)`, `H/n` or `H(a-b)/n`"),
        ("h * * * *", "minute `h`: `h` is not a value"),
    ];
    for (text, expected) in table {
        assert_eq!(refused(text), format!("{expected}{minute}"), "{text}");
    }
    assert_eq!(
        refused("0 0 H(1-31) * *"),
        "day-of-month `H(1-31)`: `H` keeps to 1-28, which every month has; use 1-31, `*`, `H` (1-28), `a-b`, `a~b`, `*/n`, `a-b/n`, `L`, `L-n`, `nW`, `LW` or a list of them"
    );
}

#[test]
fn a_date_that_never_comes_is_refused_in_every_form() {
    let never = ["0 0 31 2 *", "0 0 30,31 feb *", "0 0 31 4-6/2 *", "CRON_TZ=Asia/Tokyo H H 30 2 *", "H H 31 2 */2"];
    for text in never {
        assert!(matches!(Crontab::parse(text), Err(BadCrontab::Never(..))), "{text}");
        let (zone, fields) = text.split_at(text.find(['0', 'H']).unwrap());
        let six = format!("{zone}*/10 {fields}");
        assert!(matches!(Crontab::parse_with_seconds(&six), Err(BadCrontab::Never(..))), "{six}");
    }
    // Whether these come would depend on the name.
    for text in ["0 0 30 H *", "0 0 31 H *", "0 0 30 H(1-3) *", "0 0 31 H/5,2 *"] {
        let line = refused(text);
        assert_eq!(line, format!("`{text}` never comes under some names; use days that these months have"));
    }
    // These come under every name.
    for text in ["0 0 29 H *", "0 0 31 H,1 *", "0 0 31 H/2 *", "0 0 30 H(3-12) *", "0 0 31 H(7-8) *", "0 0 31 2 H"] {
        let crontab = crontab(text);
        for n in 0..200 {
            let next = crontab.for_name(&n.to_string()).next_after(Tz::UTC, at("2026-01-01T00:00:00Z"));
            assert!(next.is_some(), "{text} for {n}");
        }
    }
}

#[test]
fn a_zone_in_the_crontab_overrides_the_tasks() {
    for text in ["CRON_TZ=Asia/Tokyo 0 9 * * *", "TZ=Asia/Tokyo \t0 9 * * *", " CRON_TZ=Asia/Tokyo  0 9 * * * "] {
        let crontab = crontab(text);
        assert_eq!(crontab.zone(), Some(Tz::Asia__Tokyo), "{text}");
        assert_eq!(next(&crontab, Tz::Europe__Berlin, "2026-01-01T00:00:01Z", 1), ["2026-01-02 00:00:00"], "{text}");
        assert_eq!(crontab.to_string(), text);
    }
    assert_eq!(crontab("0 9 * * *").zone(), None);
    assert_eq!(crontab("TZ=UTC @daily").zone(), Some(Tz::UTC));
    assert_eq!(seconds("TZ=UTC * * * * * *").zone(), Some(Tz::UTC));

    let table = [
        (
            "CRON_TZ=Europe/Belrin 0 9 * * *",
            "CRON_TZ `Europe/Belrin`: there is no such zone; did you mean \"Europe/Berlin\"?",
        ),
        ("TZ=tokyo 0 9 * * *", "TZ `tokyo`: there is no such zone; did you mean \"Asia/Tokyo\"?"),
        ("TZ= 0 9 * * *", "TZ ``: there is no such zone; write one of the IANA database, such as \"Europe/Berlin\""),
        ("TZ=UTC", "`` has 0 fields, a crontab has five: minute hour day-of-month month day-of-week"),
        (
            "ZT=UTC 0 9 * *",
            "minute `ZT=UTC`: `ZT=UTC` is not a value; use 0-59, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(refused(text), expected, "{text}");
    }
}

#[test]
fn changes_of_the_clock_can_be_treated_otherwise() {
    let berlin = Tz::Europe__Berlin;
    let fixed = crontab("30 2 * * *");
    assert_eq!((fixed.dst(), Dst::default()), (Dst::Vixie, Dst::Vixie));

    let table: [(Dst, &str, [&str; 2]); 6] = [
        // Spring: 02:00 becomes 03:00, at 01:00 UTC.
        (Dst::Vixie, "2026-03-28T12:00:00Z", ["2026-03-29 01:00:00", "2026-03-30 00:30:00"]),
        (Dst::Skip, "2026-03-28T12:00:00Z", ["2026-03-30 00:30:00", "2026-03-31 00:30:00"]),
        (Dst::Utc, "2026-03-28T12:00:00Z", ["2026-03-29 02:30:00", "2026-03-30 02:30:00"]),
        // Autumn: 03:00 becomes 02:00, at 01:00 UTC.
        (Dst::Vixie, "2026-10-24T12:00:00Z", ["2026-10-25 00:30:00", "2026-10-26 01:30:00"]),
        (Dst::Skip, "2026-10-24T12:00:00Z", ["2026-10-25 00:30:00", "2026-10-26 01:30:00"]),
        (Dst::Utc, "2026-10-24T12:00:00Z", ["2026-10-25 02:30:00", "2026-10-26 02:30:00"]),
    ];
    for (dst, after, expected) in table {
        assert_eq!(next(&fixed.clone().with_dst(dst), berlin, after, 2), expected, "{dst:?} after {after}");
    }
    let in_tokyo = crontab("CRON_TZ=Asia/Tokyo 30 2 * * *").with_dst(Dst::Utc);
    assert_eq!(next(&in_tokyo, berlin, "2026-01-01T00:00:00Z", 1), ["2026-01-01 02:30:00"]);
}

#[test]
fn a_text_that_is_too_long_is_refused() {
    let all: Vec<String> = (0..60).map(|minute| minute.to_string()).collect();
    assert_eq!(crontab(&format!("{} * * * *", all.join(","))).calendar, crontab("* * * * *").calendar);

    assert_eq!(crontab(&format!("{}* * * * *", " ".repeat(991))).calendar, crontab("* * * * *").calendar);
    assert_eq!(
        refused(&format!("{}* * * * *", " ".repeat(992))),
        "a crontab has at most 1000 bytes, this one has 1001; write ranges and steps"
    );
}

/// Uses more fields than the cache holds, several times over. Cached values are right, and old ones are dropped in
/// time.
#[test]
fn cached_fields_are_right() {
    for _ in 0..2 {
        for (first, second) in (0..60).flat_map(|first| (first..60).map(move |second| (first, second))) {
            let crontab = crontab(&format!("{first},{second} * * * *"));
            assert_eq!(crontab.calendar.minutes, (1 << first) | (1 << second));
        }
    }
}

/// `cargo test --release -- --ignored --nocapture` prints the cost of parsing a crontab and of a look.
#[test]
#[ignore = "measures: for release builds"]
fn a_crontab_is_read_in_two_microseconds() {
    let texts: Vec<String> = (0..100_000).map(|n| format!("{} {} */2 * {}", n % 60, n / 60 % 24, n % 7)).collect();
    let spread = crontab("H H * * *");
    for (what, work) in [
        ("parse", (&|n: usize| crontab(&texts[n])) as &dyn Fn(usize) -> Crontab),
        ("for_name", &|n| spread.for_name(&texts[n])),
    ] {
        let start = std::time::Instant::now();
        (0..texts.len()).for_each(|n| drop(std::hint::black_box(work(n))));
        println!("figure crontab_{what} {:.3} us", start.elapsed().as_secs_f64() * 1e6 / texts.len() as f64);
    }
    let crontab = crontab("30 2 * * *");
    let start = std::time::Instant::now();
    let mut last = at("2026-01-01T00:00:00Z");
    for _ in 0..100_000 {
        last = crontab.next_after(Tz::Europe__Berlin, last).unwrap();
    }
    println!("figure crontab_next_after {:.3} us", start.elapsed().as_secs_f64() * 1e6 / 1e5);
}
