use chrono_tz::Europe::Berlin;
use proptest::prelude::*;

use super::*;

/// 2027-03-24T10:15:30Z.
const NOW: Timestamp = Timestamp::from_millis(1_805_883_330_000);

fn in_berlin(text: &str) -> Result<ParsedSchedule, String> {
    read(text, ParseContext { zone: Some(Berlin), ..ParseContext::default() }, NOW)
}

#[test]
fn a_text_is_parsed_as_the_kind_of_schedule_that_it_resembles() {
    let longest = format!("{}* * * * *", " ".repeat(991));
    for cron in ["*/5 * * * *", "30 2 * * mon", "0 0 1 1 1", " @daily ", "0,30 9-17 1 1 1", &longest] {
        assert!(matches!(in_berlin(cron), Ok(ParsedSchedule { trigger: Trigger::Cron(_), .. })), "{cron}");
    }
    for (text, ms) in [
        ("every 10m", 600_000),
        ("@every 5m", 300_000),
        ("every 1h 30m", 5_400_000),
        ("every hour", 3_600_000),
        ("every 10ms", 10),
    ] {
        assert_eq!(in_berlin(text).map(|given| given.trigger), Ok(Trigger::Every(Duration::from_millis(ms))), "{text}");
    }
    for text in ["now", "tomorrow 4am", "2027-03-28 14:30", "03/28/2027 noon", "4 july 2027 14:30 UTC", "in 2 hours"] {
        assert!(matches!(in_berlin(text), Ok(ParsedSchedule { trigger: Trigger::At(_), .. })), "{text}");
    }
}

#[test]
fn an_interval_in_words_reads_as_that_interval() {
    for ms in [10, 15, 1000, 1001, 90_000, 3_600_000, 86_400_000, 604_800_000, 31_622_400_000] {
        let given = ParsedSchedule {
            trigger: Trigger::Every(Duration::from_millis(ms)),
            zone: Berlin,
            notes: Vec::new(),
            start: None,
            skipped: None,
        };
        let explained = given.explain(NOW, 0).words;
        let words = explained.split(", counted from").next().expect("some words");
        assert_eq!(in_berlin(words).map(|given| given.trigger), Ok(given.trigger), "{words}");
    }
}

#[test]
fn a_crontab_that_manifests_refuse_is_not_explained() {
    for blank in ["\n", "\r", "\u{a0}", "\u{2028}"] {
        for text in [format!("{blank}0 9 * * mon"), format!("*/5 * * * *{blank}"), format!("@daily{blank}")] {
            assert!(crontab(&text, false).is_err(), "{text:?}");
            let wrong = in_berlin(&text).expect_err(&text);
            assert!(!wrong.contains(['\n', '\r', '\u{2028}']), "{wrong:?}");
        }
    }
    // Spaces and tabs are what crontab(5) has around its fields.
    assert!(in_berlin(" \t0 9 * * mon \t").is_ok() && crontab(" \t0 9 * * mon \t", false).is_ok());
}

#[test]
fn an_instant_whose_time_the_clock_skips_is_marked() {
    let mark = |text| {
        let explained = in_berlin(text).expect("an instant").explain(NOW, 1);
        explained.fires[0].mark.as_ref().map(ToString::to_string)
    };
    let skipped = Some("the clock skips 02:30: run at 03:00".to_owned());
    assert_eq!(mark("2027-03-28 02:30"), skipped);
    assert_eq!(mark("sunday 2:30am"), skipped);
    for text in ["2027-03-28 03:00", "2027-03-28", "2027-03-28 02:30 UTC", "2027-03-27 02:30 + 1 day", "in 2 hours"] {
        assert_eq!(mark(text), None, "{text}");
    }
    let twice = Some("02:30 comes twice: run the first time".to_owned());
    assert_eq!(mark("2027-10-31 02:30"), twice);
}

#[test]
fn an_error_is_about_the_kind_of_schedule_that_was_recognized() {
    for (text, words) in [
        ("* * * *", "a crontab has five"),
        ("30 2", "2 fields"),
        ("61 * * * *", "out of range"),
        ("@fortnightly", "not a crontab macro"),
        ("every", "missing after `every`"),
        ("every monday", "`monday` is not a length of time; write `every 10m`"),
        ("every 1ms", "out of range"),
        ("every 99 years", "out of range"),
        ("soon", "`soon` is not understood"),
        ("", "no instant is written"),
        (&format!("{}* * * * *", " ".repeat(992)), "a schedule has at most 1000 bytes, this text has 1001"),
    ] {
        let wrong = in_berlin(text).expect_err(text);
        assert!(wrong.contains(words) && !wrong.contains('\n'), "{text}: {wrong}");
    }
}

#[test]
fn a_crontab_without_a_star_is_no_date() {
    for cron in [
        "10-50/20 8-18 1-31 1-12 1-5",
        "TZ=Europe/Berlin 0 9 1 1 1",
        "CRON_TZ=Asia/Tokyo 0 9 1 jan mon",
        "0,10,20,30,40,50 1 1 1 1",
        "00/15 0 1 1 1",
        "1-2-2027 4 1 1 1",
        "0~30 8-18 1-31 1-12 1-5",
        "H(0-29)/10 H(8-18) 1 1 mon",
        "daily",
        "Quarterly",
        "0 9 L 1-12 fri#2",
    ] {
        let given = in_berlin(cron);
        match Crontab::parse(cron) {
            Ok(crontab) => assert_eq!(given.map(|given| given.trigger), Ok(Trigger::Cron(crontab)), "{cron}"),
            Err(wrong) => assert!(given.is_err(), "{cron}: {wrong}"),
        }
    }
    // An error about a date describes a date, and one about a crontab describes a crontab.
    assert!(in_berlin("2027-13-28 14:30").expect_err("no month").contains("there is no `2027-13-28`"));
    assert!(in_berlin("10-50/20 8-18 1-31 1-12 1-9").expect_err("no weekday").contains("day-of-week `1-9`"));
    assert!(in_berlin("TZ=Berlin 0 9 1 1 1").expect_err("no zone").contains("TZ `Berlin`"));
}

