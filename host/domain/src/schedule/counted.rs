//! Computes days of a month that are counted from its end (`L`, `L-3`), to the nearest weekday (`15W`, `LW`), or by its
//! weeks (`fri#2`, `friL`). They mean the same as in Quartz and croner, with the weekdays of crontab(5): 0 and 7 are
//! Sunday.
//!
//! A month is described by the weekday of its first day and its length, because the days depend on nothing else.

/// Monday to Friday; bit n stands for the weekday n.
const WORKDAYS: u64 = 0b011_1110;

/// Sets of counted days. Empty by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// Bit n: the day that is n days before the last (`L` is 0).
    pub(super) before_last: u32,
    /// Bit n: the day from Monday to Friday that is nearest to the nth, within the month (`15W`).
    pub(super) near: u32,
    /// Bit n: the same for the day that is n days before the last (`LW` is 0).
    pub(super) near_before_last: u32,
    /// Bit n at place p: the (p + 1)th weekday n of the month (`fri#2`).
    pub(super) nth: [u8; 5],
    /// Bit n: the last weekday n of the month (`friL`).
    pub(super) last: u8,
}

impl Counted {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the union of both sets.
    pub(super) fn with(mut self, other: Self) -> Self {
        self.before_last |= other.before_last;
        self.near |= other.near;
        self.near_before_last |= other.near_before_last;
        self.last |= other.last;
        self.nth.iter_mut().zip(other.nth).for_each(|(nth, others)| *nth |= others);
        self
    }

    /// Returns the days that the day-of-month field counts, bit n for the nth, in a month of `length` days whose first
    /// day is the weekday `first` (0 for Sunday).
    pub(super) fn dates(&self, first: u32, length: u32) -> u64 {
        let before_last = |bits| set(bits).filter_map(move |before| length.checked_sub(before).filter(|day| *day >= 1));
        let near = set(self.near).filter(|day| *day <= length).chain(before_last(self.near_before_last));
        let near = near.map(|day| nearest(day, first, length));
        before_last(self.before_last).chain(near).fold(0, |days, day| days | (1 << day))
    }

    /// Does the same for the day-of-week field.
    pub(super) fn weekdays(&self, first: u32, length: u32) -> u64 {
        // The first day of the month with that weekday.
        let earliest = |weekday: u32| 1 + (weekday + 7 - first) % 7;
        let nth =
            self.nth.iter().zip(0..).flat_map(|(weekdays, weeks)| {
                set(u32::from(*weekdays)).map(move |weekday| earliest(weekday) + 7 * weeks)
            });
        let last = set(u32::from(self.last)).map(|weekday| {
            let earliest = earliest(weekday);
            earliest + (length - earliest) / 7 * 7
        });
        nth.chain(last).filter(|day| *day <= length).fold(0, |days, day| days | (1 << day))
    }
}

/// Iterates over the values of a set.
fn set(bits: u32) -> impl Iterator<Item = u32> {
    (0..u32::BITS).filter(move |value| bits & (1 << value) != 0)
}

/// Returns the day from Monday to Friday that is nearest to `day`: a day before a Saturday, a day after a Sunday, and
/// never one in another month.
fn nearest(day: u32, first: u32, length: u32) -> u32 {
    let weekday = (first + day - 1) % 7;
    match weekday {
        _ if WORKDAYS & (1 << weekday) != 0 => day,
        0 if day == length => day - 2,
        0 => day + 1,
        _ if day == 1 => day + 2,
        _ => day - 1,
    }
}
