//! Compares crontabs with walks of the rules tick by tick, around every change of every clock on Earth from 2020 to
//! 2040: no run is lost, doubled or out of order.

use std::collections::HashSet;
use std::sync::LazyLock;

use chrono::{DateTime, Datelike, TimeZone, Timelike, Utc};

use super::naive::Naive;
use super::*;
use crate::schedule::dst::{next_change, offset};

/// The seconds around a change of the clock in which runs are compared: before it, for runs that are not due any more;
/// after it, until a clock that was set back by three hours has caught up.
const BEFORE: i64 = 3 * 3600;
const AFTER: i64 = 5 * 3600;

/// Crontabs that are due around a change at any time of the night and of any size.
const TABLE: [&str; 17] = [
    "* 2 * * *",
    "*/5 1 * * *",
    "30 0-4 * * *",
    "0 4 * * *",
    "45 23 * * *",
    "*/30 * * * *",
    "0 * * * *",
    "*/7 */3 * * *",
    "*/20 1-3 * * *",
    "17 */2 * * *",
    "0 0 * * *",
    "30 1 * * *",
    "0,30 2 * * *",
    "59 0-3,22,23 * * *",
    "15,45 1,2,23 * * sun,sat",
    "0 3 1-7 * 0",
    "1 0 1 * 5",
];

/// A change of the clock.
struct Change {
    at: i64,
    before: i64,
    after: i64,
}

/// The changes of all clocks. Zones with the same changes are listed once. No clock is set twice between two looks.
static CHANGES: LazyLock<Vec<(Tz, Vec<Change>)>> = LazyLock::new(changes);

fn changes() -> Vec<(Tz, Vec<Change>)> {
    let look = crate::schedule::dst::PROBE;
    let year = |year| Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap().timestamp();
    let (start, end) = (year(2020), year(2041));
    let mut known = HashSet::new();
    let mut zones = Vec::new();
    for zone in chrono_tz::TZ_VARIANTS {
        let mut changes = Vec::new();
        let mut before = offset(zone, start).unwrap();
        for second in (start..end).step_by(usize::try_from(look).unwrap()) {
            let after = offset(zone, second + look).unwrap();
            if after != before {
                let at = next_change(zone, second, second + look).unwrap().unwrap();
                changes.push(Change { at, before, after });
                before = after;
            }
        }
        let list: Vec<_> = changes.iter().map(|change| (change.at, change.before, change.after)).collect();
        if !changes.is_empty() && known.insert(list) {
            zones.push((zone, changes));
        }
    }
    zones
}

/// A tick: the instant at which the clock begins to show it, and the shown time in seconds of the wall clock.
#[derive(Clone, Copy)]
struct Tick {
    at: i64,
    shown: i64,
    day: (u32, u32, u32),
    time: (u32, u32, u32),
}

/// Returns the times that the clock shows in `(from, to]`, a tick of `length` seconds at a time.
fn ticks(change: &Change, length: i64, from: i64, to: i64) -> Vec<Tick> {
    let offset = |second: i64| if second < change.at { change.before } else { change.after };
    let shown = |second: i64| (second + offset(second)).div_euclid(length) * length;
    // All changes of these years come at a full minute, and so does `from`.
    let seconds = (from + length..=to).step_by(usize::try_from(length).unwrap());
    let ticks = seconds.filter(|second| shown(*second) != shown(second - 1)).map(|at| {
        let clock = DateTime::from_timestamp(shown(at), 0).unwrap();
        let day = (clock.day(), clock.month(), clock.weekday().num_days_from_sunday());
        Tick { at, shown: shown(at), day, time: (clock.hour(), clock.minute(), clock.second()) }
    });
    ticks.collect()
}

fn means(naive: &Naive, tick: &Tick) -> bool {
    let ((day, month, weekday), (hour, minute, second)) = (tick.day, tick.time);
    naive.means_time(hour, minute, second) && naive.matches_day(day, month, weekday)
}

/// cronie's main loop: a *virtual* time trails or leads what the clock shows.
fn vixie(naive: &Naive, ticks: &[Tick], length: i64) -> Vec<i64> {
    let mut virtually = ticks[0].shown - length;
    let mut fires = Vec::new();
    for tick in ticks {
        let ahead = tick.shown - virtually;
        let mut runs = false;
        if ahead.abs() > 180 * 60 {
            virtually = tick.shown;
            runs = means(naive, tick);
        } else if ahead <= 0 {
            runs = naive.wild && means(naive, tick);
        } else {
            let follows = naive.wild && ahead > 5 * 60;
            runs |= follows && means(naive, tick);
            while virtually < tick.shown {
                virtually += length;
                // A late tick is the usual case, and its own: its time need not be computed.
                runs |= !follows && if virtually == tick.shown { means(naive, tick) } else { naive.means(virtually) };
            }
        }
        if runs {
            fires.push(tick.at);
        }
    }
    fires
}

/// Runs the times that the clock shows. A fixed time runs only when it is shown first, unless the clock is a new one.
fn skip(naive: &Naive, ticks: &[Tick], change: &Change) -> Vec<i64> {
    let back = change.before - change.after;
    let repeats = |tick: &Tick| {
        let second_time = tick.at >= change.at && tick.shown < change.at + change.before;
        second_time && back <= 180 * 60
    };
    ticks.iter().filter(|tick| means(naive, tick) && (naive.wild || !repeats(tick))).map(|tick| tick.at).collect()
}

