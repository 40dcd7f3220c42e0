//! Any text as a crontab: it is refused in one line, or it means instants that only ever grow.

#![no_main]

use chrono_tz::{TZ_VARIANTS, Tz};
use domain::schedule::explain::explain;
use domain::schedule::{BadCrontab, Crontab, Dst, Plan, Trigger};
use domain::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, u32, u8, &str)| {
    let (zone, day, dst, text) = input;
    let zone = TZ_VARIANTS[usize::from(zone) % TZ_VARIANTS.len()];
    // From 1952 on, for two hundred years.
    let start = Timestamp::from_millis((i64::from(day % 73_000) - 6_500) * 86_400_000 + i64::from(day % 86_400) * 1000);
    let dst = [Dst::Vixie, Dst::Skip, Dst::Utc][usize::from(dst % 3)];
    for read in [Crontab::parse as fn(&str) -> Result<Crontab, BadCrontab>, Crontab::parse_with_seconds] {
        match read(text) {
            Ok(crontab) => check(&crontab.with_dst(dst), text, zone, start),
            Err(wrong) => assert_one_line(&wrong.to_string()),
        }
    }
});

fn check(crontab: &Crontab, text: &str, zone: Tz, start: Timestamp) {
    assert_eq!(crontab.to_string(), text);
    let named = crontab.for_name("acme/report");
    let mut last = start;
    for _ in 0..3 {
        let Some(next) = named.next_after(zone, last) else { panic!("`{text}` never comes after {last} in {zone}") };
        assert!(next > last, "`{text}` in {zone}: {next} after {last}");
        let middle = Timestamp::from_millis(last.as_millis() + (next.as_millis() - last.as_millis()) / 2);
        assert_eq!(named.next_after(zone, middle), Some(next), "`{text}` in {zone} after {middle}");
        last = next;
    }
    let trigger = Trigger::Cron(named);
    let explained = explain(&Plan::of(&trigger, zone), start, 3);
    assert!(!explained.words.is_empty() && explained.fires.iter().all(|fire| fire.at > start));
}

fn assert_one_line(message: &str) {
    assert!(message.len() < 300 && !message.contains(char::is_control), "{message:?}");
}
