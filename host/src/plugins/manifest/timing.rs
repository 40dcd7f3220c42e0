//! Reads the keys around a trigger: bounds on when a task is due, and how much later its runs start.

use std::ops::Range;
use std::time::Duration;

use chrono_tz::Tz;
use toml::Spanned;

use super::text::TaskText;
use super::wrong::Wrong;
use crate::config::kinds::{Kind, Of};
use sexton_domain::schedule::instant_parser::AbsoluteInstant;
use sexton_domain::schedule::{CatchUp, Timing, Trigger};

/// A value and its position in the text.
type At<T> = Option<(Range<usize>, T)>;

/// The keys as they are written.
pub(super) struct Written {
    start: At<AbsoluteInstant>,
    end: At<AbsoluteInstant>,
    times: At<u64>,
    delay: At<Duration>,
    jitter: At<Duration>,
    spread: At<Duration>,
    start_within: At<Duration>,
    catch_up_within: At<Duration>,
}

impl Written {
    /// Takes the keys out of the text of a task.
    pub(super) fn take(task: &mut TaskText) -> Self {
        Self {
            start: taken(&mut task.start),
            end: taken(&mut task.end),
            times: taken(&mut task.times),
            delay: taken(&mut task.delay),
            jitter: taken(&mut task.jitter),
            spread: taken(&mut task.spread),
            start_within: taken(&mut task.start_within),
            catch_up_within: taken(&mut task.catch_up_within),
        }
    }

    /// Returns a line for each bound that the clocks of `zone` skip, because another instant is meant.
    pub(super) fn gap_note(&self, zone: Tz) -> Vec<String> {
        let moved = |key: &str, written: &At<AbsoluteInstant>| {
            written.as_ref().and_then(|(_, date)| date.gap_note(zone)).map(|moved| format!("`{key}`: {moved}"))
        };
        [moved("start", &self.start), moved("end", &self.end)].into_iter().flatten().collect()
    }

    /// Combines the keys with the trigger and the catch-up policy of the task at `place`. Dates are read by the clocks
    /// of `zone`.
    pub(super) fn read(self, trigger: &Trigger, catch_up: CatchUp, zone: Tz, place: &str) -> Result<Timing, Wrong> {
        self.fit(trigger, place)?;
        let instant = |key: &str, written: &At<AbsoluteInstant>| {
            let read = |(at, date): &(Range<usize>, AbsoluteInstant)| {
                date.instant(zone).map_err(|wrong| (at.clone(), format!("`{place}.{key}`: {wrong}")))
            };
            written.as_ref().map(read).transpose()
        };
        let (start, end) = (instant("start", &self.start)?, instant("end", &self.end)?);
        if let (Some(start), Some(end), Some((at, _))) = (start, end, &self.end)
            && end < start
        {
            return Err((at.clone(), format!("`{place}.end` is before `start`; nothing would ever be due")));
        }
        if let (Some((at, jitter)), Trigger::Every(every)) = (&self.jitter, trigger)
            && jitter > every
        {
            let what = "is longer than `every`; runs would overtake each other, make it as long at most";
            return Err((at.clone(), format!("`{place}.jitter` {what}")));
        }
        if let (Some((at, _)), CatchUp::None) = (&self.catch_up_within, catch_up) {
            let what =
                "bounds what `catch-up` runs, which is \"none\"; write \"latest\" or \"all(N)\" there, or leave it out";
            return Err((at.clone(), format!("`{place}.catch-up-within` {what}")));
        }
        Ok(Timing {
            start,
            end,
            times: value(self.times)
                .map(|times| u32::try_from(times).expect("the kind that it is written in ends below 2^32")),
            delay: value(self.delay).unwrap_or_default(),
            jitter: value(self.jitter).unwrap_or_default(),
            spread: value(self.spread).unwrap_or_default(),
            start_within: value(self.start_within),
            catch_up_within: value(self.catch_up_within),
        })
    }

    /// Checks that each key makes sense with the trigger. The error names the first that does not.
    fn fit(&self, trigger: &Trigger, place: &str) -> Result<(), Wrong> {
        use Trigger::{After, At, Cron, Every, OnDemand, OnStart, Pace};
        let has = match trigger {
            OnDemand => None,
            OnStart => Some("on-start"),
            Cron(crontab) if crontab.has_seconds() => Some("cron-seconds"),
            Cron(_) => Some("cron"),
            Every(_) => Some("every"),
            At(_) => Some("at"),
            After(_) => Some("after"),
            Pace(_) => Some("pace"),
        };
        // Bounds need future instants, a later start needs an instant that is known beforehand, and a missed run needs
        // an instant.
        let bounds = matches!(trigger, Cron(_) | Every(_) | After(_) | Pace(_));
        let later = matches!(trigger, Cron(_) | Every(_) | At(_) | OnStart);
        let missed = matches!(trigger, Cron(_) | Every(_) | At(_));
        let keys = [
            ("start", place_of(&self.start), bounds, "`every` or `cron`"),
            ("end", place_of(&self.end), bounds, "`every` or `cron`"),
            ("times", place_of(&self.times), bounds, "`every` or `cron`"),
            ("delay", place_of(&self.delay), later, "`every`, `cron`, `at` or `on-start`"),
            ("jitter", place_of(&self.jitter), later, "`every`, `cron`, `at` or `on-start`"),
            ("spread", place_of(&self.spread), later, "`every`, `cron`, `at` or `on-start`"),
            ("start-within", place_of(&self.start_within), later, "`every`, `cron`, `at` or `on-start`"),
            ("catch-up-within", place_of(&self.catch_up_within), missed, "`every`, `cron` or `at`"),
        ];
        let wrong = keys.into_iter().find_map(|(key, at, fits, with)| Some((key, at.filter(|_| !fits)?, with)));
        let Some((key, at, with)) = wrong else { return Ok(()) };
        let what = match has {
            Some(has) => format!("goes with {with}, not with `{has}`; leave it out"),
            None => {
                "goes with a schedule, and the task runs on demand only; add `every` or `cron`, or leave it out".into()
            }
        };
        Err((at, format!("`{place}.{key}` {what}")))
    }
}

fn taken<K: Kind>(written: &mut Option<Spanned<Of<K>>>) -> At<K::Value> {
    written.take().map(|written| (written.span(), written.into_inner().0))
}

fn place_of<T>(written: &At<T>) -> Option<Range<usize>> {
    written.as_ref().map(|(at, _)| at.clone())
}

fn value<T>(written: At<T>) -> Option<T> {
    written.map(|(_, value)| value)
}
