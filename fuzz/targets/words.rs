//! Any text as an instant in words, and as a schedule of any kind: no panic, and one line if it is refused.

#![no_main]

use chrono_tz::TZ_VARIANTS;
use domain::schedule::given::{self, Reading};
use domain::schedule::words::{Absolute, instant};
use domain::schedule::zone;
use domain::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, i64, &str)| {
    let (place, now, text) = input;
    let place = TZ_VARIANTS[usize::from(place) % TZ_VARIANTS.len()];
    // Within the years 1 to 9999, and now and then anywhere.
    let now = Timestamp::from_millis(if now % 16 == 0 { now } else { now % 60_000_000_000_000 });
    match instant(text, place, now) {
        Ok(at) => {
            assert!((-62_135_596_800_000 - 86_400_000..=253_402_300_800_000 + 86_400_000).contains(&at.as_millis()))
        }
        Err(wrong) => assert_one_line(&wrong.to_string()),
    }
    match Absolute::read(text) {
        Ok(date) => drop(date.instant(place)),
        Err(wrong) => assert_one_line(&wrong.to_string()),
    }
    match given::read(text, Reading { zone: Some(place), ..Reading::default() }, now) {
        Ok(given) => drop(given.explain(now, 3)),
        Err(wrong) => assert_one_line(&wrong),
    }
    if let Err(wrong) = zone(text) {
        assert_one_line(&wrong);
    }
});

fn assert_one_line(message: &str) {
    assert!(message.len() < 600 && !message.contains(char::is_control), "{message:?}");
}
