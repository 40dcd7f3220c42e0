//! Describes the six fields, and parses one item of a field's list.

use std::ops::RangeInclusive;

use super::counting;
use super::error::{BadCrontab, excerpt};
use crate::schedule::counted::Counted;

/// The rules for the values of one field.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) low: u32,
    pub(super) high: u32,
    /// Names of the values, from `low` on.
    names: &'static [&'static str],
    /// The last value that a bare `H` can have. In an explicit range, days of a month end there as well.
    spread: u32,
    allowed: &'static str,
    /// Converts a value to the numbering of the `cron` crate.
    pub(super) foreign: fn(u32) -> u32,
}

/// The fields, seconds first. A crontab of five fields begins with the second of them.
pub(super) static FIELDS: [Field; 6] = [
    Field {
        name: "second",
        low: 0,
        high: 59,
        names: &[],
        spread: 59,
        allowed: "0-59, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them",
        foreign: same,
    },
    Field {
        name: "minute",
        low: 0,
        high: 59,
        names: &[],
        spread: 59,
        allowed: "0-59, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them",
        foreign: same,
    },
    Field {
        name: "hour",
        low: 0,
        high: 23,
        names: &[],
        spread: 23,
        allowed: "0-23, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them",
        foreign: same,
    },
    Field {
        name: "day-of-month",
        low: 1,
        high: 31,
        names: &[],
        // Every month has these days.
        spread: 28,
        allowed: "1-31, `*`, `H` (1-28), `a-b`, `a~b`, `*/n`, `a-b/n`, `L`, `L-n`, `nW`, `LW` or a list of them",
        foreign: same,
    },
    Field {
        name: "month",
        low: 1,
        high: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        spread: 12,
        allowed: "1-12, jan-dec, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them",
        foreign: same,
    },
    Field {
        name: "day-of-week",
        low: 0,
        high: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        // Sunday has two numbers but counts once.
        spread: 6,
        allowed: "0-7 (0 and 7 are Sunday), sun-sat, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n`, `friL`, `fri#2` or a list of them",
        foreign: |day| day % 7 + 1,
    },
];

/// The places in [`FIELDS`] of the days of the month, the months and the days of the week.
pub(super) const DAYS: usize = 3;
pub(super) const MONTHS: usize = 4;
pub(super) const WEEKDAYS: usize = 5;

fn same(value: u32) -> u32 {
    value
}

/// One item of a list.
#[derive(Clone, Copy)]
pub(super) enum Item {
    /// Every nth value of a range.
    Values(Values),
    /// Counted days.
    Counted(Counted),
}

/// A step beyond all ranges, which leaves only the first value, as any larger step would.
const BEYOND: u32 = 100;

/// Every `step`th value from `first` to `last`.
#[derive(Clone, Copy)]
pub(super) struct Values {
    first: u32,
    last: u32,
    step: u32,
    /// Whether the item begins with `H` or has a `~`. Then the name decides where in its first step it starts.
    pub(super) spread: bool,
}

impl Values {
    /// Returns the number of places at which the values may start: one, except for `H` and `~`.
    pub(super) fn phases(&self) -> u32 {
        if self.spread { self.step.min(self.last - self.first + 1) } else { 1 }
    }

    /// Returns range and step of the values that start at one of those places.
    pub(super) fn starting_at(&self, phase: u32) -> (RangeInclusive<u32>, u32) {
        (self.first + phase..=self.last, self.step)
    }

    /// Returns the latest place that the first value can have.
    pub(super) fn latest_first(&self) -> u32 {
        self.first + self.phases() - 1
    }
}

/// Returns whether the values of some item of a field depend on a name.
pub(super) fn is_spread(text: &str) -> bool {
    text.split(',').any(|item| item.starts_with('H') || item.contains('~'))
}

impl Field {
    /// Iterates over the items of the field's list. An error points at the whole field.
    pub(super) fn items(&self, text: &str) -> impl Iterator<Item = Result<Item, BadCrontab>> {
        text.split(',').map(move |item| {
            self.item(item).map_err(|problem| BadCrontab::Field {
                field: self.name,
                text: excerpt(text),
                problem,
                allowed: self.allowed,
            })
        })
    }

    /// Iterates over the items that are values.
    pub(super) fn values(&self, text: &str) -> impl Iterator<Item = Result<Values, BadCrontab>> {
        self.items(text).filter_map(|item| match item {
            Ok(Item::Values(values)) => Some(Ok(values)),
            Ok(Item::Counted(_)) => None,
            Err(wrong) => Some(Err(wrong)),
        })
    }

