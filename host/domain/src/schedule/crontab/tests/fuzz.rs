//! Tests texts of all kinds, and crontabs made at random.

use proptest::prelude::*;

use super::naive::Naive;
use super::*;

fn any_zone() -> impl Strategy<Value = Tz> {
    prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec())
}

/// Makes a well-formed field: a list of stars, values, ranges and steps.
fn field(low: u32, high: u32, names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let value = move |value: u32| match names.get((value - low) as usize) {
        Some(name) if value.is_multiple_of(2) => (*name).to_owned(),
        _ => value.to_string(),
    };
    let range = (low..=high, low..=high).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let item = prop_oneof![
        2 => Just("*".to_owned()),
        2 => (1..=high + 5).prop_map(|step| format!("*/{step}")),
        3 => (low..=high).prop_map(value),
        2 => range.clone().prop_map(|(a, b)| format!("{a}-{b}")),
        2 => (range, 1..=high + 5).prop_map(|((a, b), step)| format!("{a}-{b}/{step}")),
    ];
    prop::collection::vec(item, 1..4).prop_map(|items| items.join(","))
}

fn five() -> impl Strategy<Value = String> {
    const MONTHS: &[&str] = &["jan", "FEB", "mar", "Apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "Dec"];
    const WEEKDAYS: &[&str] = &["sun", "mon", "TUE", "wed", "Thu", "fri", "sat"];
    (field(0, 59, &[]), field(0, 23, &[]), field(1, 31, &[]), field(1, 12, MONTHS), field(0, 7, WEEKDAYS))
        .prop_map(|(a, b, c, d, e)| format!("{a} {b} {c} {d} {e}"))
}

fn six() -> impl Strategy<Value = String> {
    (field(0, 59, &[]), five()).prop_map(|(seconds, five)| format!("{seconds} {five}"))
}

/// Makes texts that resemble crontabs: all parts of the language, in any order.
fn soup() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => Just("*".to_owned()),
        4 => (0_u32..70).prop_map(|n| n.to_string()),
        4 => "[HLW*/,0-9()~#?-]{1,8}",
        3 => "H(\\([0-9]{1,2}-[0-9]{1,2}\\))?(/[0-9]{1,2})?",
        1 => prop::sample::select(vec!["mon", "jan-mar", "@daily", "@reboot", "CRON_TZ=UTC", "TZ=Europe/Berlin", "TZ=x"]).prop_map(str::to_owned),
        1 => ".{0,12}",
    ];
    let blank = prop::sample::select(vec![" ", "\t", "  ", ""]);
    prop::collection::vec((word, blank), 0..8)
        .prop_map(|words| words.into_iter().map(|(word, blank)| format!("{word}{blank} ")).collect())
}

/// Checks that a text causes no panic. If it is refused, the error is one short line. Otherwise it prints as written,
/// and parses again to the same crontab.
fn assert_is_handled(text: &str) -> Result<bool, TestCaseError> {
    let mut accepted = false;
    for read in [Crontab::parse, Crontab::parse_with_seconds] {
        match read(text) {
            Ok(crontab) => {
                accepted = true;
                prop_assert_eq!(crontab.to_string(), text);
                prop_assert_eq!(&read(&crontab.to_string()).unwrap(), &crontab);
                let named = crontab.for_name("acme/report");
                prop_assert_eq!(named.to_string(), text);
                prop_assert!(named.next_after(Tz::UTC, Timestamp::from_millis(0)).is_some(), "{} never comes", text);
            }
            Err(bad) => {
                let line = bad.to_string();
                prop_assert!(line.len() < 300 && !line.chars().any(char::is_control), "{}: {}", line.len(), line);
                let separators = ['\u{2028}', '\u{2029}'];
                prop_assert!(!line.contains(separators));
            }
        }
    }
    Ok(accepted)
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_in_one_line(
        text in any::<String>(),
        other in ".{0,300}",
        fields in prop::collection::vec(".{0,80}", 5..7),
        soup in soup(),
    ) {
        for text in [text, other, fields.join(" "), format!("TZ={}", fields.join(" ")), soup] {
            assert_is_handled(&text)?;
        }
    }

    #[test]
    fn every_well_formed_expression_is_read_and_means_what_it_says(five in five(), six in six(), days in 0_i64..40_000, zone in any_zone()) {
        let prefixed = format!("CRON_TZ={} {five}", zone.name());
        for (text, fields, read) in [
            (&five, &five, Crontab::parse as fn(&str) -> Result<Crontab, BadCrontab>),
            (&prefixed, &five, Crontab::parse),
            (&six, &six, Crontab::parse_with_seconds),
        ] {
            let crontab = match read(text) {
                Ok(crontab) => crontab,
                Err(BadCrontab::Never(..)) => {
                    assert_never(&Naive::read(fields))?;
                    continue;
                }
                Err(bad) => return Err(TestCaseError::fail(format!("{text}: {bad}"))),
            };
            assert_is_handled(text)?;
            prop_assert_eq!(crontab.zone(), text.starts_with("CRON_TZ").then_some(zone));
            assert_means(&crontab, &Naive::read(fields), days * 86_400 - 1)?;
        }
    }

    #[test]
    fn next_after_only_ever_grows(text in five(), six in six(), zone in any_zone(), start in -1_000_000_000_000_i64..4_000_000_000_000, skip in any::<bool>()) {
        for read in [Crontab::parse(&text), Crontab::parse_with_seconds(&six)] {
            let Ok(crontab) = read else { continue };
            let crontab = crontab.with_dst(if skip { Dst::Skip } else { Dst::Vixie });
            let mut last = Timestamp::from_millis(start);
            for _ in 0..20 {
                let Some(next) = crontab.next_after(zone, last) else { break };
                prop_assert!(next > last);
                // A look from any instant in between returns the same answer, because nothing depends on the start.
                let middle = Timestamp::from_millis(last.as_millis() + (next.as_millis() - last.as_millis()) / 2);
                prop_assert_eq!(crontab.next_after(zone, middle), Some(next), "{} after {}", zone, middle);
                last = next;
            }
        }
    }
}

/// Compares the next ten times of the wall clock with a search day by day and, within a day, second by second.
fn assert_means(crontab: &Crontab, naive: &Naive, after: i64) -> Result<(), TestCaseError> {
    let mut last = after;
    for _ in 0..4 {
        let found = crontab.calendar.next_after(last).unwrap();
        prop_assert!(
            found > last && naive.means(found) && crontab.calendar.contains(found),
            "{} at {}",
            crontab,
            found
        );
        // Nothing is left out on the day that ends the wait, nor on the days before.
        let start = last.max(found.div_euclid(86_400) * 86_400 - 1);
        prop_assert!(
            !(start + 1..found).rev().take(2000).any(|second| naive.means(second)),
            "{} before {}",
            crontab,
            found
        );
        let days = last.div_euclid(86_400) + 1..found.div_euclid(86_400);
        prop_assert!(!days.take(800).any(|day| matches_day(naive, day)), "{} before {}", crontab, found);
        last = found;
    }
    Ok(())
}

fn matches_day(naive: &Naive, day: i64) -> bool {
    use chrono::Datelike;
    let date = chrono::DateTime::from_timestamp(day * 86_400, 0).unwrap();
    naive.matches_day(date.day(), date.month(), date.weekday().num_days_from_sunday())
}

/// Checks that it does not come in 400 years, after which the calendar repeats.
fn assert_never(naive: &Naive) -> Result<(), TestCaseError> {
    prop_assert!(!(0..146_097).any(|day| matches_day(naive, day)));
    Ok(())
}