#[test]
fn the_zone_in_a_crontab_overrides_the_one_beside_it_with_a_note() {
    let tokyo = in_berlin("CRON_TZ=Asia/Tokyo 0 9 * * *").unwrap();
    assert_eq!((tokyo.zone, tokyo.plan().zone), (chrono_tz::Asia::Tokyo, chrono_tz::Asia::Tokyo));
    assert_eq!(tokyo.notes, ["the crontab names Asia/Tokyo, which overrides the zone Europe/Berlin beside it"]);
    assert_eq!(tokyo.explain(NOW, 1).fires[0].local, "Thu 2027-03-25 09:00:00 +09:00 JST");

    let alone = read("TZ=Asia/Tokyo 0 9 * * *", ParseContext::default(), NOW).unwrap();
    assert_eq!((alone.zone, alone.notes), (chrono_tz::Asia::Tokyo, vec![]));
    let same = in_berlin("TZ=Europe/Berlin 0 9 * * *").unwrap();
    assert_eq!((same.zone, same.notes), (Berlin, vec![]));
}

#[test]
fn seconds_a_name_and_a_start_are_taken_into_account() {
    let of = |text: &str, reading| read(text, reading, NOW).unwrap();
    let seconds = of("30 0 9 * * *", ParseContext { seconds: true, ..ParseContext::default() });
    assert_eq!(seconds.explain(NOW, 1).fires[0].utc, "2027-03-25 09:00:30Z");
    let wrong = read("0 9 * * *", ParseContext { seconds: true, ..ParseContext::default() }, NOW).unwrap_err();
    assert!(wrong.contains("with seconds has six"), "{wrong}");

    let [nobody, report] =
        [None, Some("report")].map(|name| of("H 3 * * *", ParseContext { name, ..ParseContext::default() }));
    assert_eq!(report.explain(NOW, 1).fires[0].utc, "2027-03-25 03:31:00Z");
    assert!(nobody.notes[0].contains("depends on the task's name") && report.notes.is_empty());

    let start = chrono::DateTime::parse_from_rfc3339("2027-03-29T09:00:00+02:00").unwrap().to_utc().into();
    let mondays = of("every 2w", ParseContext { zone: Some(Berlin), start: Some(start), ..ParseContext::default() });
    let fires = mondays.explain(NOW, 2).fires;
    assert_eq!(
        [&fires[0].local, &fires[1].local],
        ["Mon 2027-03-29 09:00:00 +02:00 CEST", "Mon 2027-04-12 09:00:00 +02:00 CEST"]
    );
}

/// Makes a field of digits and signs alone, because such a text without a star can be mistaken.
fn plain_field(low: u32, high: u32) -> impl Strategy<Value = String> {
    let range = (low..=high, low..=high).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let item = prop_oneof![
        (low..=high).prop_map(|value| value.to_string()),
        range.clone().prop_map(|(a, b)| format!("{a}-{b}")),
        range.clone().prop_map(|(a, b)| format!("{a}~{b}")),
        (range, 1..=high).prop_map(|((a, b), step)| format!("{a}-{b}/{step}")),
    ];
    prop::collection::vec(item, 1..4).prop_map(|items| items.join(","))
}

/// Makes words of both languages, in any order.
fn soup() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[0-9]{1,4}([-/.:~,][0-9]{1,4}){0,3}",
        "[0-9*,/~#?HLW()-]{1,9}",
        prop::sample::select(vec![
            "*",
            "mon",
            "fri",
            "jan",
            "july",
            "4th",
            "noon",
            "4am",
            "daily",
            "@daily",
            "today",
            "next",
            "in",
            "+",
            "UTC",
            "TZ=UTC",
            "CRON_TZ=Asia/Tokyo",
            "14:30",
            "2027-03-28",
            "28.03.2027",
            "hours",
            "week",
            "at",
            "now",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(word, 1..7).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_crontab_is_taken_for_one(
        minutes in plain_field(0, 59), hours in plain_field(0, 23), days in plain_field(1, 28), months in plain_field(1, 12),
        weekdays in plain_field(0, 6), zone in any::<bool>(),
    ) {
        let zone = if zone { "TZ=Asia/Tokyo " } else { "" };
        let text = format!("{zone}{minutes} {hours} {days} {months} {weekdays}");
        let crontab = Crontab::parse(&text).map_err(|wrong| TestCaseError::fail(format!("{text}: {wrong}")))?;
        prop_assert_eq!(in_berlin(&text).map(|given| given.trigger), Ok(Trigger::Cron(crontab)));
    }

    #[test]
    fn no_text_is_both_a_crontab_and_an_instant(text in soup()) {
        let crontab = Crontab::parse(&text).ok();
        let instant = instant_parser::instant(&text, Berlin, NOW).ok();
        prop_assert!(crontab.is_none() || instant.is_none(), "{} is both", text);
        let taken = in_berlin(&text).ok().map(|given| given.trigger);
        prop_assert_eq!(taken, crontab.map(Trigger::Cron).or(instant.map(Trigger::At)), "{}", text);
    }
}