    /// Returns the counted days of all items together.
    pub(super) fn counted(&self, text: &str) -> Result<Counted, BadCrontab> {
        let mut counted = Counted::default();
        for item in self.items(text) {
            if let Item::Counted(days) = item? {
                counted = counted.with(days);
            }
        }
        Ok(counted)
    }

    fn item(&self, item: &str) -> Result<Item, String> {
        match counting::read(self, item) {
            Some(counted) => counted.map(Item::Counted),
            None => self.value_item(item).map(Item::Values),
        }
    }

    fn value_item(&self, item: &str) -> Result<Values, String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (item, None),
        };
        if let Some(bounds) = range.strip_prefix('H') {
            let (first, last) = self.bounds(bounds)?;
            // Without a step the item is one value of the range.
            return Ok(Values { first, last, step: step.unwrap_or(BEYOND), spread: true });
        }
        if let Some((first, last)) = range.split_once('~') {
            if step.is_some() {
                return Err("`a~b` is one value, which has no steps".into());
            }
            let bound = |text: &str, open| if text.is_empty() { Ok(open) } else { self.value(text) };
            let (first, last) = check_range(bound(first, self.low)?, bound(last, self.high)?, range)?;
            return Ok(Values { first, last, step: BEYOND, spread: true });
        }
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.low, self.high),
            Some((first, last)) if self.ends_on_sunday(first, last) => match step {
                None => (self.value(first)?, self.high),
                Some(_) => return Err(format!("a step needs a range that rises; write `{}-7/n`", excerpt(first))),
            },
            Some((first, last)) => self.range(first, last)?,
            None if step.is_some() => {
                return Err(format!("a step needs a range before it (`{}-{}/n` or `*/n`)", excerpt(range), self.high));
            }
            None => {
                let value = self.value(range)?;
                (value, value)
            }
        };
        Ok(Values { first, last, step: step.unwrap_or(1), spread: false })
    }

    /// Returns whether the item is a range to the end of the week, such as `fri-sun` or `5-0`.
    fn ends_on_sunday(&self, first: &str, last: &str) -> bool {
        std::ptr::eq(self, &FIELDS[WEEKDAYS])
            && self.value(last) == Ok(0)
            && self.value(first).is_ok_and(|first| first > 0)
    }

    /// Parses the rest of an item after `H`: nothing, or `(a-b)`.
    fn bounds(&self, text: &str) -> Result<(u32, u32), String> {
        if text.is_empty() {
            return Ok((self.low, self.spread));
        }
        let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
        let Some((first, last)) = inner.and_then(|inner| inner.split_once('-')) else {
            return Err(format!("`H{}` is no `H`, `H(a-b)`, `H/n` or `H(a-b)/n`", excerpt(text)));
        };
        let (first, last) = self.range(first, last)?;
        // Otherwise the name would decide in which months there is a run, and whether there ever is one.
        if self.names.is_empty() && last > self.spread {
            return Err(format!("`H` keeps to {}-{}, which every month has", self.low, self.spread));
        }
        Ok((first, last))
    }

    fn range(&self, first: &str, last: &str) -> Result<(u32, u32), String> {
        check_range(self.value(first)?, self.value(last)?, &format!("{first}-{last}"))
    }

    pub(super) fn value(&self, text: &str) -> Result<u32, String> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text
                .parse()
                .ok()
                .filter(|value| (self.low..=self.high).contains(value))
                .ok_or_else(|| format!("`{}` is out of range", excerpt(text)));
        }
        let named = self.names.iter().zip(self.low..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        named.map(|(_, value)| value).ok_or_else(|| match text {
            "" => "a value is missing".into(),
            "?" => "`?` is not a value; for any day write `*`".into(),
            _ => format!("`{}` is not a value", excerpt(text)),
        })
    }

    fn step(&self, text: &str) -> Result<u32, String> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let step = if digits { text.parse().map_or(BEYOND, |step: u32| step.min(BEYOND)) } else { 0 };
        if step == 0 { Err(format!("`{}` is not a step, which is 1 or more", excerpt(text))) } else { Ok(step) }
    }
}

/// Checks the bounds of a range that is written as `text`.
fn check_range(low: u32, high: u32, text: &str) -> Result<(u32, u32), String> {
    if low > high { Err(format!("`{}` runs backwards", excerpt(text))) } else { Ok((low, high)) }
}
