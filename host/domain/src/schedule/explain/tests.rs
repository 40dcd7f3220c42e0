use chrono_tz::{America::New_York, Asia::Singapore, Australia::Lord_Howe, Europe::Berlin, Pacific::Apia, TZ_VARIANTS};
use proptest::prelude::*;

use std::time::Duration;

use super::*;
use crate::schedule::{Crontab, Dst, Timing, dst};

fn cron(text: &str) -> Trigger {
    Trigger::Cron(Crontab::parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}")))
}

fn at(text: &str) -> Timestamp {
    chrono::DateTime::parse_from_rfc3339(text).expect("an instant").to_utc().into()
}

/// A trigger and nothing else, by the clocks of `zone`.
fn explained(trigger: &Trigger, zone: Tz, from: Timestamp, count: usize) -> Explanation {
    explain(&Plan::of(trigger, zone), from, count)
}

fn describe(trigger: &Trigger, zone: Tz) -> String {
    words(&Plan::of(trigger, zone))
}

#[test]
fn seconds_an_own_zone_and_utc_are_described_too() {
    let with_seconds = |text| Trigger::Cron(Crontab::parse_with_seconds(text).unwrap());
    let table = [
        (with_seconds("* * * * * *"), "every second"),
        (with_seconds("*/10 * * * * *"), "every 10 seconds"),
        (with_seconds("5,35 * * * * *"), "at second 5 and 35 of the minute"),
        (with_seconds("10-20 * * * * *"), "at every second from 10 to 20 of the minute"),
        (with_seconds("*/7 * * * * *"), "at every 7th second from 0 to 56 of the minute"),
        (with_seconds("*/10 30 2 * * mon"), "every 10 seconds, at 02:30 every Monday"),
        (with_seconds("0 30 2 * * *"), "at 02:30 every day"),
        (cron("CRON_TZ=Asia/Tokyo 0 9 * * *"), "at 09:00 every day, by the clocks of Asia/Tokyo"),
    ];
    for (trigger, expected) in table {
        assert_eq!(describe(&trigger, Berlin), expected);
    }
    let utc = Trigger::Cron(Crontab::parse("30 2 * * *").unwrap().with_dst(Dst::Utc));
    assert_eq!(describe(&utc, Berlin), "at 02:30 every day, by UTC");
    let fires = explained(&utc, Berlin, at("2027-03-27T12:00:00Z"), 1).fires;
    assert_eq!((fires[0].at, &fires[0].mark), (at("2027-03-28T02:30:00Z"), &None));
}

