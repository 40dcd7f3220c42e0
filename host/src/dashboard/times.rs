//! Shows instants: always with their zone, which is that of the task, UTC, or one that the reader names.

use askama::Template;
use askama::filters::HtmlSafe;
use chrono::{Datelike, SecondsFormat};
use chrono_tz::Tz;

use crate::http::api_types::ago;
use sexton_domain::time::Timestamp;

/// The zone in which instants are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Times {
    /// Each in the zone of its task, and in UTC if it is of no task.
    #[default]
    Task,
    /// In the reader's zone, which is not known yet: the module knows it, and without it a form asks.
    Mine,
    /// In one zone.
    In(Tz),
}

impl Times {
    /// Reads the word of a query.
    pub(super) fn read(text: &str) -> Self {
        match text {
            "utc" => Self::In(Tz::UTC),
            "mine" => Self::Mine,
            zone => zone.parse().map_or(Self::Task, Self::In),
        }
    }

    /// Returns the word of a query; `None` if none is needed.
    pub(super) fn word(self) -> Option<String> {
        match self {
            Self::Task => None,
            Self::Mine => Some("mine".to_owned()),
            Self::In(Tz::UTC) => Some("utc".to_owned()),
            Self::In(zone) => Some(zone.name().to_owned()),
        }
    }

    /// Returns the zone for an instant of a task with this zone.
    pub(super) fn zone(self, task: Tz) -> Tz {
        match self {
            Self::Task => task,
            Self::Mine => Tz::UTC,
            Self::In(zone) => zone,
        }
    }
}

/// Shows the instants of one page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) now: Timestamp,
    times: Times,
}

impl Clock {
    /// Creates a clock that shows instants as a request wants them.
    pub(super) fn new(now: Timestamp, times: Times) -> Self {
        Self { now, times }
    }

    /// Shows an instant of a task with this zone.
    pub(super) fn at(&self, at: Timestamp, task: Tz) -> When {
        When::of(at, self.times.zone(task), self.now)
    }

    /// Shows an instant of no task.
    pub(super) fn utc(&self, at: Timestamp) -> When {
        self.at(at, Tz::UTC)
    }

    /// Returns the zone for instants of a task with this zone.
    pub(super) fn zone(&self, task: Tz) -> Tz {
        self.times.zone(task)
    }
}

/// An instant on a page: by the clocks of a zone, and its distance.
#[derive(Clone, Debug, Template)]
#[template(
    ext = "html",
    source = r#"<time datetime="{{ instant }}" title="{{ full }}">{{ clock }} <i>{{ zone }}</i></time>"#
)]
pub(super) struct When {
    /// The instant in RFC 3339, in UTC.
    instant: String,
    /// The instant by the clocks of the zone, in full, and the name of the zone.
    full: String,
    /// The time of day, and the day if it is another than today.
    clock: String,
    /// The zone as it is called at that time, such as `CET`.
    zone: String,
    /// The distance, such as `3m ago`.
    pub(super) ago: String,
}

impl HtmlSafe for When {}

impl When {
    /// Shows `at` by the clocks of `zone`.
    pub(super) fn of(at: Timestamp, zone: Tz, now: Timestamp) -> Self {
        let (local, today) = (at.to_utc().with_timezone(&zone), now.to_utc().with_timezone(&zone));
        let clock = if local.date_naive() == today.date_naive() {
            local.format("%H:%M:%S")
        } else if local.year() == today.year() {
            local.format("%-d %b %H:%M")
        } else {
            local.format("%-d %b %Y %H:%M")
        };
        Self {
            instant: at.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true),
            full: format!("{} {}", local.format("%A, %-d %B %Y, %H:%M:%S%.3f %:z"), zone.name()),
            clock: clock.to_string(),
            zone: local.format("%Z").to_string(),
            ago: ago(at, now),
        }
    }

    /// Returns the text without marks.
    pub(super) fn plain(&self) -> String {
        format!("{} {}", self.clock, self.zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T10:00:00Z.
    const NOW: Timestamp = Timestamp::from_millis(1_795_341_600_000);

    #[test]
    fn an_instant_is_shown_with_its_zone_and_with_the_day_if_it_is_another() {
        let plain = |ms, zone| When::of(Timestamp::from_millis(NOW.as_millis() + ms), zone, NOW).plain();

        assert_eq!(plain(0, Tz::Europe__Berlin), "11:00:00 CET");
        assert_eq!(plain(0, Tz::UTC), "10:00:00 UTC");
        assert_eq!(plain(86_400_000, Tz::UTC), "23 Nov 10:00 UTC");
        assert_eq!(plain(86_400_000 * 60, Tz::Europe__Berlin), "21 Jan 2027 11:00 CET");
        let html = When::of(NOW, Tz::UTC, NOW).to_string();
        assert!(html.starts_with("<time datetime=\"2026-11-22T10:00:00.000Z\" title=\"Sunday, 22 November"), "{html}");
    }

    #[test]
    fn a_zone_in_the_address_is_kept_and_an_unknown_one_is_that_of_the_task() {
        for word in ["utc", "mine", "Europe/Berlin"] {
            assert_eq!(Times::read(word).word().as_deref(), Some(word));
        }
        assert_eq!(Times::read("<script>"), Times::Task);
        assert_eq!(Times::Task.word(), None);
        assert_eq!(Times::Task.zone(Tz::Europe__Berlin), Tz::Europe__Berlin);
        assert_eq!(Times::In(Tz::UTC).zone(Tz::Europe__Berlin), Tz::UTC);
    }
}
