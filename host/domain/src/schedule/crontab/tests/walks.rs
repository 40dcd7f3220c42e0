//! Compares `next_after` with a walk of cronie's main loop, minute by minute, through the changes of odd clocks since
//! 1970.

use super::*;
use crate::schedule::dst::{next_change, offset};

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

/// Returns when cronie runs a job in `(from, to]` on a machine in `zone`. cronie wakes whenever the clock's minute
/// changes.
fn fires(crontab: &Crontab, zone: Tz, from: i64, to: i64) -> Vec<i64> {
    let offset = |second| offset(zone, second).unwrap();
    let means = |minute: i64| crontab.calendar.contains(minute * 60);
    let minute = |second: i64, offset: i64| (second + offset).div_euclid(60);
    let mut fires = Vec::new();
    let (mut second, mut here) = (from, offset(from));
    let mut running = minute(second, here);
    let mut virtually = running;
    loop {
        // cronie sleeps until the end of the minute, or less if the clock is set during that time.
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
        // All changes of a zone take part: each with some of the expressions in turn, the first and the latest two with
        // all.
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

/// Looks at a clock every hour. No zone is known to undo a change sooner.
fn assert_changes_lie_apart(zone: Tz, from: i64, to: i64) {
    let (mut changed, mut known) = (from - 2 * dst::PROBE, offset(zone, from).unwrap());
    for second in (from..to).step_by(3600) {
        let offset = offset(zone, second).unwrap();
        if offset != known {
            assert!(second - changed > dst::PROBE + 2 * 3600, "{zone} at {second}");
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