#[test]
fn a_time_that_is_left_out_is_marked_on_the_instant_after_it() {
    let skip = |text| Trigger::Cron(Crontab::parse(text).unwrap().with_dst(Dst::Skip));
    let first = |trigger: &Trigger, zone, from| {
        let fire = explained(trigger, zone, at(from), 1).fires.remove(0);
        (fire.local, fire.mark.map(|mark| mark.to_string()))
    };
    let left_out = |what: &str| Some(format!("the clock skips {what}: left out"));

    let nightly = first(&skip("30 2 * * *"), Berlin, "2027-03-27T12:00:00Z");
    assert_eq!(nightly, ("Mon 2027-03-29 02:30:00 +02:00 CEST".into(), left_out("02:30 on 2027-03-28")));
    let two = explained(&skip("30 2 * * *"), Berlin, at("2027-03-26T12:00:00Z"), 2).fires;
    assert_eq!([&two[0].mark, &two[1].mark].map(Option::is_some), [false, true], "it is marked once, where it is");
    let yearly = first(&skip("30 2 28 3 *"), Berlin, "2027-01-01T00:00:00Z");
    assert_eq!(yearly, ("Tue 2028-03-28 02:30:00 +02:00 CEST".into(), left_out("02:30 on 2027-03-28")));
    // A schedule that follows the clock loses all of the only hour of its day, and nothing if it has more hours.
    let quarters = first(&cron("*/15 2 * * *"), Berlin, "2027-03-27T12:00:00Z");
    assert_eq!(quarters, ("Mon 2027-03-29 02:00:00 +02:00 CEST".into(), left_out("02:00 on 2027-03-28")));
    assert_eq!(first(&cron("*/15 * * * *"), Berlin, "2027-03-28T00:45:00Z").1, None);
    // A whole day that a country left out is not made up for.
    let samoa = first(&cron("0 9 * * *"), Apia, "2011-12-29T20:00:00Z");
    assert_eq!(samoa, ("Sat 2011-12-31 09:00:00 +14:00".into(), left_out("09:00 on 2011-12-30")));
    // Before the start of the look, and before the schedule's start, nothing is left out.
    assert_eq!(first(&skip("30 2 28 3 *"), Berlin, "2027-03-28T01:00:00Z").1, None);
    let timing = Timing { start: Some(at("2027-04-01T00:00:00Z")), ..Timing::default() };
    let trigger = skip("30 2 * * *");
    let later = Plan { timing, ..Plan::of(&trigger, Berlin) };
    assert_eq!(explain(&later, at("2027-03-01T00:00:00Z"), 1).fires[0].mark, None);
    // In UTC nothing is left out, even on a day on which the schedule is not due by the clocks of the zone.
    let utc = Trigger::Cron(Crontab::parse("30 2 14 3 *").unwrap().with_dst(Dst::Utc));
    assert!(!month(&Plan::of(&utc, New_York), 2027, 3).contains("skips"));
    assert!(
        month(&Plan::of(&trigger, Berlin), 2027, 3).contains("\n 28: the clock skips 02:30 on 2027-03-28: left out\n")
    );
}

#[test]
fn a_day_counted_from_a_start_is_marked_where_its_time_is_skipped() {
    let daily = Trigger::Every(Duration::from_secs(86_400));
    let timing = Timing { start: Some(at("2027-03-01T02:30:00+01:00")), ..Timing::default() };
    let plan = Plan { timing, ..Plan::of(&daily, Berlin) };

    let fires = explain(&plan, at("2027-03-27T12:00:00Z"), 2).fires;

    let mark = fires[0].mark.as_ref().map(Mark::to_string);
    assert_eq!(mark.as_deref(), Some("the clock skips 02:30: run at 03:00"));
    assert_eq!((fires[1].local.as_str(), &fires[1].mark), ("Mon 2027-03-29 02:30:00 +02:00 CEST", &None));
    assert!(month(&plan, 2027, 3).contains("\n 28: the clock skips 02:30: run at 03:00\n"));
    assert_eq!(words(&plan), "every day, counted from Mon 2027-03-01 02:30:00 +01:00 CET");
    assert_eq!(
        describe(&Trigger::Every(Duration::from_secs(14 * 86_400)), Berlin),
        "every 2 weeks, counted from Thu 1970-01-01 00:00:00Z"
    );
}

#[test]
fn counted_days_are_described_in_words() {
    #[rustfmt::skip]
    let table = [
        ("0 0 L * *", "at 00:00 on the last day of every month"),
        ("0 0 L-2 3 *", "at 00:00 on the 2nd day before the last of March"),
        ("0 0 15W * *", "at 00:00 on the weekday nearest to the 15th of every month"),
        ("0 0 LW * *", "at 00:00 on the last weekday from Monday to Friday of every month"),
        ("0 0 1,L * *", "at 00:00 on the 1st and the last day of every month"),
        ("0 0 * * fri#2", "at 00:00 on the 2nd Friday of every month"),
        ("0 0 * * 1#1,1#3", "at 00:00 on the 1st Monday and the 3rd Monday of every month"),
        ("0 0 * 6 friL", "at 00:00 on the last Friday of June"),
        ("0 0 * * mon,friL", "at 00:00 every Monday, and on the last Friday of every month"),
        ("0 0 L * fri#2", "at 00:00 on the last day of every month, and on the 2nd Friday of every month"),
        ("0 0 L * */2", "at 00:00 on the last day of every month, if it is a Tuesday, a Thursday, a Saturday or a Sunday"),
        ("0 0 1-31 * fri#2", "at 00:00 every day"),
    ];
    for (text, said) in table {
        assert_eq!(describe(&cron(text), Berlin), said, "{text}");
    }
}

