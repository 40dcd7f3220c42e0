//! Lists the meaning of crontabs in cronie, line by line: at its commit e6c2853 (May 2025), after release 1.7.2. The
//! tables are from its grammar (`range = "*" ["/" n] | n | n "-" n ["/" n] | [n] "~" [n]`, letters and digits as one
//! word, names only where there are names, a separator after each), not from the parser here.

use super::*;

mod fields;

/// The response of cronie to a text.
#[derive(Clone, Copy)]
pub(super) enum Cronie {
    /// cronie takes these values: numbers and runs of them.
    Takes(&'static str),
    /// cronie takes one of these values at random when it loads the crontab. Here the task's name decides.
    Draws(&'static str),
    /// The text is an error, in cronie and here.
    Refuses,
    /// cronie takes the text as an empty set, and the job never runs. Here it is an error on purpose.
    Nothing,
    /// cronie takes these values, because it lets a range end on a seventh minute for `0`. Here it is an error on
    /// purpose.
    Garbage(&'static str),
    /// The text is an error in cronie, and has a meaning here.
    Beyond,
}

/// Returns `0-3 7` as bits.
fn bits(values: &str) -> u64 {
    let number = |text: &str| text.parse::<u64>().unwrap();
    let ranges = values.split(' ').map(|run| run.split_once('-').unwrap_or((run, run)));
    ranges.flat_map(|(first, last)| number(first)..=number(last)).fold(0, |bits, value| bits | (1 << value))
}

#[test]
fn every_field_is_read_as_cronie_reads_it() {
    let mut lines = 0;
    for (at, table) in fields::ALL.into_iter().enumerate() {
        for (text, cronie) in table {
            let mut written = ["*"; 5];
            written[at] = text;
            let read = Crontab::parse(&written.join(" "));
            let found = read.as_ref().ok().map(|crontab| {
                let Calendar { minutes, hours, days, months, weekdays, .. } = crontab.calendar;
                [minutes, hours.into(), days.into(), months.into(), weekdays.into()][at]
            });
            let expected = match cronie {
                Cronie::Takes(values) => Some(bits(values)),
                Cronie::Draws(values) => {
                    let drawn = found.unwrap_or_default();
                    assert!(drawn.count_ones() == 1 && drawn & bits(values) == drawn, "{text}: {read:?}");
                    found
                }
                Cronie::Beyond => {
                    assert!(read.is_ok(), "{text}: {read:?}");
                    continue;
                }
                Cronie::Refuses | Cronie::Nothing => None,
                Cronie::Garbage(values) => {
                    assert_ne!(bits(values), 0);
                    None
                }
            };
            assert_eq!(found, expected, "{} `{text}`: {read:?}", FIELDS[at + 1].name);
            // All fields are read alike, so seconds are read as minutes are.
            if at == 0 && !matches!(cronie, Cronie::Draws(_)) {
                let read = Crontab::parse_with_seconds(&format!("{text} * * * * *"));
                assert_eq!(read.ok().map(|crontab| crontab.calendar.seconds()), expected, "second `{text}`");
            }
            lines += 1;
        }
    }
    figure(&format!("figure cronie_lines {lines} lines"));
    assert!(lines >= 355, "{lines}");
}

/// Minutes, hours, days, months, weekdays; whether one of the day fields is enough; whether the job follows the clock.
type Read = (&'static str, &'static str, &'static str, &'static str, &'static str, bool, bool);

const LINES: &[(&str, Option<Read>)] = &[
    ("* * * * *", Some(("0-59", "0-23", "1-31", "1-12", "0-6", false, true))),
    ("0 * * * *", Some(("0", "0-23", "1-31", "1-12", "0-6", false, true))),
    ("* 0 * * *", Some(("0-59", "0", "1-31", "1-12", "0-6", false, true))),
    ("0 0 * * *", Some(("0", "0", "1-31", "1-12", "0-6", false, false))),
    ("*/5 0 * * *", Some(("0 5 10 15 20 25 30 35 40 45 50 55", "0", "1-31", "1-12", "0-6", false, true))),
    ("0 */12 * * *", Some(("0", "0 12", "1-31", "1-12", "0-6", false, true))),
    ("0-59 0-23 * * *", Some(("0-59", "0-23", "1-31", "1-12", "0-6", false, false))),
    ("5,*/30 0 * * *", Some(("0 5 30", "0", "1-31", "1-12", "0-6", false, false))),
    ("*/30,5 0 * * *", Some(("0 5 30", "0", "1-31", "1-12", "0-6", false, true))),
    ("0 0 1 * *", Some(("0", "0", "1", "1-12", "0-6", false, false))),
    ("0 0 * * 1", Some(("0", "0", "1-31", "1-12", "1", false, false))),
    ("0 0 1 * 1", Some(("0", "0", "1", "1-12", "1", true, false))),
    ("0 0 1-31 * 1", Some(("0", "0", "1-31", "1-12", "1", true, false))),
    ("0 0 1 * 0-7", Some(("0", "0", "1", "1-12", "0-6", true, false))),
    ("0 0 */2 * 1", Some(("0", "0", "1 3 5 7 9 11 13 15 17 19 21 23 25 27 29 31", "1-12", "1", false, false))),
    ("0 0 1 * */2", Some(("0", "0", "1", "1-12", "0 2 4 6", false, false))),
    ("0 0 1,*/10 * 1", Some(("0", "0", "1 11 21 31", "1-12", "1", true, false))),
    ("0 0 */10,2 * 1", Some(("0", "0", "1 2 11 21 31", "1-12", "1", false, false))),
    ("0 0 31 2 1", Some(("0", "0", "31", "2", "1", true, false))),
    ("0 0 29 feb *", Some(("0", "0", "29", "2", "0-6", false, false))),
    ("30 4 1,15 * 5", Some(("30", "4", "1 15", "1-12", "5", true, false))),
    ("23 0-23/2 * * *", Some(("23", "0 2 4 6 8 10 12 14 16 18 20 22", "1-31", "1-12", "0-6", false, false))),
    ("5 4 * * sun", Some(("5", "4", "1-31", "1-12", "0", false, false))),
    ("0 22 * * 1-5", Some(("0", "22", "1-31", "1-12", "1-5", false, false))),
    ("15 14 1 * *", Some(("15", "14", "1", "1-12", "0-6", false, false))),
    ("\t0\t0\t*\t*\t*\t", Some(("0", "0", "1-31", "1-12", "0-6", false, false))),
    ("  0   0 \t *  *   *  ", Some(("0", "0", "1-31", "1-12", "0-6", false, false))),
    ("@yearly", Some(("0", "0", "1", "1", "0-6", false, false))),
    ("@annually", Some(("0", "0", "1", "1", "0-6", false, false))),
    ("@monthly", Some(("0", "0", "1", "1-12", "0-6", false, false))),
    ("@weekly", Some(("0", "0", "1-31", "1-12", "0", false, false))),
    ("@daily", Some(("0", "0", "1-31", "1-12", "0-6", false, false))),
    ("@midnight", Some(("0", "0", "1-31", "1-12", "0-6", false, false))),
    ("@hourly", Some(("0", "0-23", "1-31", "1-12", "0-6", false, true))),
    ("@DAILY", None),
    ("@dail", None),
    ("@dailyy", None),
    ("@", None),
    ("", None),
    (" ", None),
    ("*", None),
    ("* *", None),
    ("* * *", None),
    ("* * * *", None),
    ("*****", None),
    ("0 0 * * *\n", None),
    ("# 0 0 * * *", None),
    ("0 0 * *, *", None),
    ("0 0 , * *", None),
    ("60 0 * * *", None),
    ("1 - 5 * *", None),
    // Here this is an interval or a word of systemd. cronie has neither.
    ("@every 5m", None),
    ("0 0 * * fri-sun", Some(("0", "0", "1-31", "1-12", "0 5 6", false, false))),
    ("0 0 1 * sat-sun", Some(("0", "0", "1", "1-12", "0 6", true, false))),
    ("30 6 * * 6-0", Some(("30", "6", "1-31", "1-12", "0 6", false, false))),
    ("0~0 0 * * *", Some(("0", "0", "1-31", "1-12", "0-6", false, false))),
    ("*x 0 * * *", None),
    ("*5 0 * * *", None),
    // cronie takes the following texts, and they are refused here on purpose. A start is no schedule, text behind the
    // fields would be the command, and a `-` before them keeps a line out of cronie's log. The others would never be
    // due.
    ("@reboot", None),
    ("@daily x", None),
    ("0 0 * * * *", None),
    ("* * * * * date", None),
    ("-0 0 * * *", None),
    ("0 0 30 2 *", None),
    ("0 0 31 4,6,9,nov */2", None),
    ("30-10 0 * * *", None),
    ("0 22-6 * * *", None),
    ("0 0 * * fri-mon", None),
    ("0 0 * * fri-sun/2", None),
];

#[test]
fn every_line_is_read_as_cronie_reads_it() {
    for (text, cronie) in LINES {
        let read = Crontab::parse(text);
        let found = read.as_ref().ok().map(|crontab| {
            let Calendar { minutes, hours, days, months, weekdays, join, .. } = crontab.calendar;
            let sets = [minutes, hours.into(), days.into(), months.into(), weekdays.into()];
            (sets, join == Days::Either, crontab.wild)
        });
        let expected = cronie.map(|(minutes, hours, days, months, weekdays, either, wild)| {
            ([minutes, hours, days, months, weekdays].map(bits), either, wild)
        });
        assert_eq!(found, expected, "`{text}`: {read:?}");
    }
}
