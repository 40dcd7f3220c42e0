//! Formats durations for people, and reads theirs: `1d 2h`, `1m 30s`, `250ms`. The form is the same everywhere.

use std::time::Duration;

/// The units, the largest first, in nanoseconds. Units above days have no fixed length.
const UNITS: [(u128, &str); 7] = [
    (DAY, "d"),
    (3_600_000_000_000, "h"),
    (60_000_000_000, "m"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1_000, "us"),
    (1, "ns"),
];

const DAY: u128 = 86_400_000_000_000;

/// The mean length of a year: a quarter of a day more than 365, because every fourth year has one more.
const YEAR: (u128, &str) = (DAY * 365 + DAY / 4, "y");

/// Returns `length` in whole milliseconds, or the greatest number if it is longer.
pub fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Returns `length` in whole microseconds, or the greatest number if it is longer.
pub fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

/// Returns `length` in nanoseconds, or the greatest number if it is longer.
pub fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// Formats all of `length`, for durations that people write: `366d`, `1d 2h 3m 4s`.
pub fn exact(length: Duration) -> String {
    let mut rest = length.as_nanos();
    let mut parts = Vec::new();
    for (unit, name) in UNITS {
        if rest >= unit {
            parts.push(format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// Formats `length` in its largest unit and the one below, for measured durations: `10y 7d`, `1d 2h`, `1m 30s`. The
/// rest is cut off.
pub fn about(length: Duration) -> String {
    let nanos = length.as_nanos();
    // Hours beside years are of no interest, so days follow years.
    let units = [&[YEAR], &UNITS[..]].concat();
    let Some(largest) = units.iter().position(|(unit, _)| nanos >= *unit) else { return "0s".to_owned() };
    let (unit, name) = units[largest];
    let whole = format!("{}{name}", nanos / unit);
    match units.get(largest + 1) {
        Some((below, name)) if nanos % unit >= *below => format!("{whole} {}{name}", nanos % unit / below),
        _ => whole,
    }
}

/// Parses a duration with its unit, such as `30s` or `1h 30m`.
///
/// # Errors
///
/// One line that says what to write.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    humantime::parse_duration(text).map_err(|_| match text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        true => format!("`{text}` has no unit; write `{text}s` if seconds are meant"),
        false => format!("`{text}` is not a duration; write one such as `30s` or `1h 30m`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const DAYS: u64 = 86_400;

    #[test]
    fn an_exact_length_is_whole_and_reads_as_the_same() {
        let lengths = [
            (Duration::ZERO, "0s"),
            (Duration::from_millis(250), "250ms"),
            (seconds(90), "1m 30s"),
            (seconds(7 * DAYS), "7d"),
            (seconds(31 * DAYS), "31d"),
            (seconds(366 * DAYS), "366d"),
            (seconds(DAYS + 2 * 3600 + 3 * 60 + 4), "1d 2h 3m 4s"),
            (Duration::from_nanos(1_002_003_004), "1s 2ms 3us 4ns"),
        ];

        for (length, text) in lengths {
            assert_eq!(exact(length), text);
            assert_eq!(humantime::parse_duration(text).ok(), Some(length), "{text}");
        }
    }

    #[test]
    fn a_measured_length_has_two_units_with_years_and_their_days() {
        let lengths = [
            (seconds(3660 * DAYS), "10y 7d"),
            (seconds(3652 * DAYS + DAYS / 2), "10y"),
            (seconds(365 * DAYS + DAYS / 4), "1y"),
            (seconds(365 * DAYS), "365d"),
            (seconds(DAYS + 2 * 3600 + 3 * 60), "1d 2h"),
            (seconds(2 * 3600 + 5), "2h"),
            (seconds(61), "1m 1s"),
            (Duration::from_micros(1_234_567), "1s 234ms"),
            (Duration::from_nanos(1_234_567), "1ms 234us"),
            (Duration::from_nanos(7), "7ns"),
            (Duration::ZERO, "0s"),
        ];

        for (length, text) in lengths {
            assert_eq!(about(length), text);
        }
    }
}