#[test]
fn a_crontab_with_seconds_that_the_clock_skips_is_marked_to_the_second() {
    let trigger = Trigger::Cron(Crontab::parse_with_seconds("15 30 2 * * *").unwrap());
    let fires = explained(&trigger, Berlin, at("2027-03-27T12:00:00Z"), 1).fires;
    let gap = Mark::Gap { skipped: "02:30:15".into(), run_at: "03:00".into() };
    assert_eq!((fires[0].at, &fires[0].mark), (at("2027-03-28T01:00:00Z"), &Some(gap)));
}

#[test]
fn a_crontab_is_described_in_words() {
    #[rustfmt::skip]
    let table = [
        ("* * * * *", "every minute"),
        ("*/10 * * * *", "every 10 minutes"),
        ("*/30 * * * *", "every 30 minutes"),
        ("0 * * * *", "every hour"),
        ("@hourly", "every hour"),
        ("15 * * * *", "at minute 15 past every hour"),
        ("5,20 * * * *", "at minute 5 and 20 past every hour"),
        ("*/7 * * * *", "at every 7th minute from 0 to 56 past every hour"),
        ("10-20 * * * *", "at every minute from 10 to 20 past every hour"),
        ("*/10 9-17 * * *", "every 10 minutes from 09:00 to 17:50"),
        ("* 2 * * *", "every minute from 02:00 to 02:59"),
        ("* 2,5 * * *", "every minute of the hours 2 and 5"),
        ("0 */2 * * *", "every 2 hours from 00:00"),
        ("15 */2 * * *", "at minute 15 past every 2nd hour from 0 to 22"),
        ("0 */6 * * *", "at 00:00, 06:00, 12:00 and 18:00 every day"),
        ("0 1,2,3,5,7,11 * * *", "at 01:00, 02:00, 03:00, 05:00, 07:00 and 11:00 every day"),
        ("5,20,50 1,9,11 * * *", "at minute 5, 20 and 50 past the hours 1, 9 and 11"),
        ("0,30 9-17 * * mon-fri", "at minute 0 and 30 past every hour from 9 to 17, Monday to Friday"),
        ("0 9-17 * * *", "at minute 0 past every hour from 9 to 17"),
        ("30 2 * * *", "at 02:30 every day"),
        ("0,30 2,14 * * *", "at 02:00, 02:30, 14:00 and 14:30 every day"),
        ("30 2 * * mon", "at 02:30 every Monday"),
        ("30 2 * * 0", "at 02:30 every Sunday"),
        ("30 2 * * 7", "at 02:30 every Sunday"),
        ("@weekly", "at 00:00 every Sunday"),
        ("30 2 * * mon,thu", "at 02:30 every Monday and Thursday"),
        ("30 2 * * 0,6", "at 02:30 every Saturday and Sunday"),
        ("30 2 * * 1-5", "at 02:30, Monday to Friday"),
        ("@monthly", "at 00:00 on the 1st of every month"),
        ("0 0 1,15 * *", "at 00:00 on the 1st and 15th of every month"),
        ("0 0 1-7 * *", "at 00:00 on every day from the 1st to the 7th of every month"),
        ("0 0 2,3,22,23 * *", "at 00:00 on the 2nd, 3rd, 22nd and 23rd of every month"),
        ("0 0 11,12,13 * *", "at 00:00 on every day from the 11th to the 13th of every month"),
        ("@yearly", "at 00:00 on the 1st of January"),
        ("0 0 1 1,7 *", "at 00:00 on the 1st of January and July"),
        ("0 0 1 3-5 *", "at 00:00 on the 1st of every month from March to May"),
        ("30 2 * 12 *", "at 02:30 every day in December"),
        ("30 2 * 6,7 mon", "at 02:30 every Monday in June and July"),
        ("30 2 * 6 1-5", "at 02:30, Monday to Friday, in June"),
        ("0 0 13 * fri", "at 00:00 on the 13th of every month, and every Friday"),
        ("0 0 13 6 1-5", "at 00:00 on the 13th of June, and Monday to Friday in June"),
        ("0 0 */2 * fri", "at 00:00 on every 2nd day from the 1st to the 31st of every month, if it is a Friday"),
        ("0 0 1-7 * */2", "at 00:00 on every day from the 1st to the 7th of every month, if it is a Tuesday, Thursday, Saturday or Sunday"),
        ("*/10 * * * 1-5", "every 10 minutes, Monday to Friday"),
        ("*/10 * 1 * *", "every 10 minutes on the 1st of every month"),
        ("*/10 * * * mon", "every 10 minutes, every Monday"),
        ("0 0 1 */2 *", "at 00:00 on the 1st of every 2nd month from January to November"),
        ("0 * * 6 *", "every hour in June"),
    ];
    for (text, said) in table {
        assert_eq!(describe(&cron(text), Berlin), said, "{text}");
    }
}

