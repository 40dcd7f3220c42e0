//! A schedule as somebody types it: a crontab, `every 10m`, or the words of an instant.

use std::time::Duration;

use chrono_tz::Tz;

use super::explain::{Explanation, Mark, explain};
use super::{Crontab, Trigger, words};
use crate::time::Timestamp;

/// The longest text that is read, in bytes.
const LONGEST: usize = 1000;

/// The shortest and the longest time between two instants, as in manifests.
const SHORTEST_STEP: Duration = Duration::from_millis(10);
const LONGEST_STEP: Duration = Duration::from_secs(366 * 24 * 3600);

/// A schedule, and what is odd about how it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// What it was taken for.
    pub trigger: Trigger,
    /// The clock skips the time that was given.
    skipped: Option<Mark>,
}

impl Given {
    /// As [`explain`] has it, with the gap that the words of an instant fell into.
    pub fn explain(&self, zone: Tz, from: Timestamp, count: usize) -> Explanation {
        let mut explained = explain(&self.trigger, zone, from, count);
        if let (Some(fire), Some(_)) = (explained.fires.first_mut(), &self.skipped) {
            fire.mark.clone_from(&self.skipped);
        }
        explained
    }
}

impl From<Trigger> for Given {
    fn from(trigger: Trigger) -> Self {
        Self { trigger, skipped: None }
    }
}

/// The schedule that `text` is, in `zone` at `now`.
///
/// `every` and a length of time is that; what begins with `@` or with two fields of digits and signs, or has a `*`, is a
/// crontab; anything else is the [words of an instant](super::words).
///
/// # Errors
///
/// One line that says what is wrong with what it was taken for.
pub fn read(text: &str, zone: Tz, now: Timestamp) -> Result<Given, String> {
    if text.len() > LONGEST {
        return Err(format!("a schedule has at most {LONGEST} bytes, this text has {}", text.len()));
    }
    let plain = text.trim();
    if let Some(rest) = plain.strip_prefix("every").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return every(rest.trim()).map(|step| Trigger::Every(step).into());
    }
    if is_crontab(plain) {
        return Crontab::parse(plain).map(|crontab| Trigger::Cron(crontab).into()).map_err(|wrong| wrong.to_string());
    }
    let at = words::instant(plain, zone, now).map_err(|wrong| wrong.to_string())?;
    let skipped = words::skipped(plain, zone, at).map(|(skipped, run_at)| Mark::Gap {
        skipped: skipped.format("%H:%M").to_string(),
        run_at: run_at.format("%H:%M").to_string(),
    });
    Ok(Given { trigger: Trigger::At(at), skipped })
}

/// Whether a text looks like a crontab, well-formed or not.
fn is_crontab(text: &str) -> bool {
    let is_field = |word: &str| word.chars().all(|c| c.is_ascii_digit() || "*,/-~?#HLW()".contains(c));
    let mut words = text.split_whitespace();
    let fields = words.by_ref().take_while(|word| is_field(word)).count();
    let dated = text.split_whitespace().next().is_some_and(|word| word.len() > 7 && word.contains(['-', '/']));
    text.starts_with('@') || text.starts_with("CRON_TZ=") || text.contains('*') || (fields >= 2 && !dated)
}

fn every(text: &str) -> Result<Duration, String> {
    const WRITE: &str = "write `every 10m`, or for days and times a crontab such as `30 2 * * mon`";
    if text.is_empty() {
        return Err(format!("a length of time is missing after `every`; {WRITE}"));
    }
    let one = if text.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "1 " };
    let step = humantime::parse_duration(&format!("{one}{text}"))
        .map_err(|_| format!("`{}` is not a length of time; {WRITE}", words::excerpt(text)))?;
    if !(SHORTEST_STEP..=LONGEST_STEP).contains(&step) {
        return Err(format!("`{}` is out of range; write `every 10ms` to `every 366d`", words::excerpt(text)));
    }
    // Instants are whole milliseconds, and so are the steps between them.
    Ok(Duration::from_millis(u64::try_from(step.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use chrono_tz::Europe::Berlin;

    use super::*;

    /// 2027-03-24T10:15:30Z.
    const NOW: Timestamp = Timestamp::from_millis(1_805_883_330_000);

    #[test]
    fn a_schedule_is_taken_for_what_it_looks_like() {
        for cron in ["*/5 * * * *", "30 2 * * mon", "0 0 1 1 1", " @daily ", "0,30 9-17 1 1 1"] {
            assert!(matches!(read(cron, Berlin, NOW), Ok(Given { trigger: Trigger::Cron(_), .. })), "{cron}");
        }
        for (text, ms) in
            [("every 10m", 600_000), ("every 1h 30m", 5_400_000), ("every hour", 3_600_000), ("every 10ms", 10)]
        {
            assert_eq!(read(text, Berlin, NOW), Ok(Trigger::Every(Duration::from_millis(ms)).into()), "{text}");
        }
        for text in
            ["now", "tomorrow 4am", "2027-03-28 14:30", "03/28/2027 noon", "4 july 2027 14:30 UTC", "in 2 hours"]
        {
            assert!(matches!(read(text, Berlin, NOW), Ok(Given { trigger: Trigger::At(_), .. })), "{text}");
        }
    }

    #[test]
    fn an_instant_whose_time_the_clock_skips_is_marked() {
        let mark = |text| {
            let explained = read(text, Berlin, NOW).expect("an instant").explain(Berlin, NOW, 1);
            explained.fires[0].mark.as_ref().map(ToString::to_string)
        };
        let skipped = Some("the clock skips 02:30: run at 03:00".to_owned());
        assert_eq!(mark("2027-03-28 02:30"), skipped);
        assert_eq!(mark("sunday 2:30am"), skipped);
        for text in ["2027-03-28 03:00", "2027-03-28", "2027-03-28 02:30 UTC", "2027-03-27 02:30 + 1 day", "in 2 hours"]
        {
            assert_eq!(mark(text), None, "{text}");
        }
        let twice = Some("02:30 comes twice: run the first time".to_owned());
        assert_eq!(mark("2027-10-31 02:30"), twice);
    }

    #[test]
    fn what_is_wrong_is_told_by_what_it_was_taken_for() {
        for (text, words) in [
            ("* * * *", "a crontab has five"),
            ("30 2", "2 fields"),
            ("61 * * * *", "out of range"),
            ("@fortnightly", "no crontab macro"),
            ("every", "missing after `every`"),
            ("every monday", "`monday` is not a length of time; write `every 10m`"),
            ("every 1ms", "out of range"),
            ("every 99 years", "out of range"),
            ("soon", "`soon` is not understood"),
            ("", "no instant is written"),
            (&"* ".repeat(501), "at most 1000 bytes"),
        ] {
            let wrong = read(text, Berlin, NOW).expect_err(text);
            assert!(wrong.contains(words) && !wrong.contains('\n'), "{text}: {wrong}");
        }
    }
}