/// Returns the instants that [`Crontab::next_after`] finds.
fn found(crontab: &Crontab, zone: Tz, from: i64, to: i64) -> Vec<i64> {
    let mut found = Vec::new();
    let mut last = Timestamp::from_millis(from * 1000);
    while let Some(next) = crontab.next_after(zone, last).filter(|next| next.as_millis() <= to * 1000) {
        assert!(next > last, "{crontab} in {zone}: {next} comes after {last}");
        found.push(next.as_millis() / 1000);
        last = next;
    }
    found
}

/// Returns fixed and wild times at the edges of a gap or a fold and in its middle, on the day itself.
fn at_the_edges(change: &Change) -> Vec<String> {
    let (low, high) = (change.before.min(change.after), change.before.max(change.after));
    let edges =
        [change.at + low, change.at + high, change.at + (low + high) / 2, change.at + low - 60, change.at + high - 60];
    let mut texts: Vec<String> = Vec::new();
    for clock in edges.map(|shown| DateTime::from_timestamp(shown, 0).unwrap()) {
        texts.push(format!("{} {} {} {} *", clock.minute(), clock.hour(), clock.day(), clock.month()));
    }
    let clock = DateTime::from_timestamp(edges[2], 0).unwrap();
    texts.push(format!("*/10 {} * * {}", clock.hour(), clock.weekday()));
    texts
}

/// Checks both rules for one crontab around one change.
fn assert_follows(crontab: &Crontab, naive: &Naive, zone: Tz, change: &Change, ticks: &[Tick], length: i64) {
    let (from, to) = (ticks[0].at - length, ticks[ticks.len() - 1].at);

    let found_by = |dst| found(&crontab.clone().with_dst(dst), zone, from, to);
    let about = || format!("{crontab} in {zone} around {}", DateTime::from_timestamp(change.at, 0).unwrap());

    assert_eq!(found_by(Dst::Vixie), vixie(naive, ticks, length), "vixie: {}", about());
    assert_eq!(found_by(Dst::Skip), skip(naive, ticks, change), "skip: {}", about());
}

#[test]
fn no_run_is_lost_doubled_or_out_of_order_at_any_change_of_any_clock() {
    let table = TABLE.map(|text| (crontab(text), Naive::read(text)));
    let (mut cases, mut lists) = (0, 0);
    for (zone, changes) in &*CHANGES {
        lists += 1;
        for change in changes {
            assert_eq!((change.at % 60, (change.after - change.before) % 60), (0, 0), "{zone}");
            let ticks = ticks(change, 60, change.at - BEFORE, change.at + AFTER);
            for (crontab, naive) in &table {
                assert_follows(crontab, naive, *zone, change, &ticks, 60);
                cases += 2;
            }
            for text in at_the_edges(change) {
                assert_follows(&crontab(&text), &Naive::read(&text), *zone, change, &ticks, 60);
                cases += 2;
            }
        }
    }

    figure(&format!("figure dst_cases {cases} cases"));
    assert!(lists > 40 && cases > 60_000, "{cases} in {lists} lists of changes");
}

/// Does the same with seconds, at the changes of 2026 and 2027, around which each second is walked.
#[test]
fn a_crontab_with_seconds_follows_the_same_rules_second_by_second() {
    let texts =
        ["*/50 10,40 * * * *", "59 59 * * * *", "30 30 1,2 * * *", "*/40 30 2 * * *", "0 0 0 * * *", "1 0 3,0 * * *"];
    let table = texts.map(|text| (Crontab::parse_with_seconds(text).unwrap(), Naive::read(text)));
    let mut cases = 0;
    for (zone, changes) in &*CHANGES {
        let years = |change: &&Change| (1_767_225_600..1_830_297_600).contains(&change.at);
        for change in changes.iter().filter(years).take(1) {
            let size = (change.after - change.before).abs();
            let ticks = ticks(change, 1, change.at - size - 120, change.at + size + 120);
            for (crontab, naive) in &table {
                assert_follows(crontab, naive, *zone, change, &ticks, 1);
                cases += 2;
            }
        }
    }

    figure(&format!("figure dst_second_cases {cases} cases"));
    assert!(cases > 300, "{cases}");
}

/// Checks in every zone and at every change that the instants are those of UTC.
#[test]
fn in_utc_there_are_no_changes_of_the_clock() {
    let texts = ["30 * * * *", "15 1-4 * * *", "*/40 2 * * 0"];
    let table = texts.map(|text| (crontab(text).with_dst(Dst::Utc), Naive::read(text)));
    let mut cases = 0;
    for (zone, changes) in &*CHANGES {
        for change in changes {
            let (from, to) = (change.at - 3600, change.at + 2 * 3600);
            for (crontab, naive) in &table {
                let expected: Vec<i64> = (from + 60..=to).step_by(60).filter(|second| naive.means(*second)).collect();
                assert_eq!(found(crontab, *zone, from, to), expected, "{crontab} in {zone} around {}", change.at);
                cases += 1;
            }
        }
    }
    assert!(cases > 4_000, "{cases}");
}