#[test]
fn the_other_triggers_are_described_in_words() {
    let every = |ms| describe(&Trigger::Every(Duration::from_millis(ms)), Berlin);
    assert_eq!(every(600_000), "every 10 minutes");
    assert_eq!(every(60_000), "every minute");
    assert_eq!(every(5_400_000), "every 90 minutes");
    assert_eq!(every(86_400_000), "every day");
    assert_eq!(every(1500), "every 1500 ms");
    let once = Trigger::At(at("2027-07-04T12:30:00Z"));
    assert_eq!(describe(&once, Berlin), "once, at Sun 2027-07-04 14:30:00 +02:00 CEST");
    assert_eq!(describe(&Trigger::OnDemand, Berlin), "on demand only");

    let passed = explained(&once, Berlin, at("2027-07-04T12:30:00Z"), 5);
    assert_eq!((passed.words.ends_with(", which has passed"), passed.fires), (true, vec![]));
}

#[test]
fn the_effect_of_a_gap_is_marked() {
    let fires = explained(&cron("30 2 * * *"), Berlin, at("2027-03-27T12:00:00Z"), 2).fires;
    assert_eq!(fires[0].local, "Sun 2027-03-28 03:00:00 +02:00 CEST");
    assert_eq!(fires[0].utc, "2027-03-28 01:00:00Z");
    let mark = fires[0].mark.clone().expect("a mark");
    assert_eq!((mark.as_str(), mark.to_string().as_str()), ("gap", "the clock skips 02:30: run at 03:00"));
    assert_eq!((fires[1].local.as_str(), &fires[1].mark), ("Mon 2027-03-29 02:30:00 +02:00 CEST", &None));

    // Two times that fall together are one marked instant. A schedule that follows the clock has lost nothing.
    let both = explained(&cron("0,30 2,3 * * *"), Berlin, at("2027-03-28T00:00:00Z"), 2).fires;
    assert_eq!(both[0].mark.as_ref().map(Mark::to_string).as_deref(), Some("the clock skips 02:00: run at 03:00"));
    assert_eq!((both[1].local.as_str(), &both[1].mark), ("Sun 2027-03-28 03:30:00 +02:00 CEST", &None));
    assert!(
        explained(&cron("*/30 * * * *"), Berlin, at("2027-03-28T00:00:00Z"), 9).fires.iter().all(|f| f.mark.is_none())
    );
    assert!(explained(&cron("0 3 * * *"), Berlin, at("2027-03-28T00:00:00Z"), 1).fires[0].mark.is_none());

    // An hour before the gap is not part of it.
    let before = explained(&cron("30 1,2 * * *"), Berlin, at("2027-03-28T00:45:00Z"), 1).fires;
    assert_eq!(before[0].mark.as_ref().map(Mark::to_string).as_deref(), Some("the clock skips 02:30: run at 03:00"));

    // A schedule that follows the clock is also made up for, if the clock was set forward by a few minutes.
    let few = explained(&cron("2 * * * *"), Singapore, at("1905-05-31T17:00:00Z"), 1).fires;
    assert_eq!(few[0].mark.as_ref().map(Mark::to_string).as_deref(), Some("the clock skips 00:02: run at 00:04:35"));

    // A gap of half an hour: 02:15 is skipped on Lord Howe.
    let short = explained(&cron("15 2 * * *"), Lord_Howe, at("2027-10-02T00:00:00Z"), 1).fires;
    assert_eq!(short[0].mark.as_ref().map(Mark::to_string).as_deref(), Some("the clock skips 02:15: run at 02:30"));
}

