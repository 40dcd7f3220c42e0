//! Tests any text as a crontab: it is refused in one line, or means the instants that a second reader finds, in every
//! face.

#![no_main]

#[path = "../oracles/crontab.rs"]
mod oracle;

use chrono_tz::{TZ_VARIANTS, Tz};
use sexton_domain::schedule::explain::explain;
use sexton_domain::schedule::parse::{self, ParseContext};
use sexton_domain::schedule::{BadCrontab, Crontab, Definition, Dst, Plan, Trigger};
use sexton_domain::time::Timestamp;
use libfuzzer_sys::fuzz_target;
use oracle::Manual;

/// The days that the second reader walks before it gives up: mostly beyond the 29th of February on some weekday.
const DAYS: i64 = 3000;

/// The name of the task with the crontab.
const NAME: &str = "acme/report";

fuzz_target!(|input: (u16, u32, u8, &str)| {
    let (zone, day, choice, text) = input;
    let zone = TZ_VARIANTS[usize::from(zone) % TZ_VARIANTS.len()];
    // Instants from 1952 on, for two hundred years.
    let start = i64::from(day % 73_000) * 86_400 - 6_500 * 86_400 + i64::from(day % 86_400);
    let case = Case { text, zone, start: Timestamp::from_millis(start * 1000) };
    let seconds = choice & 1 == 1;
    let read = if seconds { Crontab::parse_with_seconds } else { Crontab::parse };
    let manual = Manual::read(text, seconds, NAME);
    match (read(text), manual) {
        (Ok(crontab), Some(manual)) => {
            case.check_meaning(&crontab, &manual);
            case.check_faces(&crontab, seconds);
            match choice >> 1 & 3 {
                0 if !seconds => case.check_changes(&crontab, &manual),
                1 => case.check_order(crontab.with_dst(Dst::Skip)),
                2 => case.check_order(crontab),
                _ => {}
            }
        }
        (Ok(_), None) => panic!("`{text}` is read, and the manual does not allow it"),
        (Err(wrong), manual) => {
            assert_one_line(&wrong.to_string());
            case.check_refused(seconds);
            let never = matches!(wrong, BadCrontab::Never(..));
            match manual {
                // The manual does not decide whether it never comes under some name.
                Some(manual) if never => assert!(manual.spread || !manual.ever_comes(), "`{text}` comes: {wrong}"),
                Some(_) => panic!("the manual allows `{text}`: {wrong}"),
                None => assert!(!never, "{wrong}"),
            }
        }
    }
});

struct Case<'a> {
    text: &'a str,
    zone: Tz,
    start: Timestamp,
}

impl Case<'_> {
    /// Checks that it comes when the manual says, by a clock that is never set.
    fn check_meaning(&self, crontab: &Crontab, manual: &Manual) {
        let text = self.text;
        assert_eq!(crontab.to_string(), text);
        assert_eq!((crontab.zone(), crontab.has_place_of_its_own()), (manual.zone, manual.spread), "`{text}`");
        let named = crontab.for_name(NAME).with_dst(Dst::Utc);
        let mut last = self.start.as_millis().div_euclid(1000);
        for _ in 0..3 {
            let next = named.next_after(self.zone, Timestamp::from_millis(last * 1000));
            let next = next.unwrap_or_else(|| panic!("`{text}` never comes after {last}")).as_millis() / 1000;
            match manual.next_after(last, DAYS) {
                Some(expected) => assert_eq!(next, expected, "`{text}` after {last}"),
                None => {
                    assert!(next > last + (DAYS - 1) * 86_400 && manual.means(next), "`{text}` after {last}: {next}")
                }
            }
            last = next;
        }
    }

    /// It means the same wherever it is written.
    fn check_faces(&self, crontab: &Crontab, seconds: bool) {
        let text = self.text;
        let trigger = Trigger::Cron(crontab.clone());
        assert_eq!(parse::crontab(text, seconds).as_ref(), Ok(&trigger), "as a manifest reads `{text}`");
        let reading = ParseContext { zone: Some(self.zone), seconds, name: Some(NAME), start: None };
        let given = parse::read(text, reading, self.start);
        let given = given.unwrap_or_else(|wrong| panic!("`schedule explain` refuses `{text}`: {wrong}"));
        let named = crontab.for_name(NAME);
        let Trigger::Cron(other) = &given.trigger else { panic!("`{text}` is explained as {:?}", given.trigger) };
        assert_eq!(given.zone, crontab.zone().unwrap_or(self.zone), "`{text}`");
        assert_eq!(other.next_after(given.zone, self.start), named.next_after(given.zone, self.start), "`{text}`");
        if !seconds {
            let definition = Definition::of(trigger, self.zone).expect("a crontab can be added");
            let again = Definition::read(&definition.text());
            assert_eq!(again.as_ref(), Ok(&definition), "`{text}` as the store keeps it");
        }
    }

    /// Checks that `sexton schedule explain` does not take a text for a crontab that a manifest refuses.
    fn check_refused(&self, seconds: bool) {
        let reading = ParseContext { zone: Some(self.zone), seconds, name: Some(NAME), start: None };
        let given = parse::read(self.text, reading, self.start);
        let taken = given.is_ok_and(|given| matches!(given.trigger, Trigger::Cron(_)));
        assert!(!taken, "`{}` is refused in a manifest, and explained", self.text);
    }

    /// Checks that it runs when cron would, if the clocks are set.
    fn check_changes(&self, crontab: &Crontab, manual: &Manual) {
        let zone = manual.zone.unwrap_or(self.zone);
        let Some(change) = oracle::next_change(zone, self.start.as_millis().div_euclid(1000), 400) else { return };
        let (from, to) = (change - 5 * 3600, change + 26 * 3600);
        let named = crontab.for_name(NAME);
        let mut found = Vec::new();
        let mut last = Timestamp::from_millis(from * 1000);
        while let Some(next) = named.next_after(self.zone, last).filter(|next| next.as_millis() <= to * 1000) {
            found.push(next.as_millis() / 1000);
            last = next;
        }
        assert_eq!(found, manual.fires(zone, from, to), "`{}` in {zone} around {change}", self.text);
    }

    /// Checks that instants only grow, do not depend on the start, and are those that are explained.
    fn check_order(&self, crontab: Crontab) {
        let Self { text, zone, start } = *self;
        let named = crontab.for_name(NAME);
        let mut last = start;
        let mut fires = Vec::new();
        for _ in 0..3 {
            let Some(next) = named.next_after(zone, last) else {
                panic!("`{text}` never comes after {last} in {zone}")
            };
            assert!(next > last, "`{text}` in {zone}: {next} after {last}");
            let middle = Timestamp::from_millis(last.as_millis() + (next.as_millis() - last.as_millis()) / 2);
            assert_eq!(named.next_after(zone, middle), Some(next), "`{text}` in {zone} after {middle}");
            fires.push(next);
            last = next;
        }
        let trigger = Trigger::Cron(named);
        let explained = explain(&Plan::of(&trigger, zone), start, 3);
        assert!(!explained.words.is_empty());
        assert!(explained.fires.iter().map(|fire| fire.at).eq(fires), "`{text}` in {zone} after {start}");
    }
}

fn assert_one_line(message: &str) {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    assert!(message.len() < 300 && !message.contains(breaks), "{message:?}");
}
