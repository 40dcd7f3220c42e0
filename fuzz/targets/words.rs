//! Tests any text as an instant in words, and as a schedule of any kind: it is refused in one line, or its printed form
//! reads the same, and so does the text with capitals, wider spaces or a sum behind it.

#![no_main]

use std::time::Duration;

use chrono_tz::{TZ_VARIANTS, Tz};
use sexton_domain::schedule::Trigger;
use sexton_domain::schedule::instant_parser::{AbsoluteInstant, instant};
use sexton_domain::schedule::parse::{self, ParsedSchedule, ParseContext};
use sexton_domain::schedule::zone;
use sexton_domain::time::Timestamp;
use libfuzzer_sys::fuzz_target;

/// The first and the last instant of the years 1 to 9999, which are printed with four digits.
const CALENDAR: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;
const DAY: i64 = 86_400_000;

fuzz_target!(|input: (u16, i64, &str)| {
    let (place, now, text) = input;
    let place = TZ_VARIANTS[usize::from(place) % TZ_VARIANTS.len()];
    // Within the years 1 to 9999, and now and then anywhere.
    let now = Timestamp::from_millis(if now % 16 == 0 { now } else { now % 60_000_000_000_000 });
    let at = match instant(text, place, now) {
        Ok(at) => Some(at),
        Err(wrong) => {
            assert_one_line(&wrong.to_string());
            None
        }
    };
    // No text has a meaning at a time beyond the calendar, except an instant with its offset.
    let within = CALENDAR.contains(&now.as_millis());
    if let Some(at) = at.filter(|_| within) {
        check_instant(text, place, now, at);
    }
    match AbsoluteInstant::read(text) {
        Ok(date) => assert!(date.instant(place).ok() == at || !within, "`{text}` in {place} at {now}: {at:?}"),
        Err(wrong) => {
            assert_one_line(&wrong.to_string());
            let ahead = at.is_none_or(|at| at >= now || text.contains('-'));
            assert!(ahead, "`{text}` in {place} at {now} is {at:?}, and depends on when it is read");
        }
    }
    match parse::read(text, ParseContext { zone: Some(place), ..ParseContext::default() }, now) {
        Ok(given) if within => check_schedule(text, &given, at, now),
        Ok(given) => drop(given.explain(now, 3)),
        Err(wrong) => assert_one_line(&wrong),
    }
    // A text that is no zone is compared with the names of all zones, which takes longer than everything else.
    if text.len() % 8 == 0 {
        match zone(text) {
            Ok(found) => assert_eq!(zone(found.name()), Ok(found)),
            Err(wrong) => assert_one_line(&wrong),
        }
    }
});

fn check_instant(text: &str, place: Tz, now: Timestamp, at: Timestamp) {
    let ms = at.as_millis();
    // By the clocks of a zone it may be the first day of the year 10000 in UTC.
    assert!((CALENDAR.start() - DAY..=CALENDAR.end() + DAY).contains(&ms), "`{text}` is {at}");
    if CALENDAR.contains(&ms) {
        assert_eq!(instant(&at.to_string(), place, now), Ok(at), "`{text}` is printed as `{at}`");
    }
    let others = [text.to_ascii_uppercase(), text.to_ascii_lowercase(), text.replace(' ', "  ")];
    for other in others.iter().filter(|other| other.len() <= 120) {
        match instant(other, place, now) {
            Ok(same) => assert_eq!(same, at, "`{text}` and `{other}` in {place} at {now}"),
            // A fraction of a second is only for RFC 3339, which has no two spaces.
            Err(wrong) => assert!(text.contains('.') && other.contains("  "), "`{text}` and `{other}`: {wrong}"),
        }
    }
    if let Ok(later) = instant(&format!("{text} + 1 second"), place, now) {
        assert_eq!(later, at.plus(Duration::from_secs(1)), "a second after `{text}` in {place} at {now}");
    }
}

fn check_schedule(text: &str, given: &ParsedSchedule, at: Option<Timestamp>, now: Timestamp) {
    let explained = given.explain(now, 3);
    assert!(!explained.words.is_empty());
    assert!(explained.fires.iter().all(|fire| fire.at > now), "`{text}` at {now}: {:?}", explained.fires);
    for fire in &explained.fires {
        if CALENDAR.contains(&fire.at.as_millis()) {
            assert_eq!(instant(&fire.utc, Tz::UTC, now), Ok(fire.at), "`{text}` fires at `{}`", fire.utc);
        }
    }
    match &given.trigger {
        Trigger::At(other) => assert_eq!(Some(*other), at, "`{text}`"),
        // No text reads as a crontab, or as an interval, and as an instant.
        other => assert_eq!(at, None, "`{text}` is {other:?}"),
    }
    if let Trigger::Every(step) = given.trigger {
        let words = explained.words.split(',').next().unwrap_or_default();
        let again = parse::read(words, ParseContext::default(), now).map(|given| given.trigger);
        assert_eq!(again, Ok(Trigger::Every(step)), "`{text}` is printed as `{words}`");
    }
}

fn assert_one_line(message: &str) {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    assert!(message.len() < 600 && !message.contains(breaks), "{message:?}");
}