#[test]
fn the_effect_of_a_fold_is_marked() {
    let marks = |text: &str, count| -> Vec<String> {
        let fires = explained(&cron(text), Berlin, at("2027-10-31T00:00:00Z"), count).fires;
        fires.iter().map(|fire| fire.mark.as_ref().map(Mark::to_string).unwrap_or_default()).collect()
    };
    assert_eq!(marks("30 2 * * *", 2), ["02:30 comes twice: run the first time", ""]);
    assert_eq!(
        marks("30 * * * *", 3),
        [
            "02:30 comes twice: run both times, this is the first",
            "02:30 comes twice: run both times, this is the second",
            "",
        ]
    );
    let once = Trigger::At(at("2027-10-31T01:30:00Z"));
    let mark = explained(&once, Berlin, at("2027-10-31T00:00:00Z"), 1).fires[0].mark.clone().expect("a mark");
    assert_eq!((mark.as_str(), mark.to_string().as_str()), ("fold", "02:30 comes twice: run the second time"));
}

#[test]
fn no_more_is_listed_than_is_bearable_and_nothing_beyond_the_calendar() {
    let now = at("2027-01-01T00:00:00Z");
    assert_eq!(explained(&cron("* * * * *"), Berlin, now, usize::MAX).fires.len(), MOST);
    assert_eq!(explained(&Trigger::Every(Duration::from_millis(10)), Berlin, now, usize::MAX).fires.len(), MOST);
    let rare = explained(&cron("0 0 29 2 *"), Berlin, now, MOST).fires;
    assert!(rare.len() == MOST && rare.iter().all(|fire| fire.local.contains("-02-29 00:00:00")), "{}", rare.len());
    let rarer = explained(&cron("0 0 */29 2 */7"), Berlin, now, MOST).fires;
    assert!(rarer.len() > 100);
    assert!(explained(&cron("0 0 29 2 *"), Berlin, at("9999-01-01T00:00:00Z"), 5).fires.is_empty());
    assert!(explained(&cron("* * * * *"), Berlin, Timestamp::from_millis(i64::MAX), 5).fires.is_empty());
    assert!(explained(&Trigger::OnDemand, Berlin, now, 5).fires.is_empty());
}

#[test]
fn a_month_is_drawn_with_how_often_it_fires_on_each_day() {
    let drawn = month(&Plan::of(&cron("30 2 * * mon,sun"), Berlin), 2027, 3);
    insta::assert_snapshot!(drawn, @"
    March 2027, Europe/Berlin
     Mon        Tue        Wed        Thu        Fri        Sat        Sun
      1 x1       2          3          4          5          6          7 x1
      8 x1       9         10         11         12         13         14 x1
     15 x1      16         17         18         19         20         21 x1
     22 x1      23         24         25         26         27         28 x1
     29 x1      30         31
     28: the clock skips 02:30: run at 03:00
    9 times in all
    ");
}

#[test]
fn a_month_fits_eighty_columns_whatever_is_drawn() {
    let each_second = Trigger::Cron(Crontab::parse_with_seconds("* * * 30,31 * *").unwrap());
    for (trigger, days, all) in [
        (each_second, ["31 x1500+", "30 x1500+"], "at least 3000 times in all"),
        (cron("0 0 * * *"), ["31 x1\n", "30 x1 "], "31 times in all"),
        (cron("* * * * *"), ["31 x1500", "30 x1440"], "44700 times in all"),
        (Trigger::Every(Duration::from_millis(10)), ["31 x9000k", "30 x8640k"], "268200000 times in all"),
        (Trigger::At(at("2027-10-31T00:30:00Z")), ["31 x1", "30\n"], "1 time in all"),
        (Trigger::OnDemand, ["31\n", "30 "], "0 times in all"),
    ] {
        let drawn = month(&Plan::of(&trigger, Berlin), 2027, 10);
        assert!(drawn.lines().all(|line| line.chars().count() <= 80 && line.trim_end() == line), "{drawn}");
        assert!(drawn.contains(days[0]) && drawn.contains(all), "{drawn}");
    }
    assert_eq!(month(&Plan::of(&cron("* * * * *"), Berlin), 2027, 13), "there is no month 2027-13\n");
    assert_eq!(month(&Plan::of(&cron("* * * * *"), Berlin), i32::MAX, 1), "there is no month 2147483647-01\n");
}

/// Makes a field of a crontab: values, ranges and steps within its bounds.
fn field(low: u32, high: u32) -> impl Strategy<Value = String> {
    let value = low..=high;
    prop_oneof![
        Just("*".to_owned()),
        (1..=high).prop_map(|step| format!("*/{step}")),
        value.clone().prop_map(|value| value.to_string()),
        (value.clone(), value.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        proptest::collection::vec(value, 1..6).prop_map(|values| values
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(",")),
    ]
}

proptest! {
    #[test]
    fn crontabs_with_different_meanings_have_different_sentences(
        one in (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)),
        other in (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)),
    ) {
        let parse = |fields: (String, String, String, String, String)| {
            Crontab::parse(&format!("{} {} {} {} {}", fields.0, fields.1, fields.2, fields.3, fields.4)).ok()
        };
        let (Some(one), Some(other)) = (parse(one), parse(other)) else { return Ok(()) };
        let said = |crontab: &Crontab| describe(&Trigger::Cron(crontab.clone()), Berlin);
        prop_assert!(!said(&one).contains("  ") && !said(&one).is_empty());
        if said(&one) == said(&other) {
            // Both crontabs fire at the same instants and have the same words.
            let fires = |crontab: &Crontab| {
                let fires = explained(&Trigger::Cron(crontab.clone()), Tz::UTC, at("2027-01-01T00:00:00Z"), 50).fires;
                fires.iter().map(|fire| fire.at).collect::<Vec<_>>()
            };
            prop_assert_eq!(fires(&one), fires(&other), "{} and {}: {}", one, other, said(&one));
        }
    }

    #[test]
    fn listed_instants_are_those_of_the_schedule(
        text in proptest::sample::select(&["30 2 * * *", "0 0 * * *", "*/20 1-3 * * *", "59 23 * * sun"][..]),
        zone in proptest::sample::select(&TZ_VARIANTS[..]),
        second in 0_i64..4_000_000_000,
    ) {
        let (trigger, mut after) = (cron(text), Timestamp::from_millis(second * 1000));
        for fire in explained(&trigger, zone, after, 20).fires {
            prop_assert_eq!(Some(fire.at), Plan::of(&trigger, zone).next_after(after));
            // Without a mark the clock shows the written time.
            let Trigger::Cron(crontab) = &trigger else { unreachable!("a crontab") };
            let second = fire.at.as_millis() / 1000;
            let clock = second + dst::offset(zone, second).expect("an offset");
            let meant = crontab.first_match(clock - clock.rem_euclid(60)..clock + 1).is_some();
            prop_assert!(fire.mark.is_some() || meant, "{zone}: {fire:?}");
            after = fire.at;
        }
    }
}
